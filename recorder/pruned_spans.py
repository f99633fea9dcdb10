"""What a span of time misses in the journal, because it was pruned: said wherever the journal alone is read."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from recorder.journal import segments
from recorder.manifest import read_segments
from schemas.errors import StoreError

__all__ = ["pruned_words", "warn_of_pruned"]

log = logging.getLogger("tapebook")


def pruned_words(data: Path, collector: str | None, from_ns: int | None, to_ns: int | None) -> str | None:
    """What to say of segments of a span that only the archive has; None if there are none.

    Args:
        data: the data directory.
        collector: only this one's.
        from_ns, to_ns: the span of receive time, its end not included; None for no bound.
    """
    there = {(file.collector, file.start_ns) for file in segments(data)}
    count = 0
    with suppress(StoreError):  # the journal can be read without it
        manifest = read_segments(data / "archive")
        for key in manifest.pruned.keys() - there:
            entry = manifest.segments.get(key)
            if (
                entry is not None
                and collector in (None, key[0])
                and (from_ns is None or entry.end_ns > from_ns)
                and (to_ns is None or entry.segment < to_ns)
            ):
                count += 1
    if not count:
        return None
    return (
        f"{count} segments of it were pruned from the journal, and are in the archive alone: "
        f"`tapebook journal rebuild --data {data} -o {data}/journal` with the same --from and --to puts them back"
    )


def warn_of_pruned(data: Path, collector: str | None, from_ns: int | None, to_ns: int | None) -> None:
    """Say so on standard error, before what there is comes."""
    words = pruned_words(data, collector, from_ns, to_ns)
    if words is not None:
        log.warning("%s: what comes is not everything: %s", data, words)
