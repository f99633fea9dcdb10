"""Learning how a feed writes its frames, from a frame itself (docs/capture.md, "Wire forms").

What comes out is a guess that nobody has to trust: whoever uses it writes the frame with it and compares. So this reads
only what the exchange would write, and gives up on anything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from engine.reference.wire import number_text
from schemas.tables import TICKER_FIELDS
from schemas.wire import TRADE_EXTRAS, WireForm

__all__ = ["learn_form", "learn_number", "members", "template"]

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.([0-9]+))?")
_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z")
_DIGITS: Final = re.compile(r"(?<![0-9.])[0-9]{6,20}(?![0-9.])")
_LEVEL: Final = re.compile(r'\["([^"]*)","([^"]*)"(?:,"([^"]*)")?\]')
_ENVELOPE: Final = {"type": "kind", "ts": "push", "cts": "match", "cs": "cross"}
_BOOK: Final = {"b": "bids", "a": "asks", "u": "update", "seq": "cross"}
_TRADE: Final = {
    "T": "match", "seq": "cross", "S": "side", "v": "size", "p": "price", "L": "tick", "i": "id", "BT": "block",
    "RPI": "rpi", **{key: key for key in TRADE_EXTRAS},
}  # fmt: skip
_KINDS: Final = {field.key: field.kind for field in TICKER_FIELDS}
_LEAST_DIGITS: Final = 6
"""Shorter numbers stand in a text by chance."""

Span = tuple[int, int, str]
"""Where a value stands, and its field's name."""


def learn_form(kind: str, topic: str, symbol: str, frame: bytes, known: WireForm | None) -> WireForm | None:
    """The form that would write this frame, as far as it can be told.

    Args:
        kind: of the feed: book, rpi, trades or ticker.
        topic: of the feed.
        symbol: whose rows came of the frame.
        frame: its bytes.
        known: the feed's form so far. What it says of numbers stays, unless this frame contradicts.
    """
    numbers = dict(known.numbers) if known is not None else {}
    order = known.order if known is not None else ()
    each: tuple[str, ...] = ()
    try:
        text = frame.decode()
        spans, data = _envelope(text, kind == "ticker")
        if kind == "trades":
            start, end = _first_trade(text, data[0])
            each = template(text, start, end, list(_trade_spans(text, start)), (("symbol", symbol),))
            spans.append((data[0] + 1, data[1] - 1, "trades"))
            _trade_numbers(text[data[0] : data[1]], numbers)
        elif kind == "ticker":
            start, values = _ticker_values(text, data[0])
            spans.append((start, data[1] - 1, "values"))
            order = _order(order, list(values))
            for key, value in values.items():
                learn_number(numbers, key, value)
        else:
            for start, end, name in _spans(text, data[0], _BOOK):
                inside = name in ("bids", "asks")
                spans.append((start + inside, end - inside, name))
                if inside:
                    _level_numbers(text[start:end], kind == "rpi", numbers)
        stated = {
            name: text[start:end]
            for start, end, name in spans
            if name in ("push", "match", "update", "cross")
        }
        whole = template(
            text, 0, len(text), spans, (("topic", topic), ("symbol", symbol), *_long_numbers(stated))
        )
        if known is not None:
            whole = _opened(whole, known.frame)
    except (ValueError, KeyError, IndexError, RecursionError):
        return None
    return WireForm(topic, whole, each, numbers, order)


def _long_numbers(stated: dict[str, str]) -> list[tuple[str, str]]:
    found = [
        (name, value) for name, value in stated.items() if value.isdigit() and len(value) >= _LEAST_DIGITS
    ]
    return sorted(found, key=lambda item: -len(item[1]))


def _envelope(text: str, has_cross: bool) -> tuple[list[Span], tuple[int, int]]:
    spans: list[Span] = []
    data = None
    for key, start, end in members(text, 0):
        if key == "data":
            data = start, end
        elif key == "type":
            spans.append((start + 1, end - 1, "kind"))
        elif key in _ENVELOPE and (key != "cs" or has_cross):
            spans.append((start, end, _ENVELOPE[key]))
    if data is None:
        raise ValueError("no data")
    return spans, data


