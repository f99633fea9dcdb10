"""Numbers go on behind the journal, and behind the archive where the journal was deleted."""

from __future__ import annotations

from pathlib import Path

from recorder.journal import next_sequence, segments
from recorder.manifest import manifest_path
from recorder.numbering import next_number
from recorder.roll import roll_data
from tests.recorder.recordings import Tape, market


def test_numbers_go_on_behind_an_archive_whose_journal_was_deleted(tmp_path: Path) -> None:
    assert next_number(tmp_path, "linear") == 0
    tape = Tape(tmp_path)
    tape.frames(market(0, 20))
    tape.stop()
    behind = next_sequence(tmp_path, "linear")
    assert next_number(tmp_path, "linear") == behind > 20
    roll_data(tmp_path)
    segments(tmp_path)[0].path.unlink()
    assert next_sequence(tmp_path, "linear") == 0
    assert next_number(tmp_path, "linear") == behind
    assert next_number(tmp_path, "other") == 0


def test_a_manifest_that_can_not_be_read_keeps_nobody_from_recording(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames(market(0, 20))
    tape.stop()
    path = manifest_path(tmp_path / "archive", "linear")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a line\n")
    assert next_number(tmp_path, "linear") == next_sequence(tmp_path, "linear")
