"""Readers beside a writer that is killed and started again: ``python -m tests.shared_books.run --reads 100000000``.

Prints one JSON object; exits with 1 if any read was torn or went backward.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from engine import SharedBook
from recorder.live_books import open_book
from tests.processes import PATIENCE_S, ROOT, wait_until

__all__ = ["Writer", "build_reader", "run"]

SOURCES = ROOT / "engine" / "core" / "src"
TOPIC = "orderbook.50.BTCUSDT"


def build_reader(directory: Path) -> Path:
    """Compile the C reader."""
    program = directory / "reader"
    subprocess.run(
        ["cc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", f"-I{SOURCES}",
         str(ROOT / "tests" / "shared_books" / "reader.c"), str(SOURCES / "tb_book.c"),
         str(SOURCES / "tb_find.c"), "-o", str(program)],
        check=True,
    )  # fmt: skip
    return program


class Writer:
    """A writer's process, which has published its first book once this is made; a context manager that ends it.

    Args:
        data: its data directory.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.shared_books.writer", str(data)], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        """As nothing can be done against. Again is fine."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree((self._data / "live" / "linear").resolve(), ignore_errors=True)  # what it left


def _wait_for(trouble: str, book: SharedBook) -> None:
    wait_until(lambda: book.trouble() == trouble, f"a reader notices: {trouble}")


def run(readers: int, reads: int, kills: int, seconds_between: float) -> dict[str, Any]:
    """Let so many readers read so often each; kill the writer so many times meanwhile, and start it again."""
    with TemporaryDirectory(prefix="tapebook-shared-") as directory:
        data = Path(directory) / "data"
        data.mkdir()
        program = build_reader(Path(directory))
        running: list[subprocess.Popen[bytes]] = []
        writer = Writer(data)
        noticed: list[float] = []
        try:
            command = [str(program), str(data / "live" / "linear"), TOPIC, str(reads), str(kills + 1)]
            running += [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(readers)]
            for _ in range(kills):
                time.sleep(seconds_between)
                book = open_book(data, "BTCUSDT")
                killed = time.monotonic()
                writer.kill()
                _wait_for("writer dead", book)
                noticed.append(time.monotonic() - killed)
                assert book.best() is None
                writer = Writer(data)
                assert book.best() is None
            told = [
                json.loads(reader.communicate(timeout=max(PATIENCE_S, reads / 10_000))[0])
                for reader in running
            ]
        finally:
            writer.__exit__()
            for process in running:
                process.kill()
                process.communicate()
    return {
        "reads": sum(each["reads"] for each in told),
        "believed": sum(each["good"] for each in told),
        "states_seen": sum(each["states"] for each in told),
        "conflicts_caught": sum(each["conflicts"] for each in told),
        "torn": sum(each["torn"] for each in told),
        "backward": sum(each["backward"] for each in told),
        "starts_seen": sum(each["starts"] for each in told),
        "kills": kills,
        "noticed_after_s": [round(seconds, 3) for seconds in noticed],
    }


def main() -> int:
    """Run it as the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--reads", type=int, default=100_000_000, help="of all readers together (%(default)s)"
    )
    parser.add_argument("--readers", type=int, default=4, help="processes (%(default)s)")
    parser.add_argument("--kills", type=int, default=5, help="of the writer (%(default)s)")
    parser.add_argument("--seconds-between", type=float, default=3.0, help="kills (%(default)s)")
    options = parser.parse_args()
    done = run(options.readers, options.reads // options.readers, options.kills, options.seconds_between)
    print(json.dumps(done, indent=2))
    return int(done["torn"] > 0 or done["backward"] > 0)


if __name__ == "__main__":
    sys.exit(main())
