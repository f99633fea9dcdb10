"""Who signs: an API key with its secret or its private key. Neither is ever shown (sections 2.2 and 2.5).

`repr`, `str`, pickling and exceptions of a signer tell at most the first four characters of the public part.
"""

from __future__ import annotations

import base64
from typing import Any, NoReturn, Protocol

from engine.bybit.signing import sign_request, sign_socket
from schemas.errors import ConfigError

__all__ = ["HmacSigner", "RsaSigner", "Signer"]


class Signer(Protocol):
    """Signs for one API key."""

    @property
    def api_key(self) -> str:
        """The public part, as requests carry it."""

    def sign_socket(self, expires_ms: int) -> str:
        """Sign the authentication of a socket."""

    def sign_request(self, timestamp_ms: int, recv_window_ms: int, payload: str) -> str:
        """Sign a REST request: the query of a GET, the body of a POST, exactly as sent."""


def _check_key(api_key: str) -> None:
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ConfigError("the API key is empty or has characters that no key has: copy it again")


class _Secretive:
    """What shows a signer shows only this."""

    __slots__ = ("_api_key",)

    def __init__(self, api_key: str) -> None:
        _check_key(api_key)
        self._api_key = api_key

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._api_key[:4]}…>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be copied or pickled: a secret stays where it was read")

    @property
    def api_key(self) -> str:
        """The public part, as requests carry it."""
        return self._api_key


class HmacSigner(_Secretive):
    """Signs with a secret that the exchange made.

    Raises:
        ConfigError: an empty key or secret, without showing it.
    """

    __slots__ = ("__secret",)

    def __init__(self, api_key: str, secret: str) -> None:
        super().__init__(api_key)
        if not secret or not secret.isascii() or " " in secret:
            raise ConfigError(
                f"the secret of API key {api_key[:4]}… is empty or has characters that none has: copy it again"
            )
        self.__secret = secret

    def sign_socket(self, expires_ms: int) -> str:
        """Sign the authentication of a socket."""
        return sign_socket(self.__secret, expires_ms)

    def sign_request(self, timestamp_ms: int, recv_window_ms: int, payload: str) -> str:
        """Sign a REST request."""
        return sign_request(self.__secret, self._api_key, timestamp_ms, recv_window_ms, payload)


class RsaSigner(_Secretive):
    """Signs with a private key of our own, of which the exchange knows the public part. Needs `tapebook[execution]`.

    Args:
        pem: an RSA private key as PEM, without a password.

    Raises:
        ConfigError: no such key, without showing it, or the library is missing.
    """

    __slots__ = ("__private_key", "__signing")

    def __init__(self, api_key: str, pem: bytes) -> None:
        super().__init__(api_key)
        try:
            from cryptography.hazmat.primitives import hashes
            from cryptography.hazmat.primitives.asymmetric import padding, rsa
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        except ImportError:
            raise ConfigError(
                "RSA keys need the package cryptography: pip install 'tapebook[execution]'"
            ) from None
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            # The library's own words may quote what it was given.
            raise ConfigError(
                f"the private key of API key {api_key[:4]}… cannot be read: expected an RSA key as PEM, without a "
                "password, which begins with -----BEGIN PRIVATE KEY-----"
            ) from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ConfigError(f"the private key of API key {api_key[:4]}… is no RSA key")
        self.__private_key = key
        self.__signing: tuple[Any, Any] = (padding.PKCS1v15(), hashes.SHA256())

    def _sign(self, text: str) -> str:
        return base64.b64encode(self.__private_key.sign(text.encode(), *self.__signing)).decode()

    def sign_socket(self, expires_ms: int) -> str:
        """Sign the authentication of a socket."""
        return self._sign(f"GET/realtime{expires_ms}")

    def sign_request(self, timestamp_ms: int, recv_window_ms: int, payload: str) -> str:
        """Sign a REST request."""
        return self._sign(f"{timestamp_ms}{self._api_key}{recv_window_ms}{payload}")
