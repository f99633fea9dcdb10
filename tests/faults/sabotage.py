"""Ways to break the product so that kills do harm: the harness is worth something only if it sees each of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final
from unittest import mock

from recorder import roll, whole_files
from recorder.journal import Commit, JournalWriter
from recorder.object_store import content_of
from recorder.upload import _Upload
from tests.faults import kill_steps

__all__ = ["SABOTAGES"]


def _patch(target: object, name: str, new: Any) -> None:
    mock.patch.object(target, name, new).start()


def _torn_lines() -> None:
    """A manifest line that a crash cut short is not cut off before the next one."""
    _patch(whole_files, "_whole_lines_bytes", lambda descriptor: os.fstat(descriptor).st_size)


def _unsynced() -> None:
    """Nothing is put on the disk before it counts."""
    _patch(os, "fsync", lambda _: None)


def _early_witness() -> None:
    """A group commit is reported before it is written."""

    real = JournalWriter.flush

    def flush(self: Any) -> None:
        if self._pending and self._on_commit is not None:
            path, last = self._segment.path, self._next_sequence - 1
            self._on_commit(Commit(path, 0, len(self._pending), last, 0, True))
        real(self)

    _patch(JournalWriter, "flush", flush)


def _unrecovered() -> None:
    """What a crash left open is not recovered."""
    _patch(kill_steps, "recover", lambda *_: [])
    _patch(roll, "recover", lambda *_: [])


def _early_manifest() -> None:
    """A manifest is published before the files that it names."""

    real = _Upload._send

    def send(self: Any, file: Any) -> bool:
        lines = self._path.read_bytes()
        self._store.write(self._key, lines, content_of(lines))
        return real(self, file)

    _patch(_Upload, "_send", send)


SABOTAGES: Final[dict[str, Callable[[], None]]] = {
    "torn-lines": _torn_lines,
    "unsynced": _unsynced,
    "early-witness": _early_witness,
    "unrecovered": _unrecovered,
    "early-manifest": _early_manifest,
}
