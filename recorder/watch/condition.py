"""In what condition each recorder is, what is in trouble, and since when. Pure: looks and moments in, words out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from recorder.health import Finding, findings
from recorder.watch.look import Look, Told
from recorder.watch.text import span_text
from schemas.names import FeedState

__all__ = ["Beat", "Condition", "Trouble", "Troubles", "condition", "condition_since_ns", "is_believable"]

SECOND_NS: Final = 10**9
MUTE_NS: Final = 5 * SECOND_NS
"""A status is written every second; this old, and something is stuck."""
MUTE_UNDER_PRESSURE_NS: Final = 25 * SECOND_NS
"""Likewise where the disk is behind: then it is every ten."""
SLOW_START_NS: Final = 60 * SECOND_NS
"""Until then a recorder may recover from a crash, or wait for what is listed."""
GRAVE: Final = (
    "nothing",
    "died",
    "failed",
    "restarting",
    "mute",
    "paused",
    "disk",
    "lines",
    "stale",
    "silent",
)
"""Kinds of trouble that are told first, in this order."""


class Condition(StrEnum):
    """What a recorder is doing."""

    RECORDING = "recording"
    PAUSED = "paused"
    STARTING = "starting"
    MUTE = "mute"
    DEAD = "dead"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


class Trouble(NamedTuple):
    """Something that is not well.

    Attributes:
        collector: whose, or "" if it is nobody's.
        kind: what it is (``recorder.health.Finding``).
        words: the sentence.
        since_ns: wall clock: since when, as far as anybody told, else when it was first seen.
        before: it was there when this watch began, and nobody tells since when.
    """

    collector: str
    kind: str
    words: str
    since_ns: int
    before: bool = False


class Beat(NamedTuple):
    """The heart of a recorder, as its live books show it.

    Attributes:
        age_ns: since the last heartbeat.
        timeout_ns: a greater age means that it is dead, or stands still.
    """

    age_ns: int
    timeout_ns: int

    @property
    def has_stopped(self) -> bool:
        """Whether it should have beaten long ago."""
        return self.age_ns > self.timeout_ns


def condition(told: Told, now_ns: int, beat: Beat | None = None) -> Condition:
    """In what condition a recorder is.

    Args:
        told: what is known of it.
        now_ns: wall clock.
        beat: its heart, if it has live books.
    """
    live = told.live
    if not told.held:
        state = (told.supervised or {}).get("state")
        if state == "restarting":
            return Condition.RESTARTING
        if state == "failed":
            return Condition.FAILED
        return Condition.DEAD if live is not None and live["running"] else Condition.STOPPED
    if (
        live is None
        or not live["running"]
        or (told.holder is not None and live.get("pid", told.holder) != told.holder)
    ):
        return Condition.STARTING
    eased = live.get("pressure", {}).get("level", "ease") == "ease" and not live["paused"]
    if now_ns - live["written_ns"] > (MUTE_NS if eased else MUTE_UNDER_PRESSURE_NS):
        return Condition.MUTE
    if beat is not None and beat.has_stopped:
        return Condition.MUTE
    return Condition.PAUSED if live["paused"] else Condition.RECORDING


def condition_since_ns(told: Told, found: Condition) -> int | None:
    """Since when it is in that condition (wall clock), or None if it doesn't tell."""
    if told.live is None or found is Condition.STARTING:
        return None
    written_ns: int = told.live["written_ns"]
    if found is Condition.RECORDING and "seconds" in told.live:
        return written_ns - round(float(told.live["seconds"]) * SECOND_NS)
    return None if found is Condition.PAUSED else written_ns


def is_believable(found: Condition) -> bool:
    """Whether what a recorder in that condition told last is how things are: nothing else may look live."""
    return found in (Condition.RECORDING, Condition.PAUSED)


