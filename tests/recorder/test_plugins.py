"""Commands that other packages add: there when they load, told in a line when they don't, and nobody else's trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.cli import main
from recorder.plugins import COMMANDS, load_plugin, plugins
from schemas.errors import ConfigError

SOUND = """
import typer
app = typer.Typer()
@app.command()
def say(word: str, loud: bool = False) -> None:
    "Says what it is told."
    print(word.upper() if loud else word)
"""


def installed(place: Path, monkeypatch: pytest.MonkeyPatch, points: str, **modules: str) -> None:
    """A distribution with these entry points, and modules."""
    about = place / "others-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{COMMANDS}]\n{points}\n")
    for name, text in modules.items():
        (place / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(place)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def test_a_command_that_another_package_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(tmp_path, monkeypatch, "parrot = sound_parrot:app", sound_parrot=SOUND)
    assert run("parrot", "hello", "--loud") == 0
    assert capsys.readouterr().out == "HELLO\n"
    assert run("--help") == 0
    assert "Says what it is told." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("absent_parrot:app", "ModuleNotFoundError"),
        ("broken_parrot:app", "RuntimeError: it is dead, it has ceased to be"),
        ("broken_parrot_name:nothing", "AttributeError"),
        ("no_app_parrot:app", "no typer.Typer"),
    ],
)
def test_one_that_is_broken_says_so_and_breaks_nothing_else(
    point: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    installed(
        tmp_path,
        monkeypatch,
        f"parrot = {point}",
        broken_parrot="raise RuntimeError('it is dead,\\nit has ceased to be')",
        broken_parrot_name="",
        no_app_parrot="app = 3",
    )
    for arguments in (("parrot",), ("parrot", "hello", "--loud"), ("parrot", "--help")):
        assert run(*arguments) == 2
        told = capsys.readouterr()
        assert said in told.err
        assert told.err.count("\n") == 1
        assert "Traceback" not in told.err + told.out
    assert run("--help") == 0
    assert "Not available" in capsys.readouterr().out
    assert run("roll", "--help") == 0
    assert run("--version") == 0
    assert run("parrots") == 2


def test_our_own_names_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(tmp_path, monkeypatch, "verify = sound_parrot_2:app", sound_parrot_2=SOUND)
    assert run("verify", "--help") == 0
    assert "Replay journal and archive" in capsys.readouterr().out


def test_what_this_repository_adds_loads() -> None:
    for point in plugins(COMMANDS).values():
        load_plugin(point)
    assert "trade" in plugins(COMMANDS), "install the package anew: its entry points are not there"


def test_an_error_of_ours_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from schemas.errors import ConfigError\nraise ConfigError('install the extra')"
    installed(tmp_path, monkeypatch, "parrot = polite_parrot:app", polite_parrot=text)
    with pytest.raises(ConfigError, match=r"^install the extra$"):
        load_plugin(plugins(COMMANDS)["parrot"])
