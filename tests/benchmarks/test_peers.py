"""Peers: made where they are installed, named where they are not, and all of them with our books."""

from __future__ import annotations

import importlib.util

import pytest

pytest.importorskip("orjson", reason="install the test extra: pip install 'tapebook[test]'")

from benchmarks.contenders import decimals_of, quotes_of
from benchmarks.feed import Feed, feed_of, with_books
from benchmarks.market import generated_topic
from benchmarks.peers import PACKAGES, decode_peers, make_peers
from benchmarks.timing import Contender, check_quotes, time_all


@pytest.fixture(scope="module")
def feed() -> Feed:
    return feed_of(*generated_topic("orderbook.50", 400))


def never() -> Contender:
    raise AssertionError("made although it is not installed")


def moved() -> Contender:
    raise ImportError("no module named bybit")


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert make_peers({"order_book": [never], "hftbacktest": [never]}) == (
        [],
        {"order-book": "not installed", "hftbacktest": "not installed"},
    )


def test_a_peer_whose_parts_have_moved_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    contenders, left_out = make_peers({"nautilus_trader": [moved]})
    assert contenders == []
    assert left_out == {"nautilus_trader": "installed, but not usable: no module named bybit"}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_peer_ends_with_our_books_pass_after_pass(feed: Feed, name: str) -> None:
    pytest.importorskip(name, reason="install the peers extra: pip install 'tapebook[peers]'")
    engine = with_books(feed)
    peers, left_out = make_peers({name: decode_peers(feed, decimals_of(engine, feed))[name]})
    assert left_out == {}
    check_quotes(peers, quotes_of(engine, feed))
    time_all(peers, 1, 1)
    assert all(peer.quotes() == quotes_of(engine, feed) for peer in peers)
