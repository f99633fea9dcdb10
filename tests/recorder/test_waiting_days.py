"""Which days wait to be compacted, told by their lines alone; test_manifest_state has it that none is missed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from recorder.manifest import append_manifest
from recorder.waiting_days import waiting_days
from schemas.errors import Corrupt
from schemas.manifest import ManifestCompaction
from tests.recorder.test_manifest import file_line, segment_line


def names(archive: Path, **arguments: object) -> list[str]:
    return [
        f"{day.collector} {day.date} {day.symbol}"
        for day in waiting_days(archive, **arguments)  # type: ignore[arg-type]
    ]


def test_days_that_wait_come_oldest_first_and_as_they_are_asked_for(tmp_path: Path) -> None:
    for collector in ("a", "b"):
        files = [
            file_line(
                f"{collector}-1.parquet",
                collector=collector,
                date=date,
                symbol=symbol,
                receive_ns=(1, number),
            )
            for number, (date, symbol) in enumerate(
                [("2024-08-09", "A"), ("2024-08-08", "Z"), ("2024-08-08", "B")], 1
            )
        ]
        append_manifest(tmp_path, collector, [*files, segment_line(collector=collector, files=3)])
    old = ["a 2024-08-08 B", "a 2024-08-08 Z", "b 2024-08-08 B", "b 2024-08-08 Z"]
    assert names(tmp_path) == [*old, "a 2024-08-09 A", "b 2024-08-09 A"]
    assert names(tmp_path, before="2024-08-09") == old
    assert names(tmp_path, before="2024-08-09", collector="b") == old[2:]
    assert names(tmp_path, quiet_since_ns=2) == ["a 2024-08-09 A", "b 2024-08-09 A"]
    assert names(tmp_path, quiet_since_ns=3) == names(tmp_path)
    assert waiting_days(tmp_path)[0].directory == "trades/category=linear/symbol=B/date=2024-08-08"


def test_what_is_merged_waits_no_more_until_something_comes_late(tmp_path: Path) -> None:
    first = file_line("linear-1.parquet")
    merged = msgspec.structs.replace(file_line("linear-1-1-0123456789ab.parquet"), last_segment=1)
    append_manifest(tmp_path, "linear", [first, segment_line()])
    append_manifest(tmp_path, "linear", [merged, ManifestCompaction("linear", 5, 1, [first.path], "test")])
    assert names(tmp_path) == []
    append_manifest(tmp_path, "linear", [file_line("linear-2.parquet", segment=2)])
    assert names(tmp_path) == []  # not committed
    append_manifest(tmp_path, "linear", [file_line("linear-2.parquet", segment=2), segment_line(segment=2)])
    assert names(tmp_path) == ["linear 2024-08-08 BTCUSDT"]
    again = msgspec.structs.replace(file_line("linear-1-2-0123456789ab.parquet"), last_segment=2)
    append_manifest(tmp_path, "linear", [again, ManifestCompaction("linear", 6, 1, [merged.path], "test")])
    assert names(tmp_path) == [
        "linear 2024-08-08 BTCUSDT"
    ]  # that took a merged file back, not the one that waits


def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest").mkdir()
    (tmp_path / "manifest" / "linear.jsonl").write_bytes(b"null\n")
    with pytest.raises(Corrupt, match="line 1 is not a manifest line"):
        waiting_days(tmp_path)
