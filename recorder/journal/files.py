"""Names on disk: ``DATA/journal/<collector>/<start_ns>.arrows`` and its relatives.

==========================  ==========================================================================
``.arrows.open``            being written (and then ``flock``-ed), or left behind by a crash
``.arrows.sealing``         left behind by a recovery that was itself interrupted while sealing
``.arrows``                 sealed
``.torn``, ``.torn.1``, …   bytes that a recovery set aside
``.arrows.new``             not a segment yet: its header is being written
==========================  ==========================================================================
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, Literal, NamedTuple

from schemas.errors import ConfigError

__all__ = [
    "NEW",
    "OPEN",
    "SEALED",
    "SEALING",
    "SegmentFile",
    "SegmentState",
    "check_collector",
    "journal_directory",
    "segment_path",
    "segments",
    "torn_files",
]

SegmentState = Literal["open", "sealed", "torn"]

OPEN: Final = ".arrows.open"
SEALING: Final = ".arrows.sealing"
SEALED: Final = ".arrows"
NEW: Final = ".arrows.new"

_COLLECTOR = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_SEGMENT = re.compile(
    r"(0|[1-9][0-9]{0,18})(\.arrows|\.arrows\.open|\.arrows\.sealing|\.torn(?:\.[1-9][0-9]{0,8})?)"
)
_STATES: Final[dict[str, SegmentState]] = {SEALED: "sealed", OPEN: "open", SEALING: "open"}


class SegmentFile(NamedTuple):
    """One file of a journal as a listing of its directory shows it.

    Attributes:
        path: where it is.
        collector: whose it is (the directory's name).
        start_ns: when the segment was begun, from the file's name.
        state: ``open`` (being written, or not yet recovered), ``sealed``, or ``torn`` (set aside by a
            recovery).
        size: bytes, when it was listed.
    """

    path: Path
    collector: str
    start_ns: int
    state: SegmentState
    size: int


def check_collector(collector: str) -> str:
    """Return the name, or raise ``ConfigError`` when it could not be a directory's name everywhere."""
    if _COLLECTOR.fullmatch(collector) is None:
        raise ConfigError(
            f"collector name {collector!r}: expected 1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot; "
            "choose another with --name"
        )
    return collector


def journal_directory(data: Path, collector: str) -> Path:
    """Where a collector's segments are: ``DATA/journal/<collector>``. A bad name is a ``ConfigError``."""
    return data / "journal" / check_collector(collector)


def segment_path(directory: Path, start_ns: int, suffix: str) -> Path:
    """The path of a segment's file in one of its stages."""
    return directory / f"{start_ns}{suffix}"


def segments(data: Path, collector: str | None = None) -> list[SegmentFile]:
    """List the journal's files, sorted by collector, start and, within one start, sealed, open, torn.

    Files with other names are not ours and are left out, as are the leavings of an interrupted creation.

    Args:
        data: the data directory; one without a journal has no segments.
        collector: only this one's; by default all.
    """
    if collector is not None:
        return _listing(journal_directory(data, collector), collector)
    root = data / "journal"
    if not root.is_dir():
        return []
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    return [found for name in names if _COLLECTOR.fullmatch(name) for found in _listing(root / name, name)]


def torn_files(directory: Path, start_ns: int) -> list[SegmentFile]:
    """What recoveries set aside of one segment, oldest first."""
    return [
        found
        for found in _listing(directory, directory.name)
        if found.start_ns == start_ns and found.state == "torn"
    ]


def _listing(directory: Path, collector: str) -> list[SegmentFile]:
    if not directory.is_dir():
        return []
    found = []
    for name in os.listdir(directory):  # noqa: PTH208 (names are all that is needed, and there can be many)
        match = _SEGMENT.fullmatch(name)
        if match is None:
            continue
        start_ns, suffix = int(match[1]), match[2]
        path = directory / name
        state = _STATES.get(suffix, "torn")
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            # Sealed between the listing and now: the same segment under its final name.
            path, state = segment_path(directory, start_ns, SEALED), "sealed"
            if not path.exists():
                continue
            size = path.stat().st_size
        found.append(SegmentFile(path, collector, start_ns, state, size))
    return sorted(set(found), key=_order)


def _order(found: SegmentFile) -> tuple[int, int, int]:
    if found.state != "torn":
        return found.start_ns, ("sealed", "open").index(found.state), 0
    number = found.path.suffix.removeprefix(".")
    return found.start_ns, 2, int(number) if number.isdigit() else 0
