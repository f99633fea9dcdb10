"""A feed that is ours no longer: coverage ends, no gap begins, and nothing that still comes of it counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recorder.archive import open_archive
from recorder.crashes import crashed_feeds
from recorder.journal import recover
from recorder.roll import roll_data
from recorder.verify import verify
from schemas.names import FeedState
from schemas.notes import Disconnected, Subscribed
from tests.recorder.recordings import BOOK, MS, START_NS, TICKER, TRADES, Tape, book, market, ticker

OTHER = "orderbook.50.ETHUSDT"


def _rows(data: Path, sql: str) -> list[dict[str, Any]]:
    roll_data(data)
    assert verify(data).failures == []
    with open_archive(data) as archive:
        return archive.sql(sql).table().to_pylist()


def test_coverage_ends_there_and_a_lost_line_is_no_gap_of_it(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK, TRADES, TICKER])
    tape.frames(market(0, 40))
    ended_ns = tape.now_ns
    messages = tape.engine.messages(0)
    tape.capture.end_feeds([BOOK, "orderbook.50.NEVEROURS"])
    assert tape.engine.ended(0)
    assert tape.engine.state(0) is FeedState.EMPTY
    tape.frames(market(40, 60))
    assert tape.engine.messages(0) == messages
    assert tape.engine.counters()["unknown_topics"] > 0
    tape.capture.end_feeds([BOOK])
    tape.disconnect()
    tape.rotate()
    tape.frames(market(60, 80))
    tape.stop()
    gaps = _rows(tmp_path, "SELECT DISTINCT topic FROM gaps WHERE cause = 'disconnect'")
    assert {row["topic"] for row in gaps} == {TRADES, TICKER}
    (span,) = _rows(
        tmp_path, f"SELECT epoch_ns(end_time) AS end_ns, messages FROM coverage WHERE topic = '{BOOK}'"
    )
    assert span == {"end_ns": ended_ns, "messages": messages}


def test_an_open_gap_ends_with_its_feed(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK])
    at_ms = START_NS // MS
    tape.frames([book("snapshot", 5, [("1", "1")], [("2", "1")], at_ms), book("delta", 9, [], [], at_ms)])
    tape.capture.end_feeds([BOOK])
    tape.stop()
    (gap,) = _rows(
        tmp_path,
        "SELECT cause, healed_by, first_update_id, last_update_id, end_time IS NULL AS open FROM gaps",
    )
    assert gap == {
        "cause": "lost",
        "healed_by": "end",
        "first_update_id": 6,
        "last_update_id": None,
        "open": False,
    }


def test_a_feed_that_is_added_again_begins_anew(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK, TICKER])
    at_ms = START_NS // MS
    tape.frames(
        [book("snapshot", 5, [("1", "1")], [("2", "1")], at_ms), ticker("snapshot", at_ms, lastPrice="1")]
    )
    tape.capture.end_feeds([BOOK, TICKER])
    tape.frames([book("delta", 6, [("1", "2")], [], at_ms)])
    tape.capture.add_feeds([BOOK, TICKER])
    tape.capture.session(0, Subscribed(topics=[BOOK, TICKER]))
    assert tape.engine.state(0) is FeedState.SYNCING
    tape.frames(
        [
            book("snapshot", 3, [("1", "4")], [("2", "1")], at_ms),
            book("delta", 4, [("1", "5")], [], at_ms),
            ticker("snapshot", at_ms, markPrice="2"),
        ]
    )
    assert tape.engine.state(0) is FeedState.LIVE
    tape.stop()
    assert _rows(tmp_path, "SELECT * FROM gaps") == []
    spans = _rows(tmp_path, "SELECT topic, messages FROM coverage ORDER BY topic, start_time")
    assert [(span["topic"], span["messages"]) for span in spans] == [
        (BOOK, 1),
        (BOOK, 2),
        (TICKER, 1),
        (TICKER, 1),
    ]
    (last,) = _rows(tmp_path, "SELECT last_price, mark_price FROM tickers ORDER BY sequence DESC LIMIT 1")
    assert last["last_price"] is None  # nothing is left of the ticker before


def test_a_crash_behind_it_is_no_gap_of_it_either(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK, TICKER])
    tape.frames(market(0, 20))
    tape.capture.end_feeds([BOOK])
    tape.frames(market(20, 30))
    tape.crash()
    recover(tmp_path, "linear")
    assert [note.topic for note in crashed_feeds(tmp_path, "linear")] == [TICKER]


def test_of_two_feeds_the_other_goes_on(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [BOOK, OTHER])
    at_ms = START_NS // MS
    tape.frames([book("snapshot", 5, [("1", "1")], [("2", "1")], at_ms, topic) for topic in (BOOK, OTHER)])
    tape.capture.end_feeds([BOOK])
    tape.frames([book("delta", 6, [("1", "2")], [], at_ms, OTHER)])
    assert tape.engine.state(1) is FeedState.LIVE
    tape.capture.session(0, Disconnected(reason="lost"))
    assert tape.engine.state(1) is FeedState.STALE
    tape.stop()
    (gap,) = _rows(tmp_path, "SELECT topic FROM gaps")
    assert gap["topic"] == OTHER
