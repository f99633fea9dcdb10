"""What the archive says: gaps around a moment, the moment in a sentence, the last day."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import recorder.serving.history as history_module
from recorder.archive import Archive
from recorder.manifest import Manifest
from recorder.serving.history import MOST_GAPS, STRIP, History
from recorder.serving.moment import moment_of
from schemas.time import parse_time
from tests.simulated import END_NS

NOW = parse_time("2026-03-06T00:10:00Z")


@pytest.fixture(scope="module")
def history(evening: Path) -> Iterator[History]:
    history = History(evening)
    yield history
    history.close()


SINCE = "gaps since then are counted with the feeds, and are listed here once they are rolled."


def _asked(history: History, text: str | None, feed: str = "", within: int = 60) -> tuple[list[str], str]:
    moment = None if text is None else moment_of(text, within, NOW)
    answer = history.gaps(moment, feed, NOW)
    return [gap["topic"] for gap in answer["gaps"]], answer["sentence"]


def test_the_newest_gaps(history: History) -> None:
    topics, sentence = _asked(history, None)
    assert topics == ["orderbook.50.ETHUSDT", "orderbook.50.BTCUSDT"]
    assert sentence == f"The archive goes to 2026-03-06 00:05:00 UTC; {SINCE}"
    later = history.gaps(None, "", NOW + 3600 * 10**9)["sentence"]
    assert later == f"The archive goes to 2026-03-06 00:05:00 UTC, 1 h 5 min ago; {SINCE}"


def test_what_happened_at_a_moment(history: History) -> None:
    topics, sentence = _asked(history, "23:57:21")
    assert topics == ["orderbook.50.BTCUSDT"]
    # six topics of two symbols; BTCUSDT had no liquidation yet, so that nothing of that feed was on record
    assert sentence == (
        "At 2026-03-05 23:57:21 UTC 11 feeds were recorded, 1 in a gap; 1 gap is on record around it."
    )
    assert _asked(history, "23:56", within=5) == (
        [],
        "At 2026-03-05 23:56:00 UTC 11 feeds were recorded, all of them could be trusted; no gap is on record around "
        "it.",
    )


def test_one_feed_alone(history: History) -> None:
    topics, sentence = _asked(history, "23:57:21", "50.BTC")
    assert topics == ["orderbook.50.BTCUSDT"]
    assert sentence.startswith("At 2026-03-05 23:57:21 UTC 1 feed was recorded, but in a gap; 1 gap")
    assert _asked(history, "23:57:21", "eth")[0] == []
    assert _asked(history, None, "%' OR true --")[0] == [], "what is asked for is a value, not SQL"


def test_when_nothing_was_recorded(history: History) -> None:
    topics, sentence = _asked(history, "00:02:47", within=10)
    assert topics == []
    assert sentence == (
        "At 2026-03-06 00:02:47 UTC nothing was recorded; the record before it ends at 2026-03-06 00:02:40 UTC; "
        "the next begins at 2026-03-06 00:02:55 UTC."
    )
    assert (
        "nothing was recorded; the next begins at 2026-03-05 23:5" in _asked(history, "2026-01-01 00:00")[1]
    )


def test_what_is_not_in_the_archive_yet(history: History) -> None:
    assert _asked(history, "00:08")[1] == (
        "The archive goes to 2026-03-06 00:05:00 UTC; what came later is in the journal, and is told here "
        "once it is rolled."
    )


def test_ids_are_text_and_times_milliseconds(history: History) -> None:
    gap = history.gaps(moment_of("23:57:21", 60, NOW), "", NOW)["gaps"][0]
    assert isinstance(gap["first_update_id"], str)
    assert (gap["cause"], gap["healed_by"], gap["collector"]) == ("lost", "snapshot", "evening")
    assert abs(gap["start_ms"] * 1_000_000 - parse_time("2026-03-05T23:57:20Z")) < 2 * 10**9
    assert 3000 < gap["end_ms"] - gap["start_ms"] < 4000


def test_the_last_day_of_each_feed(history: History) -> None:
    trust = history.trusted(END_NS)
    assert len(trust) > 50
    btc = trust["linear", "orderbook.50.BTCUSDT"]
    assert len(btc.strip) == STRIP
    assert btc.strip[:-1] == "." * (STRIP - 1), "it was recorded for the last ten minutes"
    assert btc.strip[-1] == "x"
    assert 0.99 < btc.share < 1
    tickers = trust["linear", "tickers.BTCUSDT"]
    assert tickers.share == 1
    assert tickers.strip[-1] in "23456789"


def test_an_archive_that_grows_is_opened_again(evening: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "journal").mkdir(parents=True)
    history = History(tmp_path / "data")
    try:
        answer = history.gaps(None, "", NOW)
        assert answer["sentence"].startswith("Nothing is in the archive yet")
        assert history.trusted(NOW) == {}
        shutil.copytree(evening / "archive", tmp_path / "data" / "archive")
        assert len(history.gaps(None, "", NOW)["gaps"]) == 2
    finally:
        history.close()


def test_a_directory_that_is_none_says_so(tmp_path: Path) -> None:
    history = History(tmp_path / "nowhere")
    assert "no such data directory" in history.gaps(None, "", NOW)["sentence"]
    history.interrupt()
    history.close()


def test_only_the_days_in_question_are_looked_at(evening: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive of years has too many files to open for a question about a minute."""
    looked: list[set[tuple[str, str]]] = []
    real = history_module.Archive

    def archive(data: Path, manifest: Manifest, **options: Any) -> Archive:
        looked.append({(file.table, file.date) for file in manifest.files})
        return real(data, manifest, **options)

    monkeypatch.setattr(history_module, "Archive", archive)
    history = History(evening)
    try:
        history.gaps(moment_of("2026-03-06 00:02:47", 10, NOW), "", NOW)
        assert set().union(*looked) <= {
            (table, date) for table in ("gaps", "coverage") for date in ("2026-03-05", "2026-03-06")
        }
        looked.clear()
        assert (
            "nothing was recorded"
            in history.gaps(moment_of("2025-01-01 00:00", 60, NOW), "", NOW)["sentence"]
        )
        assert {("gaps", "2026-03-05")} & set().union(*looked) == set()
        looked.clear()
        history.trusted(END_NS + 3 * 86_400 * 10**9)
        assert looked == [set()]
    finally:
        history.close()


def test_answers_are_bounded(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_GAPS >= 100
    monkeypatch.setattr("recorder.serving.history.MOST_GAPS", 1)
    answer = history.gaps(None, "", NOW)
    assert (len(answer["gaps"]), answer["more"]) == (1, True)
