"""``tapebook plan``: what ``record`` would open, as a table or as JSON."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec

from engine.bybit.plan import Plan
from recorder.network import open_network
from recorder.record import uvloop_runner
from recorder.universe import Resolved, plan_of, resolve
from recorder.unlisted import tell_unlisted
from schemas.config import RecordConfig

__all__ = ["json_lines", "plan_and_print", "text_of"]

SHOWN_CONNECTIONS = 12
GB = 1e9

log = logging.getLogger("tapebook")


def plan_and_print(config: RecordConfig, *, json: bool) -> None:
    """Work the plan out and print it. Lists of plain symbols need no network; rules ask the exchange.

    Raises:
        ConfigError: a limit would be broken, or something can't be read.
        ExchangeError: the exchange could not be asked.
    """
    network = open_network(config)
    with uvloop_runner() as runner:
        resolved = runner.run(resolve(config, network, quiet=True))
    if resolved.choice is not None and resolved.listed is not None:
        listed = [instrument.symbol for instrument in resolved.listed.instruments]
        tell_unlisted(config.category, resolved.choice.unlisted, listed)
    plan = plan_of(config, resolved)
    if json:
        for line in json_lines(plan, resolved):
            print(line)
        return
    for line in text_of(plan, resolved):
        print(line)


def json_lines(plan: Plan, resolved: Resolved) -> Iterator[str]:
    """One object a line: the total, each class of topics, each connection, each rule; ``plan`` says which."""
    total = {
        "plan": "total",
        "category": plan.category.value,
        "lines": plan.copies,
        "symbols": plan.symbols,
        "topics": plan.topics,
        "connections": len(plan.connections),
        "requests": sum(one.requests for one in plan.connections),
        "frames_per_second": plan.frames_per_second,
        "bytes_per_second": plan.bytes_per_second,
        "journal_bytes_per_day": plan.journal_bytes_per_day,
        "archive_bytes_per_day": plan.archive_bytes_per_day,
        "memory_bytes": plan.memory_bytes,
        "connect_seconds": plan.connect_seconds,
        "notes": plan.notes,
    }
    kinds = [("class", plan.classes), ("connection", plan.connections)]
    objects = [total, *({"plan": kind} | msgspec.structs.asdict(one) for kind, many in kinds for one in many)]
    if resolved.choice is not None:
        objects += [{"plan": "rule"} | msgspec.structs.asdict(one) for one in resolved.choice.verdicts]
    for one in objects:
        yield msgspec.json.encode(one).decode()


def text_of(plan: Plan, resolved: Resolved) -> Iterator[str]:
    """The plan for people."""
    if resolved.choice is not None:
        for verdict in resolved.choice.verdicts:
            yield f"symbols {verdict}"
    elif resolved.selection.symbols:
        yield "symbols as listed; nobody was asked whether they exist"
    lines = "" if plan.copies == 1 else f", each over {plan.copies} lines"
    yield f"{plan.category}: {plan.topics:,} topics of {plan.symbols:,} symbols{lines}"
    yield ""
    yield f"{'topics of':<16} {'topics':>8} {'frames/s':>10} {'KB/s':>10} {'journal GB/day':>15} {'archive GB/day':>15}"
    for one in plan.classes:
        mark = "" if one.is_measured else " (guessed)"
        yield (
            f"{one.name:<16} {one.topics:>8,} {one.frames_per_second:>10,.1f} {one.bytes_per_second / 1e3:>10,.1f} "
            f"{one.journal_bytes_per_day / GB:>15,.2f} {one.archive_bytes_per_day / GB:>15,.2f}{mark}"
        )
    yield (
        f"{'all':<16} {plan.topics:>8,} {plan.frames_per_second:>10,.1f} {plan.bytes_per_second / 1e3:>10,.1f} "
        f"{plan.journal_bytes_per_day / GB:>15,.2f} {plan.archive_bytes_per_day / GB:>15,.2f}"
    )
    yield ""
    yield f"{'connection':<16} {'topics':>8} {'frames/s':>10} {'KB/s':>10} {'requests':>15} {'characters':>15}"
    for connection in plan.connections[:SHOWN_CONNECTIONS]:
        name = f"{connection.number} {connection.stream}" + (
            f" line {connection.copy}" if plan.copies > 1 else ""
        )
        yield (
            f"{name:<16} {connection.topics:>8,} {connection.frames_per_second:>10,.1f} "
            f"{connection.bytes_per_second / 1e3:>10,.1f} {connection.requests:>15,} {connection.characters:>15,}"
        )
    if len(plan.connections) > SHOWN_CONNECTIONS:
        yield f"and {len(plan.connections) - SHOWN_CONNECTIONS:,} more (all with --format json)"
    yield ""
    yield f"memory: about {plan.memory_bytes / (1 << 20):,.0f} MiB for the collector and its roller"
    if plan.connect_seconds:
        minutes = plan.connect_seconds / 60
        yield f"opening: {minutes:.0f} minutes until all connections are open (500 new ones in 5 minutes)"
    for note in plan.notes:
        yield f"note: {note}"
