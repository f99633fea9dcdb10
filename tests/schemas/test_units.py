"""Spans and sizes as people write and read them."""

from __future__ import annotations

import pytest

from schemas.errors import ConfigError
from schemas.units import age, amount, parse_bytes, parse_span_ns

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30d", 30 * 86_400),
        ("12h", 43_200),
        ("90min", 5_400),
        ("15m", 900),
        ("1.5 d", 129_600),
        (" 2w ", 1_209_600),
        ("0s", 0),
    ],
)
def test_spans(text: str, seconds: int) -> None:
    assert parse_span_ns(text) == seconds * SECOND


@pytest.mark.parametrize("text", ["", "30", "d", "30 days", "-1d", "30D", "1mo", "1e3s", "٣d"])
def test_no_spans(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a number and its unit.*such as 30d"):
        parse_span_ns(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500GB", 500 * 10**9), ("200 GiB", 200 << 30), ("1.5TB", 1_500 * 10**9), ("7", 7), ("7B", 7), ("1kB", 1000),
        ("1KiB", 1024), ("1KB", 1000), ("2MiB", 2 << 20),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "1 gb", "-1GB", "1PB", "1 G", "0x10"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected bytes, or a number.*such as 500GB"):
        parse_bytes(text)


def test_numbers_for_people() -> None:
    assert [amount(count) for count in (None, 0, 1023, 1024, 5 << 30, 3 << 50)] == [
        "unknown", "0 bytes", "1,023 bytes", "1.0 KiB", "5.0 GiB", "3,072.0 TiB",
    ]  # fmt: skip
    assert [age(seconds) for seconds in (0.04, 119, 120, 7200, 172_800)] == [
        "0.0 s", "119.0 s", "2.0 min", "2.0 h", "2.0 d",
    ]  # fmt: skip
