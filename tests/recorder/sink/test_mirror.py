"""The other end: a strategy there hears what one beside the collector does, and believes no book that was lost."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from engine.core.drive import Driver
from recorder.journal import Break
from recorder.sink.messages import Message, MessageMaker
from recorder.sink.mirror import Mirror
from schemas.notes import Crashed, OpenGap, Subscribed
from tests.recorder.recordings import BOOK, MS, START_NS, TICKER, TRADES, Tape, book, market, trade
from tests.recorder.sink.test_messages import made, recorded
from tests.recorder.test_time_travel import Diary

NOW_MS = START_NS // MS


def follow(mirror: Mirror, messages: Iterable[Message]) -> None:
    for message in messages:
        mirror.take(message.subject, message.payload, message.headers)


def recorded_with_diary(data: Path) -> Diary:
    """Three segments of one run, and what a strategy beside the collector heard."""
    tape, diary = Tape(data, []), Diary()
    tape.capture.add_feeds([BOOK, TRADES, TICKER])
    tape.capture.drive(Driver(tape.engine, diary))
    tape.capture.session(0, Subscribed(topics=[BOOK, TRADES, TICKER]))
    frames = market(0, 120)
    for number in range(3):
        tape.frames(frames[number * 60 : number * 60 + 60], flush_every=9)
        if number == 1:
            tape.frames([book("delta", 7000, [], [], NOW_MS), b"{", trade("z", "1", "1", NOW_MS)])
            tape.disconnect()
            tape.frames([book("snapshot", 7100, [("98.0", "1")], [("101", "2")], NOW_MS)])
            tape.capture.stale(BOOK, "silence")
            tape.frames([book("snapshot", 7100, [("98.0", "1")], [("101", "2")], NOW_MS)])
        if number < 2:
            tape.rotate()
    tape.stop()
    return diary


def test_a_strategy_at_the_other_end_hears_the_same(tmp_path: Path) -> None:
    diary, there = recorded_with_diary(tmp_path), Diary()
    mirror = Mirror(there)
    follow(mirror, made(tmp_path))
    assert there.calls == diary.calls
    assert {call[0] for call in there.calls} == {"book", "trades", "state"}
    assert (there.begun, mirror.lost) == (1, 0)
    # also where messages come twice
    messages, again = made(tmp_path), Diary()
    follow(Mirror(again), [*messages[:90], *messages[40:90], *messages[60:]])
    assert again.calls == diary.calls


def test_whoever_begins_with_a_later_segment_goes_on_the_same(tmp_path: Path) -> None:
    diary = recorded_with_diary(tmp_path)
    messages = made(tmp_path)
    begins = [number for number, message in enumerate(messages) if message.subject.endswith(".segment")]
    for begin in begins[1:]:
        there = Diary()
        mirror = Mirror(there)
        # what comes before a segment begins is nothing yet
        follow(mirror, messages[begin - 9 :])
        sequence = messages[begin].place.sequence
        assert there.calls == [call for call in diary.calls if call[2].sequence >= sequence]
        assert there.begun == 1
        assert mirror.engine is not None
        assert mirror.sequence == messages[-1].place.sequence


@pytest.mark.parametrize("kind", ["lost", "omitted", "break", "to the next segment"])
def test_where_one_is_missing_books_are_stale_until_the_next_segment(tmp_path: Path, kind: str) -> None:
    recorded_with_diary(tmp_path)
    messages = made(tmp_path)
    begins = [number for number, message in enumerate(messages) if message.subject.endswith(".segment")]
    at = begins[1] - 50
    there = Diary()
    mirror = Mirror(there)
    follow(mirror, messages[:at])
    assert mirror.engine is not None
    (old,) = there.books.values()
    assert old.live
    match kind:
        case "lost":
            follow(mirror, messages[at + 2 : begins[1]])
        case "omitted":
            headers = messages[at].headers | {"Tapebook-Omitted": "9"}
            mirror.take(messages[at].subject, b"", headers)
        case "break":
            mirror.take(
                "tapebook.linear.break", b"{}", {"Tapebook-Sequence": "5000", "Tapebook-Segment": "1"}
            )
        case _:
            pass
    if kind != "to the next segment":
        assert not old.live
        assert there.calls[-1][0] == "state"
        heard = len(there.calls)
        follow(mirror, messages[at + 4 : begins[1]])
        assert len(there.calls) == heard
    follow(mirror, messages[begins[1] :])
    assert not old.live
    assert (mirror.lost, there.begun) == (1, 2)
    (new,) = there.books.values()
    assert new.topic == BOOK
    assert new is not old


def test_another_run_begins_anew(tmp_path: Path) -> None:
    """A crash, and the run behind it, whose numbers follow on."""
    tape = Tape(tmp_path, [BOOK])
    tape.frames(market(0, 20))
    tape.stop()
    gap = OpenGap("crash", START_NS, None, 1020)
    later = Tape(
        tmp_path, [BOOK], start_ns=START_NS + 10**9, crashed=[Crashed(topic=BOOK, gap=gap, update_id=1019)]
    )
    there, beside = Diary(), Diary()
    later.capture.drive(Driver(later.engine, beside))
    later.frames([book("snapshot", 2000, [("98.0", "1")], [("101", "2")], NOW_MS)])
    later.stop()
    mirror = Mirror(there)
    follow(mirror, made(tmp_path))
    assert (there.begun, mirror.lost) == (2, 0)
    calls = there.calls
    assert calls[-len(beside.calls) :] == beside.calls
    assert calls[-len(beside.calls) - 1][0] == "state"  # the book of the first run
    assert mirror.engine is not None
    assert mirror.engine.open_gap(0) is None


@pytest.mark.parametrize("heard", [True, False])
def test_numbers_that_come_again_are_other_records(tmp_path: Path, heard: bool) -> None:
    """A power cut took the last records, which had been sent; whether the break that says so was heard or not."""
    tape = Tape(tmp_path / "before", [BOOK])
    tape.frames(market(0, 40))
    tape.stop()
    sent = made(tmp_path / "before")
    again = Tape(tmp_path / "after", [BOOK], start_ns=START_NS + 10**9)
    again.frames([book("snapshot", 9000, [("50.0", "7")], [("60.0", "8")], NOW_MS)])
    again.frames([book("delta", 9001 + step, [("50.0", str(step + 1))], [], NOW_MS) for step in range(200)])
    again.stop()
    newer = made(tmp_path / "after")
    last = sent[-1].place.sequence
    assert newer[0].place.sequence < last < newer[-1].place.sequence
    found = Break("withdrawn", newer[0].place.sequence, last, sent[-1].place.start_ns)
    (taken_back,) = (message for message in MessageMaker("linear").follow(found) if message is not None)
    mirror = Mirror(Diary())
    follow(mirror, sent)
    for _ in range(2):  # what was on its way may come twice
        if heard:
            follow(mirror, [taken_back])
        follow(mirror, newer)
    expected = Mirror()
    follow(expected, newer)
    assert mirror.engine is not None
    assert expected.engine is not None
    assert mirror.sequence == expected.sequence
    assert mirror.engine.book(0).digest == expected.engine.book(0).digest
    assert mirror.engine.update_id(0) == 9200
    assert mirror.lost == 1


def test_everything_that_is_recorded_goes_through(tmp_path: Path) -> None:
    recorded(tmp_path)
    mirror = Mirror(prefix="market.data")
    follow(mirror, made(tmp_path, prefix="market.data"))
    assert mirror.lost == 0
    assert mirror.engine is not None
    assert mirror.engine.update_id(mirror.engine.feed_index(BOOK)) == 6002


@pytest.mark.parametrize(
    ("subject", "headers"),
    [
        ("other.linear.frame.a", {"Tapebook-Sequence": "1"}),
        ("tapebook.linear", {"Tapebook-Sequence": "1"}),
        ("tapebook.linear.frame.a", None),
        ("tapebook.linear.frame.a", {}),
        ("tapebook.linear.frame.a", {"Tapebook-Sequence": "x"}),
    ],
)
def test_messages_that_are_none_of_ours(subject: str, headers: Any) -> None:
    mirror = Mirror()
    mirror.take("tapebook.linear.top.a", b"{}", None)
    with pytest.raises(ValueError, match=r"found|invalid literal"):
        mirror.take(subject, b"", headers)
