"""``tapebook supervise``: several collectors from one configuration, each a process of its own; what dies is started
again, and everything is stopped cleanly.

Each collector is ``tapebook record`` with a file of its own below ``DATA/supervisor``. It ends by itself when its
standard input ends, so no collector outlives its supervisor. Rolling is done by one roller for all. The status of all
is merged on one port (``--metrics``), and ``tapebook status`` shows it from the data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.restarts import Restarts
from recorder.fleet import Fleet, child_file
from recorder.health import troubles
from recorder.init_config import toml_value
from recorder.journal import journal_directory
from recorder.journal.lock import only_one
from recorder.metrics_server import serving
from recorder.record import uvloop_runner
from recorder.roller import Roller
from recorder.status import is_held, live_status
from schemas.config import RecordConfig
from schemas.errors import StoreError

__all__ = ["Child", "Supervisor", "run_supervisor", "write_child"]

SECOND_NS: Final = 1_000_000_000
LOOK_S: Final = 1.0
"""How often segments are looked for and the status is written."""
LINE_BYTES: Final = 64 << 10
PATIENCE_TURNS: Final = 600
"""Tenths of a second for collectors of an earlier supervisor to end."""
GLANCES: Final = 6
LAST_WORDS_S: Final = 2.0
RESTARTED: Final = "restarting"

log = logging.getLogger("tapebook")


def write_child(data: Path, config: RecordConfig) -> Path:
    """Write one collector's configuration; returns the file. Raises StoreError."""
    path = child_file(data, config.collector)
    values = {
        key: value
        for key, value in msgspec.structs.asdict(config).items()
        if value is not None and value != "" and value != []
    }
    values["name"] = config.collector
    lines = [f"{key} = {toml_value(value)}\n" for key, value in values.items()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text("# Written by `tapebook supervise`; changed there, not here.\n" + "".join(lines))
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


class Child:
    """One collector's process, over all its lives.

    Args:
        name: of the collector.
        command: what to run.

    Attributes:
        state: starting, recording, restarting, ended (0), failed (2) or stopped.
        code: exit code of its last end, negative for a signal.
        words: the last line it said.
    """

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.state = "starting"
        self.code: int | None = None
        self.words = ""
        self.restarts = Restarts()
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self.alive and self._process is not None else None

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.returncode is None

    async def run(self, stopping: asyncio.Event) -> None:
        """Start it, and again whenever it dies, until it has ended for good or all is stopping."""
        while not stopping.is_set():
            self.code = await self._live(stopping)
            if stopping.is_set():
                break
            delay_ns = self.restarts.ended(time.monotonic_ns(), self.code)
            how = _how(self.code)
            said = f": {self.words}" if self.words and self.code else ""
            if delay_ns is None:
                self.state = "ended" if self.code == 0 else "failed"
                level = logging.INFO if self.code == 0 else logging.ERROR
                log.log(level, "%s %s and is not started again%s", self.name, how, said)
                return
            self.state = RESTARTED
            if self.restarts.in_a_loop(time.monotonic_ns()):
                log.error("%s %s, again and again%s", self.name, how, said)
            log.warning("%s %s; it is started again in %.0f s%s", self.name, how, delay_ns / SECOND_NS, said)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), delay_ns / SECOND_NS)
        self.state = "stopped"

    async def _live(self, stopping: asyncio.Event) -> int:
        self.restarts.started(time.monotonic_ns())
        path = os.pathsep.join(each or str(Path.cwd()) for each in sys.path)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=LINE_BYTES,
                env={**os.environ, "PYTHONPATH": path},
                # A signal from the terminal is for the supervisor, which tells its collectors itself.
                start_new_session=True,
            )
        except OSError as error:  # no process to be had, say
            self.words = f"cannot be started: {error.strerror or error}"
            return 1
        self._process = process
        self.state = "recording"
        log.info("%s: process %d", self.name, process.pid)
        if stopping.is_set():  # while it was being made, so nobody has told it
            self.signal(signal.SIGTERM)
        relay = asyncio.create_task(self._relay(process))
        code = await process.wait()
        # what it said last; a process of its own that outlives it may hold the pipe open
        await asyncio.wait([relay], timeout=LAST_WORDS_S)
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        return code

    async def _relay(self, process: asyncio.subprocess.Process) -> None:
        """Pass on what it says, under its name."""
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                line = error.partial
            except asyncio.LimitOverrunError:
                line = await process.stdout.read(LINE_BYTES)
            if not line:
                return
            words = line.decode(errors="replace").rstrip()
            if words:
                self.words = words[-500:]
                with contextlib.suppress(OSError):  # whoever read our output is gone; recording goes on
                    print(f"[{self.name}] {words}", file=sys.stderr, flush=True)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self.alive and self._process is not None:
            # not its own send_signal, which looks whether it has ended, and takes its exit code from who waits
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


