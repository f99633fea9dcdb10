"""Faults: drawn from a seed, exact in what they do, told one by one."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.gateway.faults import Deed, FaultInjector, FaultPlan, corrupted, parse_faults
from schemas.errors import ConfigError

TOPIC = "orderbook.50.BTCUSDT"
FRAMES = [json.dumps({"topic": TOPIC, "n": number, "t": 'a"]}\\'}).encode() for number in range(5_000)]


def injector(connection: int = 1, seed: int = 7, **shares: float) -> FaultInjector[int]:
    return FaultInjector(FaultPlan({Deed(name): share for name, share in shares.items()}, seed), connection)


def sent(made: FaultInjector[int], frames: list[bytes] = FRAMES, topic: str = TOPIC) -> list[bytes]:
    payloads = []
    for number, frame in enumerate(frames):
        payloads += [
            outcome.payload
            for outcome in made.pass_frame(topic, frame, number)
            if outcome.payload is not None
        ]
    return payloads


def test_parse() -> None:
    assert parse_faults([]) is None
    assert parse_faults(["drop=0.001,repeat=0.5", "seed=7, close=2.5"]) == FaultPlan(
        {Deed.DROP: 0.001, Deed.REPEAT: 0.5}, seed=7, close_seconds=2.5
    )
    assert parse_faults(["seed=-3"]) == FaultPlan({}, seed=-3)
    assert parse_faults(
        ["half_open=0.1,refuse=0.7,drop=0.9,forbidden=1,restart=3,until=2.5,slow_reader=64,delay=0.1"]
    ) == FaultPlan(
        {Deed.HALF_OPEN: 0.1, Deed.REFUSE: 0.7, Deed.DROP: 0.9, Deed.FORBIDDEN: 1.0},
        restart_seconds=3.0,
        until_seconds=2.5,
        slow_reader_kib=64.0,
        delay_seconds=0.1,
    )


@pytest.mark.parametrize(
    "spec",
    [
        *("drop", "drop=", "drop=x", "drop=1.5", "drop=-0.1", "drop=nan", "lose=0.1", "", "drop=0.6,cut=0.6"),
        *(
            "drop=0.5,late=0.6",
            "refuse=0.6,lost_ack=0.6",
            "forbidden=0.6,too_many=0.6",
            "restart=0",
            "delay=-1",
        ),
        *(
            "slow_reader=0",
            "close=0",
            "close=-1",
            "close=inf",
            "close=nan",
            "seed=1.5",
            "seed=",
            "drop=0.1;seed=1",
        ),
    ],
)
def test_a_bad_spec_is_refused_with_the_list_of_valid_ones(spec: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_faults([spec])
    for name in (*Deed, "seed"):
        assert f"{name}=" in str(refusal.value)


def test_no_share_no_fault() -> None:
    assert sent(injector()) == FRAMES


@pytest.mark.parametrize("deed", [Deed.DROP, Deed.REPEAT, Deed.REORDER, Deed.CORRUPT])
def test_shares_and_repeatability(deed: Deed) -> None:
    runs = []
    for connection, seed in ((1, 7), (1, 7), (2, 7), (1, 8)):
        made = injector(connection, seed, **{deed.value: 0.02})
        runs.append([outcome for frame in FRAMES for outcome in made.pass_frame(TOPIC, frame, 0)])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert runs[0] != runs[3]
    assert 50 < sum(outcome.deed is deed for outcome in runs[0]) < 150


def test_drop() -> None:
    made = injector(drop=0.1)
    kept = sent(made)
    assert len(kept) < len(FRAMES)
    assert kept == [frame for frame in FRAMES if frame in set(kept)]


def test_repeat() -> None:
    counts = Counter(sent(injector(repeat=0.1)))
    assert set(counts) == set(FRAMES)
    assert set(counts.values()) == {1, 2}


def test_reorder_holds_back_until_after_the_next_of_the_topic() -> None:
    made = injector(reorder=1.0)
    first, second, third = FRAMES[:3]
    assert [(o.deed, o.payload) for o in made.pass_frame(TOPIC, first, 0)] == [(Deed.REORDER, None)]
    other = made.pass_frame("tickers.X", second, 1)
    assert [o.payload for o in other] == [None]
    swapped = made.pass_frame(TOPIC, third, 2)
    assert [(o.deed, o.payload, o.tag) for o in swapped] == [(None, third, 2), (None, first, 0)]
    assert [o.payload for o in made.release()] == [second]
    assert made.release() == []


def test_a_frame_held_back_is_told_as_dropped_when_its_topic_ends() -> None:
    made = injector(reorder=1.0)
    made.pass_frame(TOPIC, FRAMES[0], 5)
    assert [(o.deed, o.payload, o.original, o.tag) for o in made.unsubscribe(TOPIC)] == [
        (Deed.DROP, None, FRAMES[0], 5)
    ]
    assert made.unsubscribe(TOPIC) == []


def test_stall_withholds_everything_until_subscribed_again() -> None:
    made = injector(stall=1.0)
    for frame in FRAMES[:3]:
        assert [(o.deed, o.payload) for o in made.pass_frame(TOPIC, frame, 0)] == [(Deed.STALL, None)]
    quiet = injector(stall=0.05)
    kept = len(sent(quiet))
    assert 0 < kept < len(FRAMES)
    assert sent(quiet) == []
    assert sent(quiet, topic="tickers.X") != []
    quiet.subscribe(TOPIC)
    assert sent(quiet) != []


def test_calm_ends_the_damage() -> None:
    made = injector(drop=1.0)
    assert sent(made) == []
    made.calm()
    assert sent(made) == FRAMES


def test_late_sends_the_frame_and_half_open_does_not() -> None:
    for deed, payload in (("late", FRAMES[0]), ("half_open", None)):
        (outcome,) = injector(**{deed: 1.0}).pass_frame(TOPIC, FRAMES[0], 3)
        assert (outcome.deed, outcome.payload) == (Deed(deed), payload)


def test_cut_sends_nothing_itself() -> None:
    outcome = injector(cut=1.0).pass_frame(TOPIC, FRAMES[0], 3)
    assert [(o.deed, o.payload, o.original, o.tag) for o in outcome] == [(Deed.CUT, None, FRAMES[0], 3)]


def decodes(payload: bytes) -> bool:
    try:
        json.loads(payload.decode())
    except (ValueError, UnicodeDecodeError):
        return False
    return True


JSON_OBJECTS = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)


@given(JSON_OBJECTS, st.integers(0, 2**32), st.booleans())
def test_corrupt_is_never_decodable(content: dict[str, object], seed: int, ascii_only: bool) -> None:
    payload = json.dumps(content, ensure_ascii=ascii_only, separators=(",", ":")).encode(errors="replace")
    assert not decodes(corrupted(payload, random.Random(seed)))


def test_corrupt_has_several_ways() -> None:
    generator = random.Random(1)
    made = [corrupted(FRAMES[0], generator) for _ in range(200)]
    assert not any(map(decodes, made))
    shapes = {
        "short": any(len(payload) < len(FRAMES[0]) for payload in made),
        "flipped": any(len(payload) == len(FRAMES[0]) for payload in made),
        "nul": any(b"\x00" in payload for payload in made),
        "garbage": any(b"\xff" in payload or b"\xfe" in payload for payload in made),
    }
    assert all(shapes.values()), shapes
