"""``quotes`` and ``spread``: the best bid and ask of a recorded book, whenever they changed or every so long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.arrow_rows import plain_array
from engine.core.replay import BookReplay
from recorder.archive import Archive
from recorder.feed_rows import NO_MOMENT, integers, moments_ns
from recorder.ranges.book_range import BOOK_PARAMETERS, BookRange, Stretch, book_range
from recorder.ranges.function import Arguments, Kind, Parameter, RangeFunction, Untrusted
from recorder.ranges.samples import AGED, HEAD, TRUSTED, Samples, doubles, samples, value_column
from schemas.columns import column

__all__ = ["QUOTES", "SPREAD"]

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_SIDES: Final = ("bid", "ask")
_NAMES: Final = tuple(f"{side}_{what}" for side in _SIDES for what in ("price", "size"))


def _meaning(name: str) -> str:
    side, what = name.split("_")
    return f"{what.capitalize()} of the best {side}; null where there is none."


_QUOTES: Final = pa.schema(
    [*HEAD, *(column(name, pa.float64(), _meaning(name), null=True) for name in _NAMES)]
)
_EXACT: Final = pa.schema(
    [
        *_QUOTES,
        column("price_exponent", pa.int8(), "Prices are mantissa x 10^price_exponent, exactly."),
        column("size_exponent", pa.int8(), "The same for sizes."),
        *(
            column(f"{name}_mantissa", pa.int64(), f"{_meaning(name)} As a whole number.", null=True)
            for name in _NAMES
        ),
    ]
)
_SPREAD: Final = pa.schema(
    [
        *HEAD,
        column("bid_price", pa.float64(), "Price of the best bid; null where there is none.", null=True),
        column("ask_price", pa.float64(), "Price of the best ask; null where there is none.", null=True),
        column("mid", pa.float64(), "The middle of the two; null where a side is empty.", null=True),
        column("spread", pa.float64(), "Ask less bid; negative when crossed.", null=True),
        column("spread_bps", pa.float64(), "The same in basis points of the middle.", null=True),
        column("microprice", pa.float64(), "The middle, weighted by the sizes on the other side.", null=True),
    ]
)


class _Quotes(NamedTuple):
    """Best levels: mantissas, doubles, and which sides have a level, of each sample."""

    found: Samples
    mantissas: dict[str, Int64s]
    values: dict[str, npt.NDArray[np.float64]]
    there: dict[str, Flags]


def _quotes(archive: Archive, arguments: Arguments) -> Iterator[_Quotes]:
    every_ns = arguments["every"]
    book = book_range(archive, arguments)
    if every_ns is None:
        for number, part in enumerate(book.stretches):
            # Where a recording takes over that went on before, its quote may be another than the last one's was.
            taken_over = list(_quote_at_start(book, part)) if number else None
            yield from taken_over or []
            yield from _changes(book, part, anew=taken_over == [])
        return
    yield from _sampled(book, every_ns, arguments["t0"], arguments["untrusted"])


def _sampled(book: BookRange, every_ns: int, origin_ns: int, untrusted: Untrusted) -> Iterator[_Quotes]:
    for found in samples(book, "levels", every_ns, origin_ns, untrusted, levels=1):
        columns = found.columns
        mantissas, there = {}, {}
        for side in _SIDES:
            there[side] = np.diff(columns[side]) > 0
            for what in ("price", "size"):
                spread_out = np.zeros(len(there[side]), np.int64)
                spread_out[there[side]] = columns[f"{side}_{what}_mantissa"]
                mantissas[f"{side}_{what}"] = spread_out
        yield _with_values(found, mantissas, there)


def _quote_at_start(book: BookRange, part: Stretch) -> Iterator[_Quotes]:
    """The quote as of a part's first moment, if it is to be trusted and goes back to messages before that."""
    if part.feed.full_before(part.start_ns - 1) is not None:
        only = book._replace(stretches=[part._replace(end_ns=part.start_ns + 1)])
        yield from _sampled(only, 1, part.start_ns, Untrusted.LEAVE_OUT)


def _with_values(found: Samples, mantissas: dict[str, Int64s], there: dict[str, Flags]) -> _Quotes:
    exponents = {what: found.columns[f"{what}_exponent"] for what in ("price", "size")}
    values = {name: doubles(mantissas[name], exponents[name[4:]]) for name in _NAMES}
    return _Quotes(found, mantissas, values, there)


# ---- whenever they changed -----------------------------------------------------------------------------------------


