"""What happens to a datum. Pure: bytes and time in, events and bytes out; no socket, no file, no clock."""

from engine.core.shared import SharedBook, SharedTape

__all__ = ["SharedBook", "SharedTape"]
