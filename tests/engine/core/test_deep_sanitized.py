"""The core's RPI and full books under the address and undefined-behaviour sanitizers, fed what is damaged, too."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[3] / "engine" / "core" / "src"
READERS = {"tb_replay.c", "tb_sample.c"}  # of rows; they never see a frame


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler")
def test_no_access_out_of_bounds_no_leak_no_wrong_digest(tmp_path: Path) -> None:
    program = tmp_path / "deep_feeds"
    sources = [path for path in sorted(SOURCES.glob("*.c")) if path.name not in READERS]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    own = Path(__file__).with_name("deep_feeds.c")
    build = ["cc", "-O1", "-g", "-std=gnu11", *sanitizers, f"-I{SOURCES}", "-o", program, own, *sources]
    subprocess.run([*build, "-lm", "-lpthread"], check=True, timeout=300)
    done = subprocess.run([program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"(\d+) live, (\d+) undecodable, (\d+) rows\n", done.stdout)
    assert found is not None, done.stdout
    assert all(int(count) > 1_000 for count in found.groups())