def _changes(book: BookRange, part: Stretch, *, anew: bool) -> Iterator[_Quotes]:
    """The quote behind each message that changed it. Such a message is never one of a gap: those change no book.

    Args:
        book: the range.
        part: of it.
        anew: the first quote in the part is given, whatever it was before.
    """
    replay = BookReplay(book.depth)
    reached_ns, batches = part.led_batches((book.clock.column,))
    last: tuple[Any, ...] | None = None
    for batch in batches:
        best = replay.best(batch)
        rows = pa.Table.from_batches([batch])
        own_ns = moments_ns(rows, book.clock.column)
        times = np.maximum.accumulate(np.maximum(own_ns, reached_ns))
        reached_ns = int(times[-1])
        there = {side: np.asarray(best[f"{side}_price_mantissa"].is_valid()) for side in _SIDES}
        mantissas = {
            name: np.asarray(best[f"{name}_mantissa"].fill_null(0), dtype=np.int64) for name in _NAMES
        }
        columns: dict[str, npt.NDArray[Any]] = {
            "time": times,
            "age_ns": times - own_ns,
            "update_id": integers(rows, "update_id"),
            "flags": np.where(own_ns == NO_MOMENT, 0, AGED).astype(np.uint8) | np.uint8(TRUSTED),
            "price_exponent": np.asarray(best["price_exponent"]),
            "size_exponent": np.asarray(best["size_exponent"]),
        }
        trusted = np.asarray(best["trusted"])
        whole = _with_values(Samples(columns, trusted, None, part), mantissas, there)
        changed, last = _changed(whole, last)
        # What a book without both clock and trust says is no quote; a moment before the first reading is none either.
        inside = trusted & (times >= part.start_ns) & (times < part.end_ns)
        if anew and inside.any():
            changed[np.flatnonzero(inside)[0]] = True
            anew = False
        keep = changed & inside
        if keep.any():
            yield _picked(whole, keep)
        if reached_ns >= part.end_ns:
            return


def _changed(quotes: _Quotes, last: tuple[Any, ...] | None) -> tuple[Flags, tuple[Any, ...]]:
    """Which rows have another quote than the one before, and the last one."""
    columns = [*quotes.there.values(), *quotes.values.values()]
    exponents = [quotes.found.columns[f"{what}_exponent"] for what in ("price", "size")]
    mantissas = list(quotes.mantissas.values())
    changed = np.zeros(len(exponents[0]), np.bool_)
    rescaled = np.zeros(len(changed), np.bool_)
    for exponent in exponents:
        rescaled[1:] |= exponent[1:] != exponent[:-1]
    # At equal exponents mantissas tell exactly; where these change, values do.
    for values in columns:
        changed[1:] |= values[1:] != values[:-1]
    exact = np.zeros(len(changed), np.bool_)
    for numbers in mantissas:
        exact[1:] |= numbers[1:] != numbers[:-1]
    changed |= exact & ~rescaled
    ends = tuple(values[0] for values in columns)
    changed[0] = last is None or ends != last
    return changed, tuple(values[-1] for values in columns)


def _picked(quotes: _Quotes, keep: Flags) -> _Quotes:
    found = quotes.found
    columns = {name: values[keep] for name, values in found.columns.items()}
    return _Quotes(
        Samples(columns, found.trusted[keep], None, found.part),
        {name: values[keep] for name, values in quotes.mantissas.items()},
        {name: values[keep] for name, values in quotes.values.items()},
        {name: values[keep] for name, values in quotes.there.items()},
    )


# ---- the functions -------------------------------------------------------------------------------------------------


def _quotes_schema(arguments: Arguments) -> pa.Schema:
    return _EXACT if arguments["exact"] else _QUOTES


def _run_quotes(archive: Archive, arguments: Arguments) -> Iterator[pa.RecordBatch]:
    for quotes in _quotes(archive, arguments):
        arrays = [value_column(quotes.values[name], quotes.there[name[:3]]) for name in _NAMES]
        if arguments["exact"]:
            columns = quotes.found.columns
            arrays += [plain_array(columns[f"{what}_exponent"], pa.int8()) for what in ("price", "size")]
            arrays += [
                plain_array(quotes.mantissas[name], pa.int64(), quotes.there[name[:3]]) for name in _NAMES
            ]
        yield quotes.found.batch(_quotes_schema(arguments), arrays)


def _run_spread(archive: Archive, arguments: Arguments) -> Iterator[pa.RecordBatch]:
    for quotes in _quotes(archive, arguments):
        values, there = quotes.values, quotes.there
        both = there["bid"] & there["ask"]
        unit = 10.0 ** -quotes.found.columns["price_exponent"].astype(np.float64)
        bid, ask = quotes.mantissas["bid_price"], quotes.mantissas["ask_price"]
        spread, mid = (ask - bid) / unit, (ask + bid) / unit / 2
        bid_size, ask_size = values["bid_size"], values["ask_size"]
        sizes = np.where(both, bid_size + ask_size, 1.0)
        share = bid_size / sizes
        yield quotes.found.batch(
            _SPREAD,
            [
                value_column(values["bid_price"], there["bid"]),
                value_column(values["ask_price"], there["ask"]),
                value_column(mid, both),
                value_column(spread, both),
                value_column(spread / np.where(mid != 0, np.abs(mid), 1.0) * 1e4, both & (mid != 0)),
                value_column(share * values["ask_price"] + (1 - share) * values["bid_price"], both),
            ],
        )


_COMMON: Final = (
    *(BOOK_PARAMETERS[name] for name in ("category", "symbol", "t0", "t1")),
    Parameter(
        "every", Kind.DURATION, "Time from one row's moment to the next; NULL: whenever it changed.", None
    ),
    *(BOOK_PARAMETERS[name] for name in ("topic", "clock", "untrusted")),
)

QUOTES: Final = RangeFunction(
    "quotes",
    "The best bid and ask with their sizes, whenever one of these changed, or every so long.",
    (*_COMMON, Parameter("exact", Kind.FLAG, "Add mantissas and exponents, which are exact.", False)),
    _quotes_schema,
    _run_quotes,
)

SPREAD: Final = RangeFunction(
    "spread",
    "The spread, the middle and the microprice, whenever the quote changed, or every so long.",
    _COMMON,
    lambda _: _SPREAD,
    _run_spread,
)
