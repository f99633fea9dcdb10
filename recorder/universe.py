"""What the exchange lists, asked over REST, and which topics a configuration means in it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from engine.bybit import rest as shapes
from engine.bybit.plan import Plan, make_plan
from engine.bybit.rest import Instrument
from engine.bybit.rules import parse_selection
from engine.bybit.selection import Selection
from engine.bybit.topics import expand
from engine.bybit.universe import Choice, choose
from engine.sharding import parse_shard
from recorder.network import Network
from recorder.rest import RestClient
from schemas.config import RecordConfig
from schemas.errors import ConfigError, ConnectError, ExchangeError
from schemas.names import Category

__all__ = ["Listed", "Resolved", "ask", "plan_of", "resolve", "selection_of", "topics_of", "turnovers"]

PAUSES_S: Final = (1.0, 4.0)
"""Between attempts at what a selection needs, where the exchange answers with an error."""

FOR_GUESSES_S: Final = 10.0
"""How long the answer is waited for that only guesses need."""

TELL_S: Final = 5.0

log = logging.getLogger("tapebook")


@dataclass(slots=True)
class Listed:
    """What the exchange answered.

    Attributes:
        answers: pages of instruments-info as (path with query, body), in the order they came.
        instruments: in them.
        tickers: by symbol, as sent; empty where they were not asked for.
        malformed: rows that could not be read.
    """

    answers: list[tuple[str, bytes]] = field(default_factory=list)
    instruments: list[Instrument] = field(default_factory=list)
    tickers: dict[str, dict[str, Any]] = field(default_factory=dict)
    malformed: int = 0


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a configuration comes to.

    Attributes:
        topics: full topics.
        selection: what ``symbols`` says.
        choice: how rules came out; None for plain lists, which nobody is asked about.
        listed: what the choice was made from, or None.
    """

    topics: list[str]
    selection: Selection
    choice: Choice | None = None
    listed: Listed | None = None


def selection_of(config: RecordConfig) -> Selection:
    """Read ``symbols``. Raises ConfigError that points at the word."""
    return parse_selection(", ".join(config.symbols), config.category)


async def ask(
    rest: RestClient, category: Category, *, statuses: tuple[str, ...] = (), tickers: bool = False
) -> Listed:
    """Ask for every instrument of a category, page by page, and for tickers where they are needed.

    Args:
        rest: an open client.
        category: of the instruments.
        statuses: to ask for beside what is listed unasked.
        tickers: ask for them too; options by base coin (protocol section 6.1).

    Raises:
        ExchangeError: an answer could not be had, or is not what is documented; nothing half is returned.
    """
    listed = Listed()
    found: dict[str, Instrument] = {}
    for status in (None, *statuses):
        for target, body, page in await rest.instrument_pages(category, status=status):
            listed.answers.append((target, body))
            listed.malformed += page.malformed
            found.update((instrument.symbol, instrument) for instrument in page.instruments)
    listed.instruments = list(found.values())
    if tickers:
        await _ask_for_tickers(rest, category, listed)
    return listed


async def _ask_for_tickers(rest: RestClient, category: Category, listed: Listed) -> None:
    coins: list[str | None] = [None]
    if category is Category.OPTION:
        coins = sorted({instrument.base_coin for instrument in listed.instruments})  # type: ignore[assignment]
    for coin in coins:
        body = await rest.fetch(shapes.tickers_request(category, base_coin=coin))
        for row in shapes.parse_tickers(body):
            symbol = row.get("symbol")
            if isinstance(symbol, str):
                listed.tickers[symbol] = row


