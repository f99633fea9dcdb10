"""Whatever happens to a data directory, each command gives the answer of design section 9, and loses nothing else.

One table: what is done to a directory, and what each command then says. Nothing but what was damaged may change, and
once that is put back (or removed, where it may be), everything verifies.

What is tested elsewhere and not again here: every cut and every flipped bit of an open segment (recorder/journal/
test_recovery.py), each kind of write that fails (test_writer.py, test_recompress.py, test_roll.py), power cuts
(test_power_cut.py), a real full disk, a file that may not grow, and two recorders (faults/test_bad_input.py).
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recorder.cli import main
from recorder.journal import CollectorLock, Record, SegmentReader, recompress, segments
from recorder.journal.format import BatchEncoder
from recorder.manifest import manifest_path, read_manifest
from recorder.roll import roll_data, roll_lock
from recorder.verify import verify
from schemas.names import RecordKind, Table
from tests.recorder.journal.support import NIGHTLY
from tests.recorder.recordings import MS, SECOND, START_NS, TRADES, Tape, market, record_day, trade

Answers = dict[str, tuple[int, str]]
"""Exit code by command, and words of what it says."""

COMMANDS = {
    "verify": ["verify"],
    "roll": ["roll"],
    "cat": ["journal", "cat", "--collector", "linear"],
    "stat": ["journal", "stat"],
    "recompress": ["journal", "recompress"],
    "trades": ["query", "SELECT count(*) FROM trades"],
    "book_updates": ["query", "SELECT * FROM book_updates"],
    "coverage": ["query", "SELECT * FROM coverage"],
    "status": ["status"],
    "record": ["record", "--symbols", "BTCUSDT", "--topics", "tickers", "--endpoint", "ws://127.0.0.1:9"],
}


class Said(NamedTuple):
    """How a command ended."""

    code: int
    text: str


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about what a power cut leaves."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(sys.modules["recorder.journal.recompress"], "LEAST_BYTES", 0)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rolled segment and a sealed one of ``linear``, a sealed one of ``other``."""
    data = tmp_path_factory.mktemp("pristine") / "data"
    record_day(data, steps=8, rotate_at=())
    roll_data(data)
    other = Tape(data, collector="other", topics=(TRADES,))
    other.frames([trade("a", "100.5", "1", START_NS // MS)])
    other.stop()
    tape = Tape(data, start_ns=START_NS + 60 * SECOND)
    for start in range(0, 12, 4):
        tape.frames(market(start, start + 4, START_NS // MS + 60_000))
        tape.journal.flush()
    tape.stop()
    return data


@pytest.fixture
def data(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "data"))


@pytest.fixture
def run(data: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], Said]]:
    handlers = logging.root.handlers[:]

    def run_one(command: str) -> Said:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*COMMANDS[command], "--data", str(data)])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Said(int(ended.value.code or 0), out + err)

    yield run_one
    logging.root.handlers[:] = handlers  # not those that the commands gave it


def tree(data: Path) -> dict[str, bytes]:
    """Every file that says something, with its content."""
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.name not in ("lock", "roll.lock", "status.json")
    }


def sealed(data: Path) -> Path:
    """The segment of ``linear`` that is not rolled."""
    return segments(data, "linear")[-1].path


