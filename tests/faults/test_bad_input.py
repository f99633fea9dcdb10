"""Wrong options, wrong topics, wrong places: the exit code says whose fault it is, the message what to do."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.journal import segments
from tests.processes import Finished, Tally, gateway, json_lines, recording, tapebook
from tests.recorded import assert_verified

GOOD = ["--topics", "orderbook.50,publicTrade", "--symbols", "BTCUSDT"]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gateway(
        tmp_path_factory.mktemp("gateway"), "--simulate", 3, "--symbol-count", 2, "--rate", 4
    ) as served:
        yield served.url


def record(endpoint: str, data: Path, *options: object) -> Finished:
    return tapebook("record", "--endpoint", endpoint, "--data", data, "--duration", 1, *options)


def test_refused_topics_are_named_and_the_good_ones_recorded(endpoint: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    options = ("--symbols", "BTCUSDT,NOSUCHUSDT", "--topics", "orderbook.50", "--format", "json")
    commits = Tally(tmp_path / "commits")
    with recording(
        tmp_path / "recorder", endpoint, data, *options, "--commit-ledger", tmp_path / "commits"
    ) as recorder:
        recorder.until(lambda: "handler not found" in recorder.err and commits() > 20, "a refusal, and data")
        done = recorder.stop()
    assert done.code == 0, done.err
    feeds = {feed["topic"]: feed for feed in json_lines(done.out)}
    assert feeds["orderbook.50.BTCUSDT"]["messages"] > 0
    assert feeds["orderbook.50.BTCUSDT"]["refused"] is None
    assert "orderbook.50.NOSUCHUSDT" in feeds["orderbook.50.NOSUCHUSDT"]["refused"]
    assert "handler not found" in done.err
    assert "orderbook.50.NOSUCHUSDT" in done.err
    assert "symbol NOSUCHUSDT: the exchange lists no such instrument of linear; the nearest is '" in done.err
    assert "check the symbol and the category; the other topics go on" in done.err
    assert_verified(data)


def test_everything_refused(endpoint: str, tmp_path: Path) -> None:
    done = record(endpoint, tmp_path, "--symbols", "NOSUCHUSDT", "--topics", "orderbook.50,publicTrade")
    assert done.code == 3, done.err
    assert "handler not found" in done.err


def test_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as reserved:  # bound and never listening: nobody else can be there
        reserved.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{reserved.getsockname()[1]}"
        done = record(url, tmp_path, *GOOD, "--duration", 60)
    assert done.code == 3, done.err
    assert url in done.err
    assert "Traceback" not in done.err


def test_two_recorders_of_one_name(endpoint: str, tmp_path: Path) -> None:
    ledger = tmp_path / "commits"
    data = tmp_path / "data"
    with recording(tmp_path / "first", endpoint, data, *GOOD, "--commit-ledger", ledger) as first:
        first.until(lambda: ledger.exists() and ledger.stat().st_size > 0, "a commit")
        second = record(endpoint, data, *GOOD)
        other = record(endpoint, data, *GOOD, "--name", "other")
        done = first.stop()
    assert second.code == 2, second.err
    assert "linear" in second.err
    assert other.code == 0, other.err
    assert done.code == 0, done.err
    assert_verified(data)


def test_environments_and_categories_do_not_mix(endpoint: str, tmp_path: Path) -> None:
    assert record(endpoint, tmp_path, *GOOD).code == 0
    category = record(endpoint, tmp_path, *GOOD, "--category", "spot", "--name", "linear")
    assert category.code == 2, category.err
    assert "linear" in category.err
    environment = record("wss://stream-testnet.bybit.com", tmp_path, *GOOD, "--name", "other")
    assert environment.code == 2, environment.err
    assert "testnet" in environment.err
    assert "gateway" in environment.err
    assert_verified(tmp_path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--category", "futures"], "futures"),
        (["--topics", "orderbook.51"], "orderbook.51"),
        (["--duration", "-1"], "duration"),
        (["--endpoint", "ftp://127.0.0.1"], "ftp"),
        (["--name", "../x"], "../x"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_bad_options(options: list[str], named: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = tapebook(
        "record", "--data", data, "--endpoint", "ws://127.0.0.1:9", "--symbols", "BTCUSDT", *options
    )
    assert done.code == 2, done.err
    assert named in done.err
    assert "Traceback" not in done.err
    assert not segments(data)


@pytest.mark.parametrize("command", ["verify", "roll"])
def test_a_data_directory_that_is_not_there(command: str, tmp_path: Path) -> None:
    done = tapebook(command, "--data", tmp_path / "missing")
    assert done.code == 2, done.err
    assert "missing" in done.err
    assert not (tmp_path / "missing").exists()


def test_a_data_directory_that_cannot_be_written(endpoint: str, tmp_path: Path) -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("needs a file system that refuses directories, such as /proc")
    done = record(endpoint, Path("/proc/self/fdinfo/tapebook"), *GOOD)
    assert done.code == 4, done.err
    assert "/proc/self/fdinfo" in done.err
    assert "Traceback" not in done.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of six mebibytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no small file system can be mounted: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_harms_nothing_that_was_sealed(endpoint: str, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(5800 << 10))
    data = small_disk / "data"
    options = [*GOOD, "--segment-seconds", 1, "--topics", "orderbook.50,orderbook.200,tickers", "--no-roll"]
    options += ["--min-free-mib", 0]  # as if it filled faster than it is looked at
    done = tapebook("record", "--endpoint", endpoint, "--data", data, "--duration", 60, *options)
    assert_full_disk(done, data)
    ballast.unlink()
    assert_usable(data)


def test_a_disk_that_is_nearly_full_ends_the_recording_with_everything_sealed(
    endpoint: str, small_disk: Path
) -> None:
    (small_disk / "ballast").write_bytes(bytes(3000 << 10))
    data = small_disk / "data"
    options = [*GOOD, "--segment-seconds", 1, "--topics", "orderbook.50,orderbook.200,tickers"]
    done = tapebook(
        "record", "--endpoint", endpoint, "--data", data, "--duration", 60, *options, "--min-free-mib", 2.75
    )
    assert_full_disk(done, data)
    assert "MiB free, the floor is 2 MiB (min_free_mib)" in done.err
    assert "; recording ends at 2 MiB" in done.err  # said before it was so far
    assert {file.state for file in segments(data)} == {"sealed"}
    assert_usable(data)  # there was room left for that


def test_a_file_that_may_not_grow(endpoint: str, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (96 << 10, 96 << 10))

    data = tmp_path / "data"
    done = tapebook(
        "record", "--endpoint", endpoint, "--data", data, "--duration", 60, "--no-roll", *GOOD,
        "--topics", "orderbook.50,orderbook.200", preexec=limit,
    )  # fmt: skip
    assert_full_disk(done, data)
    assert_usable(data)


def assert_full_disk(done: Finished, data: Path) -> None:
    assert done.code == 4, (done.code, done.err)
    assert "Traceback" not in done.err
    assert str(data) in done.err


def assert_usable(data: Path) -> None:
    """With room again, the journal is recovered, rolled and verified."""
    sealed = [file.path for file in segments(data) if file.state == "sealed"]
    before = [path.read_bytes() for path in sealed]
    done = tapebook("roll", "--data", data, "--min-free-mib", 0)  # the disk is a small one
    assert done.code == 0, done.err
    assert [path.read_bytes() for path in sealed] == before
    assert_verified(data)
