"""Moments as people say them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.serving.moment import MOST_WITHIN_S, moment_of
from schemas.errors import ConfigError
from schemas.time import format_ns, parse_time

NOW = parse_time("2026-11-21T10:00:00Z")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("03:12", "2026-11-21T03:12:00Z"),
        (" 3:12 ", "2026-11-21T03:12:00Z"),
        ("10:00", "2026-11-21T10:00:00Z"),
        ("10:01", "2026-11-20T10:01:00Z"),
        ("23:59:59", "2026-11-20T23:59:59Z"),
        ("2026-11-03 03:12", "2026-11-03T03:12:00Z"),
        ("2026-11-03T03:12:07.5", "2026-11-03T03:12:07.5Z"),
        ("2026-11-03T03:12:07+02:00", "2026-11-03T01:12:07Z"),
        ("1763700000000ms", "2025-11-21T04:40:00Z"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    found = moment_of(text, 300, NOW)
    assert format_ns(found.at_ns) == format_ns(parse_time(moment))
    assert (found.at_ns - found.start_ns, found.end_ns - found.at_ns) == (300 * 10**9, 300 * 10**9)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "24:00",
        "3:60",
        "03:12:60",
        "2026-13-01 00:00",
        "2026-11-03",
        "x" * 41,
        "03:12Z",
        "٣:12",
        "-1",
    ],
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ConfigError):
        moment_of(text, 300, NOW)


@pytest.mark.parametrize("within", [0, -1, MOST_WITHIN_S + 1])
def test_spans_are_bounded(within: int) -> None:
    with pytest.raises(ConfigError, match="expected a span of 1 to"):
        moment_of("03:12", within, NOW)


@given(st.text(max_size=50))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        found = moment_of(text, 60, NOW)
    except ConfigError:
        return
    assert found.start_ns < found.at_ns < found.end_ns
