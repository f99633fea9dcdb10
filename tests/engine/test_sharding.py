"""Who records which symbol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sharding import MAX_PINS, MAX_SHARDS, Shard, balance, parse_shard
from schemas.errors import ConfigError

symbols = st.text(st.characters(codec="ascii", categories=["Lu", "Nd"]), min_size=1, max_size=12)
loads = st.dictionaries(symbols, st.floats(0, 1e6), max_size=20)


@given(loads, st.lists(symbols), st.integers(1, MAX_SHARDS))
def test_every_symbol_has_one_owner_that_all_agree_on(
    known: dict[str, float], new: list[str], shards: int
) -> None:
    pins = [f"{symbol}={number}" for symbol, number in balance(known, shards).items()]
    all_shards = [parse_shard(f"{number}/{shards}", pins) for number in range(1, shards + 1)]
    for symbol in [*known, *new]:
        assert sum(shard.takes(symbol) for shard in all_shards) == 1


@given(st.dictionaries(symbols, st.floats(0, 1e6), min_size=1, max_size=20), st.integers(2, 8))
def test_shares_differ_by_no_more_than_one_symbol(known: dict[str, float], shards: int) -> None:
    """What the heaviest-first rule promises: nobody outweighs the lightest by more than its own lightest symbol."""
    pins = balance(known, shards)
    assert set(pins) == set(known)
    weights = {number: [known[s] for s in pins if pins[s] == number] for number in range(1, shards + 1)}
    lightest = min(sum(each) for each in weights.values())
    for each in weights.values():
        if each:
            assert sum(each) - min(each) <= lightest + 1e-3


def test_a_market_with_a_few_giants() -> None:
    known = {f"S{number}": 1000 / (1 + number) for number in range(600)}
    pins = balance(known, 3)
    assert len(pins) == MAX_PINS
    weights = [
        sum(load for symbol, load in known.items() if Shard(number, 3, pins).takes(symbol))
        for number in (1, 2, 3)
    ]
    assert max(weights) < 1.02 * min(weights)


def test_one_share_is_everything() -> None:
    assert parse_shard("") == Shard()
    assert Shard().takes("anything")
    assert balance({"A": 1.0}, 1) == {}


def test_the_hash_is_the_same_everywhere() -> None:
    """Written down, because another machine or release must agree: CRC-32 as gzip has it, modulo, plus one."""
    assert [Shard(1, 4).owner(symbol) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT")] == [4, 1, 1]


@pytest.mark.parametrize("text", ["1", "0/2", "3/2", "a/b", "1/65", "1/0", "-1/2", "1/2/3", "²/3"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ConfigError, match="shard"):
        parse_shard(text)


@pytest.mark.parametrize("pin", ["A", "=1", "A=", "A=3", "A=0", "A=x"])
def test_what_is_no_pin(pin: str) -> None:
    with pytest.raises(ConfigError, match="pins"):
        parse_shard("1/2", [pin])
