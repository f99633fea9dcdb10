"""The supervisor with processes that only pretend to be collectors: final ends, who is killed, what is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

import engine.restarts
import recorder.supervisor
from recorder.fleet import Fleet
from recorder.journal.lock import only_one
from recorder.supervisor import Supervisor, run_supervisor
from schemas.config import RecordConfig
from schemas.errors import ConfigError, StoreError
from tests.recorder.lines import until

STAYS = "import sys; sys.stdin.read()"
STUBBORN = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
    "sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.restarts, "FIRST_NS", 1_000_000)
    monkeypatch.setattr(engine.restarts, "LONGEST_NS", 2_000_000)
    monkeypatch.setattr(recorder.supervisor, "LOOK_S", 0.02)


def fleet(tmp_path: Path, *names: str) -> Fleet:
    configs = [RecordConfig(name=name, data=str(tmp_path), roll=False) for name in names]
    return Fleet(tmp_path, "", False, configs, [])


def supervisor(tmp_path: Path, deadline_s: float = 60.0, **programs: str) -> Supervisor:
    def command(path: Path) -> list[str]:
        return [sys.executable, "-S", "-c", programs[path.stem]]

    return Supervisor(fleet(tmp_path, *programs), deadline_s=deadline_s, command=command)


async def test_final_ends_and_the_worst_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = supervisor(tmp_path, good="print('done')", wrong="print('no such region'); raise SystemExit(2)")
    assert await made.run() == 2
    told = capsys.readouterr()
    assert "[good] done" in told.err
    assert told.out.splitlines() == [
        "good: ended with 0, started again 0 times",
        "wrong: ended with 2 (usage or configuration), started again 0 times",
        "2 collectors; ended by the end of every collector",
    ]
    status = json.loads((tmp_path / "supervisor" / "status.json").read_bytes())
    assert [(each["state"], each["code"], each["words"]) for each in status["collectors"]] == [
        ("ended", 0, "done"),
        ("failed", 2, "no such region"),
    ]


async def test_what_keeps_dying_is_started_again_and_again(tmp_path: Path) -> None:
    made = supervisor(tmp_path, bad="print('the disk is gone'); raise SystemExit(4)", good=STAYS)
    task = asyncio.create_task(made.run())
    bad, good = made.children
    await until(lambda: bad.restarts.count >= 6 and good.alive, "six restarts")
    (told, other) = made.statuses()
    assert told["restarts"] >= 6
    assert not told["running"]
    assert "it keeps dying: the disk is gone" in told["troubles"]
    assert other["troubles"] == []
    assert good.restarts.count == 0
    made.stop("SIGTERM")
    assert await asyncio.wait_for(task, 60) == 4
    assert not good.alive


async def test_a_killed_one_counts_as_a_failure_only_if_nobody_asked(tmp_path: Path) -> None:
    made = supervisor(tmp_path, one=STAYS, two=STAYS)
    task = asyncio.create_task(made.run())
    one, two = made.children
    await until(lambda: one.alive and two.alive, "both")
    assert one.pid is not None
    os.kill(one.pid, signal.SIGKILL)
    await until(lambda: one.restarts.count == 1 and one.alive, "another life")
    os.kill(os.getpid(), signal.SIGTERM)  # these end by it, before they could listen
    assert await asyncio.wait_for(task, 60) == 0


async def test_who_does_not_stop_is_killed_at_the_deadline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = supervisor(tmp_path, 0.2, stubborn=STUBBORN)
    task = asyncio.create_task(made.run())
    await until(lambda: made.children[0].words == "up", "its word")
    made.stop("SIGTERM")
    assert await asyncio.wait_for(task, 60) == 1
    assert "stubborn: was killed by SIGKILL" in capsys.readouterr().out


async def test_a_second_signal_kills_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder.supervisor, "SECOND_NS", 0)
    made = supervisor(tmp_path, stubborn=STUBBORN)
    task = asyncio.create_task(made.run())
    await until(lambda: made.children[0].words == "up", "its word")
    made.stop("SIGINT")
    await asyncio.sleep(0)
    made.stop("SIGINT")
    assert await asyncio.wait_for(task, 60) == 1


async def test_output_without_end_is_passed_on_in_pieces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = supervisor(
        tmp_path, loud="print('x' * 300_000); print(); print('\\udcff'.encode('utf-8', 'replace'))"
    )
    assert await made.run() == 0
    told = capsys.readouterr().err
    assert told.count("x") >= 300_000
    assert len(made.children[0].words) <= 500


async def test_what_can_not_be_started_is_tried_again(tmp_path: Path) -> None:
    made = Supervisor(fleet(tmp_path, "none"), command=lambda _: [str(tmp_path / "nothing")])
    task = asyncio.create_task(made.run())
    await until(lambda: made.children[0].restarts.count >= 2, "two attempts")
    assert "cannot be started" in made.children[0].words
    made.stop("SIGTERM")
    assert await asyncio.wait_for(task, 60) == 1


def test_one_supervisor_for_a_directory(tmp_path: Path) -> None:
    with (
        only_one(tmp_path / "supervisor" / "lock", "held by this test"),
        pytest.raises(ConfigError, match="another supervisor runs this directory"),
    ):
        run_supervisor(fleet(tmp_path, "x"), deadline_s=1)


def test_a_data_directory_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be"):
        run_supervisor(fleet(tmp_path / "file", "x"), deadline_s=1)


async def test_the_roller_hears_of_new_segments_and_of_pressure(tmp_path: Path) -> None:
    """By their names alone; and it pauses while any collector's disk is behind."""
    made = supervisor(tmp_path, one=STAYS)
    said: list[str] = []

    class FakeRoller:
        def sealed(self) -> None:
            said.append("sealed")

        def pause(self, paused: bool) -> None:
            said.append(f"pause {paused}")

        def finish(self) -> None:
            said.append("finish")

    made._roller = FakeRoller()  # type: ignore[assignment]
    looking = asyncio.create_task(made._look())
    directory = tmp_path / "journal" / "one"
    directory.mkdir(parents=True)
    (directory / "1.arrows.open").touch()
    await asyncio.sleep(0.1)
    assert said == []
    (directory / "1.arrows").touch()
    await until(lambda: said == ["sealed"], "the first")
    made.statuses = lambda: [{"pressure": {"level": "spare"}}]  # type: ignore[method-assign]
    await until(lambda: said[1:] == ["pause True"], "the pause")
    made.statuses = list  # type: ignore[method-assign]
    await until(lambda: said[2:] == ["pause False"], "its end")
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert said == ["sealed", "pause True", "pause False"]