async def resolve(config: RecordConfig, network: Network | str, *, quiet: bool = False) -> Resolved:
    """Combine prefixes and symbols into full topics; patterns and rules ask the exchange first.

    Args:
        config: what is wanted.
        network: the way to the exchange, or only the root of its streams.
        quiet: leave it to the caller to tell how the choice came about.

    Raises:
        ConfigError: a selection or topic that can't be read, or that means nothing in this market.
        ExchangeError: the exchange could not be asked for what the selection needs.
    """
    selection = selection_of(config)
    if selection.is_list:
        return Resolved(topics_of(config, selection.symbols), selection)
    network = Network.of(network)
    root = network.root
    listed = await _ask_at_the_start(config.category, selection, network)
    choice = choose(
        config.category, selection, listed.instruments, listed.tickers, time.time_ns() // 1_000_000
    )
    if not quiet:
        for verdict in choice.verdicts:
            log.info("symbols %s", verdict)
    if not choice.symbols:
        why = "; ".join(str(verdict) for verdict in choice.verdicts)
        raise ConfigError(
            f"--symbols {selection}: nothing is chosen ({why}): loosen the rule, or look at what {root} lists"
        )
    return Resolved(topics_of(config, choice.symbols), selection, choice, listed)


async def _ask_at_the_start(category: Category, selection: Selection, network: Network) -> Listed:
    """Ask for what a selection needs, again where the exchange refuses for a moment; a wait is told."""
    what = "instruments-info and tickers" if selection.needs_tickers else "instruments-info"
    async with RestClient(network) as rest:
        for pause_s in (*PAUSES_S, None):
            try:
                async with _telling(f"--symbols {selection} has to wait for {what} of {network.root}"):
                    listed = await ask(
                        rest, category, statuses=selection.statuses, tickers=selection.needs_tickers
                    )
                break
            except ConnectError as error:  # it has been tried several times
                raise ConnectError(
                    f"--symbols {selection} needs {what}: {error}", status=error.status, lasting=error.lasting
                ) from error
            except ExchangeError as error:
                if pause_s is None:
                    raise ExchangeError(
                        f"--symbols {selection} needs {what}, which could not be had {len(PAUSES_S) + 1} times: "
                        f"{error}: try again later, or name the symbols"
                    ) from error
                log.warning("%s: tried again in %g s", error, pause_s)
                await asyncio.sleep(pause_s)
        # Turnovers tell what to expect of each symbol; of options and spreads they take many requests, and say little.
        if not selection.needs_tickers and category not in (Category.OPTION, Category.SPREAD):
            try:
                async with asyncio.timeout(FOR_GUESSES_S):
                    await _ask_for_tickers(rest, category, listed)
            except (ExchangeError, TimeoutError) as error:
                why = str(error) or f"no answer within {FOR_GUESSES_S:g} s"
                log.warning("market/tickers could not be had (%s): rates are guessed without turnovers", why)
    return listed


@asynccontextmanager
async def _telling(words: str) -> AsyncIterator[None]:
    """Say ``words`` while the block takes longer than it should: an exchange that hangs is no riddle then."""
    loop = asyncio.get_running_loop()
    told = loop.call_later(TELL_S, log.warning, "%s: no answer for %g s, still waiting", words, TELL_S)
    try:
        yield
    finally:
        told.cancel()


def turnovers(listed: Listed | None) -> dict[str, float]:
    """What the symbols turn over in 24 hours, where it was asked for and is a number; for guesses of rates alone."""
    found: dict[str, float] = {}
    for symbol, row in ({} if listed is None else listed.tickers).items():
        try:
            turnover = msgspec.convert(row.get("turnover24h"), float, strict=False)
        except msgspec.ValidationError:
            continue
        if math.isfinite(turnover):
            found[symbol] = turnover
    return found


def plan_of(config: RecordConfig, resolved: Resolved) -> Plan:
    """What recording this takes. Raises ConfigError where a limit would be broken."""
    return make_plan(
        config.category,
        resolved.topics,
        copies=config.lines,
        most=config.frames_per_connection,
        turnovers=turnovers(resolved.listed),
    )


def topics_of(config: RecordConfig, symbols: tuple[str, ...]) -> list[str]:
    """Full topics of these symbols, as far as they are of the configured shard. Raises ConfigError as `expand` does."""
    shard = parse_shard(config.shard, config.pins)
    return [
        topic.text for topic in expand(config.category, config.topics, symbols) if shard.takes(topic.symbol)
    ]
