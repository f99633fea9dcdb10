"""Everything put together: what is looked at, for whom, and what a browser may say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recorder.serving.hub import Listener
from recorder.serving.watching import ALWAYS, KEPT_MS, MOST_BOOKS, Refused, Watching, take_word
from tests.recorder.serving.pretend import (
    NOW_NS,
    SECOND_NS,
    PretendRecorder,
    pretend_feed,
    pretend_market,
    pretend_status,
)

NOW_MS = NOW_NS // 1_000_000
BOOK = "book/linear/orderbook.50.BTCUSDT"


def _watching(recorder: PretendRecorder) -> Watching:
    watching = Watching("tape", "1", NOW_MS)
    _take(watching, recorder)
    return watching


def _take(watching: Watching, recorder: PretendRecorder, at_ns: int = NOW_NS, words: str = "") -> None:
    watching.take(
        recorder.read(), recorder.books, {}, wall_ns=at_ns, monotonic_ns=at_ns - NOW_NS, words=words
    )


def _joined(watching: Watching, *names: str) -> Listener:
    listener = Listener()
    watching.hub.listeners.add(listener)
    watching.hear(listener, json.dumps({"listen": names}))
    return listener


def _due(watching: Watching, listener: Listener) -> dict[str, Any]:
    return {message["channel"]: message for message in map(json.loads, watching.hub.due(listener))}


def test_a_browser_gets_everything_it_listens_to() -> None:
    recorder = PretendRecorder(pretend_market(30))
    watching = _watching(recorder)
    listener = _joined(watching, *ALWAYS, BOOK)
    watching.look(NOW_MS)
    first = _due(watching, listener)
    assert set(first) == {*ALWAYS, BOOK}
    assert len(first["feeds"]["cells"]) == 120
    assert len(first[BOOK]["ladder"]["bids"]) == 20
    recorder.books["linear", "orderbook.50.BTCUSDT"].move(NOW_NS + SECOND_NS)
    watching.look(NOW_MS + 1)
    second = _due(watching, listener)
    assert set(second) == {"feeds", BOOK}
    assert len(second["feeds"]["cells"]) == 1


def test_nothing_is_looked_at_for_nobody() -> None:
    recorder = PretendRecorder(pretend_market(30))
    watching = _watching(recorder)
    watching.look(NOW_MS)
    assert not watching.is_watched()
    assert sum(book.reads for book in recorder.books.values()) == 0
    listener = _joined(watching, BOOK)
    watching.look(NOW_MS)
    assert watching.is_watched()
    assert sum(book.reads for book in recorder.books.values()) == 1
    # it shows nothing (a hidden tab): then nothing is looked at for it
    listener.sent = 1000
    assert not watching.is_watched()


def test_a_book_is_looked_at_a_while_longer_and_then_forgotten() -> None:
    recorder = PretendRecorder([pretend_feed("orderbook.50.BTCUSDT")])
    watching = _watching(recorder)
    listener = _joined(watching, BOOK)
    watching.hear(listener, '{"listen":["feeds"]}')
    _take(watching, recorder)
    assert BOOK in watching.hub.channels
    _take(watching, recorder, NOW_NS + (KEPT_MS + 1) * 1_000_000)
    assert BOOK not in watching.hub.channels
    watching.hear(listener, json.dumps({"listen": [BOOK]}))
    assert BOOK in watching.hub.channels


def test_a_book_that_is_not_shared_says_why() -> None:
    recorder = PretendRecorder([pretend_feed("orderbook.50.BTCUSDT")], walking=False)
    watching = _watching(recorder)
    listener = _joined(watching, BOOK)
    assert "doesn't share" in _due(watching, listener)[BOOK]["ladder"]["trouble"]
    _take(watching, recorder, words="no recorder publishes live books there")
    assert _due(watching, listener)[BOOK]["ladder"]["trouble"] == "no recorder publishes live books there"
    other = PretendRecorder([pretend_feed("orderbook.50.BTCUSDT")])
    _take(watching, other)
    watching.look(NOW_MS)
    assert "bids" in _due(watching, listener)[BOOK]["ladder"]


def test_a_recorder_that_shares_no_books_any_more() -> None:
    """It had no memory for them, say: then its status is what there is, and no price of before stays."""
    topic = "orderbook.50.BTCUSDT"
    recorder = PretendRecorder([pretend_feed(topic)])
    watching = _watching(recorder)
    listener = _joined(watching, "feeds")
    watching.look(NOW_MS)
    cells = _due(watching, listener)["feeds"]["cells"]
    assert (cells[0][1][0], cells[0][1][1] is None) == ("live", False)
    recorder.books.clear()
    recorder.status = pretend_status([pretend_feed(topic, "syncing")])
    _take(watching, recorder, NOW_NS + SECOND_NS)
    cells = _due(watching, listener)["feeds"]["cells"]
    assert cells[0][1][:3] == ["syncing", None, None]


def test_changes_of_state_become_events() -> None:
    recorder = PretendRecorder(pretend_market(30))
    watching = _watching(recorder)
    listener = _joined(watching, "events", "summary")
    assert _due(watching, listener)["events"]["events"] == []
    recorder.held = False
    _take(watching, recorder, NOW_NS + SECOND_NS)
    found = _due(watching, listener)
    assert {event["after"] for event in found["events"]["events"]} == {"dead"}
    assert found["summary"]["troubles"][0]["words"].startswith("its process died")


def test_so_many_books_and_no_more() -> None:
    recorder = PretendRecorder(pretend_market(100), walking=False)
    watching = _watching(recorder)
    topics = [feed["topic"] for feed in recorder.status["feeds"] if feed["topic"].startswith("orderbook")]
    for topic in topics[:MOST_BOOKS]:
        _joined(watching, f"book/linear/{topic}")
    with pytest.raises(Refused, match="32 books are being looked at"):
        _joined(watching, f"book/linear/{topics[MOST_BOOKS]}")
    watching.hub.listeners.clear()
    _joined(watching, f"book/linear/{topics[MOST_BOOKS]}")
    assert len([name for name in watching.hub.channels if name.startswith("book/")]) == MOST_BOOKS


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "[]", "3", '{"seen":"1"}', '{"seen":1.5}', '{"listen":"feeds"}', '{"listen":[1]}', '{"other":1}',
        b"\xff\x00", '{"listen":["nothing"]}', '{"listen":["book/linear/orderbook.50.NOSUCH"]}',
        '{"listen":["book/../../etc/passwd"]}',
        '{"listen":["book/"]}', '{"listen":["book"]}', "[" * 4000,
    ],
)  # fmt: skip
def test_what_a_browser_may_not_say(text: str | bytes) -> None:
    watching = _watching(PretendRecorder([pretend_feed("orderbook.50.BTCUSDT")]))
    listener = _joined(watching, "feeds")
    with pytest.raises(Refused) as caught:
        watching.hear(listener, text)
    assert len(str(caught.value)) < 300
    assert set(listener.channels) == {"feeds"}


def test_words() -> None:
    assert take_word('{"seen":3}').seen == 3
    assert take_word(b'{"listen":[]}').listen == []
