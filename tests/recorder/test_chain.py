"""The chain over a collector's segments: what was rolled, late or again, hangs together; what was altered doesn't."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recorder.chain import broken_links
from recorder.journal import ContentHash, SegmentReader, chain_value, segments
from recorder.journal import segment as segment_module
from recorder.manifest import append_manifest, manifest_path, read_manifest
from recorder.report import verify_and_report
from recorder.roll import roll_data
from recorder.verify import verify
from schemas.errors import Corrupt
from schemas.manifest import ManifestSegment, decode_line, encode_lines
from tests.recorder.journal.support import left_open
from tests.recorder.recordings import START_NS, Tape, market, record_day
from tests.recorder.test_manifest import file_line, segment_line

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    record_day(tmp_path / "data", steps=90, rotate_at=(30, 60))
    return tmp_path / "data"


def _lines(data: Path) -> list[Any]:
    return [decode_line(line) for line in manifest_path(data / "archive", "linear").read_bytes().splitlines()]


def _segment_lines(data: Path) -> list[ManifestSegment]:
    return [line for line in _lines(data) if isinstance(line, ManifestSegment)]


def test_roll_links_segment_to_segment(data: Path) -> None:
    roll_data(data)
    before = None
    for line, segment in zip(_segment_lines(data), segments(data), strict=True):
        with SegmentReader(segment.path, hashed=True) as reader:
            for _ in reader:
                pass
            assert reader.content is not None
            assert line.content_sha256 == reader.content.hexdigest()
            assert line.header is not None
            assert line.header.first_sequence == reader.first_sequence == line.sequence[0]
            assert line.header.endpoint == reader.info.endpoint
        before = chain_value(before, "linear", segment.start_ns, line.content_sha256)
        assert line.chain == before
    assert verify(data).chains == {"linear": before}


def test_a_recovered_segment_tells_no_hash_and_is_hashed(tmp_path: Path) -> None:
    left_open(tmp_path)
    (rolled,) = roll_data(tmp_path)
    (line,) = _segment_lines(tmp_path)
    with SegmentReader(rolled.segment, hashed=True) as reader:
        assert reader.read_closing() is not None
        for _ in reader:
            pass
        assert reader.closing is not None
        assert reader.closing.content_sha256 is msgspec.UNSET
        assert reader.content is not None
        assert line.content_sha256 == reader.content.hexdigest()


def test_a_closing_note_is_not_believed_by_who_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mistaken(ContentHash):
        def hexdigest(self) -> str:
            return "ab" * 32

    monkeypatch.setattr(segment_module, "ContentHash", Mistaken)
    tape = Tape(tmp_path)
    tape.frames(market(0, 20))
    tape.stop()
    (found,) = verify(tmp_path).failures  # not rolled yet
    assert "its closing note speaks of abababab" in found.what
    roll_data(tmp_path)
    assert _segment_lines(tmp_path)[0].content_sha256 == "ab" * 32
    assert "its closing note speaks of abababab" in str(verify(tmp_path).failures[0])
    with (
        SegmentReader(segments(tmp_path)[0].path, hashed=True) as reader,
        pytest.raises(Corrupt, match="its closing note speaks of abababab"),
    ):
        list(reader)


@pytest.mark.parametrize("told", ["ab" * 31, "AB" * 32, "", "ab" * 32 + "\n"])
def test_a_closing_note_with_a_hash_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    monkeypatch.setattr(segment_module.ContentHash, "hexdigest", lambda _: told)
    tape = Tape(tmp_path)
    tape.frames(market(0, 20))
    tape.stop()
    with pytest.raises(Corrupt, match=r"closing note at offset .* cannot be read"):
        roll_data(tmp_path)


def test_a_segment_that_comes_late(data: Path, tmp_path: Path) -> None:
    late = segments(data)[1].path
    late.rename(tmp_path / "elsewhere")
    roll_data(data)
    (tmp_path / "elsewhere").rename(late)
    roll_data(data)
    lines = _segment_lines(data)
    assert [line.segment for line in lines] != sorted(line.segment for line in lines)
    assert list(broken_links(read_manifest(data / "archive"))) == []
    assert verify_and_report(data, json=True) == 0


def test_a_segment_that_is_rolled_again(data: Path) -> None:
    roll_data(data)
    for line in _segment_lines(data)[:2]:
        append_manifest(data / "archive", "linear", [*read_manifest(data / "archive").files, line])
    assert len(read_manifest(data / "archive").links["linear"]) == 5
    assert list(broken_links(read_manifest(data / "archive"))) == []


def test_lines_of_an_older_version_are_passed_over(data: Path) -> None:
    append_manifest(data / "archive", "linear", [segment_line(segment=1, files=0)])
    roll_data(data)
    append_manifest(data / "archive", "linear", [segment_line(segment=2, files=0)])
    manifest = read_manifest(data / "archive")
    assert len(manifest.segments) == 5
    assert [link.segment for link in manifest.links["linear"]] == [s.start_ns for s in segments(data)]
    assert list(broken_links(manifest)) == []


@pytest.mark.parametrize("what", ["removed", "swapped", "altered", "added"])
def test_what_was_done_to_the_lines_shows(data: Path, what: str) -> None:
    roll_data(data)
    lines = _lines(data)
    places = [at for at, line in enumerate(lines) if isinstance(line, ManifestSegment)]
    second = lines[places[1]]
    if what == "removed":
        del lines[places[0] + 1 : places[1] + 1]
    elif what == "swapped":
        lines = lines[places[0] + 1 : places[1] + 1] + lines[: places[0] + 1] + lines[places[1] + 1 :]
    elif what == "altered":
        lines[places[1]] = msgspec.structs.replace(second, content_sha256="00" * 32)
    else:
        lines.insert(places[1], msgspec.structs.replace(second, segment=5, files=0))
    manifest_path(data / "archive", "linear").write_bytes(encode_lines(lines))
    broken = list(broken_links(read_manifest(data / "archive")))
    assert broken
    assert verify_and_report(data, json=True) == 1
    failures = {(failure.where, failure.what) for failure in verify(data).failures}
    assert set(broken) <= failures


def test_a_content_hash_that_is_none(data: Path) -> None:
    roll_data(data)
    lines = [
        msgspec.structs.replace(line, content_sha256="nonsense")
        if isinstance(line, ManifestSegment)
        else line
        for line in _lines(data)
    ]
    manifest_path(data / "archive", "linear").write_bytes(encode_lines(lines))
    assert len(list(broken_links(read_manifest(data / "archive")))) == 3


def test_records_that_were_exchanged(data: Path, tmp_path: Path) -> None:
    """A segment replaced by a well-formed one of its name and its counts: every checksum is fine, the content isn't."""
    roll_data(data)
    last = segments(data)[-1].path
    shutil.copy(last, tmp_path / "kept")
    tape = Tape(tmp_path / "other", start_ns=START_NS)
    for start, stop in ((0, 30), (30, 60)):
        tape.frames(market(start, stop), flush_every=25)
        tape.rotate()
    frames = market(60, 90)
    tape.frames([frames[0].replace(b'"ts":1', b'"ts":0', 1), *frames[1:]], flush_every=25)
    tape.stop()
    shutil.copy(segments(tmp_path / "other")[-1].path, last)
    found = [failure for failure in verify(data).failures if "altered or replaced" in failure.what]
    assert [Path(failure.where).name for failure in found] == [last.name]
    shutil.copy(tmp_path / "kept", last)
    assert verify(data).failures == []


