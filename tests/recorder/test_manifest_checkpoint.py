"""A manifest without its dead lines comes to the same, for readers, for repair, and for what is appended behind it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recorder import manifest_checkpoint
from recorder.archive import open_archive
from recorder.chain import broken_links
from recorder.cli import main
from recorder.compact import compact_data
from recorder.journal import segments
from recorder.manifest import append_manifest, before_path, manifest_path, parse_manifest, read_manifest
from recorder.manifest_checkpoint import shorten_manifest
from recorder.prune import prune_data
from recorder.repair import repair
from recorder.roll import roll_data, roll_lock
from recorder.verify import verify
from schemas.errors import StoreError
from schemas.manifest import (
    Entry,
    ManifestCheckpoint,
    ManifestCompaction,
    ManifestFile,
    ManifestSegment,
    decode_line,
)
from tests.recorder.recordings import START_NS, Tape, market, record_day

COUNTS = "SELECT (SELECT count(*) FROM trades) AS trades, (SELECT count(*) FROM book_updates) AS books"
LATER_NS = START_NS + 10**15


def roll(data: Path) -> None:
    with roll_lock(data, wait=False):
        roll_data(data)


def record_more(data: Path, number: int = 1) -> None:
    tape = Tape(data, start_ns=START_NS + number * 10**12)
    tape.frames(market(0, 20))
    tape.stop()


def lines_of(data: Path) -> list[Entry]:
    return [decode_line(line) for line in manifest_path(data / "archive", "linear").read_bytes().splitlines()]


def state_of(data: Path) -> Any:
    path = manifest_path(data / "archive", "linear")
    state = parse_manifest(path, path.read_bytes())
    return state.files, state.segments, state.pruned, state.links


@pytest.fixture
def compacted(tmp_path: Path) -> Path:
    """A day that was compacted, and its replaced files deleted."""
    data = tmp_path / "data"
    record_day(data)
    roll(data)
    compact_data(data, grace_s=0)
    return data


def test_dead_lines_go_and_everything_stays_the_same(compacted: Path) -> None:
    before, state = lines_of(compacted), state_of(compacted)
    whole = manifest_path(compacted / "archive", "linear").read_bytes()
    alive = len(read_manifest(compacted / "archive").files)
    rolled = sum(isinstance(entry, ManifestFile) for entry in before) - alive
    assert shorten_manifest(compacted / "archive", "linear", least=1) == rolled > alive
    assert before_path(manifest_path(compacted / "archive", "linear")).read_bytes() == whole
    *kept, mark = lines_of(compacted)
    assert isinstance(mark, ManifestCheckpoint)
    assert (mark.dropped, mark.version) == (rolled, 3)
    assert mark.sha256 == hashlib.sha256(whole).hexdigest()
    assert [entry.version for entry in kept] == [2] * len(kept)
    assert sum(isinstance(entry, ManifestFile) for entry in kept) == alive
    assert [entry for entry in before if isinstance(entry, ManifestSegment)] == [
        entry for entry in kept if isinstance(entry, ManifestSegment)
    ]
    assert state_of(compacted) == state
    assert verify(compacted, deep=True).failures == []
    assert shorten_manifest(compacted / "archive", "linear", least=1) == 0  # there is nothing more


def test_what_still_lies_on_the_disk_keeps_its_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    record_day(data)
    roll(data)
    compact_data(data)  # with its grace
    replaced = read_manifest(data / "archive").replaced
    assert shorten_manifest(data / "archive", "linear", least=1) == 0
    gone = sorted(replaced)[::2]
    for path in gone:
        (data / "archive" / path).unlink()
    assert shorten_manifest(data / "archive", "linear", least=1) == len(gone)
    assert set(read_manifest(data / "archive").replaced) == set(replaced) - set(gone)
    assert verify(data).failures == []
    assert compact_data(data, grace_s=0).deleted_files == len(replaced) - len(gone)


def test_what_comes_behind_a_checkpoint(compacted: Path) -> None:
    for number in (1, 2, 3):
        shorten_manifest(compacted / "archive", "linear", least=1)
        record_more(compacted, number)
        roll(compacted)
        assert verify(compacted, deep=True).failures == []
        compact_data(compacted, grace_s=0)
        assert verify(compacted, deep=True).failures == []
    marks = [entry.dropped for entry in lines_of(compacted) if isinstance(entry, ManifestCheckpoint)]
    assert len(marks) == 1
    shorten_manifest(compacted / "archive", "linear", least=1)
    (mark,) = (entry for entry in lines_of(compacted) if isinstance(entry, ManifestCheckpoint))
    assert mark.dropped > marks[0]
    assert list(broken_links(read_manifest(compacted / "archive"))) == []


def test_a_segment_rolled_again_does_not_bring_back_what_was_merged(compacted: Path) -> None:
    lines = lines_of(compacted)
    shorten_manifest(compacted / "archive", "linear", least=1)
    files = read_manifest(compacted / "archive").files
    segment = next(entry for entry in lines if isinstance(entry, ManifestSegment))
    own = [
        entry
        for entry in lines
        if isinstance(entry, ManifestFile) and entry.last_segment is None and entry.segment == segment.segment
    ]
    assert own
    append_manifest(compacted / "archive", "linear", [*own, msgspec.structs.replace(segment, chain=None)])
    assert read_manifest(compacted / "archive").files == files


def test_a_late_segment_beside_a_merged_file_stays_beside_it(compacted: Path) -> None:
    record_more(compacted)
    roll(compacted)
    before = state_of(compacted)
    assert any(file.last_segment is None for file in before[0].values())
    assert shorten_manifest(compacted / "archive", "linear", least=1) > 0
    assert state_of(compacted) == before
    with open_archive(compacted) as archive:
        (row,) = (
            archive.sql("SELECT count(*) AS n, count(DISTINCT trade_id) AS ids FROM trades")
            .table()
            .to_pylist()
        )
    compact_data(compacted, grace_s=0)
    with open_archive(compacted) as archive:
        assert archive.sql(
            "SELECT count(*) AS n, count(DISTINCT trade_id) AS ids FROM trades"
        ).table().to_pylist() == [row]
    assert verify(compacted, deep=True).failures == []


@pytest.mark.parametrize("with_longer_one", [True, False])
def test_repair_of_a_manifest_that_was_made_short(
    tmp_path: Path, compacted: Path, with_longer_one: bool
) -> None:
    """The first segment is pruned, so that only the merged files have its rows; the second one can be rolled again."""
    assert sum(each.kept is None for each in prune_data(compacted, now_ns=LATER_NS)) == 1
    shorten_manifest(compacted / "archive", "linear", least=1)
    files = {file.path: file.sha256 for file in read_manifest(compacted / "archive").files}
    path = manifest_path(compacted / "archive", "linear")
    whole = path.read_bytes().splitlines(keepends=True)
    kinds = [decode_line(line) for line in whole]
    pruned = min(start_ns for _, start_ns in read_manifest(compacted / "archive").segments)
    with open_archive(compacted) as archive:
        (counts,) = archive.sql(COUNTS).table().to_pylist()
    of_files = [number for number, kind in enumerate(kinds) if isinstance(kind, ManifestFile)]
    for number, kind in enumerate(kinds):
        if number in of_files[1:-1]:
            continue
        data = Path(shutil.copytree(compacted, tmp_path / f"copy-{number}"))
        path = manifest_path(data / "archive", "linear")
        path.write_bytes(b"".join([*whole[:number], b"{}\n", *whole[number + 1 :]]))
        if not with_longer_one:
            before_path(path).unlink()
        repair(data)
        assert not before_path(path).exists()
        lost = isinstance(kind, ManifestFile | ManifestCheckpoint) or (
            isinstance(kind, ManifestSegment) and kind.segment == pruned
        )
        if not with_longer_one and lost:
            # the journal doesn't have these rows, and only the lines would tell: but nothing of them is deleted
            assert all((data / "archive" / each).exists() for each in files)
            continue
        with open_archive(data) as archive:
            assert archive.sql(COUNTS).table().to_pylist() == [counts], (number, kind)
        assert verify(data, deep=True).failures == [], (number, kind)
        compact_data(data, grace_s=0)
        found = {file.path: file.sha256 for file in read_manifest(data / "archive").files}
        assert found == files, (number, kind)


def test_what_would_come_to_something_else_is_not_written(
    compacted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = manifest_path(compacted / "archive", "linear")
    before = path.read_bytes()
    real = manifest_checkpoint._kept

    def forgetful(*arguments: Any) -> Iterator[list[Entry]]:
        for entries in real(*arguments):
            yield [entry for entry in entries if not isinstance(entry, ManifestCompaction)]

    with monkeypatch.context() as patch:
        patch.setattr(manifest_checkpoint, "_kept", forgetful)
        with pytest.raises(StoreError, match="it would come to other files"):
            shorten_manifest(compacted / "archive", "linear", least=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(StoreError, match="could not be written anew"):
            shorten_manifest(compacted / "archive", "linear", least=1)
    assert path.read_bytes() == before
    assert shorten_manifest(compacted / "archive", "linear", least=1) > 0


def test_a_compaction_does_it_when_it_is_worth_it(
    compacted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compact_data(compacted, grace_s=0).dropped_lines == 0  # a few lines are not
    monkeypatch.setattr(manifest_checkpoint, "LEAST_DROPPED", 5)
    with pytest.raises(SystemExit) as ended:
        main(["compact", "--data", str(compacted), "--grace", "0"])
    assert ended.value.code == 0
    assert "lines of files that are gone were left out" in capsys.readouterr().out
    assert shorten_manifest(compacted / "archive", "nobody") == 0
    assert len(segments(compacted)) == 2
