"""Every answer of the cookbook is what its question gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.archive import Archive, open_archive
from tests.cookbook import PAGE, Recipe, recipes, rewritten, run_recipe

TITLES = re.findall(r"^### (\d+)\. (.+)$", PAGE.read_text(encoding="utf-8"), re.M)


@pytest.fixture(scope="module")
def archive(evening: Path) -> Iterator[Archive]:
    with open_archive(evening) as opened:
        yield opened


def test_each_question_has_an_answer() -> None:
    assert [int(number) for number, _ in TITLES] == list(range(1, len(TITLES) + 1))
    assert len(TITLES) >= 20
    page = PAGE.read_text(encoding="utf-8")
    sections = re.split(r"^### ", page, flags=re.M)[1:]
    found = [[recipe for recipe in recipes() if recipe.question in section] for section in sections]
    assert all(found)
    assert page.count("```sql\n") + page.count("```console\n") == len(recipes())


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.question.split("\n", 1)[0][:40])
def test_answers_are_what_the_page_says(archive: Archive, recipe: Recipe) -> None:
    answer = run_recipe(recipe, archive)
    assert answer == recipe.answer
    assert len(answer.splitlines()) >= 3  # a heading alone would answer nothing


def test_a_page_is_written_anew_answer_by_answer() -> None:
    page = "a\n```sql\nSELECT 1\n```\n\n```text\nold\n```\nb\n```sql\nSELECT 2\n```\n\n```text\n```\nc\n"
    new = rewritten(page, lambda recipe: f"{recipe.question.strip()} -> {len(recipe.answer)}\n")
    assert new == (
        "a\n```sql\nSELECT 1\n```\n\n```text\nSELECT 1 -> 4\n```\nb\n"
        "```sql\nSELECT 2\n```\n\n```text\nSELECT 2 -> 0\n```\nc\n"
    )
