"""Signatures of private sockets and requests (protocol sections 2.2 and 2.5). Pure: keys and time are arguments."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

__all__ = [
    "DEFAULT_RECV_WINDOW_MS",
    "MAXIMUM_AHEAD_MS",
    "is_signed_by",
    "is_timely",
    "sign_request",
    "sign_socket",
]

DEFAULT_RECV_WINDOW_MS: Final = 5_000
MAXIMUM_AHEAD_MS: Final = 1_000
"""How far a request's time may lie ahead of the exchange's."""


def _sign(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def sign_socket(secret: str, expires_ms: int) -> str:
    """Sign the authentication of a private or trade socket.

    Args:
        expires_ms: any time in the future; the request must carry the very same number.
    """
    return _sign(secret, f"GET/realtime{expires_ms}")


def sign_request(
    secret: str, key: str, timestamp_ms: int | str, recv_window_ms: int | str, payload: str
) -> str:
    """Sign a REST request.

    Args:
        payload: query string of a GET, body of a POST, exactly as sent.
    """
    return _sign(secret, f"{timestamp_ms}{key}{recv_window_ms}{payload}")


def is_signed_by(expected: str, given: str) -> bool:
    """Compare signatures, in a time that tells nothing."""
    return hmac.compare_digest(expected.encode(), given.encode())


def is_timely(timestamp_ms: int, recv_window_ms: int, server_ms: int) -> bool:
    """Whether the exchange takes a request of this time: not older than its window, not a second ahead."""
    return server_ms - recv_window_ms <= timestamp_ms < server_ms + MAXIMUM_AHEAD_MS
