"""``tapebook journal cut``: what is cut out stands alone, and says of its span what the whole says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from recorder.archive import open_archive
from recorder.book_state import book_at
from recorder.cli import main
from recorder.feed_rows import Clock
from recorder.gateway.sources import ReplaySource
from recorder.journal import Record, SegmentReader, recompress, segments
from recorder.journal_cut import cut_lines, cut_segments
from recorder.manifest import read_manifest
from recorder.roll import roll_data
from recorder.verify import verify
from schemas.errors import ConfigError, NoData
from schemas.names import RecordKind, Table
from schemas.time import format_ns
from tests.recorder.recordings import BOOK, MS, START_NS, TOPICS, TRADES, Tape, book, market, trade

TABLES = (Table.BOOK_UPDATES, Table.TRADES, Table.TICKERS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments of 150 steps, a stale feed, wider decimals and a feed that ends in the second; commits of five."""
    data = tmp_path_factory.mktemp("whole") / "data"
    tape = Tape(data)
    for start in (0, 150, 300):
        tape.frames(market(start, start + 75), flush_every=5)
        if start == 150:
            tape.capture.stale(BOOK, "silence")
            tape.frames(
                [book("snapshot", 1000 + start + 74, [("99.5", "1")], [("101.0", "1")], tape.now_ns // MS)]
            )
            tape.capture.announce("BTCUSDT", 3, 5)
            tape.capture.end_feeds([TRADES])
        tape.frames(market(start + 75, start + 150), flush_every=5)
        if start < 300:
            tape.rotate()
    tape.stop()
    roll_data(data)
    assert verify(data).failures == []
    return data


def records(data: Path) -> list[Record]:
    found: list[Record] = []
    for file in segments(data):
        with SegmentReader(file.path) as reader:
            found += reader.records()
    return found


def rows(data: Path, first: int, last: int) -> dict[str, list[dict[str, Any]]]:
    """Rows of the market tables between two sequences, but for keyframes: those depend on where a file begins."""
    out: dict[str, list[dict[str, Any]]] = {}
    for file in read_manifest(data / "archive").files:
        if file.table in {table.value for table in TABLES}:
            found = pq.read_table(data / "archive" / file.path).to_pylist()
            out.setdefault(file.table, []).extend(
                row for row in found if first <= row["sequence"] <= last and row.get("kind") != "keyframe"
            )
    return {table: sorted(each, key=lambda row: row["sequence"]) for table, each in out.items()}


def span_of(data: Path, first: int, last: int) -> tuple[int, int]:
    """Receive times of the frames with these numbers among frames, and one behind."""
    frames = [record for record in records(data) if record.kind == RecordKind.FRAME]
    return frames[first].receive_ns, frames[last].receive_ns + 1


@pytest.mark.parametrize(
    ("first", "last"),
    [(0, 800), (3, 100), (101, 102), (120, 420), (260, 700), (340, 345), (500, 10_000), (600, 606)],
)
def test_a_cut_stands_alone_and_agrees_with_the_whole(
    whole: Path, tmp_path: Path, first: int, last: int
) -> None:
    frames = [record for record in records(whole) if record.kind == RecordKind.FRAME]
    from_ns, to_ns = span_of(whole, first, min(last, len(frames) - 1))
    data = tmp_path / "cut"
    made = cut_segments(whole, None, from_ns, to_ns, data)
    assert [each.path for each in made] == [file.path for file in segments(data)]
    assert {file.state for file in segments(data)} == {"sealed"}
    # every frame of the span, with its number, its stamps and its bytes
    found = [record for record in records(data) if record.kind == RecordKind.FRAME]
    wanted = [record for record in frames if from_ns <= record.receive_ns < to_ns]
    assert wanted
    assert [record for record in found if record.receive_ns >= from_ns] == wanted
    if made[0].checkpoints:
        assert found == wanted
    # it rolls and verifies, the live digests of the recording met by what was made from the checkpoints
    (rolled, *_) = roll_data(data)
    assert rolled.mismatches == []
    result = verify(data)
    assert result.failures == []
    digests = [record for record in records(data) if record.payload.startswith(b'{"note":"digest"')]
    assert result.live_digests == len(digests)
    between = wanted[0].sequence, wanted[-1].sequence
    assert rows(data, *between) == {table: each for table, each in rows(whole, *between).items() if each}
    # its books are those of the whole, from the first row of each on
    books = [record.receive_ns for record in wanted if BOOK.encode() in record.payload]
    for at_ns in (books[0], books[len(books) // 2], wanted[-1].receive_ns) if books else ():
        answers = []
        for each in (whole, data):
            with open_archive(each) as archive:
                answers.append(book_at(archive, "linear", "BTCUSDT", BOOK, at_ns, Clock.RECEIVE))
        assert [answers[0].bids, answers[0].asks, answers[0].update_id, answers[0].state] == [
            answers[1].bids, answers[1].asks, answers[1].update_id, answers[1].state,
        ]  # fmt: skip


def test_segments_in_the_middle_keep_their_content(whole: Path, tmp_path: Path) -> None:
    from_ns, to_ns = span_of(whole, 50, 700)
    made = cut_segments(whole, "linear", from_ns, to_ns, tmp_path / "cut")
    assert [bool(each.checkpoints) for each in made] == [True, False, False]
    hashes = []
    for data in (whole, tmp_path / "cut"):
        with SegmentReader(segments(data)[1].path, hashed=True) as reader:
            for _ in reader:
                pass
            assert reader.content is not None
            hashes.append(reader.content.hexdigest())
    assert hashes[0] == hashes[1]
    assert records(tmp_path / "cut")[-2].payload == b'{"note":"end","reason":"cut"}'


def test_cut_from_a_compressed_and_from_an_open_journal(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    import sys

    from_ns, to_ns = span_of(whole, 120, 420)
    plain = cut_segments(whole, None, from_ns, to_ns, tmp_path / "plain")
    monkeypatch.setattr(sys.modules["recorder.journal.recompress"], "LEAST_BYTES", 0)
    shutil.copytree(whole, tmp_path / "compressed")
    for file in segments(tmp_path / "compressed"):
        assert recompress(file) is not None
    packed = cut_segments(tmp_path / "compressed", None, from_ns, to_ns, tmp_path / "packed")
    assert [(each.path.name, each.records, each.checkpoints) for each in packed] == [
        (each.path.name, each.records, each.checkpoints) for each in plain
    ]
    for one, other in zip(plain, packed, strict=True):
        contents = []
        for each in (one, other):
            with SegmentReader(each.path, hashed=True) as reader:
                stamps = [(batch.monotonic_ns, len(batch.table)) for batch in reader]
                assert reader.content is not None
                contents.append((stamps, reader.content.hexdigest()))
        assert contents[0] == contents[1]
    tape = Tape(tmp_path / "open")
    tape.frames(market(0, 30))
    tape.crash()
    made = cut_segments(tmp_path / "open", None, START_NS + 200 * MS, START_NS + 10**15, tmp_path / "opened")
    assert len(made) == 1
    assert roll_data(tmp_path / "opened")[0].mismatches == []
    assert verify(tmp_path / "opened").failures == []


def test_right_behind_the_beginning_the_beginning_is_taken_too(tmp_path: Path) -> None:
    """The collector's first record has number 0: there are no numbers for checkpoints before it."""
    tape = Tape(tmp_path / "data")
    tape.frames(market(0, 5))
    tape.stop()
    frames = [record for record in records(tmp_path / "data") if record.kind == RecordKind.FRAME]
    made = cut_segments(tmp_path / "data", None, frames[0].receive_ns, frames[3].receive_ns, tmp_path / "cut")
    assert [each.checkpoints for each in made] == [0]
    found = records(tmp_path / "cut")
    assert [record.sequence for record in found] == list(range(len(found)))
    assert [record for record in found if record.kind == RecordKind.FRAME] == frames[:3]
    roll_data(tmp_path / "cut")
    assert verify(tmp_path / "cut").failures == []


def test_a_digest_stays_with_its_frame(tmp_path: Path) -> None:
    """The notes about a frame follow it, maybe with a later stamp and in a later commit: no cut goes between."""
    tape = Tape(tmp_path / "data", topics=TOPICS)
    tape.frames(market(0, 400), flush_every=1)
    tape.stop()
    found = records(tmp_path / "data")
    at = [number for number, record in enumerate(found) if record.payload.startswith(b'{"note":"digest"')]
    assert len(at) > 3
    for number in at[1:4]:
        frame, digest = found[number - 1], found[number]
        for name, span in (
            ("before", (frame.receive_ns, frame.receive_ns + 10**9)),
            ("behind", (START_NS + 10**9, frame.receive_ns + 1)),
        ):
            into = tmp_path / f"{name}{number}"
            cut_segments(tmp_path / "data", None, *span, into)
            assert {frame.sequence, digest.sequence} <= {record.sequence for record in records(into)}
            assert roll_data(into)[0].mismatches == []


def test_lines(whole: Path, tmp_path: Path) -> None:
    from_ns, to_ns = span_of(whole, 120, 420)
    wanted = [
        (record.receive_ns, record.payload)
        for record in records(whole)
        if record.kind == RecordKind.FRAME and from_ns <= record.receive_ns < to_ns
    ]
    for name in ("lines.jsonl", "lines.gz"):
        assert cut_lines(whole, None, from_ns, to_ns, tmp_path / name) == len(wanted)
        assert list(ReplaySource(tmp_path / name).frames()) == wanted
    with pytest.raises(ConfigError, match="exists already"):
        cut_lines(whole, None, from_ns, to_ns, tmp_path / "lines.gz")


def test_what_can_not_be_cut(whole: Path, tmp_path: Path) -> None:
    later = START_NS + 10**15
    with pytest.raises(NoData, match="received nothing from 2023-11-26T"):
        cut_segments(whole, None, later, later + 5, tmp_path / "cut")
    with pytest.raises(NoData, match="journal stat"):
        cut_lines(whole, None, later, later + 5, tmp_path / "lines")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        cut_segments(whole, None, START_NS, later, tmp_path / "there")
    with pytest.raises(ConfigError, match="holds the recording"):
        cut_segments(whole, None, START_NS, later, whole / "journal" / "cut")
    data = tmp_path / "two"
    for name in ("a", "b"):
        tape = Tape(data, collector=name, topics=(TRADES,))
        tape.frames([trade("a", "1", "1", START_NS // MS)])
        tape.stop()
    with pytest.raises(ConfigError, match=r"has the collectors a, b: name one with --collector"):
        cut_segments(data, None, START_NS, later, tmp_path / "cut")
    assert not (tmp_path / "cut").exists()


def test_the_command(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from_ns, to_ns = span_of(whole, 120, 420)
    span = ["--from", format_ns(from_ns), "--to", format_ns(to_ns)]

    def run(*options: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["journal", "cut", "--data", str(whole), *map(str, options)])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out + err

    code, said = run(*span, "--into", tmp_path / "cut")
    assert (code, "of them checkpoints" in said.splitlines()[0]) == (0, True)
    code, said = run(*span, "-o", tmp_path / "lines.zst")
    assert (code, said.endswith(" frames\n")) == (0, True)
    for wrong in ([], ["-o", "a", "--into", "b"]):
        code, said = run(*span, *wrong)
        assert (code, "either -o FILE" in said) == (2, True)
    code, said = run("--from", format_ns(to_ns), "--to", format_ns(from_ns), "-o", "x")
    assert (code, "is not before" in said) == (2, True)
