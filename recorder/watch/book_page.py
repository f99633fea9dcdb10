"""The page of one symbol: its book as a ladder, and its tape."""

from __future__ import annotations

from itertools import zip_longest

from engine.measures import spread_bps
from recorder.health import LATE_MS
from recorder.watch.condition import is_believable
from recorder.watch.ladder import Rung, ladder_of
from recorder.watch.list_pages import state_fragment
from recorder.watch.model import BookSeen, Watch
from recorder.watch.sheet import Sheet
from recorder.watch.text import (
    Line,
    bar,
    clean,
    clock_text,
    decimal_text,
    fit,
    line_width,
    rate_text,
    since_text,
    size_text,
    span_text,
)
from schemas.names import FeedState
from schemas.time import NS_PER_MS

__all__ = ["book_page"]

LATE_NS = LATE_MS * NS_PER_MS
"""A book that came so late is not how things are, complete as it may be."""
SIZE_WIDTH = 9
TAPE_WIDTH = 32
WHY = {
    "writer dead": "the recorder's heart has stopped",
    "writer gone": "the recorder has ended",
    "writer replaced": "the recorder was started again",
    "reading paused": "the recorder's disk is behind, and reading is paused",
    "feed ended": "it is recorded no longer (delisted, say)",
    "not whole": "the recorder died in the midst of a change",
    "crossed": "the best bid is not below the best ask",
}
"""What readers of shared books call it, and what is meant."""
BESIDE = 74
"""From so many cells on the tape stands beside the ladder; below that it has no room."""


def book_page(watch: Watch, sheet: Sheet) -> list[Line]:
    """Ladder and tape of the chosen symbol."""
    chosen = watch.chosen
    if chosen is None:
        return [[], [("dim", " No symbol is recorded here yet.")]]
    book = watch.book
    at = f"{watch.choices.index(chosen) + 1} of {len(watch.choices)} " if chosen in watch.choices else ""
    title = sheet.two(
        [
            ("name", f" {clean(chosen.symbol)}"),
            ("", f"  {chosen.category} "),
            state_fragment(_state(watch, book), sheet),
            ("dim", f"  {clean(book.topic) or '-'}"),
        ],
        [("dim", at)],
    )
    head = [title, *_figures(watch, book, sheet)]
    room = max(0, sheet.height - len(head))
    beside = sheet.width >= BESIDE
    wide = sheet.width - TAPE_WIDTH - 1 if beside else sheet.width
    left = _ladder(watch, book, sheet._replace(width=wide, height=room))
    if not beside:
        return head + left
    right = _tape(watch, book, sheet._replace(width=TAPE_WIDTH, height=room))
    wall = sheet.glyphs["wall"]
    body = [
        [*(one or [("", " " * wide)]), ("rule", wall), *(other or [])]
        for one, other in zip_longest(left, right)
    ]
    return head + body


def _state(watch: Watch, book: BookSeen) -> str:
    """What the book is, in a word or two; LIVE is how things are, and nothing else."""
    if not book.topic:
        return "no book"
    if not book.is_live:
        return "not live" if book.trouble else book.state.value
    return "late" if (_late_ns(watch, book) or 0) > LATE_NS else book.state.value


def _figures(watch: Watch, book: BookSeen, sheet: Sheet) -> list[Line]:
    """What is told of the book in figures; of one that isn't live none that could be taken for how things are."""
    feed = watch.feed(book.topic) or {}
    chosen = watch.chosen
    assert chosen is not None
    found = watch.conditions.get(chosen.collector)
    told = found is not None and is_believable(found)
    rate = (
        watch.rates[chosen.collector].messages(book.topic)
        if told and chosen.collector in watch.rates
        else None
    )
    counted = f"{rate_text(rate)} messages  {feed.get('gaps', '-')} gaps"
    if not book.is_live:
        why = WHY.get(book.trouble, book.trouble) or (f"the feed is {book.state.value}" if book.topic else "")
        gap = feed.get("gap") or {}
        if gap and not book.trouble:
            why += f" ({gap['cause']}) {since_text(gap['since_ns'], sheet.now_ns)}"
        last = ""
        if book.receive_ns is not None:
            ago = span_text(sheet.now_ns - book.receive_ns)
            last = f"its last message came at {clock_text(book.receive_ns)}Z, {ago} ago"
        words = f" NOT LIVE: {clean(why)}" if why else " NOT LIVE"
        return [[("banner", fit(words, sheet.width, cut=sheet.glyphs["cut"]))], [("dim", f" {last}")]]
    bid, ask = (side[0][0] if len(side) else None for side in (book.bids, book.asks))
    exponent = book.price_exponent
    if bid is None or ask is None:
        touch = "one side is empty"
    else:
        bid, ask = int(bid), int(ask)
        points = spread_bps(bid, ask)
        share = "" if points is None else f" ({points:.2f} bp)"
        middle = decimal_text((bid + ask) * 5, exponent - 1)
        touch = f"spread {decimal_text(ask - bid, exponent)}{share}  mid {middle}"
    age = "-" if book.receive_ns is None else span_text(sheet.now_ns - book.receive_ns)
    late_ns = _late_ns(watch, book)
    # which clock is wrong by how much is not always known: what comes before it was sent says so
    late = "-" if late_ns is None else f"{'-' if late_ns < 0 else ''}{span_text(abs(late_ns))}"
    return [
        [("", f" {touch}")],
        [
            ("bad" if (late_ns or 0) > LATE_NS else "", f" late {late}"),
            ("", f"  age {age}  {counted}"),
            ("dim", f"  update {book.update_id}"),
        ],
    ]


