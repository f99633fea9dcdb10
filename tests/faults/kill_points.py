"""kill -9 at points spread over the system calls of every command that writes.

    python -m tests.faults.kill_points 1 --count 500 --jobs 2

First each command runs to its end, and its calls below the data directory are counted. Half of its points then lie at
equal distances over them, half at random. At each one a real process is killed before the call, after it, or with half
of its bytes written; every third kill is a power cut too, which takes what was not synced; after every fourth one the
restart is killed as well. Then it is run to its end and judged (``kill_steps``). With ``--errors`` more points follow,
where the call fails for want of space or by an input/output error, and the process goes on.

Prints one line of JSON: points by command and by kind of call, and what failed with the words that repeat it. Exit 1
if anything did.
"""

from __future__ import annotations

import argparse
import errno
import gc
import importlib
import json
import os
import pkgutil
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import engine
import recorder
from tests.faults.kill_steps import STEPS, State, Step, Witnessed, frames_of, made, read_witness, state_of
from tests.faults.kill_uploads import object_store, store_port
from tests.faults.killing import CALLS, ON_SOCKETS, Blow, Ended, Mode, build_shim, is_loaded, run_forked
from tests.faults.sabotage import SABOTAGES
from tests.processes import gateway

__all__ = ["Point", "main", "plan"]

KILLED: Final = -9
MORE: Final = 0.1
"""Share of points drawn in addition: commands that have threads may end before the call comes that was chosen."""


class Point(NamedTuple):
    """One kill.

    Attributes:
        step: which command.
        blow: where.
        kind: of the call, as it was when the calls were counted.
        again: number of the call of the restart where that is killed too; 0: it isn't.
    """

    step: str
    blow: Blow
    kind: str
    again: int

    def __str__(self) -> str:
        blow = self.blow
        return (
            f"{self.step}:{blow.at}:{blow.mode.name}:{blow.error}:{int(blow.power)}:{self.kind}:{self.again}"
        )

    @classmethod
    def parse(cls, text: str) -> Point:
        """Read what ``str`` wrote."""
        step, at, mode, error, power, kind, again = text.rsplit(":", 6)
        return cls(step, Blow(int(at), Mode[mode], int(error), power == "1"), kind, int(again))


