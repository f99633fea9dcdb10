"""Commands that are loaded when they are called: the list says of them what they say, and needs none of their parts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer.main

from recorder.cli import app
from recorder.lazy_commands import LAZY_COMMANDS

GROUP: Any = typer.main.get_command(app)
HEAVY = (
    "aiohttp",
    "duckdb",
    "numpy",
    "pandas",
    "prometheus_client",
    "prompt_toolkit",
    "pyarrow",
    "websockets",
)


@pytest.mark.parametrize("name", LAZY_COMMANDS)
def test_the_list_says_what_the_command_says_of_itself(name: str) -> None:
    command = GROUP.get_command(None, name)
    assert command.name == name
    assert LAZY_COMMANDS[name].help == " ".join(command.help.split("\n\n")[0].split())
    assert command.get_params is not None
    assert hasattr(command, "commands") or command.callback is not None


def loaded(*arguments: str) -> tuple[str, list[str]]:
    """What a command line prints in a process of its own, and which of the heavy packages it loads."""
    program = (
        "import sys\nimport recorder.plugins\nfrom recorder.cli import main\n"
        "recorder.plugins.plugins = lambda _: {}  # what others' commands load is theirs\ntry:\n    main()\n"
        f"finally:\n    print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr.split()


@pytest.mark.parametrize(
    "arguments",
    [("--version",), ("--help",), ("record", "--help"), ("journal", "--help"), ("nats", "--help")],
)
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    told, heavy = loaded(*arguments)
    assert heavy == []
    assert "tapebook" in told


def test_a_roll_loads_what_it_needs() -> None:
    program = "import sys, recorder.report; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert "pyarrow" in found
    assert not found & {"aiohttp", "duckdb", "prometheus_client", "prompt_toolkit", "websockets"}


def test_a_typo_is_answered_with_the_nearest_command(capsys: pytest.CaptureFixture[str]) -> None:
    from recorder.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["qery"])
    assert ended.value.code == 2
    assert "query" in capsys.readouterr().err