class Troubles:
    """Remembers when each trouble was first seen, for those that don't tell."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[int, bool]] = {}
        self._looked = False

    def update(
        self, look: Look, conditions: Mapping[str, Condition], beats: Mapping[str, Beat] | None = None
    ) -> list[Trouble]:
        """What is in trouble now, the gravest first."""
        hearts = beats or {}
        now_ns = look.now_ns
        days_left = _days_left(look, conditions)
        out = []
        seen: dict[tuple[str, str], tuple[int, bool]] = {}
        for told, found in _all(look, conditions, hearts, days_left):
            name = "" if told is None else told.collector
            first = seen[name, found.kind] = self._seen.get((name, found.kind), (now_ns, not self._looked))
            if found.kind == "starting" and now_ns - first[0] < SLOW_START_NS:
                continue
            since_ns = None if told is None else _told_since_ns(told, found.kind)
            if found.kind == "mute" and since_ns is not None:
                since_ns = now_ns - _mute_ns(since_ns, now_ns, hearts.get(name))
            out.append(
                Trouble(name, found.kind, found.words, *(first if since_ns is None else (since_ns, False)))
            )
        self._seen = seen
        self._looked = True
        return sorted(out, key=lambda trouble: (_gravity(trouble.kind), trouble.since_ns))


def _gravity(kind: str) -> int:
    return GRAVE.index(kind) if kind in GRAVE else len(GRAVE)


def _all(
    look: Look, conditions: Mapping[str, Condition], hearts: Mapping[str, Beat], days_left: float | None
) -> Iterable[tuple[Told | None, Finding]]:
    loud = {Condition.DEAD, Condition.FAILED, Condition.RESTARTING}
    if not any(told.held for told in look.collectors) and not loud & set(conditions.values()):
        yield None, Finding("nothing", "nothing is recording")
    for told in look.collectors:
        heart = hearts.get(told.collector)
        for found in _of(told, conditions[told.collector], look.now_ns, heart, days_left):
            yield told, found
        refused = {} if look.kept is None else look.kept.refused
        stuck = [each for each in refused if each.startswith(f"{told.collector}/")]
        if stuck and told.held:
            words = f"{len(stuck)} segments should have left the journal and stay: {refused[stuck[0]].why}"
            yield told, Finding("stuck", words)
    if look.kept is not None and look.kept.not_uploaded:
        yield None, Finding("upload", f"the archive is not uploaded: {look.kept.not_uploaded}")


def _of(
    told: Told, found: Condition, now_ns: int, heart: Beat | None, days_left: float | None
) -> Iterable[Finding]:
    live = told.live
    if found in (Condition.RESTARTING, Condition.FAILED):
        ended = told.supervised or {}
        fate = "the supervisor starts it again" if found is Condition.RESTARTING else "it stays so"
        yield Finding(found.value, f"it ended with {ended.get('code')} ({ended.get('words')}), and {fate}")
    elif found is Condition.MUTE and live is not None:
        span = span_text(_mute_ns(live["written_ns"], now_ns, heart))
        yield Finding("mute", f"it has told nothing for {span}: is it stopped, or its disk hanging?")
    elif found is Condition.STARTING:
        yield Finding("starting", "its process is there and has told nothing: is the exchange out of reach?")
    elif found is Condition.DEAD and live is not None:
        yield from findings(live, running=False, now_ns=now_ns)
    elif is_believable(found) and live is not None:
        yield from findings(live, running=True, now_ns=now_ns, days_left=days_left)


def _mute_ns(written_ns: int, now_ns: int, heart: Beat | None) -> int:
    """How long it has said nothing: whatever it said last counts."""
    return now_ns - written_ns if heart is None else min(now_ns - written_ns, heart.age_ns)


def _told_since_ns(told: Told, kind: str) -> int | None:
    live = told.live
    if live is None:
        return None
    if kind in ("died", "mute", "restarting", "failed"):
        return int(live["written_ns"])
    if kind == FeedState.STALE:
        gaps = [
            feed["gap"]["since_ns"] for feed in live["feeds"] if feed["state"] == kind and feed.get("gap")
        ]
        return min(gaps, default=None)
    if kind == "silent":
        return max((feed["last_receive_ns"] or 0 for feed in live["feeds"]), default=0) or None
    if kind == "lines":
        began_ns = live["written_ns"] - round(live.get("seconds", 0.0) * SECOND_NS)
        return min(
            (_line_since_ns(line, began_ns) for line in live["lines"] if not line["connected"]), default=None
        )
    return None


def _line_since_ns(line: dict[str, Any], began_ns: int) -> int:
    return int(line.get("changed_ns") or began_ns)


def _days_left(look: Look, conditions: Mapping[str, Condition]) -> float | None:
    """Until the disk is full at the rate at which the journals grow."""
    rates = [
        told.live.get("vitals", {}).get("journal_bytes_per_second") or 0
        for told in look.collectors
        if told.live is not None and is_believable(conditions[told.collector])
    ]
    rate = sum(rates)
    return None if not rate or look.free_bytes is None else look.free_bytes / rate / 86_400
