"""What status says: of nothing, of a recording at work, of one that died, of an archive."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recorder.housekeeping import Kept
from recorder.retention import Refusal
from recorder.roll import roll_data
from recorder.status import STATUS_BYTES, data_status, is_held
from recorder.status_text import print_status, print_troubles
from schemas.errors import ConfigError
from schemas.time import format_ns
from tests.recorder.recordings import MS, SECOND, START_NS, Tape, market, record_day


def _live(**changes: Any) -> dict[str, Any]:
    feed = {"topic": "tickers.X", "state": "live", "messages": 7, "gaps": 0, "bytes": 9, "refused": None}
    return {
        "collector": "linear", "running": True, "paused": True, "backlog_bytes": 12,
        "written_ns": START_NS + 91 * SECOND,
        "lines": [{"line": 0, "connected": False, "connects": 4}],
        "feeds": [feed | {"last_receive_ns": START_NS + 90 * SECOND}],
    } | changes  # fmt: skip


def _write(data: Path, content: bytes) -> Path:
    path = data / "journal" / "linear" / "status.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such data directory"):
        data_status(tmp_path / "nothing")


def test_nothing_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = data_status(tmp_path)
    assert status["collectors"] == []
    assert 0 < status["disk"]["free_bytes"] < status["disk"]["total_bytes"]
    print_status(status)
    assert "nothing recorded yet" in capsys.readouterr().out
    assert print_troubles(status, json=False) == 1
    assert capsys.readouterr().out == f"{tmp_path}: nothing is recording\n"


def test_an_archive_at_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_day(tmp_path, steps=60, rotate_at=(30,))
    roll_data(tmp_path)
    tape = Tape(tmp_path, start_ns=START_NS + 100 * SECOND)
    tape.frames(market(0, 5))
    tape.crash()
    status = data_status(tmp_path, now_ns=START_NS + 100 * SECOND)
    (found,) = status["collectors"]
    assert found["segments"] == {"open": 1, "sealed": 2, "torn": 0, "rolled": 2}
    assert found["running"] is False
    assert found["rows"]["trades"] == 30
    assert found["gaps"] == 0
    assert found["journal_bytes"] > found["archive_bytes"] / 100 > 0
    frames = len(market(0, 60))  # of 10 ms each, and a rotation of 1 ms between them
    last_ns = START_NS + frames * 10 * MS + MS
    assert found["last_receive_time"] == format_ns(last_ns)
    assert found["age_s"] == round((100 * SECOND - (last_ns - START_NS)) / SECOND, 3)
    print_status(status)
    told = capsys.readouterr().out
    assert "linear: not running" in told
    assert "1 open, 2 sealed, 2 rolled" in told


def test_a_recording_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Tape(tmp_path).stop()
    _write(tmp_path, msgspec.json.encode(_live()))
    descriptor = os.open(tmp_path / "journal" / "linear" / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        status = data_status(tmp_path, now_ns=START_NS + 92 * SECOND)
    finally:
        os.close(descriptor)
    (found,) = status["collectors"]
    assert found["running"] is True
    assert found["age_s"] == 2.0
    assert found["troubles"] == [
        "not connected: line 0",
        "the disk is slower than the market: reading is paused",
    ]
    assert found["classes"]["tickers"]["states"] == {"live": 1}
    print_status(status)
    told = capsys.readouterr().out
    for part in ("linear: recording", "line 0 down (4 connects)", "reading paused", "tickers.X  live"):
        assert part in told


def test_two_who_look_at_once_do_not_take_each_other_for_the_recorder(tmp_path: Path) -> None:
    Tape(tmp_path).stop()
    path = tmp_path / "journal" / "linear" / "lock"
    path.touch(0o444)  # and whoever may only read sees as much
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # as another look has it
        assert not is_held(tmp_path, "linear")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert is_held(tmp_path, "linear")
    finally:
        os.close(descriptor)


def test_a_journal_without_a_limit_isn_t_called_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody may have pruned it by hand, of which this word knows nothing."""
    Tape(tmp_path).stop()
    (tmp_path / "journal" / "housekeeping.json").write_bytes(msgspec.json.encode(Kept(time_ns=START_NS)))
    print_status(data_status(tmp_path, now_ns=START_NS + SECOND), now_ns=START_NS + SECOND)
    assert "journal: kept whatever its age and size, 1.0 s ago" in capsys.readouterr().out


