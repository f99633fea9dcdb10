"""An import is a recording: what goes in comes out byte for byte, once, however often it is interrupted."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.cli import main
from recorder.disk_budget import DiskBudget
from recorder.importing.captures import CaptureFile
from recorder.importing.run import ImportPlan, Report, run_import
from recorder.importing.sources import Source
from recorder.journal import SegmentReader, segments
from recorder.journal_cat import ALL_KINDS, Selection, cat, selected
from recorder.verify import verify
from schemas.errors import ConfigError, DataError, OutOfSpace
from schemas.names import Category, Environment, RecordKind
from schemas.notes import Imported, decode_note
from tests.processes import ROOT
from tests.recorder.recordings import START_NS, Tape, market, record_day

MS = 1_000_000


def capture_file(path: Path, frames: list[bytes], *, start_ns: int = START_NS, step_ns: int = 7 * MS) -> Path:
    lines = b"".join(b"%d %b\n" % (start_ns + n * step_ns, frame) for n, frame in enumerate(frames))
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


def import_capture(data: Path, *files: Path, collector: str = "theirs", **options: object) -> Report:
    chosen = {key: options.pop(key) for key in ("skip_bad", "segment_bytes", "environment") if key in options}
    sources: list[Source] = [CaptureFile(path) for path in files]
    plan = ImportPlan(sources, collector, Category.LINEAR, **chosen)  # type: ignore[arg-type]
    return run_import(plan, data, **options)  # type: ignore[arg-type]


def records(data: Path) -> list[tuple[int, int, int, bytes]]:
    """Every record but what says how often segments were ended, and checkpoints at their beginning."""
    found = [record for _, record in selected(data, None, Selection(kinds=ALL_KINDS))]
    return [(r.sequence, r.receive_ns, r.kind, r.payload) for r in found]


def after(count: int) -> Callable[[], bool]:
    """Stop when asked for the ``count``-th time."""
    asked = [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] >= count

    return stop


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_capture_comes_back_byte_for_byte(tmp_path: Path, suffix: str) -> None:
    record_day(tmp_path / "ours", steps=60, rotate_at=(20,))
    file = tmp_path / f"day.jsonl{suffix}"
    count = cat(tmp_path / "ours", None, Selection(), output=file)
    report = import_capture(tmp_path / "data", file)
    assert report.complete
    assert (report.undecodable, report.unknown, report.topics, report.segments) == (0, 0, 4, 1)
    assert [(one.records, one.whole) for one in report.files] == [(count, True)]
    again = tmp_path / f"again{suffix}"
    assert cat(tmp_path / "data", None, Selection(), output=again) == count
    assert again.read_bytes() == file.read_bytes()
    checked = verify(tmp_path / "data", deep=True)
    assert not checked.failures
    assert not list((tmp_path / "data").glob("importing*"))


def test_any_bytes_but_line_breaks_survive(tmp_path: Path) -> None:
    frames = [
        b'not \xff json, "but" a\x00frame',
        b'{"op":"pong"}',
        b'{"topic":"orderbook.50.BTCUSDT","type":"del',
        b'{"topic":"nothing.we.know","data":[]}',
        b'{"topic":"publicTrade.%b","data":[]}' % (b"X" * 200),
        b"  spaces  stay  ",
    ]
    file = capture_file(tmp_path / "odd.jsonl", frames)
    report = import_capture(tmp_path / "data", file)
    assert report.files[0].records == len(frames)
    assert (report.undecodable, report.unknown, report.topics) == (3, 2, 1)
    assert cat(tmp_path / "data", None, Selection(), output=tmp_path / "out") == len(frames)
    assert (tmp_path / "out").read_bytes() == file.read_bytes()
    assert not verify(tmp_path / "data", deep=True).failures


def test_an_interrupted_import_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    frames = market(0, 1500)
    file = capture_file(tmp_path / "long.jsonl.gz", frames)
    small = {"segment_bytes": 60_000}
    import_capture(tmp_path / "whole", file, **small)
    data = tmp_path / "pieces"
    checking = len(frames) // 256 + 1
    stopped = import_capture(data, file, should_stop=after(checking + 4), **small)
    assert not stopped.complete
    assert stopped.segments > 0
    assert not stopped.files[0].whole
    assert not verify(data).failures
    (data / "journal" / "theirs" / "imported.json").unlink()  # as if a kill had come before it was written
    rest = import_capture(data, file, **small)
    assert rest.complete
    assert rest.files[0].before + rest.files[0].records == len(frames)
    assert rest.files[0].before >= 256
    assert records(data) == records(tmp_path / "whole")
    assert not verify(data, deep=True).failures


def killed_import(directory: Path, count: int) -> tuple[Path, Path, list[bytes], int]:
    """Kill an import in the midst of it: data directory, its file, the frames in that, and how many were taken."""
    frames = market(0, count)
    directory.mkdir()
    file = capture_file(directory / "long.jsonl", frames)
    data = directory / "data"
    command = [
        sys.executable, "-m", "recorder", "import", "capture", str(file), "--category", "linear", "--name", "theirs",
        "--data", str(data), "--segment-mib", "0.1", "--no-roll",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        while process.poll() is None and len(segments(data, "theirs")) < 2:
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    return data, file, frames, sum(1 for _ in selected(data, None, Selection()))


def test_a_killed_import_goes_on(tmp_path: Path) -> None:
    for count in (12_000, 48_000, 192_000):
        data, file, frames, held = killed_import(tmp_path / str(count), count)
        if held < len(frames):
            break  # else it was over before this process got to kill it
    assert 0 < held < len(frames)
    report = import_capture(data, file)
    assert (report.files[0].before, report.files[0].records) == (held, len(frames) - held)
    cat(data, None, Selection(), output=tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == file.read_bytes()
    assert not verify(data, deep=True).failures
    assert not (data / "importing").exists()


def test_several_files_are_one_recording(tmp_path: Path) -> None:
    frames = market(0, 100)
    one = capture_file(tmp_path / "one.jsonl", frames[:80])
    two = capture_file(tmp_path / "two.jsonl.gz", frames[80:], start_ns=START_NS + 80 * 7 * MS)
    data = tmp_path / "data"
    report = import_capture(data, one, two)
    assert [(file.file, file.records) for file in report.files] == [
        ("one.jsonl", 80),
        ("two.jsonl.gz", len(frames) - 80),
    ]
    assert [frame for _, frame in _frames(data)] == frames
    assert not verify(data, deep=True).failures
    notes = [decode_note(payload) for _, _, kind, payload in records(data) if kind == RecordKind.NOTE]
    told = [(n.source, n.form, n.first, n.last, n.whole) for n in notes if isinstance(n, Imported)]
    assert told == [
        ("one.jsonl", "capture", 1, 80, True),
        ("two.jsonl.gz", "capture", 1, len(frames) - 80, True),
    ]


def _frames(data: Path) -> list[tuple[int, bytes]]:
    return [(record.receive_ns, record.payload) for _, record in selected(data, None, Selection())]


def test_the_same_file_is_not_imported_twice(tmp_path: Path) -> None:
    file = capture_file(tmp_path / "one.jsonl", market(0, 20))
    data = tmp_path / "data"
    import_capture(data, file)
    before = _frames(data)
    renamed = tmp_path / "other-name.jsonl"
    renamed.write_bytes(file.read_bytes())
    with pytest.raises(ConfigError, match="has it already"):
        import_capture(data, renamed)
    with pytest.raises(ConfigError, match="the very bytes of"):
        import_capture(tmp_path / "new", file, renamed)
    assert _frames(data) == before
    # what it lacks comes, and only that
    later = capture_file(tmp_path / "later.jsonl", market(20, 40), start_ns=START_NS + 10**12)
    report = import_capture(data, file, later)
    assert [one.records for one in report.files] == [0, len(market(20, 40))]
    assert _frames(data)[: len(before)] == before
    assert not verify(data, deep=True).failures


def test_bad_lines_are_named_and_the_file_refused_or_they_are_skipped(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    good = market(0, 3)
    file.write_bytes(
        b"%d %b\n" % (START_NS, good[0])
        + b"yesterday {}\n"
        + b"\n"
        + b"%d %b\n" % (START_NS + 1, good[1])
        + b"%d\n" % START_NS
        + b"99999999999999999999 {}\n"
        + b"9200000000000000000 {}\n"
        + b"%d %b" % (START_NS + 2, good[2])
    )
    with pytest.raises(DataError) as caught:
        import_capture(tmp_path / "data", file)
    text = str(caught.value)
    assert f"{file}, line 2: found 'yesterday {{}}', expected '<receive_ns> <frame>'" in text
    assert [n for n in range(1, 9) if f"line {n}:" in text] == [2, 5, 6, 7]
    assert "--skip-bad" in text
    assert not segments(tmp_path / "data")
    report = import_capture(tmp_path / "data", file, skip_bad=True)
    assert (report.files[0].records, report.files[0].refused) == (3, 4)
    assert [frame for _, frame in _frames(tmp_path / "data")] == good[:3]


def test_a_file_that_is_cut_short_is_refused_whole(tmp_path: Path) -> None:
    whole = capture_file(tmp_path / "whole.jsonl.gz", market(0, 3000))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole.read_bytes()[:-4000])
    with pytest.raises(DataError, match=r"cut.jsonl.gz: cannot be read on after line \d+"):
        import_capture(tmp_path / "data", cut)
    assert not segments(tmp_path / "data")
    for nothing in (tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(ConfigError, match="expected a file to import"):
            import_capture(tmp_path / "data", nothing)


def test_a_recording_s_name_and_other_places_are_refused(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "data", collector="linear")
    tape.frames(market(0, 5))
    tape.stop()
    file = capture_file(tmp_path / "one.jsonl", market(0, 20))
    with pytest.raises(ConfigError, match="they must not mix"):
        import_capture(tmp_path / "data", file)
    with pytest.raises(ConfigError, match="collector of its own"):
        import_capture(tmp_path / "data", file, collector="linear", environment=Environment.GATEWAY)


def test_an_interrupted_import_waits_for_its_file(tmp_path: Path) -> None:
    file = capture_file(tmp_path / "one.jsonl", market(0, 1500))
    other = capture_file(tmp_path / "two.jsonl", market(0, 20))
    data = tmp_path / "data"
    checking = len(market(0, 1500)) // 256 + 1
    import_capture(data, file, should_stop=after(checking + 4), segment_bytes=60_000)
    with pytest.raises(
        ConfigError, match=r"import of one.jsonl as 'theirs' was interrupted: give that file first"
    ):
        import_capture(data, other)
    report = import_capture(data, file, other)
    assert [one.whole for one in report.files] == [True, True]


def test_an_empty_file_makes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "empty.jsonl"
    file.write_bytes(b"\n")
    report = import_capture(tmp_path / "data", file)
    assert (report.complete, report.segments) == (True, 0)
    assert "there are no records" in caplog.text


def test_segments_say_that_they_were_imported(tmp_path: Path) -> None:
    file = capture_file(tmp_path / "one.jsonl", market(0, 20))
    import_capture(tmp_path / "data", file)
    with SegmentReader(segments(tmp_path / "data")[0].path) as reader:
        assert reader.info.endpoint == "import:capture"
        assert reader.info.start_ns == START_NS


def test_the_command_says_what_became_of_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = capture_file(tmp_path / "a b.2026.jsonl.gz", market(0, 20))
    command = ["import", "capture", str(file), "--data", str(tmp_path / "data"), "--category"]
    code, out, err = tapebook([*command, "linear", "--format", "json"], capfd)
    assert code == 0, err
    told = json.loads(out)
    assert (told["collector"], told["complete"]) == ("a-b.2026", True)
    assert told["files"][0]["records"] == len(market(0, 20))
    assert tapebook([*command, "linear"], capfd)[:2] == (2, "")
    code, out, err = tapebook([*command, "futures"], capfd)
    assert (code, out) == (2, "")
    assert "--category: found 'futures', expected one of spot" in err


def tapebook(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capfd.readouterr()
    code = ended.value.code
    return code if isinstance(code, int) else 1, said.out, said.err


def test_what_a_kill_kept_from_being_written_down_is_when_the_import_is_asked_for_again(
    tmp_path: Path,
) -> None:
    file = capture_file(tmp_path / "day.jsonl", market(0, 60))
    import_capture(tmp_path / "data", file, segment_bytes=2_000)
    history = tmp_path / "data" / "journal" / "theirs" / "imported.json"
    told = history.read_bytes()
    notes = json.loads(told)
    del notes[max(notes)]
    history.write_text(json.dumps(notes))
    with pytest.raises(ConfigError, match="has it already"):
        import_capture(tmp_path / "data", file, segment_bytes=2_000)
    assert history.read_bytes() == told


def test_below_the_floor_it_ends_and_goes_on_later(tmp_path: Path) -> None:
    file = capture_file(tmp_path / "day.jsonl", market(0, 300))
    whole = import_capture(tmp_path / "whole", file)
    asked = [0]

    def free(_: Path) -> int:
        asked[0] += 1
        return 0 if asked[0] > 3 else 1 << 40

    budget = DiskBudget(tmp_path, 1 << 30, free=free, warn=lambda _: None, then="nothing more is imported")
    with pytest.raises(OutOfSpace, match="nothing more is imported") as ended:
        import_capture(tmp_path / "data", file, budget=budget)
    assert ended.value.exit_code == 4
    assert not (tmp_path / "data" / "archive" / "manifest").exists()  # nothing is rolled either
    again = import_capture(tmp_path / "data", file)
    assert again.complete
    assert records(tmp_path / "data") == records(tmp_path / "whole")
    assert whole.complete
    with pytest.raises(SystemExit) as code:
        main(["import", "capture", str(file), "--category", "linear", "--data", str(tmp_path / "third"),
              "--min-free-mib", "1e12"])  # fmt: skip
    assert code.value.code == 4
