"""A client's text frames, ready for the socket: masked with keys that nobody can foresee (RFC 6455 section 5)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # where websockets was installed without its C part
    from websockets.utils import apply_mask

__all__ = ["TextFrames"]

_KEY_BYTES: Final = 4
_KEYS_AT_ONCE: Final = 256
"""Drawn together, as asking the system for four bytes takes as long as for a thousand."""
_SHORT: Final = 126
_MEDIUM: Final = 1 << 16
_HEADS: Final = [bytes((0x81, 0x80 | size)) for size in range(_SHORT)]
"""Final, text, masked."""


class TextFrames:
    """Makes whole messages of one frame each.

    Args:
        draw: returns so many random bytes, of the system's strong ones.
    """

    def __init__(self, draw: Callable[[int], bytes] = os.urandom) -> None:
        self._draw = draw
        self._keys: list[bytes] = []

    def __repr__(self) -> str:
        return f"<TextFrames {len(self._keys)} keys left>"

    def frame(self, text: bytes) -> bytes:
        """Return the frame of a text, which is UTF-8; each has a key of its own."""
        if not self._keys:
            drawn = self._draw(_KEY_BYTES * _KEYS_AT_ONCE)
            self._keys = [drawn[start : start + _KEY_BYTES] for start in range(0, len(drawn), _KEY_BYTES)]
        key = self._keys.pop()
        size = len(text)
        if size < _SHORT:
            head = _HEADS[size]
        elif size < _MEDIUM:
            head = b"\x81\xfe" + size.to_bytes(2, "big")
        else:
            head = b"\x81\xff" + size.to_bytes(8, "big")
        return head + key + apply_mask(text, key)
