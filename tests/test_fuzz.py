"""Short runs of the fuzz targets over the C core (tests/fuzz/README.md); the Makefile has longer ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent / "fuzz"
PROGRAMS = 20_000
FRAMES = 40_000
SANITIZER_PROBE = "int main(void) { return 0; }\n"

Build = Callable[[str], Path]


def compiler() -> str | None:
    """The C compiler that the extensions would be built with, if it is there."""
    named = os.environ.get("CC", "cc").split()[0]
    return shutil.which(named) or shutil.which("gcc") or shutil.which("clang")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Makes a stand-alone driver of tests/fuzz/Makefile, compiled under the sanitizers."""
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

    def build_target(name: str) -> Path:
        made = subprocess.run(
            [make, "-C", FUZZ, name, f"OUT={out}", f"CC={cc}"], capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
        return out / name

    return build_target


@pytest.fixture(scope="module")
def driver(build: Build) -> Path:
    """Runs programs over two engines."""
    return build("driver")


@pytest.fixture(scope="module")
def decoder(build: Build) -> Path:
    """Decodes frames every way."""
    return build("decoder")


def run(driver: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    crash = driver.parent / "crash"
    crash.unlink(missing_ok=True)
    return subprocess.run(
        [driver, "--crash", crash, *arguments], capture_output=True, text=True, errors="replace", check=False
    )


def mutations(driver: Path, count: int, seeds: list[Path]) -> dict[str, int]:
    """The counts of a run that found nothing."""
    done = run(driver, "--executions", str(count), "--seed", "1", "--dictionary", FUZZ / "feeds.dict", *seeds)
    assert done.returncode == 0, f"{done.stderr[-4000:]}\nthe input is in {driver.parent / 'crash'}"
    return counts(done.stdout)


def counts(output: str) -> dict[str, int]:
    return {name: int(value) for name, value in (item.split("=") for item in output.split())}


def corpus(name: str = "corpus") -> list[Path]:
    return sorted((FUZZ / name).iterdir())


def test_the_core_holds_what_it_promises_under_mutated_programs(driver: Path) -> None:
    counted = mutations(driver, PROGRAMS, corpus())
    assert counted["executions"] == PROGRAMS
    # a run that only met refused frames would prove little
    assert counted["applied"] > PROGRAMS
    assert counted["undecodable"] > PROGRAMS // 2
    assert min(counted.values()) > PROGRAMS // 100


def test_the_corpus_reaches_every_outcome(driver: Path) -> None:
    done = run(driver, "--executions", "0", *corpus())
    assert done.returncode == 0, done.stderr[-4000:]
    counted = counts(done.stdout)
    assert counted["executions"] == len(corpus())
    assert min(counted.values()) > 0


def test_every_way_of_decoding_agrees_under_mutated_frames(decoder: Path) -> None:
    counted = mutations(decoder, FRAMES, corpus("corpus_decoder"))
    assert counted["executions"] == FRAMES
    assert counted["fast"] > FRAMES // 20
    assert counted["fast_portably"] > FRAMES // 20
    assert counted["applied"] > FRAMES // 8
    assert counted["changed"] > FRAMES
    assert counted["undecodable"] > FRAMES // 4
    assert counted["unsorted"] > FRAMES // 100
    assert min(counted[name] for name in ("widened", "trades", "tickers", "numbers", "controls")) > 0


def test_the_decoder_corpus_reaches_every_outcome(decoder: Path) -> None:
    seeds = corpus("corpus_decoder")
    done = run(decoder, "--executions", "0", *seeds)
    assert done.returncode == 0, done.stderr[-4000:]
    counted = counts(done.stdout)
    assert counted["executions"] == len(seeds) < 300
    assert min(counted.values()) > 0


@pytest.mark.parametrize(("target", "seeds"), [("driver", "corpus"), ("decoder", "corpus_decoder")])
def test_the_same_seed_takes_the_same_steps(build: Build, target: str, seeds: str) -> None:
    outputs = {
        run(build(target), "--executions", "500", "--seed", seed, *corpus(seeds)).stdout
        for seed in ("5", "5", "6")
    }
    assert len(outputs) == 2


def test_no_corpus_is_refused(driver: Path) -> None:
    done = run(driver, "--executions", "10")
    assert done.returncode == 2
    assert "corpus" in done.stderr
