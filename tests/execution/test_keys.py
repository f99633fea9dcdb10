"""Keys are read from where only their owner can, and no message shows them."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from execution.desk.signers import HmacSigner, RsaSigner
from execution.keys import KEY_VARIABLE, PRIVATE_KEY_VARIABLE, SECRET_VARIABLE, load_signer
from schemas.errors import ConfigError

SECRET = "s3cr3t-s3cr3t"


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def pem() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_from_the_environment(tmp_path: Path) -> None:
    signer = load_signer(environment={KEY_VARIABLE: "abcd-key", SECRET_VARIABLE: SECRET})
    assert isinstance(signer, HmacSigner)
    assert signer.sign_socket(1) == HmacSigner("x", SECRET).sign_socket(1)
    file = write(tmp_path / "key.pem", pem())
    signer = load_signer(environment={KEY_VARIABLE: "abcd-key", PRIVATE_KEY_VARIABLE: str(file)})
    assert isinstance(signer, RsaSigner)


def test_this_processs_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "abcd-key")
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    monkeypatch.delenv(PRIVATE_KEY_VARIABLE, raising=False)
    assert load_signer().api_key == "abcd-key"


@pytest.mark.parametrize(
    "variables",
    [{}, {KEY_VARIABLE: "abcd-key"}, {SECRET_VARIABLE: SECRET},
     {KEY_VARIABLE: "abcd-key", SECRET_VARIABLE: SECRET, PRIVATE_KEY_VARIABLE: "x"}],
)  # fmt: skip
def test_an_incomplete_environment(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_signer(environment=variables)
    assert SECRET not in str(caught.value)


def test_from_a_file(tmp_path: Path) -> None:
    file = write(tmp_path / "keys.toml", f'api_key = "abcd-key"\nsecret = "{SECRET}"\n')
    signer = load_signer(file)
    assert (signer.api_key, signer.sign_socket(1)) == ("abcd-key", HmacSigner("x", SECRET).sign_socket(1))
    write(tmp_path / "own.pem", pem())
    file = write(tmp_path / "rsa.toml", 'api_key = "abcd-key"\nprivate_key_file = "own.pem"\n')
    assert isinstance(load_signer(file), RsaSigner)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    file = write(tmp_path / "keys.toml", f'api_key = "abcd-key"\nsecret = "{SECRET}"\n', mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_signer(file)
    write(tmp_path / "own.pem", pem(), mode)
    outer = write(tmp_path / "rsa.toml", 'api_key = "abcd-key"\nprivate_key_file = "own.pem"\n')
    with pytest.raises(ConfigError, match=r"own\.pem"):
        load_signer(outer)


def test_a_link_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    write(tmp_path / "open.toml", f'api_key = "abcd-key"\nsecret = "{SECRET}"\n', 0o644)
    (tmp_path / "link.toml").symlink_to("open.toml")
    with pytest.raises(ConfigError, match="chmod 600"):
        load_signer(tmp_path / "link.toml")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_elses_file_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "keys.toml", "")
    os.chown(file, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        load_signer(file)


@pytest.mark.parametrize(
    "text",
    [f"api_key = {SECRET}", f'secret = "{SECRET}', f'"{SECRET}" = 1', f"secret = ['{SECRET}']\napi_key = 'k'",
     f"api_key = 'k'\nsecret = '{SECRET} with a space'", f"api_key = 'k'\nsecret = '{SECRET}'\nprivate_key_file = 'x'",
     b"\xff\xfe" + SECRET.encode(), "api_key = 'k'", "x" * 70_000],
    ids=range(9),
)  # fmt: skip
def test_a_bad_file_is_told_without_showing_it(tmp_path: Path, text: str | bytes) -> None:
    file = write(tmp_path / "keys.toml", text)
    with pytest.raises(ConfigError) as caught:
        load_signer(file)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_neither_a_directory_nor_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="regular file"):
        load_signer(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_signer(tmp_path / "absent.toml")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    with pytest.raises(ConfigError, match="regular file"):
        load_signer(fifo)
