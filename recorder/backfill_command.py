"""The command line of ``tapebook backfill``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from recorder.options import CA_FILE, ENDPOINT, ENVIRONMENT, MIN_FREE_MIB, REGION, STATE_DIR

__all__ = ["backfill"]


def backfill(
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Beginning, such as 2026-11-01T00:00:00Z.")
    ],
    symbols: Annotated[str, typer.Option("--symbols", help="Symbols, separated by commas, or all.")],
    category: Annotated[str, typer.Option("--category", help="spot, linear, inverse or option.")] = "linear",
    what: Annotated[
        str,
        typer.Option(
            "--what",
            help="Of funding, mark, index, premium, klines, open_interest, delivery; separated by commas.",
        ),
    ] = "funding",
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="End.", show_default="now")] = None,
    interval: Annotated[
        str, typer.Option("--interval", help="Of candles and open interest: minutes, D or W.")
    ] = "60",
    data: Annotated[Path, typer.Option("--data", help="Data directory.")] = Path("data"),
    environment: Annotated[str, ENVIRONMENT] = "",
    region: Annotated[str, REGION] = "",
    endpoint: Annotated[str, ENDPOINT] = "",
    ca_file: Annotated[str, CA_FILE] = "",
    state_dir: Annotated[str, STATE_DIR] = "",
    name: Annotated[
        str, typer.Option("--name", help="Name of the collector.", show_default="backfill-<category>")
    ] = "",
    min_free_mib: Annotated[float, MIN_FREE_MIB] = 256.0,
    no_roll: Annotated[bool, typer.Option("--no-roll", help="Keep the journal only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="For programs: one object a line.")] = False,
) -> None:
    """Fetch histories over REST into tables of their own; again, it goes on where it stopped."""
    from engine.bybit.histories import History
    from recorder.backfill import Plan, run_backfill, span_of
    from recorder.config_file import load_config
    from schemas.errors import ConfigError
    from schemas.names import Category
    from schemas.time import parse_time

    known = [member.value for member in History]
    histories = [part.strip() for part in what.split(",") if part.strip()]
    for each in histories:
        if each not in known:
            raise ConfigError(f"--what {each!r}: expected some of {', '.join(known)}")
    if category not in list(Category):
        raise ConfigError(f"--category {category!r}: expected one of {', '.join(Category)}")
    from_ms, to_ms = span_of(parse_time(start), None if end is None else parse_time(end))
    if end is None and from_ms >= to_ms:
        raise ConfigError(f"--from {start} lies in the future, and without --to the span ends now")
    plan = Plan(
        Category(category),
        [part.strip() for part in symbols.split(",") if part.strip()],
        [History(each) for each in dict.fromkeys(histories)],
        interval,
        from_ms,
        to_ms,
        name,
    )
    way = {"environment": environment, "region": region, "endpoint": endpoint}
    config = load_config(None, {**way, "ca_file": ca_file, "state_dir": state_dir, "data": str(data)})
    config = msgspec.structs.replace(config, min_free_mib=min_free_mib)
    done = run_backfill(plan, data, config, roll=not no_roll)
    for fetched in done:
        if json:
            print(msgspec.json.encode(fetched).decode())
        else:
            known_text = f", {fetched.known} requests' worth known already" if fetched.known else ""
            end_text = (
                f"refused: {fetched.refused}" if fetched.refused else f"{fetched.rows:,} rows{known_text}"
            )
            print(f"{fetched.history:<14} {fetched.symbol:<24} {end_text}")
