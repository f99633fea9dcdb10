"""One RPI order book of your own, fed from columns as readers of the archive do (protocol section 3.2).

Each level has two sizes: orders that everybody may take, and retail-price-improvement orders. It is kept as two books
over the same prices, so that everything that a ``Book`` can tell is there for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.core.book import Book, joint_digest

__all__ = ["RpiBook", "apply_levels", "load_levels"]


class RpiBook:
    """A book of two sizes a level; a level is there while one of them is.

    Args:
        depth: levels a side that readers see.

    Attributes:
        sizes: the ordinary sizes.
        rpi_sizes: the retail-price-improvement sizes.

    Prices and sizes are mantissas, as in ``Book``; the two books always have the same exponents.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sizes = Book(depth)
        self.rpi_sizes = Book(depth)

    def __repr__(self) -> str:
        return f"<RpiBook sizes={self.sizes!r} rpi_sizes={self.rpi_sizes!r}>"

    @property
    def price_exponent(self) -> int:
        """Price value = mantissa x 10^price_exponent."""
        return self.sizes.price_exponent

    @property
    def size_exponent(self) -> int:
        """Size value = mantissa x 10^size_exponent, of both sizes."""
        return self.sizes.size_exponent

    @property
    def digest(self) -> int:
        """The 64-bit digest of the whole state (docs/verify.md)."""
        return joint_digest(self.sizes, self.rpi_sizes)

    def load(
        self,
        bid_prices: Any,
        bid_sizes: Any,
        ask_prices: Any,
        ask_sizes: Any,
        bid_rpi_sizes: Any,
        ask_rpi_sizes: Any,
        price_exponent: int,
        size_exponent: int,
    ) -> None:
        """Replace the book by a snapshot or keyframe.

        Raises as ``Book.load``; whatever is raised, the book is as it was.
        """
        sizes, rpi_sizes = Book(self.depth), Book(self.depth)
        sizes.load(bid_prices, bid_sizes, ask_prices, ask_sizes, price_exponent, size_exponent)
        rpi_sizes.load(bid_prices, bid_rpi_sizes, ask_prices, ask_rpi_sizes, price_exponent, size_exponent)
        self.sizes, self.rpi_sizes = sizes, rpi_sizes

    def apply(
        self,
        bid_prices: Any,
        bid_sizes: Any,
        ask_prices: Any,
        ask_sizes: Any,
        bid_rpi_sizes: Any,
        ask_rpi_sizes: Any,
        price_exponent: int,
        size_exponent: int,
    ) -> None:
        """Apply a delta: absolute sizes, two zeros remove. Raises as ``load``."""
        second = (bid_prices, bid_rpi_sizes, ask_prices, ask_rpi_sizes, price_exponent, size_exponent)
        self.rpi_sizes.changes_of(*second)  # what can't be applied raises here, before anything has changed
        self.sizes.apply(bid_prices, bid_sizes, ask_prices, ask_sizes, price_exponent, size_exponent)
        self.rpi_sizes.apply(*second)

    def bids(self, n: int | None = None) -> list[tuple[int, int, int]]:
        """The best ``n`` bids (default: depth) as (price, size, RPI size) mantissas, best first."""
        held = max(self.sizes.counts[0], self.rpi_sizes.counts[0])
        levels = _joined(self.sizes.bids(held), self.rpi_sizes.bids(held))
        return levels[::-1][: self.depth if n is None else n]

    def asks(self, n: int | None = None) -> list[tuple[int, int, int]]:
        """The best ``n`` asks (default: depth) as (price, size, RPI size) mantissas, best first."""
        held = max(self.sizes.counts[1], self.rpi_sizes.counts[1])
        return _joined(self.sizes.asks(held), self.rpi_sizes.asks(held))[: self.depth if n is None else n]


def _joined(sizes: list[tuple[int, int]], rpi_sizes: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Both sizes of every price, by rising price."""
    plain, rpi = dict(sizes), dict(rpi_sizes)
    return [(price, plain.get(price, 0), rpi.get(price, 0)) for price in sorted(plain | rpi)]


def load_levels(book: Book | RpiBook, levels: Sequence[Any], exponents: tuple[int, int]) -> None:
    """Load a row's lists of levels, in their table's order (``schemas.tables``), into a book of either kind."""
    if isinstance(book, RpiBook):
        bid_prices, bid_sizes, ask_prices, ask_sizes, bid_rpi, ask_rpi = levels
        book.load(bid_prices, bid_sizes, ask_prices, ask_sizes, bid_rpi, ask_rpi, *exponents)
    else:
        bid_prices, bid_sizes, ask_prices, ask_sizes = levels
        book.load(bid_prices, bid_sizes, ask_prices, ask_sizes, *exponents)


def apply_levels(book: Book | RpiBook, levels: Sequence[Any], exponents: tuple[int, int]) -> None:
    """Apply a row's lists of levels, as ``load_levels`` takes them."""
    if isinstance(book, RpiBook):
        bid_prices, bid_sizes, ask_prices, ask_sizes, bid_rpi, ask_rpi = levels
        book.apply(bid_prices, bid_sizes, ask_prices, ask_sizes, bid_rpi, ask_rpi, *exponents)
    else:
        bid_prices, bid_sizes, ask_prices, ask_sizes = levels
        book.apply(bid_prices, bid_sizes, ask_prices, ask_sizes, *exponents)
