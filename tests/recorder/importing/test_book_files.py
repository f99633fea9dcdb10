"""The exchange's book files: frames of section 3.1 in a zip, as section 9.3 says they are."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from recorder.archive import open_archive
from recorder.importing.book_files import BookFile
from recorder.importing.run import ImportPlan, Report, run_import
from recorder.journal_cat import Selection, selected
from recorder.verify import verify
from schemas.errors import DataError
from schemas.names import Category
from tests.recorder.recordings import book

DAY_MS = 1_755_820_800_000  # 2025-08-22T00:00:00Z
TOPIC = "orderbook.200.BTCUSDT"


def day(first: int, last: int, at_ms: int) -> list[bytes]:
    """A file's frames: a snapshot of ``first``, deltas each 100 ms up to ``last``, and a snapshot that repeats it."""
    frames = [_snapshot(first, at_ms)]
    for update in range(first + 1, last + 1):
        at_ms += 100
        frames.append(book("delta", update, [(f"{update % 7 + 90}.0", str(update))], [], at_ms, TOPIC))
    return [*frames, _snapshot(last, at_ms)]


def _snapshot(update: int, at_ms: int) -> bytes:
    """The book after ``update``, as the deltas of ``day`` add up to it from update 1 on."""
    bids = {f"{u % 7 + 90}.0": str(u) for u in range(max(1, update - 20), update + 1)}
    levels = sorted(bids.items(), key=lambda level: -float(level[0]))
    return book("snapshot", update, levels, [("100.0", "1")], at_ms, TOPIC)


def zipped(path: Path, members: dict[str, list[bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, frames in members.items():
            archive.writestr(name, b"\n".join(frames) + b"\n")
    return path


def import_books(data: Path, *files: Path, category: Category = Category.LINEAR, **options: object) -> Report:
    plan = ImportPlan([BookFile(path) for path in files], "books", category, **options)  # type: ignore[arg-type]
    return run_import(plan, data)


def test_a_day_s_file_is_a_book(tmp_path: Path) -> None:
    frames = day(30, 90, DAY_MS)
    file = zipped(tmp_path / "2025-08-22_BTCUSDT_ob200.data.zip", {"2025-08-22_BTCUSDT_ob200.data": frames})
    data = tmp_path / "data"
    report = import_books(data, file)
    assert (report.files[0].records, report.files[0].known) == (62, 0)
    found = [(record.receive_ns, record.payload) for _, record in selected(data, None, Selection())]
    stamps = [DAY_MS + 100 * step for step in range(61)]
    assert found == list(zip([ms * 1_000_000 for ms in [*stamps, stamps[-1]]], frames, strict=True))
    assert not verify(data, deep=True).failures
    with open_archive(data) as archive:
        rows = archive.sql(
            "SELECT kind, count(*) n, min(update_id) low, max(update_id) high, "
            "bool_and(receive_time = push_time) same, bool_and(applied) applied "
            "FROM book_updates_raw WHERE kind <> 'keyframe' GROUP BY kind ORDER BY kind"
        ).table()
        assert rows.to_pylist() == [
            {"kind": "delta", "n": 60, "low": 31, "high": 90, "same": True, "applied": True},
            {"kind": "snapshot", "n": 2, "low": 30, "high": 90, "same": True, "applied": True},
        ]
        assert archive.sql("SELECT count(*) n FROM gaps").table().to_pylist() == [{"n": 0}]


def test_what_neighbouring_days_both_have_comes_once(tmp_path: Path) -> None:
    # The first file reaches two frames beyond midnight, where the second one had begun three before its end.
    one = zipped(tmp_path / "one.data.zip", {"one.data": day(30, 90, DAY_MS)})
    two = zipped(tmp_path / "two.data.zip", {"two.data": day(87, 120, DAY_MS + 5_700)})
    data = tmp_path / "data"
    report = import_books(data, one, two)
    assert [(file.records, file.known) for file in report.files] == [(62, 0), (31, 4)]
    with open_archive(data) as archive:
        taken = archive.sql(
            "SELECT update_id FROM book_updates WHERE kind = 'delta' ORDER BY sequence"
        ).table()
        assert taken["update_id"].to_pylist() == list(range(31, 121))
        assert archive.sql("SELECT count(*) n FROM gaps").table().to_pylist() == [{"n": 0}]
    assert not verify(data, deep=True).failures


def test_a_chain_that_began_anew_is_no_overlap(tmp_path: Path) -> None:
    one = zipped(tmp_path / "one.data.zip", {"one.data": day(30, 90, DAY_MS)})
    two = zipped(tmp_path / "two.data.zip", {"two.data": day(1, 20, DAY_MS + 3_600_000)})
    report = import_books(tmp_path / "data", one, two)
    assert [(file.records, file.known) for file in report.files] == [(62, 0), (21, 0)]


def test_options_have_a_member_a_contract(tmp_path: Path) -> None:
    members = {}
    for number in range(3):
        topic = f"orderbook.25.BTC-1SEP26-7850{number}-P-USDT"
        members[f"c{number}.data"] = [
            book("snapshot", 1, [("300", "1")], [], DAY_MS + number, topic),
            book("delta", 2, [("310", "1")], [], DAY_MS + 10 - number, topic),
        ]
    file = zipped(tmp_path / "2025-08-22_BTC_USDT.ob25.zip", members)
    data = tmp_path / "data"
    report = import_books(data, file, category=Category.OPTION)
    assert (report.topics, report.files[0].records) == (3, 6)
    found = [record.payload for _, record in selected(data, None, Selection())]
    c0, c1, c2 = members.values()
    assert found == [c0[0], c1[0], c2[0], c2[1], c1[1], c0[1]]
    assert not verify(data, deep=True).failures


def test_damage_is_named(tmp_path: Path) -> None:
    frames = day(30, 40, DAY_MS)
    frames[3] = frames[3][:40]
    frames[5] = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1755820800000,"data":{"u":1}}'
    bad = zipped(tmp_path / "bad.data.zip", {"bad.data": frames})
    with pytest.raises(DataError) as caught:
        import_books(tmp_path / "data", bad)
    assert f"{bad}, line 4: found" in str(caught.value)
    assert f"{bad}, line 6: found" in str(caught.value)
    report = import_books(tmp_path / "data", bad, skip_bad=True)
    assert (report.files[0].records, report.files[0].refused) == (10, 2)
    whole = zipped(tmp_path / "whole.data.zip", {"whole.data": day(30, 40, DAY_MS)}).read_bytes()
    damaged = tmp_path / "damaged.data.zip"
    at = whole.index(b"whole.data") + 60
    damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
    with pytest.raises(DataError, match="cannot be read on after line"):
        import_books(tmp_path / "other", damaged)
    no_zip = tmp_path / "no.data.zip"
    no_zip.write_bytes(b"hello")
    with pytest.raises(DataError, match="not a zip file"):
        import_books(tmp_path / "other", no_zip)
