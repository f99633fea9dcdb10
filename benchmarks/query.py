"""How long questions of a large archive take: books at moments, snapshots of a day, bars, opening many files.

Processor time of one core. What is compared is timed in turns, so that a machine that is slow for a while is for both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import duckdb
import pyarrow as pa

from benchmarks.query_archive import DAY_START_NS, SYMBOLS, make_archive, make_many_files, make_plain_trades
from benchmarks.timing import machine
from engine.core.drive import Strategy
from recorder.archive import Archive, open_archive
from recorder.book_state import book_at
from recorder.ranges import FUNCTIONS
from recorder.time_travel import replay
from schemas.errors import DataError
from schemas.time import format_ns

__all__ = ["query"]

SEED: Final = 20_240_808
WARM: Final = 10
MANY_FILES: Final = 50_000
SYMBOL: Final = SYMBOLS[0]
BARS: Final = """
SELECT time_bucket(INTERVAL '1 second', match_time) AS time,
    arg_min(price, (match_time, sequence)) AS open, max(price) AS high, min(price) AS low,
    arg_max(price, (match_time, sequence)) AS close, sum(size) AS volume, sum(price * size) / sum(size) AS vwap,
    count(*) AS trades, sum(size) FILTER (side = 'buy') AS buy_volume
FROM {trades}
GROUP BY ALL
"""
"""Bars as one would write them by hand."""


def query(
    directory: Path | None, hours: float, moments: int, repetitions: int, *, compacted: bool
) -> dict[str, Any]:
    """Ask an archive of so many hours of two symbols.

    Args:
        directory: where it is kept, or made if it isn't there; None: made for this run alone.
        hours: how long it is; each symbol has so many.
        moments: books asked for.
        repetitions: passes of everything else.
        compacted: whether its files were merged into one a day.

    Raises:
        DataError: an answer isn't what it has to be, so that its time would mean nothing.
        ConfigError: the directory holds something else.
    """
    if directory is None:
        with TemporaryDirectory(prefix="tapebook-benchmark-") as made:
            return query(Path(made), hours, moments, repetitions, compacted=compacted)
    # one core: Arrow's own threads are not what is measured
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    data = directory / f"{'compacted' if compacted else 'rolled'}-{hours:g}h"
    make_archive(data, hours, compacted=compacted)
    make_many_files(directory / "many", MANY_FILES)
    end_ns = DAY_START_NS + round(hours * 3600 * 10**9)
    plain = make_plain_trades(data, SYMBOL)
    with open_archive(data) as archive:
        result = {
            "benchmark": "query",
            "unit": "ms of processor time",
            "hours": hours,
            "symbols": list(SYMBOLS),
            "compacted": compacted,
            "files": len(archive.manifest.files),
            "bytes": sum(file.bytes for file in archive.manifest.files),
            "book_at": _books(archive, end_ns, moments),
            "snapshots": _snapshots(archive, end_ns, repetitions),
            "replay": _replay(archive, end_ns, repetitions),
            "bars": _bars(archive, plain, DAY_START_NS, end_ns, repetitions),
        }
    return result | {
        "open_many_files": _opening(directory / "many", repetitions),
        **machine(["tapebook", "numpy", "pyarrow", "duckdb"]),
    }


_BOOK: Final = "SELECT side, level, price, size FROM book_at($1, $2, $3)"


def _timed(work: Callable[[], object]) -> float:
    """Processor time, ms."""
    before = time.process_time_ns()
    work()
    return (time.process_time_ns() - before) / 1e6


def _books(archive: Archive, end_ns: int, moments: int) -> dict[str, Any]:
    random = Random(SEED)
    asked = [
        (random.choice(SYMBOLS), random.randrange(DAY_START_NS + 2 * 10**9, end_ns - 5 * 10**9))
        for _ in range(WARM + moments)
    ]
    took = [
        _timed(lambda: book_at(archive, "linear", symbol, f"orderbook.50.{symbol}", at_ns))  # noqa: B023
        for symbol, at_ns in asked
    ]
    by_sql = [
        _timed(lambda: archive.sql(_BOOK, ["linear", symbol, format_ns(at_ns)]).table())  # noqa: B023
        for symbol, at_ns in asked
    ]
    return {"python": _figures(took[WARM:]), "sql": _figures(by_sql[WARM:])}


def _figures(took: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(took), 3),
        "p99": round(statistics.quantiles(took, n=100, method="inclusive")[98], 3),
        "max": round(max(took), 3),
        "count": len(took),
    }


def _snapshots(archive: Archive, end_ns: int, repetitions: int) -> dict[str, Any]:
    """All of one symbol, every 100 ms, 20 levels a side."""
    (updates,) = (
        archive.sql(
            "SELECT count(*) AS n FROM book_updates WHERE symbol = $1 AND depth = 50 AND kind <> 'keyframe'",
            [SYMBOL],
        )
        .table()["n"]
        .to_pylist()
    )
    function = FUNCTIONS["snapshots"]
    asked = function.bind(
        ["linear", SYMBOL, format_ns(DAY_START_NS), format_ns(end_ns)], {"every": "100ms", "depth": 20}
    )
    rows: set[int] = set()

    def run() -> None:
        rows.add(sum(batch.num_rows for batch in function.run(archive, asked)))

    took = [_timed(run) for _ in range(repetitions)]
    moments = (end_ns - DAY_START_NS) // 10**8
    if len(rows) != 1 or not 0.99 * moments <= min(rows) <= moments:
        raise DataError(f"found {sorted(rows)} snapshots, expected nearly {moments}")
    return {
        "updates": updates,
        "rows": min(rows),
        "ms": round(statistics.median(took), 1),
        "updates_per_second": round(updates / statistics.median(took) * 1e3),
    }


def _replay(archive: Archive, end_ns: int, repetitions: int) -> dict[str, Any]:
    """Frames of both symbols through the engine, for a strategy that listens to nothing: an hour at most."""
    start = format_ns(max(DAY_START_NS, end_ns - 3600 * 10**9))
    frames: set[int] = set()

    def run() -> None:
        frames.add(replay(archive, SYMBOLS, start, format_ns(end_ns)).run(Strategy()))

    took = [_timed(run) for _ in range(repetitions)]
    if len(frames) != 1 or 0 in frames:
        raise DataError(f"found {sorted(frames)} frames, expected the same number each time")
    return {
        "frames": min(frames),
        "ms": round(statistics.median(took), 1),
        "frames_per_second": round(min(frames) / statistics.median(took) * 1e3),
    }


def _bars(archive: Archive, plain: Path, start_ns: int, end_ns: int, repetitions: int) -> dict[str, Any]:
    """One-second bars of all trades of a symbol: the function, the same by hand over the view, and over doubles."""
    moments = f"'{format_ns(start_ns)}', '{format_ns(end_ns)}'"
    ours = f"SELECT * FROM bars('linear', '{SYMBOL}', {moments}, '1s', untrusted := 'mark')"
    by_hand = BARS.format(trades=f"trades WHERE symbol = '{SYMBOL}'")
    with duckdb.connect(config={"threads": 1}) as beside:
        beside.execute("SET TimeZone = 'UTC'")
        theirs = BARS.format(trades=f"'{plain}'")
        check = "SELECT count(*), sum(volume), max(high), sum(trades) FROM ({})"
        expected = beside.sql(check.format(theirs)).fetchall()
        for query in (ours, by_hand):
            found = archive.sql(check.format(query)).table().to_pylist()
            if not all(
                abs(a - b) <= 1e-9 * abs(b) for a, b in zip(found[0].values(), expected[0], strict=True)
            ):
                raise DataError(f"found bars {found}, expected {expected}")
        took = [
            (
                _timed(lambda: archive.sql(ours).table()),
                _timed(lambda: archive.sql(by_hand).table()),
                _timed(lambda: beside.sql(theirs).to_arrow_table()),
            )
            for _ in range(repetitions)
        ]
    return {
        "trades": expected[0][3],
        "bars": expected[0][0],
        "ms": round(statistics.median(each[0] for each in took), 1),
        "view_by_hand_ms": round(statistics.median(each[1] for each in took), 1),
        "plain_doubles_ms": round(statistics.median(each[2] for each in took), 1),
        "ratio": round(statistics.median(each[0] / each[2] for each in took), 3),
    }


def _opening(data: Path, repetitions: int) -> dict[str, Any]:
    opened, asked = [], []
    for _ in range(repetitions):
        before = time.process_time_ns()
        with open_archive(data) as archive:
            opened.append((time.process_time_ns() - before) / 1e6)
            asked.append(_timed(lambda: archive.sql("SELECT 1").table()))
            files = len(archive.manifest.files)
    return {
        "files": files,
        "open": round(statistics.median(opened), 1),
        "first_query": round(statistics.median(asked), 1),
    }
