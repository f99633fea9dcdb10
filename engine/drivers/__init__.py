"""Drivers: feeds whose frames are read here, in Python, because they are few and each kind has its own shape.

`driven` says which topics these are. A kind of topic is added with an entry in `KINDS`: by the first word of the topic,
a function of (category, topic) that returns a `Driven`, or None for a topic that isn't one after all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from engine.drivers.base import Driver, Silence, Stamp, UndecodableError
from engine.drivers.events import (
    EventDriver,
    Read,
    read_adl_alerts,
    read_insurance,
    read_klines,
    read_liquidation,
    read_liquidations,
    read_price_limit,
    read_system_status,
)
from engine.drivers.rows import Rows
from schemas.names import Category, Table

if TYPE_CHECKING:
    from engine.core.feeds import Engine

__all__ = ["KINDS", "Driven", "Driver", "Rows", "Silence", "Stamp", "UndecodableError", "driven"]


class Driven(NamedTuple):
    """A driven feed, before it is one.

    Attributes:
        driver: makes its driver, from (engine, feed index, topic, rows).
        symbol: that the topic names, or empty.
        quiet: nothing may come for as long as nothing happens, so that an acknowledgement makes the feed good.
        silence: how it is judged, or None for a feed that may be silent for ever.
    """

    driver: Callable[[Engine, int, str, Rows | None], Driver]
    symbol: str
    quiet: bool = False
    silence: Silence | None = None


Make = Callable[[Category, str], Driven | None]


def _events(
    table: Table, read: Read, *, parts: int = 2, by_symbol: bool = True, silence: Silence | None = None
) -> Make:
    """Topics of so many parts, whose last one may hold dots. Those whose silence can't be judged are quiet."""

    def make(_: Category, topic: str) -> Driven | None:
        found = topic.split(".", parts - 1)
        if len(found) != parts or not all(found):
            return None
        driver = partial(EventDriver, table=table, read=read)
        return Driven(driver, found[-1] if by_symbol else "", quiet=silence is None, silence=silence)

    return make


KINDS: dict[str, Make] = {
    # at least every 60 s, however quiet the market is (protocol section 3)
    "kline": _events(Table.KLINES, read_klines, parts=3, silence=Silence(least=12)),
    "allLiquidation": _events(Table.LIQUIDATIONS, read_liquidations),
    "liquidation": _events(Table.LIQUIDATIONS, read_liquidation),  # retired; what others recorded holds it
    "insurance": _events(Table.INSURANCE, read_insurance, by_symbol=False),
    "adlAlert": _events(Table.ADL_ALERTS, read_adl_alerts, by_symbol=False),
    "priceLimit": _events(Table.PRICE_LIMITS, read_price_limit, silence=Silence()),
    "system": _events(Table.SYSTEM_STATUS, read_system_status, by_symbol=False),
}


def driven(category: Category, topic: str) -> Driven | None:
    """What drives a topic, or None for one that the core reads or that nobody knows."""
    make = KINDS.get(topic.partition(".")[0])
    return None if make is None else make(category, topic)
