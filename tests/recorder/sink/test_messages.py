"""Messages from records: everything once, in order, under the right subjects, and the same again from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recorder.journal import Break, JournalFollower, SegmentReader, recompress, segments
from recorder.sink.messages import Message, MessageMaker, Place
from schemas import notes
from schemas.names import RecordKind
from tests.recorder.recordings import BOOK, MS, START_NS, TICKER, TRADES, Tape, book, market, ticker, trade

NOW_MS = START_NS // MS


def recorded(data: Path) -> None:
    """Three segments with everything in them: losses, damage, strangers, a disconnect, a silence, a crash."""
    tape = Tape(data, [BOOK, TRADES, TICKER])
    tape.frames(market(0, 40), flush_every=7)
    tape.rotate()
    tape.frames([book("delta", 5000, [], [], NOW_MS)])  # lost
    tape.frames([book("snapshot", 5001, [("99", "1")], [("101", "2")], NOW_MS)], flush_every=1)
    tape.frames([b"{", b'{"topic":"orderbook.50.NOBODY"}', b'{"op":"pong"}'])
    tape.capture.control(0, '{"success":true}', tape.now_ns)
    tape.disconnect()
    tape.frames([book("snapshot", 6001, [("98", "1")], [("101", "2")], NOW_MS)])
    tape.capture.stale(BOOK, "silence")
    tape.capture.rest("/v5/market/time", b"{}")
    tape.journal.append(tape.now_ns, 0, RecordKind.NOTE, b'{"note":"of a newer version"}')
    tape.journal.append(tape.now_ns, 0, 9, b"of a newer kind")
    tape.frames([trade("x1", "100", "1", NOW_MS)])
    tape.rotate()
    tape.frames([book("snapshot", 6002, [("97", "1")], [("101", "2")], NOW_MS), ticker("delta", NOW_MS)])
    tape.stop()


def made(data: Path, place: Place | None = None, **options: Any) -> list[Message]:
    """All messages from a place on, as a sink that begins there makes them."""
    sent = None if place is None or place.part + 1 == place.parts else place
    maker = MessageMaker("linear", sent=sent, **options)
    out = []
    with JournalFollower(data, "linear", None if place is None else place.position) as follower:
        while (found := follower.read()) is not None:
            out += [message for message in maker.follow(found) if message is not None]
    return out


def records(data: Path) -> list[Any]:
    out: list[Any] = []
    for segment in segments(data):
        with SegmentReader(segment.path) as reader:
            out += [(reader.info.start_ns, record) for record in reader.records()]
    return out


def test_every_record_once_and_in_order(tmp_path: Path) -> None:
    recorded(tmp_path)
    messages = made(tmp_path)
    raw = [m for m in messages if m.subject.split(".")[2] not in ("state", "gap", "segment")]
    for message, (start_ns, record) in zip(raw, records(tmp_path), strict=True):
        assert message.payload == record.payload
        headers = message.headers
        assert headers["Tapebook-Sequence"] == str(record.sequence)
        assert headers["Tapebook-Segment"] == str(start_ns)
        assert headers["Tapebook-Receive-Ns"] == str(record.receive_ns) == str(message.receive_ns)
        assert headers["Tapebook-Line"] == str(record.line)
        assert (message.place.start_ns, message.place.sequence) == (start_ns, record.sequence)
    names = [message.headers["Nats-Msg-Id"] for message in messages]
    assert len(set(names)) == len(names)
    places = [message.place for message in messages]
    assert places == sorted(places)
    for message in messages:
        assert Place.of_headers(message.headers) == message.place


def test_subjects(tmp_path: Path) -> None:
    recorded(tmp_path)
    subjects: dict[str, list[Message]] = {}
    for message in made(tmp_path, prefix="market"):
        assert message.subject.startswith("market.linear.")
        subjects.setdefault(message.subject.removeprefix("market.linear."), []).append(message)
    frames = {name: found for name, found in subjects.items() if name.startswith("frame.")}
    for name, found in frames.items():
        topic = name.removeprefix("frame.")
        if not topic.startswith("_"):
            assert all(f'"topic":"{topic}"'.encode() in message.payload for message in found)
    assert [m.payload for m in subjects["frame._undecodable"]] == [b"{"]
    assert [m.payload for m in subjects["frame._control"]] == [b'{"op":"pong"}']
    assert len(subjects["frame._unknown"]) == 1 + sum(b"orderbook.1." in frame for frame in market(0, 40))
    assert [m.payload for m in subjects["session.control"]][:1] == [
        notes.encode(notes.Control(text='{"success":true}'))
    ]
    assert len(subjects["session.disconnected"]) == 2
    assert len(subjects["rest.answer"]) == 1
    assert [m.payload for m in subjects["record.3"]] == [b'{"note":"of a newer version"}']
    assert [m.payload for m in subjects["record.9"]] == [b"of a newer kind"]
    # checkpoints of the two segments that go on
    assert len(subjects[f"note.feed.{BOOK}"]) == 2
    assert json.loads(subjects[f"note.feed.{BOOK}"][0].payload)["bids"]
    assert len(subjects["note.close"]) == len(subjects["segment"]) == 3
    assert json.loads(subjects["segment"][0].payload)["category"] == "linear"


def test_states_and_gaps_as_they_were_live(tmp_path: Path) -> None:
    recorded(tmp_path)
    messages = made(tmp_path)

    def said(kind: str, topic: str) -> list[dict[str, Any]]:
        return [json.loads(m.payload) for m in messages if m.subject == f"tapebook.linear.{kind}.{topic}"]

    assert [each["state"] for each in said("state", BOOK)] == [
        "live",  # its first snapshot
        "live", "stale", "live", "stale", "live", "stale",  # the next segment's checkpoint; loss, disconnect, silence
        "stale", "live",  # and the one behind it
    ]  # fmt: skip
    # trades with their first message, also behind a disconnect
    assert [each["state"] for each in said("state", TRADES)] == ["live", "live", "stale", "live", "live"]
    assert [(each["gap"], each["cause"], each["healed_by"]) for each in said("gap", BOOK)] == [
        ("opened", "lost", None),
        ("closed", "lost", "snapshot"),
        ("opened", "disconnect", None),
        ("closed", "disconnect", "snapshot"),
        ("opened", "silence", None),
        ("closed", "silence", "snapshot"),
    ]
    first, closed = said("gap", BOOK)[:2]
    assert (first["first_update_id"], first["last_update_id"]) == (1040, None)
    assert (closed["first_update_id"], closed["last_update_id"]) == (1040, 5000)
    # The frame that shows a loss says so itself.
    states = {
        m.place.sequence: m.headers["Tapebook-State"] for m in messages if m.subject.endswith(f"frame.{BOOK}")
    }
    for message in messages:
        if message.subject.endswith(f"state.{BOOK}") and message.place.sequence in states:
            assert states[message.place.sequence] == json.loads(message.payload)["state"]


def test_begun_anywhere_the_rest_is_the_same(tmp_path: Path) -> None:
    recorded(tmp_path)
    messages = made(tmp_path)
    assert any(message.place.parts > 1 for message in messages)
    for number, message in enumerate(messages):
        assert made(tmp_path, message.place) == messages[number + 1 :], message.place


def test_a_compressed_journal_gives_the_same(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames(market(0, 150), flush_every=2)
    tape.stop()
    before = made(tmp_path)
    (segment,) = segments(tmp_path)
    assert recompress(segment) is not None
    assert made(tmp_path) == before
    assert "format_version" not in json.loads(before[0].payload)


def test_what_is_too_large_is_left_out_and_says_so(tmp_path: Path) -> None:
    recorded(tmp_path)
    for whole, message in zip(made(tmp_path), made(tmp_path, max_bytes=300), strict=True):
        if len(whole.payload) > 300:
            assert message.payload == b""
            assert message.is_omitted
            assert message.headers == whole.headers | {"Tapebook-Omitted": str(len(whole.payload))}
        else:
            assert message == whole
            assert not message.is_omitted


@pytest.mark.parametrize(
    ("found", "place"),
    [
        (Break("removed", 5, 9, 70), Place(70, 9)),
        (Break("torn", 5, 9, 70), Place(70, 9)),
        (Break("damaged", 5, 9, None, "so and so"), Place(0, 9)),
        (Break("withdrawn", 5, 9, 70), Place(70, 4)),
    ],
)
def test_breaks(found: Break, place: Place) -> None:
    (message,) = MessageMaker("linear").follow(found)
    assert message is not None
    assert (message.subject, message.place, message.missing) == ("tapebook.linear.break", place, found)
    said = json.loads(message.payload)
    assert (said["kind"], said["first_sequence"], said["last_sequence"]) == (found.kind, 5, 9)
    assert said.get("words", "") == found.words
    assert Place.of_headers(message.headers) == place


def test_best_levels_conflate(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK, TRADES])
    tape.frames(market(0, 9))
    tape.journal.flush()
    maker = MessageMaker("linear", tops=True)
    with JournalFollower(tmp_path, "linear") as follower:

        def tops() -> list[tuple[str, Any]]:
            while (found := follower.read()) is not None:
                assert list(maker.follow(found))
            return [(subject, json.loads(payload)) for subject, payload in maker.take_tops()]

        def follow(behind: int) -> list[tuple[str, Any]]:
            tape.journal.flush()
            while True:
                found = tops()
                if found or behind == 0:
                    return found

        ((subject, said),) = follow(1)
        assert subject == f"tapebook.linear.top.{BOOK}"
        mine = tape.engine.book(0)
        assert mine.best_bid is not None
        assert mine.best_ask is not None
        assert (said["state"], said["update_id"]) == ("live", mine.update_id)
        for side, level in (("bid", mine.best_bid), ("ask", mine.best_ask)):
            assert said[side] == [str(mine.price(level.price)), str(mine.size(level.size))]
        assert said["bid"][0] == "100.0"
        assert tops() == []
        tape.frames([trade("y", "100", "1", NOW_MS), book("delta", 1009, [("100.0", "0")], [], NOW_MS)])
        ((_, said),) = follow(1)
        assert said["bid"] == ["99.0", "1.50"]
        tape.disconnect()
        ((_, said),) = follow(1)
        assert (said["state"], said["bid"], said["ask"], said["update_id"]) == ("stale", None, None, None)
        tape.stop()
    assert MessageMaker("linear").take_tops() == []
