"""What has happened since the watch began: a bounded log, in which what happens to many feeds at once is one line."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from recorder.health import most
from recorder.watch.condition import Condition, is_believable
from recorder.watch.look import Look, Told
from recorder.watch.text import clean

__all__ = ["Happening", "Happenings"]

KEPT: Final = 500
TOGETHER_NS: Final = 2 * 10**9
"""What happens to a second feed of a collector within this is told with the first."""


class Happening(NamedTuple):
    """Something that happened.

    Attributes:
        time_ns: wall clock.
        collector: to whom.
        what: in words.
        topics: to which of its feeds, in order; empty if to none in particular.
        grave: it is for the worse.
    """

    time_ns: int
    collector: str
    what: str
    topics: tuple[str, ...] = ()
    grave: bool = False

    @property
    def words(self) -> str:
        """The sentence."""
        return f"{self.what}: {most(list(self.topics))}" if self.topics else self.what


class Happenings:
    """Compares each look with the one before, and takes what the tape tells of feeds."""

    def __init__(self) -> None:
        self._kept: deque[Happening] = deque(maxlen=KEPT)
        self._conditions: dict[str, Condition] = {}
        self._processes: dict[str, int] = {}
        self._lines: dict[tuple[str, int], tuple[bool, int]] = {}
        self._feeds: dict[tuple[str, str], tuple[str, int]] = {}

    def all(self) -> list[Happening]:
        """The newest first: a tape tells of earlier things than a look that came before it."""
        found = list(self._kept)
        found.reverse()  # of one moment, what was told last comes first
        found.sort(key=lambda each: -each.time_ns)
        return found

    def add(self, time_ns: int, collector: str, what: str, topic: str = "", *, grave: bool = False) -> None:
        """Something happened; to a feed, where one is named."""
        what, topic = clean(what), clean(topic)
        if topic:
            for index in range(len(self._kept) - 1, max(-1, len(self._kept) - 8), -1):
                before = self._kept[index]
                if time_ns - before.time_ns > TOGETHER_NS:
                    break
                if (before.collector, before.what) == (collector, what) and before.topics:
                    if topic not in before.topics:
                        self._kept[index] = before._replace(topics=(*before.topics, topic))
                    return
        self._kept.append(Happening(time_ns, collector, what, (topic,) if topic else (), grave))

    def look(self, look: Look, conditions: Mapping[str, Condition], *, told_of_feeds: frozenset[str]) -> None:
        """Compare with the look before.

        Args:
            look: the new one.
            conditions: of its collectors.
            told_of_feeds: collectors whose feeds' changes come by ``add``, exactly and at once.
        """
        for told in look.collectors:
            name = told.collector
            found = conditions[name]
            before = self._conditions.get(name)
            self._conditions[name] = found
            if before is not None and before is not found:
                self.add(
                    look.now_ns, name, f"{before.value} -> {found.value}", grave=not is_believable(found)
                )
            if told.live is not None and is_believable(found):
                self._process(look.now_ns, told.live, name)
                self._of_lines(look.now_ns, told)
                self._of_feeds(look.now_ns, told, quiet=name in told_of_feeds)

    def _process(self, now_ns: int, live: dict[str, Any], name: str) -> None:
        process = live.get("pid", 0)
        before = self._processes.get(name)
        self._processes[name] = process
        if before is not None and before != process:
            self.add(now_ns, name, f"records again, as process {process}")
            for key in [key for key in self._feeds if key[0] == name]:
                del self._feeds[key]
            for line in [key for key in self._lines if key[0] == name]:
                del self._lines[line]

    def _of_lines(self, now_ns: int, told: Told) -> None:
        assert told.live is not None
        for line in told.live["lines"]:
            key = (told.collector, line["line"])
            connected, connects = line["connected"], line["connects"]
            before = self._lines.get(key)
            self._lines[key] = (connected, connects)
            if before is None or before == (connected, connects):
                continue
            at_ns = line.get("changed_ns") or now_ns
            reason = line.get("last_reason") or ""
            if not connected:
                self.add(
                    at_ns,
                    told.collector,
                    f"line {line['line']} lost{f': {reason}' if reason else ''}",
                    grave=True,
                )
            elif before[0] and connects > before[1]:
                self.add(at_ns, told.collector, f"line {line['line']} was lost and is up again")
            else:
                self.add(at_ns, told.collector, f"line {line['line']} is up")

    def _of_feeds(self, now_ns: int, told: Told, *, quiet: bool) -> None:
        assert told.live is not None
        for feed in told.live["feeds"]:
            key = (told.collector, feed["topic"])
            state, gaps = feed["state"], feed["gaps"]
            before = self._feeds.get(key)
            self._feeds[key] = (state, gaps)
            if before is None or before == (state, gaps) or quiet:
                continue
            if state != before[0]:
                gap = feed.get("gap")
                cause = f" ({gap['cause']})" if state == "stale" and gap else ""
                self.add(now_ns, told.collector, f"-> {state}{cause}", feed["topic"], grave=state == "stale")
            elif gaps > before[1]:
                self.add(now_ns, told.collector, "had a gap that is closed again", feed["topic"], grave=True)
