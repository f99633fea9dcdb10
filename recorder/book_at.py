"""``tapebook book``: an order book of the past, for reading and for programs."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import typer

from engine.core.decimals import format_decimal
from recorder.archive import Archive, open_archive
from recorder.book_state import BookAnswer, book_at, latest_book, topics_by_depth
from recorder.feed_rows import Clock
from recorder.output import standard_output
from schemas.errors import ConfigError, NoData
from schemas.names import Category, FeedState, Table
from schemas.time import NS_PER_MS, format_ns, parse_time

__all__ = ["BookAnswer", "Clock", "book", "book_at", "book_object", "book_text", "only_category"]

_MISSING: Final = "-"


def book(
    symbol: Annotated[str, typer.Argument(help="Symbol, e.g. BTCUSDT.")],
    at: Annotated[str, typer.Option(help="Moment, e.g. 2024-08-08T23:55:00Z or 1723161300123ms.")],
    data: Annotated[
        Path, typer.Option(help="Data directory, or s3://BUCKET/PREFIX that it was uploaded to.")
    ] = Path("data"),
    category: Annotated[
        Category | None, typer.Option(help="Product line; may be left out where one alone has the symbol.")
    ] = None,
    clock: Annotated[Clock, typer.Option(help="Clock that the moment is on.")] = Clock.MATCH,
    topic: Annotated[
        str | None,
        typer.Option(
            help="Topic, e.g. orderbook.50, orderbook.full, orderbook.rpi; the deepest that has a book then by default."
        ),
    ] = None,
    depth: Annotated[int, typer.Option(min=1, help="Levels a side to show.")] = 10,
    style: Annotated[Literal["table", "json"], typer.Option("--format", help="How to write it.")] = "table",
) -> None:
    """Show an order book as it was at a moment."""
    at_ns = parse_time(at)
    with open_archive(data) as archive:
        for warning in archive.warnings:
            typer.echo(f"warning: {warning}", err=True)
        line = category.value if category is not None else only_category(archive, symbol)
        topics = topics_by_depth(archive, line, symbol, topic)
        answer = latest_book(archive, line, symbol, at_ns, topics, clock)
    with standard_output() as out:
        if style == "json":
            out.write(msgspec.json.encode(book_object(answer, depth)) + b"\n")
        else:
            out.write(book_text(answer, depth).encode())


def book_object(answer: BookAnswer, depth: int) -> dict[str, Any]:
    """Return the answer as one JSON object (design section 7): exact decimals as text, best level first.

    Levels are [price, size], of ``orderbook.rpi`` [price, size, RPI size].
    """
    age_ms, rest = divmod(answer.age_ns, NS_PER_MS)
    return {
        "category": answer.category,
        "symbol": answer.symbol,
        "topic": answer.topic,
        "state": answer.state.value,
        "update_id": answer.update_id,
        "cross_sequence": answer.cross_sequence,
        "match_time": _moment(answer.match_ns),
        "push_time": _moment(answer.push_ns),
        "receive_time": _moment(answer.receive_ns),
        "age_ms": answer.age_ns / NS_PER_MS if rest else age_ms,
        "bids": _levels(answer, answer.bids[:depth]),
        "asks": _levels(answer, answer.asks[:depth]),
    }


def book_text(answer: BookAnswer, depth: int) -> str:
    """Return the answer as text, bids left and asks right, best level first."""
    lines = [
        f"{answer.category} {answer.topic} at {format_ns(answer.at_ns)} ({answer.clock.value} clock): "
        f"{answer.state.value}, {answer.age_ns / NS_PER_MS:.3f} ms old"
    ]
    if answer.state is not FeedState.LIVE:
        lines.append(f"the moment lies in a gap ({answer.gap}); this is the last good book before it")
    cross_sequence = _MISSING if answer.cross_sequence is None else answer.cross_sequence
    lines.append(
        f"update id {answer.update_id}, cross sequence {cross_sequence}, recorded by {answer.collector}"
    )
    for name, moment in (
        ("match", answer.match_ns),
        ("push", answer.push_ns),
        ("receive", answer.receive_ns),
    ):
        lines.append(f"{name:<7} {_moment(moment) or _MISSING}")
    bids, asks = _levels(answer, answer.bids[:depth]), _levels(answer, answer.asks[:depth])
    is_rpi = any(len(level) == 3 for level in (*bids, *asks))
    names = ["", " size", " RPI size"] if is_rpi else ["", " size"]
    nothing = [""] * len(names)
    rows = [[f"bid{name}" for name in reversed(names)] + [f"ask{name}" for name in names]]
    for index in range(max(len(bids), len(asks))):
        bid = bids[index] if index < len(bids) else nothing
        ask = asks[index] if index < len(asks) else nothing
        rows.append([*reversed(bid), *ask])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines.append("")
    lines += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(lines) + "\n"


def _levels(answer: BookAnswer, levels: list[tuple[int, ...]]) -> list[list[str]]:
    return [
        [
            format_decimal(price, answer.price_exponent),
            *(format_decimal(size, answer.size_exponent) for size in sizes),
        ]
        for price, *sizes in levels
    ]


def _moment(ns: int | None) -> str | None:
    return None if ns is None else format_ns(ns)


def only_category(
    archive: Archive,
    symbol: str,
    tables: Sequence[Table] = (Table.BOOK_UPDATES, Table.RPI_BOOK_UPDATES),
    what: str = "order book",
) -> str:
    """Return the one product line in which a symbol was recorded.

    Args:
        archive: where to look.
        symbol: the symbol.
        tables: those that count.
        what: a word for what one of them holds.

    Raises:
        ConfigError: there are several.
        NoData: there is none; the message names symbols near it.
    """
    pairs = sorted({pair for table in tables for pair in archive.manifest.symbols(table)})
    categories = sorted({category for category, its_symbol in pairs if its_symbol == symbol})
    if len(categories) > 1:
        raise ConfigError(f"{symbol} was recorded in {', '.join(categories)}; choose one with --category")
    if not categories:
        near = difflib.get_close_matches(symbol, {name for _, name in pairs}, n=5, cutoff=0.5)
        shown = [pair for pair in pairs if pair[1] in near] or pairs
        known = ", ".join(f"{category} {name}" for category, name in shown[:5])
        raise NoData(f"no {what} of {symbol} was recorded" + (f"; there is {known}" if known else ""))
    return categories[0]
