"""Renumbering: a restart makes the state 1 and what follows count on, until the recording begins a chain itself."""

from __future__ import annotations

import json

from recorder.gateway.restarts import Renumbering

TOPIC = "orderbook.50.BTCUSDT"


def frame(update_id: int, text: str = "x") -> bytes:
    data = {"s": text, "b": [], "a": [], "u": update_id, "seq": 9}
    return json.dumps({"topic": TOPIC, "data": data}, separators=(",", ":")).encode()


def test_nothing_changes_without_a_restart() -> None:
    assert Renumbering().renumber(TOPIC, frame(77)) == frame(77)


def test_after_a_restart_ids_count_from_one() -> None:
    made = Renumbering()
    made.restart(TOPIC, 100)
    assert [made.renumber(TOPIC, frame(u)) for u in (101, 102)] == [frame(2), frame(3)]
    assert made.renumber("orderbook.50.ETHUSDT", frame(101)) == frame(101)
    made.restart(TOPIC, 3)
    assert made.renumber(TOPIC, frame(103)) == frame(2)


def test_a_chain_of_the_recordings_own_ends_it() -> None:
    made = Renumbering()
    made.restart(TOPIC, 100)
    assert made.renumber(TOPIC, frame(1)) == frame(1)
    assert made.renumber(TOPIC, frame(101)) == frame(101)
    made.restart(TOPIC, 100)
    made.reset()
    assert made.renumber(TOPIC, frame(101)) == frame(101)


def test_damage_and_text_stay_as_they_are() -> None:
    made = Renumbering()
    made.restart(TOPIC, 100)
    for payload in (b"", b'{"topic"', b'{"u":', b'{"u":"101"}'):
        assert made.renumber(TOPIC, payload) == payload
    assert made.renumber(TOPIC, frame(101, 'say \\"u\\":5')) == frame(2, 'say \\"u\\":5')
