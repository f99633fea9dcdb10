"""schemas.time: exact to the nanosecond, and never a guess about the zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from schemas.time import format_date, format_ns, parse_duration, parse_time

MOMENT = 1_723_161_300_000_000_000  # 2024-08-08T23:55:00Z


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2024-08-08T23:55:00Z", MOMENT),
        ("2024-08-08 23:55:00z", MOMENT),
        ("2024-08-08T23:55Z", MOMENT),
        (" 2024-08-08T23:55:00Z ", MOMENT),
        ("2024-08-09T01:55:00+02:00", MOMENT),
        ("2024-08-09T01:55:00+0200", MOMENT),
        ("2024-08-08T18:25:00-05:30", MOMENT),
        ("2024-08-08T23:55:00.5Z", MOMENT + 500_000_000),
        ("2024-08-08T23:55:00.123456789Z", MOMENT + 123_456_789),
        ("2024-08-08T23:55:00.123456789000Z", MOMENT + 123_456_789),
        ("1723161300123ms", MOMENT + 123_000_000),
        ("1723161300123456789ns", MOMENT + 123_456_789),
        ("1723161300123456us", MOMENT + 123_456_000),
        ("1723161300s", MOMENT),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("1970-01-01T00:00:00Z", 0),
        (datetime(2024, 8, 8, 23, 55, 0, 123456, tzinfo=UTC), MOMENT + 123_456_000),
        (datetime(2024, 8, 9, 1, 55, tzinfo=timezone(timedelta(hours=2))), MOMENT),
    ],
)
def test_reads_every_accepted_shape(text: str | datetime, ns: int) -> None:
    assert parse_time(text) == ns


@pytest.mark.parametrize("moment", [0, 1.5, None, b"2024-08-08T23:55:00Z", date(2024, 8, 8)])
def test_what_is_neither_text_nor_datetime_is_refused(moment: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"found the time .*, expected a text such as '2024-08-08T23:55:00Z'"
    ):
        parse_time(moment)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("2024-08-08T23:55:00", "for UTC write 2024-08-08T23:55:00Z"),
        (datetime(2024, 8, 8, 23, 55), "replace(tzinfo=datetime.UTC)"),  # noqa: DTZ001
        ("1723161300123", "1723161300123ms or"),
        ("2024-08-08", "2024-08-08T00:00:00Z"),
        ("2024-08-08Z", "2024-08-08T00:00:00Z"),
        ("2024-02-30T00:00:00Z", "day that does not exist"),
        ("2024-08-08T24:00:00Z", "hour above 23"),
        ("2024-08-08T23:60:00Z", "minute above 59"),
        ("2024-08-08T23:59:60Z", "second above 59"),
        ("2024-08-08T23:55:00+24:00", "offset of more than a day"),
        ("2024-08-08T23:55:00.1234567891Z", "finer than a nanosecond"),
        ("2300-01-01T00:00:00Z", "1677 to 2262"),
        ("9999999999999999999s", "1677 to 2262"),
        ("yesterday", "not ISO 8601"),
        ("", "not ISO 8601"),
        ("2024-08-08T23:55:00Z\x00", "not ISO 8601"),
        ("٢٠٢٤-08-08T23:55:00Z", "not ISO 8601"),
    ],
)
def test_refusals_show_the_fix(text: str | datetime, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_time(text)
    assert advice in str(caught.value)


def test_formats_nine_digits_always() -> None:
    assert format_ns(MOMENT + 123_456_789) == "2024-08-08T23:55:00.123456789Z"
    assert format_ns(MOMENT) == "2024-08-08T23:55:00.000000000Z"
    assert format_ns(-1) == "1969-12-31T23:59:59.999999999Z"
    assert format_date(MOMENT) == "2024-08-08"
    assert format_date(-1) == "1969-12-31"


@given(st.integers(-(2**63), 2**63 - 1))
def test_text_and_back_is_the_same_moment(ns: int) -> None:
    assert parse_time(format_ns(ns)) == ns
    assert format_ns(ns).startswith(format_date(ns))


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        ns = parse_time(text)
    except ConfigError:
        return
    assert -(2**63) <= ns < 2**63


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1ns", 1),
        ("2us", 2_000),
        ("100ms", 100_000_000),
        ("1s", 10**9),
        ("1.5 min", 90 * 10**9),
        ("2 Minutes", 120 * 10**9),
        ("1h", 3600 * 10**9),
        ("1d", 86_400 * 10**9),
        (" 0.000000001s ", 1),
        (timedelta(milliseconds=5), 5_000_000),
    ],
)
def test_lengths_of_time(text: str | timedelta, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1 y", "-1s", "0s", "0.1ns", "1e3s", "300000d", "9" * 19 + "s", timedelta(0)]
)
def test_what_is_no_length_of_time(text: str | timedelta) -> None:
    with pytest.raises(ConfigError, match=r"length of time|finer than a nanosecond"):
        parse_duration(text)
