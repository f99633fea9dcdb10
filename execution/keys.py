"""Where keys come from: the environment, or a file that only its owner can read. They go into a signer, nowhere else.

::

    TAPEBOOK_API_KEY, TAPEBOOK_API_SECRET               (or TAPEBOOK_API_PRIVATE_KEY_FILE, RSA as PEM)

    api_key = "..."                                     the file, TOML, mode 0600
    secret = "..."                                      or private_key_file = "key.pem", mode 0600 too
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from execution.desk.signers import HmacSigner, RsaSigner, Signer
from schemas.errors import ConfigError

__all__ = ["KEY_VARIABLE", "PRIVATE_KEY_VARIABLE", "SECRET_VARIABLE", "load_signer"]

KEY_VARIABLE: Final = "TAPEBOOK_API_KEY"
SECRET_VARIABLE: Final = "TAPEBOOK_API_SECRET"
PRIVATE_KEY_VARIABLE: Final = "TAPEBOOK_API_PRIVATE_KEY_FILE"
_MAXIMUM_BYTES: Final = 64 << 10
_ALLOWED: Final = frozenset({"api_key", "secret", "private_key_file"})


def load_signer(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Signer:
    """Read a key.

    Args:
        file: where it is; None for the environment.
        environment: instead of this process's.

    Raises:
        ConfigError: nothing is found, or the file could be read by others; no message shows a secret.
    """
    if file is not None:
        return _from_file(file)
    variables = os.environ if environment is None else environment
    api_key = variables.get(KEY_VARIABLE, "")
    if not api_key:
        raise ConfigError(f"no API key: set {KEY_VARIABLE} and {SECRET_VARIABLE}, or name a key file")
    secret, pem = variables.get(SECRET_VARIABLE, ""), variables.get(PRIVATE_KEY_VARIABLE, "")
    if bool(secret) == bool(pem):
        raise ConfigError(
            f"expected one of {SECRET_VARIABLE} and {PRIVATE_KEY_VARIABLE} beside {KEY_VARIABLE}"
        )
    return HmacSigner(api_key, secret) if secret else RsaSigner(api_key, _read_private(Path(pem)))


def _from_file(file: Path) -> Signer:
    content = _read_private(file)
    try:
        values = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        values = None
    if values is None:
        raise ConfigError(f'key file {file}: it isn\'t TOML; expected lines such as api_key = "..."')
    unknown = sorted(set(values) - _ALLOWED)
    if unknown:
        raise ConfigError(
            f"key file {file}: {len(unknown)} unknown keys; expected {', '.join(sorted(_ALLOWED))}"
        )
    if not all(isinstance(value, str) for value in values.values()):
        raise ConfigError(f"key file {file}: every value must be a text in quotes")
    api_key, secret, pem = (values.get(name, "") for name in ("api_key", "secret", "private_key_file"))
    if bool(secret) == bool(pem):
        raise ConfigError(f"key file {file}: expected one of secret and private_key_file beside api_key")
    if secret:
        return HmacSigner(api_key, secret)
    return RsaSigner(api_key, _read_private(file.parent / pem))


def _read_private(file: Path) -> bytes:
    """Read a file that nobody else can, as judged on the open file and not on its name."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"key file {file}: cannot be read: {error.strerror or error}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"key file {file}: it isn't a regular file")
        if status.st_uid not in (os.geteuid(), 0):
            raise ConfigError(f"key file {file}: it belongs to user {status.st_uid}, expected {os.geteuid()}")
        if status.st_mode & 0o077:
            raise ConfigError(
                f"key file {file}: others may use it (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600 {file}"
            )
        if status.st_size > _MAXIMUM_BYTES:
            raise ConfigError(f"key file {file}: {status.st_size} bytes, at most {_MAXIMUM_BYTES} expected")
        return os.read(descriptor, _MAXIMUM_BYTES)
    finally:
        os.close(descriptor)
