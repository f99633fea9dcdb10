"""A short run of the fuzz target over the C core (tests/fuzz/README.md); `make fuzz` runs longer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent / "fuzz"
EXECUTIONS = 20_000
SANITIZER_PROBE = "int main(void) { return 0; }\n"


def compiler() -> str | None:
    """The C compiler that the extensions would be built with, if it is there."""
    named = os.environ.get("CC", "cc").split()[0]
    return shutil.which(named) or shutil.which("gcc") or shutil.which("clang")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-alone driver, compiled under the sanitizers."""
    cc, make = compiler(), shutil.which("make")
    if cc is None or make is None:
        pytest.skip("no C compiler or no make")
    out = tmp_path_factory.mktemp("fuzz")
    probe = out / "probe.c"
    probe.write_text(SANITIZER_PROBE)
    built = subprocess.run(
        [cc, "-fsanitize=address,undefined", "-o", out / "probe", probe], capture_output=True, check=False
    )
    if built.returncode or subprocess.run([out / "probe"], capture_output=True, check=False).returncode:
        pytest.skip(f"{cc} can't build or run with the address and undefined-behaviour sanitizers")
    made = subprocess.run(
        [make, "-C", FUZZ, "driver", f"OUT={out}", f"CC={cc}"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return out / "driver"


def run(driver: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    crash = driver.parent / "crash"
    crash.unlink(missing_ok=True)
    return subprocess.run(
        [driver, "--crash", crash, *arguments], capture_output=True, text=True, errors="replace", check=False
    )


def counts(output: str) -> dict[str, int]:
    return {name: int(value) for name, value in (item.split("=") for item in output.split())}


def corpus() -> list[Path]:
    return sorted((FUZZ / "corpus").iterdir())


def test_the_core_holds_what_it_promises_under_mutated_programs(driver: Path) -> None:
    done = run(
        driver, "--executions", str(EXECUTIONS), "--seed", "1", "--dictionary", FUZZ / "feeds.dict", *corpus()
    )
    assert done.returncode == 0, f"{done.stderr[-4000:]}\nthe input is in {driver.parent / 'crash'}"
    counted = counts(done.stdout)
    assert counted["executions"] == EXECUTIONS
    # a run that only met refused frames would prove little
    assert counted["applied"] > EXECUTIONS
    assert counted["undecodable"] > EXECUTIONS // 2
    assert min(counted.values()) > EXECUTIONS // 100


def test_the_corpus_reaches_every_outcome(driver: Path) -> None:
    done = run(driver, "--executions", "0", *corpus())
    assert done.returncode == 0, done.stderr[-4000:]
    counted = counts(done.stdout)
    assert counted["executions"] == len(corpus())
    assert min(counted.values()) > 0


def test_the_same_seed_takes_the_same_steps(driver: Path) -> None:
    outputs = {
        run(driver, "--executions", "500", "--seed", seed, *corpus()).stdout for seed in ("5", "5", "6")
    }
    assert len(outputs) == 2


def test_no_corpus_is_refused(driver: Path) -> None:
    done = run(driver, "--executions", "10")
    assert done.returncode == 2
    assert "corpus" in done.stderr
