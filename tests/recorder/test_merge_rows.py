"""Rows of many files in one order: a few files open at a time, whatever their spans look like."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from recorder import merge_rows
from recorder.manifest import read_manifest
from recorder.merge_rows import Source, depths_of, merged_rows
from recorder.roll import roll_data
from recorder.row_groups import int64s
from schemas.errors import Corrupt
from schemas.names import Table
from tests.recorder.archives import NOON_NS, HandmadeArchive
from tests.recorder.recordings import MS, START_NS, TOPICS, Tape, book, market

SEGMENTS = 8
DEEP = "orderbook.200.BTCUSDT"


def sources(data: Path, table: Table) -> list[Source]:
    manifest = read_manifest(data / "archive")
    return [Source(file, manifest.archive / file.path) for file in manifest.select(table)]


def test_few_files_are_read_at_a_time_though_all_spans_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape = Tape(tmp_path, (*TOPICS, DEEP))
    start_ms = START_NS // MS
    tape.frames([book("snapshot", 5000, [("99.0", "1")], [("101.0", "1")], start_ms, DEEP)])
    tape.frames([book("delta", 5001, [("98.0", "1")], [], start_ms, DEEP)])
    for number in range(SEGMENTS):
        tape.frames(market(number * 10, (number + 1) * 10))
        if number < SEGMENTS - 1:
            tape.rotate()
    tape.stop()
    roll_data(tmp_path)
    files = sources(tmp_path, Table.BOOK_UPDATES)
    assert depths_of([source.file for source in files]) == [1, 50, 200]
    lows = [source.file.sequence[0] for source in files if source.file.sequence]
    assert len(set(lows[1:])) == 1  # the quiet feed's
    streams: list[merge_rows._Stream] = []
    most = 0

    class Watched(merge_rows._Stream):
        def fill(self) -> None:
            nonlocal most
            if self not in streams:
                streams.append(self)
            super().fill()
            busy = [stream for stream in streams if stream._depth == 50 and len(stream.sequences)]
            most = max(most, len(busy))

    monkeypatch.setattr(merge_rows, "_Stream", Watched)
    seen: list[pa.Table] = []
    found = pa.concat_tables(merged_rows(Table.BOOK_UPDATES, files, seen.append))
    keys = list(zip(found.column("depth").to_pylist(), int64s(found, "sequence").tolist(), strict=True))
    assert keys == sorted(keys)
    assert found.num_rows == sum(source.file.rows for source in files) == sum(map(len, seen))
    kinds = found.filter(pa.array([depth == 200 for depth, _ in keys])).column("kind").to_pylist()
    assert kinds == ["snapshot", "delta", *["keyframe"] * (SEGMENTS - 1)]
    assert (
        most == SEGMENTS - 1 or most <= 2
    )  # the keyframes of the quiet feed are one sequence, and a row each


def test_spans_and_gaps_come_in_order_though_they_are_written_when_they_end(tmp_path: Path) -> None:
    archive = HandmadeArchive(tmp_path)
    key = (Table.COVERAGE, "BTCUSDT")
    span = {"start_time": NOON_NS, "end_time": NOON_NS}
    first = [span | {"sequence": 7}, span | {"sequence": 2}, span | {"sequence": 7, "messages": 2}]
    archive.segment(NOON_NS, {key: first})
    archive.segment(NOON_NS + 1, {key: [span | {"sequence": 12}, span | {"sequence": 9}]})
    rows = pa.concat_tables(merged_rows(Table.COVERAGE, sources(tmp_path, Table.COVERAGE)))
    assert rows.column("sequence").to_pylist() == [2, 7, 7, 9, 12]
    assert rows.column("messages").to_pylist()[1:3] == [1, 2]


def test_books_out_of_order_are_refused(tmp_path: Path) -> None:
    archive = HandmadeArchive(tmp_path)
    row = {"receive_time": NOON_NS, "push_time": NOON_NS // MS, "update_id": 1}
    archive.segment(
        NOON_NS, {(Table.BOOK_UPDATES, "BTCUSDT"): [row | {"sequence": 7}, row | {"sequence": 2}]}
    )
    with pytest.raises(Corrupt, match="not in order"):
        list(merged_rows(Table.BOOK_UPDATES, sources(tmp_path, Table.BOOK_UPDATES)))
