"""Rates out of counters that are told once a second."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

__all__ = ["LineRate", "Rates"]

SAMPLES: Final = 6
"""Five seconds, where the status is written every one: a rate that neither jumps nor lags."""


class LineRate(NamedTuple):
    """Of one line, per second."""

    frames: float
    bytes: float


class _Sample(NamedTuple):
    process: int
    time_ns: int
    frames: int
    bytes: int
    messages: dict[str, int]
    lines: dict[int, tuple[int, int]]


class Rates:
    """What one collector does a second; None as long as one look is all there is, and after a restart."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)

    def add(self, live: dict[str, Any]) -> None:
        """Take a status; one that was taken before changes nothing."""
        sample = _Sample(
            live.get("pid", 0),
            live["written_ns"],
            live.get("frames", 0),
            live.get("frame_bytes", 0),
            {feed["topic"]: feed["messages"] for feed in live["feeds"]},
            {line["line"]: (line.get("frames", 0), line.get("bytes", 0)) for line in live["lines"]},
        )
        if self._samples:
            newest = self._samples[-1]
            if sample.time_ns == newest.time_ns:
                return
            if (
                sample.process != newest.process
                or sample.frames < newest.frames
                or sample.time_ns < newest.time_ns
            ):
                self._samples.clear()
        self._samples.append(sample)

    def _ends(self) -> tuple[_Sample, _Sample, float] | None:
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], self._samples[-1]
        return first, last, (last.time_ns - first.time_ns) / 1e9

    @property
    def frames(self) -> float | None:
        """Frames a second."""
        ends = self._ends()
        return None if ends is None else (ends[1].frames - ends[0].frames) / ends[2]

    @property
    def bytes(self) -> float | None:
        """Bytes of frames a second."""
        ends = self._ends()
        return None if ends is None else (ends[1].bytes - ends[0].bytes) / ends[2]

    def messages(self, topic: str) -> float | None:
        """Messages of a feed a second."""
        first = next((sample for sample in self._samples if topic in sample.messages), None)
        last = self._samples[-1] if self._samples else None
        if first is None or last is None or first is last or topic not in last.messages:
            return None
        return max(0, last.messages[topic] - first.messages[topic]) * 1e9 / (last.time_ns - first.time_ns)

    def line(self, number: int) -> LineRate | None:
        """Of a connection."""
        ends = self._ends()
        if ends is None or number not in ends[0].lines or number not in ends[1].lines:
            return None
        (frames, size), (frames_then, size_then) = ends[1].lines[number], ends[0].lines[number]
        return LineRate(max(0, frames - frames_then) / ends[2], max(0, size - size_then) / ends[2])
