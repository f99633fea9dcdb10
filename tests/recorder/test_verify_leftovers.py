"""Files that no line of a manifest names: told of, and a failure only where nothing else has their rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recorder.compact import compact_data
from recorder.findings import Verification
from recorder.journal import segments
from recorder.manifest import manifest_path, read_manifest
from recorder.prune import prune_data
from recorder.repair import Fate, repair
from recorder.report import verify_and_report
from recorder.roll import roll_data, roll_lock
from recorder.verify import verify
from recorder.verify_leftovers import check_leftovers
from tests.recorder.recordings import Tape, market

pytestmark = pytest.mark.usefixtures("no_fsync")


def _roll(data: Path) -> None:
    with roll_lock(data, wait=False):
        roll_data(data)


def _prune(data: Path) -> int:
    """Take all segments but the newest from the journal; returns how many went."""
    return sum(looked.kept is None for looked in prune_data(data, now_ns=1 << 62))


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments, rolled and merged; the journal is whole."""
    data = tmp_path_factory.mktemp("merged") / "data"
    tape = Tape(data)
    for number in range(3):
        tape.frames(market(30 * number, 30 * number + 30), flush_every=10)
        if number < 2:
            tape.rotate()
    tape.stop()
    _roll(data)
    compact_data(data, grace_s=0)
    assert all(file.last_segment for file in read_manifest(data / "archive").files)
    return data


@pytest.fixture
def data(merged: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(merged, tmp_path / "data"))


def _unnamed(result: Verification) -> set[str]:
    return {
        finding.where for finding in result.failures if "no line of the manifest names it" in finding.what
    }


def _files(data: Path) -> set[str]:
    return {str(path) for path in (data / "archive").rglob("*.parquet")}


@pytest.mark.parametrize("way", [{"quick": True}, {}, {"deep": True}], ids=["quick", "plain", "deep"])
def test_a_manifest_that_is_lost_behind_a_pruned_journal(
    data: Path, way: dict[str, bool], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _prune(data) == 2
    assert verify_and_report(data, json=False, **way) == 0
    manifest_path(data / "archive", "linear").unlink()
    assert _unnamed(verify(data, **way)) == _files(data)
    capsys.readouterr()
    assert verify_and_report(data, json=False, **way) == 1
    told = capsys.readouterr().out
    assert "put a copy of the manifest here that names them" in told
    assert told.splitlines()[-1] == f"NOT verified: {len(_files(data))} differences"


def test_repair_calls_lost_what_verify_finds(data: Path) -> None:
    _prune(data)
    path = manifest_path(data / "archive", "linear")
    copy = path.read_bytes()
    path.unlink()
    before = _unnamed(verify(data))
    planned = repair(data, dry_run=True)
    assert [(action.fate, action.where) for action in planned.actions] == [
        (Fate.PLANNED, where) for where in sorted(before)
    ]
    result = repair(data)
    assert not result.is_well
    assert {action.where for action in result.actions if action.fate is Fate.LOST} == before
    assert before <= _files(data)
    path.write_bytes(copy)
    assert repair(data).is_well


def test_a_manifest_cut_to_its_beginning(data: Path) -> None:
    """Of what is named still, some files are gone, and their rows are in one that isn't named any more."""
    _prune(data)
    path = manifest_path(data / "archive", "linear")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]))
    assert _unnamed(verify(data, quick=True))


def test_what_the_journal_has_is_not_lost(data: Path) -> None:
    """A manifest that is lost while the journal is whole: a roll makes everything again, nothing is lost."""
    manifest_path(data / "archive", "linear").unlink()
    count = len(_files(data))
    for quick in (True, False):
        result = verify(data, quick=quick)
        assert result.failures == []
        told = [finding.what for finding in result.findings if "the journal has their rows" in finding.what]
        assert [what.partition(" (")[0] for what in told] == [f"{count} files"]
    _roll(data)
    assert verify(data).failures == []


def test_one_segment_that_the_journal_lacks_is_enough(data: Path) -> None:
    manifest_path(data / "archive", "linear").unlink()
    segments(data)[1].path.unlink()
    assert _unnamed(verify(data, quick=True)) == _files(data)


def test_what_is_rolled_merged_and_pruned_meanwhile_is_not_lost(tmp_path: Path) -> None:
    """A check that began before all that reads the manifest again before it calls a file lost."""
    data = tmp_path / "data"
    tape = Tape(data)
    tape.frames(market(0, 30), flush_every=10)
    tape.rotate()
    before = read_manifest(data / "archive")
    tape.frames(market(30, 60), flush_every=10)
    tape.stop()
    _roll(data)
    compact_data(data, grace_s=0)
    _prune(data)
    result = Verification()
    check_leftovers(data, before, result)
    assert result.findings == []


def test_a_beginning_that_is_gone_is_told_and_fails_nothing(data: Path) -> None:
    tape = Tape(data, collector="other")
    tape.frames(market(0, 30), flush_every=10)
    tape.rotate()
    tape.frames(market(30, 60), flush_every=10)
    tape.stop()
    (first, second) = [segment.path for segment in segments(data, "other")]
    first.unlink()
    _roll(data)
    result = verify(data)
    assert result.failures == []
    (told,) = [finding for finding in result.findings if "records are known from number" in finding.what]
    assert told.where == str(manifest_path(data / "archive", "other"))
    number = read_manifest(data / "archive").segments["other", int(second.stem)].sequence[0]
    assert f"from number {number} on" in told.what


@pytest.mark.parametrize("name", ["mine.parquet", "notes.txt", "a b-1-2-0123456789ab.parquet"])
def test_other_names_never_break_a_check(data: Path, name: str) -> None:
    directory = (data / "archive" / read_manifest(data / "archive").files[0].path).parent
    (directory / name).write_bytes(b"x")
    result = verify(data, quick=True)
    (told,) = [finding for finding in result.findings if name in finding.where]
    assert told.fails == (" b-" in name)  # a name such as we give, and nothing that we know
