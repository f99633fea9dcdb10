"""Certificates made for one test run, by authorities that nobody else trusts."""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trustme

__all__ = ["EXCHANGE_HOSTS", "Certificates", "make_certificates"]

EXCHANGE_HOSTS = ("api.bybit.localhost", "stream.bybit.localhost")
"""Names of the loopback that clients make of their own pattern, SUBDOMAIN.DOMAIN.TLD."""


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, and what it signed for a server on the loopback.

    Attributes:
        ca_file: the authority's certificate.
        certificate, key: of the server, for 127.0.0.1, localhost and EXCHANGE_HOSTS.
        other_name: certificate and key in one file, for another host.
        expired: certificate and key in one file, for 127.0.0.1 until the year 2000.
        stranger: certificate and key in one file, for 127.0.0.1, signed by another authority.
    """

    ca_file: Path
    certificate: Path
    key: Path
    other_name: Path
    expired: Path
    stranger: Path

    def server_context(self) -> ssl.SSLContext:
        """What a server shows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """What trusts it."""
        return ssl.create_default_context(cafile=str(self.ca_file))


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()


def make_certificates(directory: Path) -> Certificates:
    """Write certificates into a directory."""
    authority, stranger = _authority(), trustme.CA()
    files = Certificates(
        **{
            name: directory / f"{name}.pem"
            for name in ("ca_file", "certificate", "key", "other_name", "expired", "stranger")
        }
    )
    authority.cert_pem.write_to_path(str(files.ca_file))
    server = authority.issue_cert("127.0.0.1", "localhost", *EXCHANGE_HOSTS)
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    server.private_key_pem.write_to_path(str(files.key))
    past = datetime(2000, 1, 1, tzinfo=UTC)
    authority.issue_cert("gateway.example").private_key_and_cert_chain_pem.write_to_path(
        str(files.other_name)
    )
    expired = authority.issue_cert("127.0.0.1", not_before=past.replace(year=1999), not_after=past)
    expired.private_key_and_cert_chain_pem.write_to_path(str(files.expired))
    stranger.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(files.stranger))
    return files
