"""A recording as it lies on disk, read without the engine, and held against what was sent."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from engine.market import Market
from engine.stored_rows import restore
from recorder.archive import open_archive
from recorder.book_state import BookAnswer, book_at
from recorder.feed_rows import Clock
from recorder.file_places import parquet_source
from recorder.journal import Record, SegmentReader, segments
from recorder.manifest import read_manifest
from recorder.verify import verify
from schemas.errors import NoData
from schemas.names import Category, RecordKind, Table
from tests.ledger import QUIET, BookRow, Expected, Gap, Ladder, TickerRow, TradeRow, expect, read_ledger
from tests.processes import gateway, tapebook

__all__ = [
    "PLAIN_TABLES",
    "START_NS",
    "Moment",
    "Recorded",
    "assert_answers",
    "assert_verified",
    "exchange_of",
    "hold",
    "items_of",
    "market_feed",
    "plain_levels",
    "record_replay",
    "row_sides",
]

START_NS = 1_760_000_000_000_000_000

PLAIN_TABLES = (
    Table.KLINES,
    Table.PRICE_LIMITS,
    Table.LIQUIDATIONS,
    Table.INSURANCE,
    Table.ADL_ALERTS,
    Table.SYSTEM_STATUS,
)
"""Tables of messages that stand for themselves."""

Side = list[tuple[Decimal, Decimal]]


class Recorded:
    """One collector's journal and archive."""

    def __init__(self, data: Path, collector: str) -> None:
        self.data = data
        self.collector = collector

    @cached_property
    def records(self) -> list[Record]:
        """Every record of the sealed segments, in order."""
        found: list[Record] = []
        for segment in sorted(segments(self.data, self.collector), key=lambda file: file.start_ns):
            if segment.state == "sealed":
                with SegmentReader(segment.path) as reader:
                    found += reader.records()
        return found

    @cached_property
    def frames(self) -> list[Record]:
        """Its frames."""
        return [record for record in self.records if record.kind == RecordKind.FRAME]

    def rows(self, table: Table, symbol: str | None = None) -> Iterator[dict[str, Any]]:
        """Rows of the manifest's files, segment after segment; times are integers in the column's unit."""
        manifest = read_manifest(self.data / "archive")
        files = [
            file
            for file in manifest.files
            if file.table == table.value
            and file.collector == self.collector
            and symbol in (None, file.symbol)
        ]
        for file in sorted(files, key=lambda file: (file.segment, file.symbol, file.date)):
            for stored in pq.ParquetFile(parquet_source(manifest.place(file.path))).iter_batches():
                batch = restore(table, pa.Table.from_batches([stored]))
                columns = []
                for column in batch.columns:
                    moment = pa.types.is_timestamp(column.type)
                    columns.append((column.cast(pa.int64()) if moment else column).to_pylist())
                for values in zip(*columns, strict=True):
                    yield {"symbol": file.symbol, **dict(zip(batch.schema.names, values, strict=True))}

    @cached_property
    def gaps(self) -> list[dict[str, Any]]:
        """Rows of the ``gaps`` view as a user gets them; times in integer nanoseconds."""
        with open_archive(self.data) as archive:
            rows: list[dict[str, Any]] = (
                archive.sql(
                    "SELECT topic, cause, first_update_id, last_update_id, healed_by, sequence, "
                    "epoch_ns(start_time) AS start_ns, epoch_ns(end_time) AS end_ns, "
                    "epoch_ns(start_match_time) AS start_match_ns, epoch_ns(end_match_time) AS end_match_ns FROM gaps "
                    f"WHERE collector = '{self.collector}' ORDER BY start_ns"
                )
                .table()
                .to_pylist()
            )
        return rows


