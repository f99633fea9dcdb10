"""What stands above all: which collectors there are, what they do, and what is not well. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from recorder.health import is_troubled, troubles
from recorder.serving.feed_table import Told
from schemas.units import age, amount

__all__ = ["Summary"]

SECOND_NS: Final = 1_000_000_000
RATE_NS: Final = 3 * SECOND_NS


class Summary:
    """Sums collectors up: a channel of the hub.

    Args:
        data: name of the data directory, for the page's head.
        version_text: of tapebook.
        login: whether one has to log in, so that the page offers to log out.

    Attributes:
        version: rises with every reading.
    """

    def __init__(self, data: str, version_text: str, *, login: bool = False) -> None:
        self.version = 0
        self._fixed = {"data": data, "version": version_text, "login": login}
        self._counted: dict[str, list[tuple[int, int, int]]] = {}
        self._shown: dict[str, Any] = {"collectors": [], "troubles": []}

    def take(self, told: Iterable[Told], now_ns: int) -> None:
        """Take what collectors told; ``now_ns`` is wall clock."""
        every = list(told)
        collectors = []
        words: list[dict[str, str]] = []
        for each in every:
            lives = each.held and bool(each.status["running"])
            found = troubles(
                dict(each.status), running=lives, now_ns=now_ns, days_left=_days_left(each.status)
            )
            words += [{"collector": each.collector, "words": said} for said in found]
            collectors.append(self._collector(each, lives, now_ns))
        if not any(each.held and each.status["running"] for each in every):
            words.append({"collector": "", "words": "nothing is recording"})
        self._counted = {each.collector: self._counted.get(each.collector, []) for each in every}
        self._shown = {"now_ms": now_ns // 1_000_000, "collectors": collectors, "troubles": words}
        self.version += 1

    def encode(self, since: int) -> bytes:  # noqa: ARG002 - it is small: everything, whoever asks
        """Return everything."""
        return msgspec.json.encode({"channel": "summary", "whole": True, **self._fixed, **self._shown})

    def _collector(self, told: Told, lives: bool, now_ns: int) -> dict[str, Any]:
        status = told.status
        feeds = status["feeds"]
        lines = status["lines"]
        frames, size = self._rates(told) if lives else (None, None)
        vitals = status.get("vitals") or {}
        lateness = status.get("lateness") or {}
        push = [ways["push"]["recent"] for ways in lateness.get("classes", {}).values()]
        p99 = [recent["p99_ms"] for recent in push if recent.get("p99_ms") is not None]
        journaled = ((lateness.get("journaled") or {}).get("recent") or {}).get("p99_ms")
        clock = status.get("clock") or {}
        offset_ns = clock.get("offset_ns")
        return {
            "collector": told.collector,
            "state": "recording" if lives else "dead" if status["running"] else "ended",
            "category": status.get("category", ""),
            "environment": status.get("environment", ""),
            "for": age(status["seconds"]) if "seconds" in status else None,
            "told_ago": age(max(0, now_ns - status["written_ns"]) / SECOND_NS),
            "feeds": len(feeds),
            "well": sum(not is_troubled(feed) for feed in feeds) if lives else 0,
            "gaps": sum(feed["gaps"] for feed in feeds),
            "frames_a_second": frames,
            "bytes_a_second": None if size is None else amount(size),
            "p99_ms": max(p99, default=None),
            "journaled_ms": journaled,
            "lines": len(lines),
            "lines_up": sum(line["connected"] for line in lines) if lives else 0,
            "backlog": amount(status["backlog_bytes"]),
            "paused": bool(status["paused"]),
            "memory": amount(vitals.get("resident_bytes")) if vitals else None,
            "disk_free": amount(vitals.get("disk_free_bytes")) if vitals.get("disk_free_bytes") else None,
            "days_left": _days_left(status),
            "ahead_ms": None if offset_ns is None else round(offset_ns / 1e6, 1),
        }

    def _rates(self, told: Told) -> tuple[float | None, float | None]:
        """Frames and bytes a second over the last few seconds."""
        status = told.status
        reading = int(status["written_ns"]), int(status.get("frames", 0)), int(status.get("frame_bytes", 0))
        readings = self._counted.setdefault(told.collector, [])
        if readings and (reading[0] < readings[-1][0] or reading[1] < readings[-1][1]):
            readings.clear()
        if not readings or reading[0] > readings[-1][0]:
            readings.append(reading)
        while len(readings) > 2 and reading[0] - readings[1][0] >= RATE_NS:
            readings.pop(0)
        span_ns = readings[-1][0] - readings[0][0]
        if span_ns < SECOND_NS // 2:
            return None, None
        frames, size = (readings[-1][n] - readings[0][n] for n in (1, 2))
        return round(frames * SECOND_NS / span_ns, 1), size * SECOND_NS / span_ns


def _days_left(status: Mapping[str, Any]) -> float | None:
    """Until the disk is full of journal at the present rate."""
    vitals = status.get("vitals") or {}
    rate, free = vitals.get("journal_bytes_per_second"), vitals.get("disk_free_bytes")
    return round(free / rate / 86_400, 1) if rate and free is not None else None
