"""Contenders side by side: who runs when, what the figures are, and what is refused."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from benchmarks import timing
from benchmarks.timing import Contender, Quotes, Times, check_quotes, machine, mantissas, time_all
from schemas.errors import DataError


class Noted(Contender):
    """Notes what it is told, and takes as long as its clock says."""

    def __init__(self, name: str, notes: list[str], quotes: Quotes | None = None) -> None:
        self.name = name
        self._notes = notes
        self._quotes = quotes

    def prepare(self) -> None:
        self._notes.append(f"prepare {self.name}")

    def run(self) -> None:
        self._notes.append(f"run {self.name}")

    def quotes(self) -> Quotes | None:
        return self._quotes


def test_contenders_take_turns_and_are_prepared_off_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    now_ns = Counter[str]()

    def clock(name: str, step_ns: int) -> int:
        notes.append(name)
        now_ns[name] += step_ns
        return now_ns[name]

    monkeypatch.setattr(timing.time, "process_time_ns", lambda: clock("processor", 100))
    monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: clock("wall", 250))
    times = time_all([Noted(name, notes) for name in "abc"], 4, 10)
    assert times.by_contender == {"a": [10.0] * 4, "b": [10.0] * 4, "c": [10.0] * 4}
    assert times.wall_ratio == 2.5
    runs = [note[-1] for note in notes if note.startswith("run")]
    assert runs == [*"abc", *"bca", *"cab", *"abc"]
    assert notes[:6] == ["prepare a", "wall", "processor", "run a", "processor", "wall"]


def test_figures_and_ratios_by_hand() -> None:
    times = Times({"orjson": [10.0, 20.0, 40.0], "ours": [5.0, 4.0, 10.0]}, 1.0)
    assert times.figures()["ours"] == {"min_ns": 4.0, "median_ns": 5.0}
    # minima: 4 / 10; within repetitions: 5 / 10, 4 / 20, 10 / 40
    assert times.ratios() == {"ours": {"min": 0.4, "median": 0.25}}
    assert times.ratios("ours")["orjson"] == {"min": 2.5, "median": 4.0}


def test_other_books_are_refused() -> None:
    quotes: Quotes = {"orderbook.50.X": (1, 2, 3, 4)}
    check_quotes([Noted("same", [], quotes), Noted("without books", [])], quotes)
    for other in ({"orderbook.50.X": (1, 2, 3, 5)}, {}):
        with pytest.raises(DataError, match=r"other ends orderbook\.50\.X"):
            check_quotes([Noted("other", [], other)], quotes)


@pytest.mark.parametrize("price", [61809.4, Decimal("61809.40"), "61809.40"])
def test_mantissas_of_what_peers_answer(price: object) -> None:
    assert mantissas((price, 4.35, None, 0.1 + 0.2), (2, 3)) == (6_180_940, 4_350, None, 300)


def test_a_result_says_where_it_was_measured() -> None:
    found = machine(["pyarrow", "no-such-package"])
    assert set(found) == {"machine", "versions"}
    versions = found["versions"]
    assert isinstance(versions, dict)
    assert "pyarrow" in versions
    assert "no-such-package" not in versions
