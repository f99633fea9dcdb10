"""Hundreds of books: frames whose feeds are fetched ahead, and memory in huge pages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest

from engine.core.feeds import Engine
from schemas.errors import ConfigError
from schemas.names import Category, FeedState

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
FRAME, NOTE = 0, 2

ASKED = """
import re
from pathlib import Path
from engine.core.feeds import Engine

def asked_kib():
    found = re.findall(r"^Size: +(\\d+) kB$(?:(?!^VmFlags).)*^VmFlags:[^\\n]*\\bhg\\b",
                       Path("/proc/self/smaps").read_text(), flags=re.M | re.S)
    return sum(map(int, found))

engines = []
print(asked_kib())
for books in (50, 2000):
    engines.append(Engine("linear"))
    for number in range(books):
        engines[-1].add_feed(f"orderbook.50.S{number:05}USDT")
    print(asked_kib())
"""
"""A program that prints how much memory asks for huge pages: before there are books, with few and with many."""


def _topic(number: int) -> str:
    return f"orderbook.50.S{number:05}USDT"


def _book(number: int, kind: str, update_id: int, random: Random) -> bytes:
    sides = [
        [[f"{price / 10:.1f}", str(random.randint(0 if kind == "delta" else 1, 9))] for price in prices]
        for prices in (
            sorted(random.sample(range(900, 1000), random.choice((0, 1, 5))), reverse=True),
            sorted(random.sample(range(1001, 1100), random.choice((1, 2, 20)))),
        )
    ]
    topic = _topic(number)
    data = {"s": topic.split(".")[2], "b": sides[0], "a": sides[1], "u": update_id, "seq": update_id}
    message = {"topic": topic, "type": kind, "ts": 1_000, "data": data, "cts": 1_000}
    return json.dumps(message, separators=(",", ":")).encode()


def _records(books: int, random: Random) -> list[tuple[int, bytes]]:
    """Frames of so many books at random, now and then several for one, and between them everything else there is."""
    records = [(FRAME, _book(number, "snapshot", 1, random)) for number in range(books)]
    update_ids = [1] * books
    while len(records) < 12 * books:
        number = random.randrange(books)
        for _ in range(random.choice((1, 1, 1, 3))):
            update_ids[number] += random.choice((1,) * 60 + (2,))  # a break now and then
            records.append((FRAME, _book(number, "delta", update_ids[number], random)))
        if random.random() < 0.1:
            other = random.choice(
                (
                    b'{"success":true,"ret_msg":"pong","op":"ping"}',
                    _book(books + 7, "delta", 5, random),  # of nobody's
                    records[-1][1][: random.randrange(200)],
                    records[-1][1].replace(b"USDT", b"USDC", 1),  # data names another symbol
                )
            )
            records.append((FRAME, other))
        if random.random() < 0.05:
            records.append((NOTE, records[-1][1]))  # no frame, whatever its bytes
    return records


def _state(engine: Engine) -> list[object]:
    return [
        (
            engine.state(feed),
            engine.update_id(feed),
            engine.messages(feed),
            engine.digest(feed),
            engine.best(feed),
        )
        for feed in range(engine.feed_count)
    ]


@pytest.mark.parametrize("books", [40, 120, 400])
def test_a_batch_is_its_frames_one_by_one(books: int) -> None:
    random = Random(books)
    records = _records(books, random)
    alone, batch = Engine(Category.LINEAR), Engine(Category.LINEAR)
    for engine in (alone, batch):
        for number in range(books):
            engine.add_feed(_topic(number))
        engine.end_feed(_topic(3), 0, 0)  # known, and not ours any more
    for sequence, (kind, payload) in enumerate(records):
        if kind == FRAME:
            alone.apply(payload, sequence, sequence)
    payloads = np.frombuffer(b"".join(payload for _, payload in records), np.uint8)
    offsets = np.cumsum([0] + [len(payload) for _, payload in records], dtype=np.int32)
    sequences = np.arange(len(records), dtype=np.int64)
    kinds = np.array([kind for kind, _ in records], np.uint8)
    lines = np.zeros(len(records), np.uint16)
    at = 0
    while at < len(records):
        at = batch.apply_batch(payloads, offsets, sequences, sequences, lines, kinds, at)
        at += at < len(records)  # over what is no frame
    assert _state(batch) == _state(alone)
    assert batch.take_events() == alone.take_events()
    assert batch.recomputed_digest(0) == batch.digest(0)
    states = {alone.state(feed) for feed in range(books)}
    assert {FeedState.LIVE, FeedState.STALE, FeedState.EMPTY} <= states


@pytest.mark.skipif(
    sys.platform != "linux" or not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(),
    reason="this system gives nobody huge pages",
)
def test_many_books_ask_for_huge_pages() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKED], capture_output=True, text=True, check=True, timeout=60
    )
    none, few, many = map(int, done.stdout.split())
    assert few == none
    assert many - none >= 4 * 1024  # of 7.5 MB, less what comes before the first of them


def test_books_of_every_depth_lie_side_by_side() -> None:
    depths = (50, 200, 500, 1_000)
    engine = Engine(Category.LINEAR)
    topics = [f"orderbook.{depths[number % 4]}.S{number:05}USDT" for number in range(600)]
    topics += ["tickers.BTCUSDT", "publicTrade.BTCUSDT", "orderbook.full.BTCUSDT", "orderbook.rpi.BTCUSDT"]
    for topic in topics:
        engine.add_feed(topic)
    random = Random(1)
    for number in range(600):
        frame = _book(number, "snapshot", 1, random).replace(
            b"orderbook.50", topics[number].rpartition(".")[0].encode()
        )
        assert engine.apply(frame, 1, 1) == number
    assert all(engine.state(feed) is FeedState.LIVE for feed in range(600))
    assert all(engine.digest(feed) == engine.recomputed_digest(feed) for feed in range(600))
    assert engine.topics() == topics


def test_each_of_as_many_topics_as_there_may_be_is_found() -> None:
    most = 65_536
    engine = Engine(Category.SPOT)
    topics = [f"orderbook.1.{number:x}USDT" for number in range(most)]
    assert [engine.add_feed(topic) for topic in topics] == list(range(most))
    with pytest.raises(ConfigError, match="at most 65,536"):
        engine.add_feed("orderbook.1.NEXTUSDT")
    order = list(range(most))
    Random(5).shuffle(order)
    assert [engine.feed_index(topics[number]) for number in order] == order
    assert engine.symbol_count == most
    strangers = [f"orderbook.1.{number:x}USDC" for number in range(most)]
    assert {engine.feed_index(topic) for topic in strangers} == {-1}
    for number in order[:500]:
        text = f'{{"topic":"{topics[number]}","ts":1,"type":"snapshot","data":{{"s":"{topics[number][12:]}",'
        frame = (text + '"b":[["1","2"]],"a":[["3","4"]],"u":7,"seq":7},"cts":1}').encode()
        assert engine.apply(frame, 1, 1) == number
        assert engine.state(number) is FeedState.LIVE
