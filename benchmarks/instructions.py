"""How many instructions does a frame take? Counts, for change detection: they hardly differ from run to run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.feed import CATEGORY, Feed, with_books
from benchmarks.timing import machine
from engine.topics import parse_feed
from schemas.errors import ConfigError, DataError

__all__ = [
    "ALLOWED_GROWTH",
    "CORE",
    "HERE",
    "Counts",
    "build",
    "compare",
    "count_frames",
    "instructions",
    "parse_callgrind",
    "read_baseline",
    "run_command",
    "tool",
]

HERE: Final = Path(__file__).resolve().parent
CORE: Final = HERE.parent / "engine" / "core" / "src"
ALLOWED_GROWTH: Final = 0.05
"""Share by which instructions per frame may exceed the baseline's."""

WARM_SHARE: Final = 0.2
"""Share of the frames that go before those that are counted: snapshots, and memory that is taken once."""

WARNINGS: Final = ("-Wall", "-Wextra", "-Wno-unused-function", "-Werror=incompatible-pointer-types")
FLAGS: Final = ("-O3", "-g", "-std=gnu11", "-pthread", *WARNINGS)
KINDS: Final = ("book", "trades", "ticker")
EVENTS: Final = {
    "Ir": "instructions",
    "Bc": "conditional_branches",
    "Bcm": "mispredicted_branches",
    "Bim": "mispredicted_jumps",
}
ALLOCATORS: Final = ("malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "free")
SHOWN: Final = 12


@dataclass
class Counts:
    """What callgrind counted.

    Attributes:
        totals: by event (``Ir``, ``Bc``, …).
        functions, files: own instructions by function and by source file (inlined code counts where it is written).
        calls: how often each function was called.
    """

    totals: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)


def parse_callgrind(text: str) -> Counts:
    """Read a profile written with ``--compress-strings=no --compress-pos=no`` (format: valgrind manual, cl-format).

    Raises:
        DataError: no ``events:`` line, or a line of costs before it.
    """
    counts = Counts()
    events: list[str] = []
    function = file = called = ""
    inclusive = False
    for number, line in enumerate(text.splitlines(), 1):
        name, separator, value = line.partition("=")
        if line[:1].isdigit():
            numbers = [int(part) for part in line.split()[1:]]
            if not events or len(numbers) > len(events):
                raise DataError(
                    f"callgrind's profile, line {number}: found {line!r}, expected at most {events}"
                )
            if not inclusive:
                counts.totals.update(dict(zip(events, numbers, strict=False)))
                counts.functions[function] += numbers[0]
                counts.files[file] += numbers[0]
            inclusive = False
        elif line.startswith("events:"):
            events = line.split()[1:]
        elif separator and name == "fn":
            function = _plain(value)
        elif separator and name in ("fl", "fi", "fe"):
            file = Path(value).name
        elif separator and name == "cfn":
            called = _plain(value)
        elif separator and name == "calls":
            counts.calls[called] += int(value.split()[0])
            inclusive = True
    if not events:
        raise DataError("callgrind's profile has no line of events; expected one written by valgrind 3")
    return counts


def _plain(function: str) -> str:
    """A function's name without what compilers and callgrind append to it."""
    return re.split(r"[.']", function, maxsplit=1)[0]


def instructions(feed: Feed, baseline: dict[str, Any] | None = None) -> dict[str, Any]:
    """Count what applying the feed costs, once for the books alone and once with archive rows.

    Args:
        feed: any topics that the engine knows.
        baseline: an earlier result to compare with; ``regressions`` then names what grew by more than 5 %.

    Raises:
        ConfigError: valgrind or cc is missing, or the baseline is of other frames.
        DataError: building or running the harness failed, or its books are not those of the engine.
    """
    compiler, valgrind = tool("cc"), tool("valgrind")
    warm = int(len(feed.frames) * WARM_SHARE)
    if warm == 0:
        raise ConfigError(f"found {len(feed.frames)} frames, expected at least {round(1 / WARM_SHARE)}")
    engine = with_books(feed)
    digests = 0
    for index in range(engine.feed_count):
        digests ^= engine.digest(index)
    result: dict[str, Any] = {
        "benchmark": "instructions",
        "unit": "per frame",
        **feed.describe(),
        "warm_frames": warm,
        "counted_frames": len(feed.frames) - warm,
    }
    with TemporaryDirectory(prefix="tapebook-benchmark-") as directory:
        program = build(compiler, Path(directory))
        frames = Path(directory) / "frames"
        frames.write_bytes(b"".join(len(frame).to_bytes(4, "little") + frame for frame in feed.frames))
        for name, columns in (("books", False), ("books_and_rows", True)):
            counts = count_frames(valgrind, program, frames, warm, columns, feed, digests)
            result[name] = _section(counts, len(feed.frames) - warm)
    result["compiler"] = _first_line([compiler, "--version"])
    result["flags"] = [*FLAGS, *_unit_flags(compiler)]
    result["valgrind"] = _first_line([valgrind, "--version"])
    result |= machine(["tapebook"])
    if baseline is not None:
        result["baseline"] = compare(result, baseline)
    return result


