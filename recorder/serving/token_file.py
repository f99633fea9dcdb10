"""The file that holds the token: private, and made where there is none."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from recorder.serving.access import token_from
from schemas.errors import ConfigError

__all__ = ["read_token"]

BYTES: Final = 32
_MOST_BYTES: Final = 4096


def read_token(path: Path) -> tuple[str, bool]:
    """Return the token of a file, and whether it was made just now because there was none.

    Raises:
        ConfigError: others may read the file, it holds no token, or it can't be read or made.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return _made(path), True
    except OSError as error:
        raise ConfigError(f"--token-file {path}: cannot be read: {error.strerror or error}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"--token-file {path}: expected a file")
        if found.st_mode & 0o077:
            raise ConfigError(
                f"--token-file {path}: found mode {stat.S_IMODE(found.st_mode):04o}, expected 0600: others of this "
                f"machine may read the token; run `chmod 600 {path}`"
            )
        content = os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)
    return token_from(content.decode("ascii", "replace"), str(path)), False


def _made(path: Path) -> str:
    """Write a new token to a file that nobody else may read."""
    token = secrets.token_urlsafe(BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{token}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f"--token-file {path}: cannot be made: {error.strerror or error}") from None
    return token
