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
def test_there_is_room_exactly_as_long_as_a_connection_passes(category: Category) -> None:
    for topics in ([f"t.{number}" for number in range(1_999)], ["x" * 1_000] * 20, ["x" * 20_990], []):
        held: list[str] = list(topics)
        while limits.has_room(category, held, "t" * 100):
            held.append("t" * 100)
            limits.check_connection(category, held)
        with pytest.raises(ConfigError):
            limits.check_connection(category, [*held, "t" * 100])