def test_a_segment_rolled_twice_with_other_records(tmp_path: Path) -> None:
    append_manifest(tmp_path, "linear", [segment_line(files=0, content_sha256="aa" * 32)])
    append_manifest(tmp_path, "linear", [segment_line(files=0, content_sha256="bb" * 32)])
    ((where, what),) = broken_links(read_manifest(tmp_path))
    assert where == "linear/1.arrows"
    assert "altered in between" in what


def test_the_link_is_found_behind_many_lines(tmp_path: Path) -> None:
    """Older lines may be longer than what is read at once, wherever the end of a piece falls."""
    append_manifest(tmp_path, "linear", [segment_line(files=0, content_sha256="aa" * 32)])
    link = read_manifest(tmp_path).links["linear"][0].chain
    for extra in (65_536 - 100, 1, 1, 30, 40, 70_000):
        append_manifest(tmp_path, "linear", [file_line("x" * extra + ".parquet"), segment_line(segment=2)])
    append_manifest(tmp_path, "linear", [segment_line(segment=3, files=0, content_sha256="bb" * 32)])
    assert read_manifest(tmp_path).links["linear"][1].chain == chain_value(link, "linear", 3, "bb" * 32)


def test_nothing_is_hung_on_a_damaged_link(tmp_path: Path) -> None:
    append_manifest(tmp_path, "linear", [segment_line(files=0, content_sha256="aa" * 32)])
    path = manifest_path(tmp_path, "linear")
    whole = path.read_bytes()
    at = whole.index(b'"chain":"') + len(b'"chain":"')
    path.write_bytes(whole[:at] + b"?" + whole[at + 1 :])
    altered = path.read_bytes()
    with pytest.raises(Corrupt, match="64 hex digits"):
        append_manifest(tmp_path, "linear", [segment_line(segment=2, files=0, content_sha256="bb" * 32)])
    assert path.read_bytes() == altered
