"""``tapebook journal stat``: what it counts is what was written, and damage is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recorder.journal_stat import print_stats, stat, sums
from schemas.errors import NoData
from tests.processes import json_lines, tapebook
from tests.recorder.journal.support import START_NS, fill, left_open, payload, sealed_segment, writer


def test_a_sealed_segment(tmp_path: Path) -> None:
    path = sealed_segment(tmp_path, batches=3, rows=4, next_sequence=10)
    (found,) = stat(tmp_path)
    closing = found.payload_bytes - sum(len(payload(sequence)) for sequence in range(10, 22))
    assert closing > len('{"note":"close"}')
    assert (found.collector, found.start_ns, found.path, found.state) == (
        "linear",
        START_NS,
        str(path),
        "sealed",
    )
    assert found.bytes == path.stat().st_size
    assert (found.commits, found.batches, found.records) == (3, 4, {"frame": 12, "note": 1})
    assert (found.first_sequence, found.last_sequence) == (10, 22)
    assert (found.first_receive_ns, found.last_receive_ns) == (START_NS + 10, START_NS + 21)
    assert (found.compression, found.closed, found.check) == ("none", "stopped", "ok")


def test_kinds_are_counted(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    for kind in (0, 0, 1, 2, 2, 2, 3):
        journal.append(START_NS, 0, kind, b"{}")
    journal.close()
    (found,) = stat(tmp_path)
    assert found.records == {"frame": 2, "rest": 1, "session": 3, "note": 2}


def test_open_torn_and_damaged_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = left_open(tmp_path / "open")
    (found,) = stat(tmp_path / "open")
    assert (found.state, found.closed, found.check, found.commits) == ("open", None, "ok", 4)
    with path.open("ab") as file:
        file.write(b"\xff" * 9)
    path.with_suffix("").with_suffix(".torn").write_bytes(b"torn")
    opened, torn = stat(tmp_path / "open")
    assert opened.check.startswith("open; after ")
    assert torn.check == "bytes that a recovery set aside"
    assert print_stats(iter([opened, torn]), json=False) == 0  # a crash's leavings are no damage
    sealed = sealed_segment(tmp_path / "sealed")
    content = bytearray(sealed.read_bytes())
    content[-60] ^= 4
    sealed.write_bytes(content)
    (damaged,) = stat(tmp_path / "sealed")
    assert damaged.check != "ok"
    assert damaged.records == {"frame": 12}
    capsys.readouterr()
    assert print_stats(iter([damaged]), json=True) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["check"] == damaged.check
    assert lines[1]["damaged"] == 1


def test_sums_and_the_command(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    fill(journal, batches=2, rows=3)
    journal.rotate(START_NS + 50, [])
    fill(journal, batches=1, rows=2)
    journal.close()
    found = list(stat(tmp_path))
    total = sums(found)
    assert (total["segments"], total["records"], total["commits"]) == (2, {"frame": 8, "note": 2}, 3)
    assert total["bytes"] == sum(
        file.stat().st_size for file in (tmp_path / "journal/linear").glob("*.arrows")
    )
    assert total["bytes_a_record"] == pytest.approx(total["bytes"] / 10, abs=0.06)
    done = tapebook("journal", "stat", "--data", tmp_path, "--format", "json")
    assert (done.code, json_lines(done.out)[-1]) == (0, total)
    table = tapebook("journal", "stat", "--data", tmp_path)
    assert table.code == 0
    assert "2 segments" in table.out.splitlines()[-1]
    assert len(table.out.splitlines()) == 4


def test_nothing_recorded(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="nothing is recorded"):
        list(stat(tmp_path))
