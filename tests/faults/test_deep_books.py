"""orderbook.rpi and orderbook.full over real sockets, on a bad network: every book is the exchange's at its update id.

The truth is what the simulated market's own streams held at each push, taken where it is made; what was recorded is
added up here from the archive's rows by dictionaries, so that neither the core nor its readers vouch for themselves.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.core.replay import BookReplay
from engine.market.deep import FullStream, RpiStream
from engine.timing import Timing
from recorder.archive import open_archive
from recorder.book_at import book_object, book_text
from recorder.book_state import book_at, choose_topic
from recorder.collector import Collector, Report
from recorder.feed_rows import Clock
from recorder.gateway import Gateway, GatewayOptions
from recorder.gateway.faults import parse_faults
from recorder.journal import SegmentReader, segments
from recorder.manifest import read_manifest
from recorder.roll import roll_data
from recorder.verify import verify
from schemas.config import RecordConfig
from schemas.names import Category, FeedState, RecordKind, Table
from schemas.notes import FullBook, decode_rest
from schemas.tables import FULL_DEPTH, RPI_DEPTH

FULL, RPI = "orderbook.full.BTCUSDT", "orderbook.rpi.BTCUSDT"
Side = dict[Decimal, tuple[Decimal, ...]]
Sides = tuple[Side, Side]


@dataclass
class Truth:
    """What the exchange held at each update id; an id comes again after a restart."""

    full: dict[int, list[Sides]] = field(default_factory=dict)
    rpi: dict[int, list[Sides]] = field(default_factory=dict)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take down every state that the streams push."""
        remember, frame = FullStream._remember, RpiStream._frame

        def full(stream: FullStream) -> None:
            remember(stream)
            bids, asks, state = stream.view(0)
            self.full.setdefault(state.update_id, []).append((_side(bids), _side(asks)))

        def rpi(stream: RpiStream, kind: str, now_ns: int, *sides: Any) -> bytes:
            bids, asks = stream.levels()
            self.rpi.setdefault(stream.update_id, []).append((_side(bids), _side(asks)))
            return frame(stream, kind, now_ns, *sides)

        monkeypatch.setattr(FullStream, "_remember", full)
        monkeypatch.setattr(RpiStream, "_frame", rpi)


def _side(levels: Any) -> Side:
    side: Side = {Decimal(price): tuple(map(Decimal, sizes)) for price, *sizes in levels}
    return {price: sizes for price, sizes in side.items() if any(sizes)}


async def record(
    data: Path, topics: list[str], until: Callable[[Collector], bool], *, lines: int = 1, **gateway: Any
) -> tuple[Report, dict[str, Any]]:
    """Record a market that runs ten times as fast as the clock until enough of it has been seen.

    Returns the report and the last status.
    """
    options = GatewayOptions(
        simulate=11, category=Category.SPOT, speed=10.0, symbol_count=1, rate=0.5, **gateway
    )
    async with Gateway(options) as exchange:
        collector = Collector(
            RecordConfig(
                category=Category.SPOT, data=str(data), segment_seconds=1.5, commit_ms=2.0, lines=lines
            ),
            exchange.url,
            topics,
            crashed=[],
            timing=Timing(tick_s=0.02, first_retry_ns=200_000_000, backoff_base_ns=10_000_000),
        )
        recording = asyncio.create_task(collector.run())
        try:
            async with asyncio.timeout(60):
                while not recording.done() and not (collector.is_recording and until(collector)):  # noqa: ASYNC110 - any of many things
                    await asyncio.sleep(0.02)
        finally:
            collector.stop("enough was seen")
        report = await asyncio.wait_for(recording, 60)
        return report, collector.status(stopped=True)


def messages(collector: Collector, topic: str) -> int:
    feed = collector.engine.feed_index(topic)
    return 0 if feed < 0 else collector.engine.messages(feed)


def is_live(collector: Collector, topic: str) -> bool:
    feed = collector.engine.feed_index(topic)
    return feed >= 0 and collector.engine.state(feed) is FeedState.LIVE


