"""Export for hftbacktest: an ``.npz`` with its array of events, ``data``.

A snapshot clears both sides and sets them; a delta sets levels. Trades come before the book where the exchange's time
is the same, so that what a trade took is not taken from the queue twice. Events that came in another order than they
happened are there twice, once for each side's order, as hftbacktest wants it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recorder.archive import Archive
from recorder.exporting.selection import ExportSelection, book_depth, one_collector, rows_of
from recorder.output import new_file
from schemas.errors import ConfigError, NoData
from schemas.names import Table

__all__ = ["EVENT", "HftExport", "events_of", "export_hftbacktest"]

EVENT: Final = np.dtype(
    [
        ("ev", "<u8"), ("exch_ts", "<i8"), ("local_ts", "<i8"), ("px", "<f8"), ("qty", "<f8"),
        ("order_id", "<u8"), ("ival", "<i8"), ("fval", "<f8"),
    ],
    align=True,
)  # fmt: skip
DEPTH, TRADE, CLEAR, SNAPSHOT = 1, 2, 3, 4
EXCHANGE_SIDE, LOCAL_SIDE, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28

Events = npt.NDArray[Any]


class HftExport(NamedTuple):
    """What was written.

    Attributes:
        events: in the array; of ``book_rows`` messages of the book and ``trades``.
        shifted_ns: what was added to our clock, so that nothing is received before it happened.
    """

    path: str
    events: int
    book_rows: int
    trades: int
    shifted_ns: int


class _Messages(NamedTuple):
    """Messages in the order in which they came; ``bounds`` are those of their events."""

    exchange_ns: npt.NDArray[np.int64]
    local_ns: npt.NDArray[np.int64]
    is_book: npt.NDArray[np.bool_]
    bounds: npt.NDArray[np.int64]
    events: Events


def export_hftbacktest(archive: Archive, chosen: ExportSelection, path: Path) -> HftExport:
    """Write a symbol's book and trades of a span.

    The book begins with the first snapshot or keyframe in the span. Prices and sizes are the nearest doubles.

    Raises:
        ConfigError: several collectors, or depths; a name by which hftbacktest would not know the file for what it is.
        NoData: there is nothing in the span.
    """
    if path.suffix != ".npz":
        raise ConfigError(
            f"{path}: expected a name that ends in .npz, by which hftbacktest knows what the file is"
        )
    chosen = one_collector(archive, (Table.BOOK_UPDATES, Table.TRADES), chosen)
    messages = _read(archive, chosen._replace(depth=book_depth(archive, chosen)))
    if not len(messages.local_ns):
        raise NoData(f"{chosen.symbol}: no book and no trades in that span")
    shift = max(0, int((messages.exchange_ns - messages.local_ns).max()))
    array = events_of(messages, shift)
    with new_file(path, data=archive.data) as out:
        np.savez_compressed(out, data=array)
    books = int(messages.is_book.sum())
    return HftExport(str(path), len(array), books, len(messages.is_book) - books, shift)


def _read(archive: Archive, chosen: ExportSelection) -> _Messages:
    pieces: list[
        tuple[npt.NDArray[np.int64], Events]
    ] = []  # (sequence, exchange, local, book, count) and events
    if chosen.depth is not None:
        columns = (
            "sequence, kind, epoch_ns(coalesce(match_time, push_time)) exchange, epoch_ns(receive_time) local, "
            "bid_price, bid_size, ask_price, ask_size"
        )
        begun = False
        result = rows_of(
            archive,
            Table.BOOK_UPDATES,
            chosen,
            columns,
            view="book_updates",
            where=f"depth = {chosen.depth:d}",
        )
        for batch in result:
            for row in batch.to_pylist():
                if row["kind"] == "keyframe" and begun:
                    continue
                begun = begun or row["kind"] != "delta"
                if not begun:
                    continue
                events = _book_events(row)
                pieces.append(
                    (np.array([row["sequence"], row["exchange"], row["local"], 1, len(events)]), events)
                )
    columns = (
        "sequence, epoch_ns(match_time) exchange, epoch_ns(receive_time) local, "
        f"CASE side WHEN 'buy' THEN {TRADE | BUY} ELSE {TRADE | SELL} END ev, price, size"
    )
    for batch in rows_of(archive, Table.TRADES, chosen, columns, view="trades"):
        events = np.zeros(batch.num_rows, EVENT)
        cells = [np.asarray(batch.column(n).to_numpy(zero_copy_only=False)) for n in range(6)]
        events["ev"], events["px"], events["qty"] = cells[3], cells[4], cells[5]
        heads = np.zeros((batch.num_rows, 5), np.int64)
        heads[:, 0], heads[:, 1], heads[:, 2], heads[:, 4] = cells[0], cells[1], cells[2], 1
        pieces.append((heads, events))
    heads = np.concatenate([np.zeros((0, 5), np.int64), *(head.reshape(-1, 5) for head, _ in pieces)])
    events = np.concatenate([np.zeros(0, EVENT), *(event for _, event in pieces)])
    starts = np.concatenate([[0], np.cumsum(heads[:, 4])]).astype(np.int64)
    order = np.lexsort((heads[:, 3], heads[:, 0], heads[:, 2]))  # by receipt, then sequence
    taken = np.concatenate([np.zeros(0, np.int64), *(np.arange(starts[n], starts[n + 1]) for n in order)])
    heads = heads[order]
    bounds = np.concatenate([[0], np.cumsum(heads[:, 4])]).astype(np.int64)
    return _Messages(heads[:, 1], heads[:, 2], heads[:, 3] == 1, bounds, events[taken])


def _book_events(row: dict[str, Any]) -> Events:
    """A message's events: of a snapshot a clearing of each side first."""
    whole = row["kind"] != "delta"
    out = []
    for side, prices, sizes in (
        (BUY, row["bid_price"], row["bid_size"]),
        (SELL, row["ask_price"], row["ask_size"]),
    ):
        events = np.zeros(len(prices) + whole, EVENT)
        if whole:
            events[0] = (CLEAR | side, 0, 0, np.nan, 0, 0, 0, 0)
        events["ev"][whole:] = (SNAPSHOT if whole else DEPTH) | side
        events["px"][whole:], events["qty"][whole:] = prices, sizes
        out.append(events)
    return np.concatenate(out)


