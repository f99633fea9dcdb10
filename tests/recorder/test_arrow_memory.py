"""Arrow's memory: the choice is made for the process, and rows are the same."""

from __future__ import annotations

import pyarrow as pa
import pytest

from recorder import arrow_memory
from recorder.arrow_memory import give_back, keep_pages


def test_memory_comes_from_malloc() -> None:
    before = pa.default_memory_pool()
    try:
        keep_pages()
        assert pa.default_memory_pool().backend_name == "system"
        assert pa.array([1, 2, 3]).to_pylist() == [1, 2, 3]
    finally:
        pa.set_memory_pool(before)


def test_giving_back_is_a_matter_of_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    give_back()
    told: list[int] = []
    for trim, expected in ((told.append, [0]), (None, [])):
        monkeypatch.setattr(arrow_memory, "_trim", lambda trim=trim: trim)
        told.clear()
        give_back()
        assert told == expected
