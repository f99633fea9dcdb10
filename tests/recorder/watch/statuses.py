"""What recorders say, by hand."""

from __future__ import annotations

from typing import Any

from recorder.watch.look import Look, Told

SECOND = 10**9
NOW = 1_700_049_600 * SECOND  # 2023-11-15T12:00:00Z


def feed(topic: str, state: str = "live", **changes: Any) -> dict[str, Any]:
    return {
        "topic": topic, "state": state, "messages": 1000, "gaps": 0, "bytes": 100, "refused": None,
        "update_id": 7, "last_receive_ns": NOW - SECOND, "gap": None,
    } | changes  # fmt: skip


def line(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "line": number, "copy": number, "topics": 3, "connected": True, "changed_ns": NOW - 3600 * SECOND,
        "connects": 1, "round_trip_ms": 1.5, "last_reason": "", "frames": 5000, "bytes": 900_000,
    } | changes  # fmt: skip


def live(*feeds: dict[str, Any], **changes: Any) -> dict[str, Any]:
    late = {"recent": {"p50_ms": 12.5, "p99_ms": 40.0}}
    return {
        "collector": "linear", "category": "linear", "environment": "mainnet", "pid": 77, "running": True,
        "written_ns": NOW, "seconds": 3600.0, "frames": 5000, "frame_bytes": 1_000_000, "paused": False,
        "backlog_bytes": 0, "pressure": {"level": "ease", "held": 0}, "clock": {"offset_ns": 2_000_000},
        "lines": [line()],
        "feeds": list(feeds) or [feed("orderbook.50.BTCUSDT"), feed("publicTrade.BTCUSDT")],
        "vitals": {
            "disk_free_bytes": 50 << 30, "disk_total_bytes": 100 << 30, "resident_bytes": 150 << 20,
            "journal_bytes_per_second": 1000.0,
        },
        "lateness": {
            "classes": {"orderbook.50": {"push": late, "match": late}}, "applied": late, "journaled": late,
        },
    } | changes  # fmt: skip


def told(
    status: dict[str, Any] | None = None, *, name: str = "linear", held: bool = True, **more: Any
) -> Told:
    status = live() if status is None else status
    return Told(name, status, held, status.get("pid"), **more)


def look(*collectors: Told, now_ns: int = NOW, **more: Any) -> Look:
    return Look(now_ns, collectors or (told(),), **{"free_bytes": 50 << 30, "total_bytes": 100 << 30} | more)
