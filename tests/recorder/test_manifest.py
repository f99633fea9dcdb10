"""recorder.manifest: what counts for readers, and what a crash may leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from recorder.manifest import append_manifest, manifest_path, read_manifest
from schemas.errors import Corrupt, StoreError
from schemas.manifest import (
    FileRun,
    ManifestCompaction,
    ManifestFile,
    ManifestPruned,
    ManifestSegment,
    encode_lines,
)
from schemas.names import Table
from schemas.tables import SCHEMA_VERSION


def file_line(name: str = "linear-1.parquet", **changes: Any) -> ManifestFile:
    fields: dict[str, Any] = {
        "table": "trades",
        "category": "linear",
        "symbol": "BTCUSDT",
        "date": "2024-08-08",
        "collector": "linear",
        "segment": 1,
        "rows": 1,
        "bytes": 1,
        "sha256": "00",
        "sequence": (0, 9),
        "receive_ns": (100, 200),
        "match_ms": None,
        "push_ms": None,
        "update_id": None,
        "cross_sequence": None,
        "gaps": 0,
        "feeds": {},
        "schema_version": 1,
        "software": "test",
    } | changes
    path = "{table}/category={category}/symbol={symbol}/date={date}/".format(**fields) + name
    return ManifestFile(**({"path": path} | fields))


def segment_line(**changes: Any) -> ManifestSegment:
    fields: dict[str, Any] = {
        "collector": "linear",
        "category": "linear",
        "environment": "gateway",
        "segment": 1,
        "run": 1,
        "end_ns": 2,
        "files": 1,
        "records": 1,
        "frames": 1,
        "sequence": (0, 9),
        "undecodable": {},
        "repeats": 0,
        "ended": "stopped",
        "software": "test",
    }
    return ManifestSegment(**(fields | changes))


def test_an_absent_archive_is_empty(tmp_path: Path) -> None:
    manifest = read_manifest(tmp_path / "nowhere")
    assert manifest.files == []
    assert manifest.segments == {}
    assert "files=0" in repr(manifest)


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    append_manifest(tmp_path, "linear", [file_line(), segment_line()])
    append_manifest(
        tmp_path, "linear", [file_line("linear-2.parquet", segment=2), segment_line(segment=2, run=1)]
    )
    append_manifest(tmp_path, "spot", [file_line(collector="spot"), segment_line(collector="spot")])
    manifest = read_manifest(tmp_path)
    assert [(file.collector, file.segment) for file in manifest.files] == [
        ("linear", 1),
        ("linear", 2),
        ("spot", 1),
    ]
    assert manifest.segments["linear", 2].run == manifest.runs_of(manifest.files[1])[0].run == 1


def test_a_file_without_its_segment_line_does_not_count(tmp_path: Path) -> None:
    append_manifest(tmp_path, "linear", [file_line(), segment_line(segment=7)])
    append_manifest(tmp_path, "linear", [file_line("linear-2.parquet", segment=2)])
    assert read_manifest(tmp_path).files == []


def test_a_segment_rolled_again_replaces_itself(tmp_path: Path) -> None:
    append_manifest(tmp_path, "linear", [file_line(rows=1), file_line("old.parquet"), segment_line(files=2)])
    append_manifest(tmp_path, "linear", [file_line(rows=5), segment_line()])
    assert [(file.path.rsplit("/")[-1], file.rows) for file in read_manifest(tmp_path).files] == [
        ("linear-1.parquet", 5)
    ]


def test_lines_written_twice_by_a_crash_count_once(tmp_path: Path) -> None:
    append_manifest(tmp_path, "linear", [file_line()])
    append_manifest(tmp_path, "linear", [file_line(), segment_line()])
    assert len(read_manifest(tmp_path).files) == 1


def test_every_torn_tail_is_ignored_and_cut_off_by_the_next_append(tmp_path: Path) -> None:
    first = encode_lines([file_line(), segment_line()])
    second = encode_lines([file_line("linear-2.parquet", segment=2), segment_line(segment=2)])
    path = manifest_path(tmp_path, "linear")
    path.parent.mkdir()
    ends = [0, *(at + 1 for at, byte in enumerate(first + second) if byte == ord("\n"))]
    for cut in range(len(first + second) + 1):
        path.write_bytes((first + second)[:cut])
        whole = max(end for end in ends if end <= cut)
        committed = ends.index(whole) // 2
        assert len(read_manifest(tmp_path).files) == committed
        if cut % 41 == 0:
            append_manifest(
                tmp_path, "linear", [file_line("linear-3.parquet", segment=3), segment_line(segment=3)]
            )
            assert path.read_bytes().startswith((first + second)[:whole])
            assert len(read_manifest(tmp_path).files) == committed + 1


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = manifest_path(tmp_path, "linear")
    append_manifest(tmp_path, "linear", [file_line(), segment_line()])
    path.write_bytes(path.read_bytes() + b'{"event":"file"}\n')
    with pytest.raises(Corrupt, match=r"linear\.jsonl: line 3 is not a manifest line"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("line", [b"null", b"[" * 10_000, b"\xff", b'{"event":"other"}', b'{"event":1}'])
def test_hostile_lines_are_refused_without_harm(tmp_path: Path, line: bytes) -> None:
    path = manifest_path(tmp_path, "linear")
    path.parent.mkdir()
    path.write_bytes(line + b"\n")
    with pytest.raises(Corrupt, match="line 1"):
        read_manifest(tmp_path)


def test_newer_versions_are_refused_as_such(tmp_path: Path) -> None:
    path = manifest_path(tmp_path, "linear")
    append_manifest(tmp_path, "linear", [file_line(), msgspec.structs.replace(segment_line(), version=4)])
    with pytest.raises(StoreError, match="version 4 was written by a newer tapebook"):
        read_manifest(tmp_path)
    path.write_bytes(b'{"event":"compacted","version":4,"anything":[]}\n')
    with pytest.raises(StoreError, match="upgrade tapebook"):
        read_manifest(tmp_path)


def test_newer_file_schemas_are_refused_as_such(tmp_path: Path) -> None:
    append_manifest(tmp_path, "linear", [file_line(schema_version=SCHEMA_VERSION + 1), segment_line()])
    with pytest.raises(StoreError, match=f"schema version {SCHEMA_VERSION + 1}"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../trades/category=linear/symbol=BTCUSDT/date=2024-08-08/x.parquet",
        "trades/category=linear/symbol=BTCUSDT/date=2024-08-08/../x.parquet",
        "trades/category=linear/symbol=BTCUSDT/date=2024-08-09/x.parquet",
        "trades/category=spot/symbol=BTCUSDT/date=2024-08-08/x.parquet",
        "tickers/category=linear/symbol=BTCUSDT/date=2024-08-08/x.parquet",
        "trades/category=linear/symbol=BTCUSDT/date=2024-08-08/..",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    append_manifest(tmp_path, "linear", [file_line(path=path), segment_line()])
    with pytest.raises(Corrupt, match="line 1 names"):
        read_manifest(tmp_path)


def test_select_narrows_by_every_argument(tmp_path: Path) -> None:
    lines = [
        file_line("a.parquet"),
        file_line("b.parquet", symbol="ETHUSDT"),
        file_line("c.parquet", date="2024-08-09", receive_ns=(300, 400)),
        file_line("d.parquet", table="tickers"),
    ]
    append_manifest(tmp_path, "linear", [*lines, segment_line(files=4)])
    manifest = read_manifest(tmp_path)

    def names(**arguments: Any) -> str:
        found = manifest.select(Table.TRADES, **arguments)
        return "".join(file.path.rsplit("/")[-1][0] for file in found)

    assert sorted(names()) == ["a", "b", "c"]
    assert names(category="linear", symbol="BTCUSDT") == "ac"
    assert names(symbol="ETHUSDT") == "b"
    assert names(category="spot") == ""
    assert names(dates=("2024-08-09", "2024-08-10")) == "c"
    assert names(symbol="BTCUSDT", receive_ns=(200, 299)) == "a"
    assert names(symbol="BTCUSDT", receive_ns=(201, 299)) == ""
    assert names(collector="other") == ""
    assert manifest.symbols(Table.TRADES) == [("linear", "BTCUSDT"), ("linear", "ETHUSDT")]


def test_a_refused_append_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append_manifest(tmp_path, "linear", [file_line(), segment_line()])
    before = manifest_path(tmp_path, "linear").read_bytes()

    def half_a_write(descriptor: int, payload: bytes, offset: int) -> int:
        return real(descriptor, payload[: len(payload) // 2], offset)

    import os

    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", half_a_write)
    with pytest.raises(StoreError, match="could not be appended"):
        append_manifest(tmp_path, "linear", [file_line(segment=2), segment_line(segment=2)])
    assert manifest_path(tmp_path, "linear").read_bytes() == before


def merged_line(name: str = "m.parquet", **changes: Any) -> ManifestFile:
    return file_line(
        name, **({"last_segment": 2, "runs": [FileRun(1, 2, (0, 19), None, None, None)]} | changes)
    )


def compaction_line(*removed: ManifestFile, files: int = 1, time_ns: int = 5) -> ManifestCompaction:
    return ManifestCompaction("linear", time_ns, files, [file.path for file in removed], "test")


def names_of(archive: Path) -> list[str]:
    return sorted(file.path.rsplit("/")[-1].removesuffix(".parquet") for file in read_manifest(archive).files)


def two_segments(archive: Path) -> tuple[ManifestFile, ManifestFile]:
    files = file_line("1.parquet"), file_line("2.parquet", segment=2)
    append_manifest(archive, "linear", [files[0], segment_line()])
    append_manifest(archive, "linear", [files[1], segment_line(segment=2, run=2)])
    return files


def test_lines_of_version_1_are_read(tmp_path: Path) -> None:
    path = manifest_path(tmp_path, "linear")
    path.parent.mkdir()
    path.write_bytes(
        b'{"event":"file","path":"trades/category=linear/symbol=BTCUSDT/date=2024-08-08/linear-1.parquet",'
        b'"table":"trades","category":"linear","symbol":"BTCUSDT","date":"2024-08-08","collector":"linear",'
        b'"segment":1,"rows":1,"bytes":1,"sha256":"00","sequence":[0,9],"receive_ns":[100,200],"match_ms":null,'
        b'"push_ms":null,"update_id":null,"cross_sequence":null,"gaps":0,"feeds":{},"schema_version":1,'
        b'"software":"test","version":1}\n'
        b'{"event":"segment","collector":"linear","category":"linear","environment":"gateway","segment":1,"run":1,'
        b'"end_ns":2,"files":1,"records":1,"frames":1,"sequence":[0,9],"undecodable":{},"repeats":0,'
        b'"ended":"stopped","software":"test","version":1}\n'
    )
    manifest = read_manifest(tmp_path)
    (file,) = manifest.files
    assert (file.last_segment, file.runs, file.version) == (None, None, 1)
    segment = manifest.segments["linear", 1]
    assert (segment.content_sha256, segment.chain, segment.header) == (None, None, None)
    assert manifest.segments_of(file) == [segment]


def test_a_compaction_replaces_files_in_one_step(tmp_path: Path) -> None:
    files = two_segments(tmp_path)
    lines = encode_lines([merged_line(), compaction_line(*files)])
    path = manifest_path(tmp_path, "linear")
    before = path.read_bytes()
    seen = set()
    for cut in range(len(lines) + 1):
        path.write_bytes(before + lines[:cut])
        seen.add((cut == len(lines), tuple(names_of(tmp_path))))
    assert seen == {(False, ("1", "2")), (True, ("m",))}
    manifest = read_manifest(tmp_path)
    assert manifest.replaced == dict.fromkeys([file.path for file in files], 5)
    assert [segment.segment for segment in manifest.segments_of(manifest.files[0])] == [1, 2]
    assert [run.run for run in manifest.runs_of(manifest.files[0])] == [1]
    assert manifest.listed == {("linear", 1): 1, ("linear", 2): 1}


def test_a_segment_rolled_again_does_not_bring_back_what_was_merged(tmp_path: Path) -> None:
    files = two_segments(tmp_path)
    append_manifest(tmp_path, "linear", [merged_line(), compaction_line(*files)])
    append_manifest(
        tmp_path, "linear", [files[0], file_line("new.parquet", symbol="NEW"), segment_line(files=2)]
    )
    assert names_of(tmp_path) == ["m", "new"]
    assert read_manifest(tmp_path).listed["linear", 1] == 2


def test_a_segment_rolled_later_lies_beside_the_merged_file_until_the_next_compaction(tmp_path: Path) -> None:
    early, late = file_line("1.parquet"), file_line("3.parquet", segment=3)
    append_manifest(tmp_path, "linear", [early, segment_line()])
    append_manifest(tmp_path, "linear", [late, segment_line(segment=3)])
    first = merged_line(last_segment=3)
    append_manifest(tmp_path, "linear", [first, compaction_line(early, late)])
    between = file_line("2.parquet", segment=2)
    append_manifest(tmp_path, "linear", [between, segment_line(segment=2)])
    manifest = read_manifest(tmp_path)
    assert names_of(tmp_path) == ["2", "m"]
    (merged,) = [file for file in manifest.files if file.last_segment is not None]
    assert [segment.segment for segment in manifest.segments_of(merged)] == [1, 3]
    append_manifest(
        tmp_path, "linear", [merged_line("n.parquet", last_segment=3), compaction_line(first, between)]
    )
    manifest = read_manifest(tmp_path)
    assert names_of(tmp_path) == ["n"]
    assert [segment.segment for segment in manifest.segments_of(manifest.files[0])] == [1, 2, 3]


def test_a_path_that_comes_back_counts_again(tmp_path: Path) -> None:
    files = two_segments(tmp_path)
    append_manifest(tmp_path, "linear", [merged_line(), compaction_line(*files)])
    append_manifest(tmp_path, "linear", [merged_line(rows=7), compaction_line(merged_line())])
    manifest = read_manifest(tmp_path)
    assert [file.rows for file in manifest.files] == [7]
    assert merged_line().path not in manifest.replaced


def test_merged_files_without_their_compaction_do_not_count(tmp_path: Path) -> None:
    two_segments(tmp_path)
    append_manifest(tmp_path, "linear", [merged_line(), segment_line(segment=3, files=0)])
    assert names_of(tmp_path) == ["1", "2"]


def test_a_pruned_segment_is_known_as_such(tmp_path: Path) -> None:
    two_segments(tmp_path)
    append_manifest(tmp_path, "linear", [ManifestPruned("linear", 1, 9, "test")])
    manifest = read_manifest(tmp_path)
    assert {key: line.time_ns for key, line in manifest.pruned.items()} == {("linear", 1): 9}
    assert len(manifest.files) == len(manifest.segments) == 2


def test_merged_lines_that_a_crash_left_uncommitted_are_not_the_next_compactions(tmp_path: Path) -> None:
    files = two_segments(tmp_path)
    append_manifest(tmp_path, "linear", [merged_line("stale.parquet")])
    append_manifest(tmp_path, "linear", [merged_line(), compaction_line(*files)])
    manifest = read_manifest(tmp_path)
    assert names_of(tmp_path) == ["m"]
    assert [(line.files, listed) for line, listed in manifest.compactions] == [(1, 1)]


def test_a_compaction_whose_lines_were_taken_away_is_known(tmp_path: Path) -> None:
    files = two_segments(tmp_path)
    append_manifest(tmp_path, "linear", [merged_line(), compaction_line(*files, files=2)])
    assert [(line.files, listed) for line, listed in read_manifest(tmp_path).compactions] == [(2, 1)]
