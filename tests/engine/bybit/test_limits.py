import itertools
import json

import pytest

from engine.bybit import limits
from schemas.errors import ConfigError
from schemas.names import Category


@pytest.mark.parametrize("topics", [[], ["a"], ["orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"]])
def test_argument_characters_is_the_length_of_the_compact_array(topics: list[str]) -> None:
    assert limits.argument_characters(topics) == len(json.dumps(topics, separators=(",", ":")))


def test_only_spot_limits_the_arguments_of_a_request() -> None:
    assert limits.arguments_per_request(Category.SPOT) == 10
    assert {limits.arguments_per_request(c) for c in Category if c is not Category.SPOT} == {200}


def test_connection_at_the_character_limit_passes_and_one_more_is_refused() -> None:
    # 21,000 characters: "[" and 700 times 27 characters in quotes and a comma or bracket, minus one.
    topics = [f"orderbook.50.{number:014d}" for number in range(699)] + ["orderbook.50." + "9" * 13]
    assert limits.argument_characters(topics) == 21_000
    limits.check_connection(Category.LINEAR, topics)
    with pytest.raises(ConfigError, match=r"21001 characters.*at most 21000.*several connections"):
        limits.check_connection(Category.LINEAR, [*topics[:-1], topics[-1] + "9"])


def test_option_connection_takes_2000_topics() -> None:
    topics = [f"t.{number}" for number in range(2_001)]
    limits.check_connection(Category.OPTION, topics[:2_000])
    with pytest.raises(ConfigError, match=r"2001 topics.*at most 2000"):
        limits.check_connection(Category.OPTION, topics)
    limits.check_connection(Category.LINEAR, topics)


@pytest.mark.parametrize("category", list(Category))
def test_distribute_keeps_order_and_every_connection_within_its_limits(category: Category) -> None:
    topics = [f"t.{number}" for number in range(5_000)]
    connections = limits.distribute(category, topics)
    assert [topic for connection in connections for topic in connection] == topics
    for connection in connections:
        limits.check_connection(category, connection)
    for first, second in itertools.pairwise(connections):
        with pytest.raises(ConfigError):
            limits.check_connection(category, [*first, second[0]])


def test_distribute_nothing() -> None:
    assert limits.distribute(Category.SPOT, []) == []


def test_distribute_refuses_more_connections_than_an_address_may_hold() -> None:
    topics = ["t" * 20_990] * 1_001
    with pytest.raises(ConfigError, match=r"1001 connections, at most 1000"):
        limits.distribute(Category.LINEAR, topics)
