"""Commands by name that are loaded when they are called: the list of them needs none of what they need."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, Final, NamedTuple

import typer
from typer.core import TyperCommand

from recorder.plugins import PluginGroup

__all__ = ["LAZY_COMMANDS", "LazyCommand", "LazyGroup"]


class LazyCommand(NamedTuple):
    """Where a command is, and what the list of commands says of it.

    Attributes:
        place: ``module:name`` of a function, or of a ``typer.Typer`` whose commands are below it.
        help: the first paragraph of its own help.
        epilog: name in that module of what stands below its help.
    """

    place: str
    help: str
    epilog: str | None = None

    def load(self, name: str) -> Any:
        """Import the module and return the command."""
        module_name, _, attribute = self.place.partition(":")
        module = import_module(module_name)
        found = getattr(module, attribute)
        if not isinstance(found, typer.Typer):
            function, found = found, typer.Typer(add_completion=False)
            found.command(name, epilog=None if self.epilog is None else getattr(module, self.epilog))(
                function
            )
        command = typer.main.get_command(found)
        command.name = name
        return command


LAZY_COMMANDS: Final[Mapping[str, LazyCommand]] = {
    "gateway": LazyCommand(
        "recorder.gateway.command:gateway",
        "Run a local exchange, WebSocket and REST, from a recording or a simulated market; with --trade it "
        "trades.",
    ),
    "query": LazyCommand(
        "recorder.query:query",
        "Query the archive with DuckDB: book_updates, trades, tickers, klines, liquidations, ..., gaps, coverage.",
    ),
    "sql": LazyCommand(
        "recorder.shell.command:sql",
        "A shell for SQL over the archive, with history and completion; reads statements from a pipe too.",
    ),
    "book": LazyCommand(
        "recorder.book_at:book",
        "Show an order book as it was at a moment.",
    ),
    "snapshots": LazyCommand(
        "recorder.range_commands:snapshots",
        "Write an order book at moments of a range: one row a moment, prices and sizes best first.",
    ),
    "bars": LazyCommand(
        "recorder.range_commands:bars",
        "Add trades up to bars: open, high, low, close, volume, mean price, count, volume that takers bought.",
    ),
    "backfill": LazyCommand(
        "recorder.backfill_command:backfill",
        "Fetch histories over REST into tables of their own; again, it goes on where it stopped.",
    ),
    "compact": LazyCommand(
        "recorder.compact_command:compact",
        "Merge the archive's small files into one per table, symbol and day: smaller, and quicker to search.",
    ),
    "repair": LazyCommand(
        "recorder.repair_command:repair",
        "Make damaged, missing or altered files again: the archive from the journal, the journal from the "
        "archive.",
    ),
    "upload": LazyCommand(
        "recorder.upload_command:upload",
        "Publish the archive in an object store: its files, checked, and then the manifest that makes them count.",
    ),
    "nats": LazyCommand(
        "recorder.sink.command:nats",
        "Send what is recorded to a NATS server, group commit by group commit, until Ctrl-C.",
    ),
    "init": LazyCommand(
        "recorder.operate:init",
        "Write a commented configuration file: every key with its default, meaning and unit (--data and all "
        "others).",
    ),
    "check": LazyCommand(
        "recorder.operate:check",
        "Explain what is wrong with a configuration file, or say what it would record, and into which data "
        "directory (--data).",
    ),
    "supervise": LazyCommand(
        "recorder.operate:supervise",
        "Run every collector of a configuration file (its collector tables, and shards), each a process of its "
        "own, in one data directory (--data, here a key); start again what dies, and serve one metrics port over "
        "all.",
    ),
    "serve": LazyCommand(
        "recorder.serving.command:serve",
        "Show the recorder as a web page: feeds, a live book, how late, which gaps. Reads only; a process of its "
        "own.",
    ),
    "watch": LazyCommand(
        "recorder.watch.command:watch",
        "Watch a recorder at work: is it live, how late, what is in trouble, since when. Changes nothing.",
        "EPILOG",
    ),
    "journal": LazyCommand(
        "recorder.journal_command:journal",
        "Look into the journal: print its records, say what its segments hold, cut out a span; make them smaller,"
        " make them again from the archive, delete those that it can make again.",
    ),
    "import": LazyCommand(
        "recorder.import_command:importing",
        "Make a recording of files that others recorded: captures, the exchange's history files, Tardis's CSV.",
    ),
    "export": LazyCommand(
        "recorder.export_command:exporting",
        "Write a symbol's rows in the forms of others: plain Parquet with decimals, hftbacktest, Tardis's CSV.",
    ),
    "plot": LazyCommand(
        "recorder.plots.command:plotting",
        "Draw the archive: PNG or SVG. Gaps are marked, and nothing is drawn over them. Times are UTC.",
    ),
}


class LazyGroup(PluginGroup):
    """The commands of an app, those of ``LAZY_COMMANDS``, and behind them those that other packages add."""

    lazy: ClassVar[Mapping[str, LazyCommand]] = LAZY_COMMANDS

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._listing = False
        for name, command in self.lazy.items():  # stand for them in lists of names, and in their help
            self.commands.setdefault(name, TyperCommand(name, help=command.help))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself; for the list of commands what that says of it."""
        lazy = self.lazy.get(cmd_name)
        if lazy is None or self._listing:
            return super().get_command(ctx, cmd_name)
        return lazy.load(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, with the list of commands."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False
