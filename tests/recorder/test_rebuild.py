"""The archive is a capture: what was rolled comes back, record by record, or it is said what doesn't."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder import rebuild as module
from recorder import rebuild_frames
from recorder.journal import Record, SegmentReader, segments
from recorder.manifest import read_manifest
from recorder.rebuild import Rebuilt, Unprovable, closing_of, rebuild
from recorder.roll import roll_data
from schemas.errors import Corrupt
from schemas.names import Category, RecordKind, Table
from schemas.notes import Disconnected, Subscribed
from tests.engine.drivers.messages import SAMPLES, Message, messages
from tests.engine.drivers.messages import TOPICS as EVENT_TOPICS
from tests.recorder.recordings import BOOK, START_NS, Tape, book, market, record_day
from tests.strategies import Run, runs

pytestmark = pytest.mark.usefixtures("no_fsync")


def journal_records(path: Path) -> list[Record]:
    with SegmentReader(path) as reader:
        return list(reader.records())


def held(data: Path) -> list[Rebuilt]:
    """Every segment of the journal, rolled and rebuilt, and the records held against the journal's."""
    roll_data(data)
    manifest = read_manifest(data / "archive")
    out = []
    for segment in segments(data):
        if segment.state == "torn":
            continue
        made: list[Record] = []
        found = rebuild(manifest, manifest.segments[segment.collector, segment.start_ns], made.extend)
        expected = journal_records(segment.path)
        assert made[:-1] == expected[:-1]
        told, note = closing_of(made[-1]), closing_of(expected[-1])
        assert told is not None
        assert note is not None
        assert told == note.as_content()
        assert made[-1][:4] == expected[-1][:4]
        assert found.records == len(expected)
        assert found.frames == sum(record.kind == RecordKind.FRAME for record in expected)
        out.append(found)
    return out


def test_a_recording_comes_back(tmp_path: Path) -> None:
    record_day(tmp_path, steps=120, rotate_at=(40, 80))
    found = held(tmp_path)
    assert len(found) == 3
    assert sum(each.verbatim for each in found) == 0
    assert sum(each.frames for each in found) > 200


@settings(max_examples=25, deadline=None)
@given(runs(length=60), st.booleans())
def test_whatever_was_recorded_comes_back(run: Run, rotates: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory)
        tape = Tape(data, run.topics, category=run.category, start_ns=START_NS)
        for number, step in enumerate(run.steps):
            # over midnight, and back and forth as clocks are set
            tape.now_ns += 3_600_000_000_000 if number % 7 else -600_000_000_000
            if step.action == "frame":
                tape.capture.frame_list(step.line, [step.frame], tape.now_ns)
            elif step.action == "subscribed":
                tape.capture.session(step.line, Subscribed(topics=[step.topic]))
            elif step.action == "disconnect":
                tape.capture.session(step.line, Disconnected(reason="so it is"))
            if number % 11 == 10:
                tape.journal.flush()
            if rotates and number == 20:
                tape.now_ns = max(tape.now_ns, START_NS) + 1
                tape.rotate()
        tape.stop()
        held(data)


def test_a_crash_comes_back(tmp_path: Path) -> None:
    """Bytes set aside: the closing note skips the numbers that they may have used."""
    tape = Tape(tmp_path)
    tape.frames(market(0, 60), flush_every=5)
    opened = tape.crash()
    with opened.open("r+b") as file:
        file.truncate(opened.stat().st_size - 7)
    (found,) = held(tmp_path)
    manifest = read_manifest(tmp_path / "archive")
    assert manifest.segments["linear", START_NS].ended == "crashed"
    assert found.verbatim == 0


def test_what_drivers_read_comes_back(tmp_path: Path) -> None:
    tape = Tape(tmp_path, EVENT_TOPICS)
    tape.frames([*SAMPLES, b'{"op":"pong"}', b"\xff\x00", b"", b'{"topic":"nobody.knows"}'])
    tape.stop()
    (found,) = held(tmp_path)
    # ADL alerts, whose rows lie with their symbols, and statuses; and four that nobody can read
    assert found.verbatim == 2 + 4


