"""Keys sign, and are never seen."""

from __future__ import annotations

import base64
import copy
import logging
import pickle
import traceback

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from execution.desk.signers import HmacSigner, RsaSigner, Signer
from schemas.errors import ConfigError

SECRET = "verysecretsecret"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def verify(signature: str, text: str) -> None:
    KEY.public_key().verify(base64.b64decode(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_rsa_signs_the_same_texts() -> None:
    signer = RsaSigner("rsa-key", pem(KEY))
    verify(signer.sign_socket(1_700_000_000_000), "GET/realtime1700000000000")
    verify(signer.sign_request(1_700, 5_000, "a=b"), "1700rsa-key5000a=b")


SIGNERS = [HmacSigner("public-key", SECRET), RsaSigner("public-key", pem(KEY))]


@pytest.mark.parametrize("signer", SIGNERS, ids=["hmac", "rsa"])
def test_nothing_shows_a_secret(signer: Signer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("tapebook").debug("%s %r %s", signer, signer, [signer])
    try:
        raise RuntimeError(signer)
    except RuntimeError as error:
        shown = "".join(traceback.format_exception(error)) + repr(error)
    everything = shown + caplog.text + str(signer) + f"{signer!r}"
    assert SECRET not in everything
    assert "PRIVATE" not in everything
    assert "public-key" not in everything, "the public part is shortened too"
    assert "publ…" in everything


@pytest.mark.parametrize("signer", SIGNERS, ids=["hmac", "rsa"])
def test_a_secret_is_not_copied(signer: Signer) -> None:
    for make in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="a secret stays where it was read"):
            make(signer)
    assert not hasattr(signer, "__dict__")


@pytest.mark.parametrize("secret", ["", "with space", "schlüssel"])
def test_a_bad_secret_is_told_without_showing_it(secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HmacSigner("public-key", secret)
    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=["empty", "torn", "elliptic"],
)
def test_a_bad_private_key_is_told_without_showing_it(bad: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        RsaSigner("public-key", bad)
    assert caught.value.__cause__ is None
    shown = "".join(traceback.format_exception(caught.value))
    assert "c2VjcmV0" not in shown
    assert "publ…" in str(caught.value)


@pytest.mark.parametrize("key", ["", "with space", "ä"])
def test_a_bad_key(key: str) -> None:
    with pytest.raises(ConfigError, match="API key"):
        HmacSigner(key, SECRET)
