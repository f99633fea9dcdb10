"""Capture files: any packing, streamed, malformed lines named; clocks moved and nothing else."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recorder.gateway import sources
from recorder.gateway.sources import ReplaySource, retimed
from schemas.errors import ConfigError
from schemas.names import Category, RecordKind
from tests.recorder.journal.support import writer
from tests.recorder.recordings import Tape

Make = Callable[..., Any]

LINES = [(1_000 + number, b'{"topic":"tickers.BTCUSDT","n":%d}' % number) for number in range(1_000)]


def packed(data: bytes, name: str) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(data)
    if name.endswith(".zst"):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        return bytes(sink.getvalue())
    return data


@pytest.mark.parametrize("name", ["feed.txt", "feed.jsonl.gz", "feed.zst"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_every_packing_gives_the_same_bytes(tmp_path: Path, name: str, newline: bytes) -> None:
    path = tmp_path / name
    data = newline.join(b"%d %b" % line for line in LINES)
    path.write_bytes(packed(data + newline + newline, name))
    assert list(ReplaySource(path).frames()) == LINES
    path.write_bytes(packed(data, name))
    assert list(ReplaySource(path).frames()) == LINES


def test_a_frame_keeps_its_spaces_and_odd_bytes(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    frame = b'{"a": "\xff \x00 b" }  '
    path.write_bytes(b"5 " + frame + b"\n")
    assert list(ReplaySource(path).frames()) == [(5, frame)]


@pytest.mark.parametrize(
    "line",
    [
        *(b"no stamp", b"{}", b"12", b"12 ", b" 12 {}", b"-1 {}", b"1.5 {}", b"1e9 {}"),
        *(b"99999999999999999999 {}", b"\xc2\xb2 {}", b"\xff\xfe {}"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "feed.txt"
    path.write_bytes(b"1 {}\n\n2 {}\n" + line + b"\n3 {}\n")
    frames = ReplaySource(path).frames()
    assert list(itertools.islice(frames, 2)) == [(1, b"{}"), (2, b"{}")]
    with pytest.raises(ConfigError, match=r"feed\.txt, line 4: expected '<receive_ns> <frame>', found "):
        next(frames)


def test_an_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 100)
    path = tmp_path / "feed.txt"
    path.write_bytes(b"1 {}\n2 " + b"x" * 1_000)
    with pytest.raises(ConfigError, match="line 2: longer than 100 bytes"):
        list(ReplaySource(path).frames())
    path.write_bytes(b"x" * 1_000)
    with pytest.raises(ConfigError, match=r"line 1: .*more than 100 bytes"):
        list(ReplaySource(path).frames())


@pytest.mark.parametrize("name", ["feed.gz", "feed.zst"])
@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_a_damaged_archive_says_where_reading_ended(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / name
    whole = packed(b"".join(b"%d %b\n" % line for line in LINES), name)
    path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"garbage, no archive at all" * 9)
    with pytest.raises(ConfigError, match="unreadable after line"):
        list(ReplaySource(path).frames())


def test_a_data_directory_is_read_through_its_journal(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    for number, (stamp, frame) in enumerate(LINES):
        journal.append(stamp, 0, RecordKind.FRAME, frame)
        if number % 100 == 0:
            journal.append(stamp, 0, RecordKind.SESSION, b"{}")
            journal.flush()
    journal.close()
    source = ReplaySource(tmp_path)
    assert list(source.frames()) == LINES
    assert list(source.survey(Category.LINEAR).instruments) == ["BTCUSDT"]


def test_of_a_data_directory_come_the_frames_of_one_category_by_time(tmp_path: Path) -> None:
    """The same symbol is another thing on spot; shards of one category are one market."""
    for collector, category, stamps in (
        ("one", Category.LINEAR, (1, 5, 9)),
        ("two", Category.LINEAR, (2, 6)),
        ("spot", Category.SPOT, (3, 4)),
    ):
        tape = Tape(tmp_path, [], collector=collector, category=category)
        for stamp in stamps:
            tape.journal.append(stamp, 0, RecordKind.FRAME, b'{"topic":"orderbook.50.BTCUSDT"}')
        tape.stop()
    assert [stamp for stamp, _ in ReplaySource(tmp_path, Category.LINEAR).frames()] == [1, 2, 5, 6, 9]
    assert [stamp for stamp, _ in ReplaySource(tmp_path, Category.SPOT).frames()] == [3, 4]
    with pytest.raises(ConfigError, match="holds no frames of inverse; --category names another"):
        ReplaySource(tmp_path, Category.INVERSE).survey(Category.INVERSE)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        ReplaySource(tmp_path / "nothing")
    (tmp_path / "empty").write_bytes(b"\n\n")
    with pytest.raises(ConfigError, match="holds no frames"):
        ReplaySource(tmp_path / "empty").survey(Category.LINEAR)


def test_survey_counts_decimals_per_symbol(make_lines: Make, write_lines: Make) -> None:
    topics = ["orderbook.50.BTCUSDT", "publicTrade.SOLUSDT", "tickers.ETHUSDT", "tickers.BTCUSDT"]
    lines = make_lines(Category.LINEAR, topics, 3)
    survey = ReplaySource(write_lines(lines, "feed.gz")).survey(Category.LINEAR)
    assert survey.is_complete
    assert survey.first_ns == lines[0][0]
    steps = {i.symbol: (i.tick_size, i.size_step, i.base_coin) for i in survey.instruments.values()}
    assert steps["BTCUSDT"] == ("0.01", "0.001", "BTC")
    assert steps["SOLUSDT"] == ("0.001", "0.1", "SOL")
    assert set(steps) == {"BTCUSDT", "SOLUSDT", "ETHUSDT"}
    assert survey.has_symbol("BTCUSDT")
    assert not survey.has_symbol("XRPUSDT")


def test_survey_of_options_lists_contracts_not_coins(make_lines: Make, write_lines: Make) -> None:
    lines = make_lines(Category.OPTION, ["publicTrade.BTC"], 60)
    survey = ReplaySource(write_lines(lines)).survey(Category.OPTION)
    assert survey.instruments
    assert all(symbol.startswith("BTC-") for symbol in survey.instruments)


def test_survey_of_a_long_file_admits_what_it_has_not_seen(
    make_lines: Make, write_lines: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SURVEY_BYTES", 100)
    path = write_lines(make_lines(Category.LINEAR, ["tickers.BTCUSDT", "tickers.ETHUSDT"], 1))
    survey = ReplaySource(path).survey(Category.LINEAR)
    assert not survey.is_complete
    assert list(survey.instruments) == ["BTCUSDT"]
    assert survey.has_symbol("ETHUSDT")
    assert not survey.has_symbol("ethusdt")
    assert not survey.has_symbol("")


def test_survey_survives_undecodable_frames(write_lines: Make) -> None:
    lines = [
        (1, b"garbage"),
        (2, b'{"topic":"orderbook.50.BTCUSDT","data":{"b":[["1"'),
        (3, b'{"topic":"orderbook.50.BTCUSDT","data":{"b":[["1.5","2.25"]],"a":[]}}'),
        (4, b'{"topic":"publicTrade.BTCUSDT","data":[{"s":1}]}'),
        (5, b'{"success":true,"op":"subscribe"}'),
    ]
    survey = ReplaySource(write_lines(lines)).survey(Category.LINEAR)
    assert {s: (i.tick_size, i.size_step) for s, i in survey.instruments.items()} == {
        "BTCUSDT": ("0.1", "0.01")
    }


def test_retimed_moves_clocks_and_nothing_else() -> None:
    frame = (
        b'{"topic":"publicTrade.X","ts":1672304486868,"cts":1672304486860,"data":[{"T":1672304486865,"s":"ts",'
        b'"i":"1672304486865","nextFundingTime":"1672304500000","u":1672304486865,"p":"1672304486865"}],"seq":1}'
    )
    moved = (
        b'{"topic":"publicTrade.X","ts":1672304486968,"cts":1672304486960,"data":[{"T":1672304486965,"s":"ts",'
        b'"i":"1672304486865","nextFundingTime":"1672304500100","u":1672304486865,"p":"1672304486865"}],"seq":1}'
    )
    assert retimed(frame, 100) == moved
    assert retimed(moved, -100) == frame


@pytest.mark.parametrize(
    "frame",
    [
        b'{"nextFundingTime":"","ts":"soon","T":12}',
        b'{"s":"{\\"ts\\":1672304486868}"}',
        b'{"ats":1672304486868,"tsx":1672304486868}',
        b'{"ts":16723044868681}',
        b"\xff\x00 garbage",
    ],
)
def test_retimed_leaves_what_is_no_clock(frame: bytes) -> None:
    assert retimed(frame, 12_345) == frame


def test_retimed_frames_stay_json_of_the_same_length(make_lines: Make) -> None:
    topics = ["orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "tickers.BTCUSDT"]
    for _, payload in make_lines(Category.LINEAR, topics, 2):
        moved = retimed(payload, 86_400_000)
        assert len(moved) == len(payload)
        assert json.loads(moved)["ts"] == json.loads(payload)["ts"] + 86_400_000
