"""The loose book that rows are replayed into, held against the engine's book under the sanitizers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[3] / "engine" / "core" / "src"
FLAGS = ["-O1", "-g", "-std=gnu11", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler")
def test_the_same_book_by_other_means(tmp_path: Path) -> None:
    program = tmp_path / "loose_books"
    sources = [SOURCES / name for name in ("tb_loose.c", "tb_book.c", "tb_find.c")]
    own = Path(__file__).with_name("loose_books.c")
    subprocess.run(["cc", *FLAGS, f"-I{SOURCES}", "-o", program, own, *sources], check=True, timeout=300)
    done = subprocess.run([program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    counts = re.fullmatch(
        r"(\d+) loads, (\d+) changes, (\d+) refused, (\d+) looks, (\d+) widened\n", done.stdout
    )
    assert counts is not None, done.stdout
    assert all(int(count) >= 10 for count in counts.groups())
    assert int(counts[2]) > 20_000
