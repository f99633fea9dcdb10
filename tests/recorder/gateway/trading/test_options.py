from __future__ import annotations

from decimal import Decimal

import pytest

from recorder.gateway.trading.options import DEFAULT_BALANCES, TradeOptions, parse_balances, parse_keys
from recorder.gateway.trading.session import active_seconds
from schemas.errors import ConfigError
from tests.processes import tapebook


def test_keys_open_accounts_of_their_own_or_share_one() -> None:
    keys = parse_keys(["a:s1", "b:s2", "c:s3:1001", "d:s4:1001:ro", "e:s5:ro"])
    assert [(key.uid, key.is_read_only) for key in keys.values()] == [
        ("1001", False), ("1002", False), ("1001", False), ("1001", True), ("1005", True),
    ]  # fmt: skip
    assert "s1" not in repr(keys["a"])


@pytest.mark.parametrize("texts", [["a"], ["a:"], [":s"], ["a:s", "a:t"], ["a b:s"], ["a:s:x"]])
def test_keys_that_make_no_sense(texts: list[str]) -> None:
    with pytest.raises(ConfigError, match="--trade"):
        parse_keys(texts)


def test_balances() -> None:
    assert parse_balances(["USDT=5,BTC=0.5", "ETH=0"]) == {
        "USDT": Decimal(5), "BTC": Decimal("0.5"), "ETH": Decimal(0),
    }  # fmt: skip
    assert parse_balances([]) == DEFAULT_BALANCES
    for text in ("USDT", "USDT=", "USDT=-1", "usdt=1", "USDT=NaN", "USDT=1e13"):
        with pytest.raises(ConfigError, match="COIN=AMOUNT"):
            parse_balances([text])


def test_order_limit() -> None:
    with pytest.raises(ConfigError, match="order-limit"):
        TradeOptions({}, order_limit=0)


@pytest.mark.parametrize(("text", "seconds"), [(None, 600), ("30s", 30), ("1m", 60), ("10m", 600)])
def test_active_time(text: str | None, seconds: int) -> None:
    assert active_seconds(text) == seconds


def test_the_command_says_what_is_wrong() -> None:
    done = tapebook("gateway", "--simulate", 1, "--balance", "USDT=1")
    assert done.code == 2
    assert "belong to --trade" in done.err
