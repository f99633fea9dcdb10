"""What docs/cookbook.md says that one gets, against what one gets; ``python -m tests.cookbook`` writes it anew.

Every block of SQL, and every command, is followed by a block of text: its output over what `tests.simulated` records.
Read the difference before committing a page that was written anew: the tests compare it with nothing but itself.
"""

from __future__ import annotations

import io
import re
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from typer.testing import CliRunner

from recorder.archive import Archive, open_archive
from recorder.cli import app
from recorder.render import Format, write_rows
from tests.simulated import record_evening

__all__ = ["PAGE", "Recipe", "recipes", "rewritten", "run_recipe"]

PAGE: Final = Path(__file__).parents[1] / "docs" / "cookbook.md"
_RECIPE: Final = re.compile(
    r"```(?P<language>sql|console)\n(?P<question>.*?)```\n\n```text\n(?P<answer>.*?)```\n", re.DOTALL
)


class Recipe(NamedTuple):
    """A question in SQL or as a command line, and what comes out, as the page has it."""

    language: str
    question: str
    answer: str


def recipes() -> list[Recipe]:
    """All of the page, in order."""
    return [Recipe(*found.groups()) for found in _RECIPE.finditer(PAGE.read_text(encoding="utf-8"))]


def run_recipe(recipe: Recipe, archive: Archive) -> str:
    """Return what a recipe gives."""
    if recipe.language == "sql":
        out = io.BytesIO()
        write_rows(archive.sql(recipe.question), Format.TABLE, out)
        return out.getvalue().decode()
    word, *arguments = shlex.split(recipe.question.removeprefix("$ "))
    assert word == "tapebook", recipe.question
    arguments = [str(archive.data) if argument == "DIR" else argument for argument in arguments]
    done = CliRunner().invoke(app, ["--quiet", *arguments])
    assert done.exception is None, f"{recipe.question}: {done.exception!r}\n{done.output}"
    return done.stdout


def rewritten(page: str, answer: Callable[[Recipe], str]) -> str:
    """Return the page with every answer as it is now."""

    def renew(found: re.Match[str]) -> str:
        recipe = Recipe(*found.groups())
        return f"```{recipe.language}\n{recipe.question}```\n\n```text\n{answer(recipe)}```\n"

    return _RECIPE.sub(renew, page)


def main() -> None:
    """Write the page anew."""
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "data"
        record_evening(data)
        with open_archive(data) as archive:
            PAGE.write_text(
                rewritten(PAGE.read_text(encoding="utf-8"), lambda r: run_recipe(r, archive)),
                encoding="utf-8",
            )
    print(f"{PAGE} is written; read `git diff {PAGE}`", file=sys.stderr)


if __name__ == "__main__":
    main()
