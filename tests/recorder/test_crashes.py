"""What a run that ended without a word left open, as the next run says it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recorder.archive import open_archive
from recorder.crashes import crashed_feeds
from recorder.journal import SegmentReader, recover
from recorder.manifest import read_manifest
from recorder.roll import roll_data
from recorder.verify import verify
from schemas.names import Table
from schemas.notes import Crashed, OpenGap
from tests.recorder.recordings import (
    BOOK,
    MS,
    START_NS,
    TICKER,
    TOP,
    TRADES,
    Tape,
    book,
    files_of,
    market,
    ticker,
)


def _crashed(data: Path, tape: Tape) -> dict[str, OpenGap]:
    tape.crash()
    recover(data)
    return {note.topic: note.gap for note in crashed_feeds(data, "linear")}


def test_no_run_before(tmp_path: Path) -> None:
    assert crashed_feeds(tmp_path, "linear") == []


def test_a_clean_stop_leaves_nothing_open(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames(market(0, 30))
    tape.stop()
    assert crashed_feeds(tmp_path, "linear") == []


def test_each_feed_from_its_last_good_frame_on(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames(market(0, 30))
    feeds = {topic: tape.engine.checkpoint(tape.engine.feed_index(topic)) for topic in tape.engine.topics()}
    gaps = _crashed(tmp_path, tape)
    assert set(gaps) == {BOOK, TOP, TRADES, TICKER}
    for topic, gap in gaps.items():
        assert gap.cause == "crash"
        assert gap.start_ns == feeds[topic].receive_ns
        assert gap.start_match_ms == feeds[topic].match_ms
    assert gaps[BOOK].first_update_id == 1030
    assert {gaps[topic].first_update_id for topic in (TOP, TRADES, TICKER)} == {None}


def test_a_gap_that_was_open_already_stays_what_it_was(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames([frame for frame in market(0, 30) if b'"u":1010' not in frame])
    open_gap = tape.engine.open_gap(tape.engine.feed_index(BOOK))
    gaps = _crashed(tmp_path, tape)
    assert gaps[BOOK] == open_gap
    assert gaps[BOOK].cause == "lost"


def test_a_feed_that_never_delivered_has_no_gap(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames([ticker("snapshot", 5, lastPrice="1")])
    assert set(_crashed(tmp_path, tape)) == {TICKER}


def test_only_the_last_segment_counts(tmp_path: Path) -> None:
    """A crash two runs ago has been owned up to by the run behind it."""
    tape = Tape(tmp_path)
    tape.frames(market(0, 30))
    tape.crash()
    recover(tmp_path)
    after = Tape(tmp_path, start_ns=tape.now_ns + 1, crashed=crashed_feeds(tmp_path, "linear"))
    after.stop()
    assert crashed_feeds(tmp_path, "linear") == []


def test_the_next_run_records_the_gap_and_heals_it(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames(market(0, 30))
    tape.crash()
    recover(tmp_path)
    after = Tape(tmp_path, start_ns=tape.now_ns + 60_000 * MS, crashed=crashed_feeds(tmp_path, "linear"))
    after.frames([book("snapshot", 2000, [("1", "1")], [], START_NS // MS + 70_000)])
    healed_ns = after.now_ns
    after.stop()
    roll_data(tmp_path)
    files = read_manifest(tmp_path / "archive").select(Table.GAPS)
    gaps = []
    for file in files:
        rows = pq.read_table(tmp_path / "archive" / file.path)
        ends = rows.column("end_time").cast(pa.int64()).to_pylist()
        gaps += [row | {"end_time": end} for row, end in zip(rows.to_pylist(), ends, strict=True)]
    healed = {gap["topic"]: gap for gap in gaps if gap["end_time"] is not None}
    assert set(healed) == {BOOK, TRADES}  # trades go on with their subscription
    assert healed[BOOK]["cause"] == "crash"
    assert (healed[BOOK]["first_update_id"], healed[BOOK]["last_update_id"]) == (1030, 1999)
    assert healed[BOOK]["end_time"] == healed_ns
    assert {gap["topic"] for gap in gaps if gap["end_time"] is None} == {TOP, TICKER}
    segment_lines = read_manifest(tmp_path / "archive").segments
    assert [segment_lines[key].ended for key in sorted(segment_lines)] == ["crashed", "stopped"]
    assert verify(tmp_path).failures == []


def test_a_crash_behind_a_rotation(tmp_path: Path) -> None:
    """The open segment begins with checkpoints: feeds that said nothing since are known all the same."""
    tape = Tape(tmp_path)
    tape.frames(market(0, 30))
    tape.rotate()
    gaps = _crashed(tmp_path, tape)
    assert gaps[BOOK].first_update_id == 1030
    assert set(gaps) == {BOOK, TOP, TRADES, TICKER}


def _cuts(opened: Path) -> list[bytes]:
    """A segment as a kill may leave it: in the middle of its header, behind it, and behind each of its commits."""
    whole = opened.read_bytes()
    with SegmentReader(opened, lenient=True) as reader:
        ends = [reader.good_bytes]
        ends += [reader.good_bytes for _ in reader]
    return [whole[:5], *(whole[:end] for end in ends)]


def _seen_with(opened: Path, content: bytes, data: Path) -> dict[str, Crashed]:
    """What is known of a crash that left so much of the open segment; everything is put back behind it."""
    kept = files_of(opened.parent)
    opened.write_bytes(content)
    recover(data)
    found = {note.topic: note for note in crashed_feeds(data, "linear")}
    for path in opened.parent.iterdir():
        path.unlink()
    for name, content_then in kept.items():
        (opened.parent / name).write_bytes(content_then)
    return found


def test_a_crash_between_two_segments_or_amid_the_first_notes(tmp_path: Path) -> None:
    """A segment's first notes may be several commits: whatever of it came to the disk, every feed has its gap."""
    tape = Tape(tmp_path, commit_bytes=1)
    tape.frames([frame for frame in market(0, 30) if b'"u":1010' not in frame])
    tape.rotate()
    opened = tape.crash()
    cuts = _cuts(opened)
    assert len(cuts) > 6
    expected = _seen_with(opened, cuts[-1], tmp_path)
    assert {topic: note.gap.cause for topic, note in expected.items()} == {
        BOOK: "lost", TOP: "crash", TRADES: "crash", TICKER: "crash"
    }  # fmt: skip
    for cut in cuts:
        assert _seen_with(opened, cut, tmp_path) == expected
    opened.unlink()  # the one before was sealed, and no other begun
    assert {note.topic: note for note in crashed_feeds(tmp_path, "linear")} == expected


