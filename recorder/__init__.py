"""Where the world is touched: collector, journal, roll, archive, queries, gateway, command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recorder.live_recording import live

__all__ = ["live"]


def __getattr__(name: str) -> Any:
    """``recorder.live``, loaded when it is first asked for: it brings the whole collector with it."""
    if name == "live":
        from recorder.live_recording import live

        return live
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
