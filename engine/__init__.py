"""What happens to a datum. Pure: bytes and time in, events and bytes out; no socket, no file, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.core.shared import SharedBook, SharedTape

__all__ = ["SharedBook", "SharedTape"]


def __getattr__(name: str) -> Any:
    """The readers of shared books, loaded when they are first asked for: they bring NumPy with them."""
    if name in __all__:
        from engine.core import shared

        return getattr(shared, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
