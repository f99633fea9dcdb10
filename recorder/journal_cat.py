"""``tapebook journal cat``: records of a journal as lines, for eyes, for pipes and for ``tapebook gateway --replay``.

Frames alone are written as capture files of this field have them, ``<receive_ns> <frame>``; other kinds need to say
more, and their lines do: ``<receive_ns> <collector> <sequence> <line> <kind> <payload>``. As JSON every record of
whatever bytes is an object a line.
"""

from __future__ import annotations

import base64
import gzip
import heapq
import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

import msgspec
import pyarrow as pa

from recorder.gateway.books import topic_of
from recorder.journal import Record, SegmentFile, SegmentGone, SegmentReader, segments
from recorder.journal.files import SEALED, segment_path
from recorder.output import new_file, refuse_recording, standard_output
from recorder.pruned_spans import warn_of_pruned
from schemas.errors import ConfigError, DataError, NoData
from schemas.names import RecordKind
from schemas.time import NS_PER_SECOND

__all__ = [
    "ALL_KINDS",
    "Selection",
    "cat",
    "compressed",
    "in_span",
    "journal_files",
    "kinds_of",
    "open_segment",
    "selected",
    "topics_named",
]

ALL_KINDS: Final = frozenset(RecordKind)
STEP_NS: Final = 3600 * NS_PER_SECOND
"""How far a wall clock may have been set back for its records to be still found by the names of their segments."""
MAX_LINE_BYTES: Final = 16 * 1024 * 1024 - 32
"""Longest payload that ``gateway --replay`` takes back from a line, its stamp left out."""


_LOOKS: Final = 50_000
"""Frames that are looked at for copies on other lines."""
_REMEMBERED: Final = 4_096

log = logging.getLogger("tapebook")


class Selection(NamedTuple):
    """Which records are wanted.

    Attributes:
        kinds: of records.
        topics: full topics; empty for any. Records that are not frames are of the topics that they name.
        from_ns, to_ns: span of receive time, its end not included; None where it is open.
        once: of frames that name a topic only those that made rows, of sealed segments: as one line would have brought
            them, however many there were.
    """

    kinds: frozenset[RecordKind] = frozenset((RecordKind.FRAME,))
    topics: frozenset[str] = frozenset()
    from_ns: int | None = None
    to_ns: int | None = None
    once: bool = False

    def takes(self, record: Record) -> bool:
        """Whether a record is one of them."""
        return (
            record.kind in self.kinds
            and (self.from_ns is None or record.receive_ns >= self.from_ns)
            and (self.to_ns is None or record.receive_ns < self.to_ns)
            and (not self.topics or _names(record, self.topics))
        )


class _Named(msgspec.Struct):
    """The keys under which notes, session events and REST answers name topics."""

    topic: str | None = None
    topics: list[str] = []


_NAMED: Final = msgspec.json.Decoder(_Named)


def _names(record: Record, topics: frozenset[str]) -> bool:
    if record.kind == RecordKind.FRAME:
        return topic_of(record.payload) in topics
    return not topics.isdisjoint(topics_named(record))


