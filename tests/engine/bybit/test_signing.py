"""The vectors of protocol sections 2.2 and 2.5."""

from __future__ import annotations

import pytest

from engine.bybit.signing import is_signed_by, is_timely, sign_request, sign_socket

POST = (
    '{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.001","price":"50000",'
    '"timeInForce":"PostOnly"}'
)


def test_socket() -> None:
    expected = "5e1a6810262f270b783cf759f856aadee413643be3c03d0fb89dd22261e41df0"
    assert sign_socket("test-secret", 1_700_000_000_000) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            "category=linear&symbol=BTCUSDT",
            "9a7c8cfd6ba1a7c498aa4dd5a7f9cfbba01fcb6eebae734ffe0d775870a1a3fb",
        ),
        (POST, "7edcc0fb3ca352e9c2d4357c6ab58d6bf7b585f63971a32b5142419f4c0611fe"),
    ],
)
def test_request(payload: str, expected: str) -> None:
    assert sign_request("test-secret", "test-key", 1_700_000_000_000, 5000, payload) == expected
    assert is_signed_by(expected, expected)
    assert not is_signed_by(expected, expected[:-1] + "x")
    assert not is_signed_by(expected, "é")


@pytest.mark.parametrize(
    ("timestamp_ms", "timely"), [(5_000, True), (4_999, False), (10_999, True), (11_000, False)]
)
def test_window(timestamp_ms: int, timely: bool) -> None:
    assert is_timely(timestamp_ms, 5_000, 10_000) is timely