def members(text: str, at: int) -> Iterator[tuple[str, int, int]]:
    """The members of an object: key, and where its value begins and ends."""
    decoder = json.JSONDecoder()
    if text[at] != "{":
        raise ValueError("no object")
    at = _behind_space(text, at + 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        at = _behind_space(text, at)
        if text[at] != ":" or not isinstance(key, str):
            raise ValueError("no member")
        start = _behind_space(text, at + 1)
        _, at = decoder.raw_decode(text, start)
        yield key, start, at
        at = _behind_space(text, at)
        if text[at] == ",":
            at = _behind_space(text, at + 1)


def _behind_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def _spans(text: str, at: int, names: dict[str, str]) -> Iterator[Span]:
    for key, start, end in members(text, at):
        if key in names:
            yield start, end, names[key]


def _first_trade(text: str, at: int) -> tuple[int, int]:
    start = _behind_space(text, at + 1)
    return start, json.JSONDecoder().raw_decode(text, start)[1]


def _trade_spans(text: str, at: int) -> Iterator[Span]:
    for start, end, name in _spans(text, at, _TRADE):
        quoted = text[start] == '"'
        yield start + quoted, end - quoted, name


def template(
    text: str, start: int, end: int, spans: list[Span], constants: Iterable[tuple[str, str]]
) -> tuple[str, ...]:
    """Text and fields in turn. In the text between the spans, further fields are found by what they say."""
    parts: list[str] = []
    for low, high, name in sorted(spans):
        parts += [text[start:low], name]
        start = high
    parts.append(text[start:end])
    for name, value in constants:
        if value:
            parts = list(_split(parts, name, value))
    return tuple(parts)


def _opened(parts: tuple[str, ...], before: tuple[str, ...]) -> tuple[str, ...]:
    """Leaves a long number in a text open where another one stood at its place before, or it was open already."""
    for place in range(0, len(parts), 2):
        match = _DIGITS.search(parts[place])
        if match is None:
            continue
        opened = (
            *parts[:place],
            parts[place][: match.start()],
            "open",
            parts[place][match.end() :],
            *parts[place + 1 :],
        )
        if opened == before or (len(before) == len(parts) and _like(opened, before, place)):
            return opened
    return parts


def _like(opened: tuple[str, ...], before: tuple[str, ...], place: int) -> bool:
    """Whether what came before is the same but for the digits that are open now."""
    head, tail = opened[place], opened[place + 2]
    said = before[place]
    return (
        (*opened[:place], *opened[place + 3 :]) == (*before[:place], *before[place + 1 :])
        and said.startswith(head)
        and said.endswith(tail)
        and said[len(head) : len(said) - len(tail)].isdigit()
    )


def _split(parts: list[str], name: str, value: str) -> Iterator[str]:
    for place, part in enumerate(parts):
        if place % 2:
            yield part
            continue
        pieces = part.split(value)
        for number, piece in enumerate(pieces):
            if number:
                yield name
            yield piece


# ---- numbers ---------------------------------------------------------------------------------------------------------


def learn_number(numbers: dict[str, str], name: str, text: str) -> None:
    """Hold what is known of a number's writing against a text, and mend it."""
    kind = _KINDS.get(name, "decimal")
    if text == "" or kind == "text":
        return
    if kind == "time":
        numbers[name] = "iso" if _ISO.fullmatch(text) else "ms"
        return
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError("no number")
    decimals = len(match[1] or "")
    mantissa = int(text.replace(".", ""))
    known = numbers.get(name)
    if known is not None and number_text(mantissa, decimals, known) == text:
        return
    if text == "0" and known is not None and known.endswith("z"):
        numbers[name] = known.removesuffix("z")
    elif (mantissa == 0 and known == str(decimals)) or (mantissa == 0 and known is None and decimals):
        numbers[name] = f"{decimals}z"
    elif known is not None and not text.endswith("0"):
        numbers[name] = "trimmed"
    else:
        numbers[name] = str(decimals)


def _level_numbers(text: str, rpi: bool, numbers: dict[str, str]) -> None:
    names = ("price", "size", "rpi_size") if rpi else ("price", "size")
    for match in _LEVEL.finditer(text):
        for name, value in zip(names, match.groups(), strict=False):
            # a zero says nothing of how many decimals there are, unless it has some
            if value is not None and (value != "0" or name in numbers):
                learn_number(numbers, name, value)
    for name in names:
        numbers.setdefault(name, "0")


def _trade_numbers(text: str, numbers: dict[str, str]) -> None:
    for trade in json.loads(text):
        learn_number(numbers, "price", trade["p"])
        learn_number(numbers, "size", trade["v"])
        for key in TRADE_EXTRAS:
            if key in trade:
                learn_number(numbers, key, trade[key])


# ---- tickers ---------------------------------------------------------------------------------------------------------


def _ticker_values(text: str, at: int) -> tuple[int, dict[str, str]]:
    """Where the members behind the symbol begin, and these."""
    values: dict[str, str] = {}
    begin = -1
    for key, start, end in members(text, at):
        if begin < 0:
            if key != "symbol":
                raise ValueError("the symbol is not the first")
            begin = end
        elif text[start] == '"':
            values[key] = text[start + 1 : end - 1]
    if begin < 0:
        raise ValueError("no symbol")
    return begin, values


def _order(known: tuple[str, ...], found: list[str]) -> tuple[str, ...]:
    """An order of all keys in which those of the frame come as it has them; what is known stays where it can."""
    usual = [field.key for field in TICKER_FIELDS]
    order = list(known) or usual
    found = [key for key in found if key in usual]
    places = [order.index(key) for key in found]
    if places == sorted(places):
        return known
    return (*found, *(key for key in order if key not in found))
