"""How late messages are, as the page draws it: bars over a logarithmic axis, of the last minute or two. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

import msgspec

from engine.latency import Histogram, Recent, edges_ns
from recorder.serving.feed_table import Told

__all__ = ["EDGES_NS", "LatenessView", "bars"]

DECADES: Final = (4, 10)
"""From 10 µs to 10 s."""
PARTS: Final = 6
EDGES_NS: Final = [
    round(10 ** (decade + part / PARTS)) for decade in range(*DECADES) for part in range(PARTS)
] + [10 ** DECADES[1]]
"""Between bars; one more bar lies below the first edge and one above the last."""
_WAYS: Final = (("match", "match → receive"), ("push", "push → receive"))
_OWN: Final = (("applied", "receive → applied"), ("journaled", "receive → journaled"))


class LatenessView:
    """The histograms of all collectors: a channel of the hub.

    Attributes:
        version: rises with every reading.
    """

    def __init__(self) -> None:
        self.version = 0
        self._recent: dict[tuple[str, str, str], Recent] = {}
        self._shown: list[dict[str, Any]] = []
        self._typical: dict[tuple[str, str], float] = {}

    def typical_ms(self, collector: str, kind: str) -> float | None:
        """Return what the messages of a class usually take from push to receive, lately."""
        return self._typical.get((collector, kind))

    def take(self, told: Iterable[Told], now_ns: int) -> None:
        """Take what collectors told; ``now_ns`` is monotonic."""
        shown: list[dict[str, Any]] = []
        recent: dict[tuple[str, str, str], Recent] = {}
        typical: dict[tuple[str, str], float] = {}
        for each in told:
            if not (each.held and each.status["running"]):
                continue
            lateness = each.status.get("lateness") or {}
            found = [
                (kind, way, words, ways[way])
                for kind, ways in lateness.get("classes", {}).items()
                for way, words in _WAYS
            ]
            found += [("", way, words, lateness[way]) for way, words in _OWN if way in lateness]
            for kind, way, words, told_of in found:
                key = each.collector, kind, way
                histogram = _histogram(told_of.get("histogram"))
                if histogram is None:
                    continue
                reader = recent[key] = self._recent.get(key) or Recent()
                lately = reader.update(now_ns, histogram)
                if way == "push" and lately.count:
                    typical[key[0], kind] = (lately.quantile(0.5) or 0) / 1e6
                shown.append(
                    {
                        "collector": each.collector,
                        "class": kind,
                        "way": way,
                        "words": words,
                        "count": lately.count,
                        "quantiles": [_ms(lately.quantile(q)) for q in (0.5, 0.99, 0.999)],
                        "most_ms": _ms(lately.quantile(1.0)),
                        "bars": bars(lately),
                    }
                )
        self._recent = recent
        self._typical = typical
        self._shown = shown
        self.version += 1

    def encode(self, since: int) -> bytes:  # noqa: ARG002 - all of it is new with every reading
        """Return all histograms."""
        return msgspec.json.encode(
            {
                "channel": "lateness",
                "whole": True,
                "edges_ms": [edge / 1e6 for edge in EDGES_NS],
                "histograms": self._shown,
            }
        )


def bars(histogram: Histogram) -> list[float]:
    """Return what share of the counted delays each bar holds, one below the first edge and one above the last."""
    if not histogram.count:
        return [0.0] * (len(EDGES_NS) + 1)
    below = [0, *_below(histogram), histogram.count]
    return [round(max(0.0, high - low) / histogram.count, 5) for low, high in pairwise(below)]


def _below(histogram: Histogram) -> list[float]:
    """How many delays are less than each edge; what lies in a bucket that an edge cuts is spread over it evenly."""
    counted = [(*edges_ns(bucket), count) for bucket, count in sorted(histogram.buckets.items())]
    return [sum(count * _part(low, high, edge) for low, high, count in counted) for edge in EDGES_NS]


def _part(low: int, high: int, edge: int) -> float:
    """What share of a bucket lies below an edge."""
    if high > low:
        return min(1.0, max(0.0, (edge - low) / (high - low)))
    return 1.0 if high <= edge else 0.0


def _histogram(found: Mapping[str, Any] | None) -> Histogram | None:
    """A histogram out of a status; None where it is none."""
    try:
        return msgspec.convert(found, Histogram, strict=False)
    except msgspec.ValidationError:
        return None


def _ms(ns: int | None) -> float | None:
    return None if ns is None else round(ns / 1e6, 3)