def places(path: Path) -> dict[str, int]:
    """An offset of each class in a segment."""
    content = path.read_bytes()
    with SegmentReader(path) as reader:
        first, *_, closing = list(reader)
        header, end = reader.header_bytes, reader.good_bytes
        closing_bytes = reader.good_bytes - reader.data_bytes
    assert closing.offset_bytes == end
    return {
        "header: prefix": 0,
        "header: length": 5,
        "header: message": 40,
        "header: entries": content.index(b"environment") + 20,
        "first batch: prefix": header,
        "first batch: length": header + 4,
        "first batch: message": header + 16,
        "first batch: metadata": content.index(b"crc32c", header) + 20,
        "first batch: body": first.offset_bytes - 40,
        "middle": len(content) // 2,
        "closing note: prefix": end - closing_bytes,
        "closing note: body": end - 60,
        "end marker": end,
        "last byte": len(content) - 1,
    }


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_sealed_segment(how: str, compressed: bool, data: Path, run: Callable[[str], Said]) -> None:
    path = sealed(data)
    if compressed:
        assert recompress(segments(data, "linear")[-1]) is not None
    whole = path.read_bytes()
    wanted = records(path)
    harmless = 0
    for place, at in places(path).items():
        damaged = bytearray(whole[:at] if how == "cut" else whole)
        if how == "flipped":
            damaged[at] ^= 0x10
        path.write_bytes(damaged)
        before = tree(data)
        said = run("stat")
        if said.code == 0:  # padding, say: no record depends on it
            assert records(path) == wanted
            harmless += 1
            continue
        assert (said.code, "1 segments are damaged" in said.text) == (1, True), f"{place}: {said.text}"
        if NIGHTLY or at % 3 == 0:  # it reads segments as stat does
            said = run("verify")
            assert (said.code, str(path) in said.text) == (1, True), f"{place}: {said.text}"
        assert tree(data) == before
    assert harmless <= 3
    path.write_bytes(damaged)
    before = tree(data)
    said = run("roll")
    assert (said.code, str(path) in said.text) == (1, True), said.text
    after = tree(data)
    assert {name for name in before if after.get(name) != before[name]} == set()
    # the other collector's was rolled all the same
    assert {key[0] for key in read_manifest(data / "archive").segments} == {"linear", "other"}
    assert len(read_manifest(data / "archive").segments) == 2
    path.write_bytes(whole)
    assert run("roll").code == 0
    assert verify(data).failures == []


def records(path: Path) -> list[Record]:
    with SegmentReader(path) as reader:
        return list(reader.records())


def test_a_segment_that_a_crash_left_open_and_cut(pristine: Path, tmp_path: Path) -> None:
    path = sealed(pristine)
    whole = path.read_bytes()
    with SegmentReader(path) as reader:
        header = reader.header_bytes
    for place, at in list(places(path).items())[:: 1 if NIGHTLY else 2]:
        data = Path(shutil.copytree(pristine, tmp_path / place))
        here = sealed(data)
        opened = here.with_name(here.name + ".open")
        here.unlink()
        opened.write_bytes(whole[:at])
        before = tree(data)
        assert verify(data).failures == [], place
        roll_data(data)
        left = [
            file for file in segments(data, "linear") if file.path.name.startswith(here.name.split(".")[0])
        ]
        assert ("sealed" in {file.state for file in left}) == (at >= header), place
        assert not opened.exists()
        assert sum(file.size for file in left) >= at, f"{place}: something was thrown away"
        after = tree(data)
        same = before.keys() - {str(opened.relative_to(data)), "archive/manifest/linear.jsonl"}
        assert {name for name in same if after.get(name) != before[name]} == set(), place
        assert verify(data).failures == [], place


@pytest.mark.parametrize("table", [Table.BOOK_UPDATES, Table.COVERAGE])
def test_a_parquet_file(table: Table, data: Path, run: Callable[[str], Said]) -> None:
    file = next(each for each in read_manifest(data / "archive").files if each.table == table.value)
    path = data / "archive" / file.path
    whole = path.read_bytes()
    damages: dict[str, bytes | None] = {"gone": None, "empty": b"", "other": b"PAR1" + bytes(100) + b"PAR1"}
    for share in (0.0, 0.4, 0.97, 1.0):
        at = min(round(len(whole) * share), len(whole) - 1)
        damages[f"cut at {share:.0%}"] = whole[:at]
        damages[f"flipped at {share:.0%}"] = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    for how, content in list(damages.items())[table is Table.COVERAGE :: 1 if NIGHTLY else 2]:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        before = tree(data)
        said = run("verify")
        assert (said.code, path.name in said.text) == (1, True), f"{how}: {said.text}"
        assert tree(data) == before
        if how in ("gone", "empty"):
            assert run("trades").code == 0, how  # needs no byte of it
            said = run(table.value)
            assert (said.code, path.name in said.text) == (4 if how == "gone" else 1, True), f"{how}: {said}"
            assert "run `tapebook verify`" in said.text
    assert run("roll").code == 0
    path.write_bytes(whole)
    assert verify(data).failures == []


def newer_segment(data: Path) -> Path:
    path = sealed(data)
    with SegmentReader(path) as reader:
        info = msgspec.structs.replace(reader.info, format_version=9)
        rest = path.read_bytes()[reader.header_bytes :]
        path.write_bytes(BatchEncoder(info, reader.first_sequence).header + rest)
    return path


