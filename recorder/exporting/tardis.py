"""Export as Tardis's CSV files: ``incremental_book_L2`` and ``trades`` of a symbol, and ``book_snapshot_N`` where it is
asked for; gzip. Stamps are microseconds."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from engine.core.book import Book
from recorder.archive import Archive
from recorder.exporting.selection import ExportSelection, book_depth, one_collector, rows_of
from recorder.output import make_directory, new_file, remove_stale
from schemas.errors import ConfigError, NoData
from schemas.names import Table

__all__ = ["BOOK_HEADER", "TRADES_HEADER", "TardisExport", "exact", "export_tardis", "snapshot_header"]

BOOK_HEADER: Final = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
TRADES_HEADER: Final = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
_LEVELS: Final = ("bid_price_mantissa", "bid_size_mantissa", "ask_price_mantissa", "ask_size_mantissa")
_EXCHANGES: Final = {"spot": "bybit-spot", "option": "bybit-options"}


class TardisExport(NamedTuple):
    """A file that was written.

    Attributes:
        rows: of it.
        messages: that they are of.
        empty: messages that have no row: empty ones; of snapshots, those that change nothing in their levels.
    """

    path: str
    rows: int
    messages: int
    empty: int = 0


def snapshot_header(levels: int) -> str:
    """The first line of a ``book_snapshot`` file of so many levels a side."""
    names = (f"asks[{n}].price,asks[{n}].amount,bids[{n}].price,bids[{n}].amount" for n in range(levels))
    return f"exchange,symbol,timestamp,local_timestamp,{','.join(names)}"


def export_tardis(
    archive: Archive,
    chosen: ExportSelection,
    directory: Path,
    *,
    snapshots: int | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> list[TardisExport]:
    """Write ``<exchange>_incremental_book_L2_<symbol>.csv.gz`` and ``…_trades_…``; what has no rows makes no file.

    The book begins with the first snapshot or keyframe in the span. Prices and sizes are written exactly.

    Args:
        archive: what is recorded.
        chosen: of it.
        directory: where to; made if it is missing; files of the same names are replaced, and removed where there are
            no rows.
        snapshots: also write ``…_book_snapshot_<snapshots>_…``: so many levels a side, whenever any of them changes.
        told: handed a sentence about each file that was removed.

    Raises:
        ConfigError: several collectors, or depths; the book has fewer levels than the snapshots; or a directory that
            can be none.
        NoData: there is nothing in the span.
        StoreError: the disk refuses.
    """
    chosen = one_collector(archive, (Table.BOOK_UPDATES, Table.TRADES), chosen)
    chosen = chosen._replace(depth=book_depth(archive, chosen))
    exchange = _EXCHANGES.get(chosen.category, "bybit")
    head = f"{exchange},{chosen.symbol}"
    files = [
        ("incremental_book_L2", BOOK_HEADER, _book(archive, chosen, head)),
        ("trades", TRADES_HEADER, _trades(archive, chosen, head)),
    ]
    if snapshots is not None:
        if chosen.depth is not None and chosen.depth < snapshots:
            raise ConfigError(
                f"--snapshots {snapshots}: the book of {chosen.symbol} has {chosen.depth} levels; name one with "
                "--depth that has as many"
            )
        rows = _snapshots(archive, chosen, head, snapshots)
        files.append((f"book_snapshot_{snapshots}", snapshot_header(snapshots), rows))
    done = []
    without_rows = []
    for name, header, messages in files:
        path = directory / f"{exchange}_{name}_{chosen.symbol.replace('/', '-')}.csv.gz"
        first = next(messages, None)
        if first is None:
            without_rows.append(path)
            continue
        make_directory(directory, data=archive.data)
        written = count = empty = 0
        with new_file(path, data=archive.data) as out, gzip.GzipFile("", "wb", 6, out, 0) as packed:
            packed.write(f"{header}\n".encode())
            while first is not None:
                packed.write("".join(first).encode())
                written, count, empty = written + len(first), count + 1, empty + (not first)
                first = next(messages, None)
        done.append(TardisExport(str(path), written, count, empty))
    if not done:
        raise NoData(f"{chosen.symbol}: no book and no trades in that span")
    remove_stale(without_rows, told)
    return done


def exact(mantissa: int, exponent: int) -> str:
    """A mantissa x 10^exponent as a plain decimal, without zeros at its end, as Tardis has them."""
    if exponent >= 0:
        return str(mantissa * 10**exponent)
    digits = str(abs(mantissa)).rjust(1 - exponent, "0")
    fraction = digits[exponent:].rstrip("0")
    return f"{'-' if mantissa < 0 else ''}{digits[:exponent]}{'.' if fraction else ''}{fraction}"


def _messages(archive: Archive, chosen: ExportSelection) -> Iterator[dict[str, Any]]:
    """A book's messages from the first whole book on."""
    if chosen.depth is None:
        return
    columns = (
        "kind, epoch_us(push_time) pushed, epoch_ns(receive_time) // 1000 received, price_exponent, size_exponent, "
        "bid_price_mantissa, bid_size_mantissa, ask_price_mantissa, ask_size_mantissa"
    )
    begun = False
    for row in _rows(archive, Table.BOOK_UPDATES, chosen, columns, f"applied AND depth = {chosen.depth:d}"):
        if row["kind"] == ("keyframe" if begun else "delta"):
            continue
        begun = True
        yield row


