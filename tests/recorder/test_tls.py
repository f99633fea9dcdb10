"""Certificates: what is trusted, and what is said about those that aren't, over real sockets."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from recorder.network import Network
from recorder.rest import RestClient
from recorder.tls import client_context, server_context
from recorder.transport import connect
from schemas.errors import ConfigError, ConnectError
from tests.tls import Certificates, make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


async def _failures(server: ssl.SSLContext, trusting: ssl.SSLContext | None) -> list[ConnectError]:
    """What the stream and what REST say about a server."""

    async def hello(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        if socket.can_prepare(request):
            await socket.prepare(request)
            await socket.close()
            return socket
        return web.json_response({"retCode": 0, "retMsg": "OK", "result": {"timeNano": "9"}, "time": 1})

    app = web.Application()
    app.router.add_get("/{path:.*}", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server).start()
    root = f"wss://127.0.0.1:{runner.addresses[0][1]}"
    failures = []
    try:
        ended = asyncio.Event()
        try:
            await connect(root, on_frames=lambda *_: None, on_closed=lambda _: ended.set(), ssl=trusting)
            await ended.wait()
        except ConnectError as error:
            failures.append(error)
        async with RestClient(Network(root, trusting)) as rest:
            try:
                assert (await rest.server_time_ns())[1] == 9
            except ConnectError as error:
                failures.append(error)
            assert rest.requests == 1  # a certificate doesn't get better by asking again
    finally:
        await runner.cleanup()
    return failures


async def test_an_authority_of_our_own_is_trusted_beside_the_systems(certificates: Certificates) -> None:
    context = client_context(certificates.ca_file)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert await _failures(server_context(certificates.certificate, certificates.key), context) == []


@pytest.mark.parametrize(
    ("shown", "trusted", "words"),
    [
        ("certificate", False, "signed by nobody this system trusts: for a server of your own"),
        ("stranger", True, "signed by nobody this system trusts: for a server of your own"),
        ("other_name", True, "it belongs to another name: check the host of the endpoint"),
        ("expired", True, r"certificate has expired\): this system's clock says 20\d\d-"),
    ],
)
async def test_what_is_not_trusted_is_explained(
    certificates: Certificates, shown: str, trusted: bool, words: str
) -> None:
    key = certificates.key if shown == "certificate" else None
    context = client_context(certificates.ca_file) if trusted else None
    failures = await _failures(server_context(getattr(certificates, shown), key), context)
    assert len(failures) == 2
    for failure in failures:
        assert "127.0.0.1:" in str(failure)
        with pytest.raises(ConnectError, match=f"its certificate is not trusted .*{words}"):
            raise failure


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"", "found no certificate"),
        (b"not PEM", "found no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "found no certificate"),
    ],
)
def test_a_ca_file_that_is_none(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"--ca-file .*ca.pem: {words}"):
        client_context(path)


def test_certificates_of_a_server_that_cannot_be_used(tmp_path: Path, certificates: Certificates) -> None:
    assert server_context(certificates.stranger) is not None  # certificate and key in one file
    with pytest.raises(ConfigError, match=r"cannot be used .*private key as PEM"):
        server_context(certificates.certificate)
    with pytest.raises(ConfigError, match=r"cannot be used .*key values mismatch"):
        server_context(certificates.certificate, certificates.stranger)
    with pytest.raises(ConfigError, match=r"none.pem: cannot be read: No such file"):
        server_context(certificates.certificate, tmp_path / "none.pem")
