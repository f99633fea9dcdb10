"""Live books under the thread sanitizer: what the writer and its readers share is touched by atomics alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[3] / "engine" / "core" / "src"
APART = {"tb_loose.c", "tb_replay.c", "tb_sample.c", "tb_wire.c", "tb_pages.c"}
"""What only looks at the archive's rows."""
FLAGS = ["-O1", "-g", "-std=gnu11", "-fsanitize=thread", "-pthread"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_nothing_is_shared_but_by_atomics(tmp_path: Path) -> None:
    probe, program = tmp_path / "probe", tmp_path / "threads"
    (tmp_path / "probe.c").write_text("int main(void) { return 0; }\n")
    built = subprocess.run(
        ["cc", *FLAGS, tmp_path / "probe.c", "-o", probe], capture_output=True, check=False
    )
    if built.returncode or subprocess.run([probe], capture_output=True, check=False).returncode:
        pytest.skip("cc can't build or run with the thread sanitizer")
    sources = [path for path in sorted(SOURCES.glob("*.c")) if path.name not in APART]
    # gcc warns that this sanitizer doesn't know fences: it is asked about atomics, tests/faults/ about order
    harness = Path(__file__).with_name("shared_threads.c")
    command = ["cc", *FLAGS, f"-I{SOURCES}", harness, *sources, "-o", program]
    built = subprocess.run(command, capture_output=True, check=False)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    looks, entries, torn = map(int, done.stdout.split())
    assert torn == 0
    assert looks > 0
    assert entries > 0
