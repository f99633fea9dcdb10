"""How late the live recording is, as told in the status: since the start, and over the last minute or two.

Four ways are measured: from the matching engine's stamp and from the push gateway's to ours, by class of topic (the C
engine counts them); from our receive stamp to the engine having the frame; and to its group commit having returned. The
first two hold two clocks against each other: an offset between them is in every figure.
"""

from __future__ import annotations

from typing import Any

from engine.core.delays import Delays
from engine.core.feeds import Engine
from engine.latency import Histogram, Recent

__all__ = ["Lateness", "summary"]

QUANTILES = (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999))
NS_PER_MS = 1e6


class Lateness:
    """Reads the histograms of a live collector.

    Args:
        engine: the live one; it measures from here on.

    Attributes:
        applied: from the receive stamp to the engine having the frame; set by who feeds it.
        journaled: from the receive stamp to the return of the write that holds it.
    """

    def __init__(self, engine: Engine) -> None:
        engine.measure_delays()
        self._engine = engine
        self.applied = Delays()
        self.journaled = Delays()
        self._recent: dict[tuple[str, str], Recent] = {}

    def told(self, now_ns: int) -> dict[str, Any]:
        """The status section: ``classes`` by class of topics with ``match`` and ``push``, then ``applied`` and
        ``journaled``; each a ``summary`` with its ``recent`` part. ``now_ns`` is monotonic."""
        return {
            "classes": {
                name: {
                    "match": self._one(name, "match", match, now_ns),
                    "push": self._one(name, "push", push, now_ns),
                }
                for name, (match, push) in sorted(self._engine.delays().items())
            },
            "applied": self._one("", "applied", self.applied.histogram(), now_ns),
            "journaled": self._one("", "journaled", self.journaled.histogram(), now_ns),
        }

    def _one(self, name: str, way: str, histogram: Histogram, now_ns: int) -> dict[str, Any]:
        recent = self._recent.setdefault((name, way), Recent()).update(now_ns, histogram)
        return {**summary(histogram), "recent": summary(recent), "histogram": histogram}


def summary(histogram: Histogram) -> dict[str, Any]:
    """Count, mean, quantiles and maximum of a histogram, in milliseconds; null where nothing was counted."""
    mean_ns = histogram.sum_ns / histogram.count if histogram.count else None
    quantiles = {name: _ms(histogram.quantile(q)) for name, q in QUANTILES}
    return {
        "count": histogram.count,
        "mean_ms": _ms(mean_ns),
        **quantiles,
        "max_ms": _ms(histogram.max_ns if histogram.max_ns is not None else histogram.quantile(1.0)),
    }


def _ms(ns: float | None) -> float | None:
    return None if ns is None else round(ns / NS_PER_MS, 6)
