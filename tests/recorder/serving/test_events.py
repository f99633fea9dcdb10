"""What changed while somebody kept an eye on it."""

from __future__ import annotations

import json
from typing import Any

from recorder.serving.events import KEPT, Events
from recorder.serving.feed_table import Change


def _shown(events: Events, since: int = -1) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = json.loads(events.encode(since))["events"]
    return shown


def test_few_are_told_one_by_one_and_many_as_one() -> None:
    events = Events(5)
    events.add([Change("linear", "tickers.X", "live", "stale")], 10)
    events.add([Change("linear", f"orderbook.50.{n}", "live", "stale") for n in range(300)], 20)
    first, second = _shown(events)
    assert (first["what"], first["at_ms"], first["before"], first["after"]) == (
        "tickers.X",
        10,
        "live",
        "stale",
    )
    assert second["what"] == "300 feeds of orderbook.50"
    assert second["names"].startswith("orderbook.50.0, ")
    assert second["names"].endswith("and 295 more")
    assert events.version == 2


def test_what_is_alike_goes_together_and_nothing_else() -> None:
    events = Events(5)
    events.add(
        [
            *(Change("linear", f"tickers.{n}", "live", "stale") for n in range(4)),
            *(Change("spot", f"tickers.{n}", "live", "stale") for n in range(4)),
            *(Change("linear", f"tickers.{n}", "stale", "live") for n in range(4)),
        ],
        10,
    )
    assert [(each["collector"], each["after"]) for each in _shown(events)] == [
        ("linear", "stale"), ("spot", "stale"), ("linear", "live"),
    ]  # fmt: skip


def test_the_newest_are_kept_and_only_new_ones_are_told() -> None:
    events = Events(5)
    for number in range(KEPT + 50):
        events.add([Change("linear", f"tickers.{number}", "live", "stale")], number)
    assert len(_shown(events)) == KEPT
    assert [each["what"] for each in _shown(events, events.version - 2)] == [
        f"tickers.{KEPT + 48}", f"tickers.{KEPT + 49}",
    ]  # fmt: skip
    assert _shown(events, events.version) == []
    events.add([], 99)
    assert events.version == KEPT + 50
