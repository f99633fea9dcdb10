"""What to say where a selection of the journal's records has none: what was asked for, and what there is like it."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Final

from recorder.journal import segments
from recorder.journal_cat import Selection, open_segment, topics_named
from recorder.pruned_spans import pruned_words
from schemas.errors import NoData
from schemas.names import RecordKind
from schemas.time import format_ns

__all__ = ["nothing_in_span", "nothing_selected"]

_TOLD: Final = 5


def nothing_in_span(data: Path, collector: str | None, from_ns: int | None, to_ns: int | None) -> NoData:
    """The error for a span without records; bounds in nanoseconds, None where it is open."""
    pruned = pruned_words(data, collector, from_ns, to_ns)
    if pruned is not None:
        return NoData(f"{data}: the journal has nothing of that time: {pruned}")
    whose = "nothing was received" if collector is None else f"collector {collector!r} received nothing"
    since = "" if from_ns is None else f" from {format_ns(from_ns)}"
    until = "" if to_ns is None else f" to {format_ns(to_ns)}"
    return NoData(f"{data}: {whose}{since}{until}; `tapebook journal stat` tells what there is")


def nothing_selected(data: Path, collector: str | None, selection: Selection) -> NoData:
    """The error for a selection without records: of other topics or kinds than there are, or of a span without any."""
    known = _topics(data, collector)
    unknown = selection.topics - known
    if unknown:
        near = _near(unknown, known)
        more = f" and {len(known) - len(near)} more" if len(known) > len(near) else ""
        there = f"{', '.join(near)}{more}" if near else "none at all"
        return NoData(
            f"{data}: no records of {', '.join(sorted(unknown))}; --topic takes full topics, and there are: {there}"
        )
    if selection.kinds != {RecordKind.FRAME} or selection.topics or selection.once:
        kinds = ", ".join(sorted(RecordKind(kind).name.lower() for kind in selection.kinds))
        of = f" of {', '.join(sorted(selection.topics))}" if selection.topics else ""
        where = " in that span" if (selection.from_ns, selection.to_ns) != (None, None) else ""
        pruned = pruned_words(data, collector, selection.from_ns, selection.to_ns)
        told = pruned or "`tapebook journal stat` tells what there is"
        sealed = " in a sealed segment, which --once asks for" if selection.once else ""
        return NoData(f"{data}: no record ({kinds}){of}{where}{sealed}; {told}")
    return nothing_in_span(data, collector, selection.from_ns, selection.to_ns)


def _topics(data: Path, collector: str | None) -> set[str]:
    """The topics that the newest segments speak of; each begins with a list of its feeds."""
    newest = {file.collector: file for file in segments(data, collector) if file.state != "torn"}
    known: set[str] = set()
    for file in newest.values():
        with open_segment(file) as reader:
            for record in reader.records():
                if record.kind in (RecordKind.SESSION, RecordKind.NOTE):
                    known |= topics_named(record)
    return known


def _near(asked: frozenset[str], known: set[str]) -> list[str]:
    """Some of the known topics, those that are most like what was asked for first."""
    found: dict[str, None] = {}
    for topic in sorted(asked):
        found.update(dict.fromkeys(sorted(each for each in known if each.startswith(topic))))
        found.update(dict.fromkeys(difflib.get_close_matches(topic, sorted(known), n=_TOLD, cutoff=0.5)))
    found.update(dict.fromkeys(sorted(known)))
    return list(found)[:_TOLD]
