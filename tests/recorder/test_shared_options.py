"""Options that several commands have, told once: each gets them beside its own, in its help and in what it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from recorder.shared_options import with_options

app = typer.Typer()


@dataclass(frozen=True)
class Choices:
    place: Annotated[str, typer.Option("--place", help="Where.")]
    often: Annotated[int, typer.Option("--often", min=1, help="How often.")] = 1


@app.command()
@with_options(Choices)
def say(
    choices: Choices, word: str, loud: Annotated[bool, typer.Option("--loud", help="Shout.")] = False
) -> None:
    """Says a word."""
    print(choices.place, (word.upper() if loud else word) * choices.often)


@app.command()
@with_options(Choices)
def leave(choices: Choices) -> None:
    """Leaves."""
    print("left", choices.place)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("say hello --place here", "here hello"),
        ("say --often 2 hello --loud --place there", "there HELLOHELLO"),
        ("leave --place here", "left here"),
    ],
)
def test_own_options_and_shared_ones(line: str, told: str) -> None:
    done = CliRunner().invoke(app, line.split())
    assert (done.exit_code, done.stdout) == (0, f"{told}\n")


@pytest.mark.parametrize(
    "line", ["say hello", "say --place here", "say hello --place here --often 0", "leave --loud"]
)
def test_what_is_missing_or_wrong_is_refused(line: str) -> None:
    assert CliRunner().invoke(app, line.split()).exit_code == 2


def test_help_tells_both() -> None:
    told = CliRunner(env={"COLUMNS": "100"}).invoke(app, ["say", "--help"]).stdout
    assert all(words in told for words in ("Says a word.", "Where.", "How often.", "Shout."))
    assert told.index("--loud") < told.index("--place")
