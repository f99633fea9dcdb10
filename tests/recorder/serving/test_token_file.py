"""The file that holds the token."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.serving.token_file import read_token
from schemas.errors import ConfigError


def test_it_is_made_private_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token, made = read_token(path)
    assert made
    assert len(token) >= 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_token(path) == (token, False)
    other, _ = read_token(tmp_path / "other")
    assert other != token


def test_others_may_not_read_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("x" * 40)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"found mode 0640, expected 0600.*chmod 600") as caught:
        read_token(path)
    assert "xxxx" not in str(caught.value)
    path.chmod(0o600)
    assert read_token(path) == ("x" * 40, False)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a file"):
        read_token(tmp_path)
    with pytest.raises(ConfigError, match="cannot be made"):
        read_token(tmp_path / "no" / "token")
    path = tmp_path / "bytes"
    path.write_bytes(b"\xff\x00" * 40)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="printable ASCII"):
        read_token(path)