def walk(data: Path, table: Table, truth: dict[int, list[Sides]]) -> Counter[str]:
    """Add the applied rows up and hold every state against the exchange's."""
    archive = data / "archive"
    names = ["price", "size", "rpi_size"] if table is Table.RPI_BOOK_UPDATES else ["price", "size"]
    seen: Counter[str] = Counter()
    files = read_manifest(archive).select(table, symbol="BTCUSDT")
    for file in sorted(files, key=lambda file: (file.segment, file.date)):
        sides: Sides | None = None  # each file stands alone
        rows = pq.read_table(archive / file.path)
        rows = rows.filter(
            pc.equal(rows["depth"], RPI_DEPTH if table is Table.RPI_BOOK_UPDATES else FULL_DEPTH)
        )
        for row in rows.drop_columns(["receive_time", "push_time", "match_time"]).to_pylist():
            seen[row["kind"] if row["applied"] else "unapplied"] += 1
            if not row["applied"]:
                continue
            message = tuple(_levels(row, side, names) for side in ("bid", "ask"))
            if row["kind"] != "delta":
                sides = ({}, {})
            assert sides is not None, row["update_id"]
            for side, levels in zip(sides, message, strict=True):
                for price, *sizes in levels:
                    side.pop(price, None)
                    if any(sizes):
                        side[price] = tuple(sizes)
            assert sides in truth[row["update_id"]], (file.path, row["update_id"], row["kind"])
    return seen


def _levels(row: dict[str, Any], side: str, names: list[str]) -> list[tuple[Decimal, ...]]:
    price, size = row["price_exponent"], row["size_exponent"]
    columns = [row[f"{side}_{name}_mantissa"] for name in names]
    return [
        (Decimal(level[0]).scaleb(price), *(Decimal(item).scaleb(size) for item in level[1:]))
        for level in zip(*columns, strict=True)
    ]


def rolled(data: Path) -> Any:
    """Roll and verify: the journal replayed, the live digests and the rows agree."""
    roll_data(data)
    result = verify(data)
    assert result.failures == []
    assert result.live_digests > 0
    return result


def answers(data: Path) -> list[FullBook]:
    """The REST answers that were used."""
    out = []
    for segment in segments(data):
        with SegmentReader(segment.path) as reader:
            out += [decode_rest(r.payload) for r in reader.records() if r.kind == RecordKind.REST]
    return [answer for answer in out if isinstance(answer, FullBook)]


async def test_a_quiet_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rotated(collector: Collector) -> bool:
        sealed = sum(segment.state == "sealed" for segment in segments(tmp_path))
        return sealed > 0 and is_live(collector, FULL) and messages(collector, RPI) > 150

    truth = Truth()
    truth.watch(monkeypatch)
    report, status = await record(tmp_path, [FULL, RPI, "orderbook.50.BTCUSDT"], rotated)
    assert {feed.topic: (feed.state, feed.gaps) for feed in report.feeds} == dict.fromkeys(
        [FULL, RPI, "orderbook.50.BTCUSDT"], ("live", 0)
    )
    (told,) = status["full_books"]
    assert (told["topic"], told["loaded"], told["attempts"]) == (FULL, 1, 0)
    result = rolled(tmp_path)
    assert (result.gaps, result.segments) == (0, len(segments(tmp_path)))
    assert result.segments >= 2  # the rotation in between began with the whole state
    full = walk(tmp_path, Table.BOOK_UPDATES, truth.full)
    assert full["snapshot"] >= 1
    assert walk(tmp_path, Table.RPI_BOOK_UPDATES, truth.rpi)["delta"] > 100
    assert_book_command(tmp_path, truth)
    for file in read_manifest(tmp_path / "archive").select(Table.BOOK_UPDATES, symbol="BTCUSDT"):
        rows = pq.read_table(tmp_path / "archive" / file.path)
        rows = rows.filter(pc.equal(rows["depth"], FULL_DEPTH))
        replay = BookReplay(FULL_DEPTH)  # refuses what doesn't fit, and holds rows against their digests
        replay.best(rows)
        # the first segments may end before the answer that the deltas wait for
        assert replay.trusted == (True in rows["applied"].to_pylist())
    (answer,) = answers(tmp_path)
    assert answer.path == "/v5/market/full_orderbook?category=spot&symbol=BTCUSDT"