def test_segments_that_should_have_gone_are_a_trouble_of_their_collector(tmp_path: Path) -> None:
    for name in ("linear", "spot"):
        Tape(tmp_path, collector=name).stop()
        path = tmp_path / "journal" / name / "status.json"
        path.write_bytes(msgspec.json.encode(_live() | {"collector": name}))
    refused = {"linear/5": Refusal("not proved", START_NS), "linear/6": Refusal("neither", START_NS)}
    word = msgspec.json.encode(Kept(time_ns=START_NS, refused=refused))
    (tmp_path / "journal" / "housekeeping.json").write_bytes(word)
    held = [
        os.open(tmp_path / "journal" / name / "lock", os.O_RDWR | os.O_CREAT) for name in ("linear", "spot")
    ]
    try:
        for descriptor in held:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        linear, spot = data_status(tmp_path, now_ns=START_NS + 92 * SECOND)["collectors"]
    finally:
        for descriptor in held:
            os.close(descriptor)
    told = "2 segments should have left the journal and stay: not proved"
    assert (linear["troubles"][-1], told in spot["troubles"]) == (told, False)
    assert linear["housekeeping"]["refused"]["linear/6"]["why"] == "neither"


def test_a_dead_mans_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A status file says running; nobody holds the lock."""
    Tape(tmp_path).stop()
    _write(tmp_path, msgspec.json.encode(_live()))
    status = data_status(tmp_path)
    (found,) = status["collectors"]
    assert found["running"] is False
    assert "died without a word" in found["troubles"][0]
    assert print_troubles(status, json=True) == 1
    said = [msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["collector"] for each in said] == ["linear", None]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"running":true}',
        b'{"feeds":[]}',
        b"\xff",
        b'{"running":true,"written_ns":1,"paused":false,"backlog_bytes":0,"lines":[],"feeds":[{"topic":"a"}]}',
    ],
)
def test_a_status_file_that_says_nothing(tmp_path: Path, content: bytes) -> None:
    Tape(tmp_path).stop()
    _write(tmp_path, content)
    (found,) = data_status(tmp_path)["collectors"]
    assert (found["running"], found["feeds"]) == (False, [])


def test_a_status_file_beyond_reason_is_not_read(tmp_path: Path) -> None:
    Tape(tmp_path).stop()
    path = _write(tmp_path, msgspec.json.encode(_live()))
    os.truncate(path, STATUS_BYTES + 1)
    (found,) = data_status(tmp_path)["collectors"]
    assert found["feeds"] == []


def test_how_long_the_disk_lasts(tmp_path: Path) -> None:
    """At the rate of the running journals, and of the archive in proportion to what was rolled of them."""
    record_day(tmp_path, steps=60, rotate_at=(30,))
    roll_data(tmp_path)
    _write(tmp_path, msgspec.json.encode(_live(vitals={"journal_bytes_per_second": 1000.0})))
    assert data_status(tmp_path)["disk"]["days_left"] is None  # nobody is recording
    descriptor = os.open(tmp_path / "journal" / "linear" / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        status = data_status(tmp_path)
    finally:
        os.close(descriptor)
    (found,) = status["collectors"]
    disk = status["disk"]
    rate = 1000 * (1 + found["archive_bytes"] / found["journal_bytes"])
    assert disk["bytes_per_second"] == round(rate)
    assert disk["days_left"] == pytest.approx(disk["free_bytes"] / rate / 86_400, abs=0.01)
    assert found["disk"] == disk


@pytest.mark.parametrize("alive", [True, False])
def test_what_a_supervisor_says_counts_while_it_lives(tmp_path: Path, alive: bool) -> None:
    Tape(tmp_path).stop()
    _write(tmp_path, msgspec.json.encode(_live()))
    child = {
        "collector": "linear",
        "state": "restarting",
        "restarts": 3,
        "code": 4,
        "words": "the disk is gone",
    }
    path = tmp_path / "supervisor" / "status.json"
    path.parent.mkdir()
    path.write_bytes(msgspec.json.encode({"pid": 1, "collectors": [child | {"pid": None}]}))
    descriptor = os.open(path.with_name("lock"), os.O_RDWR | os.O_CREAT)
    try:
        if alive:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        status = data_status(tmp_path)
    finally:
        os.close(descriptor)
    (found,) = status["collectors"]
    if alive:
        assert found["supervised"]["restarts"] == 3
        assert found["troubles"] == ["it ended with 4 (the disk is gone), and the supervisor starts it again"]
    else:
        assert "supervised" not in found
        assert "died without a word" in found["troubles"][0]
