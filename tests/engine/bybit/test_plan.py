"""What a recording would open: exact where the limits are, estimated where the market is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bybit.limits import (
    ARGUMENT_CHARACTERS_PER_CONNECTION,
    OPTION_ARGUMENTS_PER_CONNECTION,
    SPOT_ARGUMENTS_PER_REQUEST,
)
from engine.bybit.plan import Plan, make_plan
from engine.bybit.topics import SYSTEM_STATUS, expand
from engine.bybit.weights import expected_frames_per_second
from schemas.errors import ConfigError
from schemas.names import Category

LINEAR, SPOT, OPTION = Category.LINEAR, Category.SPOT, Category.OPTION
TOPICS = ("orderbook.50", "publicTrade", "tickers")


def planned(
    symbols: list[str], prefixes: tuple[str, ...] = TOPICS, category: Category = LINEAR, **options: object
) -> Plan:
    topics = [topic.text for topic in expand(category, prefixes, symbols)]
    return make_plan(category, topics, **({"most": 4_000.0} | options))  # type: ignore[arg-type]


def names(count: int) -> list[str]:
    return [f"COIN{number:04}USDT" for number in range(count)]


def test_a_small_one() -> None:
    plan = planned(["BTCUSDT", "ETHUSDT"])
    assert (plan.symbols, plan.topics, len(plan.connections)) == (2, 6, 1)
    (connection,) = plan.connections
    assert connection.requests == 1
    # the args array as it is sent: ["orderbook.50.BTCUSDT",...]
    args = [f"{prefix}.{symbol}" for prefix in TOPICS for symbol in ("BTCUSDT", "ETHUSDT")]
    assert connection.characters == len(str(args).replace(" ", ""))
    rates = [expected_frames_per_second(LINEAR, topic) for topic in args]
    assert plan.frames_per_second == pytest.approx(sum(rates)) == pytest.approx(connection.frames_per_second)
    assert plan.bytes_per_second == pytest.approx(connection.bytes_per_second)
    assert [one.name for one in plan.classes] == ["orderbook.50", "publicTrade", "tickers"]
    assert plan.connect_seconds == 0


def test_connections_by_characters_and_by_rate() -> None:
    by_rate = planned(names(600))
    assert all(one.frames_per_second <= 4_000 for one in by_rate.connections)
    by_characters = planned(names(600), most=1e9)
    assert len(by_characters.connections) > 1
    assert all(one.characters <= ARGUMENT_CHARACTERS_PER_CONNECTION for one in by_characters.connections)
    assert sum(one.topics for one in by_characters.connections) == 1_800


def test_requests_by_category() -> None:
    spot = planned(names(20), category=SPOT)
    assert sum(one.requests for one in spot.connections) == 60 // SPOT_ARGUMENTS_PER_REQUEST
    contracts = [f"B-1JAN27-{strike}-C" for strike in range(2_500)]
    option = planned(contracts, ("orderbook.25",), OPTION, most=1e9)
    assert max(one.topics for one in option.connections) <= OPTION_ARGUMENTS_PER_CONNECTION


def test_two_lines_carry_everything_twice_and_the_archive_has_it_once() -> None:
    one, two = planned(names(10)), planned(names(10), copies=2)
    assert [c.copy for c in two.connections] == [0, 1]
    assert [c.number for c in two.connections] == [0, 1]
    assert two.frames_per_second == pytest.approx(2 * one.frames_per_second)
    # twice the frames, in group commits that they share
    assert 1.5 * one.journal_bytes_per_day < two.journal_bytes_per_day < 2 * one.journal_bytes_per_day
    assert two.archive_bytes_per_day == pytest.approx(one.archive_bytes_per_day)
    assert two.memory_bytes > one.memory_bytes


def test_the_journal_is_estimated_as_it_was_measured() -> None:
    """A busy recording shares its group commits, a quiet one has a commit for each frame (docs/universe.md)."""
    quiet, busy = planned(["AUSDT"], ("tickers",)), planned(names(500), ("tickers",))
    for plan, low, high in ((quiet, 293 + 500, 293 + 25 + 530), (busy, 293 + 25, 293 + 60)):
        per_frame = plan.journal_bytes_per_day / 86_400 / plan.frames_per_second
        assert low < per_frame < high


def test_turnover_scales_what_is_expected() -> None:
    busy, quiet, unknown = (
        planned(["AUSDT"], turnovers=turnovers) for turnovers in ({"AUSDT": 1e10}, {"AUSDT": 1e4}, {})
    )
    assert busy.frames_per_second > unknown.frames_per_second > quiet.frames_per_second
    assert "scaled by the turnover" in busy.notes[0]
    assert "no turnover is known" in unknown.notes[0]
    assert "of 1 of 2 symbols is not known" in planned(["AUSDT", "BUSDT"], turnovers={"AUSDT": 1e7}).notes[0]


def test_a_book_takes_the_memory_that_the_core_gives_it() -> None:
    one, two = planned(["AUSDT"], ("orderbook.50",)), planned(["AUSDT", "BUSDT"], ("orderbook.50",))
    # 3.7 KiB for a feed and its book of fifty levels (tests/engine/core/test_allocations.py holds the core to 4)
    assert 3_600 < two.memory_bytes - one.memory_bytes < 4_096


def test_the_status_has_a_connection_of_its_own() -> None:
    plan = make_plan(LINEAR, ["tickers.BTCUSDT", SYSTEM_STATUS], most=4_000.0)
    assert [(one.stream, one.topics) for one in plan.connections] == [("linear", 1), ("status", 1)]
    assert plan.symbols == 1


def test_what_breaks_a_limit_is_refused_with_what_fits() -> None:
    with pytest.raises(ConfigError, match=r"connections.*1000.*section 2\.4"):
        planned(names(1_200), ("tickers",), most=0.001)
    with pytest.raises(
        ConfigError, match=r"need 1200 linear connections.*section 2\.4.*about 500 topics fit"
    ):
        planned(names(600), ("tickers",), most=0.001, copies=2)
    with pytest.raises(ConfigError, match="holds 65536 feeds"):
        make_plan(LINEAR, [f"tickers.C{number}" for number in range(65_537)], most=4_000.0)


def test_more_connections_than_may_be_opened_at_once_take_their_time() -> None:
    assert planned(names(500), ("tickers",), most=0.001).connect_seconds == 0
    assert planned(names(501), ("tickers",), most=0.001).connect_seconds == 300


@given(st.sampled_from(list(Category)), st.integers(1, 40), st.integers(1, 3), st.floats(0.5, 1e5))
def test_nothing_is_lost_between_topics_connections_and_classes(
    category: Category, count: int, copies: int, most: float
) -> None:
    depth = "orderbook.25" if category in (OPTION, Category.SPREAD) else "orderbook.200"
    plan = planned(names(count), (depth, "tickers"), category, copies=copies, most=most)
    assert sum(one.topics for one in plan.connections) == copies * plan.topics
    assert sum(one.topics for one in plan.classes) == plan.topics
    assert sum(one.frames_per_second for one in plan.connections) == pytest.approx(plan.frames_per_second)
    assert sum(one.bytes_per_second for one in plan.connections) == pytest.approx(plan.bytes_per_second)
