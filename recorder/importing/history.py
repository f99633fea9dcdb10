"""What a collector has imported: its segments say it, in ``imported`` notes, and a file beside them sums that up.

The file (``imported.json``) saves reading all segments again, and knows of those that are pruned; a segment that it
does not know yet, because a kill came in between, is read.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import msgspec

from recorder.importing.sources import Fingerprint
from recorder.journal import SegmentReader, journal_directory, segments
from recorder.whole_files import write_synced
from schemas.errors import StoreError
from schemas.names import RecordKind
from schemas.notes import Imported, decode_note

__all__ = ["History"]

log = logging.getLogger("tapebook")
_MARK: Final = b'{"note":"imported"'


class History:
    """The imports of a collector.

    Args:
        data: the data directory.
        collector: whose.
    """

    def __init__(self, data: Path, collector: str) -> None:
        self._path = journal_directory(data, collector) / "imported.json"
        self._notes: dict[int, list[Imported]] = {}
        try:
            self._notes = msgspec.json.decode(self._path.read_bytes(), type=dict[int, list[Imported]])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("%s: cannot be read (%s): the segments are read instead", self._path, error)
        unknown = [
            file
            for file in segments(data, collector)
            if file.state == "sealed" and file.start_ns not in self._notes
        ]
        self._notes |= {file.start_ns: _notes_of(file.path) for file in unknown}
        if any(self._notes[file.start_ns] for file in unknown):
            self._write()  # as long as they are there: pruned, they could be imported again

    @property
    def empty(self) -> bool:
        """Whether nothing was imported."""
        return not any(self._notes.values())

    def last_of(self, file: Fingerprint) -> Imported | None:
        """How far a file has been imported; None where it has not."""
        found = [note for notes in self._notes.values() for note in notes if note.sha256 == file.sha256]
        return max(found, key=lambda note: note.last, default=None)

    def latest(self) -> Imported | None:
        """What was imported last."""
        for start_ns in sorted(self._notes, reverse=True):
            if self._notes[start_ns]:
                return self._notes[start_ns][-1]
        return None

    def add(self, start_ns: int, notes: list[Imported]) -> None:
        """A segment is in the journal: write down what it holds, whole or not at all."""
        self._notes[start_ns] = notes
        self._write()

    def _write(self) -> None:
        temporary = self._path.with_suffix(".tmp")
        try:
            write_synced(temporary, msgspec.json.encode(dict(sorted(self._notes.items()))))
            temporary.replace(self._path)
        except OSError as error:
            raise StoreError(
                f"{self._path}: cannot be written: {error}; make room, then import again"
            ) from error


def _notes_of(path: Path) -> list[Imported]:
    with SegmentReader(path) as reader:
        notes = [
            decode_note(record.payload)
            for record in reader.records(RecordKind.NOTE)
            if record.payload.startswith(_MARK)
        ]
    return [note for note in notes if isinstance(note, Imported)]
