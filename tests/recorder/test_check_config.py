"""`tapebook check`: every mistake at once, or what would be recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from recorder.check_config import run_check
from recorder.gateway.options import GatewayOptions
from recorder.gateway.server import Gateway
from schemas.errors import ConfigError
from tests.processes import tapebook


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tapebook.toml"
    path.write_text(text)
    return path


def test_what_would_be_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    symbols = ", ".join(f'"S{number}USDT"' for number in range(9))
    path = file(
        tmp_path,
        f'data = "d"\nmetrics = "9464"\nsymbols = [{symbols}]\ntopics = ["orderbook.50", "publicTrade"]\n'
        '[[collector]]\nshards = 2\n[[collector]]\ncategory = "spot"\n',
    )
    run_check(path, offline=False)  # a list of symbols asks nobody
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "linear-1: linear from wss://stream.bybit.com, share 1/2 of the symbols: 10 topics"
    )
    assert lines[-4].startswith("spot: spot from wss://stream.bybit.com: 18 topics over 1 connection each")
    assert lines[-3] == "  orderbook.50: S0USDT, S1USDT, S2USDT, S3USDT, S4USDT, S5USDT and 3 more"
    assert lines[-1] == (
        "into d, rolled into Parquet, a segment every 900 s or 512 MiB; a kill loses 10 ms, a power cut 1 s; "
        "metrics on 9464"
    )


def test_rules_are_left_alone_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file(tmp_path, 'symbols = ["USDT perpetuals, top 3"]\nendpoint = "ws://127.0.0.1:1"\n')
    run_check(path, offline=True)
    assert "tickers of USDT perpetuals" in capsys.readouterr().out


async def test_rules_are_asked_for(tmp_path: Path) -> None:
    async with Gateway(GatewayOptions(simulate=7, symbol_count=8)) as exchange:
        path = file(tmp_path, f'symbols = ["USDT perpetuals, top 3"]\nendpoint = "{exchange.url}"\n')
        done = await asyncio.to_thread(tapebook, "check", path)
    assert done.code == 0, done.err
    assert f"linear: linear from {exchange.url}: 9 topics" in done.out


def test_mistakes_are_told_together_with_exit_code_2(tmp_path: Path) -> None:
    path = file(tmp_path, 'categry = "spot"\nsymbols = "BTCUSDT"\nfsync_s = "1"\n')
    done = tapebook("check", "--offline", path)
    assert done.code == 2
    for part in (
        f"{path}:1: found key 'categry'",
        f"{path}:2: symbols",
        f"{path}:3: fsync_s",
        "nearest is 1",
    ):
        assert part in done.err
    assert done.out == ""


def test_what_only_opening_finds(tmp_path: Path) -> None:
    text = f'symbols = ["A"]\nca_file = "{tmp_path}/none.pem"\nlines = 9\nlive_depth = "x"\n'
    with pytest.raises(ConfigError) as found:
        run_check(file(tmp_path, text), offline=True)
    ca_file, lines, live_depth = str(found.value).splitlines()
    assert f":2: ca_file: {tmp_path}/none.pem: cannot be read: No such file" in ca_file
    assert ":3: lines: found 9" in lines
    assert ":4: live_depth: found 'x', expected" in live_depth
