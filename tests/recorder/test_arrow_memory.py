"""Arrow's memory: the choice is made for the process, and rows are the same."""

from __future__ import annotations

import pyarrow as pa

from recorder.arrow_memory import keep_pages


def test_memory_comes_from_malloc() -> None:
    before = pa.default_memory_pool()
    try:
        keep_pages()
        assert pa.default_memory_pool().backend_name == "system"
        assert pa.array([1, 2, 3]).to_pylist() == [1, 2, 3]
    finally:
        pa.set_memory_pool(before)