def topics_named(record: Record) -> set[str]:
    """The topics that a note, a session event or a REST answer names."""
    try:
        named = _NAMED.decode(record.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return set()
    return {*named.topics, *([] if named.topic is None else [named.topic])}


def kinds_of(text: str) -> frozenset[RecordKind]:
    """The kinds that ``--kind`` names: ``frame,note`` or ``all``. Raises ConfigError."""
    names = {kind.name.lower(): kind for kind in RecordKind}
    asked = [part.strip() for part in text.split(",") if part.strip()]
    if asked == ["all"]:
        return ALL_KINDS
    unknown = [name for name in asked if name not in names]
    if unknown or not asked:
        raise ConfigError(f"--kind {text!r}: expected some of {', '.join(names)}, or all")
    return frozenset(names[name] for name in asked)


def journal_files(data: Path, collector: str | None) -> list[SegmentFile]:
    """The segments that can be read, sealed and open ones, oldest first within a collector.

    Raises:
        ConfigError: no such data directory.
        NoData: there is no journal, or not of this collector.
    """
    if not data.is_dir():
        raise ConfigError(f"{data}: no such data directory; give the one that `tapebook record --data` wrote")
    found = [file for file in segments(data, collector) if file.state != "torn"]
    if not found:
        names = sorted({file.collector for file in segments(data)})
        near = f"; its collectors are {', '.join(names)}" if names else "; nothing is recorded there yet"
        whose = "" if collector is None else f" of collector {collector!r}"
        raise NoData(f"{data}: no journal{whose}{near}")
    return found


def open_segment(file: SegmentFile) -> SegmentReader:
    """A reader of a listed segment, lenient if it is open; one that was sealed since the listing is followed."""
    try:
        return SegmentReader(file.path, lenient=file.state == "open")
    except SegmentGone:
        if file.state != "open":
            raise
    return SegmentReader(segment_path(file.path.parent, file.start_ns, SEALED))


def selected(data: Path, collector: str | None, selection: Selection) -> Iterator[tuple[str, Record]]:
    """Yield (collector, record), a collector's in the order of their sequences, several collectors' by receive time.

    Raises:
        Corrupt, StoreError: as ``SegmentReader``; records before the place are yielded first.
    """
    whose: dict[str, list[SegmentFile]] = {}
    for file in journal_files(data, collector):
        whose.setdefault(file.collector, []).append(file)
    streams = [_of_collector(name, files, selection) for name, files in whose.items()]
    return heapq.merge(*streams, key=lambda found: found[1].receive_ns) if len(streams) > 1 else streams[0]


def _of_collector(name: str, files: list[SegmentFile], selection: Selection) -> Iterator[tuple[str, Record]]:
    kind = next(iter(selection.kinds)) if len(selection.kinds) == 1 else None
    for file in in_span(files, selection.from_ns, selection.to_ns):
        rows = None
        if selection.once:
            if file.state == "open":
                continue
            from recorder.journal_once import frames_with_rows

            rows = frames_with_rows(file.path)
        with open_segment(file) as reader:
            for record in reader.records(kind):
                if selection.takes(record) and (rows is None or _counts(record, rows)):
                    yield name, record


def _counts(record: Record, rows: set[int]) -> bool:
    return record.kind != RecordKind.FRAME or record.sequence in rows or topic_of(record.payload) is None


def in_span(files: list[SegmentFile], from_ns: int | None, to_ns: int | None) -> list[SegmentFile]:
    """Those of a collector's segments that can hold records of the span, as their names tell."""
    out = []
    for file, after in zip(files, [*files[1:], None], strict=True):
        if to_ns is not None and file.start_ns >= to_ns + STEP_NS:
            continue
        if from_ns is not None and after is not None and after.start_ns + STEP_NS <= from_ns:
            continue
        out.append(file)
    return out


def cat(
    data: Path,
    collector: str | None,
    selection: Selection,
    *,
    json: bool = False,
    output: Path | None = None,
) -> int:
    """Write the selected records; returns how many. Where there are none, there is no file either.

    Args:
        data: the data directory.
        collector: only this one's; by default all.
        selection: which records.
        json: an object a line instead of the plain forms.
        output: a file, compressed if its name ends in ``.gz`` or ``.zst``; else standard output.

    Raises:
        DataError: a record can't be a line; all others are written.
        Corrupt, StoreError, ConfigError: as `selected` and ``new_file``.
    """
    found = selected(data, collector, selection)
    if output is not None:
        refuse_recording(output, data, "file")
    first = next(found, None)
    if first is None:
        return 0
    found = chain([first], found)
    warn_of_pruned(data, collector, selection.from_ns, selection.to_ns)
    if json:
        return _written(map(_object, found), output, data)
    form = _plain if selection.kinds == {RecordKind.FRAME} else _telling
    refused: list[int] = []
    copies = _Copies(once=selection.once)

    def lines() -> Iterator[bytes]:
        for name, record in found:
            payload = record.payload
            if form is _plain:
                copies.look(name, record)
            if not payload or b"\n" in payload or payload.endswith(b"\r") or len(payload) > MAX_LINE_BYTES:
                refused.append(record.sequence)
            else:
                yield form(name, record)

    count = _written(lines(), output, data)
    copies.tell(data)
    if refused:
        raise DataError(
            f"{len(refused)} records can't be a line and are left out (the first has sequence {refused[0]}): they are "
            "empty, too long, or hold a line break; --format json writes them"
        )
    return count


class _Copies:
    """What a capture file can't say: several lines brought the same frames, or of which category they are."""

    def __init__(self, *, once: bool) -> None:
        self._seen: dict[bytes, int] = {}
        self._looks = 0 if once else _LOOKS
        self._collectors: set[str] = set()
        self._are_copied = False

    def look(self, collector: str, record: Record) -> None:
        """A frame that is about to be written."""
        self._collectors.add(collector)
        if self._looks > 0 and b'"topic"' in record.payload:  # pongs of several connections may be alike
            self._looks -= 1
            if self._seen.setdefault(record.payload, record.line) != record.line:
                self._are_copied, self._looks = True, 0
            if len(self._seen) > _REMEMBERED:
                self._seen.clear()

    def tell(self, data: Path) -> None:
        """Say so on standard error."""
        if self._are_copied:
            log.warning(
                "several lines brought the same frames: an import or a replay of this takes the copies for news; where "
                "that matters, leave them out (--once)"
            )
        if len(self._collectors) > 1:
            newest = {file.collector: file for file in segments(data) if file.collector in self._collectors}
            found = set()
            for file in newest.values():
                with open_segment(file) as reader:
                    found.add(reader.info.category)
            if len(found) > 1:
                log.warning(
                    "these lines are of %s, and don't say which: the same symbol is another thing in each; --collector "
                    "chooses", " and ".join(sorted(found)),
                )  # fmt: skip


def _written(lines: Iterable[bytes], output: Path | None, data: Path) -> int:
    count = 0
    with standard_output() if output is None else compressed(output, data=data) as out:
        for line in lines:
            out.write(line)
            count += 1
    return count


@contextmanager
def compressed(path: Path, *, data: Path) -> Iterator[BinaryIO]:
    """As ``new_file``, compressed if the name ends in ``.gz`` or ``.zst``."""
    with new_file(path, data=data) as out, ExitStack() as stack:
        if path.suffix == ".gz":  # without a time: the same records give the same bytes
            packed: Any = stack.enter_context(gzip.GzipFile("", "wb", 6, out, 0))
        elif path.suffix == ".zst":
            sink = stack.enter_context(pa.PythonFile(out, "w"))
            packed = stack.enter_context(pa.CompressedOutputStream(sink, "zstd"))
        else:
            packed = out
        yield cast(BinaryIO, packed)


def _plain(_: str, record: Record) -> bytes:
    return b"%d %b\n" % (record.receive_ns, record.payload)


def _telling(name: str, record: Record) -> bytes:
    kind = RecordKind(record.kind).name.lower()
    return b"%d %b %d %d %b %b\n" % (
        record.receive_ns, name.encode(), record.sequence, record.line, kind.encode(), record.payload,
    )  # fmt: skip


def _object(found: tuple[str, Record]) -> bytes:
    name, record = found
    told: dict[str, Any] = {
        "collector": name,
        "sequence": record.sequence,
        "receive_ns": record.receive_ns,
        "line": record.line,
        "kind": RecordKind(record.kind).name.lower(),
    }
    try:
        told["payload"] = record.payload.decode()
    except UnicodeDecodeError:
        told["payload_base64"] = base64.b64encode(record.payload).decode()
    return msgspec.json.encode(told) + b"\n"
