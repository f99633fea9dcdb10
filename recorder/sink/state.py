"""How far a sink has sent a collector's journal, and what it has counted: a small file that is written whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from recorder.journal.lock import only_one
from recorder.sink.messages import Place
from recorder.whole_files import sync_directories, write_synced
from schemas.errors import StoreError

__all__ = ["SinkState", "load_state", "only_sink", "save_state", "sink_directory"]

_VERSION: Final = 1


class SinkState(msgspec.Struct, kw_only=True, forbid_unknown_fields=False):
    """One collector's state; counts are since the file was made.

    Attributes:
        collector, prefix, stream: what is sent where; no stream: to whoever listens.
        place: the last message that was acknowledged; null before the first.
        receive_ns: of its record.
        sent, acknowledged: messages; ``again`` of those sent had been sent before, and may have arrived twice where
            there is no stream.
        omitted: payloads that were too large for the server.
        removed, torn, damaged, withdrawn: numbers that could not be sent, by why (``recorder.journal.Break``).
        tops: conflated messages of best levels.
        connects: connections that were made.
        connected: whether one is up.
        behind_bytes, behind_s: of the journal, that were not sent when this was written; how old the oldest of it is.
        updated_ns: when that was.
        trouble: why nothing is sent at the moment.
    """

    version: int = _VERSION
    collector: str
    prefix: str
    stream: str | None = None
    place: Place | None = None
    receive_ns: int = 0
    sent: int = 0
    acknowledged: int = 0
    again: int = 0
    omitted: int = 0
    removed: int = 0
    torn: int = 0
    damaged: int = 0
    withdrawn: int = 0
    tops: int = 0
    connects: int = 0
    connected: bool = False
    behind_bytes: int = 0
    behind_s: float = 0.0
    updated_ns: int = 0
    trouble: str = ""

    @property
    def missing(self) -> int:
        """Numbers that could not be sent."""
        return self.removed + self.torn + self.damaged + self.withdrawn


def sink_directory(data: Path, name: str) -> Path:
    """Where a sink keeps what it knows."""
    return data / "nats" / name


def load_state(data: Path, name: str, collector: str) -> SinkState | None:
    """What an earlier run left; None where there was none. Raises StoreError where it can't be read."""
    path = sink_directory(data, name) / f"{collector}.json"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=SinkState)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise StoreError(
            f"{path}: not the state of a sink ({error}): move it away, and say with --from where to begin"
        ) from error
    if found.version != _VERSION or found.collector != collector:
        raise StoreError(
            f"{path}: found version {found.version} of collector {found.collector!r}, expected {_VERSION} of "
            f"{collector!r}: update tapebook, or move the file away and say with --from where to begin"
        )
    return found


def save_state(data: Path, name: str, state: SinkState) -> None:
    """Write it whole, and have it on the disk. Raises StoreError."""
    path = sink_directory(data, name) / f"{state.collector}.json"
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(temporary, msgspec.json.encode(state))
        temporary.replace(path)
        sync_directories(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def only_sink(data: Path, name: str) -> Iterator[None]:
    """Hold a sink's name in a data directory: two would send everything twice. Raises ConfigError, StoreError."""
    taken = (
        f"{data}: a sink named {name!r} is at work there already; stop it, or choose another name (--name)"
    )
    with only_one(sink_directory(data, name) / "lock", taken):
        yield
