"""A recording over several lines told message by message: what the gateway's ledger would say of it, and the recorder's
own capture, journal and archive of the same frames. For the judge's own tests, where a fault must fall on one frame."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from recorder.roll import roll_data, roll_lock
from schemas.names import Category
from schemas.notes import Connected, Subscribed
from tests.faults.account import Account, account_of
from tests.faults.judge_lines import hold_lines
from tests.ledger import Entry
from tests.recorded import Recorded
from tests.recorder.recordings import MS, SECOND, Tape

__all__ = ["Scripted"]


class Scripted:
    """One topic over lines 0, 1 and so on, each of which has one connection (numbers 1, 2 and so on).

    Args:
        data: the data directory.
    """

    def __init__(self, data: Path, category: Category, topic: str, lines: int = 2) -> None:
        self.data = data
        self.topic = topic
        self.lines = lines
        self.entries: list[Entry] = []
        self._tape = Tape(data, (), collector=category.value, category=category)
        self._tape.capture.add_feeds([topic])
        for line in range(lines):
            connection = line + 1
            self._event("open", connection, conn_id=f"connection-{connection}")
            self._tape.capture.session(line, Connected(url="ws://127.0.0.1:1"))
            self._tape.capture.control(line, f'{{"conn_id":"connection-{connection}"}}', self._tape.now_ns)
            self._event("subscribe", connection, topic=topic)
            self._tape.capture.session(line, Subscribed(topics=[topic]))
        self._tape.now_ns += SECOND  # every line has been there for long

    def _event(self, event: str, connection: int, **values: Any) -> None:
        self.entries.append(Entry(event, connection, **values))

    def _words(self, payload: bytes) -> dict[str, Any]:
        said = json.loads(payload)
        data = said["data"] if isinstance(said["data"], dict) else {}
        return {
            "topic": self.topic,
            "crc32": f"{zlib.crc32(payload):08x}",
            "type": said.get("type"),
            "u": data.get("u"),
        }

    def publish(self, payload: bytes, *, rebuilt: bool = False) -> None:
        """The exchange pushes a message, to all or (rebuilt) to a new subscriber."""
        sequence = json.loads(payload)["data"].get("seq")
        self._event("published", 0, seq=sequence, rebuilt=rebuilt, **self._words(payload))

    def befall(self, line: int, fault: str, payload: bytes) -> None:
        """A fault befalls a message on its way to a line."""
        self._event("fault", line + 1, fault=fault, **self._words(payload))

    def send(self, line: int, payload: bytes, *, rebuilt: bool = False) -> None:
        """The exchange writes a message to a line's connection."""
        self._event("frame", line + 1, rebuilt=rebuilt, **self._words(payload))

    def arrive(self, line: int, payload: bytes) -> None:
        """What was sent next on a line arrives, ten milliseconds after what came before."""
        self._tape.now_ns += 10 * MS
        self._tape.capture.frame_list(line, [payload], self._tape.now_ns)

    def bring(self, line: int, payload: bytes) -> None:
        """A message is sent on a line and arrives."""
        self.send(line, payload)
        self.arrive(line, payload)

    def account(self) -> Account:
        """End the recording, roll it, and put it beside the ledger; the judge has found it right.

        Raises:
            AssertionError: the judge finds fault with it.
        """
        self._tape.stop()
        with roll_lock(self.data, wait=True):
            roll_data(self.data)
        recorded = Recorded(self.data, self._tape.engine.category.value)
        account = account_of(recorded, self.entries)
        hold_lines(recorded, account, self.lines)
        return account
