"""The file of `tapebook trade`: what it may say, and how it is told what is wrong with it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from execution.commands.configuration import LIMITS, limits_of, read_trade_config
from execution.desk.limits import Limits
from schemas.errors import ConfigError
from schemas.names import Category

D = Decimal
WHOLE = """
endpoint = "ws://127.0.0.1:9001"
directory = "account"

[symbols]
linear = ["BTCUSDT"]

[limits]
order_notional = 1000.10
position_notional = "none"
requests_per_second = 5
collar = 0.01

[limits.daily_loss]
USDT = 200
"""


def read(tmp_path: Path, text: str) -> str:
    """What is wrong with a file."""
    path = tmp_path / "trade.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        limits_of(read_trade_config(path).limits)
    return str(caught.value).replace(str(path), "FILE")


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "trade.toml"
    path.write_text(WHOLE)
    config = read_trade_config(path)
    assert config.endpoint == "ws://127.0.0.1:9001"
    assert config.symbols == {Category.LINEAR: ("BTCUSDT",)}
    assert limits_of(config.limits) == Limits(
        order_notional=D("1000.10"),
        position_notional=None,
        requests_per_second=5,
        collar=D("0.01"),
        daily_loss={"USDT": D(200)},
    )


def test_options_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "trade.toml"
    path.write_text(WHOLE)
    given = ["order_notional=7", "collar=none", "daily_loss.USDC=3", "order_quantity.BTCUSDT=0.5"]
    limits = limits_of(read_trade_config(path).limits, given)
    assert (limits.order_notional, limits.collar) == (D(7), None)
    assert limits.daily_loss == {"USDT": D(200), "USDC": D(3)}
    assert limits.order_quantity == {"BTCUSDT": D("0.5")}


@pytest.mark.parametrize("missing", LIMITS)
def test_every_limit_has_to_be_said(missing: str) -> None:
    given = [f"{name}=none" for name in LIMITS if name != missing]
    with pytest.raises(ConfigError, match=f"every limit has to be said, and {missing} is not"):
        limits_of({}, given)
    assert limits_of({}, [*given, f"{missing}=none"]) == Limits(**dict.fromkeys(LIMITS))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("diretory = 'x'", "FILE:1: found key 'diretory', expected one of endpoint, directory"),
        (
            "\n[limits]\norder_notinal = 1",
            "FILE:3: [limits]: found key 'order_notinal', expected one of order_",
        ),
        (
            "[symbols]\nfutures = ['X']",
            "FILE:2: [symbols]: found key 'futures', expected one of spot, linear",
        ),
        ("\nsymbols = 3", "FILE:2: symbols: found 3: expected `object`, got `int`"),
        ("[symbols]\nlinear = 'BTCUSDT'", "FILE:1: symbols: found {'linear': 'BTCUSDT'}: expected `array`"),
        ("fsync = 'often'", "FILE:1: fsync: found 'often': invalid enum value 'often'"),
        ("a = ", "FILE: not TOML"),
        (WHOLE.replace("1000.10", "'much'"), "limit order_notional: found 'much', expected a number"),
        (WHOLE.replace("1000.10", "true"), "limit order_notional: found 'True', expected a number"),
        (WHOLE.replace("1000.10", "nan"), "limit order_notional: found 'NaN', expected a number"),
        (WHOLE.replace("1000.10", "-1"), "limit order_notional is -1: expected a positive one"),
        (WHOLE.replace("1000.10", "1e400"), "limit order_notional: found '1E+400', expected a number"),
        (WHOLE.replace("= 5\n", "= 5.5\n"), "limit requests_per_second: found 5.5, expected a whole number"),
        (WHOLE.replace("collar = 0.01", "collar = 1"), "expected a share such as 0.01"),
        (WHOLE.replace("[limits.daily_loss]\nUSDT = 200", "daily_loss = 200"), "limit daily_loss: found 200"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str, tmp_path: Path) -> None:
    assert said in read(tmp_path, text)


@pytest.mark.parametrize("given", ["collar", "colar=1", "collar.X=1", "=3"])
def test_options_that_say_no_limit(given: str) -> None:
    with pytest.raises(ConfigError, match="--limit: found"):
        limits_of({}, [given])


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_trade_config(tmp_path / "trade.toml")