def newer_open_segment(data: Path) -> Path:
    path = newer_segment(data)
    opened = path.with_name(path.name + ".open")
    path.rename(opened)
    return opened


def newer_manifest(data: Path) -> Path:
    path = manifest_path(data / "archive", "linear")
    path.write_bytes(path.read_bytes() + b'{"event":"merged_twice","version":99}\n')
    return path


def newer_table(data: Path) -> Path:
    path = manifest_path(data / "archive", "linear")
    first, *rest = path.read_bytes().splitlines(keepends=True)
    told = msgspec.json.decode(first)
    told["schema_version"] = 99
    path.write_bytes(msgspec.json.encode(told) + b"\n" + b"".join(rest))
    return path


def damaged_manifest(data: Path) -> Path:
    path = manifest_path(data / "archive", "linear")
    path.write_bytes(path.read_bytes().replace(b'"event"', b'"evint"', 1))
    return path


NEWER = "newer tapebook"


@pytest.mark.parametrize(
    ("damage", "answers"),
    [
        (
            newer_segment,
            {
                "verify": (1, NEWER), "roll": (4, NEWER), "cat": (4, NEWER), "stat": (4, NEWER),
                "recompress": (4, NEWER), "status": (0, ""), "record": (4, NEWER),
            },
        ),
        (
            newer_open_segment,
            {"verify": (0, "open"), "roll": (4, NEWER), "cat": (4, NEWER), "trades": (0, ""), "record": (4, NEWER)},
        ),
        (
            newer_manifest,
            {"verify": (1, NEWER), "roll": (4, NEWER), "trades": (4, NEWER), "cat": (0, ""), "status": (4, NEWER),
             "record": (4, NEWER)},
        ),
        (newer_table, {"verify": (1, NEWER), "roll": (4, NEWER), "trades": (4, NEWER), "stat": (0, "ok")}),
        (
            damaged_manifest,
            {"verify": (1, "line 1"), "roll": (1, "line 1"), "trades": (1, "line 1"), "cat": (0, "")},
        ),
    ],
)  # fmt: skip
def test_what_is_newer_or_no_longer_readable(
    damage: Callable[[Path], Path], answers: Answers, data: Path, run: Callable[[str], Said]
) -> None:
    before = tree(data)
    path = damage(data)
    after = tree(data)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert str(path.relative_to(data)) in changed
    for command, (code, words) in answers.items():
        said = run(command)
        assert (said.code, words in said.text) == (code, True), f"{command}: {said}"
        if code:
            assert str(path) in said.text, f"{command}: {said.text}"
    # rolling may have added what the damage doesn't concern; it changed nothing else
    left = tree(data)
    kept = {name for name in after if not name.endswith("other.jsonl") and "recompress" not in answers}
    assert {name for name in kept if left.get(name) != after[name]} == set()
    path.unlink()
    for name in changed:
        if name in before:
            (data / name).write_bytes(before[name])
    assert run("roll").code == 0
    assert verify(data).failures == []


@pytest.mark.parametrize("cut", [1, 20, 400])
def test_a_manifest_whose_last_line_is_torn(cut: int, data: Path, run: Callable[[str], Said]) -> None:
    """The trace of a crash: its segment counts as not rolled, and is rolled again to the same bytes."""
    path = manifest_path(data / "archive", "linear")
    wanted = read_manifest(data / "archive")
    whole = path.read_bytes()
    assert len(whole.splitlines()[-1]) > cut
    path.write_bytes(whole[:-cut])
    before = tree(data)
    said = run("verify")
    assert (said.code, "not rolled yet" in said.text) == (0, True)
    assert run("roll").code == 0
    after = tree(data)
    parquet = [name for name in before if name.endswith(".parquet")]
    assert [name for name in parquet if after[name] != before[name]] == []
    found = read_manifest(data / "archive")
    assert [file for file in found.files if file in wanted.files] == wanted.files
    assert wanted.segments.items() <= found.segments.items()
    assert verify(data).failures == []


