"""What other packages add to the command line and to ``verify``, by entry points; loaded when asked for.

::

    [project.entry-points."tapebook.commands"]
    trade = "execution.commands:trading"              # a typer.Typer: its commands are `tapebook trade ...`

    [project.entry-points."tapebook.verifiers"]
    orders = "execution.verify_orders:verifier"       # a `Verifier`

One that is missing or broken is told in a line, where it was wanted, and costs nothing else anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final, Protocol

import typer
from typer.core import TyperGroup

from recorder.findings import Verification
from schemas.errors import ConfigError, TapebookError

__all__ = ["COMMANDS", "VERIFIERS", "PluginGroup", "Verifier", "load_plugin", "plugins", "verifiers"]

log = logging.getLogger("tapebook")

COMMANDS: Final = "tapebook.commands"
VERIFIERS: Final = "tapebook.verifiers"


class Verifier(Protocol):
    """Checks directories of a kind that `recorder` doesn't know."""

    def recognizes(self, directory: Path) -> bool:
        """Whether something of its kind is in a directory; must not raise."""

    def verify(
        self, directory: Path, result: Verification, progress: Callable[[str], None]
    ) -> Mapping[str, int]:
        """Check it, put what was found into the result, and return what was counted, by a word."""


def plugins(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name; nothing of them is loaded."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def load_plugin(point: EntryPoint) -> Any:
    """Load what an entry point names.

    Raises:
        ConfigError: it can't be, whatever the reason is.
    """
    try:
        return point.load()
    except TapebookError:
        raise
    except Exception as error:
        why = " ".join(str(error).split()) or "no text"
        raise ConfigError(
            f"the plug-in {point.name!r} ({point.value}) cannot be loaded: {type(error).__name__}: {why[:300]}: "
            "install its package anew, or remove it"
        ) from error


def verifiers(directory: Path) -> dict[str, Verifier]:
    """The verifiers that know something in a directory, by name; those that can't be loaded are told in the log."""
    found: dict[str, Verifier] = {}
    for name, point in plugins(VERIFIERS).items():
        try:
            verifier: Verifier = load_plugin(point)
        except TapebookError as error:
            log.warning("%s; what it would have checked is not checked", error)
            continue
        if verifier.recognizes(directory):
            found[name] = verifier
    return found


class PluginGroup(TyperGroup):
    """The commands of an app, and behind them those that other packages add."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Our own, then the plug-ins that have none of our names."""
        own = super().list_commands(ctx)
        return own + [name for name in plugins(COMMANDS) if name not in own]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command; for a list of commands a plug-in that can't be loaded says so in place of its help.

        Raises:
            ConfigError: the plug-in that is called can't be loaded.
        """
        own = super().get_command(ctx, cmd_name)
        point = None if own is not None else plugins(COMMANDS).get(cmd_name)
        if point is None:
            return own
        try:
            loaded = load_plugin(point)
            if not isinstance(loaded, typer.Typer):
                raise ConfigError(
                    f"the plug-in {cmd_name!r} ({point.value}) is no typer.Typer: install its package anew"
                )
        except TapebookError as error:
            return _broken(cmd_name, error)
        command = typer.main.get_command(loaded)
        command.name = cmd_name
        return command


def _broken(name: str, error: TapebookError) -> Any:
    """A command that can only say what is wrong with it."""
    app = typer.Typer(add_completion=False)

    def say(_: list[str] = typer.Argument(None, metavar="[ARGS]...", hidden=True)) -> None:  # noqa: B008
        raise error

    settings = {"ignore_unknown_options": True, "help_option_names": []}
    app.command(name, help=f"Not available: {error}", context_settings=settings)(say)
    return typer.main.get_command(app)
