"""The fuzz targets on other processors: without vectors, with AVX2 and no more, of another architecture."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.test_fuzz import FUZZ, corpus, counts

FRAMES, PROGRAMS = 60_000, 4_000
# compiler, emulator, its arguments, whether levels are read by vectors there
PROCESSORS = {
    "x86-64 without AVX2": ("gcc", "qemu-x86_64", ["-cpu", "Nehalem"], False),
    "x86-64 with AVX2": ("gcc", "qemu-x86_64", ["-cpu", "Haswell"], True),
    "ARM, 64 bits": ("aarch64-linux-gnu-gcc", "qemu-aarch64", [], False),
}


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_core_is_the_same_on_another_processor(tmp_path: Path, processor: str) -> None:
    compiler, emulator, arguments, has_vectors = PROCESSORS[processor]
    emulate = shutil.which(f"{emulator}-static") or shutil.which(emulator)
    if shutil.which(compiler) is None or shutil.which("make") is None or emulate is None:
        pytest.skip(f"no {compiler}, make or {emulator} (Debian: gcc-aarch64-linux-gnu, qemu-user-static)")
    if compiler == "gcc" and platform.machine() != "x86_64":
        pytest.skip("this machine's compiler is not for x86-64")
    built = subprocess.run(
        ["make", "-C", FUZZ, "plain", "plain-decoder", f"OUT={tmp_path}", f"CC={compiler} -static"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    for name, seeds, count in (
        ("plain-decoder", "corpus_decoder", FRAMES),
        ("plain", "corpus", PROGRAMS),
    ):
        options = ["--executions", str(count), "--seed", "5", "--dictionary", FUZZ / "feeds.dict"]
        command = [
            emulate,
            *arguments,
            tmp_path / name,
            "--crash",
            tmp_path / "crash",
            *options,
            *corpus(seeds),
        ]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        counted = counts(done.stdout)
        assert counted["executions"] == count
        assert counted["applied"] > count // 10
        if name == "plain-decoder":  # numbers that only one of the two fast paths takes
            assert (counted["only_vectors"] > 0, counted["only_portably"] > 0) == (has_vectors, has_vectors)
            assert counted["fast"] > count // 20
