"""Decimal text in the core: the exchange's grammar, exact, or refused."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.reference import mantissa_of
from schemas.errors import DecimalError
from tests.strategies import decimal_texts, odd_texts

decimals = pytest.importorskip("engine.core.decimals", reason="the extensions are not built (make build)")

_GRAMMAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_INT64 = st.integers(1 - 2**63, 2**63 - 1)


@given(text=decimal_texts(signed=True) | odd_texts)
def test_parse_is_exact_or_refuses(text: str) -> None:
    written = len(text.partition(".")[2])
    try:
        if not _GRAMMAR.fullmatch(text) or written > 18:
            raise DecimalError(text)
        expected = mantissa_of(Decimal(text), written)
    except DecimalError:
        with pytest.raises(DecimalError):
            decimals.parse_decimal(text)
    else:
        assert decimals.parse_decimal(text) == (expected, written)


@given(mantissa=_INT64, exponent=st.integers(-18, 0))
def test_format_then_parse(mantissa: int, exponent: int) -> None:
    text = decimals.format_decimal(mantissa, exponent)
    assert _GRAMMAR.fullmatch(text)
    assert decimals.parse_decimal(text) == (mantissa, -exponent)


@given(mantissa=_INT64, exponent=st.integers(-18, 0))
def test_format_writes_every_decimal(mantissa: int, exponent: int) -> None:
    text = decimals.format_decimal(mantissa, exponent)
    assert Decimal(text) == Decimal(mantissa).scaleb(exponent)
    assert len(text.partition(".")[2]) == -exponent
