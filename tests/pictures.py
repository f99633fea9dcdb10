"""Makes the pictures of docs/images: ``python -m tests.pictures`` (or ``make pictures``), of a simulated market."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from recorder.cli import app
from tests.simulated import record_evening

__all__ = ["IMAGES", "PICTURES"]

IMAGES: Final = Path(__file__).parents[1] / "docs" / "images"
PICTURES: Final = {
    "depth.png": "depth BTCUSDT --category linear --topic orderbook.200 --from 2026-03-06T00:00:00Z "
    "--to 2026-03-06T00:03:00Z --width 940 --height 520",
    "spread.png": "spread BTCUSDT --category linear --width 1080 --height 600",
    "trades.png": "trades BTCUSDT --category linear --width 1080 --height 600",
    "latency.png": "latency --category linear --width 1080 --height 760",
    "coverage.png": "coverage --category linear --symbol BTCUSDT --width 1080",
}
"""Pictures by name, and how they are drawn."""


def main() -> None:
    """Record a busy market and draw it."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "data"
        record_evening(data, rate=1.0, depths=(1, 50, 200))
        for name, arguments in PICTURES.items():
            output = IMAGES / name
            app(
                ["plot", *arguments.split(), "--data", str(data), "--output", str(output)],
                standalone_mode=False,
            )
            print(f"{output}: {output.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
