"""What changed while somebody kept an eye on it: the newest changes of state, many at once told as one. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from recorder.health import class_of, most
from recorder.serving.feed_table import Change

__all__ = ["KEPT", "Events"]

KEPT: Final = 200
TOLD_ONE_BY_ONE: Final = 3


class Events:
    """The newest changes: a channel of the hub. It begins when the page's server does.

    Attributes:
        version: rises with every event.
    """

    def __init__(self, since_ms: int) -> None:
        self.version = 0
        self._since_ms = since_ms
        self._kept: deque[tuple[int, dict[str, Any]]] = deque(maxlen=KEPT)

    def add(self, changes: Iterable[Change], now_ms: int) -> None:
        """Note changes of feeds' states that were seen at one moment."""
        alike: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
        for change in changes:
            key = change.collector, class_of(change.topic), change.before, change.after
            alike[key].append(change.topic)
        for (collector, kind, before, after), topics in alike.items():
            if len(topics) <= TOLD_ONE_BY_ONE:
                for topic in topics:
                    self._add(now_ms, collector, topic, before, after, "")
            else:
                what = f"{len(topics):,} feeds of {kind}"
                self._add(now_ms, collector, what, before, after, most(topics))

    def _add(self, now_ms: int, collector: str, what: str, before: str, after: str, names: str) -> None:
        self.version += 1
        self._kept.append(
            (
                self.version,
                {
                    "at_ms": now_ms,
                    "collector": collector,
                    "what": what,
                    "before": before,
                    "after": after,
                    "names": names,
                },
            )
        )

    def encode(self, since: int) -> bytes:
        """Return the events since a version, oldest first."""
        return msgspec.json.encode(
            {
                "channel": "events",
                "whole": since < 0,
                "since_ms": self._since_ms,
                "events": [event for version, event in self._kept if version > since],
            }
        )
