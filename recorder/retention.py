"""Retention: journal segments that are older, or more, than asked for are removed, oldest first, by the roller.

Only what the archive has is removed: sealed segments whose rolling is committed, and each only once it is proved that
the archive hands its records back byte for byte (``recorder.prune``). The newest segment of a collector always stays:
its numbers go on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from recorder.journal import SegmentFile, segments
from recorder.manifest import read_segments
from schemas.manifest import ManifestSegment
from schemas.time import NS_PER_SECOND, format_ns
from schemas.units import amount

__all__ = ["Keep", "Prune", "Refusal", "Retained", "enforce", "removable"]

log = logging.getLogger("tapebook")

Prune = Callable[[SegmentFile], str | None]
"""Proves that a segment can go and removes it; or says why not, and leaves it."""

RETRY_NS: Final = 86_400 * NS_PER_SECOND


class Keep(msgspec.Struct, frozen=True):
    """How much of the journal stays.

    Attributes:
        age_ns: what ended longer ago goes; None for any age.
        bytes: of all files of the journal; the oldest go until there are no more; None for any size.
    """

    age_ns: int | None = None
    bytes: int | None = None

    def __bool__(self) -> bool:
        return self.age_ns is not None or self.bytes is not None


class Refusal(msgspec.Struct, frozen=True):
    """Why a segment stays, and when that was found."""

    why: str
    time_ns: int


class Retained(msgspec.Struct):
    """What a pass did.

    Attributes:
        removed, removed_bytes: segments that went.
        refused: why others stayed, by their name ``<collector>/<start_ns>``.
        over_bytes: how much more there is than asked for, of what can't go.
    """

    removed: int = 0
    removed_bytes: int = 0
    refused: dict[str, Refusal] = msgspec.field(default_factory=dict)
    over_bytes: int = 0


def removable(
    files: Iterable[SegmentFile], rolled: Mapping[tuple[str, int], ManifestSegment]
) -> list[tuple[int, SegmentFile]]:
    """(when it ended, segment) of those that may go at all, in the order in which they would.

    Args:
        files: of the journal, as ``segments`` lists them.
        rolled: what the manifest has.
    """
    files = list(files)
    # They are sorted by start. One that is open, or torn, may turn out not to tell where the numbers go on.
    newest = {file.collector: file.start_ns for file in files if file.state == "sealed"}
    found = [
        (rolled[file.collector, file.start_ns].end_ns, file)
        for file in files
        if file.state == "sealed"
        and file.start_ns != newest[file.collector]
        and (file.collector, file.start_ns) in rolled
    ]
    return sorted(found, key=lambda each: (each[0], each[1].collector, each[1].start_ns))


def enforce(
    data: Path,
    keep: Keep,
    prune: Prune,
    *,
    now_ns: int,
    should_stop: Callable[[], bool] = lambda: False,
    refused: Mapping[str, Refusal] = MappingProxyType({}),
) -> Retained:
    """Remove what is not to be kept any longer, as far as ``prune`` agrees.

    Args:
        data: the data directory.
        keep: how much stays.
        prune: removes one segment, or refuses.
        now_ns: wall clock.
        should_stop: asked between segments.
        refused: by the passes before; a proof is long work, and is tried again a day later.

    Raises:
        Corrupt, StoreError: the manifest can't be read, or the disk fails.
    """
    done = Retained()
    if not keep:
        return done
    files = segments(data)
    total = sum(file.size for file in files)
    for end_ns, file in removable(files, read_segments(data / "archive").segments):
        too_old = keep.age_ns is not None and end_ns < now_ns - keep.age_ns
        if not too_old and (keep.bytes is None or total <= keep.bytes):
            continue
        if should_stop():
            break
        name = f"{file.collector}/{file.start_ns}"
        known = refused.get(name)
        if known is not None and 0 <= now_ns - known.time_ns < RETRY_NS:
            done.refused[name] = known
            continue
        why = prune(file)
        if why is not None:
            done.refused[name] = Refusal(why, now_ns)
            log.warning("%s: stays in the journal, though it should go: %s", file.path, why)
            continue
        total -= file.size
        done.removed += 1
        done.removed_bytes += file.size
        ended = format_ns(end_ns)
        log.info("%s: removed from the journal (%s, ended %s)", file.path, amount(file.size), ended)
    if keep.bytes is not None:
        done.over_bytes = max(0, total - keep.bytes)
    return done
