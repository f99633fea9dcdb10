"""Commands that other packages add: there when they load, told in a line when they don't, and nobody else's trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.cli import main
from recorder.plugins import COMMANDS, VERIFIERS, load_plugin, plugins
from schemas.errors import ConfigError

SOUND = """
import typer
app = typer.Typer()
@app.command()
def say(word: str, loud: bool = False) -> None:
    "Says what it is told."
    print(word.upper() if loud else word)
"""


def installed(
    place: Path, monkeypatch: pytest.MonkeyPatch, points: str, group: str = COMMANDS, **modules: str
) -> None:
    """A distribution with these entry points, and modules."""
    about = place / "others-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{points}\n")
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
    for group, name in ((COMMANDS, "trade"), (VERIFIERS, "orders")):
        assert name in plugins(group), "install the package anew: its entry points are not there"
        for point in plugins(group).values():
            load_plugin(point)


def test_an_error_of_ours_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from schemas.errors import ConfigError\nraise ConfigError('install the extra')"
    installed(tmp_path, monkeypatch, "parrot = polite_parrot:app", polite_parrot=text)
    with pytest.raises(ConfigError, match=r"^install the extra$"):
        load_plugin(plugins(COMMANDS)["parrot"])


EGGS = """
class Eggs:
    def recognizes(self, directory):
        return (directory / "eggs").is_dir()
    def verify(self, directory, result, progress):
        progress("eggs")
        for egg in sorted((directory / "eggs").iterdir()):
            if egg.read_text() != "fresh":
                result.fail(egg, "it is bad")
        return {"eggs": 2}
eggs = Eggs()
"""


def test_a_verifier_of_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is asked where it knows something, alone or beside a recording; one that is broken is told in a line."""
    points = "eggs = sound_eggs:eggs\nspam = broken_spam:spam"
    modules = {"sound_eggs": EGGS, "broken_spam": "raise RuntimeError('no spam')"}
    installed(tmp_path, monkeypatch, points, VERIFIERS, **modules)
    data = tmp_path / "data"
    for name, content in (("one", "fresh"), ("two", "fresh")):
        (data / "eggs").mkdir(parents=True, exist_ok=True)
        (data / "eggs" / name).write_text(content)
    assert run("verify", "--data", str(data)) == 0
    told = capsys.readouterr()
    assert told.out == "eggs: 2 eggs\nverified: no unexplained difference\n"
    (warning,) = [line for line in told.err.splitlines() if "spam" in line]
    assert "cannot be loaded: RuntimeError: no spam" in warning
    assert warning.endswith("what it would have checked is not checked")

    (data / "journal").mkdir()
    (data / "eggs" / "two").write_text("green")
    assert run("verify", "--data", str(data)) == 1
    told = capsys.readouterr()
    assert "0 segments" in told.out
    assert "two: it is bad" in told.out
    assert told.out.endswith("NOT verified: 1 differences\n")

    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("verify", "--data", str(empty)) == 2
    assert "it is no data directory" in capsys.readouterr().err
