"""Who may see the page."""

from __future__ import annotations

import pytest

from recorder.serving.access import SESSION_S, Access, Throttle, is_loopback, token_from
from schemas.errors import ConfigError

TOKEN = "correct-horse-battery-staple"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:80",
        "127.0.0.1",
        "127.0.0.1:8710",
        "127.8.8.8",
        "[::1]",
        "[::1]:8710",
        "localhost.",
    ],
)
def test_names_of_the_loopback_address(host: str) -> None:
    assert Access(None).knows_host(host)


@pytest.mark.parametrize(
    "host",
    [
        None, "", " localhost", "localhost:x", "localhost:80:80", "evil.example", "localhost.evil.example",
        "10.0.0.7:8710", "[::1", "[::1]80", "[2001:db8::1]", "127.0.0.1.evil.example",
        "@localhost", "x" * 300, "[]", ":8710",
    ],
)  # fmt: skip
def test_names_of_others(host: str | None) -> None:
    """A name that somebody points at us (DNS rebinding) stays his name."""
    assert not Access(None).knows_host(host)


def test_an_open_address_goes_by_any_address_and_by_the_names_it_was_told() -> None:
    access = Access(TOKEN, ["Tape.Example.com"], only_loopback=False)
    assert access.knows_host("10.0.0.7:8710")
    assert access.knows_host("[2001:db8::1]:8710")
    assert access.knows_host("tape.example.COM")
    assert not access.knows_host("other.example.com")


@pytest.mark.parametrize(
    ("origin", "site", "is_ours"),
    [
        (None, None, True),
        (None, "none", True),
        ("http://localhost:8710", "same-origin", True),
        ("https://LOCALHOST:8710", None, True),
        ("http://localhost:9999", None, False),
        ("http://evil.example", None, False),
        ("http://localhost:8710", "cross-site", False),
        ("http://localhost:8710", "same-site", False),
        (None, "cross-site", False),
        ("null", None, False),
        ("file://localhost:8710", None, False),
        ("localhost:8710", None, False),
        ("", None, False),
    ],
)
def test_origins(origin: str | None, site: str | None, is_ours: bool) -> None:
    assert Access(None).same_origin(origin, site, "localhost:8710") is is_ours


def test_tokens_and_headers() -> None:
    access = Access(TOKEN)
    assert access.needs_token
    assert access.accepts_token(TOKEN)
    assert access.accepts_header(f"Bearer {TOKEN}")
    assert access.accepts_header(f"bearer  {TOKEN} ")
    for wrong in ("", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é" * 30, "\udc80" * 30):
        assert not access.accepts_token(wrong)
        assert not access.accepts_header(f"Bearer {wrong}")
    for header in (None, "", TOKEN, f"Basic {TOKEN}", "Bearer"):
        assert not access.accepts_header(header)


def test_nothing_opens_what_has_no_token() -> None:
    access = Access(None)
    assert not access.needs_token
    assert not access.accepts_token("")
    assert not access.accepts_session("1.x", 0)


def test_sessions() -> None:
    access = Access(TOKEN)
    cookie = access.session(1000)
    assert TOKEN not in cookie
    assert access.accepts_session(cookie, 1000)
    assert access.accepts_session(cookie, 1000 + SESSION_S - 1)
    assert not access.accepts_session(cookie, 1000 + SESSION_S)
    assert not Access(TOKEN + "2").accepts_session(cookie, 1000)
    until, _, signature = cookie.partition(".")
    later = str(int(until) + 1)
    for forged in (
        None, "", ".", until, f"{until}.", f"{later}.{signature}", f"{until}.{signature[:-1]}", f"{until}.{signature}0",
        f"-{until}.{signature}", f"{until}\u00b2.{signature}", f"{'9' * 30}.{signature}", f" {cookie}", f"{until}.é",
    ):  # fmt: skip
        assert not access.accepts_session(forged, 1000), forged


@pytest.mark.parametrize(
    "text", ["", "short", "x" * 23, "x" * 513, "two words and some more of them", "é" * 30, "a\x00" * 20]
)
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(ConfigError, match="--token-file F") as caught:
        token_from(text, "F")
    assert not text.strip() or text not in str(caught.value)


def test_a_token_is_one_line() -> None:
    assert token_from(f"{TOKEN}\n", "F") == TOKEN


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.3.2.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com")))


def test_failures_are_counted_by_address_and_forgotten() -> None:
    throttle = Throttle(most=3, period_s=60, addresses=2)
    for second in range(3):
        assert throttle.wait_s("a", second) == 0
        throttle.failed("a", second)
    assert throttle.wait_s("a", 10) == 50
    assert throttle.wait_s("b", 10) == 0
    assert throttle.wait_s("a", 60.5) == 0
    throttle.failed("a", 60.5)
    assert throttle.wait_s("a", 60.9) == pytest.approx(0.1)
    throttle.failed("b", 61)
    throttle.failed("c", 61)
    assert throttle.wait_s("a", 60.9) == 0
