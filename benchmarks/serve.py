"""``python -m benchmarks serve``: whether a collector feels the page, and whether the page is smooth.

One collector records 600 feeds at a fixed rate (the sender of `benchmarks.load`). Three ways take turns: nobody looks;
``tapebook serve`` runs and nobody looks; a browser (the distribution's chromium, no window, at nice 10) shows the
page with the busiest book open. For each, the collector's processor time a frame; for the last, the times between
the page's animation frames, its long tasks (over 50 ms), and what it was sent.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.load import _await, _config, _start
from benchmarks.load_frames import PREFIXES, build_cycle
from benchmarks.processes import cpu_s, resident_bytes
from benchmarks.timing import machine
from schemas.errors import ConfigError

__all__ = ["serve"]

WAYS: Final = ("nobody", "served", "watched")
WARM_S: Final = 8.0
_COUNT: Final = """
window.counted = { frames: [], tasks: [], messages: 0, bytes: 0 };
let last = 0;
function frame(now) {
  if (last) window.counted.frames.push(now - last);
  last = now;
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.counted.tasks.push(entry.duration);
}).observe({ entryTypes: ["longtask"] });
const Socket = window.WebSocket;
window.WebSocket = class extends Socket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", (event) => {
      window.counted.messages += 1;
      window.counted.bytes += event.data.length;
    });
  }
};
"""


def serve(rate: float, seconds: float, symbols: int, rounds: int) -> dict[str, Any]:
    """Run the benchmark.

    Args:
        rate: frames a second offered.
        seconds: of each way in each round.
        symbols: each with a book, trades and a ticker.
        rounds: how often the three ways take their turn.

    Raises:
        ConfigError: there is no chromium, or no playwright.
        DataError: a process failed.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise ConfigError("chromium is not installed; apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise ConfigError("playwright is not installed; pip install 'tapebook[test]'") from None
    cycle = build_cycle(symbols, int(rate * 10))
    whole_s = rounds * len(WAYS) * (seconds + WARM_S) + 60
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tapebook-serve-")))
        cycle.store(scratch / "cycle")
        sender = _start(
            stack, scratch, "sender", "-m", "benchmarks.load_sender", scratch / "cycle", "--rate", rate,
            "--seconds", whole_s, "--tick-ms", 1.0,
        )  # fmt: skip
        endpoint = _await(sender, scratch / "sender.out", r"listening on (\S+)")
        config = scratch / "config.toml"
        config.write_text("roll = false\n" + _config(endpoint, scratch / "data", symbols, 3600.0))
        collector = _start(stack, scratch, "collector", "-m", "recorder", "record", config)
        status = scratch / "data/journal/linear/status.json"
        while not status.exists() or json.loads(status.read_text())["frames"] < rate:
            time.sleep(0.2)
        wrapper = scratch / "chromium"
        wrapper.write_text(f'#!/bin/sh\nexec nice -n 10 {chromium} "$@"\n')
        wrapper.chmod(0o700)
        playwright = stack.enter_context(sync_playwright())
        for number in range(rounds * len(WAYS)):
            way = WAYS[number % len(WAYS)]
            found[way].append(_turn(way, scratch, collector, status, playwright, wrapper, seconds))
        collector.send_signal(signal.SIGTERM)
        collector.wait(120)
    nobody = float(np.median([turn["collector_us_per_frame"] for turn in found["nobody"]]))
    return {
        "benchmark": "serve",
        "feeds": symbols * len(PREFIXES),
        "offered_per_s": rate,
        "seconds_each": seconds,
        "collector_us_per_frame": {
            way: [turn["collector_us_per_frame"] for turn in turns] for way, turns in found.items()
        },
        "ratio_to_nobody": {
            way: round(float(np.median([turn["collector_us_per_frame"] for turn in turns])) / nobody, 3)
            for way, turns in found.items()
        },
        "served": [turn["server"] for turn in found["served"]],
        "watched": [{**turn["server"], **turn["page"]} for turn in found["watched"]],
        **machine(),
    }


def _turn(
    way: str,
    scratch: Path,
    collector: subprocess.Popen[bytes],
    status: Path,
    playwright: Any,
    chromium: Path,
    seconds: float,
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    with ExitStack() as stack:
        server = page = None
        if way != "nobody":
            server = _start(
                stack, scratch, "server", "-m", "recorder", "serve", "--data", scratch / "data", "--bind", "0"
            )
            url = _await(server, scratch / "server.out", r"on (http\S+)/ ")
        if way == "watched":
            browser = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
            stack.callback(browser.close)
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.add_init_script(_COUNT)
            page.goto(f"{url}/")
            page.locator(
                f'#feeds[aria-rowcount="{len(json.loads(status.read_text())["feeds"]) + 1}"]'
            ).wait_for()
        time.sleep(WARM_S)
        if page is not None:
            page.evaluate("window.counted = { frames: [], tasks: [], messages: 0, bytes: 0 }")
        began, frames, cpu = time.monotonic(), _frames(status), cpu_s(collector.pid)
        server_cpu = cpu_s(server.pid) if server is not None else 0.0
        time.sleep(seconds)
        passed = time.monotonic() - began
        done = _frames(status)
        out["collector_us_per_frame"] = round((cpu_s(collector.pid) - cpu) / (done - frames) * 1e6, 2)
        if server is not None:
            out["server"] = {
                "cpu_percent": round((cpu_s(server.pid) - server_cpu) / passed * 100, 1),
                "resident_mib": round(resident_bytes(server.pid) / (1 << 20), 1),
            }
        if page is not None:
            counted = page.evaluate("window.counted")
            gaps = np.array(counted["frames"])
            out["page"] = {
                "frames_per_s": round(len(gaps) / passed, 1),
                "frame_ms": {
                    name: round(float(np.quantile(gaps, q)), 1)
                    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
                },
                "long_tasks": len(counted["tasks"]),
                "longest_task_ms": round(max(counted["tasks"], default=0.0), 1),
                "messages_per_s": round(counted["messages"] / passed, 1),
                "kib_per_s": round(counted["bytes"] / passed / 1024, 1),
            }
    print(f"{way}: {json.dumps(out)}", file=sys.stderr)
    return out


def _frames(status: Path) -> int:
    """How many frames the collector has told of; a status is written once a second."""
    seen = json.loads(status.read_text())["frames"]
    while (now := int(json.loads(status.read_text())["frames"])) == seen:
        time.sleep(0.005)
    return now