@contextmanager
def read_only(data: Path) -> Iterator[None]:
    """The whole directory can be read and not be written, by root neither."""
    mount = shutil.which("mount")
    if os.geteuid() == 0:
        if (
            mount is None
            or subprocess.run(
                [mount, "--bind", str(data), str(data)], capture_output=True, check=False
            ).returncode
        ):
            pytest.skip("root writes everywhere, and nothing can be mounted")
        try:
            subprocess.run([mount, "-o", "remount,ro,bind", str(data)], check=True, capture_output=True)
            yield
        finally:
            subprocess.run(["umount", str(data)], check=True)
        return
    paths = [data, *data.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(path.stat().st_mode | 0o200)


def test_a_read_only_directory(data: Path, run: Callable[[str], Said]) -> None:
    before = tree(data)
    with read_only(data):
        for command in ("verify", "trades", "cat", "stat", "status"):
            said = run(command)
            assert said.code == 0, f"{command}: {said.text}"
        for command in ("roll", "recompress", "record"):
            said = run(command)
            assert (said.code, str(data) in said.text) == (4, True), f"{command}: {said}"
    assert tree(data) == before
    assert run("roll").code == 0
    assert verify(data).failures == []


def test_a_drive_that_can_not_be_read(
    data: Path, run: Callable[[str], Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sealed(data)
    half = path.stat().st_size // 2

    class Fails(pa.OSFile):  # type: ignore[misc]
        def read_at(self, nbytes: int, offset: int) -> bytes:
            if offset >= half and self.size() == path.stat().st_size:
                raise OSError(errno.EIO, "Input/output error")
            return bytes(super().read_at(nbytes, offset))

    with monkeypatch.context() as patch:
        patch.setattr(pa, "OSFile", Fails)
        for command, code in (("verify", 1), ("cat", 4), ("roll", 4), ("recompress", 4)):
            said = run(command)
            assert (said.code, "check the drive" in said.text) == (code, True), f"{command}: {said}"
    assert run("roll").code == 0
    assert verify(data).failures == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["rows", "fsync", "manifest"])
def test_a_drive_that_can_not_be_written_while_rolling(
    call: str, code: int, data: Path, run: Callable[[str], Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(data)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if call == "rows":
            patch.setattr(pq.ParquetWriter, "write_table", refuse)
        else:
            patch.setattr(os, "fsync" if call == "fsync" else "pwrite", refuse)
        said = run("roll")
    assert (said.code, os.strerror(code) in said.text) == (4, True), said
    after = tree(data)
    assert {name for name in before if after.get(name) != before[name]} == set()
    assert [name for name in after if name.endswith(".tmp")] == []
    assert run("roll").code == 0
    assert verify(data).failures == []


def test_two_at_once(data: Path, run: Callable[[str], Said]) -> None:
    before = tree(data)
    with CollectorLock(data, "linear"):
        said = run("record")
        assert (said.code, "already recording" in said.text) == (2, True), said
    with roll_lock(data, wait=True):
        said = run("roll")
        assert (said.code, "another process is rolling" in said.text) == (2, True), said
        assert run("verify").code == 0  # whoever only reads may
    assert tree(data) == before


@pytest.mark.parametrize("step_ns", [-3600 * SECOND, -86_400 * SECOND, 86_400 * SECOND])
def test_a_clock_that_steps(step_ns: int, tmp_path: Path, data: Path, run: Callable[[str], Said]) -> None:
    shutil.rmtree(data)
    tape = Tape(data)
    tape.frames(market(0, 5))
    tape.now_ns += step_ns
    tape.frames(market(5, 10))
    tape.rotate()
    tape.now_ns += step_ns
    tape.frames(market(10, 15))
    tape.stop()
    again = Tape(data, start_ns=START_NS + step_ns)
    again.frames(market(0, 5))
    again.stop()
    for command in ("roll", "verify", "stat", "cat"):
        said = run(command)
        assert said.code == 0, f"{command}: {said}"
    sequences = []
    for file in segments(data):  # by name
        with SegmentReader(file.path) as reader:
            sequences += [record.sequence for record in reader.records()]
    assert sequences == list(range(len(sequences)))
    frames = [payload for _, payload in _frames(data)]
    assert frames == [*market(0, 15), *market(0, 5)]
    assert tmp_path.exists()


def _frames(data: Path) -> Iterator[tuple[int, bytes]]:
    for file in segments(data):
        with SegmentReader(file.path) as reader:
            for record in reader.records(RecordKind.FRAME):
                yield record.receive_ns, record.payload
