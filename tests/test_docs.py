"""What the documents tell people to type exists: every command, every option, every value of a choice."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from recorder.cli import app
from recorder.gateway.faults import Deed
from recorder.sql.describe import describe_functions

ROOT = Path(__file__).parents[1]
GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = {name: GROUP.get_command(None, name) for name in GROUP.list_commands(None)}
"""Our own, and those of plug-ins."""
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def _inner(command: Any, words: list[str]) -> tuple[Any, list[str]]:
    """The command of a group that the first word names, and the words behind it; or what was given."""
    if words and words[0] in getattr(command, "commands", {}):
        return command.commands[words[0]], words[1:]
    return command, words


def _typed() -> list[tuple[str, str]]:
    """(document, command line) of each line that is meant to be typed."""
    found = []
    for document in DOCUMENTS:
        for line in document.read_text().replace("\\\n", " ").splitlines():
            match = re.match(r"\s*(?:\$ )?(?:\S*/bin/)?tapebook\s+(\S.*)$", line)
            if match and (line.startswith((" ", "$", "tapebook "))):
                found.append((document.name, match.group(1)))
    return found


def _mentioned() -> list[tuple[str, str]]:
    """(document, words) of each `tapebook …` between backticks."""
    return [
        (document.name, words)
        for document in DOCUMENTS
        for words in re.findall(r"`tapebook ([^`\n]+)`", document.read_text())
    ]


def test_there_is_something_to_check() -> None:
    assert sum(document == "README.md" for document, _ in _typed()) >= 6
    assert len(_mentioned()) >= 8


@pytest.mark.parametrize(("document", "line"), _typed())
def test_lines_to_type_parse(document: str, line: str) -> None:
    name, *arguments = shlex.split(line, comments=True)
    assert name in COMMANDS or name.startswith("-"), f"{document}: tapebook {line}"
    if name in COMMANDS and "--help" not in arguments:
        # Parses names, options and values, and runs nothing.
        command, arguments = _inner(COMMANDS[name], arguments)
        command.make_context(name, arguments)


@pytest.mark.parametrize(("document", "words"), _mentioned())
def test_commands_that_are_mentioned_exist(document: str, words: str) -> None:
    name, *rest = words.split()
    if name.startswith("-"):
        return
    assert name in COMMANDS, f"{document}: tapebook {words}"
    command, rest = _inner(COMMANDS[name], rest)
    options = {option for parameter in command.params for option in parameter.opts}
    for word in rest:
        if word.startswith("--"):
            assert word.split("=")[0] in options | {"--help"}, f"{document}: tapebook {words}"


def test_the_page_of_functions_is_what_they_say_of_themselves() -> None:
    page = (ROOT / "docs" / "functions.md").read_text()
    assert page == describe_functions(), "run: python -m recorder.sql.describe > docs/functions.md"


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    missing = [name for name in COMMANDS if f"tapebook {name}" not in text]
    assert missing == []


def test_every_fault_of_the_gateway_is_on_its_pages() -> None:
    text = "".join((ROOT / "docs" / page).read_text() for page in ("gateway.md", "gateway-trading.md"))
    missing = [deed.value for deed in Deed if not re.search(rf"`{deed.value}\b", text)]
    assert missing == []


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
