"""Which client reads the public stream."""

from __future__ import annotations

from recorder.transport import Connection
from schemas.names import Transport

__all__ = ["connection_kind"]


def connection_kind(transport: Transport) -> type[Connection]:
    """Return what `recorder.transport.connect` makes.

    Raises:
        ConfigError: it isn't installed, or in a version that can't be used.
    """
    if transport is Transport.WEBSOCKETS:
        return Connection
    from recorder.picows_frames import load_parser
    from recorder.transport_picows import PicowsConnection

    load_parser()  # what is missing is told before anything is opened
    return PicowsConnection
