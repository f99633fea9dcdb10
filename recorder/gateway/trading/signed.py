"""Who is asking: keys, signatures and times of requests and sockets (protocol sections 2.2, 2.5, 7.1). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.bybit.signing import (
    DEFAULT_RECV_WINDOW_MS,
    is_signed_by,
    is_timely,
    sign_request,
    sign_socket,
)
from engine.venue import Refusal
from recorder.gateway.trading.options import ApiKey

__all__ = ["check_request", "check_socket", "check_time"]

_MAXIMUM_WINDOW_MS: Final = 10**7
_MAX_TEXT: Final = 512


def _whole(value: Any) -> int | None:
    """Read a whole number, written as one or as a text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < 10**15 else None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 15:
        return int(value)
    return None


def _known(keys: Mapping[str, ApiKey], key: Any) -> ApiKey:
    found = keys.get(key) if isinstance(key, str) else None
    if found is None:
        raise Refusal(10003, "API key is invalid.")
    return found


def check_time(timestamp: Any, window: Any, now_ms: int) -> None:
    """Hold a request's time against its window.

    Raises:
        Refusal: 10001 no time or no window, 10002 too old or too far ahead.
    """
    timestamp_ms = _whole(timestamp)
    window_ms = DEFAULT_RECV_WINDOW_MS if window in (None, "") else _whole(window)
    if timestamp_ms is None:
        raise Refusal(10001, "params error: X-BAPI-TIMESTAMP is required, in milliseconds")
    if window_ms is None or window_ms > _MAXIMUM_WINDOW_MS:
        raise Refusal(10001, "params error: X-BAPI-RECV-WINDOW is a number of milliseconds")
    if not is_timely(timestamp_ms, window_ms, now_ms):
        raise Refusal(
            10002,
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{timestamp_ms}],server_timestamp[{now_ms}],recv_window[{window_ms}]",
        )


def check_request(
    keys: Mapping[str, ApiKey], headers: Mapping[str, str], payload: str, now_ms: int
) -> ApiKey:
    """Whose REST request it is.

    Args:
        headers: looked up whatever their case.
        payload: query string or body, exactly as it came.

    Raises:
        Refusal: 10001, 10002, 10003, 10004.
    """
    given = {
        name: headers.get(f"X-BAPI-{name}", "") for name in ("API-KEY", "TIMESTAMP", "SIGN", "RECV-WINDOW")
    }
    if not given["API-KEY"] or not given["SIGN"]:
        raise Refusal(10001, "params error: X-BAPI-API-KEY and X-BAPI-SIGN are required")
    key = _known(keys, given["API-KEY"])
    check_time(given["TIMESTAMP"], given["RECV-WINDOW"], now_ms)
    expected = sign_request(key.secret, key.key, given["TIMESTAMP"], given["RECV-WINDOW"], payload)
    if not is_signed_by(expected, given["SIGN"]):
        origin = f"{given['TIMESTAMP']}{key.key}{given['RECV-WINDOW']}{payload}"[:_MAX_TEXT]
        raise Refusal(
            10004, f"error sign! origin_string[{origin}]: check your signature generation algorithm."
        )
    return key


def check_socket(keys: Mapping[str, ApiKey], arguments: Any, now_ms: int) -> ApiKey:
    """Whose socket it is.

    Args:
        arguments: ``args`` of the auth request: key, expires, signature.

    Raises:
        Refusal: 10001, 10002 expired, 10003, 10004.
    """
    if not isinstance(arguments, list) or len(arguments) != 3:
        raise Refusal(10001, "params error: args are api key, expires and signature")
    key_text, expires, signature = arguments
    expires_ms = _whole(expires)
    if expires_ms is None or not isinstance(signature, str):
        raise Refusal(10001, "params error: args are api key, expires and signature")
    key = _known(keys, key_text)
    if not is_signed_by(sign_socket(key.secret, expires_ms), signature):
        raise Refusal(10004, "Error sign: the signed text is GET/realtime followed by expires, nothing else.")
    if expires_ms <= now_ms:
        raise Refusal(10002, f"expires[{expires_ms}] is not later than the server's time[{now_ms}]")
    return key