def compare(result: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
    """Hold a result against an earlier one.

    Returns:
        ``growth`` of instructions per frame by section as a share, ``regressions`` (sections that grew by more than
        ``ALLOWED_GROWTH``), and whether both were made by the ``same_compiler``.

    Raises:
        ConfigError: the baseline is of other frames, or not a result of this benchmark.
    """
    growth = {}
    try:
        for key in ("source", "frames", "bytes_per_frame", "counted_frames"):
            if result[key] != baseline[key]:
                raise ConfigError(
                    f"the baseline has {key} {baseline[key]}, found {result[key]}: compare counts of the same frames, "
                    "or make a new baseline"
                )
        for section in ("books", "books_and_rows"):
            growth[section] = round(
                result[section]["instructions"] / baseline[section]["instructions"] - 1, 4
            )
        same_compiler = result["compiler"] == baseline["compiler"]
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise ConfigError(
            f"the baseline has no {error}; expected what `python -m benchmarks instructions` printed"
        ) from error
    return {
        "growth": growth,
        "regressions": [section for section, share in growth.items() if share > ALLOWED_GROWTH],
        "same_compiler": same_compiler,
    }


def read_baseline(path: Path) -> dict[str, Any]:
    """Read an earlier result. Raises ConfigError when it isn't one."""
    try:
        baseline = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; expected a readable file") from error
    except ValueError as error:
        raise ConfigError(
            f"{path}: {error}; expected JSON from `python -m benchmarks instructions`"
        ) from error
    if not isinstance(baseline, dict) or baseline.get("benchmark") != "instructions":
        raise ConfigError(f"{path}: expected JSON from `python -m benchmarks instructions`")
    return baseline


def tool(name: str) -> str:
    """Path of a program. Raises ConfigError when it is not installed."""
    path = shutil.which(name)
    if path is None:
        raise ConfigError(f"{name} is missing, so nothing was counted; apt-get install valgrind gcc, say")
    return path


def run_command(command: list[str], what: str) -> str:
    """What a command prints. Raises DataError when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DataError(f"{what} failed with exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _first_line(command: list[str]) -> str:
    return run_command(command, command[0]).partition("\n")[0]


def _unit_flags(compiler: str) -> list[str]:
    """The core is one unit of optimisation where setup.py makes it one: with gcc."""
    is_gcc = "Free Software Foundation" in run_command([compiler, "--version"], compiler)
    return ["-flto=auto", "-fvisibility=hidden"] if is_gcc else []


def build(compiler: str, directory: Path) -> Path:
    """Compile the harness. Raises DataError when that fails."""
    program = directory / "instructions"
    sources = [str(HERE / "instructions.c"), *sorted(map(str, CORE.glob("*.c")))]
    run_command(
        [compiler, *FLAGS, *_unit_flags(compiler), f"-I{CORE}", *sources, "-o", str(program)],
        "compiling the harness",
    )
    return program


def count_frames(
    valgrind: str,
    program: Path,
    frames: Path,
    warm: int,
    columns: bool,
    feed: Feed,
    digests: int,
    publish: Path | None = None,
) -> Counts:
    """Run the harness under callgrind. Raises DataError unless it ends with the engine's books."""
    profile = program.with_name("profile")
    topics = []
    for topic in feed.topics:
        kind, depth, symbol = parse_feed(CATEGORY, topic)
        topics.append(f"{topic}:{KINDS.index(kind)}:{depth}:{symbol}")
    printed = run_command(
        [
            valgrind,
            "--tool=callgrind",
            "--quiet",
            "--branch-sim=yes",
            "--compress-strings=no",
            "--compress-pos=no",
            "--collect-atstart=no",
            "--toggle-collect=measured*",
            f"--callgrind-out-file={profile}",
            str(program),
            *([] if publish is None else ["--publish", str(publish)]),
            str(frames),
            str(warm),
            str(int(columns)),
            *topics,
        ],
        "counting",
    )
    found = json.loads(printed)
    expected = {"warm": warm, "measured": len(feed.frames) - warm, "digests": f"{digests:016x}"}
    if found != expected:
        raise DataError(f"the harness ended with {found}, expected {expected}: its counts would mean nothing")
    return parse_callgrind(profile.read_text(encoding="utf-8"))


def _section(counts: Counts, frames: int) -> dict[str, Any]:
    total = counts.totals["Ir"]
    return {
        **{name: round(counts.totals[event] / frames, 3) for event, name in EVENTS.items()},
        "allocator_calls_in_all": {name: counts.calls[name] for name in ALLOCATORS if counts.calls[name]},
        "functions": {name: round(own / total, 4) for name, own in counts.functions.most_common(SHOWN)},
        "files": {name: round(own / total, 4) for name, own in counts.files.most_common(SHOWN)},
    }
