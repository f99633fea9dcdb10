"""Where one Arrow IPC message ends and the next begins, told without trusting a byte of it.

The stream reader of the Arrow library allocates what a message's length fields ask for; these few lines look
at those fields first, so that a damaged length is an error and not an allocation. Layout (Arrow columnar
format, "Encapsulated message format"): ``ff ff ff ff``, int32 metadata length, metadata (a flatbuffer, padded
to 8 bytes), body. End of stream: ``ff ff ff ff 00 00 00 00``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["CONTINUATION", "END_OF_STREAM", "RECORD_BATCH", "SCHEMA", "Frame", "FrameError", "frame_at"]

CONTINUATION: Final = b"\xff\xff\xff\xff"
END_OF_STREAM: Final = CONTINUATION + bytes(4)

SCHEMA: Final = 1
"""``MessageHeader`` of a schema message."""
RECORD_BATCH: Final = 3
"""``MessageHeader`` of a record batch message."""

_METADATA_LIMIT_BYTES: Final = 1 << 16
_FIRST_READ_BYTES: Final = 1024
_HEADER_TYPE_SLOT: Final = 6  # field 1 of the Message table
_BODY_LENGTH_SLOT: Final = 10  # field 3


class FrameError(ValueError):
    """What is at an offset is not a whole message; the text says what was found."""


class Frame(NamedTuple):
    """One message: its header type and its length, prefix and padding included, in bytes."""

    header_type: int
    length_bytes: int


def frame_at(read_at: Callable[[int, int], bytes], offset_bytes: int, size_bytes: int) -> Frame | None:
    """Look at the message that begins at an offset.

    Args:
        read_at: ``read_at(count, offset)`` returns up to ``count`` bytes of the file.
        offset_bytes: where the message should begin.
        size_bytes: the file's length.

    Returns:
        The frame, or None for an end-of-stream marker.

    Raises:
        FrameError: no whole message is there.
    """
    available = size_bytes - offset_bytes
    start = read_at(min(_FIRST_READ_BYTES, available), offset_bytes)
    if len(start) < 8:
        raise FrameError(f"{len(start)} bytes where a message needs at least 8")
    if start[:4] != CONTINUATION:
        raise FrameError(f"{start[:4].hex(' ')} where a message begins with ff ff ff ff")
    metadata_bytes = int.from_bytes(start[4:8], "little", signed=True)
    if metadata_bytes == 0:
        return None
    if metadata_bytes < 0 or metadata_bytes % 8 or metadata_bytes > _METADATA_LIMIT_BYTES:
        raise FrameError(
            f"a metadata length of {metadata_bytes}, expected a multiple of 8 up to {_METADATA_LIMIT_BYTES}"
        )
    if 8 + metadata_bytes > available:
        raise FrameError(
            f"cut short: {available} bytes of a message whose metadata ends at {8 + metadata_bytes}"
        )
    metadata = start[8 : 8 + metadata_bytes]
    if len(metadata) < metadata_bytes:
        metadata = read_at(metadata_bytes, offset_bytes + 8)
    try:
        header_type, body_bytes = _header(metadata)
    except struct.error as error:
        raise FrameError(f"metadata that is not a message ({error})") from error
    if body_bytes < 0 or body_bytes % 8:
        raise FrameError(f"a body length of {body_bytes}, expected a multiple of 8")
    length_bytes = 8 + metadata_bytes + body_bytes
    if length_bytes > available:
        raise FrameError(f"cut short: {available} of {length_bytes} bytes")
    return Frame(header_type, length_bytes)


def _header(metadata: bytes) -> tuple[int, int]:
    """Header type and body length of a flatbuffer ``Message``; ``struct.error`` when it points outside."""
    (table,) = struct.unpack_from("<I", metadata, 0)
    (distance,) = struct.unpack_from("<i", metadata, table)
    virtual = table - distance
    if virtual < 0:  # unpack_from would count from the end
        raise struct.error("its table lies before it")
    (virtual_bytes,) = struct.unpack_from("<H", metadata, virtual)

    def field(slot: int, code: str) -> int:
        if slot + 2 > virtual_bytes:
            return 0
        (position,) = struct.unpack_from("<H", metadata, virtual + slot)
        return int(struct.unpack_from(code, metadata, table + position)[0]) if position else 0

    return field(_HEADER_TYPE_SLOT, "<B"), field(_BODY_LENGTH_SLOT, "<q")
