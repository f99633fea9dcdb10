"""Options that every command of ``tapebook trade`` takes, and what they come to together with the file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recorder.options import ReportFormat
from recorder.shared_options import with_options
from schemas.errors import ConfigError
from schemas.names import Category, Environment

if TYPE_CHECKING:
    from execution.commands.configuration import TradeConfig
    from execution.desk.signers import Signer
    from recorder.network import Network

__all__ = ["CATEGORY", "Choices", "with_choices"]

CATEGORY = typer.Option("--category", help="spot, linear, inverse or option.")


@dataclass(frozen=True)
class Choices:
    """What a command was told of the account, by options and file; nothing is connected or read yet.

    Attributes:
        config: of the file, with the options over it.
        root: of the exchange.
        live: whether real money was asked for on the command line.
        style: how to answer.
    """

    config: TradeConfig
    root: str
    live: bool
    style: ReportFormat

    @property
    def directory(self) -> Path:
        """Of the order journal and the kill switch."""
        return Path(self.config.directory)

    def network(self) -> Network:
        """The way there, with the budget that this machine's collectors share.

        Raises:
            ConfigError: real money that was not asked for, or a CA file that can't be used.
        """
        from execution.permission import is_real
        from recorder.network import open_network
        from schemas.config import RecordConfig

        if is_real(self.root) and not self.live:
            raise ConfigError(
                f"{self.root} is where real money is traded: nothing is asked or sent there without --live"
            )
        return open_network(RecordConfig(endpoint=self.root, ca_file=self.config.ca_file))

    def signer(self) -> Signer:
        """The key. Raises ConfigError as `execution.keys.load_signer`."""
        from execution.keys import load_signer

        return load_signer(Path(self.config.key_file) if self.config.key_file else None)

    def check_sending(self) -> None:
        """Before anything is asked for the sake of sending: whether it may be sent. Raises ConfigError."""
        from execution.permission import check_permission

        check_permission(self.root, live=self.live, acknowledgement=self.config.acknowledgement)

    def categories(self, category: Category | None) -> list[Category]:
        """The one that was asked for; else the configured ones; else all."""
        from execution.desk.orders import CATEGORIES

        if category is not None:
            if category not in CATEGORIES:
                raise ConfigError(
                    f"--category {category.value}: orders are placed in {', '.join(CATEGORIES)}"
                )
            return [category]
        return [known for known in CATEGORIES if self.config.symbols.get(known)] or list(CATEGORIES)


def _choices(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="TOML",
            envvar="TAPEBOOK_TRADE_CONFIG",
            help="File with endpoint, directory, symbols and limits; options given here win over it.",
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            help="Root of the exchange, such as ws://127.0.0.1:9001 of a gateway; REST is beside it.",
            show_default="the testnet; with --live mainnet",
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Real money; to send orders the file must have its acknowledgement too."),
    ] = False,
    key_file: Annotated[
        str | None,
        typer.Option(
            "--key-file",
            metavar="TOML",
            help="The API key, in a file of mode 0600.",
            show_default="environment",
        ),
    ] = None,
    directory: Annotated[
        str | None,
        typer.Option(
            "--directory",
            help="Of this account's order journal and kill switch.",
            show_default="trading",
        ),
    ] = None,
    ca_file: Annotated[
        str | None,
        typer.Option(
            "--ca-file", metavar="PEM", help="One more certificate authority to trust, for your own wss://."
        ),
    ] = None,
    style: Annotated[
        ReportFormat,
        typer.Option("--format", help="table for people, json for programs (one object a line)."),
    ] = ReportFormat.TABLE,
) -> Choices:
    """Put options and file together."""
    import msgspec

    from engine.bybit.endpoints import default_root, normalise_root
    from execution.commands.configuration import TradeConfig, read_trade_config

    # what goes on inside is in the order journal; a person is told of what is the matter
    told = logging.getLogger()
    told.setLevel(max(told.level, logging.WARNING))
    read = TradeConfig() if config is None else read_trade_config(config)
    given = {"endpoint": endpoint, "key_file": key_file, "directory": directory, "ca_file": ca_file}
    read = msgspec.structs.replace(
        read, **{name: value for name, value in given.items() if value is not None}
    )
    if not read.directory:
        raise ConfigError("--directory is empty: name one, such as trading")
    environment = Environment.MAINNET if live else Environment.TESTNET
    root = normalise_root(read.endpoint) if read.endpoint else default_root(environment)
    return Choices(read, root, live, style)


with_choices: Final = with_options(_choices)
"""A command whose first argument is made of options that all of them have."""