def events_of(messages: _Messages, shift_ns: int) -> Events:
    """The array: each side of hftbacktest finds its events, by its flag, in the order of its own clock."""
    count = len(messages.local_ns)
    # Trades first where the exchange's clock says the same; else in the order in which they came.
    happened = np.lexsort((np.arange(count), messages.is_book, messages.exchange_ns))
    picks: list[int] = []
    flags: list[int] = []
    at_exchange = at_local = 0
    exchange_ns = messages.exchange_ns
    while at_exchange < count or at_local < count:
        if at_exchange < count and happened[at_exchange] == at_local:
            picks.append(at_local)
            flags.append(EXCHANGE_SIDE | LOCAL_SIDE)
            at_exchange, at_local = at_exchange + 1, at_local + 1
        elif at_local >= count or (
            at_exchange < count and exchange_ns[happened[at_exchange]] <= exchange_ns[at_local]
        ):
            picks.append(int(happened[at_exchange]))
            flags.append(EXCHANGE_SIDE)
            at_exchange += 1
        else:
            picks.append(at_local)
            flags.append(LOCAL_SIDE)
            at_local += 1
    chosen = np.array(picks, np.int64)
    sizes = (messages.bounds[1:] - messages.bounds[:-1])[chosen]
    message = np.repeat(chosen, sizes)
    within = np.arange(len(message)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    array: Events = messages.events[messages.bounds[message] + within]
    array["ev"] |= np.repeat(np.array(flags, np.uint64), sizes)
    array["exch_ts"] = messages.exchange_ns[message]
    array["local_ts"] = messages.local_ns[message] + shift_ns
    return array
