"""``tapebook journal stat``: what each segment of a journal holds, and whether it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from recorder.journal import SegmentFile, SegmentGone, segments
from recorder.journal.format import COMPRESSED_VERSION
from recorder.journal_cat import journal_files, open_segment
from schemas.errors import Corrupt
from schemas.names import RecordKind
from schemas.time import NS_PER_SECOND, format_ns
from schemas.units import amount

__all__ = ["SegmentStat", "print_stats", "stat", "sums"]

WHOLE: Final = "ok"


class SegmentStat(msgspec.Struct):
    """One file of a journal.

    Attributes:
        collector, start_ns, path, state: whose and which it is; ``open``, ``sealed`` or ``torn``.
        bytes: of the file.
        batches: record batches as they are in the file.
        commits: group commits in it, the closing note's left out; more than ``batches`` once it is compressed.
        records: by kind, the closing note included.
        payload_bytes: of all records.
        first_sequence, last_sequence, first_receive_ns, last_receive_ns: of its first and last record.
        compression: ``none``, or what its batches are compressed with.
        closed: reason of the closing note; null while it is open.
        check: ``ok`` when every checksum, number and sequence is right, else what was found.
    """

    collector: str
    start_ns: int
    path: str
    state: str
    bytes: int
    batches: int = 0
    commits: int = 0
    records: dict[str, int] = msgspec.field(default_factory=dict)
    payload_bytes: int = 0
    first_sequence: int | None = None
    last_sequence: int | None = None
    first_receive_ns: int | None = None
    last_receive_ns: int | None = None
    compression: str = "none"
    closed: str | None = None
    check: str = WHOLE

    @property
    def count(self) -> int:
        """Records of all kinds."""
        return sum(self.records.values())

    @property
    def seconds(self) -> float | None:
        """From the first record to the last."""
        if self.first_receive_ns is None or self.last_receive_ns is None:
            return None
        return (self.last_receive_ns - self.first_receive_ns) / NS_PER_SECOND


def stat(data: Path, collector: str | None = None) -> Iterator[SegmentStat]:
    """Read every file of the journal whole and say what is in it, file after file.

    Raises:
        ConfigError, NoData: as ``journal_files``.
        StoreError: the drive failed, or a file is of a newer format. Damage is told in ``check`` instead.
    """
    journal_files(data, collector)  # says what is wrong when there is none
    for file in segments(data, collector):
        try:
            yield _stat(file)
        except SegmentGone:
            continue  # pruned since it was listed


def _stat(file: SegmentFile) -> SegmentStat:
    found = SegmentStat(file.collector, file.start_ns, str(file.path), file.state, file.size)
    if file.state == "torn":
        found.check = "bytes that a recovery set aside"
        return found
    try:
        with open_segment(file) as reader:
            found.path, found.bytes = str(reader.path), reader.size_bytes
            for batch in reader:
                table = batch.table
                found.batches += 1
                kinds = np.bincount(table.column(3).to_numpy(), minlength=len(RecordKind))
                for kind, count in enumerate(kinds.tolist()):
                    if count:
                        name = RecordKind(kind).name.lower() if kind < len(RecordKind) else str(kind)
                        found.records[name] = found.records.get(name, 0) + count
                offsets = table.column(4).buffers()[1]
                bounds = np.frombuffer(offsets, np.int32, table.num_rows + 1, table.column(4).offset * 4)
                found.payload_bytes += int(bounds[-1] - bounds[0])
                if found.first_sequence is None:
                    found.first_sequence = table.column(0)[0].as_py()
                    found.first_receive_ns = table.column(1)[0].as_py()
                found.last_sequence = table.column(0)[-1].as_py()
                found.last_receive_ns = table.column(1)[-1].as_py()
            found.commits = reader.batches
            found.compression = "zstd" if reader.info.format_version == COMPRESSED_VERSION else "none"
            if reader.closing is not None:
                found.closed, found.state = reader.closing.reason, "sealed"
            elif reader.stopped is not None and reader.good_bytes < reader.size_bytes:
                found.check = f"open; after {reader.good_bytes} bytes: {reader.stopped}"
    except Corrupt as error:
        found.check = error.why
    return found


def sums(found: list[SegmentStat]) -> dict[str, Any]:
    """All segments together."""
    records: dict[str, int] = {}
    for each in found:
        for kind, count in each.records.items():
            records[kind] = records.get(kind, 0) + count
    count, size = sum(records.values()), sum(each.bytes for each in found)
    return {
        "segments": len(found),
        "bytes": size,
        "batches": sum(each.batches for each in found),
        "commits": sum(each.commits for each in found),
        "records": records,
        "payload_bytes": sum(each.payload_bytes for each in found),
        "bytes_a_record": round(size / count, 1) if count else None,
        "damaged": sum(each.state == "sealed" and each.check != WHOLE for each in found),
    }


def print_stats(found: Iterator[SegmentStat], *, json: bool) -> int:
    """Write a line a segment as they are read, and the sums; returns the exit code: 1 if a sealed one is damaged.

    As JSON the sums are a last object with the key ``segments`` in place of ``path``.
    """
    seen: list[SegmentStat] = []
    for each in found:
        if not seen and not json:
            print(
                f"{'collector':<16} {'start':<20} {'state':<7} {'records':>11} {'frames':>11} {'commits':>8} "
                f"{'batches':>8} {'bytes':>11} {'a record':>8} {'seconds':>9} {'compressed':<10} {'sequence':<23} check"
            )
        seen.append(each)
        if json:
            told = msgspec.structs.asdict(each)
            told["bytes_a_record"] = round(each.bytes / each.count, 1) if each.count else None
            print(msgspec.json.encode(told).decode())
        else:
            print(_line(each), flush=True)
    total = sums(seen)
    if json:
        print(msgspec.json.encode(total).decode())
    else:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in total["records"].items()) or "no records"
        each_bytes = (
            "" if total["bytes_a_record"] is None else f", {total['bytes_a_record']:,.1f} bytes a record"
        )
        print(f"{total['segments']} segments, {amount(total['bytes'])}: {kinds}{each_bytes}")
        if total["damaged"]:
            print(f"{total['damaged']} segments are damaged")
    return 1 if total["damaged"] else 0


def _line(each: SegmentStat) -> str:
    a_record = f"{each.bytes / each.count:,.1f}" if each.count else "-"
    sequence = "-" if each.first_sequence is None else f"{each.first_sequence}-{each.last_sequence}"
    seconds = "-" if each.seconds is None else f"{each.seconds:,.1f}"
    return (
        f"{each.collector:<16} {format_ns(each.start_ns)[:19] + 'Z':<20} {each.state:<7} {each.count:>11,} "
        f"{each.records.get('frame', 0):>11,} {each.commits:>8,} {each.batches:>8,} {amount(each.bytes):>11} "
        f"{a_record:>8} {seconds:>9} {each.compression:<10} {sequence:<23} {each.check}"
    )
