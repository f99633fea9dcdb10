"""``tapebook plan``: offline for lists, with the exchange for rules, and its numbers are those of what is opened."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recorder.cli import app, main
from recorder.gateway.options import GatewayOptions
from recorder.gateway.server import Gateway
from recorder.plan import json_lines, text_of
from recorder.universe import plan_of, resolve
from schemas.config import RecordConfig
from schemas.names import Category


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["plan", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_list_needs_no_network(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(
        "--symbols", "BTCUSDT,ETHUSDT", "--endpoint", "ws://127.0.0.1:1", "--lines", "1", "--duration", "5"
    )
    told = capsys.readouterr().out
    assert code == 0
    assert "linear: 6 topics of 2 symbols" in told
    assert "nobody was asked whether they exist" in told
    assert "note: no turnover is known" in told
    assert "memory: about" in told


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--symbols", "BTCUSDT", "--topics", "tickers", "--format", "json") == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["plan"] for one in objects] == ["total", "class", "connection"]
    total = objects[0]
    assert (total["topics"], total["connections"], total["requests"]) == (1, 1, 1)
    assert total["frames_per_second"] == objects[1]["frames_per_second"] > 0
    assert objects[2]["characters"] == len('["tickers.BTCUSDT"]')


def test_what_breaks_a_limit_or_cannot_be_read_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    many = ",".join(f"C{number}USDT" for number in range(1_100))
    assert run("--symbols", many, "--topics", "tickers", "--frames-per-connection", "0.1") == 2
    assert "section 2.4" in capsys.readouterr().err
    assert run("--symbols", "USDT perpetuals with turnover > 5", "--endpoint", "ws://127.0.0.1:1") == 2
    assert "the nearest is 'turnover24h'" in capsys.readouterr().err


def test_a_rule_that_nobody_answers_exits_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    code = run("--symbols", "all", "--endpoint", "ws://127.0.0.1:1", "--state-dir", "")
    assert code == 3
    assert "no answer after" in capsys.readouterr().err


async def test_a_rule_is_explained_and_scaled_by_turnover() -> None:
    async with Gateway(GatewayOptions(simulate=7, category=Category.LINEAR, symbol_count=8)) as gateway:
        config = RecordConfig(symbols=["USDT perpetuals top 3"], topics=["orderbook.50", "tickers"])
        resolved = await resolve(config, gateway.url)
    plan = plan_of(config, resolved)
    text = "\n".join(text_of(plan, resolved))
    assert "symbols USDT perpetuals top 3: 8 listed" in text
    assert "linear: 6 topics of 3 symbols" in text
    assert "rates are scaled by the turnover of 24 hours" in text
    objects: list[dict[str, Any]] = [json.loads(line) for line in json_lines(plan, resolved)]
    (rule,) = [one for one in objects if one["plan"] == "rule"]
    assert len(rule["symbols"]) == 3


def test_plan_takes_the_options_of_record() -> None:
    import typer.main

    commands: Any = typer.main.get_command(app)
    options = {
        name: {option for parameter in commands.commands[name].params for option in parameter.opts}
        for name in ("plan", "record")
    }
    assert options["plan"] == options["record"]