def plan(
    calls: dict[str, tuple[str, ...]], count: int, errors: int, chance: random.Random, only: set[str]
) -> list[Point]:
    """Choose points over the calls that the steps make; of these kinds only."""
    total = sum(STEPS[name].weight for name in calls)
    points: list[Point] = []
    for name, kinds in calls.items():
        share = max(1, round(count * STEPS[name].weight / total))
        wanted = [number for number, kind in enumerate(kinds, 1) if kind in only]
        evenly = share - share // 2
        at = [wanted[number * len(wanted) // evenly] for number in range(evenly)]
        at += [chance.choice(wanted) for _ in range(share - evenly)]
        for number in at:
            kind = kinds[number - 1]
            modes = [Mode.BEFORE, Mode.AFTER, *([Mode.TORN] if kind in ("write", "send") else [])]
            again = chance.randint(1, len(kinds)) if chance.random() < 0.25 else 0
            blow = Blow(number, chance.choice(modes), power=chance.random() < 1 / 3)
            points.append(Point(name, blow, kind, again))
    chance.shuffle(points)
    names = list(calls)
    for number in range(errors):
        name = names[number % len(names)]
        at_call = chance.choice([number for number, kind in enumerate(calls[name], 1) if kind in only])
        kind = calls[name][at_call - 1]
        errors_of = (errno.ECONNRESET, errno.ETIMEDOUT) if kind in ON_SOCKETS else (errno.ENOSPC, errno.EIO)
        points.append(Point(name, Blow(at_call, Mode.FAIL, chance.choice(errors_of)), kind, 0))
    return points


class Harness:
    """Runs points, each in processes of its own.

    Args:
        scratch: an empty directory.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._expected: dict[str, State] = {}

    def measure(self, names: list[str]) -> dict[str, tuple[str, ...]]:
        """Run each command to its end without a kill; returns the calls that it makes."""
        calls = {}
        for name in names:
            step = STEPS[name]
            place = self._scratch / "unkilled" / name.replace(" ", "_")
            place.mkdir(parents=True)
            self._forked(lambda step=step: made(step, self._scratch) and 0, place)
            shutil.copytree(made(step, self._scratch), place / "data")
            self._begin(step, place)
            witnessed: Witnessed = []
            calls[name] = self._act(step, place, Blow(), witnessed).calls
            self._follow(step, place)
            told = place / "state"
            self._forked(lambda place=place, told=told: _tell_state(place / "data", told), place)
            self._expected[name] = json.loads(told.read_text())
            wrong = self._judge(step, place, witnessed, power=False)
            if not calls[name]:
                wrong = ["it makes no calls"]
            if wrong:
                raise AssertionError(f"{name}: wrong without any kill: {wrong[:5]}")
        return calls

    def run(self, number: int, point: Point) -> dict[str, Any]:
        """Kill, run to the end, judge; returns what became of it."""
        step = STEPS[point.step]
        place = self._scratch / f"point-{number}"
        place.mkdir()
        shutil.copytree(made(step, self._scratch), place / "data")
        witnessed: Witnessed = []
        result: dict[str, Any] = {"point": str(point), "killed": 0, "wrong": []}
        try:
            self._begin(step, place)
            ended = self._act(step, place, point.blow, witnessed)
            result["killed"] += ended.code == KILLED
            result["code"] = ended.code
            if ended.code not in (KILLED, 0, 1, 4) or (ended.code == 1 and point.blow.mode is not Mode.FAIL):
                raise AssertionError(f"it ended with {ended.code}")
            self._look(step, place)
            if point.again:
                again = self._act(step, place, point.blow._replace(at=point.again), witnessed)
                result["killed"] += again.code == KILLED
                self._look(step, place)
            last = self._act(step, place, Blow(), witnessed)
            if last.code not in step.done:
                raise AssertionError(f"run again, it ended with {last.code}")
            self._follow(step, place)
            result["wrong"] = self._judge(step, place, witnessed, power=point.blow.power)
        except AssertionError as error:
            result["wrong"] = [str(error)]
        if result["wrong"]:
            result["said"] = (place / "output").read_text()[-1500:]
        else:
            shutil.rmtree(place)
        return result

    def _act(self, step: Step, place: Path, blow: Blow, witnessed: Witnessed) -> Ended:
        told, tell = os.pipe()
        run = len(witnessed)
        ended = run_forked(
            place / "data",
            blow,
            lambda: step.act(place / "data", tell, run),
            place / "output",
            port=store_port() if step.needs_store else 0,
        )
        os.close(tell)
        witnessed.append(read_witness(told, lines=step.needs_gateway, is_first=run == 0))
        os.close(told)
        return ended

    def _begin(self, step: Step, place: Path) -> None:
        if (begins := step.begins) is not None:
            self._forked(lambda: begins(place / "data"), place)

    def _look(self, step: Step, place: Path) -> None:
        if (look := step.at_once) is not None:
            told = place / "at-once"
            self._forked(lambda: told.write_text(json.dumps(look(place / "data"))) and 0, place)
            if wrong := json.loads(told.read_text()):
                raise AssertionError(f"right after it: {wrong[:5]}")

    def _follow(self, step: Step, place: Path) -> None:
        for follow in step.follows:
            ended = run_forked(
                place / "data", Blow(), lambda follow=follow: follow(place / "data", -1, 0), place / "output"
            )
            if ended.code:
                raise AssertionError(f"what follows ended with {ended.code}")

    def _judge(self, step: Step, place: Path, witnessed: Witnessed, *, power: bool) -> list[str]:
        told = place / "wrong"
        expected = self._expected[step.name]

        def work() -> int:
            told.write_text(json.dumps(step.judge(place / "data", expected, witnessed, power=power)))
            return 0

        self._forked(work, place)
        wrong: list[str] = json.loads(told.read_text())
        return wrong

    def _forked(self, work: Any, place: Path) -> None:
        ended = run_forked(place, Blow(), work, place / "output")
        if ended.code:
            raise AssertionError((place / "output").read_text()[-1500:])


def _tell_state(data: Path, told: Path) -> int:
    told.write_text(json.dumps(state_of(data)))
    return 0


class Pool:
    """So many points at once, each watched by a fork of its own, until so many kills were made."""

    def __init__(self, harness: Harness, scratch: Path, jobs: int) -> None:
        self._harness = harness
        self._scratch = scratch
        self._jobs = jobs
        self._running: dict[int, int] = {}
        self.results: list[dict[str, Any]] = []

    def run(self, points: list[Point], *, terminal: bool) -> None:
        """Run them all."""
        for number, point in enumerate(points):
            while len(self._running) >= self._jobs:
                self._take()
            self._start(number, point)
            if terminal or number % 50 == 49:
                failed = sum(bool(result["wrong"]) for result in self.results)
                text = f"{len(self.results)} of {len(points)} points, {failed} failed"
                print(
                    f"\r{text}" if terminal else text,
                    end="" if terminal else "\n",
                    file=sys.stderr,
                    flush=True,
                )
        while self._running:
            self._take()
        if terminal:
            print("\r\x1b[K", end="", file=sys.stderr)

    def _start(self, number: int, point: Point) -> None:
        child = os.fork()
        if child:
            self._running[child] = number
            return
        try:
            try:
                result = self._harness.run(number, point)
            except BaseException:
                result = {"point": str(point), "killed": 0, "wrong": [traceback.format_exc()]}
            (self._scratch / f"result-{number}").write_text(json.dumps(result))
        finally:
            os._exit(0)

    def _take(self) -> None:
        number = None
        while number is None:  # the gateway is a child too
            child, _ = os.waitpid(-1, os.WNOHANG)
            number = self._running.pop(child, None)
            if number is None:
                time.sleep(0.01)
        told = self._scratch / f"result-{number}"
        self.results.append(json.loads(told.read_text()))
        told.unlink()


def summary(results: list[dict[str, Any]], seconds: float, seed: int) -> dict[str, Any]:
    """What the points came to."""
    commands: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    kills = failed_calls = 0
    for result in results:
        point = Point.parse(result["point"])
        if result["killed"]:
            kills += result["killed"]
            commands[point.step] += result["killed"]
            kinds[point.kind] += 1
            modes[point.blow.mode.name.lower()] += 1
            modes["power"] += point.blow.power
            modes["restart killed too"] += result["killed"] > 1
        failed_calls += point.blow.mode is Mode.FAIL
    return {
        "seed": seed,
        "points": len(results),
        "kills": kills,
        "failed_calls": failed_calls,
        "not_reached": sum(
            not r["killed"] and Point.parse(r["point"]).blow.mode is not Mode.FAIL for r in results
        ),
        "commands": dict(sorted(commands.items())),
        "calls": dict(sorted(kinds.items())),
        "how": dict(sorted(modes.items())),
        "seconds": round(seconds, 1),
        "failures": [result for result in results if result["wrong"]],
    }


def main(arguments: list[str] | None = None) -> int:
    """Parse options, run, print the summary; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=str(__doc__), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--count", type=int, default=500, help="kills, about")
    parser.add_argument("--errors", type=int, default=0, help="calls that fail, in addition")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", default=",".join(STEPS), help="commands, separated by commas")
    parser.add_argument("--calls", default=",".join(CALLS), help="kinds of calls, separated by commas")
    parser.add_argument(
        "--scratch", type=Path, help="where data directories are made; /dev/shm spares the disk"
    )
    parser.add_argument("--point", help="only this one, as a failure names it")
    parser.add_argument("--keep", type=Path, help="a new directory where the data of failures stays")
    parser.add_argument(
        "--sabotage", choices=sorted(SABOTAGES), help="break the product, to see the harness complain"
    )
    options = parser.parse_args(arguments)
    if not is_loaded():
        return _again_with_shim()
    if options.sabotage:
        SABOTAGES[options.sabotage]()
    began = time.monotonic()
    names = [Point.parse(options.point).step] if options.point else options.steps.split(",")
    with ExitStack() as stack:
        scratch = options.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="kill-points-", dir=options.scratch))
        )
        (scratch / "elsewhere").mkdir(parents=True)
        tempfile.tempdir = os.environ["XDG_STATE_HOME"] = str(scratch / "elsewhere")
        if any(STEPS[name].needs_gateway for name in names):
            market = ["--simulate", 5, "--category", "linear", "--symbol-count", 1, "--rate", 20]
            os.environ["KILL_POINTS_ENDPOINT"] = stack.enter_context(
                gateway(scratch / "gateway", *market)
            ).url
        if any(STEPS[name].needs_store for name in names):
            stack.enter_context(object_store())
        _warm_up()
        harness = Harness(scratch)
        calls = harness.measure(names)
        for name, kinds in calls.items():
            print(f"{name}: {len(kinds)} calls {dict(Counter(kinds))}", file=sys.stderr)
        points = plan(
            calls,
            round(options.count * (1 + MORE)),
            options.errors,
            random.Random(options.seed),
            set(options.calls.split(",")),
        )
        pool = Pool(harness, scratch, options.jobs)
        pool.run([Point.parse(options.point)] if options.point else points, terminal=sys.stderr.isatty())
    told = summary(pool.results, time.monotonic() - began, options.seed)
    print(json.dumps(told))
    return 1 if told["failures"] else 0


def _warm_up() -> None:
    """Import what commands import when they run, so that forks don't have to, and make what recordings record."""
    for package in (recorder, engine):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                with suppress(ImportError):  # of an extra that is not installed
                    importlib.import_module(module.name)
    for run in range(4):
        frames_of(run)
    gc.freeze()


def _again_with_shim() -> int:
    """This process anew, with the shim."""
    directory = tempfile.mkdtemp(prefix="kill-shim-")
    try:
        made_shim = build_shim(Path(directory))
        environment = {**os.environ, "LD_PRELOAD": str(made_shim), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "tests.faults.kill_points", *sys.argv[1:]]
        return os.spawnvpe(os.P_WAIT, sys.executable, command, environment)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
