"""What the exchange has told the world, whoever listened: the other half of the ledger's account."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from recorder.gateway.books import Feeds, FrameInfo
from recorder.gateway.ledger import Ledger
from schemas.names import Category

__all__ = ["Published", "book_checksum"]


class Published:
    """Notes every frame of one category before any fault can befall it, and the book that it makes.

    The books are those of :class:`~recorder.gateway.books.Feeds`, built from the published frames alone.
    """

    def __init__(self, ledger: Ledger, category: Category) -> None:
        self._ledger = ledger
        self._feeds = Feeds(category)

    def note(self, info: FrameInfo, payload: bytes, *, rebuilt: bool = False) -> None:
        """Note a frame; ``rebuilt`` if it was made for one subscriber."""
        self._feeds.apply(info.topic, payload)
        view = self._feeds.view(info.topic)
        sequence = checksum = None
        if view is not None:
            sequence, checksum = view.cross_sequence, book_checksum(view.bids, view.asks)
        self._ledger.published(info, payload, rebuilt=rebuilt, sequence=sequence, book=checksum)


def book_checksum(bids: Iterable[tuple[str, str]], asks: Iterable[tuple[str, str]]) -> str:
    """Return the crc32 of a book, eight hexadecimal digits.

    Args:
        bids, asks: (price, size) texts within the topic's depth, best first.

    The text summed up is ``price:size;price:size|price:size``, bids before the bar, numbers without trailing
    zeros of a fraction.
    """
    return f"{zlib.crc32('|'.join(map(_side, (bids, asks))).encode()):08x}"


def _side(levels: Iterable[tuple[str, str]]) -> str:
    return ";".join(f"{_plain(price)}:{_plain(size)}" for price, size in levels)


def _plain(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number
