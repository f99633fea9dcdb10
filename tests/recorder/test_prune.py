"""Prune deletes what is proved, and nothing else; what it deleted can be put back."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recorder.cli import main
from recorder.compact import compact_data
from recorder.journal import Disk, SegmentReader, recompress, segments
from recorder.manifest import manifest_path, read_manifest
from recorder.prune import Looked, prune_data
from recorder.roll import roll_data
from recorder.verify import verify
from schemas.errors import StoreError
from schemas.manifest import ManifestPruned, ManifestSegment, decode_line, encode_lines
from schemas.names import Table
from schemas.time import format_ns
from tests.recorder.recordings import START_NS, Tape, files_of, market, record_day

LATER = START_NS + 10**15


pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("pristine") / "data"
    record_day(data, steps=90, rotate_at=(30, 60))
    roll_data(data)
    return data


@pytest.fixture
def data(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "data")


def pruned(data: Path, **options: Any) -> list[Looked]:
    return list(prune_data(data, **{"now_ns": LATER, **options}))


def names(data: Path) -> list[int]:
    return [segment.start_ns for segment in segments(data) if segment.state == "sealed"]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["--quiet", *arguments])
    return int(ended.value.code or 0)


def test_what_is_proved_goes_and_the_newest_stays(data: Path) -> None:
    before = names(data)
    found = pruned(data)
    assert [looked.kept for looked in found] == [None, None]
    assert sum(looked.records for looked in found) > 100
    assert names(data) == before[2:]
    assert sorted(start for _, start in read_manifest(data / "archive").pruned) == before[:2]
    result = verify(data, deep=True)
    assert result.failures == []
    assert result.rebuilt == 3
    assert sum("pruned" in finding.what for finding in result.findings) == 2
    assert pruned(data) == []
    assert roll_data(data) == []


def test_a_dry_run_deletes_nothing(data: Path) -> None:
    before = files_of(data)
    assert [looked.kept for looked in pruned(data, dry_run=True)] == [None, None]
    assert files_of(data) == before


def test_only_what_is_old_enough(data: Path) -> None:
    ends = [entry.end_ns for _, entry in sorted(read_manifest(data / "archive").segments.items())]
    assert pruned(data, now_ns=ends[0] + 99, older_than_ns=100) == []
    assert len(pruned(data, now_ns=ends[0] + 100, older_than_ns=100)) == 1
    assert len(names(data)) == 2


def test_what_is_not_rolled_stays(tmp_path: Path) -> None:
    record_day(tmp_path, steps=60, rotate_at=(30,))
    (looked,) = pruned(tmp_path)
    assert looked.kept == "not rolled yet"
    assert not looked.fails
    assert len(names(tmp_path)) == 2


def test_one_collector_alone(tmp_path: Path) -> None:
    for collector in ("one", "two"):
        tape = Tape(tmp_path, collector=collector)
        tape.frames(market(0, 20))
        tape.rotate()
        tape.stop()
    roll_data(tmp_path)
    assert [looked.segment.collector for looked in pruned(tmp_path, collector="two")] == ["two"]
    assert [segment.collector for segment in segments(tmp_path)] == ["one", "one", "two"]


def test_an_archive_that_was_altered_keeps_the_journal(data: Path) -> None:
    manifest = read_manifest(data / "archive")
    path = data / "archive" / manifest.select(Table.TRADES)[0].path
    rows = pq.read_table(path)
    sizes = rows.column("size_mantissa").to_pylist()
    sizes[0] += 1
    place = rows.schema.get_field_index("size_mantissa")
    pq.write_table(rows.set_column(place, rows.schema.field(place), pa.array(sizes, pa.int64())), path)
    first, second = pruned(data)
    assert first.kept is not None
    assert first.fails
    assert second.kept is None
    assert len(names(data)) == 2
    assert verify(data, deep=True, quick=True).failures
    assert run("journal", "prune", "--data", str(data)) == 1


def test_a_journal_that_was_altered_stays_too(data: Path, tmp_path: Path) -> None:
    """A segment that is well-formed and not what was rolled is evidence, not rubbish."""
    other = Tape(tmp_path / "other")
    other.frames(market(0, 20))
    other.stop()
    shutil.copy(segments(tmp_path / "other")[0].path, segments(data)[0].path)
    first, _ = pruned(data)
    assert first.fails
    assert "the manifest speaks of" in str(first.kept)
    damaged = segments(data)[0].path
    damaged.write_bytes(damaged.read_bytes()[:-100])
    (looked,) = pruned(data)
    assert looked.fails


def test_what_an_older_version_rolled_stays(data: Path) -> None:
    path = manifest_path(data / "archive", "linear")
    lines: list[Any] = [decode_line(line) for line in path.read_bytes().splitlines()]
    lines = [
        msgspec.structs.replace(line, content_sha256=None, chain=None, header=None)
        if isinstance(line, ManifestSegment)
        else line
        for line in lines
    ]
    path.write_bytes(encode_lines(lines))
    found = pruned(data)
    assert all("hand no frames back" in str(looked.kept) and not looked.fails for looked in found)
    assert len(names(data)) == 3
    deep = verify(data, deep=True)
    assert deep.failures == []
    assert deep.rebuilt == 0


def test_compressed_segments_and_merged_files(data: Path) -> None:
    for segment in segments(data):
        recompress(segment)
    compact_data(data)
    assert any(file.last_segment is not None for file in read_manifest(data / "archive").files)
    result = verify(data, deep=True)
    assert (result.failures, result.rebuilt) == ([], 3)
    assert [looked.kept for looked in pruned(data)] == [None, None]
    assert verify(data, deep=True).failures == []


class Refusing(Disk):
    def unlink(self, path: Path) -> None:
        raise OSError(errno.EROFS, "read-only")


def test_a_disk_that_refuses(data: Path) -> None:
    """The line is there and the file is, too: that is said, and put right by the next time."""
    with pytest.raises(StoreError, match="deleting it failed"):
        pruned(data, disk=Refusing())
    assert len(names(data)) == 3
    assert len(read_manifest(data / "archive").pruned) == 1
    assert verify(data).failures == []
    assert len(pruned(data)) == 2
    assert len(names(data)) == 1
    lines = [
        decode_line(line) for line in manifest_path(data / "archive", "linear").read_bytes().splitlines()
    ]
    assert sum(isinstance(line, ManifestPruned) for line in lines) == 2


def test_the_commands_delete_and_put_back(
    data: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    kept = {segment.start_ns: segment.path for segment in segments(shutil.copytree(data, tmp_path / "kept"))}
    assert run("journal", "prune", "--data", str(data), "--dry-run", "--format", "json") == 0
    told = [msgspec.json.decode(line) for line in capsysbinary.readouterr().out.splitlines()]
    assert [line["deleted"] for line in told] == [False, False]
    assert run("journal", "prune", "--data", str(data), "--older-than", "1d") == 0
    assert b"2 segments" in capsysbinary.readouterr().out
    assert len(names(data)) == 1
    gone = sorted(kept)[:2]
    assert (
        run("journal", "rebuild", "--data", str(data), "--segment", str(gone[0]), "-o", str(data / "journal"))
        == 0
    )
    assert (
        run("journal", "rebuild", "--data", str(data), "--segment", str(gone[0]), "-o", str(data / "journal"))
        == 2
    )
    capsysbinary.readouterr()
    assert run("journal", "prune", "--data", str(data)) == 0
    assert run("journal", "prune", "--data", str(data)) == 0
    assert b"nothing to prune" in capsysbinary.readouterr().out
    assert run("journal", "prune", "--data", str(data), "--collector", "none") == 1
    assert run("journal", "rebuild", "--data", str(data), "-o", str(data / "journal")) == 0
    assert b"1 segments are there already" in capsysbinary.readouterr().out
    assert len(names(data)) == 3
    (data / "journal" / "linear" / f"{gone[1]}.arrows").unlink()
    assert run("journal", "rebuild", "--data", str(data), "-o", str(tmp_path / "again")) == 0
    assert run("verify", "--data", str(data), "--deep") == 0
    for start, path in kept.items():
        found = tmp_path / "again" / "linear" / f"{start}.arrows"
        with SegmentReader(path, hashed=True) as before, SegmentReader(found, hashed=True) as after:
            assert list(before.records())[:-1] == list(after.records())[:-1]
            assert before.info == after.info
            assert before.content is not None
            assert after.content is not None
            assert before.content.hexdigest() == after.content.hexdigest()
    assert names(data) == [gone[0], sorted(kept)[2]]


def test_lines_are_those_of_the_journal(
    data: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("journal", "cat", "--data", str(data)) == 0
    expected = capsysbinary.readouterr().out
    assert expected.count(b"\n") > 100
    assert run("journal", "rebuild", "--data", str(data), "--format", "lines") == 0
    assert capsysbinary.readouterr().out == expected
    for name in ("lines", "lines.gz", "lines.zst"):
        out = str(tmp_path / name)
        assert run("journal", "rebuild", "--data", str(data), "--format", "lines", "-o", out) == 0
    assert (tmp_path / "lines").read_bytes() == expected
    assert (tmp_path / "lines.gz").stat().st_size < len(expected) / 3
    begun = str(START_NS)
    assert (
        run("journal", "rebuild", "--data", str(data), "--format", "lines", "--to", f"{begun}ns") == 1
    )  # none
    assert (
        run("journal", "rebuild", "--data", str(data), "--format", "lines", "--to", f"{int(begun) + 1}ns")
        == 0
    )
    assert 0 < len(capsysbinary.readouterr().out) < len(expected)


def test_a_file_of_lines_that_can_not_be_proved_does_not_appear(data: Path, tmp_path: Path) -> None:
    manifest = read_manifest(data / "archive")
    (data / "archive" / manifest.select(Table.TICKERS)[-1].path).unlink()
    out = tmp_path / "lines"
    assert run("journal", "rebuild", "--data", str(data), "--format", "lines", "-o", str(out)) == 1
    assert run("journal", "rebuild", "--data", str(data), "-o", str(tmp_path / "again")) == 1
    assert not out.exists()
    assert [path.suffix for path in (tmp_path / "again").rglob("*") if path.is_file()] == [
        ".arrows",
        ".arrows",
    ]


def test_what_is_read_of_a_pruned_journal_says_so(
    data: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    ends = [format_ns(entry.end_ns) for entry in read_manifest(data / "archive").segments.values()]
    starts = [format_ns(segment.start_ns) for segment in segments(data)]

    def warned(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["journal", *arguments, "--data", str(data)])
        assert not ended.value.code
        return capsysbinary.readouterr().err.decode()

    assert "pruned" not in warned("cat", "-o", str(tmp_path / "all"))
    warned("prune")
    assert "2 segments of it were pruned" in warned("cat", "-o", str(tmp_path / "rest"))
    assert "pruned" not in warned("cat", "--from", starts[2], "-o", str(tmp_path / "last"))
    span = ("--from", starts[1], "--to", "2100-01-01T00:00:00Z")
    assert "1 segments of it were pruned" in warned("cut", *span, "--into", str(tmp_path / "into"))
    span = ("--from", starts[0], "--to", ends[0])
    assert run("journal", "cut", "--data", str(data), *span, "-o", str(tmp_path / "cut")) == 1
    told = capsysbinary.readouterr().err
    assert b"the journal has nothing of that time: 1 segments of it were pruned" in told


def test_what_is_asked_for_wrongly(data: Path, tmp_path: Path) -> None:
    assert run("journal", "rebuild", "--data", str(data)) == 2  # no --output
    assert run("journal", "rebuild", "--data", str(data), "--segment", "5", "-o", str(tmp_path / "x")) == 1
    assert run("journal", "prune", "--data", str(data), "--older-than", "7 fortnights") == 2
    assert run("journal", "prune", "--data", str(tmp_path / "nowhere")) == 2
    (tmp_path / "empty").mkdir()
    assert run("journal", "rebuild", "--data", str(tmp_path / "empty"), "-o", str(tmp_path / "x")) != 0
