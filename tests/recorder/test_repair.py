"""Repair: whatever is flipped, cut or deleted comes back byte for byte, or is named."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from recorder.cli import main
from recorder.compact import compact_data
from recorder.journal import SegmentReader, segments
from recorder.leftovers import merged_name
from recorder.manifest import manifest_path, read_manifest
from recorder.prune import prune_data
from recorder.repair import Fate, Repair, repair
from recorder.roll import roll_data, roll_lock
from recorder.verify import verify
from schemas.errors import StoreError
from schemas.manifest import ManifestCompaction, ManifestFile, decode_line, encode_lines
from schemas.names import Table
from tests.recorder.recordings import START_NS, TOP, TRADES, Tape, market
from tests.recorder.test_compact import rows_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments: two merged, one rolled."""
    data = tmp_path_factory.mktemp("made") / "data"
    tape = Tape(data, [TOP, TRADES])
    tape.frames(market(0, 20), flush_every=10)
    tape.rotate()
    tape.frames(market(20, 40), flush_every=10)
    tape.rotate()
    _roll(data)
    compact_data(data, grace_s=0)
    tape.frames(market(40, 60), flush_every=10)
    tape.stop()
    _roll(data)
    return data


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


def _roll(data: Path) -> None:
    with roll_lock(data, wait=False):
        roll_data(data)


def contents(data: Path) -> dict[str, bytes]:
    """Every Parquet file of the archive."""
    root = data / "archive"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}


def lines_of(data: Path) -> list[bytes]:
    """The manifest, but for when files were merged."""
    lines = manifest_path(data / "archive", "linear").read_bytes().splitlines()
    entries = [decode_line(line) for line in lines]
    return [
        encode_lines(
            [msgspec.structs.replace(entry, time_ns=0) if isinstance(entry, ManifestCompaction) else entry]
        )
        for entry in entries
    ]


def fates(result: Repair) -> set[Fate]:
    return {action.fate for action in result.actions}


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def delete(path: Path, rng: random.Random) -> None:
    path.unlink()


HARMS = (flip, cut, delete)
Harm = Callable[[Path, random.Random], None]


def test_nothing_to_repair(data: Path) -> None:
    before = contents(data), manifest_path(data / "archive", "linear").read_bytes()
    result = repair(data)
    assert result.actions == []
    assert result.is_well
    assert (contents(data), manifest_path(data / "archive", "linear").read_bytes()) == before


@pytest.mark.parametrize("harm", HARMS)
def test_files_come_back_byte_for_byte(data: Path, harm: Harm) -> None:
    rng = random.Random(harm.__name__)
    before, lines = contents(data), lines_of(data)
    files = read_manifest(data / "archive").files
    assert {file.last_segment is None for file in files} == {True, False}
    for file in files:
        harm(data / "archive" / file.path, rng)
    assert repair(data, dry_run=True).actions
    assert contents(data) != before
    result = repair(data)
    assert result.is_well, result.actions
    assert {action.where for action in result.actions} == {
        str(data / "archive" / file.path) for file in files
    }
    assert fates(result) == {Fate.REBUILT}
    assert contents(data) == before
    assert lines_of(data) == lines
    assert verify(data).findings == []


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("seed", range(3))
def test_a_manifest_comes_back(data: Path, harm: Harm, seed: int) -> None:
    rng = random.Random(f"{harm.__name__} {seed}")
    before, rows = contents(data), rows_of(data)
    path = manifest_path(data / "archive", "linear")
    harm(path, rng)
    result = repair(data)
    assert result.is_well, result.actions
    assert rows_of(data) == rows
    alive = {file.path for file in read_manifest(data / "archive").files}
    assert {name: content for name, content in contents(data).items() if name in alive} == before
    assert verify(data).failures == []


@pytest.mark.parametrize("number", range(12))
def test_every_line_of_a_manifest_can_be_lost(data: Path, number: int) -> None:
    rows = rows_of(data)
    path = manifest_path(data / "archive", "linear")
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[number % len(lines)]
    path.write_bytes(b"".join(lines))
    result = repair(data)
    assert result.is_well, result.actions
    assert rows_of(data) == rows


def test_a_line_that_says_something_else_of_a_file_is_set_right(data: Path) -> None:
    path = manifest_path(data / "archive", "linear")
    lines = path.read_bytes()
    entries = [decode_line(line) for line in lines.splitlines()]

    def wrong(entry: object) -> object:
        if (
            isinstance(entry, ManifestFile)
            and entry.table == Table.TRADES.value
            and entry.receive_ns is not None
        ):
            return msgspec.structs.replace(entry, receive_ns=(entry.receive_ns[0], entry.receive_ns[1] + 1))
        return entry

    path.write_bytes(encode_lines([wrong(entry) for entry in entries]))  # type: ignore[misc]
    assert "the manifest says receive_ns" in str(verify(data).failures[0])
    before = contents(data)
    result = repair(data)
    assert result.is_well
    assert path.with_name("linear.jsonl.damaged").exists()
    alive = {file.path for file in read_manifest(data / "archive").files}
    assert {name: content for name, content in contents(data).items() if name in alive} == before
    assert not verify(data).failures


