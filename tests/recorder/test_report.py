"""What is printed: for people as a table, for programs one object a line."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from recorder.cli import main
from recorder.collector import FeedReport, Report
from recorder.journal import segments
from recorder.report import print_report, roll_and_report, verify_and_report
from recorder.status import require_data
from schemas.errors import ConfigError
from schemas.names import RecordKind
from schemas.notes import Digest, encode
from tests.recorder.recordings import BOOK, TRADES, Tape, market, record_day

REPORT = Report(
    why="SIGINT",
    seconds=2.5,
    frames=12_345,
    undecodable={"not_json": 2},
    unknown_topics=3,
    feeds=[FeedReport(BOOK, "live", 12_000, 1, 3_000_000), FeedReport(TRADES, "empty", 0, 0, 0, "error:no")],
)


def test_a_report_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(REPORT, json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["feed", "state", "messages", "gaps", "bytes"]
    assert lines[1].split() == [BOOK, "live", "12,000", "1", "3,000,000"]
    assert lines[2].split() == [TRADES, "refused", "0", "0", "0"]
    assert (
        lines[3] == "12,345 frames in 2.5 s, 2 undecodable (not_json), 3 of unknown topics; ended by SIGINT"
    )


def test_a_report_for_programs(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tapebook")
    print_report(REPORT, json=True)
    assert caplog.messages == ["12,345 frames in 2.5 s; ended by SIGINT"]
    feeds = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [feed["topic"] for feed in feeds] == [BOOK, TRADES]
    assert (feeds[0]["messages"], feeds[0]["gaps"], feeds[1]["refused"]) == (12_000, 1, "error:no")


def test_no_directory(tmp_path: Path) -> None:
    for ask in (require_data, lambda data: roll_and_report(data, json=False)):
        with pytest.raises(ConfigError, match="no such data directory"):
            ask(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="no such data directory"):
        verify_and_report(tmp_path / "nothing", json=True)


def test_a_directory_that_was_never_recorded_into_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, mine = tmp_path / "data", tmp_path / "mine"
    record_day(data, steps=20, rotate_at=())
    roll_and_report(data, json=True)
    mine.mkdir()
    (mine / "notes.txt").write_text("x")
    commands = (
        ["roll"],
        ["compact"],
        ["repair"],
        ["verify"],
        ["status"],
        ["upload", "--to", "s3://none/of-it"],
    )
    for directory, hint in ((mine, ""), (data / "archive", f", such as {data}\n")):
        before = sorted(directory.iterdir())
        for command in commands:
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main([*command, "--data", str(directory)])
            assert ended.value.code == 2, command
            told = capsys.readouterr()
            assert "neither archive/ nor journal/ is in it, so it is no data directory" in told.err
            assert told.err.endswith(hint)
        assert sorted(directory.iterdir()) == before


def test_nothing_to_verify_is_not_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tape = Tape(tmp_path, [BOOK])
    tape.frames(market(0, 5))
    tape.crash()
    assert verify_and_report(tmp_path, json=False) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "nothing to verify: there is no sealed segment, and no file in the archive"


@pytest.mark.parametrize("as_json", [False, True])
def test_rolling(tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    record_day(tmp_path, steps=40, rotate_at=(20,))
    roll_and_report(tmp_path, json=as_json)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    if as_json:
        assert [json.loads(line)["ended"] for line in lines] == ["rotated", "stopped"]
    else:
        assert lines[0].startswith(
            f"linear/{segments(tmp_path)[0].path.name}: {len(market(0, 20))} frames -> "
        )
    roll_and_report(tmp_path, json=as_json)
    assert capsys.readouterr().out == (
        "" if as_json else "nothing to roll: every sealed segment is in the archive\n"
    )


def test_a_digest_that_the_replay_did_not_meet_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tape = Tape(tmp_path, [BOOK])
    tape.frames(frame for frame in market(0, 5) if BOOK.encode() in frame)
    note = Digest(topic=BOOK, update_id=1004, digest="0" * 16)
    tape.journal.append(tape.now_ns, 0, RecordKind.NOTE, encode(note))
    tape.stop()
    roll_and_report(tmp_path, json=False)
    told = capsys.readouterr().err
    assert f"{BOOK} at update id 1004: live digest {'0' * 16}, replayed " in told
    assert verify_and_report(tmp_path, json=False) == 1
    assert "NOT verified: 2 differences" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [False, True])
def test_verifying(tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    record_day(tmp_path, steps=40, rotate_at=(20,))
    roll_and_report(tmp_path, json=True)
    capsys.readouterr()
    assert verify_and_report(tmp_path, json=as_json) == 0
    out = capsys.readouterr().out.splitlines()
    if as_json:
        (counts,) = [json.loads(line) for line in out]
        assert (counts["failures"], counts["segments"], counts["frames"]) == (0, 2, len(market(0, 40)))
    else:
        assert out[-1] == "verified: no unexplained difference"