async def test_answers_that_lag_are_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = Truth()
    truth.watch(monkeypatch)
    report, status = await record(tmp_path, [FULL], lambda it: is_live(it, FULL), full_lag=12)
    assert report.feeds[0].state == "live"
    (told,) = status["full_books"]
    assert told["asked"] > told["loaded"] == 1
    rolled(tmp_path)
    seen = walk(tmp_path, Table.BOOK_UPDATES, truth.full)
    assert seen["unapplied"] > 0  # what waited
    assert seen["snapshot"] == 1
    (answer,) = answers(tmp_path)
    assert answer.deltas  # and was taken behind the answer


@pytest.mark.parametrize(
    "faults",
    [
        "drop=0.02,repeat=0.03,reorder=0.02,seed=5",
        pytest.param("cut=0.004,drop=0.01,corrupt=0.01,seed=6", marks=pytest.mark.slow),
        pytest.param("restart=1.5,drop=0.01,seed=7", marks=pytest.mark.slow),
    ],
)
async def test_a_bad_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: str) -> None:
    truth = Truth()
    truth.watch(monkeypatch)

    def healed(collector: Collector) -> bool:
        """Both have had gaps, and begun again."""
        return (
            min(collector.capture.gaps[topic] for topic in (FULL, RPI)) >= 2
            and min(messages(collector, topic) for topic in (FULL, RPI)) > 120
            and collector.checks.full_books.syncs[FULL].loads >= 2
            and is_live(collector, FULL)
            and is_live(collector, RPI)
        )

    await record(tmp_path, [FULL, RPI], healed, faults=parse_faults([faults]), full_lag=3)
    result = rolled(tmp_path)
    assert result.gaps >= 2
    assert walk(tmp_path, Table.BOOK_UPDATES, truth.full)["snapshot"] >= 2
    assert walk(tmp_path, Table.RPI_BOOK_UPDATES, truth.rpi)["delta"] > 0
    with open_archive(tmp_path) as archive:
        causes = archive.sql("SELECT topic, cause, healed_by FROM gaps").table().to_pylist()
    assert {row["topic"] for row in causes} >= {FULL, RPI}
    assert all(row["healed_by"] in ("snapshot", None) for row in causes if row["topic"])


async def test_two_lines_are_one_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one line loses the other brings: deltas that wait are there once, and a loss on one line is no gap."""
    truth = Truth()
    truth.watch(monkeypatch)

    def enough(collector: Collector) -> bool:
        return min(messages(collector, topic) for topic in (FULL, RPI)) > 150 and is_live(collector, FULL)

    faults = parse_faults(["drop=0.03,repeat=0.02,seed=9"])
    report, _ = await record(tmp_path, [FULL, RPI], enough, lines=2, faults=faults, full_lag=2)
    # one line alone would have had about five each
    assert max(feed.gaps for feed in report.feeds) <= 3
    rolled(tmp_path)
    assert walk(tmp_path, Table.BOOK_UPDATES, truth.full)["delta"] > 10
    assert walk(tmp_path, Table.RPI_BOOK_UPDATES, truth.rpi)["delta"] > 10


def assert_book_command(data: Path, truth: Truth) -> None:
    """``tapebook book`` shows the last state of both, levels of the RPI book with both sizes."""
    with open_archive(data) as archive:
        assert choose_topic(archive, "spot", "BTCUSDT", None) == FULL
        for wanted, expected in (("orderbook.full", truth.full), ("orderbook.rpi", truth.rpi)):
            topic = choose_topic(archive, "spot", "BTCUSDT", wanted)
            table = "rpi_book_updates" if wanted.endswith("rpi") else "book_updates"
            last = archive.sql(f"SELECT epoch_ns(max(receive_time)) AS at FROM {table}").table()
            (end,) = last["at"].to_pylist()
            answer = book_at(archive, "spot", "BTCUSDT", topic, end, Clock.RECEIVE)
            shown = book_object(answer, 20_000)
            assert (shown["topic"], shown["state"]) == (topic, "live")
            assert (_side(shown["bids"]), _side(shown["asks"])) in expected[shown["update_id"]]
            assert {len(level) for level in shown["bids"]} == {3 if wanted.endswith("rpi") else 2}
            prices = [Decimal(level[0]) for level in shown["bids"]]
            assert prices == sorted(prices, reverse=True)
            text = book_text(answer, 5).splitlines()
            heads = (
                "bid RPI size bid size bid ask ask size ask RPI size" if len(answer.bids[0]) == 3 else None
            )
            assert heads is None or text[-6].split() == heads.split()
