"""Books and snapshots of a large archive, against a replay of every row by a reader that knows no keyframe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.query_archive import DAY_START_NS, SYMBOLS, make_archive
from recorder.archive import Archive, open_archive
from recorder.book_state import book_at
from recorder.ranges import FUNCTIONS
from schemas.names import FeedState
from schemas.time import format_ns

NS_PER_MS = 10**6
DEPTH = 50

Levels = list[tuple[int, int]]
State = tuple[int, Levels, Levels]


def messages(data: Path, symbol: str) -> Iterator[dict[str, Any]]:
    """What was recorded of a book, message by message, as it lies in the files; copies of books are left out."""
    paths = (data / "archive" / "book_updates").rglob(f"symbol={symbol}/*/*.parquet")
    firsts = {
        path: pq.read_table(path, columns=["sequence"], partitioning=None)[0][0].as_py() for path in paths
    }
    for path in sorted(firsts, key=lambda path: firsts[path]):
        for batch in pq.ParquetFile(path).iter_batches():
            times = batch["match_time"].cast(pa.int64())
            for number, row in enumerate(
                batch.drop_columns(["match_time", "push_time", "receive_time"]).to_pylist()
            ):
                if row["kind"] != "keyframe":
                    yield row | {"match_ns": times[number].as_py() * NS_PER_MS}


def states(data: Path, symbol: str, moments: list[int]) -> dict[int, State]:
    """The book as of each moment by match time, which never falls in this archive."""
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    found: dict[int, State] = {}
    waiting = sorted(set(moments))[::-1]
    update_id = -1
    for row in messages(data, symbol):
        assert row["applied"]
        while waiting and waiting[-1] < row["match_ns"]:
            found[waiting.pop()] = _state(update_id, bids, asks)
        if row["kind"] == "snapshot":
            bids.clear()
            asks.clear()
        for side, name in ((bids, "bid"), (asks, "ask")):
            for price, size in zip(row[f"{name}_price_mantissa"], row[f"{name}_size_mantissa"], strict=True):
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
        update_id = row["update_id"]
    for moment in waiting:
        found[moment] = _state(update_id, bids, asks)
    return found


def _state(update_id: int, bids: dict[int, int], asks: dict[int, int]) -> State:
    return update_id, sorted(bids.items(), reverse=True)[:DEPTH], sorted(asks.items())[:DEPTH]


def check(data: Path, hours: float, count: int, *, compacted: bool) -> None:
    make_archive(data, hours, compacted=compacted)
    random = Random(20_240_808)
    end_ns = DAY_START_NS + round(hours * 3600 * 10**9)
    with open_archive(data) as archive:
        for symbol in SYMBOLS:
            moments = [random.randrange(DAY_START_NS + 10**9, end_ns - 10**9) for _ in range(count // 2)]
            starts = [random.randrange(DAY_START_NS + 10**9, end_ns - 30 * 10**9) for _ in range(count // 20)]
            grids = {start: range(start, start + 20 * 10**9, 700 * NS_PER_MS) for start in starts}
            expected = states(data, symbol, [*moments, *(at for grid in grids.values() for at in grid)])
            for moment in moments:
                answer = book_at(archive, "linear", symbol, f"orderbook.{DEPTH}.{symbol}", moment)
                assert (answer.update_id, answer.bids, answer.asks) == expected[moment], (symbol, moment)
                assert answer.state is FeedState.LIVE
            for grid in grids.values():
                assert snapshots(archive, symbol, grid) == [expected[at] for at in grid]


def snapshots(archive: Archive, symbol: str, grid: range) -> list[State]:
    function = FUNCTIONS["snapshots"]
    asked = function.bind(
        ["linear", symbol, format_ns(grid.start), format_ns(grid.stop)],
        {"every": f"{grid.step}ns", "depth": DEPTH, "exact": True},
    )
    out: list[State] = []
    for batch in function.run(archive, asked):
        for row in batch.drop_columns(["time"]).to_pylist():
            bids, asks = (
                list(zip(row[f"{side}_price_mantissa"], row[f"{side}_size_mantissa"], strict=True))
                for side in ("bid", "ask")
            )
            out.append((row["update_id"], bids, asks))
    return out


def test_some_moments_of_half_an_hour(tmp_path: Path) -> None:
    check(tmp_path / "data", 0.5, 40, compacted=False)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("compacted", [False, True])
def test_a_thousand_moments_of_a_day(tmp_path: Path, compacted: bool) -> None:
    check(tmp_path / "data", 12, 1_000, compacted=compacted)
