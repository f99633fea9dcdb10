"""``tapebook demo``: the whole path in a quarter of a minute, offline, with the very commands a user would type."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from schemas.errors import ConfigError, TapebookError

__all__ = ["run_demo"]

SYMBOLS = "BTCUSDT,ETHUSDT"
READY = re.compile(r"listening on (ws://\S+)")


def run_demo(data: Path, seconds: float, seed: int) -> int:
    """Record a simulated market for some seconds, then verify it and ask it questions.

    Args:
        data: where to record to; must not exist.
        seconds: how long to record.
        seed: of the simulated market.

    Returns:
        0, or the exit code of the first command that failed.

    Raises:
        ConfigError: the directory exists.
        TapebookError: the gateway did not start.
    """
    if data.exists():
        raise ConfigError(f"{data} exists already; remove it, or choose another directory with --data")
    print("This is tapebook's tour. Each line that begins with $ is a command you can type yourself.\n")
    gateway = _start(["gateway", "--simulate", str(seed), "--category", "linear"])
    try:
        endpoint = _endpoint(gateway)
        code = _tour(data, seconds, endpoint)
    finally:
        gateway.terminate()
        gateway.wait(10)
        assert gateway.stdout is not None
        gateway.stdout.close()
    if code == 0:
        print(f'\nThe recording stays in {data}/: look around with `tapebook query --data {data} "..."`.')
        print("The same against the real exchange:")
        print(f"  tapebook record --category linear --symbols {SYMBOLS} --data live-data")
    return code


def _tour(data: Path, seconds: float, endpoint: str) -> int:
    steps: list[tuple[str, list[str]]] = [
        (
            f"Record for {seconds:g} s over a real WebSocket: raw frames first, books beside them, Parquet at the end.",
            ["record", "--category", "linear", "--symbols", SYMBOLS,
             "--topics", "orderbook.1,orderbook.50,orderbook.200,publicTrade,tickers",
             "--endpoint", endpoint, "--data", str(data), "--duration", f"{seconds:g}"],
        ),
        ("Is it complete, is it right? Journal and archive are replayed and held against each other.",
         ["verify", "--data", str(data)]),
        ("What was traded?",
         ["query", "--data", str(data),
          "SELECT symbol, count(*) AS trades, min(price) AS low, max(price) AS high, "
          "round(sum(price * size) / sum(size), 2) AS vwap FROM trades GROUP BY symbol ORDER BY symbol"]),
        ("How late was it? Push to receive, in milliseconds.",
         ["query", "--data", str(data),
          "SELECT 'orderbook.' || depth AS topic, count(*) AS messages, "
          "round(quantile_cont(epoch_ns(receive_time) - epoch_ns(push_time), 0.5) / 1e6, 3) AS p50_ms, "
          "round(quantile_cont(epoch_ns(receive_time) - epoch_ns(push_time), 0.99) / 1e6, 3) AS p99_ms "
          "FROM book_updates WHERE kind != 'keyframe' GROUP BY depth ORDER BY depth"]),
        ("Was anything lost?",
         ["query", "--data", str(data), "SELECT topic, cause, count(*) AS gaps FROM gaps GROUP BY ALL ORDER BY ALL"]),
    ]  # fmt: skip
    for title, arguments in steps:
        code = _run(title, arguments)
        if code:
            return code
    at = _middle(data)
    return _run(
        "What did the book look like half-way through?",
        ["book", "BTCUSDT", "--category", "linear", "--topic", "orderbook.50", "--at", at, "--clock", "receive",
         "--depth", "5", "--data", str(data)],
    )  # fmt: skip


def _middle(data: Path) -> str:
    from recorder.manifest import read_manifest
    from schemas.names import Table
    from schemas.time import format_ns

    files = read_manifest(data / "archive").select(Table.COVERAGE)
    spans = [file.receive_ns for file in files if file.receive_ns is not None]
    ends = [segment.end_ns for segment in read_manifest(data / "archive").segments.values()]
    return format_ns((min(span[0] for span in spans) + max(ends)) // 2)


def _typed(arguments: list[str]) -> str:
    """The arguments as a person would type them: SQL in double quotes, which it never holds itself."""
    return " ".join(f'"{a}"' if "'" in a and '"' not in a else shlex.quote(a) for a in arguments)


def _run(title: str, arguments: list[str]) -> int:
    print(f"{title}\n$ tapebook {_typed(arguments)}", flush=True)
    started = time.monotonic()
    code = subprocess.run([sys.executable, "-m", "recorder", *arguments], check=False).returncode
    print(f"({time.monotonic() - started:.1f} s)\n" if not code else f"exit code {code}", flush=True)
    return code


def _start(arguments: list[str]) -> subprocess.Popen[str]:
    print(f"The embedded exchange, on a port of this machine:\n$ tapebook {_typed(arguments)}", flush=True)
    return subprocess.Popen([sys.executable, "-m", "recorder", *arguments], stdout=subprocess.PIPE, text=True)


def _endpoint(gateway: subprocess.Popen[str]) -> str:
    assert gateway.stdout is not None
    line = gateway.stdout.readline()
    match = READY.search(line)
    if match is None:
        raise TapebookError(f"the gateway did not start: {line.strip() or 'it ended without a word'}")
    print(f"{line.strip()}\n")
    return match.group(1)
