from __future__ import annotations

from pathlib import Path

import pytest

from recorder.journal import journal_directory, next_sequence, read_frames, recover, segments
from recorder.journal.format import BatchEncoder
from tests.recorder.journal.support import INFO, START_NS, left_open, place, sealed_segment, writer


def test_frames_come_in_order_over_segments_and_collectors(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(1, 0, 0, b"one")
    journal.append(2, 0, 3, b"note")
    journal.rotate(START_NS + 9, [(3, 0, 3, b"checkpoint")])
    journal.append(4, 0, 0, b"two")
    journal.rotate(START_NS + 10, [])
    journal.append(5, 0, 0, b"three")
    journal.close()
    left = journal_directory(tmp_path, "spot")
    left.mkdir()
    (left / "1.arrows.open").write_bytes(b"not read")
    assert list(read_frames(tmp_path)) == [(1, b"one"), (4, b"two"), (5, b"three")]
    assert list(read_frames(tmp_path, "linear")) == list(read_frames(tmp_path))
    assert list(read_frames(tmp_path, "spot")) == []


def test_next_sequence_is_zero_before_anything(tmp_path: Path) -> None:
    assert next_sequence(tmp_path, "linear") == 0


def test_next_sequence_reads_only_the_end_of_a_sealed_file(tmp_path: Path) -> None:
    path = sealed_segment(tmp_path, batches=400, rows=4)
    content = bytearray(path.read_bytes())
    content[2000 : len(content) // 2] = bytes(len(content) // 2 - 2000)
    path.write_bytes(content)
    assert next_sequence(tmp_path, "linear") == 1601


def test_next_sequence_of_what_a_kill_left(tmp_path: Path) -> None:
    path, _ = left_open(tmp_path, batches=4, rows=3)
    assert next_sequence(tmp_path, "linear") == 13  # 0 to 11, and the closing note that it will get
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    assert next_sequence(tmp_path, "linear") >= 12
    path.write_bytes(content[:100])
    assert next_sequence(tmp_path, "linear") >= 1
    path.unlink()
    place(tmp_path, content, f"{START_NS}.torn")
    assert next_sequence(tmp_path, "linear") >= 12


def test_next_sequence_of_a_damaged_sealed_file_is_behind_all_it_held(tmp_path: Path) -> None:
    path = sealed_segment(tmp_path, batches=4, rows=3)
    content = bytearray(path.read_bytes())
    content[-200:] = bytes(200)
    path.write_bytes(content)
    assert next_sequence(tmp_path, "linear") >= 13


def test_next_sequence_of_a_segment_without_records(tmp_path: Path) -> None:
    path = sealed_segment(tmp_path, batches=0, rows=0, next_sequence=55)
    assert next_sequence(tmp_path, "linear") == 56
    path.write_bytes(BatchEncoder(INFO, 0).header)
    path.rename(path.with_suffix(".arrows.open"))
    assert next_sequence(tmp_path, "linear") == 1


def test_next_sequence_looks_again_when_a_file_got_its_next_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_open(tmp_path, batches=4, rows=3)
    listings = [segments(tmp_path)]
    recover(tmp_path)
    listings.append(segments(tmp_path))
    monkeypatch.setattr("recorder.journal.history.segments", lambda *_: listings.pop(0))
    assert next_sequence(tmp_path, "linear") == 13
    assert not listings
