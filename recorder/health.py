"""Whether a recorder is well, from what its status tells: for ``status --check``, ``/healthz`` and people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from recorder.disk_budget import EARLY
from schemas.names import FeedState

__all__ = [
    "DAY_S",
    "LATE_MS",
    "Finding",
    "class_of",
    "findings",
    "is_troubled",
    "most",
    "sum_by_class",
    "troubles",
]

SECOND_NS = 1_000_000_000
DAY_S = 86_400

STUCK_S = 60
"""A status that is older says nothing any more. Under pressure one is written every ten seconds."""
SETTLED_S = 60
"""Until then feeds may still be waiting for their subscriptions and first snapshots."""
SILENT_S = 120
"""No frame of any feed for so long: even a quiet category sends something."""
LATE_MS = 10_000
CLOCK_MS = 500
"""An offset that no clock which anybody keeps has."""
DAYS_LEFT = 2
FREE_SHARE = 0.05
NAMED = 5
"""Names that a message lists before it only counts."""


class Finding(NamedTuple):
    """Something that is not well.

    Attributes:
        kind: what it is, in a word or two that stay the same while the sentence's figures change.
        words: the sentence.
    """

    kind: str
    words: str


def class_of(topic: str) -> str:
    """The class under which a topic is counted: what it says before its symbol, which may hold dots itself."""
    parts = topic.split(".")
    return ".".join(parts[: 2 if parts[0] in ("orderbook", "kline") else 1])


def is_troubled(feed: dict[str, Any], *, settled: bool = True) -> bool:
    """Whether a feed of a status is stale or refused, or, once it should have settled, not live."""
    if feed.get("refused") is not None:
        return True
    state = feed["state"]
    return bool(state == FeedState.STALE or (settled and state != FeedState.LIVE))


def sum_by_class(feeds: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Feeds of a status summed up by class: how many in which state, messages, gaps, bytes, the newest frame."""
    out: dict[str, dict[str, Any]] = {}
    for feed in feeds:
        found = out.setdefault(
            class_of(feed["topic"]),
            {"feeds": 0, "states": {}, "messages": 0, "gaps": 0, "bytes": 0, "last_receive_ns": None},
        )
        state = "refused" if feed.get("refused") is not None else feed["state"]
        found["feeds"] += 1
        found["states"][state] = found["states"].get(state, 0) + 1
        for key in ("messages", "gaps", "bytes"):
            found[key] += feed[key]
        if feed.get("last_receive_ns"):
            found["last_receive_ns"] = max(found["last_receive_ns"] or 0, feed["last_receive_ns"])
    return {name: out[name] for name in sorted(out)}


def troubles(
    live: dict[str, Any], *, running: bool, now_ns: int, days_left: float | None = None
) -> list[str]:
    """The sentences of ``findings``."""
    return [found.words for found in findings(live, running=running, now_ns=now_ns, days_left=days_left)]


def findings(
    live: dict[str, Any], *, running: bool, now_ns: int, days_left: float | None = None
) -> list[Finding]:
    """What is not well with a collector, a sentence each; empty when all is.

    Args:
        live: what the collector told last.
        running: whether its process lives.
        now_ns: wall clock.
        days_left: until the disk is full, if known.
    """
    if not running:
        if live.get("running"):
            words = "its process died without a word; start it again, it recovers by itself"
            return [Finding("died", words)]
        return []
    age_s = (now_ns - live["written_ns"]) / SECOND_NS
    if age_s > STUCK_S:
        words = f"it has told nothing for {age_s:.0f} s: is it stopped, or its disk hanging?"
        return [Finding("mute", words)]
    return [*_feeds(live, now_ns), *_lines(live), *_lateness(live), *_space(live, days_left)]


def _settled(live: dict[str, Any]) -> bool:
    return bool(live.get("seconds", SETTLED_S) >= SETTLED_S)


def _feeds(live: dict[str, Any], now_ns: int) -> Iterable[Finding]:
    feeds = live["feeds"]
    refused = [feed["topic"] for feed in feeds if feed.get("refused") is not None]
    if refused:
        yield Finding("refused", f"refused by the exchange: {most(refused)}; check the symbols")
    others = [feed for feed in feeds if feed.get("refused") is None]
    for state in (FeedState.STALE, FeedState.SYNCING, FeedState.EMPTY):
        if state is FeedState.STALE or _settled(live):
            named = [feed["topic"] for feed in others if feed["state"] == state]
            if named:
                yield Finding(state.value, f"{state.value}: {most(named)}")
    newest_ns = max((feed["last_receive_ns"] or 0 for feed in feeds), default=0)
    if _settled(live) and feeds and not live.get("paused"):
        silent_s = (now_ns - newest_ns) / SECOND_NS
        if not newest_ns:
            yield Finding("silent", "no feed has delivered anything yet")
        elif silent_s > SILENT_S:
            yield Finding("silent", f"no frame for {silent_s:.0f} s")


def _lines(live: dict[str, Any]) -> Iterable[Finding]:
    down = [f"line {line['line']}" for line in live["lines"] if not line["connected"]]
    if down and (_settled(live) or len(down) < len(live["lines"])):
        yield Finding("lines", f"not connected: {most(down)}")


def _lateness(live: dict[str, Any]) -> Iterable[Finding]:
    ahead_ms = ((live.get("clock") or {}).get("offset_ns") or 0) / 1e6
    for name, ways in live.get("lateness", {}).get("classes", {}).items():
        p99_ms = ways["push"]["recent"]["p99_ms"]
        if p99_ms is not None and p99_ms + ahead_ms > LATE_MS:
            words = f"{name} is {(p99_ms + ahead_ms) / 1000:.1f} s late (p99 since push time)"
            yield Finding(f"late {name}", words)
    if abs(ahead_ms) > CLOCK_MS:
        way = "behind" if ahead_ms > 0 else "ahead of"
        yield Finding("clock", f"our clock is {abs(ahead_ms):,.0f} ms {way} the exchange's")


def _space(live: dict[str, Any], days_left: float | None) -> Iterable[Finding]:
    pressure = live.get("pressure", {})
    if live.get("paused"):
        yield Finding("paused", "the disk is slower than the market: reading is paused")
    elif pressure.get("level", "ease") != "ease":
        words = f"the disk is behind by {live['backlog_bytes'] >> 10:,} KiB: rolling is paused"
        yield Finding("backlog", words)
    vitals = live.get("vitals", {})
    free, total = vitals.get("disk_free_bytes"), vitals.get("disk_total_bytes")
    floor = vitals.get("disk_floor_bytes") or 0
    if free is not None and free < EARLY * floor:
        words = f"the disk has {free >> 20:,} MiB left, and recording ends at {floor >> 20:,} MiB"
        yield Finding("disk", words)
    elif days_left is not None and days_left < DAYS_LEFT:
        yield Finding("disk", f"the disk is full in {days_left * 24:.0f} h at the present rate")
    elif free is not None and total and free < FREE_SHARE * total:
        yield Finding("disk", f"the disk has {free / total:.1%} left")


def most(names: list[str]) -> str:
    """A few names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
