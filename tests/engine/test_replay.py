"""One segment's records as rows, gaps and coverage; what is made of records that contradict each other."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from engine.core.feeds import Engine
from engine.replay import MAX_MISMATCHES, Replay, day_of_ns, symbol_of
from recorder.journal.format import build_batch
from schemas.errors import ConfigError
from schemas.names import Category, RecordKind, Table
from schemas.notes import (
    Begin,
    Close,
    Digest,
    Disconnected,
    Feeds,
    RestAnswer,
    Stale,
    Subscribed,
    Unsubscribed,
    encode,
)
from schemas.tables import schema_of

START = 1_700_000_000_000_000_000
DAY = 86_400 * 10**9
BOOK = "orderbook.50.BTCUSDT"
TRADES = "publicTrade.BTCUSDT"

Piece = bytes | msgspec.Struct


def _book(update_id: int, kind: str = "delta", at_ns: int = START) -> bytes:
    data = {"s": "BTCUSDT", "b": [["1", str(update_id)]], "a": [], "u": update_id, "seq": update_id}
    at_ms = at_ns // 10**6
    return json.dumps({"topic": BOOK, "type": kind, "ts": at_ms, "data": data, "cts": at_ms}).encode()


def _trade(trade_id: str) -> bytes:
    at_ms = START // 10**6
    one = {"T": at_ms, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "1", "i": trade_id}
    return json.dumps({"topic": TRADES, "type": "snapshot", "ts": at_ms, "data": [one]}).encode()


class Played:
    """Records one a millisecond from START on, sequences from 100 on, and what a replay made of them."""

    def __init__(self, pieces: list[Piece], *, end_ns: int | None = None, line: int = 0) -> None:
        session = (Subscribed, Unsubscribed, Disconnected)
        records = []
        for number, piece in enumerate(pieces):
            kind = RecordKind.SESSION if isinstance(piece, session) else RecordKind.NOTE
            if isinstance(piece, bytes):
                records.append((START + number * 10**6, line, int(RecordKind.FRAME), piece))
            else:
                records.append((START + number * 10**6, line, int(kind), encode(piece)))
        self.replay = Replay("linear", Category.LINEAR, START)
        self.replay.batch(build_batch(100, records))
        self.end_ns = START + len(pieces) * 10**6 if end_ns is None else end_ns
        self.tables = self.replay.finish(self.end_ns)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        out = []
        for key in sorted(self.tables):
            if key[0] is not table:
                continue
            found = self.tables[key]
            columns = {
                name: (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
                for name, column in zip(found.column_names, found.columns, strict=True)
            }
            out += [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return out

    def coverage(self) -> list[tuple[str, int, int, int, int]]:
        """(topic, start and end in ms since START, messages, lines), in order."""
        return [
            (
                row["topic"],
                (row["start_time"] - START) // 10**6,
                (row["end_time"] - START) // 10**6,
                row["messages"],
                row["lines"],
            )
            for row in self.rows(Table.COVERAGE)
        ]


BEGIN: list[Piece] = [Begin(run=START, continued=False), Feeds(topics=[BOOK, TRADES])]


def test_every_table_has_its_schema() -> None:
    played = Played([*BEGIN, Subscribed(topics=[BOOK, TRADES]), _book(5, "snapshot"), _trade("a"), _book(9)])
    assert {key[0] for key in played.tables} == {
        Table.BOOK_UPDATES, Table.TRADES, Table.GAPS, Table.COVERAGE, Table.RAW_RECORDS,
    }  # fmt: skip
    for (table, symbol, day), rows in played.tables.items():
        assert rows.schema.equals(schema_of(table), check_metadata=True)
        assert (symbol, day) == ("_" if table is Table.RAW_RECORDS else "BTCUSDT", START // DAY)
        rows.validate(full=True)


def test_what_it_counts() -> None:
    close = Close(reason="stopped", batches=1, rows=4, last_sequence=103)
    played = Played([*BEGIN, _book(5, "snapshot"), b"\xff", close])
    replay = played.replay
    assert (replay.records, replay.frames) == (5, 2)
    assert (replay.first_sequence, replay.last_sequence) == (100, 104)
    assert replay.begin == BEGIN[0]
    assert replay.close == close
    assert replay.close_ns == replay.last_receive_ns == START + 4 * 10**6


def test_nothing_at_all() -> None:
    replay = Replay("linear", Category.LINEAR, START)
    replay.batch(build_batch(0, [(START, 0, 3, encode(Begin(run=1, continued=False)))]).slice(0, 0))
    assert replay.finish(START) == {}
    assert (replay.records, replay.first_sequence) == (0, None)


def test_a_slice_of_a_batch_is_read_where_it_lies() -> None:
    records = [(START, 0, 0, frame) for frame in (_book(1, "snapshot"), _book(2), _book(3), _book(4))]
    batch = build_batch(7, records)
    for start, stop in ((0, 4), (1, 3), (3, 4), (2, 2)):
        replay = Replay("linear", Category.LINEAR, START)
        replay.engine.add_feed(BOOK)
        replay.batch(batch.slice(start, stop - start))
        rows = replay.take_rows()
        for key, table in rows.items():
            found = table.column("sequence").to_pylist()
            # of raw_records: what was learned from the first frame
            assert found == list(range(7 + start, 7 + stop)) or key[0] is Table.RAW_RECORDS
        assert len(rows) == (2 if stop > start else 0)


# ---- coverage ----------------------------------------------------------------------------------------------------


def test_coverage_begins_with_the_acknowledgement_and_ends_with_the_segment() -> None:
    played = Played([*BEGIN, Subscribed(topics=[BOOK]), _book(5, "snapshot"), _book(6)])
    assert played.coverage() == [(BOOK, 2, 5, 2, 1)]
    (row,) = played.rows(Table.COVERAGE)
    assert row["sequence"] == 102


def test_or_with_a_frame_that_came_before_it() -> None:
    played = Played([*BEGIN, _book(5, "snapshot"), _book(6), Subscribed(topics=[BOOK]), _book(7)])
    assert played.coverage() == [(BOOK, 2, 6, 3, 1)]


def test_a_feed_that_said_nothing_was_recorded_all_the_same() -> None:
    assert Played([*BEGIN, Subscribed(topics=[TRADES])]).coverage() == [(TRADES, 2, 3, 0, 1)]


def test_one_that_was_never_acknowledged_and_never_came_was_not() -> None:
    assert Played(BEGIN).coverage() == []


def test_a_feed_left_and_taken_up_again_has_two_spans() -> None:
    played = Played(
        [*BEGIN, Subscribed(topics=[TRADES]), _trade("a"), Unsubscribed(topics=[TRADES]), b"{}",
         Subscribed(topics=[TRADES]), _trade("b"), _trade("b")]
    )  # fmt: skip
    assert played.coverage() == [(TRADES, 2, 4, 1, 1), (TRADES, 6, 9, 2, 1)]


def test_a_feed_left_for_good_has_one_span() -> None:
    """Frames that were on their way are rows, and no reason to call the feed recorded."""
    played = Played(
        [*BEGIN, Subscribed(topics=[TRADES]), _trade("a"), Unsubscribed(topics=[TRADES]), _trade("b")]
    )
    assert played.coverage() == [(TRADES, 2, 4, 1, 1)]
    assert len(played.rows(Table.TRADES)) == 2


def test_a_second_acknowledgement_begins_nothing_new() -> None:
    played = Played(
        [*BEGIN, Subscribed(topics=[BOOK]), _book(5, "snapshot"), Subscribed(topics=[BOOK]), _book(6)]
    )
    assert played.coverage() == [(BOOK, 2, 6, 2, 1)]


def test_leaving_what_was_never_there() -> None:
    played = Played([*BEGIN, Unsubscribed(topics=[BOOK, "orderbook.50.NOBODY"])])
    assert played.coverage() == []


def test_what_ended_in_an_earlier_segment_stays_unknown_when_its_end_is_acknowledged() -> None:
    feeds: list[Piece] = [Begin(run=START, continued=True), Feeds(topics=[TRADES])]
    played = Played([*feeds, _book(5), Unsubscribed(topics=[BOOK]), _book(6)])  # another line still brings it
    assert {key[0] for key in played.tables} == {Table.RAW_RECORDS}
    assert played.replay.engine.topics() == [TRADES]


# ---- gaps --------------------------------------------------------------------------------------------------------


def test_a_gap_that_is_healed() -> None:
    played = Played([*BEGIN, _book(5, "snapshot"), _book(8), _book(20, "snapshot")])
    (gap,) = played.rows(Table.GAPS)
    assert gap == {
        "sequence": 104, "collector": "linear", "topic": BOOK, "start_time": START + 2 * 10**6,
        "end_time": START + 4 * 10**6, "start_match_time": START // 10**6, "end_match_time": START // 10**6,
        "first_update_id": 6, "last_update_id": 19, "cause": "lost", "healed_by": "snapshot",
    }  # fmt: skip


def test_a_gap_that_is_open_at_the_end() -> None:
    played = Played([*BEGIN, _book(5, "snapshot"), Stale(topic=BOOK, cause="silence")])
    (gap,) = played.rows(Table.GAPS)
    assert (gap["cause"], gap["end_time"], gap["healed_by"], gap["last_update_id"]) == (
        "silence",
        None,
        None,
        None,
    )
    assert gap["sequence"] == 103  # the last record of the segment


def test_gaps_and_coverage_are_filed_by_the_day_they_end_or_begin_on() -> None:
    end_ns = START + 3 * DAY
    played = Played(
        [*BEGIN, Subscribed(topics=[BOOK]), _book(5, "snapshot"), Disconnected(reason="x")], end_ns=end_ns
    )
    days = {key[0]: key[2] for key in played.tables}
    assert days[Table.GAPS] == day_of_ns(end_ns)
    assert days[Table.COVERAGE] == day_of_ns(START)


def test_damage_without_a_topic_is_filed_under_nobody() -> None:
    played = Played([*BEGIN, b"\xff"], line=2)
    assert [key[1] for key in played.tables if key[0] is Table.GAPS] == ["_"]
    (gap,) = played.rows(Table.GAPS)
    assert (gap["topic"], gap["cause"], gap["end_time"]) == ("", "undecodable", None)


# ---- digests -----------------------------------------------------------------------------------------------------


def _digest_after(*frames: bytes) -> str:
    engine = Engine(Category.LINEAR)
    engine.add_feed(BOOK)
    for frame in frames:
        engine.apply(frame, 1, 1)
    return f"{engine.digest(0):016x}"


def test_a_live_digest_goes_into_the_row() -> None:
    live = _digest_after(_book(5, "snapshot"))
    played = Played([*BEGIN, _book(5, "snapshot"), Digest(topic=BOOK, update_id=5, digest=live), _book(6)])
    assert [row["digest"] for row in played.rows(Table.BOOK_UPDATES)] == [int(live, 16), None]
    assert (played.replay.digests, played.replay.mismatches) == (1, [])


@pytest.mark.parametrize(
    ("topic", "update_id", "replayed"),
    [
        (BOOK, 5, _digest_after(_book(5, "snapshot"))),
        (BOOK, 4, "no such state"),
        ("tickers.NOBODY", 5, "no such state"),
    ],
)
def test_one_that_the_replay_does_not_meet(topic: str, update_id: int, replayed: str) -> None:
    note = Digest(topic=topic, update_id=update_id, digest="00000000000000aa")
    played = Played([*BEGIN, _book(5, "snapshot"), note])
    (mismatch,) = played.replay.mismatches
    assert (mismatch.topic, mismatch.update_id, mismatch.sequence) == (topic, update_id, 103)
    assert (mismatch.live, mismatch.replayed) == ("00000000000000aa", replayed)
    # The archive holds what the live engine said, so that the difference stays visible.
    assert [row["digest"] for row in played.rows(Table.BOOK_UPDATES)] == [
        0xAA if (topic, update_id) == (BOOK, 5) else None
    ]


def test_mismatches_are_bounded() -> None:
    note = Digest(topic=BOOK, update_id=5, digest="00000000000000aa")
    played = Played([*BEGIN, *[note] * (MAX_MISMATCHES + 5)])
    assert len(played.replay.mismatches) == MAX_MISMATCHES
    assert played.replay.digests == MAX_MISMATCHES + 5


# ---- hostile records ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RecordKind.NOTE, RecordKind.SESSION])
@pytest.mark.parametrize(
    "payload", [b"", b"{", b"{}", b"[]", b"7", b'{"note":"?"}', b'{"event":"?"}', b"\xff"]
)
def test_records_that_make_no_sense_are_errors(kind: RecordKind, payload: bytes) -> None:
    replay = Replay("linear", Category.LINEAR, START)
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        replay.batch(build_batch(0, [(START, 0, int(kind), payload)]))


def test_topics_that_are_none_are_errors() -> None:
    with pytest.raises(ConfigError):
        Played([Feeds(topics=["nonsense"])])


def test_kinds_that_say_nothing_about_rows_are_passed_over() -> None:
    replay = Replay("linear", Category.LINEAR, START)
    answer = encode(RestAnswer(path="/v5/market/time", body="not even JSON"))
    replay.batch(build_batch(0, [(START, 0, int(RecordKind.REST), answer), (START, 0, 200, b"later")]))
    ((key, rows),) = replay.finish(START).items()
    assert key[0] is Table.RAW_RECORDS
    assert rows.column("kind").to_pylist() == [RecordKind.REST, 200]
    assert rows.column("payload").to_pylist() == [answer, b"later"]
    assert replay.records == 2


@pytest.mark.parametrize(
    ("category", "topic", "symbol"),
    [
        (Category.LINEAR, BOOK, "BTCUSDT"),
        (Category.LINEAR, "", "_"),
        (Category.OPTION, "publicTrade.BTC", "BTC"),
        (Category.SPOT, "tickers.A", "A"),
    ],
)
def test_the_symbol_under_which_a_topic_is_filed(category: Category, topic: str, symbol: str) -> None:
    assert symbol_of(category, topic) == symbol


@pytest.mark.parametrize(("ns", "day"), [(0, 0), (DAY - 1, 0), (DAY, 1), (START, 19_675), (-1, -1)])
def test_days(ns: int, day: int) -> None:
    assert day_of_ns(ns) == day
