"""The command before the server: what it refuses, with which words and which exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from recorder.cli import main
from recorder.sink.state import only_sink
from tests.brokers import NatsServer, needs_nats
from tests.processes import Running, json_lines, tapebook
from tests.recorder.sink.test_messages import made, recorded


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command says that ends with 2."""
    with pytest.raises(SystemExit) as ended:
        main(["nats", *map(str, arguments)])
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--server", ""], "expected nats://HOST:PORT"),
        (["--prefix", "a.>"], "--prefix 'a.>'"),
        (["--name", "../x"], "collector name '../x'"),
        (["--collector", "a b"], "collector name 'a b'"),
        (["--max-age", "7"], "found '7', expected a number and its unit"),
        (["--creds", "nowhere"], "--creds nowhere: no such file"),
        (["--ca-file", "nowhere"], "--ca-file nowhere: cannot be read"),
    ],
)
def test_options_that_are_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    pytest.importorskip("nats", reason="needs the client of NATS (the nats extra)")
    assert words in refused(capsys, "--data", tmp_path, *arguments)


def test_a_client_that_is_not_installed_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nats", None)
    assert "pip install 'tapebook[nats]'" in refused(capsys, "--data", tmp_path)


def test_a_name_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nats", reason="needs the client of NATS (the nats extra)")
    with only_sink(tmp_path, "nats"):
        assert "is at work there already" in refused(capsys, "--data", tmp_path)


def test_a_directory_that_is_not_there_is_no_recorder_to_wait_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(capsys, "--data", tmp_path / "dta", "--once")
    assert f"{tmp_path / 'dta'}: no such directory, so there is nothing to send" in told
    assert "add --wait if a recorder is still to make it" in told
    assert not (tmp_path / "dta").exists()
    (tmp_path / "file").touch()
    for wait in ([], ["--wait"]):
        assert "file: is a file; give the directory" in refused(capsys, "--data", tmp_path / "file", *wait)
    assert "--wait is for what goes on" in refused(capsys, "--data", tmp_path / "dta", "--once", "--wait")


def test_a_directory_that_is_still_to_be_made_is_waited_for(tmp_path: Path) -> None:
    pytest.importorskip("nats", reason="needs the client of NATS (the nats extra)")
    data = tmp_path / "data"
    arguments = ["nats", "--data", data, "--server", "nats://127.0.0.1:1", "--wait"]
    with Running(arguments, tmp_path / "sink") as running:
        running.until(lambda: f"{data}: no such directory yet" in running.err, "it says that it waits")
        assert not data.exists()
        recorded(data)
        running.until(lambda: "linear: is sent to tapebook" in running.err, "it has begun")
        assert running.stop().code == 0
    with Running([*arguments[:2], tmp_path / "never", *arguments[3:]], tmp_path / "other") as running:
        running.until(lambda: "never: no such directory yet" in running.err, "it says that it waits")
        done = running.stop()
    assert (done.code, done.out) == (0, f"{tmp_path / 'never'}: no collector has recorded there\n")
    assert not (tmp_path / "never").exists()


@needs_nats
def test_once_and_until_a_signal(tmp_path: Path) -> None:
    pytest.importorskip("nats", reason="needs the client of NATS (the nats extra)")
    recorded(tmp_path / "data")
    expected = made(tmp_path / "data")
    with NatsServer(tmp_path / "server", "--user", "u", "--pass", "secret") as server:
        url = server.url.replace("//", "//u:secret@")
        arguments = ["nats", "--data", tmp_path / "data", "--server", url, "--from", "oldest", "--jetstream"]
        done = tapebook(*arguments, "--once", "--format", "json")
        assert done.code == 0, done.err
        assert "secret" not in done.err
        (told,) = json_lines(done.out)
        assert told == json.loads((tmp_path / "data" / "nats" / "nats" / "linear.json").read_text())
        assert (told["acknowledged"], told["behind_bytes"], told["removed"]) == (len(expected), 0, 0)
        with Running(arguments, tmp_path / "sink") as running:
            state = tmp_path / "data" / "nats" / "nats" / "linear.json"
            running.until(lambda: json.loads(state.read_bytes())["connects"] == 2, "it looked")
            done = running.stop()
        assert done.code == 0, done.err
        assert done.out == f"linear: {len(expected):,} sent, {len(expected):,} acknowledged\n"
    (tmp_path / "empty").mkdir()  # a recorder is still to begin there
    done = tapebook("nats", "--data", tmp_path / "empty", "--once")
    assert (done.code, done.out) == (0, f"{tmp_path / 'empty'}: no collector has recorded there\n")
