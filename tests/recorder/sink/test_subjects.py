from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.sink.subjects import check_prefix, stream_name, stream_subjects, subject_token
from schemas.errors import ConfigError


@pytest.mark.parametrize(
    ("topic", "subject"),
    [
        ("orderbook.50.BTCUSDT", "orderbook.50.BTCUSDT"),
        ("tickers.BTC-30OCT26-0.4-P-USDT", "tickers.BTC-30OCT26-0.4-P-USDT"),
        ("orderbook.25.SOLUSDT_SOL/USDT", "orderbook.25.SOLUSDT_SOL/USDT"),
        ("publicTrade.10000\uff22TC", "publicTrade.10000%EF%BC%A2TC"),
        ("a..b", "a.%.b"),
        ("a b*>", "a%20b%2A%3E"),
    ],
)
def test_topics(topic: str, subject: str) -> None:
    assert subject_token(topic, dots=True) == subject


@given(st.text(), st.text())
def test_a_token_is_one_and_tells_its_name(one: str, other: str) -> None:
    token = subject_token(one)
    assert re.fullmatch(r"[^\s.*>]+", token)
    assert token.isascii()
    if one:
        assert unquote(token, errors="surrogatepass") == one
    assert (token == subject_token(other)) == (one == other)


def test_streams() -> None:
    assert stream_name("market.data", "linear.1") == "market-data-linear%2E1"
    subjects = stream_subjects("market.data", "linear.1")
    assert "market.data.linear%2E1.frame.>" in subjects
    assert not any("top" in subject for subject in subjects)


@pytest.mark.parametrize("prefix", ["", ".a", "a.", "a..b", "a b", "a.>", "*"])
def test_prefixes_that_are_none(prefix: str) -> None:
    assert check_prefix("a.b-c_1") == "a.b-c_1"
    with pytest.raises(ConfigError, match="--prefix"):
        check_prefix(prefix)
