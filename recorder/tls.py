"""Whom this side of a connection trusts, what the other side shows, and what to do when they don't fit."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from schemas.errors import ConfigError

__all__ = ["certificate_advice", "client_context", "server_context"]

_UNKNOWN_ISSUERS: Final = frozenset({2, 18, 19, 20, 21, 27})
_DATES: Final = frozenset({9, 10})
_NAMES: Final = frozenset({62, 64})
"""Verification results of OpenSSL (its ``x509_vfy.h``)."""


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return a context that verifies certificates and names, against this system's authorities and ``ca_file``'s.

    Raises:
        ConfigError: the file can't be read or holds no certificate.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except ssl.SSLError as error:
            raise ConfigError(
                f"--ca-file {ca_file}: found no certificate ({_reason(error)}); "
                "expected the authority's certificate as PEM, which begins with -----BEGIN CERTIFICATE-----"
            ) from None
        except OSError as error:
            raise ConfigError(f"--ca-file {ca_file}: cannot be read: {error.strerror or error}") from None
    return context


def server_context(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """Return a context that shows this certificate chain; the key may be in the same file.

    Raises:
        ConfigError: a file can't be read, or isn't what was expected.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)

    def no_password() -> str:
        raise ConfigError(
            f"--tls-key {key or certificate}: the key is encrypted; expected one without a password"
        )

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except ssl.SSLError as error:
        raise ConfigError(
            f"--tls-cert {certificate} and --tls-key {key or certificate}: cannot be used ({_reason(error)}); "
            "expected a certificate chain and its private key as PEM"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"--tls-cert {certificate} and --tls-key {key or certificate}: cannot be read: {error.strerror or error}"
        ) from None
    return context


def _reason(error: ssl.SSLError) -> str:
    return str(error.reason or error).replace("_", " ").lower()


def certificate_advice(error: ssl.SSLCertVerificationError) -> str:
    """Say what was found wrong with a peer's certificate, and what to do."""
    found = error.verify_message or str(error)
    if error.verify_code in _UNKNOWN_ISSUERS:
        todo = (
            "it is signed by nobody this system trusts: for a server of your own give its authority with --ca-file; "
            "for the exchange, look for a proxy that opens TLS, or update this system's authorities"
        )
    elif error.verify_code in _DATES:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        todo = (
            f"this system's clock says {now}: set it if it is wrong, else the server needs a new certificate"
        )
    elif error.verify_code in _NAMES:
        todo = "it belongs to another name: check the host of the endpoint"
    else:
        todo = "check the endpoint, the clock and authorities of this system, or a proxy that opens TLS"
    return f"its certificate is not trusted ({found}): {todo}"
