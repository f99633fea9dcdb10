"""Decimal text, case by case: the grammar, its edges, and the way back."""

from __future__ import annotations

import pytest

from engine.core.decimals import format_decimal, parse_decimal
from schemas.errors import DataError, DecimalError

MAX = 2**63 - 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0, 0)),
        ("0.0", (0, 1)),
        ("0.000000000000000000", (0, 18)),
        ("1", (1, 0)),
        ("61809.40", (6_180_940, 2)),
        ("61809.4", (618_094, 1)),
        ("0.001", (1, 3)),
        ("-0", (0, 0)),
        ("-0.5", (-5, 1)),
        ("-12.30", (-1_230, 2)),
        ("9.223372036854775807", (MAX, 18)),
        (str(MAX), (MAX, 0)),
        (f"-{MAX}", (-MAX, 0)),
        ("922337203685477580.7", (MAX, 1)),
        ("0.000000000000000001", (1, 18)),
    ],
)
def test_the_grammar(text: str, expected: tuple[int, int]) -> None:
    assert parse_decimal(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "-", ".", "-.", "+1", "01", "00", "-01", "1.", ".5", "-.5", "1..2", "1.2.3", "1e3", "1E3", " 1", "1 ",
        "1\n", "1\x00", "\x001", "0x1", "1_000", "1,5", "NaN", "Infinity", "inf", "null", "--1", "1-", "½",
        "\u0661", "\uff11", "é",
        str(MAX + 1), f"-{MAX + 2}", "92233720368547758070", "9.2233720368547758079", "1." + "0" * 19,
        "0." + "0" * 18 + "1", "9" * 400, "0" * 400, "1" + "." + "1" * 400, "9223372036854775808.0",
        "92233720368547758.070" * 9,
    ],
)  # fmt: skip
def test_what_is_outside_of_it(text: str) -> None:
    with pytest.raises(DecimalError, match="expected a plain decimal such as") as caught:
        parse_decimal(text)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, DataError)
    assert len(str(caught.value)) < 400  # what was found, but never all of it


@pytest.mark.parametrize("value", [None, 1, 1.5, b"1", ["1"]])
def test_only_text_is_text(value: object) -> None:
    with pytest.raises(TypeError):
        parse_decimal(value)  # type: ignore[arg-type]


def test_a_lone_surrogate_is_no_number() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        parse_decimal("1\ud800")


@pytest.mark.parametrize(
    ("mantissa", "exponent", "text"),
    [
        (6_180_940, -2, "61809.40"),
        (5, -1, "0.5"),
        (-5, -1, "-0.5"),
        (0, 0, "0"),
        (0, -3, "0.000"),
        (1, -18, "0.000000000000000001"),
        (-(2**63), -18, "-9.223372036854775808"),
        (MAX, 0, str(MAX)),
        (100, -2, "1.00"),
    ],
)
def test_the_way_back(mantissa: int, exponent: int, text: str) -> None:
    assert format_decimal(mantissa, exponent) == text


@pytest.mark.parametrize("exponent", [1, -19, 100])
def test_exponents_have_bounds(exponent: int) -> None:
    with pytest.raises(DecimalError, match=rf"found exponent {exponent}, expected one in -18\.\.0"):
        format_decimal(1, exponent)