def _late_ns(watch: Watch, book: BookSeen) -> int | None:
    """How long the last message was under way, going by the exchange's clock."""
    if book.receive_ns is None or book.push_ms is None or watch.chosen is None:
        return None
    return book.receive_ns - book.push_ms * NS_PER_MS + watch.ahead_ns(watch.chosen.collector)


def _ladder(watch: Watch, book: BookSeen, sheet: Sheet) -> list[Line]:
    if not book.topic:
        return []
    half = max(1, (sheet.height - 2) // 2)
    ladder = ladder_of(book.bids, book.asks, most=half, step=watch.price_step)
    exponent = book.price_exponent
    prices = [decimal_text(rung.price, exponent) for side in ladder for rung in side]
    wide = max([7, *(len(price) for price in prices)])
    step = f"by {decimal_text(watch.price_step, exponent)}" if watch.price_step > 1 else ""
    size_head = fit("size", SIZE_WIDTH, right=True)
    sum_head = fit("sum", SIZE_WIDTH, right=True)
    lines: list[Line] = [
        sheet.line([("head", f"      {fit('price', wide + 1, right=True)}  {size_head} {sum_head} {step}")])
    ]
    asks = [_rung(rung, "ask", index, wide, book, sheet) for index, rung in enumerate(ladder.asks)]
    bids = [_rung(rung, "bid", index, wide, book, sheet) for index, rung in enumerate(ladder.bids)]
    lines += [[]] * (half - len(asks)) + list(reversed(asks))
    lines.append(sheet.rule())
    return [sheet.line(line) for line in lines + bids]


def _rung(rung: Rung, side: str, index: int, wide: int, book: BookSeen, sheet: Sheet) -> Line:
    name = side if index == 0 else ""
    price = decimal_text(rung.price, book.price_exponent)
    size = size_text(rung.size, book.size_exponent, SIZE_WIDTH)
    if not book.is_live:
        bracketed = (
            f"{fit(f'({price})', wide + 2, right=True)} {fit(f'({size})', SIZE_WIDTH + 1, right=True)}"
        )
        return [("stale", f" {fit(name, 4)} {bracketed}")]
    total = size_text(rung.sum, book.size_exponent, SIZE_WIDTH)
    line: Line = [
        ("dim", f" {fit(name, 4)} "),
        (f"{side}-best" if index == 0 else side, fit(price, wide + 1, right=True) + " "),
        ("", f" {fit(size, SIZE_WIDTH, right=True)} "),
        ("dim", f"{fit(total, SIZE_WIDTH, right=True)} "),
    ]
    return [*line, (f"bar-{side}", bar(rung.share, max(0, sheet.width - line_width(line) - 1), sheet.glyphs))]


def _tape(watch: Watch, book: BookSeen, sheet: Sheet) -> list[Line]:
    lines: list[Line] = [
        sheet.line(
            [("head", f" {fit('trades', 12)} {fit('price', 10, right=True)} {fit('size', 7, right=True)}")]
        )
    ]
    for trade in watch.trades[: max(0, sheet.height - 1)]:
        style = "ask" if trade.is_sell else "bid"
        mark = f"{'S' if trade.is_sell else 'B'}{sheet.glyphs['down' if trade.is_sell else 'up']}"
        price = decimal_text(trade.price, trade.price_exponent)
        size = size_text(trade.size, trade.size_exponent, 7)
        lines.append(
            sheet.line(
                [
                    ("dim", f" {clock_text(trade.match_ms * 1_000_000)} "),
                    (
                        style if book.is_live or book.state is not FeedState.STALE else "stale",
                        f"{mark} {fit(price, 11, right=True)} {fit(size, 7, right=True)}",
                    ),
                ]
            )
        )
    if len(lines) == 1:
        lines.append(sheet.line([("dim", " none since this watch began")]))
    return lines
