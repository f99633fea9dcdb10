"""JSON as drivers read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.drivers.base import UndecodableError
from engine.drivers.reading import Fields, read_object


def _fields(text: str) -> Fields:
    return read_object(f'{{"k":{text}}}'.encode())


def _refused(read: Callable[[], Any]) -> str:
    with pytest.raises(UndecodableError) as refusal:
        read()
    return refusal.value.cause


@pytest.mark.parametrize(
    "frame",
    [
        "", "{", "[]", "1", '"x"', "null", "{}x", '{"k":}', '{"k":NaN}', '{"k":-Infinity}', '{"k":01}', '{"k":1.}',
        '{"k":"\x00"}', "{'k':1}", '{"k":' + "[" * 200_000 + "]" * 200_000 + "}", '{"k":' + '{"k":' * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_object(frame: str) -> None:
    assert _refused(lambda: read_object(frame.encode())) == "not_json"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"0"', "0"), ('"-0"', "0"), ('"16649.50"', "16649.5"), ('"-0.000000000000000001"', "-1e-18"),
        ('"99999999999999999999.999999999999999999"', "99999999999999999999.999999999999999999"),
        ("19873.46255153", "19873.46255153"), ("-0.3", "-0.3"), ("10000", "10000"), ("1e-7", "0.0000001"),
        ("1E+3", "1000"), ("0.1234567890123456789", "0.123456789012345679"), ("1e-400", "0"), ("-1e-19", "0"),
        ("0e99999999999999", "0"), ("5e-19", "0"), ("15e-19", "2e-18"),
    ],
)  # fmt: skip
def test_decimals(text: str, expected: str) -> None:
    value = _fields(text).decimal("k")
    assert value is not None
    assert value == Decimal(expected)
    assert value.is_finite()


def test_no_decimal() -> None:
    assert _fields('""').decimal("k") is None


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('"1e5"', "bad_number"), ('"+1"', "bad_number"), ('"01"', "bad_number"), ('".5"', "bad_number"),
        ('"5."', "bad_number"), ('"-"', "bad_number"), ('"--1"', "bad_number"), ('" 1"', "bad_number"),
        ('"1_0"', "bad_number"), ('"\u0661"', "bad_number"), ('"NaN"', "bad_number"), ('"Infinity"', "bad_number"),
        ('"100000000000000000000"', "decimal"), ('"0.0000000000000000001"', "decimal"), ("1e20", "decimal"),
        ("1e99999999999999999999", "decimal"), ("1e400", "decimal"),
        ("true", "wrong_type"), ("null", "wrong_type"), ("[]", "wrong_type"), ("{}", "wrong_type"),
    ],
)  # fmt: skip
def test_decimals_that_are_refused(text: str, cause: str) -> None:
    assert _refused(lambda: _fields(text).decimal("k")) == cause


@given(st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**19), max_value=10**19))
def test_what_decimal_38_18_holds_is_exact(value: Decimal) -> None:
    assert _fields(f'"{value:f}"').decimal("k") == value


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_bare_numbers_are_their_digits_to_eighteen_decimals(value: float) -> None:
    found = _fields(json.dumps(value)).decimal("k")
    assert found is not None
    assert abs(found - Decimal(json.dumps(value))) <= Decimal("5e-19")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('"1"', "wrong_type"), ("1.0", "bad_number"), ("-1", "bad_number"), ("1e3", "bad_number"),
        ("253402300800000", "bad_number"), ("9" * 5000, "bad_number"), ("true", "wrong_type"),
    ],
)  # fmt: skip
def test_clocks_that_are_refused(text: str, cause: str) -> None:
    assert _refused(lambda: _fields(text).milliseconds("k")) == cause


def test_clocks() -> None:
    assert _fields("0").milliseconds("k") == 0
    assert _fields("253402300799999").milliseconds("k") == 253402300799999
    assert _fields('"1747722930000"').milliseconds_or_none("k") == 1747722930000
    assert _fields("1747722930000").milliseconds_or_none("k") == 1747722930000
    assert _fields('""').milliseconds_or_none("k") is None
    assert _refused(lambda: _fields('"007"').milliseconds_or_none("k")) == "bad_number"
    assert _refused(lambda: _fields("null").milliseconds_or_none("k")) == "wrong_type"


def test_everything_else() -> None:
    fields = read_object(
        b'{"t":"x","y":true,"n":[1,20],"o":{"a":1},"l":[{"a":1}],"s":"BTCUSDT","i":"3","j":4}'
    )
    assert (fields.text("t"), fields.flag("y"), fields.numbers("n", 20)) == ("x", True, [1, 20])
    assert fields.object("o").unknown(frozenset("a")) == 0
    assert [item.unknown(frozenset()) for item in fields.objects("l")] == [1]
    assert (fields.symbol("s"), fields.number("i", 9), fields.number("j", 9)) == ("BTCUSDT", 3, 4)
    assert fields.choice("t", {"x": "y"}) == "y"
    refused = {
        "missing_key": [lambda: fields.text("no")],
        "wrong_type": [
            lambda: fields.text("j"), lambda: fields.flag("t"), lambda: fields.object("l"),
            lambda: fields.objects("n"), lambda: fields.objects("o"), lambda: fields.numbers("t", 1),
        ],
        "bad_number": [lambda: fields.numbers("n", 19), lambda: fields.number("j", 3)],
        "bad_value": [
            lambda: fields.choice("t", {}), lambda: _fields('""').symbol("k"),
            lambda: _fields(f'"{"A" * 65}"').symbol("k"), lambda: _fields(r'"\ud800"').text("k"),
            lambda: fields.text("s", 6),
        ],
    }  # fmt: skip
    for cause, reads in refused.items():
        assert [_refused(read) for read in reads] == [cause] * len(reads)


def test_keys_that_come_twice() -> None:
    fields = read_object(b'{"a":1,"b":2,"a":3,"c":{"a":1}}')
    assert fields.unknown(frozenset("bc")) == 1
    assert _refused(lambda: fields.unknown(frozenset("ab"))) == "duplicate_key"


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_an_object_or_refused(frame: bytes) -> None:
    try:
        frame.decode()
    except UnicodeDecodeError:
        return  # the core lets no such frame through
    try:
        read_object(frame)
    except UndecodableError:
        return
    assert isinstance(json.loads(frame), dict)
