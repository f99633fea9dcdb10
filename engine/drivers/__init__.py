"""Drivers: feeds whose frames are read here, in Python, because they are few and each kind has its own shape.

`driven` says which topics these are. A kind of topic is added with an entry in `KINDS`: by the first word of the topic,
a function of (category, topic) that returns a `Driven`, or None for a topic that isn't one after all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from engine.drivers.base import Driver, Silence, Stamp, UndecodableError
from engine.drivers.rows import Rows
from schemas.names import Category

if TYPE_CHECKING:
    from engine.core.feeds import Engine

__all__ = ["KINDS", "Driven", "Driver", "Rows", "Silence", "Stamp", "UndecodableError", "driven"]


class Driven(NamedTuple):
    """A driven feed, before it is one.

    Attributes:
        driver: makes its driver, from (engine, feed index, topic, rows).
        symbol: that the topic names, or empty.
        depth: above 1 for a book whose update ids are consecutive and that only a snapshot makes good again.
        quiet: nothing may come for as long as nothing happens, so that an acknowledgement makes the feed good.
        silence: how it is judged, or None for a feed that may be silent for ever.
    """

    driver: Callable[[Engine, int, str, Rows | None], Driver]
    symbol: str
    depth: int = 0
    quiet: bool = False
    silence: Silence | None = None


KINDS: dict[str, Callable[[Category, str], Driven | None]] = {}


def driven(category: Category, topic: str) -> Driven | None:
    """What drives a topic, or None for one that the core reads or that nobody knows."""
    make = KINDS.get(topic.partition(".")[0])
    return None if make is None else make(category, topic)