@settings(max_examples=30, deadline=None)
@given(st.lists(messages(), max_size=12), st.data())
def test_whatever_drivers_read_comes_back(said: list[Message], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tape = Tape(Path(directory), EVENT_TOPICS)
        tape.capture.session(1, Subscribed(topics=list(EVENT_TOPICS)))
        for message in said:
            tape.now_ns += 1_000
            spaced = (
                message.frame.replace(b",", b", ") if data.draw(st.integers(0, 9)) == 9 else message.frame
            )
            for line in data.draw(st.sampled_from([(0,), (0, 1), (1, 0), (0, 0)])):
                tape.capture.frame_list(line, [spaced], tape.now_ns)
        tape.stop()
        held(Path(directory))


def test_candles_and_limits_are_not_kept_twice(tmp_path: Path) -> None:
    tape = Tape(tmp_path, EVENT_TOPICS)
    candle, _, _, _, limit, _ = SAMPLES
    for n in range(200):
        tape.frames(
            [
                candle.replace(b"34666.4005", b"%d.%04d" % (34666 + n, n)).replace(
                    b'"ts":1672324988882', b'"ts":%d' % (1672324988882 + n)
                ),
                limit.replace(b"114450.00", b"%d.%02d" % (114450 + n, n % 100)).replace(
                    b"1750059683782", b"%d" % (1750059683782 + n)
                ),
            ]
        )
    tape.stop()
    (found,) = held(tmp_path)
    assert (found.frames, found.verbatim) == (400, 0)
    raw = pq.read_table(_file(tmp_path, Table.RAW_RECORDS))
    assert raw.column("kind").to_pylist().count(254) == 2


def test_small_pieces_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trades of one frame may lie in two pieces of a file, records in two of the scratch file."""
    monkeypatch.setattr(rebuild_frames, "PIECE_ROWS", 3)
    monkeypatch.setattr(module, "BATCH_ROWS", 3)
    monkeypatch.setattr(module, "BATCH_BYTES", 700)
    tape = Tape(tmp_path)
    tape.frames(market(0, 40))
    many = json.dumps(
        {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1_700_000_001_000, "data": [
            {"T": 1_700_000_000_990, "s": "BTCUSDT", "S": "Buy", "v": "0.5", "p": "100.5", "i": f"many-{i}",
             "L": "PlusTick", "BT": False}
            for i in range(20)
        ]},
        separators=(",", ":"),
    ).encode()  # fmt: skip
    tape.frames([many, *market(40, 60)])
    tape.stop()
    (found,) = held(tmp_path)
    assert found.verbatim == 0


def test_rows_that_were_merged_give_the_same(tmp_path: Path) -> None:
    """Merged files lie by depth, and hold other segments too."""
    record_day(tmp_path, steps=120, rotate_at=(40, 80))
    roll_data(tmp_path)
    manifest = read_manifest(tmp_path / "archive")
    before = {key: rebuild(manifest, entry).content_sha256 for key, entry in manifest.segments.items()}
    books = manifest.select(Table.BOOK_UPDATES)
    rows = pa.concat_tables([pq.read_table(tmp_path / "archive" / file.path) for file in books])
    first = books[0]
    pq.write_table(
        rows.sort_by([("depth", "ascending"), ("sequence", "ascending")]),
        tmp_path / "archive" / first.path,
        row_group_size=50,
    )
    low = min(file.sequence[0] for file in books if file.sequence)
    high = max(file.sequence[1] for file in books if file.sequence)
    merged = msgspec.structs.replace(
        first, rows=rows.num_rows, sequence=(low, high), last_segment=books[-1].segment
    )
    others = [file for file in manifest.files if file.table != Table.BOOK_UPDATES.value]
    after = type(manifest)(manifest.archive, [merged, *others], manifest.segments)
    whole = {first.path}  # the manifest speaks of it as it was
    assert {
        key: rebuild(after, entry, whole=whole).content_sha256 for key, entry in after.segments.items()
    } == before
    assert whole > {first.path}


# ---- what doesn't come back ------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    record_day(tmp_path, steps=60, rotate_at=(30,))
    roll_data(tmp_path)
    return tmp_path


def _first(data: Path) -> tuple[Any, Any]:
    manifest = read_manifest(data / "archive")
    return manifest, manifest.segments[min(manifest.segments)]


def forged(data: Path) -> Rebuilt:
    """As if the manifest spoke of the files as they are."""
    manifest, entry = _first(data)
    return rebuild(manifest, entry, whole={file.path for file in manifest.files})


def _file(data: Path, table: Table) -> Path:
    return data / "archive" / read_manifest(data / "archive").select(table)[0].path


def test_a_number_that_was_altered(data: Path) -> None:
    path = _file(data, Table.BOOK_UPDATES)
    rows = pq.read_table(path)
    ids = rows.column("cross_sequence").to_pylist()
    ids[5] += 1
    place = rows.schema.get_field_index("cross_sequence")
    pq.write_table(rows.set_column(place, rows.schema.field(place), pa.array(ids, pa.int64())), path)
    with pytest.raises(Corrupt, match="files of the archive were altered"):
        forged(data)


def test_a_row_that_is_gone(data: Path) -> None:
    path = _file(data, Table.TICKERS)
    rows = pq.read_table(path)
    gone = rows.column("sequence")[3].as_py()
    pq.write_table(pa.concat_tables([rows.slice(0, 3), rows.slice(4)]), path)
    with pytest.raises(Corrupt, match=f"the first behind {gone - 1}"):
        forged(data)


def test_a_row_that_is_there_twice(data: Path) -> None:
    path = _file(data, Table.BOOK_UPDATES)
    rows = pq.read_table(path)
    pq.write_table(pa.concat_tables([rows.slice(0, 9), rows.slice(8)]), path)
    with pytest.raises(Corrupt, match="two rows of one frame"):
        forged(data)


def test_a_file_that_is_gone_or_no_parquet(data: Path) -> None:
    path = _file(data, Table.RAW_RECORDS)
    content = path.read_bytes()
    path.write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(Corrupt, match="the file was altered"):
        rebuild(*_first(data))
    with pytest.raises(Corrupt, match="cannot be read"):
        forged(data)
    path.unlink()
    with pytest.raises(Corrupt, match="missing"):
        rebuild(*_first(data))
    with pytest.raises(Corrupt, match="missing"):
        forged(data)
    for place in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(Corrupt, match="the file was altered"):
            rebuild(*_first(data))


@pytest.mark.parametrize("payload", [b"nonsense", b'{"topic":"x","frame":["","bids","x"]}', b"{}"])
def test_a_form_that_is_none(data: Path, payload: bytes) -> None:
    path = _file(data, Table.RAW_RECORDS)
    rows = pq.read_table(path)
    payloads = [
        payload.replace(b'"x"', b'"%s"' % BOOK.encode(), 1) if kind == 254 else old
        for kind, old in zip(rows.column("kind").to_pylist(), rows.column("payload").to_pylist(), strict=True)
    ]
    pq.write_table(rows.set_column(5, rows.schema.field(5), pa.array(payloads, pa.binary())), path)
    with pytest.raises(Corrupt):
        forged(data)


def test_an_archive_of_an_older_version(data: Path) -> None:
    manifest, entry = _first(data)
    with pytest.raises(Unprovable, match="hand no frames back"):
        rebuild(manifest, msgspec.structs.replace(entry, content_sha256=None))
    manifest.files[:] = []
    without = type(manifest)(
        manifest.archive,
        [f for f in read_manifest(manifest.archive).files if f.table != "raw_records"],
        manifest.segments,
    )
    with pytest.raises(Unprovable, match="no raw_records"):
        rebuild(without, entry)


# ---- real market data ------------------------------------------------------------------------------------------------

FEED = (
    Path(os.environ.get("TAPEBOOK_FEED", Path(__file__).resolve().parents[3] / "shared" / "data"))
    / "bybit_linear_btc_eth.jsonl.gz"
)


@pytest.mark.skipif(not FEED.exists(), reason="the realistic feed is not there")
def test_no_frame_of_a_realistic_feed_is_kept_as_it_came(tmp_path: Path) -> None:
    with gzip.open(FEED) as file:
        lines = file.read().splitlines()[:20_000]
    frames = [(int(line.split(b" ", 1)[0]), line.split(b" ", 1)[1]) for line in lines]
    topics = sorted({json.loads(frame)["topic"] for _, frame in frames})
    tape = Tape(tmp_path, topics, start_ns=frames[0][0] - 1)
    for number, (at, frame) in enumerate(frames):
        tape.now_ns = at
        tape.capture.frame_list(0, [frame], at)
        if number % 1000 == 0:
            tape.journal.flush()
    tape.stop()
    (found,) = held(tmp_path)
    assert found.frames == len(frames)
    assert found.verbatim == 0
    (raw,) = read_manifest(tmp_path / "archive").select(Table.RAW_RECORDS)
    kinds = Counter(pq.read_table(tmp_path / "archive" / raw.path).column("kind").to_pylist())
    assert kinds[254] == len(topics)
    assert raw.bytes < len(frames)


def test_digits_that_stand_in_no_column(tmp_path: Path) -> None:
    topic = "tickers.BTC-6JAN23-17500-C"
    tape = Tape(tmp_path, [topic], category=Category.OPTION)
    at_ms = START_NS // 1_000_000
    tape.frames(
        (
            f'{{"id":"{topic}-{2480334983 + 13 * n}-{at_ms + n}","topic":"{topic}","ts":{at_ms + n},"data":'
            f'{{"symbol":"BTC-6JAN23-17500-C","bidPrice":"{n}.5","bidIv":"0"}},"type":"snapshot"}}'
        ).encode()
        for n in range(60)
    )
    tape.stop()
    (found,) = held(tmp_path)
    assert found.verbatim == 0
    path = _file(tmp_path, Table.RAW_RECORDS)
    rows = pq.read_table(path)
    for digits in (b"1" * 21, b""):
        payloads = [
            digits if kind == 253 else payload
            for kind, payload in zip(
                rows.column("kind").to_pylist(), rows.column("payload").to_pylist(), strict=True
            )
        ]
        assert payloads.count(digits) == 59
        pq.write_table(rows.set_column(5, rows.schema.field(5), pa.array(payloads, pa.binary())), path)
        with pytest.raises(Corrupt):
            forged(tmp_path)


def test_books_of_options(tmp_path: Path) -> None:
    topic = "orderbook.25.BTC-6JAN23-17500-C"
    tape = Tape(tmp_path, [topic], category=Category.OPTION)
    frames = [book("snapshot", 1, [("10", "5.1")], [], START_NS // 1_000_000, topic)]
    frames += [
        book("delta", u, [("10", f"{u}.5")], [("15", "0")], START_NS // 1_000_000 + u, topic)
        for u in range(2, 30)
    ]
    tape.frames(frames)
    tape.stop()
    (found,) = held(tmp_path)
    assert found.verbatim == 0
