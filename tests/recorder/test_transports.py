"""The choice of a client: names, and what is told of one that can't be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recorder.cli import main
from recorder.network import open_network
from recorder.picows_frames import load_parser
from recorder.transport import Connection
from schemas.config import RecordConfig
from schemas.names import Transport


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and standard error of a command that ends at once."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code, capsys.readouterr().err


def test_websockets_is_what_is_used_unless_said_otherwise() -> None:
    assert open_network(RecordConfig()).kind is Connection


def test_the_choice_of_a_configuration_is_what_lines_are_given() -> None:
    pytest.importorskip("picows", reason="picows isn't installed: pip install 'tapebook[picows]'")
    from recorder.transport_picows import PicowsConnection

    assert open_network(RecordConfig(transport=Transport.PICOWS)).kind is PicowsConnection


def test_an_unknown_client_is_refused_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    code, words = told(capsys, "record", "--symbols", "BTCUSDT", "--data", data, "--transport", "picos")
    assert code == 2
    assert "--transport: found 'picos': expected one of websockets, picows; the nearest is 'picows'" in words
    path = tmp_path / "config.toml"
    path.write_text('symbols = ["BTCUSDT"]\ntransport = "sockets"\n')
    code, words = told(capsys, "check", "--offline", path)
    assert code == 2
    assert f"{path}:2: transport: found 'sockets': expected one of websockets, picows" in words


def test_a_client_that_is_not_installed_ends_with_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "picows", None)
    load_parser.cache_clear()
    data = tmp_path / "data"
    code, words = told(capsys, "record", "--symbols", "BTCUSDT", "--data", data, "--transport", "picows")
    assert code == 2
    assert "tapebook: transport picows: it is not installed" in words
    assert "pip install 'tapebook[picows]'" in words
    assert not data.exists()
