"""The gateway's own account of what it did: JSON lines, whole as soon as the frame is sent."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from recorder.gateway.books import FrameInfo
from schemas.errors import ConfigError, StoreError

__all__ = ["Ledger"]

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class Ledger:
    """A file of one JSON object a line.

    Lines gather in memory until :meth:`flush`, which the gateway calls after every batch it hands to the
    sockets, so that a reader only ever sees whole lines. Shapes::

        {"event":"frame","connection":1,"topic":…,"u":…,"crc32":"89abcdef","type":"delta","rebuilt":false,"sent_ns":…}
        {"event":"fault","fault":"drop","connection":1,"topic":…,"u":…,"crc32":…}
        {"event":"fault","fault":"slow_ack","connection":1,"topics":[…]}     of a request, by the topics that it names
        {"event":"fault","fault":"restart"|"forbidden"|…,"connection":0}     of no connection
        {"event":"open","connection":1,"conn_id":…}
        {"event":"close","connection":1}
        {"event":"calm","connection":0}
        {"event":"subscribe"|"unsubscribe","connection":1,"topic":…}
        {"event":"request","connection":…,"uid":…,"op":"create",…,"retCode":"0","orderId":…,"orderLinkId":…}
        {"event":"order"|"execution","connection":0,"uid":…,"orderId":…,…}     what an account is told, as it came to be
        {"event":"told","connection":3,"topic":"order"}                      a private frame that went out
        {"event":"published","connection":0,"topic":…,"u":…,"seq":…,"type":…,"crc32":…,"book":…,"rebuilt":false}

    Raises:
        ConfigError: the file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []
        try:
            self._descriptor = os.open(path, _FLAGS, 0o644)
        except OSError as error:
            raise ConfigError(
                f"ledger {path}: {error.strerror}; expected a file that can be written"
            ) from error

    def frame(
        self, connection: int, info: FrameInfo, payload: bytes, *, rebuilt: bool, fault: str | None = None
    ) -> None:
        """Note a frame whose bytes go to a socket; ``fault`` when they are not the original's."""
        update_id = "null" if info.update_id is None else info.update_id
        kind = "null" if info.kind is None else json.dumps(info.kind)
        damage = "" if fault is None else f',"fault":"{fault}"'
        self._lines.append(
            f'{{"event":"frame","connection":{connection},"topic":{json.dumps(info.topic)},"u":{update_id},'
            f'"crc32":"{zlib.crc32(payload):08x}","type":{kind},"rebuilt":{"true" if rebuilt else "false"}'
            f'{damage},"sent_ns":{time.time_ns()}}}\n'
        )

    def published(
        self, info: FrameInfo, payload: bytes, *, rebuilt: bool, sequence: int | None, book: str | None
    ) -> None:
        """Note a frame that the exchange pushes, whoever gets it, and the checksum of the book behind it."""
        self._line(
            event="published",
            connection=0,
            topic=info.topic,
            u=info.update_id,
            seq=sequence,
            type=info.kind,
            crc32=f"{zlib.crc32(payload):08x}",
            book=book,
            rebuilt=rebuilt,
        )

    def fault(
        self, connection: int, fault: str, info: FrameInfo | None = None, original: bytes | None = None
    ) -> None:
        """Note a fault, with the crc32 of the frame it befell."""
        topic = None if info is None else info.topic
        update_id = None if info is None else info.update_id
        crc = None if original is None else f"{zlib.crc32(original):08x}"
        self._line(event="fault", fault=fault, connection=connection, topic=topic, u=update_id, crc32=crc)

    def request_fault(self, connection: int, fault: str, topics: Sequence[str]) -> None:
        """Note a fault that befell a request about these topics."""
        self._line(event="fault", fault=fault, connection=connection, topics=list(topics))

    def event(self, event: str, connection: int, **details: str) -> None:
        """Note that a connection opened, closed, subscribed or unsubscribed."""
        self._line(event=event, connection=connection, **details)

    def _line(self, **fields: object) -> None:
        self._lines.append(json.dumps(fields, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        """Write the gathered lines.

        Raises:
            StoreError: the disk refuses them.
        """
        if not self._lines:
            return
        rest = memoryview("".join(self._lines).encode())
        self._lines.clear()
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise StoreError(
                f"ledger {self._path}: {error.strerror}; the gateway can't account for what it sends"
            ) from error

    def close(self) -> None:
        """Write what is left and close the file."""
        try:
            self.flush()
        finally:
            os.close(self._descriptor)
