"""Where a collector's numbers go on: behind everything that its journal or the archive has.

The journal alone would do, were it never deleted by hand: rows of two records with one number can't be told apart.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from recorder.journal import next_sequence
from recorder.manifest import manifest_path, read_manifest_file
from recorder.manifest_lines import no_files
from schemas.errors import StoreError

__all__ = ["next_number"]


def next_number(data: Path, collector: str) -> int:
    """One more than the last sequence that the collector ever used, as far as is known; errors as `next_sequence`.

    A manifest that can't be read keeps nobody from recording.
    """
    behind = next_sequence(data, collector)
    with suppress(StoreError, OSError):
        state = read_manifest_file(manifest_path(data / "archive", collector), no_files)
        for entry in state.segments.values():
            behind = max(behind, entry.sequence[1] + 1)
    return behind
