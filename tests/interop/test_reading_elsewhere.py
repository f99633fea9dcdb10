"""The Python of docs/reading-elsewhere.md finds what the views say, before and after compaction."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from recorder.archive import Archive, open_archive
from recorder.book_state import book_at
from recorder.compact import compact_data
from recorder.manifest import before_path, manifest_path, read_manifest
from recorder.manifest_checkpoint import shorten_manifest
from schemas.names import Table
from schemas.time import parse_time

PAGE = (Path(__file__).parents[2] / "docs" / "reading-elsewhere.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

pytest.importorskip("polars", reason="polars is not installed: pip install 'tapebook[interop]'")
pytest.importorskip("pandas", reason="pandas is not installed: pip install 'tapebook[interop]'")


class Read:
    """A recording, what the page's Python made of it, and the archive as its own views show it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.names: dict[str, Any] = {}
        code = "\n".join(BLOCKS).replace('Path("DIR/archive")', f"Path({str(data / 'archive')!r})")
        exec(compile(code, "docs/reading-elsewhere.md", "exec"), self.names)

    def sql(self, query: str, archive: Archive) -> list[tuple[Any, ...]]:
        table = archive.sql(query).table()
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


@pytest.fixture(scope="module", params=["rolled", "compacted"])
def read(request: pytest.FixtureRequest, evening: Path, tmp_path_factory: pytest.TempPathFactory) -> Read:
    if request.param == "rolled":
        return Read(evening)
    data = tmp_path_factory.mktemp("compacted") / "data"
    shutil.copytree(evening, data)
    assert compact_data(data, grace_s=0).done
    return Read(data)


@pytest.fixture
def archive(read: Read) -> Iterator[Archive]:
    with open_archive(read.data) as opened:
        yield opened


def test_the_files_are_those_of_the_manifest(read: Read) -> None:
    manifest = read_manifest(read.data / "archive")
    for table in Table:
        expected = {manifest.archive / file.path for file in manifest.select(table)}
        assert set(read.names["files"](table.value)) == expected
    own = manifest.select(Table.TICKERS, category="linear", symbol="ETHUSDT")
    found = read.names["files"]("tickers", "linear", "ETHUSDT")
    assert set(found) == {manifest.archive / file.path for file in own}


def test_nor_do_checkpoints_and_segments_that_are_rolled_again_mislead_it(
    evening: Path, tmp_path: Path
) -> None:
    """Behind a checkpoint nothing says any more what a merged file has replaced."""
    data = tmp_path / "data"
    shutil.copytree(evening, data)
    archive = data / "archive"
    assert compact_data(data, grace_s=0).done
    assert shorten_manifest(archive, "evening", least=1) > 0
    path = manifest_path(archive, "evening")
    rolled = before_path(path).read_bytes()
    with path.open("ab") as file:
        file.write(rolled[: rolled.index(b'{"event":"segment"')])
        file.write(next(line for line in rolled.splitlines(True) if b'"event":"segment"' in line))
    names: dict[str, Any] = {}
    exec(BLOCKS[0].replace('Path("DIR/archive")', f"Path({str(archive)!r})"), names)
    manifest = read_manifest(archive)
    for table in Table:
        assert set(names["files"](table.value)) == {archive / file.path for file in manifest.select(table)}


def test_polars_counts_what_the_views_count(read: Read, archive: Archive) -> None:
    expected = read.sql(
        "SELECT date_trunc('minute', match_time), count(*), min(price), max(price), round(sum(size), 3) FROM trades "
        "WHERE category = 'linear' AND symbol = 'BTCUSDT' GROUP BY 1 ORDER BY 1",
        archive,
    )
    assert read.names["minutes"].rows() == expected
    (exact,) = read.sql(
        "SELECT sum(exact_size(size_mantissa, size_exponent)) FROM trades "
        "WHERE category = 'linear' AND symbol = 'BTCUSDT'",
        archive,
    )
    assert exact[0] == Decimal(read.names["units"]).scaleb(read.names["lowest"])


