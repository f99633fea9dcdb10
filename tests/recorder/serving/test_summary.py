"""The head of the page: what records, how fast, and what is not well."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recorder.serving.feed_table import Told
from recorder.serving.summary import Summary
from tests.recorder.serving.pretend import NOW_NS, SECOND_NS, pretend_feed, pretend_status


def _shown(summary: Summary) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(summary.encode(-1))
    return shown


def _status(**changes: Any) -> dict[str, Any]:
    return pretend_status([pretend_feed("tickers.X"), pretend_feed("tickers.Y")], **changes)


def test_all_is_well() -> None:
    summary = Summary("tape", "1.2.3", login=True)
    summary.take([Told("linear", True, _status())], NOW_NS)
    shown = _shown(summary)
    assert (shown["data"], shown["version"], shown["login"]) == ("tape", "1.2.3", True)
    assert shown["troubles"] == []
    card = shown["collectors"][0]
    assert (card["state"], card["feeds"], card["well"], card["lines"], card["lines_up"]) == (
        "recording",
        2,
        2,
        2,
        2,
    )
    assert card["memory"] == "240.0 MiB"
    assert card["days_left"] == pytest.approx((400 << 30) / 200_000 / 86_400, abs=0.1)


def test_rates_come_with_the_second_reading() -> None:
    summary = Summary("tape", "1")
    for second in range(8):
        summary.take(
            [
                Told(
                    "linear", True,
                    _status(written_ns=NOW_NS + second * SECOND_NS, frames=500 * second, frame_bytes=1024 * second),
                )
            ],
            NOW_NS + second * SECOND_NS,
        )  # fmt: skip
        card = _shown(summary)["collectors"][0]
        assert card["frames_a_second"] == (500.0 if second else None)
    assert card["bytes_a_second"] == "1.0 KiB"
    summary.take([Told("linear", True, _status(written_ns=NOW_NS + 9 * SECOND_NS, frames=3))], NOW_NS)
    assert _shown(summary)["collectors"][0]["frames_a_second"] is None


@pytest.mark.parametrize(
    ("held", "changes", "state", "words"),
    [
        (False, {}, "dead", "its process died without a word"),
        (False, {"running": False}, "ended", "nothing is recording"),
        (True, {"paused": True}, "recording", "reading is paused"),
        (True, {"written_ns": NOW_NS - 61 * SECOND_NS}, "recording", "it has told nothing for 61 s"),
        (
            True,
            {"lines": [{"line": 0, "connected": False, "connects": 1}]},
            "recording",
            "not connected: line 0",
        ),
    ],
)
def test_what_is_not_well_is_said(held: bool, changes: dict[str, Any], state: str, words: str) -> None:
    summary = Summary("tape", "1")
    summary.take([Told("linear", held, _status(**changes))], NOW_NS)
    shown = _shown(summary)
    assert shown["collectors"][0]["state"] == state
    assert any(words in each["words"] for each in shown["troubles"])


def test_nobody_records() -> None:
    summary = Summary("tape", "1")
    summary.take([], NOW_NS)
    assert _shown(summary)["troubles"] == [{"collector": "", "words": "nothing is recording"}]


def test_a_status_with_the_least_that_one_has() -> None:
    told = {
        "running": True,
        "written_ns": NOW_NS,
        "paused": False,
        "backlog_bytes": 0,
        "lines": [],
        "feeds": [],
    }
    summary = Summary("tape", "1")
    summary.take([Told("old", True, told)], NOW_NS)
    card = _shown(summary)["collectors"][0]
    assert (card["memory"], card["p99_ms"], card["ahead_ms"], card["for"]) == (None, None, None, None)
