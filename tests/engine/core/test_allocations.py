"""In the steady state a frame costs no memory, and a book of fifty levels holds less than four KiB."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

SOURCES = Path(__file__).parents[3] / "engine" / "core" / "src"
FUNCTIONS = ("malloc", "calloc", "realloc", "aligned_alloc")
WARM, MEASURED = 4_000, 8_000


def _frames(random: Random) -> list[bytes]:
    """Deltas that move a book of fifty levels about, and the other kinds of frame between them."""
    books: tuple[dict[int, int], dict[int, int]] = ({}, {})
    middle = 600_000
    frames: list[bytes] = []

    def say(topic: str, kind: str, data: object, **more: int) -> None:
        message = {"topic": topic, "type": kind, "ts": 1_700_000_000_000 + len(frames), "data": data, **more}
        frames.append(json.dumps(message, separators=(",", ":")).encode())

    def book(topic: str, kind: str, sides: tuple[dict[int, int], ...], update_id: int) -> None:
        written = [
            [
                [f"{price / 10:.2f}", f"{size / 1000:.3f}"]
                for price, size in sorted(side.items(), reverse=not number)
            ]
            for number, side in enumerate(sides)
        ]
        data = {"s": "BTCUSDT", "b": written[0], "a": written[1], "u": update_id, "seq": update_id}
        say(topic, kind, data, cts=1_700_000_000_000 + len(frames))

    for update_id in range(1, WARM + MEASURED):
        if update_id == 1:
            for side, sign in zip(books, (-1, 1), strict=True):
                side.update({middle + sign * (1 + i): random.randint(1, 9999) for i in range(50)})
            book("orderbook.50.BTCUSDT", "snapshot", books, update_id)
            continue
        changes: tuple[dict[int, int], ...] = ({}, {})
        for side, change in zip(books, changes, strict=True):
            for price in random.sample(sorted(side), random.choice((0, 1, 2, 20))):
                change[price] = side[price] = random.randint(1, 9999)
            if random.random() < 0.3:  # one goes, another comes
                gone = random.choice(sorted(side))
                del side[gone]
                change[gone] = 0
                first = middle - 120 if side is books[0] else middle + 1
                free = random.choice([p for p in range(first, first + 120) if p not in side and p != gone])
                change[free] = side[free] = random.randint(1, 9999)
        book("orderbook.50.BTCUSDT", "delta", changes, update_id)
        if update_id % 5 == 0:
            best = ({max(books[0]): 5}, {min(books[1]): 7})
            book("orderbook.1.BTCUSDT", "snapshot", best, update_id)
            trades = [
                {"T": 1, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "60000.10", "i": f"{update_id}-{i}"}
                for i in range(random.randint(1, 5))
            ]
            say("publicTrade.BTCUSDT", "snapshot", trades)
            kind = "snapshot" if update_id == 5 else "delta"
            say("tickers.BTCUSDT", kind, {"symbol": "BTCUSDT", "lastPrice": f"{update_id}.5"}, cs=update_id)
    return frames


@pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux's linker and a C compiler"
)
def test_nothing_is_allocated_per_frame(tmp_path: Path) -> None:
    program, data = tmp_path / "allocations", tmp_path / "frames"
    wraps = [f"-Wl,--wrap={name}" for name in FUNCTIONS]
    own = Path(__file__).with_name("allocations.c")
    sources = [own, *sorted(SOURCES.glob("*.c"))]
    build = ["cc", "-O1", "-std=gnu11", f"-I{SOURCES}", *wraps, "-o", program, *sources, "-lm", "-lpthread"]
    subprocess.run(build, check=True, timeout=300)
    frames = _frames(Random(20_261_121))
    data.write_bytes(b"".join(struct.pack("=I", len(frame)) + frame for frame in frames))
    done = subprocess.run([program, data, str(WARM)], capture_output=True, text=True, check=True, timeout=120)
    found = re.fullmatch(r"(\d+) bytes a feed\n(\d+) frames, (\d+) warm, (-?\d+) asked\n", done.stdout)
    assert found is not None, done.stdout
    bytes_a_feed, applied, warm, asked = map(int, found.groups())
    assert applied == len(frames) > WARM + MEASURED
    assert warm > 0  # what is counted is counted
    assert asked == 0
    assert bytes_a_feed < 4096
