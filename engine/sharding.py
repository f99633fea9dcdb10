"""Dealing the symbols of one category out to several processes. Pure, and the same in every process.

A symbol goes where a pin says, else where its hash says: so a new listing needs no word from anybody. Pins come from
measured load. All topics of a symbol stay together, because checks between them need them side by side.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from schemas.errors import ConfigError

__all__ = ["MAX_PINS", "MAX_SHARDS", "Shard", "balance", "parse_shard"]

MAX_SHARDS: Final = 64
MAX_PINS: Final = 200
"""So many of the busiest symbols are pinned; what is left is little, and evenly spread by its hash."""


class Shard(msgspec.Struct, frozen=True):
    """One process's share.

    Attributes:
        number: of this one, from 1 on.
        of: how many there are; 1 is everything.
        pins: symbol to number.
    """

    number: int = 1
    of: int = 1
    pins: Mapping[str, int] = {}

    def takes(self, symbol: str) -> bool:
        """Whether the symbol belongs to this share."""
        return self.of == 1 or self.owner(symbol) == self.number

    def owner(self, symbol: str) -> int:
        """The number of the share that the symbol belongs to."""
        pinned = self.pins.get(symbol)
        return pinned if pinned is not None else 1 + zlib.crc32(symbol.encode()) % self.of


def parse_shard(text: str, pins: Iterable[str] = ()) -> Shard:
    """Read ``2/3`` (of three shares the second; empty is everything) and pins such as ``BTCUSDT=1``.

    Raises:
        ConfigError: anything else, or a number that there isn't.
    """
    number = of = 1
    if text:
        left, slash, right = text.partition("/")
        if not (slash and left.isascii() and left.isdigit() and right.isascii() and right.isdigit()):
            raise ConfigError(f"shard {text[:32]!r}: expected NUMBER/OF, such as 1/2")
        number, of = int(left), int(right)
        if not 1 <= of <= MAX_SHARDS or not 1 <= number <= of:
            raise ConfigError(f"shard {text[:32]!r}: expected 1/1 to {MAX_SHARDS}/{MAX_SHARDS}")
    found: dict[str, int] = {}
    for pin in pins:
        symbol, equals, owner = pin.rpartition("=")
        if not (symbol and equals and owner.isascii() and owner.isdigit() and 1 <= int(owner) <= of):
            raise ConfigError(f"pins {pin[:80]!r}: expected SYMBOL=NUMBER with a number of 1 to {of}")
        found[symbol] = int(owner)
    return Shard(number, of, found)


def balance(loads: Mapping[str, float], shards: int) -> dict[str, int]:
    """Pin the busiest symbols so that the shares weigh about the same: heaviest first, each to the lightest share.

    Args:
        loads: by symbol, in any one unit.
        shards: how many shares.

    Returns:
        Pins of at most ``MAX_PINS`` symbols; the others' load, which their hash deals out, is taken into account.
    """
    if shards < 2:
        return {}
    heaviest = sorted(loads, key=lambda symbol: (-loads[symbol], symbol))
    pinned, others = heaviest[:MAX_PINS], heaviest[MAX_PINS:]
    unpinned = Shard(1, shards)
    weights = [0.0] * (shards + 1)
    for symbol in others:
        weights[unpinned.owner(symbol)] += loads[symbol]
    pins: dict[str, int] = {}
    for symbol in pinned:
        lightest = min(range(1, shards + 1), key=lambda number: (weights[number], number))
        pins[symbol] = lightest
        weights[lightest] += loads[symbol]
    return pins
