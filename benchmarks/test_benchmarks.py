"""The benchmarks under pytest-benchmark: ``pytest benchmarks``; not part of the normal run."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pytest_benchmark", reason="install the test extra: pip install 'tapebook[test]'")
pytest.importorskip("orjson", reason="install the test extra: pip install 'tapebook[test]'")

from benchmarks.decode import CONTENDERS, best_of_core, best_of_reference, run_core, run_orjson_reference
from benchmarks.feed import Feed, generated

FRAMES = 5_000


@pytest.fixture(scope="module")
def feed() -> Feed:
    """One feed for all contenders."""
    return generated(FRAMES)


def test_the_same_books(feed: Feed) -> None:
    """Speed means nothing unless the books are the same."""
    assert best_of_core(run_core(feed), feed) == best_of_reference(run_orjson_reference(feed))


def test_the_same_seed_makes_the_same_frames() -> None:
    """Figures of two runs can be compared."""
    assert generated(50).frames == generated(50).frames != generated(50, seed=1).frames


@pytest.mark.benchmark(group="decode")
@pytest.mark.parametrize("name", CONTENDERS)
def test_decode(benchmark: Any, feed: Feed, name: str) -> None:
    """A whole feed per round: divide by its frames."""
    benchmark.extra_info["frames"] = FRAMES
    benchmark(CONTENDERS[name], feed)
