"""The command itself: ready line, signals, exit codes."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from schemas.names import Category
from tests.processes import PATIENCE_S

Make = Callable[..., Any]
ROOT = Path(__file__).parents[3]


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Any]]:
    started: list[asyncio.subprocess.Process] = []

    async def run(*arguments: str | Path) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "recorder.gateway", *map(str, arguments)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        return (await process.stdout.readline()).decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_replay_until_a_signal(
    start: Make, make_lines: Make, write_lines: Make, tmp_path: Path, number: int
) -> None:
    lines = make_lines(Category.LINEAR, ["orderbook.50.BTCUSDT"], 2)
    path = write_lines(lines, "feed.gz")
    ledger = tmp_path / "ledger.jsonl"
    process = await start("--replay", path, "--speed", "max", "--settle", "0", "--ledger", ledger)
    line = await ready(process)
    found = re.fullmatch(
        rf"gateway listening on (ws://127\.0\.0\.1:\d+) \(linear: replay {re.escape(str(path))}\)\n", line
    )
    assert found is not None
    async with connect(found.group(1) + "/v5/public/linear", compression=None, max_size=None) as client:
        await client.send(json.dumps({"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]}))
        got: list[bytes] = []
        while len(got) < len(lines) + 1:
            got.append(await client.recv(decode=False))
        assert got[1:] == [payload for _, payload in lines]
        process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == 0
    output, errors = await process.communicate()
    assert (output, errors) == (b"", b"")
    assert json.loads(ledger.read_text().splitlines()[-1]) == {"event": "close", "connection": 1}


async def test_simulate_names_its_categories(start: Make) -> None:
    process = await start("--simulate", "3", "--symbol-count", "2", "--rate", "0.5")
    assert re.fullmatch(
        r"gateway listening on ws://127\.0\.0\.1:\d+ \(spot, linear, inverse, option, spread: simulate 3\)\n",
        await ready(process),
    )
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE_S):
        assert await process.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to send"),
        (["--replay", "nothing-here.gz"], "no such file"),
        (["--simulate", "1", "--fault", "lose=0.1"], "drop=SHARE"),
        (["--simulate", "1", "--speed", "fast"], "speed 'fast'"),
        (["--simulate", "1", "--symbol-count", "0"], "symbol count 0"),
        (["--simulate", "1", "--ledger", "/no/such/directory/ledger"], "ledger"),
        (["--simulate", "one"], "Error"),
        (["--simulate", "1", "--category", "margin"], "Error"),
    ],
)
async def test_usage_errors_exit_with_2(start: Make, arguments: list[str], words: str) -> None:
    process = await start(*arguments)
    async with asyncio.timeout(PATIENCE_S):
        output, errors = await process.communicate()
    assert process.returncode == 2
    assert words in errors.decode()
    assert b"Traceback" not in errors
    assert b"listening" not in output


async def test_a_malformed_line_exits_with_2(start: Make, tmp_path: Path) -> None:
    path = tmp_path / "feed.gz"
    path.write_bytes(gzip.compress(b'1 {"topic":"tickers.X"}\nbroken\n'))
    process = await start("--replay", path)
    async with asyncio.timeout(PATIENCE_S):
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert f"{path}, line 2: expected".encode() in errors
