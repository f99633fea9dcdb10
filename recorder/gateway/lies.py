"""Books that are wrong on purpose, and look right: what audits are tested against. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import msgspec

from schemas.errors import ConfigError

__all__ = ["REST", "Lies"]

REST: Final = "rest"


class Lies:
    """Which books are told wrongly.

    Args:
        about: topic prefixes (``orderbook.200``), full topics, or ``rest`` for the answers of /v5/market/orderbook.

    Raises:
        ConfigError: one of them is neither.
    """

    def __init__(self, about: Iterable[str]) -> None:
        self._about = tuple(about)
        for name in self._about:
            if name != REST and not name.startswith("orderbook."):
                raise ConfigError(
                    f"--lie {name!r}: expected orderbook.DEPTH, orderbook.DEPTH.SYMBOL or {REST}"
                )

    def __bool__(self) -> bool:
        return bool(self._about)

    def frame(self, topic: str, payload: bytes) -> bytes:
        """A book frame with the size of one of its levels doubled, if it is to be a lie; every other frame as it is.

        Deltas that only remove levels stay true, and so do update ids and sequences: nothing but a comparison finds it.
        """
        if not any(topic == name or topic.startswith(f"{name}.") for name in self._about):
            return payload
        message = msgspec.json.decode(payload)
        _double(message["data"])
        return msgspec.json.encode(message)

    def answer(self, endpoint: str, result: dict[str, Any]) -> dict[str, Any]:
        """The same for the result of a REST endpoint."""
        if endpoint == "orderbook" and REST in self._about:
            result = {**result, "b": list(result["b"]), "a": list(result["a"])}
            _double(result)
        return result


def _double(book: dict[str, Any]) -> None:
    for side in (book["b"], book["a"]):
        for number, (price, size, *more) in enumerate(side):
            if Decimal(size):
                side[number] = [price, str(2 * Decimal(size)), *more]
                return
