"""An archive made by hand that has what pictures must cope with: gaps of every kind, two collectors, two recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recorder.archive import Archive, open_archive
from schemas.names import Table
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive

SECOND_NS = 10**9
START_NS = NOON_NS
TRADES = "publicTrade.BTCUSDT"


def trade(
    sequence: int, at_ms: int, price: int, size: int, side: str = "buy", **other: Any
) -> dict[str, Any]:
    """A trade so long after noon; the price in cents, the size in thousandths."""
    return {
        "sequence": sequence,
        "receive_time": NOON_NS + (at_ms + 5) * MS,
        "push_time": NOON_NS // MS + at_ms + 2,
        "match_time": NOON_NS // MS + at_ms,
        "price_mantissa": price,
        "size_mantissa": size,
        "side": side,
        "trade_id": f"t{sequence}",
        **other,
    }


def span(sequence: int, start_s: float, end_s: float, topic: str = TRADES) -> dict[str, Any]:
    """A row of coverage, in seconds after noon."""
    start_ns, end_ns = (NOON_NS + int(at * SECOND_NS) for at in (start_s, end_s))
    return {"sequence": sequence, "topic": topic, "start_time": start_ns, "end_time": end_ns}


def gap(
    sequence: int, start_s: float, end_s: float | None, topic: str = TRADES, **other: Any
) -> dict[str, Any]:
    """A row of gaps, in seconds after noon."""
    return {
        "sequence": sequence,
        "topic": topic,
        "start_time": NOON_NS + int(start_s * SECOND_NS),
        "end_time": None if end_s is None else NOON_NS + int(end_s * SECOND_NS),
        "healed_by": None if end_s is None else "snapshot",
        **other,
    }


def made(
    data: Path,
    *,
    trades: list[dict[str, Any]] | None = None,
    coverage: list[dict[str, Any]] | None = None,
    gaps: list[dict[str, Any]] | None = None,
    collector: str = "linear",
    more: dict[tuple[Table, str], list[dict[str, Any]]] | None = None,
) -> Archive:
    """Write an archive of BTCUSDT and open it."""
    tables = {
        (Table.TRADES, "BTCUSDT"): trades or [],
        (Table.COVERAGE, "BTCUSDT"): coverage or [],
        (Table.GAPS, "BTCUSDT"): gaps or [],
        **(more or {}),
    }
    HandmadeArchive(data, collector=collector).segment(
        NOON_NS, {key: rows for key, rows in tables.items() if rows}
    )
    return open_archive(data)