def hold(recorded: Recorded, expected: Expected) -> None:
    """Assert that the archive has exactly the rows and gaps that were expected of it."""
    number = {record.sequence: index for index, record in enumerate(recorded.frames)}

    def frame_of(topic: str, row: dict[str, Any]) -> int:
        assert row["sequence"] in number, f"{topic}: a row of record {row['sequence']}, which is no frame"
        return number[row["sequence"]]

    books: dict[str, list[BookRow]] = {}
    for row in recorded.rows(Table.BOOK_UPDATES):
        if row["kind"] == "keyframe":
            continue
        topic = f"orderbook.{row['depth']}.{row['symbol']}"
        at = frame_of(topic, row)
        books.setdefault(topic, []).append(BookRow(at, row["kind"], row["update_id"], row["applied"]))
        assert row_sides(row) == plain_levels(recorded.frames[at].payload), f"{topic} u={row['update_id']}"
    _hold_rows(books, expected.books)

    tickers: dict[str, list[TickerRow]] = {}
    for row in recorded.rows(Table.TICKERS):
        topic = f"tickers.{row['symbol']}"
        tickers.setdefault(topic, []).append(TickerRow(frame_of(topic, row), row["kind"], row["applied"]))
    _hold_rows(tickers, expected.tickers)

    trades: dict[str, list[TradeRow]] = {}
    fetched: dict[str, dict[str, TradeRow]] = {}
    for row in recorded.rows(Table.TRADES):
        price = Decimal(row["price_mantissa"]).scaleb(row["price_exponent"])
        size = Decimal(row["size_mantissa"]).scaleb(row["size_exponent"])
        trade = TradeRow(row["symbol"], row["trade_id"], row["side"], price, size, row["match_time"])
        if row["source"] == "backfill":
            fetched.setdefault(row["symbol"], {})[row["trade_id"]] = trade
        else:
            trades.setdefault(row["symbol"], []).append(trade)
    # A trade that a gap had lost and that REST told is a row already when the stream brings it after all.
    wanted_trades = {}
    for symbol, wanted_of in expected.trades.items():
        known = fetched.get(symbol, {})
        assert all(known.get(trade.trade_id, trade) == trade for trade in wanted_of), "trades fetched back"
        if left := [trade for trade in wanted_of if trade.trade_id not in known]:
            wanted_trades[symbol] = left
    _hold_rows(trades, wanted_trades, "trades of ")

    plain = Counter(row["sequence"] for table in PLAIN_TABLES for row in recorded.rows(table))
    assert plain.keys() <= number.keys(), "rows of what is no frame"
    is_plain = set(expected.plain)
    for at, frame in enumerate(recorded.frames):
        made, said = plain[frame.sequence], items_of(frame.payload) if at in is_plain else 0
        assert made == said, (
            f"record {frame.sequence} makes {made} rows, expected {said}: {frame.payload[:60]!r}"
        )

    found = Counter(
        _comparable(Gap(g["topic"], g["cause"], g["first_update_id"], g["last_update_id"], g["healed_by"]))
        for g in recorded.gaps
    )
    wanted = Counter(map(_comparable, expected.gaps))
    assert found == wanted, f"unexplained: {found - wanted}; missing: {wanted - found}"


def items_of(payload: bytes) -> int:
    """Return how many rows a message makes that stands for itself."""
    data = json.loads(payload)["data"]
    return len(data) if isinstance(data, list) else 1


def _hold_rows(
    found: Mapping[str, Sequence[tuple[Any, ...]]],
    wanted: Mapping[str, Sequence[tuple[Any, ...]]],
    what: str = "",
) -> None:
    for name in sorted({*found, *wanted}):
        for number, pair in enumerate(zip_longest(found.get(name, ()), wanted.get(name, ()))):
            assert pair[0] == pair[1], f"{what}{name}: row {number} is {pair[0]}, expected {pair[1]}"


def _comparable(gap: Gap) -> Gap:
    """What is read together with the acknowledgement before it may be what heals, and REST may have all trades."""
    if gap.topic.startswith(QUIET) and gap.healed_by is not None:
        return gap._replace(healed_by="subscribed")
    return gap


def plain_levels(payload: bytes) -> tuple[Side, Side]:
    """Return the bids and asks that an order-book frame names, in its order."""
    data = json.loads(payload)["data"]
    bids, asks = ([(Decimal(price), Decimal(size)) for price, size in data[key]] for key in ("b", "a"))
    return bids, asks


def row_sides(row: dict[str, Any]) -> tuple[Side, Side]:
    """Return the bids and asks that a row of ``book_updates`` names, in its order."""

    def side(name: str) -> Side:
        prices, sizes = row[f"{name}_price_mantissa"], row[f"{name}_size_mantissa"]
        return [
            (Decimal(price).scaleb(row["price_exponent"]), Decimal(size).scaleb(row["size_exponent"]))
            for price, size in zip(prices, sizes, strict=True)
        ]

    return side("bid"), side("ask")


def assert_verified(data: Path) -> None:
    """Assert that ``verify`` finds no unexplained difference."""
    found = verify(data)
    assert not found.failures, "\n".join(map(str, found.failures))


class Moment(NamedTuple):
    """What a book must be at a moment, behind which row; ``update_id`` None where there is none."""

    row: BookRow
    at_ns: int
    update_id: int | None
    is_live: bool
    bids: Side
    asks: Side


def assert_answers(recorded: Recorded, expected: Expected, category: Category, *, samples: int = 25) -> int:
    """Assert that ``book`` answers on both clocks, inside gaps and around them, are books that really were.

    Returns:
        Number of answers compared.
    """
    compared = 0
    with open_archive(recorded.data) as archive:
        for topic, rows in expected.books.items():
            _, depth, symbol = topic.split(".", 2)
            gaps = [gap for gap in recorded.gaps if gap["topic"] == topic]
            for clock in (Clock.RECEIVE, Clock.MATCH):
                for moment in _moments(recorded, rows, gaps, clock, int(depth), samples):
                    try:
                        answer = book_at(archive, category.value, symbol, topic, moment.at_ns, clock)
                    except NoData:
                        assert moment.update_id is None, f"no book of {topic} at {moment.at_ns} ({clock})"
                        continue
                    assert (answer.update_id, *_answer_sides(answer)) == (
                        moment.update_id,
                        moment.bids,
                        moment.asks,
                    ), f"{topic} at {moment.at_ns} ({clock})"
                    assert (answer.state.value == "live") is moment.is_live, (
                        f"{topic} at {moment.at_ns} ({clock}): {answer.state}"
                    )
                    compared += 1
    return compared


