"""The commands of operation: ``init``, ``check``, ``supervise``. Options in, exit codes out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["check", "init", "supervise"]

CONFIG = typer.Argument(help="TOML file.", metavar="CONFIG.toml")


def init(
    config: Annotated[
        Path, typer.Argument(help="The file to write; it must not exist yet.", metavar="[CONFIG.toml]")
    ] = Path("tapebook.toml"),
) -> None:
    """Write a commented configuration file: every key with its default, meaning and unit (--data and all others)."""
    from recorder.init_config import run_init

    run_init(config)
    print(f"{config}: written; edit it, then `tapebook check {config}` and `tapebook record {config}`")


def check(
    config: Annotated[Path, CONFIG],
    offline: Annotated[
        bool, typer.Option("--offline", help="Don't ask the exchange which symbols a rule means.")
    ] = False,
) -> None:
    """Explain what is wrong with a configuration file, or say what it would record, and into which data directory
    (--data)."""
    from recorder.check_config import run_check

    run_check(config, offline=offline)


def supervise(
    config: Annotated[Path, CONFIG],
    deadline: Annotated[
        float,
        typer.Option(
            "--deadline", min=1, help="Seconds that a clean stop may take before the rest is killed."
        ),
    ] = 240.0,
) -> None:
    """Run every collector of a configuration file (its collector tables, and shards), each a process of its own, in one
    data directory (--data, here a key); start again what dies, and serve one metrics port over all."""
    from recorder.fleet import load_fleet
    from recorder.supervisor import run_supervisor

    raise typer.Exit(run_supervisor(load_fleet(config), deadline_s=deadline))
