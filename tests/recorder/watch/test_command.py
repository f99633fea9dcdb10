"""``tapebook watch`` without a terminal: one picture as text, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from recorder.cli import app
from recorder.watch.keys import KEYS
from schemas.errors import ConfigError
from tests.recorder.watch.statuses import NOW, feed, live


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Of a recorder that died: one line of what it told last."""
    path = tmp_path / "journal" / "linear" / "status.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(msgspec.json.encode(live(feed("orderbook.50.BTCUSDT"), feed("tickers.ETHUSDT"))))
    return tmp_path


def run(data: Path, *arguments: str, columns: str = "100", lines: str = "24", **environment: str) -> str:
    sizes = {"COLUMNS": columns, "LINES": lines}
    found = CliRunner(env=sizes | environment).invoke(app, ["watch", "--data", str(data), *arguments])
    if found.exception is not None:
        raise found.exception
    return found.stdout


def test_one_picture_as_text(data: Path) -> None:
    text = run(data, "--once")
    assert text.startswith(" ▲ DEAD   1 overview")
    assert "linear: its process died without a word" in text
    assert f"since {'11-15 '}12:00:00Z" in text  # NOW, which was not today
    assert all(line == line.rstrip() for line in text.splitlines())
    assert "quit" not in text
    assert NOW


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ("book", "NOT LIVE"),
        ("feeds", "2 feeds, 2 not live"),
        ("lines", "DEAD"),
        ("events", "Nothing has happened"),
    ],
)
def test_each_view(data: Path, view: str, words: str) -> None:
    assert words in run(data, "--once", "--view", view)


def test_ascii_alone(data: Path) -> None:
    assert run(data, "--once", "--ascii", "--view", "feeds").isascii()


def test_a_symbol_shows_its_book(data: Path) -> None:
    text = run(data, "ETHUSDT", "--once")
    assert " ETHUSDT  linear" in text
    assert "NOT LIVE: " in text


def test_as_wide_as_asked(data: Path) -> None:
    widest = max(len(line) for line in run(data, "--once", columns="60").splitlines())
    assert widest <= 60


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["BTCUSD", "--once"], "BTCUSD is recorded by no collector here; the nearest are BTCUSDT"),
        (["BTCUSDT", "--once", "--category", "spot"], "BTCUSDT of spot is recorded by no collector here"),
        (["--once", "--collector", "lineal"], "--collector: found 'lineal', expected one of linear"),
        (
            ["--once", "--topic", "orderbook.500", "BTCUSDT"],
            "--topic: found 'orderbook.500', expected one of orderbook.50",
        ),
        ([], "standard output is no terminal: `tapebook watch --once` prints one picture"),
    ],
)
def test_wrong_words(data: Path, arguments: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as found:
        run(data, *arguments)
    assert words in str(found.value)


def test_no_data_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such data directory"):
        run(tmp_path / "nothing", "--once")
    assert "No recorder has written here yet" in run(tmp_path, "--once")


def test_a_directory_that_may_not_be_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "journal")
    with pytest.raises(ConfigError, match="journal: may not be read by this user"):
        run(data, "--once")


def test_help_names_every_key(tmp_path: Path) -> None:
    shown: Any = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["watch", "--help"])
    for key in KEYS:
        assert key.shown in shown.stdout
        assert key.says in shown.stdout
