"""The rows of one feed across files: in order, a row group at a time, other feeds' files and row groups left shut."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from recorder.compact import compact_data
from recorder.feed_files import FeedFiles
from recorder.manifest import read_manifest
from recorder.roll import roll_data
from recorder.row_groups import int64s
from schemas.names import Table
from tests.recorder.recordings import MS, START_NS, TOPICS, Tape, book, market

SEGMENTS = 5
DEEP = "orderbook.200.BTCUSDT"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A busy book, and a deep one that is quiet: its keyframes bear a sequence of the first segment."""
    tape = Tape(tmp_path, (*TOPICS, DEEP))
    start_ms = START_NS // MS
    tape.frames([book("snapshot", 5000, [("99.0", "1")], [("101.0", "1")], start_ms, DEEP)])
    tape.frames([book("delta", 5001, [("98.0", "1")], [], start_ms, DEEP)])
    for number in range(SEGMENTS):
        tape.frames(market(number * 20, (number + 1) * 20))
        if number < SEGMENTS - 1:
            tape.rotate()
    tape.frames([book("delta", 5002, [("98.0", "0")], [], start_ms + 3000, DEEP)])
    tape.stop()
    roll_data(tmp_path)
    return tmp_path


def feed(data: Path, depth: int) -> FeedFiles:
    manifest = read_manifest(data / "archive")
    files = manifest.select(Table.BOOK_UPDATES)
    return FeedFiles(files, lambda file: manifest.archive / file.path, depth)


def sequences(data: Path, depth: int) -> list[int]:
    with feed(data, depth) as files:
        return np.concatenate([int64s(piece.rows, "sequence") for piece in files.forwards()]).tolist()


def test_files_come_one_at_a_time_though_their_spans_overlap(data: Path) -> None:
    with feed(data, 50) as files:
        spans = [file.sequence for file in files.files if file.sequence is not None]
        assert all(later[0] < earlier[1] for earlier, later in pairwise(spans))
        pieces = list(files.forwards())
        assert [len(piece.groups) for piece in pieces] == [1] * SEGMENTS
        back = list(files.backwards())
    assert [piece.rows for piece in back[::-1]] == [piece.rows for piece in pieces]


def test_rows_are_in_order_and_know_where_they_are(data: Path) -> None:
    before = {depth: sequences(data, depth) for depth in (1, 50, 200)}
    assert all(found == sorted(found) for found in before.values())
    assert before[200][0] == min(map(min, before.values()))
    assert before[200][-1] == max(map(max, before.values()))
    compact_data(data)
    assert {depth: sequences(data, depth) for depth in (1, 50, 200)} == before
    with feed(data, 50) as files:
        (piece,) = files.forwards(["update_id"])
        assert set(piece.rows.column("depth").to_pylist()) == {50}
        assert piece.places.tolist() == list(range(len(before[1]), len(before[1]) + piece.rows.num_rows))


def test_files_that_have_been_read_through_are_closed(data: Path) -> None:
    with feed(data, 50) as files:
        for number, _ in enumerate(files.forwards()):
            assert len(files._readers) <= SEGMENTS - number
        assert not files._readers
        assert len(list(files.forwards())) == SEGMENTS  # opened again


def test_only_what_is_at_a_sequence_or_behind_it(data: Path) -> None:
    whole = sequences(data, 50)
    for since in (whole[0] - 1, whole[0], whole[7], whole[60], whole[-1], whole[-1] + 1):
        with feed(data, 50) as files:
            pieces = [int64s(piece.rows, "sequence") for piece in files.forwards(["update_id"], since)]
        found = np.concatenate(pieces).tolist() if pieces else []
        assert found == [sequence for sequence in whole if sequence >= since]


def test_only_what_is_below_a_sequence(data: Path) -> None:
    whole = sequences(data, 50)
    for below in (whole[0], whole[7], whole[60], whole[-1] + 1):
        with feed(data, 50) as files:
            pieces = [int64s(piece.rows, "sequence") for piece in files.backwards(below)]
        found = np.concatenate(pieces[::-1]).tolist() if pieces else []
        assert found == [sequence for sequence in whole if sequence < below]


def test_a_depth_that_was_not_recorded_has_no_rows(data: Path) -> None:
    with feed(data, 500) as files:
        assert list(files.forwards()) == list(files.backwards()) == []
