"""The command line: help, usage errors, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

import recorder.cli
from recorder.cli import app, main
from recorder.collector import Report
from recorder.version import VERSION
from schemas.config import RecordConfig
from schemas.errors import ConfigError, Corrupt, DataError, ExchangeError, StoreError, TapebookError
from schemas.names import Category
from tests.processes import ROOT
from tests.recorder.recordings import record_day

GROUP: Any = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def test_every_command_of_this_release_is_there() -> None:
    assert set(COMMANDS) >= {"demo", "gateway", "record", "roll", "verify", "status", "query", "book"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(command, "--help") == 0
    told = capsys.readouterr().out
    is_group = hasattr(GROUP.get_command(None, command), "commands")
    assert "--data" in told or command == "gateway" or is_group
    assert len(told) > 200


def test_help_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--help") == 0
    told = capsys.readouterr().out
    assert all(command in told for command in COMMANDS)
    assert "2 usage" in told


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--version") == 0
    assert capsys.readouterr().out == f"tapebook {VERSION}\n"


def test_an_interrupt_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recorder.report.roll_and_report", interrupted)
    assert _run("roll") == 130
    assert capsys.readouterr().err.strip() == "tapebook: ended by SIGINT"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("roll", "--nonsense"),
        ("roll", "too", "many"),
        ("record", "--duration", "soon"),
        ("record", "--format", "xml"),
        ("record", "--duration", "-1"),
        ("record", "--category", "futures"),
        ("record", "no-such.toml"),
        ("demo", "--seconds", "1"),
        ("query",),
        ("book",),
    ],
)
def test_usage_errors_exit_with_2(
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(*arguments) == 2
    assert capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["roll", "verify", "status"])
def test_a_directory_that_is_not_there(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(command, "--data", str(tmp_path / "nothing")) == 2
    assert "tapebook: " in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


def test_a_demo_does_not_write_over_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("demo", "--data", str(tmp_path)) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("style", ["table", "json"])
def test_roll_verify_status(tmp_path: Path, style: str, capsys: pytest.CaptureFixture[str]) -> None:
    record_day(tmp_path, steps=30, rotate_at=(15,))
    for command in ("roll", "verify", "status"):
        assert _run(command, "--data", str(tmp_path), "--format", style) == 0
        assert capsys.readouterr().out
    next((tmp_path / "archive" / "trades").rglob("*.parquet")).unlink()
    assert _run("verify", "--data", str(tmp_path), "--format", style) == 1
    assert "missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TapebookError("x"), 1),
        (DataError("x"), 1),
        (ConfigError("x"), 2),
        (ExchangeError("x"), 3),
        (StoreError("x"), 4),
        (Corrupt("file", "x"), 1),
    ],
)
def test_exit_codes(
    error: TapebookError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("recorder.record.run_record", fail)
    assert _run("record") == code
    assert capsys.readouterr().err == f"tapebook: {error}\n"


def test_options_of_record_reach_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[RecordConfig, Path | None]] = []

    def run(
        config: RecordConfig, *, commit_ledger: Path | None = None, until_stdin_ends: bool = False
    ) -> Report:
        seen.append((config, commit_ledger))
        return Report(why="the test")

    monkeypatch.setattr("recorder.record.run_record", run)
    file = tmp_path / "config.toml"
    file.write_text('symbols = ["OLD"]\nfsync_s = 3\n')
    assert _run(
        "record", str(file), "--category", "inverse", "--symbols", "A, B,", "--topics", "tickers", "--endpoint", "ws://x",
        "--data", "d", "--name", "n", "--lines", "2", "--duration", "1", "--stop-after-idle", "2", "--no-roll",
        "--commit-ms", "5", "--segment-seconds", "6", "--segment-mib", "7", "--commit-ledger", "l",
    ) == 0  # fmt: skip
    assert seen == [
        (
            RecordConfig(
                category=Category.INVERSE,
                symbols=["A", "B"],
                topics=["tickers"],
                endpoint="ws://x",
                data="d",
                name="n",
                lines=2,
                duration=1.0,
                stop_after_idle=2.0,
                roll=False,
                commit_ms=5.0,
                fsync_s=3.0,
                segment_seconds=6.0,
                segment_mib=7.0,
            ),
            Path("l"),
        )
    ]
    assert "ended by the test" in capsys.readouterr().out


def test_whoever_reads_our_output_may_go(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise BrokenPipeError

    duplicated: list[int] = []
    monkeypatch.setattr(recorder.cli, "app", gone)
    monkeypatch.setattr("os.dup2", lambda _, to: duplicated.append(to))
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1, raising=False)
    assert _run("status") == 0
    assert duplicated == [1]


@pytest.mark.parametrize(
    "arguments", [["journal", "stat"], ["journal", "cat", "--help"], ["verify", "--quick"]]
)
def test_whoever_has_gone_already_makes_no_failure(tmp_path: Path, arguments: list[str]) -> None:
    """The reader of a pipe leaves before anything is written, as `| head` does at some time."""
    record_day(tmp_path, steps=5, rotate_at=())
    command = [sys.executable, "-m", "recorder", *arguments]
    if "--help" not in arguments:
        command += ["--data", str(tmp_path)]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert b"roken" not in done.stderr


def test_a_pipe_of_something_else_that_breaks_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any, **__: Any) -> None:
        try:
            raise BrokenPipeError
        except OSError:
            sys.exit(1)  # as typer does

    monkeypatch.setattr(recorder.cli, "app", gone)
    with open(os.devnull, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert _run("status") == 1


def test_status_for_cron(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but what is not well, and exit code 1."""
    record_day(tmp_path)
    assert _run("status", "--data", str(tmp_path)) == 0
    capsys.readouterr()
    assert _run("status", "--check", "--data", str(tmp_path)) == 1
    assert capsys.readouterr().out == f"{tmp_path}: nothing is recording\n"
