"""Following a journal while it is written, sealed, recovered, compressed, removed: every record once, or a break."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recorder.journal.follower
from recorder.journal import (
    Break,
    Followed,
    JournalFollower,
    JournalOptions,
    Position,
    SegmentReader,
    newest_segment,
    next_sequence,
    recompress,
    recover,
    segments,
)
from recorder.journal.files import OPEN, SEALED
from schemas.errors import ConfigError, StoreError
from tests.recorder.journal.support import START_NS, fill, left_open, payload, place, sealed_segment, writer

QUIET = JournalOptions(fsync_interval_s=3600)


def end_of(data: Path) -> Position | None:
    """Where the journal ends."""
    for found in reversed([each for each in segments(data, "linear") if each.state != "torn"]):
        with SegmentReader(found.path, lenient=True) as reader:
            *_, last = reader.records()
            return Position(found.start_ns, last.sequence)
    return None


def take(follower: JournalFollower) -> list[Followed | Break]:
    """Everything that is there now."""
    out = []
    while (found := follower.read()) is not None:
        out.append(found)
    return out


def fresh(found: list[Followed | Break]) -> list[int | Break]:
    """Sequences of the records that were not known, and breaks among them."""
    out: list[int | Break] = []
    for each in found:
        if isinstance(each, Break):
            out.append(each)
            continue
        sequences = each.batch.table.column(0).to_pylist()
        for sequence, said in list(zip(sequences, each.batch.table.column(4).to_pylist(), strict=True))[
            each.known :
        ]:
            assert said == payload(sequence) or said.startswith(b'{"note":"close"')
            out.append(sequence)
    return out


def rotate(journal: object) -> None:
    writing = journal
    start_ns = writing.segment_start_ns + 1_000  # type: ignore[attr-defined]
    writing.rotate(start_ns, [])  # type: ignore[attr-defined]


def written(data: Path, count: int, *, segments_of: int = 2) -> None:
    """Some sealed segments of six records, closing note included."""
    journal = writer(data, options=QUIET)
    for number in range(count):
        fill(journal, segments_of, 3)
        if number + 1 < count:
            rotate(journal)
    journal.close()


def test_a_journal_that_is_not_there_yet(tmp_path: Path) -> None:
    with JournalFollower(tmp_path / "none", "linear") as follower:
        assert follower.read() is None
        assert newest_segment(tmp_path / "none", "linear") is None
        sealed_segment(tmp_path / "none")
        assert fresh(take(follower)) == list(range(13))
        assert follower.position == Position(START_NS, 12) == end_of(tmp_path / "none")
        assert newest_segment(tmp_path / "none", "linear") == Position(START_NS, -1)
        assert follower.read() is None
        follower.close()
    with pytest.raises(ConfigError):
        JournalFollower(tmp_path, "../linear")


def test_every_byte_that_is_written_makes_a_batch_appear_when_it_is_whole(tmp_path: Path) -> None:
    path = sealed_segment(tmp_path / "whole", batches=2, rows=2)
    content = path.read_bytes()
    with SegmentReader(path) as reader:
        ends = {batch.offset_bytes for batch in reader}
    growing = place(tmp_path, b"", f"{START_NS}{OPEN}")
    seen: list[int] = []
    with JournalFollower(tmp_path, "linear") as follower, growing.open("ab", buffering=0) as file:
        for length, byte in enumerate(content, 1):
            file.write(bytes([byte]))
            found = take(follower)
            assert len(found) == (length in ends), length
            seen += [sequence for sequence in fresh(found) if isinstance(sequence, int)]
        assert seen == [0, 1, 2, 3, 4]
        assert follower.read() is None
        growing.rename(growing.with_name(f"{START_NS}{SEALED}"))
        assert follower.read() is None
        # and it looks for what comes behind
        journal = writer(tmp_path, next_sequence=5, start_ns=START_NS + 1)
        fill(journal, 1, 2)
        journal.close()
        assert fresh(take(follower)) == [5, 6, 7]


@pytest.mark.parametrize("compressed", [False, True])
def test_from_any_position_on_the_rest_comes_once(tmp_path: Path, compressed: bool) -> None:
    written(tmp_path, 3, segments_of=400 if compressed else 2)
    if compressed:
        for segment in segments(tmp_path):
            assert recompress(segment) is not None
    starts = [segment.start_ns for segment in segments(tmp_path)]
    size = 1201 if compressed else 7
    for sequence in range(-1, 3 * size, 97 if compressed else 1):
        for number in {
            max(sequence, 0) // size,
            max(sequence - size, 0) // size,
            min((sequence + 1) // size, 2),
        }:
            if sequence >= (number + 1) * size or sequence < number * size - 1:
                continue
            with JournalFollower(tmp_path, "linear", Position(starts[number], sequence)) as follower:
                found = take(follower)
                assert fresh(found) == list(range(sequence + 1, 3 * size))
                # the segment is read from its beginning
                first = found[0]
                assert isinstance(first, Followed)
                assert first.begins
                assert first.batch.table.column(0)[0].as_py() == number * size
                assert [each.begins for each in found if isinstance(each, Followed)].count(True) == 3 - number
                assert follower.position == end_of(tmp_path)


def test_the_file_may_be_renamed_compressed_and_removed_underneath(tmp_path: Path) -> None:
    journal = writer(tmp_path, options=QUIET)
    with JournalFollower(tmp_path, "linear") as follower:
        fill(journal, 900, 3)
        rotate(journal)
        fill(journal, 2, 3)
        journal.close()
        assert isinstance(follower.read(), Followed)  # it has the sealed first one open
        first, second = segments(tmp_path)
        assert recompress(first) is not None
        first.path.unlink()
        second.path.unlink()
        found = fresh(take(follower))
        assert found == list(range(3, 2701))
    assert segments(tmp_path) == []
    journal = writer(tmp_path, next_sequence=2708, start_ns=START_NS + 5_000)
    fill(journal, 1, 1)
    journal.close()
    with JournalFollower(tmp_path, "linear", Position(START_NS, 2700)) as follower:
        assert fresh(take(follower)) == [Break("removed", 2701, 2707, START_NS), 2708, 2709]


def test_an_open_segment_that_is_removed_is_left(tmp_path: Path) -> None:
    path, _ = left_open(tmp_path)
    with JournalFollower(tmp_path, "linear") as follower:
        assert fresh(take(follower)) == list(range(12))
        path.unlink()
        assert follower.read() is None
        sealed = writer(tmp_path, next_sequence=20, start_ns=START_NS + 9)
        fill(sealed, 1, 1)
        sealed.close()
        first, *rest = fresh(take(follower))
        assert isinstance(first, Break)
        assert (first.kind, first.first_sequence, first.last_sequence) == ("damaged", 12, 19)
        assert "without its end" in first.words
        assert rest == [20, 21]


@pytest.mark.parametrize("torn", [b"", b"\xff" * 4, b"\xff\xff\xff\xff" + bytes(200), b"x" * 50])
def test_a_segment_that_a_crash_left_is_waited_for_until_it_is_recovered(tmp_path: Path, torn: bytes) -> None:
    path, _ = left_open(tmp_path)
    with path.open("ab") as file:
        file.write(torn)
    with JournalFollower(tmp_path, "linear") as follower:
        assert fresh(take(follower)) == list(range(12))
        recover(tmp_path)
        numbers = -(-len(torn) // 23)
        breaks = [Break("torn", 12, 11 + numbers, START_NS)] if numbers else []
        assert fresh(take(follower)) == [*breaks, 12 + numbers]
        assert next_sequence(tmp_path, "linear") == 13 + numbers
        journal = writer(tmp_path, next_sequence=13 + numbers, start_ns=START_NS + 7)
        fill(journal, 1, 1)
        journal.close()
        assert fresh(take(follower)) == [13 + numbers, 14 + numbers]
    # and the same from the beginning, or from behind the break
    with JournalFollower(tmp_path, "linear", Position(START_NS, 11 + numbers)) as follower:
        assert fresh(take(follower)) == [12 + numbers, 13 + numbers, 14 + numbers]
    with JournalFollower(tmp_path, "linear", Position(START_NS, 8)) as follower:
        assert fresh(take(follower))[:3] == [9, 10, 11]
        assert [each for each in fresh(take(follower)) if isinstance(each, Break)] == []


def test_a_header_that_never_became_one(tmp_path: Path) -> None:
    """A kill left an empty file; the recovery set it aside, and its numbers were left out."""
    written(tmp_path, 1)
    place(tmp_path, b"\xff\xff\xff\xff", f"{START_NS + 3}{OPEN}")
    with JournalFollower(tmp_path, "linear") as follower:
        assert fresh(take(follower)) == list(range(7))
        assert newest_segment(tmp_path, "linear") == Position(START_NS, -1)
        recover(tmp_path)
        journal = writer(tmp_path, next_sequence=next_sequence(tmp_path, "linear"), start_ns=START_NS + 8)
        fill(journal, 1, 1)
        journal.close()
        (first, *rest) = fresh(take(follower))
        assert isinstance(first, Break)
        assert first.kind == "removed"
        assert rest == [first.last_sequence + 1, first.last_sequence + 2]


def test_records_that_a_power_cut_took_back_are_told(tmp_path: Path) -> None:
    path, commits = left_open(tmp_path)
    with JournalFollower(tmp_path, "linear") as follower:
        assert fresh(take(follower)) == list(range(12))
        position = follower.position
        assert position is not None
    with path.open("r+b") as file:
        file.truncate(commits[1].offset_bytes)  # what was synced
    recover(tmp_path)
    assert next_sequence(tmp_path, "linear") == 7
    journal = writer(tmp_path, next_sequence=7, start_ns=START_NS + 4)
    fill(journal, 1, 2)
    journal.close()
    with JournalFollower(tmp_path, "linear", position) as follower:
        assert fresh(take(follower)) == [Break("withdrawn", 7, 11, START_NS), 7, 8, 9]
    # also where its segment is gone by now
    (tmp_path / "journal" / "linear" / f"{START_NS}{SEALED}").unlink()
    with JournalFollower(tmp_path, "linear", position) as follower:
        assert fresh(take(follower)) == [Break("withdrawn", 7, 11, START_NS), 7, 8, 9]


def test_a_sealed_segment_that_is_damaged_is_left_and_told(tmp_path: Path) -> None:
    written(tmp_path, 3)
    first, second, third = segments(tmp_path)
    content = bytearray(second.path.read_bytes())
    content[content.index(payload(11))] ^= 0xFF
    second.path.write_bytes(content)
    with JournalFollower(tmp_path, "linear") as follower:
        found = fresh(take(follower))
        assert found[:10] == list(range(10))
        told = found[10]
        assert isinstance(told, Break)
        assert (told.kind, told.first_sequence, told.last_sequence) == ("damaged", 10, 13)
        assert (told.numbers, told.start_ns) == (4, second.start_ns)
        assert str(second.path) in told.words
        assert found[11:] == list(range(14, 21))
    # cut short, and the last one: it is told as soon as something follows
    third.path.write_bytes(third.path.read_bytes()[:-9])
    with JournalFollower(tmp_path, "linear", Position(third.start_ns, 13)) as follower:
        assert fresh(take(follower)) == list(range(14, 20))
        assert str(third.path) in follower.damage
    third.path.write_bytes(b"PAR1")
    first.path.unlink()
    with JournalFollower(tmp_path, "linear", Position(third.start_ns, 13)) as follower:
        assert take(follower) == []
        journal = writer(tmp_path, next_sequence=30, start_ns=third.start_ns + 1)
        fill(journal, 1, 1)
        journal.close()
        (told, *rest) = fresh(take(follower))
        assert isinstance(told, Break)
        assert (told.kind, told.first_sequence, told.last_sequence) == ("damaged", 14, 29)
        assert rest == [30, 31]


def test_a_drive_that_fails_is_an_error(tmp_path: Path) -> None:
    written(tmp_path, 1)
    segments(tmp_path)[0].path.chmod(0)
    segments(tmp_path)[0].path.unlink()
    (tmp_path / "journal" / "linear" / f"{START_NS}{OPEN}").mkdir()
    with JournalFollower(tmp_path, "linear") as follower, pytest.raises(StoreError):
        follower.read()


STEPS = st.lists(
    st.sampled_from(["write", "write", "read", "rotate", "squeeze", "prune", "crash", "resume"]), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_every_number_comes_once_or_in_a_break(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory)
        journal = writer(data, options=QUIET)
        follower = JournalFollower(data, "linear")
        found: list[int | Break] = []
        for step in [*steps, "stop"]:
            match step:
                case "write":
                    fill(journal, 3, 2)
                case "read":
                    found += fresh(take(follower))
                case "rotate":
                    rotate(journal)
                case "squeeze":
                    for segment in segments(data):
                        recompress(segment)
                case "prune":
                    for segment in [each for each in segments(data) if each.state == "sealed"][:-1]:
                        segment.path.unlink()
                case "crash":
                    journal.close()
                    sealed = segments(data)[-1]
                    crashed = sealed.path.with_suffix(".arrows.open")
                    with SegmentReader(sealed.path) as reader:
                        reader.read_closing()
                        data_bytes = reader.data_bytes
                    sealed.path.rename(crashed)
                    with crashed.open("r+b") as file:
                        file.truncate(data_bytes)
                        file.seek(0, 2)
                        file.write(b"\xff\xff\xff\xff torn")
                    found += fresh(take(follower))
                    recover(data)
                    journal = writer(
                        data,
                        next_sequence=next_sequence(data, "linear"),
                        start_ns=sealed.start_ns + 1,
                        options=QUIET,
                    )
                case "resume":
                    # what was read is known, and nothing else
                    follower.close()
                    follower = JournalFollower(data, "linear", follower.position)
                case "stop":
                    journal.close()
        found += fresh(take(follower))
        position = follower.position
        follower.close()
        assert position == end_of(data)
        covered: list[int] = []
        for each in found:
            covered += [each] if isinstance(each, int) else range(each.first_sequence, each.last_sequence + 1)
            if isinstance(each, Break):
                assert each.kind in ("removed", "torn", "withdrawn")
        kinds = {each.kind for each in found if isinstance(each, Break)}
        if "withdrawn" not in kinds:
            assert covered == list(range(len(covered)))
            assert covered[-1] == position.sequence if position else True


def test_beside_a_writer_in_a_hurry(tmp_path: Path) -> None:
    journal = writer(tmp_path, options=QUIET)

    def work() -> None:
        for number in range(12):
            for _ in range(40):
                fill(journal, 1, 5)
            if number % 3 == 2:
                for segment in segments(tmp_path):
                    recompress(segment)
            if number < 11:
                rotate(journal)
        journal.close()

    thread = threading.Thread(target=work)
    found: list[int | Break] = []
    with JournalFollower(tmp_path, "linear") as follower:
        thread.start()
        while thread.is_alive():
            found += fresh(take(follower))
        thread.join()
        found += fresh(take(follower))
    assert found == list(range(12 * (40 * 5 + 1)))


def test_a_directory_that_does_not_change_is_not_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, 2)
    directory = tmp_path / "journal" / "linear"
    with JournalFollower(tmp_path, "linear") as follower:
        assert len(fresh(take(follower))) == 14
        os.utime(directory, (1, 1))
        assert follower.read() is None
        monkeypatch.setattr(recorder.journal.follower, "segments", lambda *_: pytest.fail("it was listed"))
        assert follower.read() is None
        monkeypatch.undo()
        journal = writer(tmp_path, next_sequence=14, start_ns=START_NS + 10_000)
        journal.close()
        assert fresh(take(follower)) == [14]


def test_the_program_of_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "journal.md").read_text()
    (program,) = [
        each for each in re.findall(r"```python\n(.*?)```", page, re.S) if "JournalFollower" in each
    ]
    written(tmp_path / "data", 3)
    segments(tmp_path / "data")[1].path.unlink()
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "docs/journal.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert said == [
        *["3 records of linear"] * 2, "1 records of linear", "sequences 7 to 13: removed",
        *["3 records of linear"] * 2, "1 records of linear",
        f"Position(start_ns={segments(Path('data'))[-1].start_ns}, sequence=20)",
    ]  # fmt: skip