class Supervisor:
    """Runs a fleet until a signal comes, or nobody is left.

    Args:
        fleet: what to run.
        deadline_s: how long a clean stop may take before the rest is killed; the journal is safe even then.
        command: the collector's command line up to its file; tests give their own.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        deadline_s: float = 240.0,
        command: Callable[[Path], list[str]] | None = None,
    ) -> None:
        self._fleet = fleet
        self._deadline_s = deadline_s
        command = command or _record_command
        self.children = [
            Child(config.collector, command(write_child(fleet.data, config))) for config in fleet.configs
        ]
        self._stopping = asyncio.Event()
        self._why = ""
        self._killed: list[str] = []
        self._asked_ns = 0
        self._roller: Roller | None = None
        self._seen: frozenset[str] = frozenset()
        self._pressed = False

    def stop(self, why: str) -> None:
        """Stop everything; asked again after a second, kill it."""
        if not self._stopping.is_set():
            self._why = why
            self._asked_ns = time.monotonic_ns()
            self._stopping.set()
            log.info("%s: stopping %d collectors", why, sum(child.alive for child in self.children))
        elif time.monotonic_ns() - self._asked_ns > SECOND_NS:
            log.warning("%s again: what is left is killed; the next start recovers by itself", why)
            self._kill()

    async def run(self) -> int:
        """Run until the end; returns the exit code: that of the worst end of a collector, 0 when all went well."""
        await self._wait_for_predecessors()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop, number.name)
        self._roller = Roller(self._fleet.data, self._fleet.housekeeping) if self._fleet.roll else None
        try:
            async with serving(self._fleet.metrics, self.statuses) as url:
                if url is not None:
                    log.info(
                        "metrics at %s/metrics, status at %s/status, health at %s/healthz", url, url, url
                    )
                await self._run()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            code = await self._finish_rolling()
        return self._told(code)

    async def _wait_for_predecessors(self) -> None:
        """Collectors whose supervisor was killed seal what they have and end; until then their names are taken."""
        for turn in range(PATIENCE_TURNS):
            left = [child.name for child in self.children if is_held(self._fleet.data, child.name)]
            if not left:
                return
            if turn == 0:
                log.warning("waiting for the end of %s, which an earlier supervisor left", ", ".join(left))
            await asyncio.sleep(0.1)

    async def _run(self) -> None:
        lives = [asyncio.create_task(child.run(self._stopping)) for child in self.children]
        looking = asyncio.create_task(self._look())
        everybody = asyncio.gather(*lives)
        stopping = asyncio.create_task(self._stopping.wait())
        first: list[asyncio.Future[Any]] = [everybody, stopping]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not everybody.done():
            for child in self.children:
                child.signal(signal.SIGTERM)
            done, _ = await asyncio.wait([everybody], timeout=self._deadline_s)
            if not done:
                log.error("after %g s not all have stopped: they are killed", self._deadline_s)
                self._kill()
        await everybody
        for task in (looking, stopping):
            task.cancel()
        await asyncio.gather(looking, stopping, return_exceptions=True)
        self._write_status()

    def _kill(self) -> None:
        for child in self.children:
            if child.alive:
                self._killed.append(child.name)
                child.signal(signal.SIGKILL)

    async def _look(self) -> None:
        """Tell the roller what is sealed and when to wait, and leave a status behind."""
        while True:
            self._write_status()
            if self._roller is not None:
                sealed = self._sealed()
                if sealed - self._seen:
                    self._roller.sealed()
                self._seen = sealed
                pressed = any(
                    status.get("pressure", {}).get("level", "ease") != "ease" for status in self.statuses()
                )
                if pressed != self._pressed:
                    self._pressed = pressed
                    self._roller.pause(pressed)
            await asyncio.sleep(LOOK_S)

    def _sealed(self) -> frozenset[str]:
        """Sealed segments by their names alone: reading the manifest each second would cost more as it grows."""
        found: set[str] = set()
        for child in self.children:
            directory = journal_directory(self._fleet.data, child.name)
            with contextlib.suppress(OSError), os.scandir(directory) as entries:
                found.update(
                    f"{child.name}/{entry.name}" for entry in entries if entry.name.endswith(".arrows")
                )
        return frozenset(found)

    async def _finish_rolling(self) -> int:
        if self._roller is None:
            return 0
        try:
            await asyncio.to_thread(self._roller.finish)
        except StoreError as error:
            log.error("%s", error)
            return error.exit_code
        return 0

    # ---- what is told ----

    def statuses(self) -> list[dict[str, Any]]:
        """The status of every collector, as the metrics want them."""
        now_ns = time.time_ns()
        out = []
        for child in self.children:
            live = live_status(self._fleet.data, child.name) or {}
            fresh = child.alive and live.get("pid") == child.pid
            status = {**live, "collector": child.name, "running": fresh, "restarts": child.restarts.count}
            status["troubles"] = self._troubles(child, live, fresh, now_ns)
            out.append(status if fresh else {key: status[key] for key in _OF_THE_DEAD})
        return out

    def _troubles(self, child: Child, live: dict[str, Any], fresh: bool, now_ns: int) -> list[str]:
        words = []
        if child.restarts.in_a_loop(time.monotonic_ns()):
            words.append(f"it keeps dying: {child.words}")
        if child.state in (RESTARTED, "failed"):
            words.append(f"it {_how(child.code or 0)}: {child.words}")
        if fresh:
            words += troubles(live, running=True, now_ns=now_ns)
        return words

    def _write_status(self) -> None:
        path = self._fleet.data / "supervisor" / "status.json"
        told = {
            "pid": os.getpid(),
            "written_ns": time.time_ns(),
            "collectors": [
                {
                    "collector": child.name,
                    "state": child.state,
                    "pid": child.pid,
                    "restarts": child.restarts.count,
                    "code": child.code,
                    "words": child.words,
                }
                for child in self.children
            ],
        }
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_bytes(msgspec.json.encode(told))
            temporary.replace(path)
        except OSError as error:
            log.debug("status: %s", error)

    def _told(self, code: int) -> int:
        """Say how everybody ended; returns the exit code."""
        codes = [code]
        for child in self.children:
            ended = child.code if child.code is not None else 0
            stopped = self._stopping.is_set() and ended == -signal.SIGTERM  # before it listened
            codes.append(0 if stopped else 1 if ended < 0 else ended)
            print(f"{child.name}: {_how(ended)}, started again {child.restarts.count} times")
        worst = max(codes)
        print(f"{len(self.children)} collectors; ended by {self._why or 'the end of every collector'}")
        return worst


def run_supervisor(fleet: Fleet, *, deadline_s: float) -> int:
    """Run a fleet to its end; returns the exit code.

    Raises:
        ConfigError: another supervisor runs this data directory, or the metrics port can't be had.
        StoreError: the data directory can't be written.
    """
    for note in fleet.notes:
        log.info("%s", note)
    taken = f"{fleet.data}: another supervisor runs this directory; choose another data"
    with only_one(fleet.data / "supervisor" / "lock", taken), uvloop_runner() as runner:
        return runner.run(Supervisor(fleet, deadline_s=deadline_s).run())


_OF_THE_DEAD: Final = ("collector", "running", "restarts", "troubles")


def _how(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    meaning = {
        0: "", 1: " (the data fails a check)", 2: " (usage or configuration)", 3: " (the exchange or network)",
        4: " (disk)",
    }.get(code, "")  # fmt: skip
    return f"ended with {code}{meaning}"


def _record_command(path: Path) -> list[str]:
    return [sys.executable, "-m", "recorder", "record", str(path), "--until-stdin-ends"]
