"""A switch that stops trading and stays on, over restarts and crashes, until somebody releases it by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from recorder.whole_files import sync_directories, write_synced

__all__ = ["FILE_NAME", "KillSwitch"]

FILE_NAME: Final = "KILLED"


class _State(msgspec.Struct):
    reason: str
    at_ns: int


class KillSwitch:
    """The switch of one trading directory; while its file is there, nothing but cancels goes out.

    Attributes:
        reason: why it is on; None while it is off.
        trips: how often it went on, being found on at first included.
    """

    reason: str | None

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self.reason = self.look()
        self.trips = int(self.is_on)

    def __repr__(self) -> str:
        return f"<KillSwitch {'off' if self.reason is None else 'ON: ' + self.reason}>"

    def look(self) -> str | None:
        """What the file says, whoever wrote it; None where there is none. What is on in this process stays on."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{self._path} cannot be read ({error.strerror or error}), so it counts as on"
        try:
            return msgspec.json.decode(content, type=_State).reason
        except (msgspec.MsgspecError, ValueError):
            return f"{self._path} is there, whatever it says"

    def since_ns(self) -> int | None:
        """When the file was written, as it says itself; None where it doesn't or there is none."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_State).at_ns
        except (OSError, msgspec.MsgspecError, ValueError):
            return None

    @property
    def is_on(self) -> bool:
        """Whether trading is stopped."""
        return self.reason is not None

    def trip(self, reason: str, now_ns: int) -> None:
        """Switch on; the first reason stays.

        Raises:
            OSError: the file can't be written; it is on all the same, for this process.
        """
        if self.reason is not None:
            return
        self.reason = reason
        self.trips += 1
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        write_synced(temporary, msgspec.json.encode(_State(reason, now_ns)) + b"\n")
        os.replace(temporary, self._path)  # noqa: PTH105
        sync_directories(self._path.parent)

    def release(self) -> None:
        """Switch off, for whoever has looked at why it is on.

        Raises:
            OSError: the file can't be removed; it stays on.
        """
        self._path.unlink(missing_ok=True)
        sync_directories(self._path.parent)
        self.reason = None
