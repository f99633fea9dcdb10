"""How contenders are timed side by side, and what a result says about itself."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from schemas.errors import DataError

__all__ = ["ORJSON", "Contender", "Quotes", "Times", "check_quotes", "machine", "mantissas", "time_all"]

ORJSON = "orjson"
"""Name of the contender that ratios are taken to: ``orjson.loads`` of the same frames."""

Quotes = dict[str, tuple[int | None, ...]]
"""Per topic: bid price, bid size, ask price, ask size as mantissas at the symbol's exponents, None without a level."""


class Contender(ABC):
    """One way of doing the work that a benchmark is about.

    Attributes:
        name: under which its figures stand.
    """

    name: str

    def prepare(self) -> None:  # noqa: B027 (nothing to prepare is the rule)
        """Make what a pass starts from: empty books, decoded input. Not timed."""

    @abstractmethod
    def run(self) -> None:
        """Do the work once over the whole feed. Timed."""

    def timed(self) -> tuple[int, int]:
        """Do the work once; (processor time, wall time) that it took, in ns."""
        wall_start, start = time.perf_counter_ns(), time.process_time_ns()
        self.run()
        processor_ns = time.process_time_ns() - start
        return processor_ns, time.perf_counter_ns() - wall_start

    def quotes(self) -> Quotes | None:
        """The best levels that the last pass ended with, or None for a contender without books. Not timed."""
        return None


def check_quotes(contenders: Sequence[Contender], expected: Quotes) -> None:
    """Run every contender once, untimed, and compare the books that it ends with.

    Raises:
        DataError: a contender ended with other best levels, so that its time would be that of other work.
    """
    for contender in contenders:
        contender.prepare()
        contender.run()
        found = contender.quotes()
        if found is None:
            continue
        for topic, quote in expected.items():
            if found.get(topic) != quote:
                raise DataError(
                    f"{contender.name} ends {topic} with {found.get(topic)}, expected {quote} "
                    "(bid price, bid size, ask price, ask size); its time would mean nothing"
                )


def mantissas(values: Iterable[Any], decimals: Sequence[int]) -> tuple[int | None, ...]:
    """Floats, decimals or None as mantissas: prices and sizes in turn."""
    return tuple(
        None if value is None else round(Decimal(str(value)).scaleb(decimals[index % 2]))
        for index, value in enumerate(values)
    )


@dataclass(frozen=True)
class Times:
    """What a run of several contenders took.

    Attributes:
        by_contender: ns of processor time per unit, of each repetition in their order.
        wall_ratio: wall time of all passes over their processor time: 1 on a machine that nobody else uses.
    """

    by_contender: dict[str, list[float]]
    wall_ratio: float

    def figures(self) -> dict[str, dict[str, float]]:
        """Minimum and median of each contender."""
        return {
            name: {"min_ns": round(min(taken), 1), "median_ns": round(statistics.median(taken), 1)}
            for name, taken in self.by_contender.items()
        }

    def ratios(self, to: str = ORJSON) -> dict[str, dict[str, float]]:
        """Each contender's time as a multiple of another's.

        ``min`` is the ratio of the two minima; ``median`` is the median over repetitions of the ratio within each,
        which a machine that is slow for a while disturbs least.
        """
        base = self.by_contender[to]
        return {
            name: {
                "min": round(min(taken) / min(base), 4),
                "median": round(
                    statistics.median(mine / theirs for mine, theirs in zip(taken, base, strict=True)), 4
                ),
            }
            for name, taken in self.by_contender.items()
            if name != to
        }

    def result(self) -> dict[str, Any]:
        """The part of a benchmark's result that holds its figures."""
        return {
            "figures": self.figures(),
            "ratio_to_orjson": self.ratios(),
            "wall_to_processor_time": self.wall_ratio,
        }


def time_all(contenders: Sequence[Contender], repetitions: int, units: int) -> Times:
    """Time every contender ``repetitions`` times, interleaved.

    A repetition runs each contender once, and the one that goes first changes from one repetition to the next, so that
    no one always profits from what the one before left in the caches. The clock is the processor time of the process,
    all its threads included: who shares the machine disturbs it least.
    """
    taken: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    wall_ns = processor_ns = 0
    for repetition in range(repetitions):
        turn = repetition % len(contenders)
        for contender in (*contenders[turn:], *contenders[:turn]):
            contender.prepare()
            pass_ns, pass_wall_ns = contender.timed()
            processor_ns += pass_ns
            wall_ns += pass_wall_ns
            taken[contender.name].append(pass_ns / units)
    return Times(taken, round(wall_ns / max(processor_ns, 1), 3))


def machine(packages: Sequence[str] = ()) -> dict[str, object]:
    """What a figure depends on: processor, libc, Python, and versions of the named packages that are installed."""
    versions: dict[str, str] = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "machine": {
            "processor": _processor(),
            "architecture": platform.machine(),
            "processors": os.cpu_count(),
            "system": platform.system(),
            "libc": " ".join(platform.libc_ver()).strip(),
        },
        "versions": {
            "python": platform.python_version(),
            "python_compiler": platform.python_compiler(),
            **versions,
        },
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