def test_a_crash_amid_the_first_notes_of_the_run_behind_a_crash(tmp_path: Path) -> None:
    """What the first one left open is not forgotten, however far the second came with owning up to it."""
    tape = Tape(tmp_path)
    tape.frames(market(0, 30))
    tape.crash()
    recover(tmp_path)
    crashed = crashed_feeds(tmp_path, "linear")
    expected = {note.topic: note.gap for note in crashed}
    after = Tape(tmp_path, start_ns=tape.now_ns + 1, crashed=crashed, commit_bytes=1)
    opened = after.crash()
    *cuts, subscribed = _cuts(opened)
    assert len(cuts) > 6
    for cut in cuts:
        found = _seen_with(opened, cut, tmp_path)
        assert {topic: note.gap for topic, note in found.items()} == expected
    # and trades heal by their subscription: from there on it is another gap
    healed = _seen_with(opened, subscribed, tmp_path)
    assert {topic: note.gap for topic, note in healed.items() if topic != TRADES} == {
        topic: gap for topic, gap in expected.items() if topic != TRADES
    }


def test_what_ended_before_a_crash_has_no_gap(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    tape.frames(market(0, 30))
    tape.capture.end_feeds([TICKER])
    assert set(_crashed(tmp_path, tape)) == {BOOK, TOP, TRADES}


def test_what_is_not_asked_for_any_more_ends_where_the_next_run_begins(tmp_path: Path) -> None:
    """A rule chooses a symbol no more that was delisted meanwhile: nothing would ever heal its gap."""
    tape = Tape(tmp_path)
    tape.frames(market(0, 30))
    tape.crash()
    recover(tmp_path)
    begins_ns = tape.now_ns + 60_000 * MS
    after = Tape(tmp_path, [TRADES], start_ns=begins_ns, crashed=crashed_feeds(tmp_path, "linear"))
    assert [after.engine.ended(after.engine.feed_index(topic)) for topic in (BOOK, TRADES)] == [True, False]
    after.stop()
    roll_data(tmp_path)
    with open_archive(tmp_path) as archive:
        rows = archive.sql("SELECT topic, cause, healed_by, epoch_ns(end_time) AS end_ns FROM gaps").table()
    gaps = {row.pop("topic"): row for row in rows.to_pylist()}
    ended = {"cause": "crash", "healed_by": "end", "end_ns": begins_ns}
    assert gaps == {
        BOOK: ended, TOP: ended, TICKER: ended, TRADES: ended | {"healed_by": "subscribed"}
    }  # fmt: skip
    assert verify(tmp_path).failures == []