def test_polars_makes_the_book_of_a_moment(read: Read, archive: Archive) -> None:
    topic = "orderbook.50.BTCUSDT"
    at_ns = parse_time("2026-03-05T23:58:12.345Z")
    answer = book_at(archive, "linear", "BTCUSDT", topic, at_ns)
    found = read.names["levels"]
    for side, levels in (("bid", answer.bids), ("ask", answer.asks)):
        own = {(row["price"], row["size"]) for row in found.filter(side=side).iter_rows(named=True)}
        scale = 10.0**-answer.price_exponent, 10.0**-answer.size_exponent
        assert own == {(price / scale[0], size / scale[1]) for price, size in levels}
    assert found.filter(side="bid")["price"].is_sorted(descending=True)


def test_polars_has_each_gap_once(read: Read, archive: Archive) -> None:
    expected = read.sql(
        "SELECT topic, cause, epoch_ns(start_time), epoch_ns(end_time), healed_by FROM gaps "
        "WHERE category = 'linear' AND symbol = 'BTCUSDT' ORDER BY start_time",
        archive,
    )
    rows = read.names["lost"].sort("start_time")
    found = [
        (topic, cause, *(rows[name].dt.epoch("ns")[n] for name in ("start_time", "end_time")), healed)
        for n, (topic, cause, healed) in enumerate(rows.select("topic", "cause", "healed_by").iter_rows())
    ]
    assert found == expected
    assert len(found) == 1


def test_pandas_says_the_same(read: Read, archive: Archive) -> None:
    expected = read.sql(
        "SELECT arg_min(price, (match_time, sequence)), max(price), min(price) FROM trades WHERE category = 'linear' "
        "AND symbol = 'BTCUSDT' GROUP BY date_trunc('minute', match_time) ORDER BY date_trunc('minute', match_time)",
        archive,
    )
    found = read.names["candles"]
    assert [(row.open, row.high, row.low) for row in found.itertuples()] == expected
    (last,) = read.sql(
        "SELECT list(last_price::DOUBLE ORDER BY collector, sequence) FROM tickers "
        "WHERE category = 'linear' AND symbol = 'BTCUSDT'",
        archive,
    )
    assert sorted(read.names["last_price"]) == pytest.approx(sorted(last[0]), rel=1e-15)
    (levels,) = read.sql(
        "SELECT sum(len(bid_price)) FROM book_updates WHERE category = 'linear' AND symbol = 'BTCUSDT' AND depth = 50 "
        "AND kind <> 'keyframe'",
        archive,
    )
    assert len(read.names["bids"]) == levels[0]


def test_duckdb_needs_no_views(read: Read, archive: Archive) -> None:
    expected = read.sql(
        "SELECT side, count(*), sum(size) FROM trades WHERE category = 'linear' AND symbol = 'BTCUSDT' "
        "GROUP BY side ORDER BY side",
        archive,
    )
    assert [row[:2] for row in read.names["by_side"]] == [row[:2] for row in expected]
    assert [row[2] for row in read.names["by_side"]] == pytest.approx([row[2] for row in expected])


OPEN_AND_CLOSED = [
    ("a", 1, None, None, 1),
    ("a", 1, None, None, 2),
    ("a", 1, 5, "snapshot", 3),
    ("a", 1, 5, "backfill", 4),
    ("b", 1, 5, "snapshot", 5),
    ("b", 7, None, None, 6),
    ("b", 7, None, None, 7),
]
"""Topic, start, end, what healed it, sequence; each gap is once among the last ones."""


def test_gaps_that_are_open_healed_or_fetched_count_once(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    import polars

    rows = polars.DataFrame(
        [(topic, start, end, healed, sequence) for topic, start, end, healed, sequence in OPEN_AND_CLOSED],
        schema=["topic", "start_time", "end_time", "healed_by", "sequence"],
        orient="row",
    ).with_columns(collector=polars.lit("x"), cause=polars.lit("lost"))
    monkeypatch.setitem(read.names, "scan", lambda *_: rows.lazy())
    found = read.names["gaps"]("linear", "BTCUSDT")
    assert sorted(found["sequence"].to_list()) == [4, 5, 7]
