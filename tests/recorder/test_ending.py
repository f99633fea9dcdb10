"""Signals where no collector is there to end cleanly: a line that says so, and the exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from recorder.ending import signals_end
from tests.processes import ROOT, Running


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 4), (signal.SIGINT, 0)])
def test_it_says_what_it_ended(number: signal.Signals, code: int) -> None:
    program = (
        "import os, signal\nfrom recorder.ending import signals_end\n"
        f"with signals_end('while testing', {code}):\n    os.kill(os.getpid(), {int(number)})\n    signal.pause()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (code, f"tapebook: ended by {number.name} while testing\n")


def test_the_handlers_of_before_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with signals_end("", 0):
        assert signal.getsignal(signal.SIGTERM) not in before
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_another_thread_may_use_it_too() -> None:
    ran: list[int] = []

    def work() -> None:
        with signals_end("", 0):
            ran.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recorder_that_still_reads_what_to_record(tmp_path: Path, number: signal.Signals) -> None:
    """It waits for its configuration, which is a pipe that nobody writes into."""
    pipe = tmp_path / "tapebook.toml"
    os.mkfifo(pipe)
    writers: list[int] = []

    def is_read() -> bool:
        try:
            writers.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody has it open yet
            return False
        return True

    try:
        with Running(["record", pipe], tmp_path / "run") as recorder:
            recorder.until(is_read, "it read its configuration")
            done = recorder.stop(number)
    finally:
        for writer in writers:
            os.close(writer)
    assert (done.code, done.err) == (0, f"tapebook: ended by {number.name} before it recorded anything\n")


def test_a_recorder_that_has_not_begun(tmp_path: Path) -> None:
    """It waits for an exchange that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"ws://127.0.0.1:{deaf.getsockname()[1]}"
        arguments = ["record", "--endpoint", url, "--symbols", "all", "--data", tmp_path / "data"]
        with Running(arguments, tmp_path / "run") as recorder:
            connection, _ = deaf.accept()
            with connection:
                done = recorder.stop()
    assert done.code == 0
    assert done.err.splitlines()[-1] == "tapebook: ended by SIGTERM before it recorded anything"