def _answer_sides(answer: BookAnswer) -> tuple[Side, Side]:
    def side(levels: list[tuple[int, int]]) -> Side:
        return [
            (Decimal(price).scaleb(answer.price_exponent), Decimal(size).scaleb(answer.size_exponent))
            for price, size in levels
        ]

    return side(answer.bids), side(answer.asks)


def _moments(
    recorded: Recorded,
    rows: list[BookRow],
    gaps: list[dict[str, Any]],
    clock: Clock,
    depth: int,
    samples: int,
) -> Iterator[Moment]:
    """Choose moments just behind rows, spread evenly and around every gap; say what the book was then."""
    reached: list[int] = []
    for row in rows:
        record = recorded.frames[row.frame]
        time_ns = (
            record.receive_ns if clock is Clock.RECEIVE else json.loads(record.payload)["cts"] * 1_000_000
        )
        reached.append(max(time_ns, reached[-1] if reached else 0))
    broken = [index for index, row in enumerate(rows) if index and row.applied != rows[index - 1].applied]
    step = max(1, len(rows) // samples)
    chosen = {*range(0, len(rows), step), *broken, *(index - 1 for index in broken)}
    ladder, last = Ladder(), None
    states: dict[int, tuple[int | None, Side, Side]] = {}
    ends = {bisect_right(reached, reached[index]) - 1 for index in chosen}
    for index, row in enumerate(rows):
        if row.applied:
            sides = plain_levels(recorded.frames[row.frame].payload)
            scaled = tuple([(int(p.scaleb(18)), int(s.scaleb(18))) for p, s in side] for side in sides)
            (ladder.replace if row.kind == "snapshot" else ladder.change)(*scaled)
            last = row.update_id
        if index in ends:
            bids, asks = (
                [(Decimal(p).scaleb(-18), Decimal(s).scaleb(-18)) for p, s in side]
                for side in ladder.top(depth)
            )
            states[index] = last, bids, asks
    for index, (update_id, bids, asks) in states.items():
        # On the match clock a rebuilt snapshot may be older than a message before it: then the span of the gap decides.
        start, end = ("start_match_ns", "end_match_ns") if clock is Clock.MATCH else ("start_ns", "end_ns")
        is_live = rows[index].applied and not any(
            gap[start] is not None
            and gap[start] < reached[index]
            and (gap["end_ns"] is None or reached[index] < gap[end])
            and gap["start_ns"] >= recorded.frames[rows[index].frame].receive_ns
            for gap in gaps
        )
        yield Moment(rows[index], reached[index], update_id, is_live, bids, asks)


@contextmanager
def exchange_of(
    tmp_path: Path, feed: Path, category: Category, *options: object
) -> Iterator[tuple[str, Path]]:
    """A gateway that replays a file; yields its endpoint and its ledger."""
    ledger = tmp_path / "ledger.jsonl"
    arguments = ["--replay", feed, "--category", category.value, "--ledger", ledger, "--settle", "0.3"]
    with gateway(tmp_path / "gateway", *arguments, *options) as served:
        yield served.url, ledger


def record_replay(
    tmp_path: Path,
    feed: Path,
    category: Category,
    topics: list[str],
    *options: object,
    record: Sequence[object] = (),
) -> tuple[Recorded, Expected]:
    """Record everything a replay sends until it falls idle.

    Args:
        options: further ones of the gateway.
        record: further ones of the recorder.
    """
    data = tmp_path / "data"
    with exchange_of(tmp_path, feed, category, *options) as (endpoint, ledger):
        # what the stream lost is to be seen: nothing comes back over REST
        arguments = ["--category", category.value, "--topics", ",".join(topics), "--stop-after-idle", 1]
        arguments.append("--no-backfill")
        done = tapebook("record", "--endpoint", endpoint, "--data", data, *arguments, *record)
        assert done.code == 0, done.err
    recorded = Recorded(data, category.value)
    frames = [frame.payload for frame in recorded.frames]
    return recorded, expect(read_ledger(ledger), frames, category)


def market_feed(
    path: Path, category: Category, topics: list[str], seconds: float, *, seed: int = 1, late: bool = False
) -> Path:
    """Write a capture of a simulated market, with a second snapshot of every book and ticker in its middle.

    Args:
        late: leave out what comes before that snapshot of a topic but for its last deltas, as a capture that was begun
            in the middle of a feed does.
    """
    market = Market(seed, category, start_ns=START_NS, symbol_count=2)
    half_ns = START_NS + int(seconds * 5e8)
    frames = [frame for frame in map(market.follow, topics) if frame is not None]
    frames += market.advance(half_ns)
    if late:
        frames = [frame for frame in frames if frame.kind == "delta" or frame.update_id is None][-400:]
    frames += [frame for frame in map(market.follow, topics) if frame is not None]
    frames += market.advance(half_ns + int(seconds * 5e8))
    with path.open("wb") as file:
        for frame in frames:
            file.write(b"%d %b\n" % (frame.time_ns + 1_500_000, frame.payload))
    return path
