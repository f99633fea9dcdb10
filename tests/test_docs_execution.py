"""docs/execution.md keeps its word: its programs run, against an exchange on this machine."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from recorder.cli import main
from tests.docs_programs import check_program
from tests.processes import ROOT, gateway

TEXT = (ROOT / "docs" / "execution.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.S | re.M)
MARKET = ["--simulate", 7, "--category", "linear", "--symbol-count", 1, "--trade", "demo:demo-secret"]
SAYS = [
    [r"^acked 0 $", r"^0 orders are open$"],
    [r"^placed [1-9]\d* open 0$"],
]


CONFIGURATION = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.S | re.M)
SESSION = re.findall(r"^```\n(\$ tapebook .*?)^```$", TEXT, re.S | re.M)
CHANGES = (
    (r"[0-9a-f]{64}", "HASH"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ORDER"),
    (r"tb-[0-9a-v]{13}-\d+", "LINK"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"-?\d+(\.\d+)?", "N"),
    (r" +", " "),
)
"""What is another at every run, and the width of columns with it."""


def test_there_is_something_to_run() -> None:
    assert len(PROGRAMS) == len(SAYS)
    assert len(CONFIGURATION) == len(SESSION) == 1


def masked(text: str) -> list[str]:
    """Lines without what is another at every run."""
    for pattern, word in CHANGES:
        text = re.sub(pattern, word, text)
    return text.splitlines()


def test_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command prints what the page says, but for times, ids and the market's numbers."""
    commands = re.split(r"^\$ tapebook ", SESSION[0], flags=re.M)[1:]
    assert len(commands) >= 10
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEBOOK_TRADE_CONFIG", "trade.toml")
    monkeypatch.setenv("TAPEBOOK_API_KEY", "demo")
    monkeypatch.setenv("TAPEBOOK_API_SECRET", "demo-secret")
    with gateway(tmp_path / "gateway", *MARKET) as served:
        Path("trade.toml").write_text(CONFIGURATION[0].replace("ws://127.0.0.1:9001", served.url))
        for command in commands:
            line, _, expected = command.partition("\n")
            with pytest.raises(SystemExit):
                main(shlex.split(line))
            told = capsys.readouterr()
            assert masked(told.err + told.out) == masked(expected), line


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_programs(number: int, tmp_path: Path) -> None:
    with gateway(tmp_path / "gateway", *MARKET) as served:
        program, replaced = re.subn(r"ws://127\.0\.0\.1:9001", served.url, PROGRAMS[number])
        assert replaced == 1
        keys = {"TAPEBOOK_API_KEY": "demo", "TAPEBOOK_API_SECRET": "demo-secret"}
        check_program(program, "range", SAYS[number], tmp_path, keys)