def test_what_the_journal_no_longer_has_can_not_be_made_again(data: Path) -> None:
    first = segments(data)[0]
    first.path.unlink()
    manifest = read_manifest(data / "archive")
    merged = next(file for file in manifest.files if file.last_segment is not None)
    single = next(file for file in manifest.files if file.last_segment is None)
    for file in (merged, single):
        (data / "archive" / file.path).write_bytes(b"gone")
    result = repair(data)
    assert not result.is_well
    told = {action.where: action for action in result.actions}
    lost = told[str(data / "archive" / merged.path)]
    assert lost.fate is Fate.LOST
    assert f"{first.start_ns}.arrows is not in the journal" in lost.what
    assert told[str(data / "archive" / single.path)].fate is Fate.REBUILT
    assert (data / "archive" / merged.path).read_bytes() == b"gone"


def test_a_manifest_keeps_what_the_journal_no_longer_has(data: Path) -> None:
    """The merged file holds rows of a segment that is gone: it stays, and is told again for the one that is not."""
    rows = rows_of(data)
    segments(data)[0].path.unlink()
    path = manifest_path(data / "archive", "linear")
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if isinstance(decode_line(line), ManifestCompaction))
    lines[at] = b"not a line\n"
    path.write_bytes(b"".join(lines))
    result = repair(data)
    assert result.is_well, result.actions
    assert rows_of(data) == rows
    assert any(file.last_segment is not None for file in read_manifest(data / "archive").files)


def test_lines_that_are_lost_for_good_are_named(data: Path) -> None:
    start_ns = segments(data)[2].start_ns
    segments(data)[2].path.unlink()
    path = manifest_path(data / "archive", "linear")
    lines = [
        line
        for line in path.read_bytes().splitlines(keepends=True)
        if not (b'"event":"segment"' in line and f'"segment":{start_ns}'.encode() in line)
    ]
    path.write_bytes(b"".join(lines) + b"\xff\n")
    files = contents(data)
    result = repair(data)
    assert not result.is_well
    assert any(action.fate is Fate.LOST and str(start_ns) in action.where for action in result.actions)
    assert contents(data).keys() >= files.keys()


def _older_manifest(data: Path) -> dict[str, list[str]]:
    """Prunes the journal, and puts a copy of the manifest back from before the compaction; what the rows were."""
    assert [looked.kept for looked in prune_data(data, now_ns=2**62)] == [None, None]
    path, rows = manifest_path(data / "archive", "linear"), rows_of(data)
    lines = path.read_bytes().splitlines(keepends=True)
    entries = [decode_line(line) for line in lines]
    first = next(
        at
        for at, entry in enumerate(entries)
        if isinstance(entry, ManifestFile) and entry.last_segment is not None
    )
    path.write_bytes(b"".join(lines[:first]))
    return rows


def test_a_merged_file_comes_back_from_those_that_it_replaced_while_they_are_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    tape = Tape(data, [TOP, TRADES])
    for start in (0, 20, 40):
        tape.frames(market(start, start + 20), flush_every=10)
        tape.rotate()
    tape.stop()
    _roll(data)
    compact_data(data)
    assert all(looked.kept is None for looked in prune_data(data, now_ns=2**62))
    before = contents(data)
    merged = [file for file in read_manifest(data / "archive").files if file.last_segment is not None]
    for file in merged:
        (data / "archive" / file.path).write_bytes(b"gone")
    result = repair(data)
    assert result.is_well, result.actions
    assert fates(result) == {Fate.REBUILT}
    assert contents(data) == before
    (data / "archive" / merged[0].path).write_bytes(b"gone")
    replaced = (data / "archive" / merged[0].path).parent.glob(f"linear-{merged[0].segment}.parquet")
    next(replaced).write_bytes(b"gone too")
    (lost,) = repair(data).actions
    assert lost.fate is Fate.LOST
    assert "the files that were merged are gone" in lost.what


def test_merged_files_are_listed_again_that_an_older_copy_of_the_manifest_does_not_name(data: Path) -> None:
    rows, before = _older_manifest(data), contents(data)
    result = repair(data)
    assert result.is_well, result.actions
    assert fates(result) == {Fate.REBUILT}
    assert rows_of(data) == rows
    assert contents(data) == before
    assert not verify(data, deep=True).failures


