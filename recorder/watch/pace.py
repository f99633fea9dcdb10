"""How often the screen is drawn: no oftener than asked, and no more bytes a second than a thin line carries."""

from __future__ import annotations

from typing import Final

__all__ = ["Pace"]

SECOND_NS: Final = 10**9


class Pace:
    """Says when the next picture may be drawn.

    Args:
        pictures: a second, at most.
        bytes_per_second: at most, on average.
    """

    def __init__(self, pictures: float, bytes_per_second: float) -> None:
        self._interval_ns = round(SECOND_NS / pictures)
        self._bytes_per_second = bytes_per_second
        self._paid_ns = 0
        self._due_ns = 0

    def drew(self, now_ns: int, size: int) -> None:
        """A picture of so many bytes went out. Monotonic clock."""
        self._paid_ns = max(now_ns, self._paid_ns) + round(size * SECOND_NS / self._bytes_per_second)
        self._due_ns = max(now_ns + self._interval_ns, self._paid_ns)

    def wait_s(self, now_ns: int) -> float:
        """Seconds until the next one may be drawn."""
        return max(0, self._due_ns - now_ns) / SECOND_NS
