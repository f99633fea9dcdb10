"""Capture: the journal first, the engine second, and everything else that influences the archive beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.core.feeds import UNDECODABLE, UNKNOWN_TOPIC
from engine.events import EventKind
from recorder.capture import CONTROL, is_answer
from recorder.journal import Record, SegmentReader, segments
from schemas import notes
from schemas.errors import StoreError
from schemas.names import FeedState, RecordKind
from tests.recorder.recordings import BOOK, MS, START_NS, TRADES, Tape, book, market, trade

SNAPSHOT = book("snapshot", 10, [("99.5", "1")], [("100.5", "1")], START_NS // MS)


def _records(data: Path) -> list[Record]:
    out: list[Record] = []
    for segment in segments(data):
        with SegmentReader(segment.path) as reader:
            out += reader.records()
    return out


def _said(records: list[Record]) -> list[Any]:
    """Frames as bytes, everything else decoded."""
    decode: dict[int, Any] = {
        RecordKind.FRAME: lambda payload: payload,
        RecordKind.NOTE: notes.decode_note,
        RecordKind.SESSION: notes.decode_session,
        RecordKind.REST: lambda payload: payload,
    }
    return [decode[record.kind](record.payload) for record in records]


def test_a_run_from_its_first_word_to_its_last(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK])
    tape.frames([SNAPSHOT])
    tape.stop()
    said = _said(_records(tmp_path))
    assert said[:5] == [
        notes.Begin(run=START_NS, continued=False),
        notes.Feeds(topics=[BOOK]),
        notes.Instruments(known={}),
        notes.Subscribed(topics=[BOOK]),
        SNAPSHOT,
    ]
    assert said[5] == notes.Widened(symbol="BTCUSDT", price_decimals=1, size_decimals=0, source="frame")
    digest = f"{tape.engine.digest(0):016x}"
    assert said[6] == notes.Digest(topic=BOOK, update_id=10, digest=digest)
    assert said[7:9] == [
        notes.Disconnected(reason="the recording ends", clean=True),
        notes.End(reason="stopped"),
    ]
    assert isinstance(said[9], notes.Close)
    assert len(said) == 10


def test_sequences_have_no_holes_and_stamps_are_the_callers(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK])
    tape.frames([SNAPSHOT, b"{}"], step_ns=7)
    tape.stop()
    records = _records(tmp_path)
    assert [record.sequence for record in records] == list(
        range(records[0].sequence, records[0].sequence + len(records))
    )
    assert [record.receive_ns for record in records if record.kind == RecordKind.FRAME] == [
        START_NS + 7,
        START_NS + 14,
    ]


def test_what_each_frame_was(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK, TRADES])
    frames = [SNAPSHOT, trade("a", "1", "1", 1), b"{}", b'{"topic":"x"}', b"\xff", trade("b", "1", "1", 2)]
    assert tape.capture.frame_list(2, frames, START_NS) == [0, 1, CONTROL, UNKNOWN_TOPIC, UNDECODABLE, 1]
    assert tape.capture.frames == 6
    assert tape.capture.frame_bytes == sum(map(len, frames))
    assert tape.capture.feed_bytes == [len(SNAPSHOT), len(frames[1]) + len(frames[5])]
    tape.stop()
    kept = [(record.line, record.payload) for record in _records(tmp_path) if record.kind == RecordKind.FRAME]
    assert kept == [(2, frame) for frame in frames]


def test_a_digest_follows_the_frame_whose_book_it_is(tmp_path: Path) -> None:
    """Also when many frames come at once."""
    tape = Tape(tmp_path, [BOOK])
    deltas = [
        book("delta", 11 + number, [("99.5", str(number))], [], START_NS // MS) for number in range(130)
    ]
    tape.capture.frame_list(0, [SNAPSHOT, *deltas], START_NS)
    tape.stop()
    said = _said(_records(tmp_path))
    found = [(said[i - 1], said[i]) for i in range(len(said)) if isinstance(said[i], notes.Digest)]
    assert [(frame, note.update_id) for frame, note in found[1:]] == [(deltas[63], 74), (deltas[127], 138)]


def test_gaps_are_told_after_they_are_recorded(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK])
    seen: list[int] = []
    tape.capture._on_event = lambda event: seen.append(tape.journal._next_sequence - event.sequence)
    tape.frames([SNAPSHOT, book("delta", 12, [], [], START_NS // MS), b"\xff", SNAPSHOT])
    assert tape.capture.gaps == {BOOK: 1, "": 1}
    # opened, undecodable and its gap, both closed: each after its own record was appended
    assert len(seen) == 5
    assert min(seen) >= 1
    tape.stop()


def test_silence_is_declared_of_live_feeds_only(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK])
    tape.capture.stale(BOOK, "silence")
    tape.frames([SNAPSHOT])
    for _ in range(2):
        tape.capture.stale(BOOK, "silence")
    assert tape.engine.state(0) is FeedState.STALE
    (event,) = [event for event in tape.events if event.kind is EventKind.GAP_OPENED]
    assert (event.topic, event.detail) == (BOOK, "silence")
    tape.stop()
    assert _said(_records(tmp_path)).count(notes.Stale(topic=BOOK, cause="silence")) == 1


def test_what_instruments_announce(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK])
    tape.capture.rest("/v5/market/instruments-info?category=linear", b'{"retCode":0,"x":"\xff"}')
    tape.capture.announce("BTCUSDT", 2, 3)
    assert tape.engine.exponents("BTCUSDT") == (-2, -3)
    tape.stop()
    records = _records(tmp_path)
    (rest,) = [record for record in records if record.kind == RecordKind.REST]
    assert b"instruments-info" in rest.payload
    widened = [note for note in _said(records) if isinstance(note, notes.Widened)]
    # What was announced, and what the engine made of it; a replay goes by the first alone.
    assert [note.source for note in widened] == ["instruments", "frame"]


def test_answers_are_kept_as_received(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [])
    tape.capture.control(4, '{"op":"pong"}', START_NS + 5)
    tape.stop()
    (record,) = [record for record in _records(tmp_path) if record.line == 4]
    assert (record.receive_ns, record.kind) == (START_NS + 5, RecordKind.SESSION)
    assert notes.decode_session(record.payload) == notes.Control(text='{"op":"pong"}')


def test_a_rotated_segment_stands_alone(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames(market(0, 40))
    engine = tape.engine
    shared, checkpoints = engine.shared(), [engine.checkpoint(i) for i in range(engine.feed_count)]
    first = tape.rotate()
    tape.stop()
    with SegmentReader(first) as reader:
        records = list(reader.records())
        end, closing = _said(records)[-2:]
    assert end == notes.End(reason="rotated")
    assert closing.reason == "rotated"
    with SegmentReader(segments(tmp_path)[1].path) as reader:
        begun = list(reader.records())
    said = _said(begun)
    assert said[0] == notes.Begin(run=START_NS, continued=True)
    assert said[1] == shared
    assert said[2:6] == checkpoints
    assert begun[0].sequence == records[-1].sequence + 1
    # It begins when the one before ended, to the nanosecond.
    assert begun[0].receive_ns == records[-1].receive_ns == records[-2].receive_ns


def test_a_journal_that_failed_takes_nothing_and_the_engine_hears_nothing(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK])
    tape.frames([SNAPSHOT])
    tape.stop()
    before = tape.engine.checkpoint(0)
    with pytest.raises(StoreError):
        tape.frames([book("delta", 11, [("1", "1")], [], START_NS // MS)])
    assert tape.engine.checkpoint(0) == before


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (b'{"success":true,"ret_msg":"pong","op":"ping"}', True),
        (b'{"success":true,"conn_id":"x","data":{},"type":"COMMAND_RESP"}', True),
        (b'{"retCode":0,"op":"pong"}', True),
        (b'{"args":["1"],"op":"pong"}', True),
        (SNAPSHOT, False),
        (b'{"topic":"x","op":"ping"}', False),
        (b"{}", False),
        (b"", False),
        (b"\xff", False),
    ],
)
def test_what_can_only_be_an_answer(frame: bytes, answer: bool) -> None:
    assert is_answer(frame) is answer