def test_nothing_deletes_the_merged_files_that_an_older_copy_of_the_manifest_does_not_name(
    data: Path,
) -> None:
    _older_manifest(data)
    before = {name: content for name, content in contents(data).items() if merged_name(Path(name).name)}
    assert len(before) == 4
    result = compact_data(data, grace_s=0)
    assert result.damaged
    assert contents(data).items() >= before.items()
    merged = next((data / "archive").rglob("trades/**/linear-*-*-*.parquet"))
    merged.rename(merged.with_stem(merged.stem[:-12] + 12 * "0"))  # it isn't what its name says
    result = repair(data)
    assert not result.is_well
    assert any(action.fate is Fate.LOST and "it is left alone" in action.what for action in result.actions)
    assert set(contents(data).values()) >= set(before.values())


def _content_of(path: Path) -> tuple[int, str]:
    with SegmentReader(path, hashed=True) as reader:
        records = sum(batch.table.num_rows for batch in reader)
        assert reader.content is not None
        return records, reader.content.hexdigest()


def _damage(path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    content[content.index(b"publicTrade", len(content) // 2)] ^= 1
    path.write_bytes(content)
    return bytes(content)


def test_a_damaged_segment_that_was_rolled_is_made_again_from_the_archive(data: Path) -> None:
    path = segments(data)[1].path
    content = _content_of(path)
    _damage(path)
    before = contents(data)
    result = repair(data)
    assert result.is_well, result.actions
    assert [(action.where, action.fate) for action in result.actions] == [(str(path), Fate.REBUILT)]
    assert _content_of(path) == content
    assert contents(data) == before
    assert verify(data, deep=True).findings == []


@pytest.mark.parametrize("manifest_too", [False, True])
@pytest.mark.parametrize("compacted", [False, True])
def test_a_segment_in_whose_place_is_another_does_not_change_the_archive(
    tmp_path: Path, compacted: bool, manifest_too: bool
) -> None:
    """A whole file with the right name, but other records: the chain says whose word counts."""
    data, other = tmp_path / "data", tmp_path / "other"
    for directory, count in ((data, 40), (other, 35)):
        tape = Tape(directory, [TOP, TRADES])
        for start, stop in ((0, 20), (20, count), (40, 60)):
            tape.frames(market(start, stop), flush_every=10)
            tape.rotate()
        tape.stop()
    _roll(data)
    if compacted:
        compact_data(data)
    path, rows, before = segments(data)[1].path, rows_of(data), contents(data)
    content = _content_of(path)
    shutil.copy(segments(other)[1].path, path)
    assert "was altered or replaced" in str(verify(data).failures[0])
    if manifest_too:
        with manifest_path(data / "archive", "linear").open("ab") as stream:
            stream.write(b"not a line\n")
    result = repair(data)
    assert result.is_well, result.actions
    assert (str(path), Fate.REBUILT) in [(action.where, action.fate) for action in result.actions]
    assert path.with_name(path.name + ".damaged").read_bytes() == segments(other)[1].path.read_bytes()
    assert _content_of(path) == content
    assert rows_of(data) == rows
    assert contents(data).items() >= before.items()


def test_a_damaged_segment_whose_rows_are_damaged_too_stays_and_is_named(data: Path) -> None:
    path = segments(data)[1].path
    content = _damage(path)
    merged = next(file for file in read_manifest(data / "archive").files if file.last_segment is not None)
    (data / "archive" / merged.path).write_bytes(b"gone")
    result = repair(data)
    assert not result.is_well
    assert {(action.where, action.fate) for action in result.actions} == {
        (str(path), Fate.LOST),
        (str(data / "archive" / merged.path), Fate.LOST),
    }
    assert path.read_bytes() == content


def test_of_a_damaged_segment_that_was_not_rolled_the_beginning_is_kept(tmp_path: Path) -> None:
    tape = Tape(tmp_path, [TOP, TRADES])
    tape.frames(market(0, 40), flush_every=5)
    tape.stop()
    path = segments(tmp_path)[0].path
    content = bytearray(path.read_bytes())
    content[content.index(b"publicTrade", 2 * len(content) // 3)] ^= 1
    path.write_bytes(content)
    result = repair(tmp_path)
    assert not result.is_well
    (lost,) = [action for action in result.actions if action.fate is Fate.LOST]
    assert "records before the damage are kept and rolled" in lost.what
    assert path.with_name(path.name + ".damaged").read_bytes() == content
    manifest = read_manifest(tmp_path / "archive")
    assert 0 < manifest.segments["linear", START_NS].frames < len(market(0, 40))
    assert not verify(tmp_path).failures


def test_a_dry_run_writes_nothing_where_nothing_can_be_written(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = data / "archive" / "roll.lock"
    lock.unlink()
    path = data / "archive" / read_manifest(data / "archive").files[0].path
    path.unlink()
    monkeypatch.setattr("os.access", lambda *_: False)
    assert [action.fate for action in repair(data, dry_run=True).actions] == [Fate.PLANNED]
    assert not lock.exists()
    assert repair(data).is_well  # which needs the right to, and says so where it has none
    assert lock.exists()


def test_leftovers_go_and_what_nobody_knows_stays(data: Path) -> None:
    archive = data / "archive"
    directory = (archive / read_manifest(archive).files[0].path).parent
    orphan = directory / f"linear-{START_NS}-{START_NS}-0123456789ab.parquet"
    temporary = directory / "linear-merged.parquet.tmp"
    unknown = directory / "notes.txt"
    for path in (orphan, temporary, unknown):
        path.write_bytes(b"x")
    assert {action.fate for action in repair(data, dry_run=True).actions} == {Fate.PLANNED}
    assert orphan.exists()
    result = repair(data)
    assert result.is_well
    assert {action.where for action in result.actions} == {str(orphan), str(temporary)}
    assert not orphan.exists()
    assert not temporary.exists()
    assert unknown.exists()


def test_a_newer_manifest_is_not_touched(data: Path) -> None:
    path = manifest_path(data / "archive", "linear")
    content = path.read_bytes() + b'{"event":"later","version":9}\n'
    path.write_bytes(content)
    with pytest.raises(StoreError, match="upgrade tapebook"):
        repair(data)
    assert path.read_bytes() == content


def test_the_command_says_what_it_did(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["repair", "--data", str(data), *arguments])
        code = ended.value.code
        assert isinstance(code, int)
        return code, capsys.readouterr().out

    assert run() == (0, "nothing to repair\n")
    path = data / "archive" / read_manifest(data / "archive").files[0].path
    path.write_bytes(b"gone")
    code, told = run("--dry-run")
    assert code == 1
    assert told.splitlines()[-1] == "1 to be repaired; nothing was changed"
    code, told = run("--format", "json")
    assert code == 0
    assert msgspec.json.decode(told)["fate"] == "rebuilt"
    segments(data)[0].path.unlink()
    path.write_bytes(b"gone")
    code, told = run()
    assert code == 1
    assert told.startswith("lost ")
    assert "NOT repaired: 1 of 1 could not be made again" in told


@pytest.mark.parametrize("seed", range(10))
def test_whatever_is_harmed_comes_back(data: Path, seed: int) -> None:
    """One file of any kind: of the archive, the journal or the manifest; all of it can be made again from the rest."""
    rng = random.Random(seed)
    before, rows = contents(data), rows_of(data)
    journal = {file.path: _content_of(file.path) for file in segments(data)}
    files = [path for path in data.rglob("*") if path.suffix in (".parquet", ".arrows", ".jsonl")]
    path = rng.choice(sorted(files))
    harm = rng.choice(HARMS if path.suffix != ".arrows" else HARMS[:2])
    harm(path, rng)
    result = repair(data)
    assert result.is_well, (path, harm, result.actions)
    alive = {file.path for file in read_manifest(data / "archive").files}
    assert {name: content for name, content in contents(data).items() if name in alive} == before
    assert rows_of(data) == rows
    assert {path: _content_of(path) for path in journal} == journal
    assert not verify(data).failures


@pytest.mark.parametrize("harm", HARMS)
def test_an_archive_that_is_harmed_altogether_comes_back(data: Path, harm: Harm) -> None:
    rng = random.Random(harm.__name__)
    before, rows = contents(data), rows_of(data)
    for name in before:
        harm(data / "archive" / name, rng)
    path = manifest_path(data / "archive", "linear")
    path.write_bytes(b"\xff" + path.read_bytes()[1:])
    result = repair(data)
    assert result.is_well, result.actions
    assert rows_of(data) == rows
    assert verify(data).failures == []
    if (
        harm is not delete
    ):  # where not even their names are left, files are rolled, and merged by the next compaction
        alive = {file.path for file in read_manifest(data / "archive").files}
        assert {name: content for name, content in contents(data).items() if name in alive} == before


@pytest.mark.parametrize("call", ["tempfile.mkdtemp", "shutil.copyfile", "os.rename", "os.mkdir"])
def test_a_disk_that_refuses_ends_it_and_it_can_be_run_again(
    data: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(data)
    (data / "archive" / sorted(whole)[0]).unlink()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(call, refuse)
        with pytest.raises(StoreError, match="Input/output error") as caught:
            repair(data)
    assert caught.value.exit_code == 4
    assert repair(data).is_well
    assert contents(data) == whole
