"""recorder.result: rows in batches, and what they become."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pyarrow as pa
import pytest

from recorder.result import Result
from schemas.errors import ConfigError

SCHEMA = pa.schema(
    [("time", pa.timestamp("ns", "UTC")), ("x", pa.decimal128(38, 18)), ("l", pa.list_(pa.int64()))]
)


def batches(made: list[int]) -> Iterator[pa.RecordBatch]:
    for number in range(3):
        made.append(number)
        rows = [{"time": 1_723_118_400_000_000_001 + number, "x": f"{number}.5", "l": [number]}]
        columns = [
            pa.array([row["time"] for row in rows]).cast(SCHEMA.types[0]),
            pa.array([row["x"] for row in rows]).cast(SCHEMA.types[1]),
            pa.array([row["l"] for row in rows]),
        ]
        yield pa.record_batch(columns, schema=SCHEMA)


def test_rows_come_as_they_are_made_and_stop_when_closed() -> None:
    made: list[int] = []
    result = Result(SCHEMA, batches(made))
    assert result.types == ["timestamp[ns, tz=UTC]", "decimal128(38, 18)", "list<item: int64>"]
    assert next(iter(result)).num_rows == 1
    assert made == [0]
    result.close()
    assert list(result) == []
    assert made == [0]


def test_any_library_that_speaks_arrow_takes_the_stream() -> None:
    table = pa.table(Result(SCHEMA, batches([])))
    assert table.num_rows == 3
    assert Result(SCHEMA, batches([])).table().equals(table)
    assert Result(SCHEMA, batches([])).reader().read_all().equals(table)


def test_pandas_keeps_nanoseconds() -> None:
    pytest.importorskip("pandas")
    frame = Result(SCHEMA, batches([])).pandas()
    assert frame["time"][2].value == 1_723_118_400_000_000_003
    assert str(frame["x"][1]) == "1.500000000000000000"


def test_polars_keeps_nanoseconds() -> None:
    polars = pytest.importorskip("polars")
    frame = Result(SCHEMA, batches([])).polars()
    assert frame.shape == (3, 3)
    assert frame["time"].dtype == polars.Datetime("ns", "UTC")
    assert frame["time"].to_physical()[0] == 1_723_118_400_000_000_001


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_library_that_is_not_there_is_said_so(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=f"pip install {library}"):
        getattr(Result(SCHEMA, batches([])), library)()
