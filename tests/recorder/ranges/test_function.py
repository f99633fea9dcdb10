"""Arguments of range functions: what each kind takes, and what is said of everything else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from recorder.feed_rows import Clock
from recorder.ranges import FUNCTIONS, REQUIRED, Kind, Parameter, Untrusted
from schemas.errors import ConfigError

SNAPSHOTS = FUNCTIONS["snapshots"]
NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)
NOON_NS = 1_723_118_400_000_000_000


def test_positions_names_and_defaults() -> None:
    bound = SNAPSHOTS.bind(["linear", "BTCUSDT", NOON, "2024-08-08T12:00:01Z"], {"clock": "PUSH", "depth": 5})
    assert bound == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "t0": NOON_NS,
        "t1": NOON_NS + 10**9,
        "every": 10**9,
        "depth": 5,
        "topic": None,
        "clock": Clock.PUSH,
        "untrusted": Untrusted.LEAVE_OUT,
        "exact": False,
    }
    assert SNAPSHOTS.signature == (
        "snapshots(category, symbol, t0, t1, every := '1s', depth := NULL, topic := NULL, clock := 'match', "
        "untrusted := 'leave out', exact := false)"
    )


@pytest.mark.parametrize(
    ("kind", "value", "bound"),
    [
        (Kind.MOMENT, "1723118400000ms", NOON_NS),
        (Kind.DURATION, "100ms", 100_000_000),
        (Kind.DURATION, timedelta(milliseconds=100), 100_000_000),
        (Kind.COUNT, 1, 1),
        (Kind.NUMBERS, 5, (Fraction(5),)),
        (Kind.NUMBERS, [1, 2.5, Decimal("0.1")], (Fraction(1), Fraction(5, 2), Fraction(1, 10))),
        (Kind.QUANTITY, "0.1", Decimal("0.1")),
        (Kind.QUANTITY, 0.1, Decimal("0.1")),
        (Kind.SIDE, "Buy", "buy"),
        (Kind.UNTRUSTED, "mark", Untrusted.MARK),
        (Kind.FLAG, True, True),
        (Kind.TEXT, "x", "x"),
    ],
)
def test_what_kinds_take(kind: Kind, value: object, bound: object) -> None:
    assert Parameter("it", kind, "").read(value) == bound


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.MOMENT, 5),
        (Kind.MOMENT, 5.0),
        (Kind.MOMENT, "2024-08-08T12:00:00"),
        (Kind.MOMENT, NOON.replace(tzinfo=None)),
        (Kind.MOMENT, None),
        (Kind.DURATION, 100),
        (Kind.DURATION, "0s"),
        (Kind.DURATION, timedelta(seconds=-1)),
        (Kind.DURATION, "a while"),
        (Kind.COUNT, 0),
        (Kind.COUNT, True),
        (Kind.COUNT, 2.0),
        (Kind.COUNT, "2"),
        (Kind.NUMBERS, []),
        (Kind.NUMBERS, [0]),
        (Kind.NUMBERS, ["x"]),
        (Kind.NUMBERS, float("nan")),
        (Kind.QUANTITY, float("inf")),
        (Kind.QUANTITY, "x"),
        (Kind.QUANTITY, "nan"),
        (Kind.QUANTITY, True),
        (Kind.QUANTITY, "1e999999999"),
        (Kind.QUANTITY, "1e-999999999"),
        (Kind.SIDE, "both"),
        (Kind.CLOCK, "apply"),
        (Kind.UNTRUSTED, "hide"),
        (Kind.FLAG, 1),
        (Kind.TEXT, 1),
    ],
)
def test_what_they_do_not_take(kind: Kind, value: object) -> None:
    with pytest.raises(ConfigError, match=r"^it: "):
        Parameter("it", kind, "").read(value)


def test_null_is_what_is_left_out() -> None:
    assert Parameter("it", Kind.COUNT, "", 7).read(None) == 7
    assert Parameter("it", Kind.COUNT, "", None).read(None) is None
    assert Parameter("it", Kind.COUNT, "").default is REQUIRED


@pytest.mark.parametrize(
    ("positional", "named", "words"),
    [
        ([], {}, "category, symbol, t0, t1: missing"),
        (["linear"] * 20, {}, "found 20 arguments, expected at most 10"),
        (["linear"], {"category": "spot"}, "category is given twice"),
        ([], {"simbol": "BTCUSDT"}, "no parameter 'simbol'; did you mean 'symbol'?"),
        (["linear", "BTCUSDT", NOON, NOON - timedelta(seconds=1)], {}, r"is after t1 .*; exchange them"),
        (["linear", "BTCUSDT", "2024-08-08T12:00:00", NOON], {}, "for UTC write 2024-08-08T12:00:00Z"),
        (["linear", "BTCUSDT", NOON, NOON], {"every": "1y"}, "every: '1y' is no length of time"),
    ],
)
def test_errors_show_the_signature(positional: list[Any], named: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        SNAPSHOTS.bind(positional, named)
    assert str(caught.value).endswith(f"\n{SNAPSHOTS.signature}")
