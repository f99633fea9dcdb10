"""Options that several commands take: how they report, where the exchange is, who else asks it from this machine."""

from __future__ import annotations

from enum import StrEnum

import typer

__all__ = ["CA_FILE", "ENDPOINT", "ENVIRONMENT", "MIN_FREE_MIB", "REGION", "STATE_DIR", "ReportFormat"]


class ReportFormat(StrEnum):
    """How a report is written."""

    TABLE = "table"
    JSON = "json"


ENVIRONMENT = typer.Option("--environment", help="mainnet or testnet.", show_default="mainnet")
REGION = typer.Option(
    "--region", help="Hosts of a region: tr, kz, id, ge, jp, eu.", show_default="the global hosts"
)
ENDPOINT = typer.Option(
    "--endpoint",
    help="Root of the stream, such as ws://127.0.0.1:9001; REST is beside it. Wins over environment and region.",
)
CA_FILE = typer.Option(
    "--ca-file", metavar="PEM", help="One more certificate authority to trust, for your own wss://."
)
MIN_FREE_MIB = typer.Option(
    "--min-free-mib",
    min=0,
    help="End with exit code 4, and what is done by then, when the disk has less than that left; 0 for never.",
)
STATE_DIR = typer.Option(
    "--state-dir",
    help="Where the collectors of this machine share their budget of new connections and requests.",
    show_default="~/.local/state/tapebook",
)
