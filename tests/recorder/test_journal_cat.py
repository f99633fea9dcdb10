"""``tapebook journal cat``: what it prints is what was recorded, and can be replayed."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.cli import main
from recorder.gateway.sources import ReplaySource
from recorder.journal import JournalWriter, Record, SegmentInfo, SegmentReader, journal_directory, segments
from recorder.journal_cat import ALL_KINDS, STEP_NS, Selection, cat, in_span, kinds_of, selected
from schemas.errors import ConfigError, Corrupt, DataError, NoData
from schemas.names import RecordKind
from schemas.notes import Subscribed
from tests.processes import ROOT, tapebook
from tests.recorder.journal.support import left_open
from tests.recorder.recordings import TOP, Tape, book

NS = 1_700_000_000_000_000_000
BOOK = b'{"topic":"orderbook.50.BTCUSDT","type":"delta","data":{"u":%d}}'
TRADE = b'{"topic":"publicTrade.BTCUSDT","data":[]}'


def write(
    data: Path,
    collector: str,
    records: list[tuple[int, int, int, bytes]],
    start_ns: int = NS,
    category: str = "linear",
) -> Path:
    info = SegmentInfo(collector, category, "gateway", "ws://127.0.0.1:1", "test", start_ns, start_ns)
    journal = JournalWriter(journal_directory(data, collector), info, next_sequence=0)
    for record in records:
        journal.append(*record)
    journal.close()
    return segments(data, collector)[-1].path


def printed(capfdbinary: pytest.CaptureFixture[bytes]) -> list[bytes]:
    sys.stdout.flush()
    return capfdbinary.readouterr().out.splitlines(keepends=True)


def run(data: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "recorder", "journal", "cat", "--data", str(data), *options]
    return subprocess.run(command, capture_output=True, check=False, cwd=ROOT)


def test_frames_are_plain_lines_byte_for_byte_and_replay_takes_them(tmp_path: Path) -> None:
    frames = [(NS + number, number % 2, 0, BOOK % number) for number in range(50)]
    frames.append((NS + 99, 0, 0, b'not \xff json, "but" a\x00frame'))
    notes = [(NS, 0, 3, b'{"note":"feeds","topics":["orderbook.50.BTCUSDT"]}')]
    write(tmp_path / "data", "linear", notes + frames)
    done = run(tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"".join(b"%d %b\n" % (ns, payload) for ns, _, _, payload in frames)
    for suffix in ("", ".gz", ".zst"):
        file = tmp_path / f"frames.jsonl{suffix}"
        count = cat(tmp_path / "data", None, Selection(), output=file)
        assert count == len(frames)
        assert list(ReplaySource(file).frames()) == [(ns, payload) for ns, _, _, payload in frames]
    assert gzip.decompress((tmp_path / "frames.jsonl.gz").read_bytes()) == done.stdout
    assert not list(tmp_path.glob("*.tmp"))


def test_what_a_capture_file_cannot_say_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pong = b'{"args":["1672916271846"],"op":"pong"}'
    write(
        tmp_path, "linear", [(NS, 0, 0, BOOK % 1), (NS, 1, 0, BOOK % 2), (NS, 0, 0, pong), (NS, 1, 0, pong)]
    )
    write(tmp_path, "other", [(NS, 0, 0, BOOK % 1), (NS + 1, 1, 0, BOOK % 1)])
    write(tmp_path, "spot", [(NS, 0, 0, BOOK % 7)], category="spot")

    def told(collector: str | None, **options: bool) -> list[str]:
        caplog.clear()
        cat(tmp_path, collector, Selection(), output=tmp_path / "out", **options)
        return [record.message.partition(":")[0] for record in caplog.records]

    assert told("linear") == told("spot") == []
    assert told("other") == ["several lines brought the same frames"]
    assert "these lines are of linear and spot, and don't say which" in told(None)
    assert told(None, json=True) == []


def test_once_leaves_out_what_made_no_row(tmp_path: Path) -> None:
    """Two lines' copies of a book; what names no topic stays, and `cut --into` keeps every line's frames."""
    tape = Tape(tmp_path, [TOP])
    tape.capture.session(1, Subscribed(topics=[TOP]))
    frames = [
        book("snapshot", at, [("1.5", str(at))], [("2.5", "1")], NS // 1_000_000 + at, TOP)
        for at in (1, 2, 3)
    ]
    for frame in frames:
        for line in (0, 1):
            tape.capture.frame_list(line, [frame], tape.now_ns)
    tape.capture.frame_list(1, [b'{"op":"pong"}'], tape.now_ns)
    tape.stop()
    every, once = (
        [record.payload for _, record in selected(tmp_path, None, Selection(once=only))]
        for only in (False, True)
    )
    assert every == [*(frame for frame in frames for _ in range(2)), b'{"op":"pong"}']
    assert once == [*frames, b'{"op":"pong"}']
    span = ("--from", "2023-01-01T00:00:00Z", "--to", "2024-01-01T00:00:00Z")
    done = tapebook("journal", "cut", "--data", tmp_path, *span, "--once", "-o", tmp_path / "out")
    assert (done.code, (tmp_path / "out").read_bytes().count(b"\n")) == (0, 4)
    done = tapebook("journal", "cut", "--data", tmp_path, *span, "--once", "--into", tmp_path / "other")
    assert done.code == 2
    assert "--once is for lines" in done.err


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    write(tmp_path, "linear", [(NS, 0, 0, BOOK % 1 + b" " * 4000)] * 500)
    command = f"{sys.executable} -m recorder journal cat --data {tmp_path} | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"%d {" % NS)


def test_other_kinds_tell_collector_sequence_line_and_kind(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    note, session, rest = (
        b'{"note":"end","reason":"x"}',
        b'{"session":"control","text":"{}"}',
        b'{"rest":"answer"}',
    )
    write(
        tmp_path,
        "linear",
        [(NS, 0, 3, note), (NS + 1, 2, 2, session), (NS + 2, 0, 1, rest), (NS + 3, 7, 0, TRADE)],
    )
    cat(tmp_path, None, Selection(ALL_KINDS))
    lines = printed(capfdbinary)
    assert lines[:4] == [
        b"%d linear 0 0 note %b\n" % (NS, note),
        b"%d linear 1 2 session %b\n" % (NS + 1, session),
        b"%d linear 2 0 rest %b\n" % (NS + 2, rest),
        b"%d linear 3 7 frame %b\n" % (NS + 3, TRADE),
    ]
    assert lines[4].startswith(b'%d linear 4 0 note {"note":"close"' % (NS + 3))
    assert len(lines) == 5
    cat(tmp_path, None, Selection(kinds_of("rest,session")))
    assert printed(capfdbinary) == lines[1:3]


def test_json_holds_what_no_line_can(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    payloads = [b"", b"two\nlines", b"ends\r", b"\xff\xfe\n", BOOK % 1]
    write(tmp_path, "linear", [(NS, 0, 0, payload) for payload in payloads])
    with pytest.raises(DataError, match=r"4 records can't be a line .* sequence 0.*--format json") as caught:
        cat(tmp_path, None, Selection())
    assert caught.value.exit_code == 1
    assert printed(capfdbinary) == [b"%d %b\n" % (NS, BOOK % 1)]
    with pytest.raises(DataError, match="4 records"):
        cat(tmp_path, None, Selection(), output=tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"%d %b\n" % (NS, BOOK % 1)  # what could be written is there
    cat(tmp_path, None, Selection(), json=True)
    told = [json.loads(line) for line in printed(capfdbinary)]
    assert [
        each["payload"].encode() if "payload" in each else base64.b64decode(each["payload_base64"])
        for each in told
    ] == payloads
    assert {key: told[3][key] for key in ("collector", "sequence", "receive_ns", "line", "kind")} == {
        "collector": "linear", "sequence": 3, "receive_ns": NS, "line": 0, "kind": "frame",
    }  # fmt: skip


def found(data: Path, selection: Selection, collector: str | None = None) -> list[tuple[str, Record]]:
    return list(selected(data, collector, selection))


def test_filters(tmp_path: Path) -> None:
    records = [
        (NS + 0, 0, 3, b'{"note":"feeds","topics":["publicTrade.BTCUSDT"]}'),
        (NS + 1, 0, 3, b'{"note":"stale","topic":"orderbook.50.BTCUSDT"}'),
        (NS + 2, 0, 3, b"no json, and so of no topic"),
        (NS + 3, 0, 0, BOOK % 1),
        (NS + 4, 0, 0, TRADE),
        (NS + 5, 0, 0, b"no topic"),
    ]
    write(tmp_path, "linear", records)

    def sequences(**wanted: object) -> list[int]:
        return [record.sequence for _, record in found(tmp_path, Selection(**wanted))]  # type: ignore[arg-type]

    assert sequences() == [3, 4, 5]
    assert sequences(topics=frozenset({"publicTrade.BTCUSDT"})) == [4]
    assert sequences(kinds=ALL_KINDS, topics=frozenset({"publicTrade.BTCUSDT"})) == [0, 4]
    assert sequences(kinds=ALL_KINDS, topics=frozenset({"orderbook.50.BTCUSDT"})) == [1, 3]
    assert sequences(kinds=frozenset({RecordKind.NOTE}), from_ns=NS + 1, to_ns=NS + 3) == [1, 2]
    assert sequences(from_ns=NS + 4) == [4, 5]
    assert sequences(to_ns=NS + 4) == [3]


def test_collectors_are_merged_by_receive_time_and_each_keeps_its_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a",
        [(NS + 0, 0, 0, b"a0"), (NS + 20, 0, 0, b"a1"), (NS + 10, 0, 0, b"a2 (clock set back)")],
    )
    write(tmp_path, "b", [(NS + 5, 0, 0, b"b0"), (NS + 15, 0, 0, b"b1")])
    assert [record.payload[:2] for _, record in found(tmp_path, Selection())] == [
        b"a0",
        b"b0",
        b"b1",
        b"a1",
        b"a2",
    ]
    assert {name for name, _ in found(tmp_path, Selection(), "b")} == {"b"}


def test_an_open_segment_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    path, commits = left_open(tmp_path)
    with path.open("ab") as file:
        file.write(b"\xff\xff\xff\xff half a batch")
    assert [record.sequence for _, record in found(tmp_path, Selection())] == list(
        range(commits[-1].last_sequence + 1)
    )


def test_a_damaged_sealed_segment_gives_what_is_before_and_exit_code_1(tmp_path: Path) -> None:
    path = write(tmp_path, "linear", [(NS, 0, 0, BOOK % 1)])
    with SegmentReader(path) as reader:
        first = next(iter(reader)).offset_bytes
    content = bytearray(path.read_bytes())
    content[first + 200] ^= 1
    path.write_bytes(content)
    records = selected(tmp_path, None, Selection())
    assert next(records)[1].payload == BOOK % 1
    with pytest.raises(Corrupt, match=r"batch 1|offset"):
        next(records)


def test_segments_that_cannot_hold_the_span_are_not_opened(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path, "linear", [(NS + number * 2 * STEP_NS, 0, 0, b"x")], NS + number * 2 * STEP_NS)
    files = segments(tmp_path)
    named = lambda *span: [file.start_ns for file in in_span(files, *span)]  # noqa: E731
    assert named(None, None) == [file.start_ns for file in files]
    assert named(NS + 4 * STEP_NS, NS + 4 * STEP_NS + 1) == [NS + 2 * STEP_NS, NS + 4 * STEP_NS]
    assert named(None, NS + 1) == [NS]
    assert named(NS + 100 * STEP_NS, None) == [NS + 6 * STEP_NS]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such data directory"):
        cat(tmp_path / "missing", None, Selection())
    with pytest.raises(NoData, match="nothing is recorded there yet"):
        cat(tmp_path, None, Selection())
    write(tmp_path, "linear", [])
    with pytest.raises(NoData, match="no journal of collector 'spot'; its collectors are linear"):
        cat(tmp_path, "spot", Selection())
    with pytest.raises(ConfigError, match="frame, rest, session, note, or all"):
        kinds_of("frame,notes")
    with pytest.raises(ConfigError, match="holds the recording"):
        cat(tmp_path, None, Selection(), output=tmp_path / "journal" / "x")
    done = tapebook("journal", "cat", "--data", tmp_path, "--from", "2026-11-21T03:12:00")
    assert done.code == 2
    assert "2026-11-21T03:12:00Z" in done.err


def test_a_full_disk_behind_a_redirection(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    write(tmp_path, "linear", [(NS, 0, 0, BOOK % 1)])
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "recorder", "journal", "cat", "--data", str(tmp_path)],
            stdout=full, stderr=subprocess.PIPE, check=False, cwd=ROOT, env=dict(os.environ),
        )  # fmt: skip
    assert done.returncode == 4
    assert b"standard output cannot be written" in done.stderr


def test_nothing_found_is_told_with_what_there_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def cats(*options: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["journal", "cat", "--data", str(tmp_path), *options])
        return ended.value.code, *capfd.readouterr()

    feeds = (NS, 0, 3, b'{"note":"feeds","topics":["orderbook.50.BTCUSDT","publicTrade.BTCUSDT"]}')
    write(tmp_path, "linear", [feeds, (NS + 1, 0, 0, BOOK % 1)])
    out = tmp_path / "out"
    for options, code, told in (
        (
            ("--topic", "NOPE"),
            1,
            "no records of NOPE; --topic takes full topics, and there are: orderbook.50.BTCUSDT",
        ),
        (("--topic", "publicTrade"), 1, "there are: publicTrade.BTCUSDT, orderbook.50.BTCUSDT"),
        (
            ("--topic", "publicTrade.BTCUSDT"),
            1,
            "no record (frame) of publicTrade.BTCUSDT; `tapebook journal stat`",
        ),
        (("--from", "2030-01-01T00:00:00Z"), 1, "nothing was received from 2030-01-01T00:00:00"),
        (("--kind", "rest", "--to", "2030-01-01T00:00:00Z"), 1, "no record (rest) in that span"),
        (
            ("--from", "2030-01-02T00:00:00Z", "--to", "2030-01-01T00:00:00Z"),
            2,
            "--from 2030-01-02T00:00:00Z is not before --to 2030-01-01T00:00:00Z",
        ),
        (("--kind", "rest"), 0, "no record (rest); `tapebook journal stat` tells"),
        (("--kind", "rest", "-o", str(out)), 0, "no record (rest)"),
    ):
        found_code, printed_out, printed_err = cats(*options)
        assert (found_code, printed_out) == (code, "")
        assert told in printed_err
    assert not out.exists()
    out.write_bytes(b"before")
    assert cats("--topic", "NOPE", "-o", str(out))[0] == 1
    assert out.read_bytes() == b"before"
