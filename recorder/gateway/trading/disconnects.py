"""DCP: an account whose protected connections are all gone loses its open orders (protocol section 7.5). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from engine.venue import Refusal
from engine.venue.refusals import invalid
from schemas.names import Category

__all__ = ["Disconnects"]

_PRODUCTS: Final = {"OPTIONS": "dcp.option", "DERIVATIVES": "dcp.future", "SPOT": "dcp.spot"}
_CATEGORIES: Final = {
    "dcp.option": (Category.OPTION,),
    "dcp.future": (Category.LINEAR, Category.INVERSE),
    "dcp.spot": (Category.SPOT,),
}
_DEFAULT_WINDOW_S: Final = 10
_WINDOW_S: Final = (3, 300)


class Disconnects:
    """Which accounts are protected, and since when nobody of theirs is there."""

    def __init__(self) -> None:
        self._windows_s: dict[tuple[str, str], int] = {}
        self._present: dict[tuple[str, str], int] = {}
        self._gone_ms: dict[tuple[str, str], int] = {}

    def set_window(self, uid: str, product: str, seconds: Any) -> None:
        """Set an account's window, at once.

        Raises:
            Refusal: 10001, no such product or window.
        """
        if product not in _PRODUCTS:
            raise invalid(f"product is not one of {', '.join(_PRODUCTS)}")
        shortest, longest = _WINDOW_S
        if isinstance(seconds, bool) or not isinstance(seconds, int) or not shortest <= seconds <= longest:
            raise Refusal(10001, f"params error: timeWindow is not between {shortest} and {longest}")
        self._windows_s[uid, _PRODUCTS[product]] = seconds

    def settings(self, uid: str) -> list[dict[str, str]]:
        """What query-dcp-info tells."""
        return [
            {"product": product, "dcpStatus": "ON", "timeWindow": str(self._window_s(uid, topic))}
            for product, topic in _PRODUCTS.items()
        ]

    def _window_s(self, uid: str, topic: str) -> int:
        return self._windows_s.get((uid, topic), _DEFAULT_WINDOW_S)

    def joined(self, uid: str, topics: Iterable[str]) -> None:
        """A connection protects by having subscribed these topics."""
        for topic in topics:
            if topic in _CATEGORIES:
                self._present[uid, topic] = self._present.get((uid, topic), 0) + 1
                self._gone_ms.pop((uid, topic), None)

    def left(self, uid: str, topics: Iterable[str], now_ms: int) -> None:
        """It is gone, or has unsubscribed them."""
        for topic in topics:
            key = uid, topic
            if self._present.get(key):
                self._present[key] -= 1
                if not self._present[key]:
                    self._gone_ms[key] = now_ms

    def due(self, now_ms: int) -> list[tuple[str, tuple[Category, ...]]]:
        """Accounts whose window has passed, each once, and the categories in which their orders end."""
        over = [
            key for key, gone_ms in self._gone_ms.items() if now_ms >= gone_ms + self._window_s(*key) * 1000
        ]
        for key in over:
            del self._gone_ms[key]
        return [(uid, _CATEGORIES[topic]) for uid, topic in over]
