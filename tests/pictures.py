"""Makes the pictures of docs/images: ``python -m tests.pictures`` (or ``make pictures``), of a simulated market."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from recorder.cli import app
from tests import watch_pictures
from tests.simulated import record_evening, record_hours

__all__ = ["IMAGES", "OF_EVENING", "OF_HOURS"]

IMAGES: Final = Path(__file__).parents[1] / "docs" / "images"
OF_HOURS: Final = {"depth.png": "depth BTCUSDT --category linear --width 1080 --height 600"}
OF_EVENING: Final = {
    "spread.png": "spread BTCUSDT --category linear --width 1080 --height 600",
    "trades.png": "trades BTCUSDT --category linear --width 1080 --height 600",
    "latency.png": "latency --category linear --width 1080 --height 760",
    "coverage.png": "coverage --category linear --width 1080",
}
"""Pictures by name, and how they are drawn; of which recording."""


def main() -> None:
    """Record two markets and draw them."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        hours, evening = Path(directory) / "hours", Path(directory) / "evening"
        record_hours(hours)
        _draw(hours, OF_HOURS)
        record_evening(evening, rate=1.0, depths=(1, 50, 200))
        _draw(evening, OF_EVENING)
    watch_pictures.make(IMAGES)


def _draw(data: Path, pictures: dict[str, str]) -> None:
    for name, arguments in pictures.items():
        output = IMAGES / name
        app(["plot", *arguments.split(), "--data", str(data), "--output", str(output)], standalone_mode=False)
        print(f"{output}: {output.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