def _snapshots(archive: Archive, chosen: ExportSelection, head: str, levels: int) -> Iterator[list[str]]:
    """A row whenever the best levels of the book change; where a side has fewer, the rest of its fields is empty."""
    book = Book(chosen.depth or levels)
    last: Any = None
    last_told = ""
    for row in _messages(archive, chosen):
        bids, bid_sizes, asks, ask_sizes = (np.array(row[name], np.int64) for name in _LEVELS)
        change = book.apply if row["kind"] == "delta" else book.load
        change(bids, bid_sizes, asks, ask_sizes, row["price_exponent"], row["size_exponent"])
        scales = book.price_exponent, book.size_exponent
        seen = book.asks(levels), book.bids(levels), scales
        if seen == last:
            yield []
            continue
        last = seen
        sides = [
            [
                *(f"{exact(price, scales[0])},{exact(size, scales[1])}" for price, size in side),
                *[","] * (levels - len(side)),
            ]
            for side in seen[:2]
        ]
        told = ",".join(f"{ask},{bid}" for ask, bid in zip(*sides, strict=True))
        # the same levels have other mantissas once a decimal was added
        yield [f"{head},{row['pushed']},{row['received']},{told}\n"] if told != last_told else []
        last_told = told


def _book(archive: Archive, chosen: ExportSelection, head: str) -> Iterator[list[str]]:
    for row in _messages(archive, chosen):
        whole = "false" if row["kind"] == "delta" else "true"
        start = f"{head},{row['pushed']},{row['received']},{whole}"
        scales = row["price_exponent"], row["size_exponent"]
        yield [
            f"{start},{side},{exact(price, scales[0])},{exact(size, scales[1])}\n"
            for side in ("bid", "ask")
            for price, size in zip(row[f"{side}_price_mantissa"], row[f"{side}_size_mantissa"], strict=True)
        ]


def _trades(archive: Archive, chosen: ExportSelection, head: str) -> Iterator[list[str]]:
    columns = (
        "epoch_us(match_time) matched, epoch_ns(receive_time) // 1000 received, trade_id, side, "
        "price_mantissa, price_exponent, size_mantissa, size_exponent"
    )
    for row in _rows(archive, Table.TRADES, chosen, columns, "true"):
        price = exact(row["price_mantissa"], row["price_exponent"])
        size = exact(row["size_mantissa"], row["size_exponent"])
        yield [f"{head},{row['matched']},{row['received']},{row['trade_id']},{row['side']},{price},{size}\n"]


def _rows(
    archive: Archive, table: Table, chosen: ExportSelection, columns: str, where: str
) -> Iterator[dict[str, Any]]:
    for batch in rows_of(archive, table, chosen, columns, where=where):
        yield from batch.to_pylist()
