"""Names that we give: ``orderLinkId`` is the key by which an order is found again, ``reqId`` that of an answer.

A name is a prefix, the run that gave it and a counter. The counter tells apart what one run gives, however fast; the
run, drawn at random by the caller once per process, tells apart processes and restarts. Nothing depends on the clock.
"""

from __future__ import annotations

import re
from typing import Final

from schemas.errors import ConfigError

__all__ = ["MAXIMUM_LENGTH", "LinkIds", "is_link_id"]

MAXIMUM_LENGTH: Final = 36
"""Of an ``orderLinkId`` and of a ``reqId`` (sections 6.4 and 7.1)."""

RUN_LENGTH: Final = 13
"""Characters of a run: 65 bits in base 32."""

_LINK_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Za-z0-9_]{1,8}", re.ASCII)
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuv"


def is_link_id(text: str) -> bool:
    """Whether the exchange takes this as an ``orderLinkId``."""
    return _LINK_ID.fullmatch(text) is not None


def _base_32(number: int, length: int) -> str:
    digits = ""
    while number or len(digits) < length:
        number, digit = divmod(number, 32)
        digits = _DIGITS[digit] + digits
    return digits


class LinkIds:
    """Gives names, none of them twice.

    Args:
        run: a random number of this process, of 65 bits (``secrets.randbits(65)``).
        prefix: at most 8 characters, to recognise our orders by.

    Raises:
        ConfigError: a prefix that cannot be part of an ``orderLinkId``.
    """

    def __init__(self, run: int, prefix: str = "tb") -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ConfigError(
                f"order prefix {prefix[:40]!r}: expected 1 to 8 characters of A-Z, a-z, 0-9 and _, such as 'tb'"
            )
        self._stem = f"{prefix}-{_base_32(run % (1 << 65), RUN_LENGTH)}-"
        self._given = 0

    def __repr__(self) -> str:
        return f"<LinkIds {self._stem}… given={self._given}>"

    def next(self) -> str:
        """Return a name that was never given before."""
        self._given += 1
        return f"{self._stem}{self._given:x}"
