"""docs/nats.md keeps its word: its subscribers hear what the sink sends, and what it names is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nats", reason="needs the client of NATS (the nats extra)")

from recorder.sink.messages import MSG_ID, OMITTED, PART
from recorder.sink.state import SinkState
from tests.brokers import NatsServer, needs_nats
from tests.processes import PATIENCE_S, ROOT, Running, gateway, recording, wait_until

pytestmark = needs_nats

TEXT = (ROOT / "docs" / "nats.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.S | re.M)
SAYS = [
    rb"(?m)^\d+ feed 0 is live$(.*\n)+^\d+ \d+ \d+(\.\d+)?$",
    rb"(?m)^BTCUSDT (Buy|Sell) [0-9.]+ [0-9.]+$",
]


def listen(program: str, url: str, says: bytes, out: Path) -> None:
    """Run a subscriber until it says that."""
    assert 'SERVER = "nats://127.0.0.1:4222"' in program
    with out.open("wb") as file:
        listener = subprocess.Popen(
            [sys.executable, "-u", "-c", program.replace("nats://127.0.0.1:4222", url)],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(
            lambda: re.search(says, out.read_bytes()) is not None or listener.poll() is not None,
            f"it said {says!r}",
        )
        assert re.search(says, out.read_bytes()), out.read_text()
    finally:
        listener.kill()
        listener.wait(PATIENCE_S)


def test_the_subscribers(tmp_path: Path) -> None:
    assert len(PROGRAMS) == len(SAYS)
    market = ["--simulate", 5, "--category", "linear", "--symbol-count", 1, "--rate", 10]
    record = ["--symbols", "BTCUSDT", "--topics", "orderbook.50,publicTrade", "--no-roll"]
    (tmp_path / "data").mkdir()  # The sink refuses a missing one, and may be there before the recorder.
    with (
        gateway(tmp_path / "gateway", *market) as served,
        NatsServer(tmp_path / "server") as server,
        recording(
            tmp_path / "recorder", served.url, tmp_path / "data", *record, "--state-dir", tmp_path / "state"
        ) as recorder,
        Running(
            ["nats", "--data", tmp_path / "data", "--server", server.url, "--jetstream"], tmp_path / "sink"
        ) as sink,
    ):
        state = tmp_path / "data" / "nats" / "nats" / "linear.json"
        sink.until(lambda: state.exists() and b'"sent":0' not in state.read_bytes(), "something was sent")
        for number, program in enumerate(PROGRAMS):
            listen(program, server.url, SAYS[number], tmp_path / f"out-{number}")
        assert recorder.stop().code == 0
        done = sink.stop()
        assert done.code == 0, done.err
        assert re.fullmatch(r"linear: [\d,]+ sent, [\d,]+ acknowledged\n", done.out)


def test_what_is_named_is_there() -> None:
    for header in (MSG_ID, OMITTED, PART):
        assert f"`{header}`" in TEXT
    told = TEXT[TEXT.index("Delivered means") : TEXT.index("A sink that was away")]
    for name in re.findall(r"`([a-z_]+)`", told):
        assert name in SinkState.__struct_fields__
