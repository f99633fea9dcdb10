"""Hypothesis strategies: frames in every layout, numbers on every edge, and feeds that things happen to.

A run is a list of steps, made in three layers: what the exchange says (consecutive messages), what the way
does to it (drops, repeats, delays, damage, disconnects), and how it is written (key orders, white space,
escapes, unknown keys). Everything shrinks towards a compact, well-ordered, uneventful feed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import strategies as st

from schemas.names import Category
from schemas.tables import TICKER_FIELDS

__all__ = [
    "SYMBOLS",
    "Exchange",
    "Raw",
    "Run",
    "Step",
    "categories",
    "damaged",
    "decimal_texts",
    "layouts",
    "messages",
    "odd_texts",
    "runs",
    "write",
]

SYMBOLS = {
    Category.SPOT: "ETHUSDC",
    Category.LINEAR: "BTCUSDT",
    Category.INVERSE: "BTCUSDH23",
    Category.OPTION: "XRP-30OCT26-0.4-P-USDT",
    Category.SPREAD: "SOLUSDT_SOL/USDT",
}
OTHER_CONTRACT = "XRP-30OCT26-0.5-C-USDT"
DEPTHS = {Category.OPTION: (25, 100), Category.SPREAD: (25,)}
DEFAULT_DEPTHS = (1, 50, 200)

categories = st.sampled_from(list(Category))


# --- Numbers --------------------------------------------------------------------------------------


def decimal_texts(
    *, signed: bool = False, integer_digits: int = 21, decimals: int = 20
) -> st.SearchStrategy[str]:
    """Text of the exchange's grammar, up to and beyond what int64 and DECIMAL(38,18) can hold."""
    sign = st.sampled_from(["", "-"]) if signed else st.just("")
    edge = st.sampled_from(
        ["0", "1", str(2**63 - 1), str(2**63), "9" * 18, "9" * 19, "9" * 20, "1" + "0" * 18]
    )
    short = st.integers(0, 10**5).map(str)
    whole = short | edge | st.integers(0, 10**integer_digits - 1).map(str)
    fraction = st.just("") | st.text("0123456789", min_size=1, max_size=decimals).map(lambda text: "." + text)
    return st.builds(lambda *parts: "".join(parts), sign, whole, fraction)


_ODD_TEXTS = [
    "", "-", "+1", "01", "00", "1.", ".5", "1e3", "1E0", " 1", "1 ", "1\t", "0x1", "NaN", "Infinity", "null",
    "1,5", "--1", "1.2.3", "-01", "1_000", "\u0661", "\uff11", "1\u0000", "1." + "0" * 19, "1" * 400,
    "0." + "1" * 400,
]  # fmt: skip
odd_texts = st.sampled_from(_ODD_TEXTS) | st.text(max_size=6)
"""Text that looks like a number to somebody, and almost never is one to us."""


# --- Writing --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Raw:
    """Text that goes into the frame as it is."""

    text: str


UNKNOWN_VALUES = [
    Raw("null"), Raw("true"), Raw("-0"), Raw("-0.5e-7"), Raw("1e999"), Raw("123456789012345678901234567890"),
    Raw('""'), Raw('"\\ud800"'), Raw('"\\udc00\\u0000\\/"'), Raw('"\u20ac\U0001f600"'), Raw("[]"), Raw("{}"),
    Raw('{"u":1,"u":2}'), Raw('[[["99","1"]],{"s":"X"}]'), Raw("[" * 50 + "]" * 50), Raw('"}]\\"{["'),
]  # fmt: skip
SPACES = ["", "", "", " ", "\n", "\t ", "\r\n  "]


@dataclass
class _Writer:
    """Writes one frame; layout 0 is compact, in the order given, without anything unknown."""

    layout: int
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.layout)
        self.spaced = self.layout % 3 == 2
        self.shuffled = self.layout % 4 == 3
        self.escaped = self.layout % 5 == 4
        self.strange = self.layout % 2 == 1

    def space(self) -> str:
        return self.random.choice(SPACES) if self.spaced else ""

    def text(self, text: str) -> str:
        # A decoder may bound the text that it unescapes, so long texts are written plainly.
        if not self.escaped or len(text) > 60:
            return json.dumps(text, ensure_ascii=False)
        written = [self._escape(character) for character in text]
        return '"' + "".join(written) + '"'

    def _escape(self, character: str) -> str:
        if ord(character) < 0x10000 and self.random.random() < 0.3:
            digits = f"{ord(character):04x}"
            return "\\u" + (digits.upper() if self.random.random() < 0.5 else digits)
        return json.dumps(character, ensure_ascii=False)[1:-1]

    def value(self, value: Any) -> str:
        if isinstance(value, Raw):
            return value.text
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list):
            items = [self.space() + self.value(item) + self.space() for item in value]
            return "[" + (",".join(items) if items else self.space()) + "]"
        return json.dumps(value)

    def _object(self, members: dict[str, Any]) -> str:
        pairs = list(members.items())
        if self.shuffled:
            self.random.shuffle(pairs)
        if self.strange:
            for _ in range(self.random.randrange(3)):
                name = self.random.choice(["x", "topics", "U", "", "\u00e9", "data.u", "seqs", "updateId"])
                pairs.insert(
                    self.random.randrange(len(pairs) + 1), (name, self.random.choice(UNKNOWN_VALUES))
                )
        written = [
            self.space()
            + self.text(name)
            + self.space()
            + ":"
            + self.space()
            + self.value(value)
            + self.space()
            for name, value in pairs
        ]
        return "{" + (",".join(written) if written else self.space()) + "}"


def write(value: Any, layout: int = 0) -> bytes:
    """Write a frame; ``layout`` chooses white space, order, escapes, unknown keys; 0 is the exchange's."""
    writer = _Writer(layout)
    return (writer.space() + writer.value(value) + writer.space()).encode()


# --- Messages -------------------------------------------------------------------------------------


def _book_message(
    category: Category, topic: str, kind: str, update_id: int, bids: list[Any], asks: list[Any], at_ms: int
) -> dict[str, Any]:
    """An order-book message in the category's own key order (section 3.1)."""
    depth, symbol = topic.split(".", 2)[1:]
    data = {"s": symbol, "b": bids, "a": asks, "u": update_id, "seq": 7 * at_ms}
    head: dict[str, Any] = {"topic": topic}
    if category is Category.OPTION:
        head |= {"ts": at_ms, "id": f"{topic}-{7 * at_ms}-{at_ms}", "type": kind}
    elif category in (Category.SPOT, Category.SPREAD) or depth == "1":
        head |= {"ts": at_ms, "type": kind}
    else:
        head |= {"type": kind, "ts": at_ms}
    return head | {"data": data, "cts": at_ms - 2}


def _trade_message(
    category: Category, topic: str, trades: list[dict[str, Any]], at_ms: int
) -> dict[str, Any]:
    if category is Category.OPTION:
        return {"topic": topic, "ts": at_ms, "type": "snapshot", "id": f"{topic}-{at_ms}", "data": trades}
    return {"topic": topic, "type": "snapshot", "ts": at_ms, "data": trades}


def _ticker_message(
    category: Category, topic: str, kind: str, values: dict[str, Any], at_ms: int
) -> dict[str, Any]:
    data = {"symbol": topic.split(".", 1)[1]} | values
    if category is Category.OPTION:
        return {"id": f"{topic}-{at_ms}", "topic": topic, "ts": at_ms, "data": data, "type": kind}
    if category is Category.SPOT:
        return {"topic": topic, "ts": at_ms, "type": kind, "cs": 7 * at_ms, "data": data}
    return {"topic": topic, "type": kind, "data": data, "cs": 7 * at_ms, "ts": at_ms}


def _padded(ticks: int, decimals: int) -> str:
    """A price or size of so many ticks of 0.1, written with ``decimals`` decimals."""
    text = f"{ticks // 10}.{ticks % 10}" + "0" * max(0, decimals - 1)
    return text if decimals else str(ticks // 10)


@st.composite
def _levels(draw: st.DrawFn, low: int, count: int, *, decimals: st.SearchStrategy[int]) -> list[list[str]]:
    """Levels around ``low`` ticks, unsorted, sizes often zero, no price twice."""
    written = draw(decimals)
    offsets = draw(
        st.lists(
            st.integers(0, 30), max_size=count, unique_by=lambda tick: (low + tick) // (1 if written else 10)
        )
    )
    sizes = draw(st.lists(st.sampled_from([0, 10, 25, 400]), min_size=len(offsets), max_size=len(offsets)))
    return [
        [_padded(low + tick, written), _padded(size, written)]
        for tick, size in zip(offsets, sizes, strict=True)
    ]


def _bulk(low: int, count: int) -> list[list[str]]:
    return [[str(low + number), "1"] for number in range(count)]


_ticker_values: dict[str, st.SearchStrategy[Any]] = {
    "decimal": st.just("")
    | decimal_texts(signed=True, integer_digits=20, decimals=18)
    | decimal_texts(signed=True, integer_digits=20, decimals=18).map(Raw),
    "text": st.sampled_from(["", "PlusTick", "\u20ac", "\U0001f600\u0000"]) | st.text(max_size=3),
    "time": st.sampled_from(["", "0", "1760342400000", "2025-12-26T08:00:00Z", "1970-01-01T00:00:00.250Z"]),
}
_ticker_data = (
    st.lists(st.sampled_from(TICKER_FIELDS), max_size=5)
    .map(dict.fromkeys)
    .flatmap(
        lambda fields: st.fixed_dictionaries({known.key: _ticker_values[known.kind] for known in fields})
    )
)


# --- Damage ---------------------------------------------------------------------------------------

ODD_VALUES: list[Any] = [
    Raw(text)
    for text in (
        "null", "true", "0", "-1", "1.0", "1e2", "01", "NaN", "[]", "{}", "", "-", "-0", "[1,]", '"\\ud800"',
        '"\\u00zz"', '"\n"', '[["1"]]', '[["1","2","3"]]', '[["1","1"],["1.0","2"]]', '[["-1","1"]]',
        '[["1","-1"]]', '[["1","-0"]]', '[["-0.0","1"]]', "9223372036854775807",
        "9223372036854775808", "1" * 500,
    )
]  # fmt: skip


@st.composite
def _spoiled(draw: st.DrawFn, message: dict[str, Any]) -> dict[str, Any]:
    """A message with one of its values, at any level, replaced by something odd or taken away."""
    spoiled: dict[str, Any] = json.loads(json.dumps(message, default=lambda raw: raw.text))
    target: Any = spoiled
    while True:
        if not target:
            return spoiled
        key = draw(st.sampled_from(list(target) if isinstance(target, dict) else range(len(target))))
        if isinstance(target[key], dict | list) and target[key] and draw(st.booleans()):
            target = target[key]
            continue
        if isinstance(target, dict) and draw(st.integers(0, 3)) == 0:
            del target[key]
        else:
            target[key] = draw(st.sampled_from(ODD_VALUES) | odd_texts | decimal_texts(signed=True))
        return spoiled


@st.composite
def damaged(draw: st.DrawFn, frame: bytes) -> bytes:
    """A frame whose bytes were hurt: cut, changed, inserted, doubled, wrapped."""
    at = draw(st.integers(0, len(frame)))
    how = draw(st.sampled_from(["cut", "change", "insert", "twice", "bom", "deep", "repeat key"]))
    if how == "cut":
        return frame[:at]
    if how == "change":
        return frame[:at] + bytes([draw(st.integers(0, 255))]) + frame[at + 1 :]
    if how == "insert":
        return frame[:at] + draw(st.binary(min_size=1, max_size=3)) + frame[at:]
    if how == "twice":
        return frame + frame
    if how == "bom":
        return b"\xef\xbb\xbf" + frame
    if how == "deep":
        depth = draw(st.sampled_from([1, 62, 63, 64, 65, 5_000]))
        return frame.rstrip()[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
    key = draw(
        st.sampled_from([b'"ts":1', b'"topic":"x"', b'"type":"delta"', b'"data":{}', b'"cts":1', b'"x":1'])
    )
    return frame.rstrip()[:-1] + b"," + key + b"}"


_CONTROLS = [
    b'{"success":true,"ret_msg":"pong","op":"ping"}', b"{}", b"[]", b"7", b"null", b"", b"{", b"\xff",
    b'{"op":"pong"', b'{"topic":"orderbook.50.NOBODY"}', b'{"topic":"kline.1.BTCUSDT","data":[]}',
]  # fmt: skip
_controls = st.sampled_from(_CONTROLS)


# --- Runs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One thing that happens.

    Attributes:
        action: ``frame``, ``subscribed``, ``disconnect``, ``stale``, ``announce`` or ``restate``.
        frame: the bytes of a ``frame``.
        frames: what a ``restate`` brings.
        line: which connection.
        topic: what a ``subscribed`` or ``stale`` is about.
        decimals: what an ``announce`` says.
        late_ms: how much later than by its number it happens; never falls within a run.
    """

    action: str
    frame: bytes = b""
    line: int = 0
    topic: str = ""
    decimals: tuple[int, int] = (0, 0)
    frames: tuple[bytes, ...] = ()
    late_ms: int = 0


@dataclass(frozen=True)
class Run:
    """What happens to the feeds of one category and symbol, step by step."""

    category: Category
    symbol: str
    topics: list[str]
    steps: list[Step]


@dataclass
class Exchange:
    """The exchange's side of a run: what it would say next on each topic."""

    category: Category
    symbol: str
    update_ids: dict[str, int] = field(default_factory=dict)
    chains: dict[str, int] = field(default_factory=dict)
    trade_id: int = 0
    now_ms: int = 1_700_000_000_000
    sent: list[bytes] = field(default_factory=list)
    full: list[bytes] = field(default_factory=list)

    def topics(self) -> list[str]:
        base = self.symbol.partition("-")[0] if self.category is Category.OPTION else self.symbol
        depths = DEPTHS.get(self.category, DEFAULT_DEPTHS)
        books = [f"orderbook.{depth}.{self.symbol}" for depth in depths]
        if self.category is not Category.OPTION:
            books += [f"orderbook.{depth}.{self.symbol}" for depth in ("rpi", "full")]
        return [*books, f"publicTrade.{base}", f"tickers.{self.symbol}"]

    def message(self, draw: st.DrawFn, topic: str, decimals: st.SearchStrategy[int]) -> dict[str, Any]:
        self.now_ms += draw(st.sampled_from([10, 0, 3_000]))
        if topic.startswith("orderbook"):
            return self._book(draw, topic, decimals)
        if topic.startswith("publicTrade"):
            return self._trades(draw, topic, decimals)
        first = topic not in self.update_ids
        self.update_ids[topic] = 1
        kind = draw(st.sampled_from(["snapshot", "delta"] if first else ["delta", "delta", "snapshot"]))
        return _ticker_message(self.category, topic, kind, draw(_ticker_data), self.now_ms)

    def _book(self, draw: st.DrawFn, topic: str, decimals: st.SearchStrategy[int]) -> dict[str, Any]:
        level_1 = topic.startswith("orderbook.1.")
        last = self.update_ids.get(topic)
        kind, jump = "delta", 1
        if topic.startswith("orderbook.full.") and (last is None or draw(st.integers(0, 9))):
            # Deltas only; a snapshot that comes all the same is tried, too.
            last = draw(st.sampled_from([100, 0, 2**63 - 9])) if last is None else last
            if draw(st.integers(0, 14)) == 14:
                last = 0
        elif last is None:
            kind, last = "snapshot", draw(st.sampled_from([100, 0, 1, 5, 2**63 - 4]))
            jump = 0
        else:
            what = draw(st.integers(0, 19))
            if what >= 17 or (level_1 and what >= 2):
                kind, jump = "snapshot", draw(st.sampled_from([0, 1, 7, -3]))
            elif what == 16:
                last, jump = 1, 0
        update_id = max(0, last + jump)
        self.update_ids[topic] = update_id
        bids = draw(_levels(1_000, 1 if level_1 else 4, decimals=decimals))
        asks = draw(_levels(1_025, 1 if level_1 else 4, decimals=decimals))
        is_rpi = topic.startswith("orderbook.rpi.")
        if draw(st.integers(0, 24)) == 24:
            bids = _bulk(1, draw(st.sampled_from([2, 3, 51, 60, 101])))
        if draw(st.integers(0, 39)) == 39:
            bids.append([draw(decimal_texts(signed=True)), draw(decimal_texts())])
        if is_rpi:
            for level in (*bids, *asks):
                level.append(draw(st.sampled_from(["0", "0.0", "2.5", "1", level[1]])))
        return _book_message(self.category, topic, kind, update_id, bids, asks, self.now_ms)

    def _trades(self, draw: st.DrawFn, topic: str, decimals: st.SearchStrategy[int]) -> dict[str, Any]:
        trades = []
        for _ in range(draw(st.integers(0, 3))):
            self.trade_id += draw(st.sampled_from([1, 1, 1, 0]))
            written = draw(decimals)
            trade: dict[str, Any] = {
                "T": self.now_ms - 3,
                "s": self.symbol,
                "S": draw(st.sampled_from(["Buy", "Sell"])),
                "v": _padded(draw(st.sampled_from([10, 25, 400])), written),
                "p": _padded(draw(st.integers(1_000, 1_050)), written),
                "i": f"id-{self.trade_id}",
                "seq": 7 * self.now_ms,
                "BT": draw(st.booleans()),
            }
            if self.category is Category.OPTION:
                trade |= {"mP": "238.78", "iP": "", "mIv": "0.1389", "iv": "0.14"}
                trade["s"] = draw(st.sampled_from([self.symbol, OTHER_CONTRACT]))
            elif self.category is not Category.SPOT:
                trade |= {"L": "PlusTick", "RPI": draw(st.booleans())}
            trades.append(trade)
        return _trade_message(self.category, topic, trades, self.now_ms)


layouts = st.just(0) | st.integers(0, 4_000)


@st.composite
def messages(draw: st.DrawFn, category: Category = Category.LINEAR) -> tuple[str, dict[str, Any]]:
    """A topic of the category and one message of it, to be written in any layout."""
    exchange = Exchange(category, SYMBOLS[category])
    topic = draw(st.sampled_from(exchange.topics()))
    return topic, exchange.message(draw, topic, st.just(2))


@st.composite
def runs(draw: st.DrawFn, category: Category | None = None, length: int = 40) -> Run:
    """A run of at most ``length`` steps, on one or two lines."""
    chosen = draw(categories) if category is None else category
    exchange = Exchange(chosen, SYMBOLS[chosen])
    topics = list(dict.fromkeys(draw(st.lists(st.sampled_from(exchange.topics()), min_size=1, max_size=4))))
    # Most runs keep one way of writing numbers, some widen as they go.
    decimals = draw(
        st.sampled_from([st.just(2), st.just(1), st.sampled_from([0, 1, 2]), st.sampled_from([1, 9, 17])])
    )
    actions = draw(st.sampled_from([_CALM, _TROUBLED, _HOSTILE]))
    lines = draw(st.sampled_from([1, 1, 2]))
    steps: list[Step] = [Step("subscribed", topic=topic) for topic in topics if draw(st.integers(0, 4))]
    for _ in range(draw(st.integers(1, length))):
        topic = draw(st.sampled_from(topics))
        line = draw(st.integers(0, lines - 1))
        action = draw(st.sampled_from(actions))
        steps.extend(action(draw, exchange, topic, line, decimals))
    return Run(chosen, exchange.symbol, topics, steps)


Action = Callable[[st.DrawFn, Exchange, str, int, st.SearchStrategy[int]], list[Step]]


def _say(
    draw: st.DrawFn, exchange: Exchange, topic: str, line: int, decimals: st.SearchStrategy[int]
) -> list[Step]:
    frame = write(exchange.message(draw, topic, decimals), draw(layouts))
    exchange.sent.append(frame)
    if topic.startswith("orderbook.full."):
        exchange.full.append(frame)
    return [Step("frame", frame, line)]


def _answer(
    draw: st.DrawFn, exchange: Exchange, topic: str, line: int, decimals: st.SearchStrategy[int]
) -> list[Step]:
    """A REST answer about the full book, and what the stream has said since; now and then one that doesn't fit."""
    if not topic.startswith("orderbook.full."):
        return _say(draw, exchange, topic, line, decimals)
    back = draw(st.integers(0, min(4, len(exchange.full))))
    behind = exchange.full[len(exchange.full) - back :]
    known = exchange.update_ids.get(topic, 5)
    update_id = draw(st.sampled_from([max(0, known - back), max(0, known - back), known, 1]))
    bids = draw(_levels(1_000, 6, decimals=decimals))
    asks = draw(_levels(1_025, 6, decimals=decimals))
    kind = draw(st.sampled_from(["snapshot"] * 7 + ["delta"]))
    message = _book_message(exchange.category, topic, kind, update_id, bids, asks, exchange.now_ms)
    if draw(st.integers(0, 9)) == 9:
        message = draw(_spoiled(message))
    return [Step("restate", topic=topic, frames=(write(message, draw(layouts)), *behind))]


def _drop(
    draw: st.DrawFn, exchange: Exchange, topic: str, line: int, decimals: st.SearchStrategy[int]
) -> list[Step]:
    _say(draw, exchange, topic, line, decimals)
    return []


def _again(
    draw: st.DrawFn, exchange: Exchange, topic: str, line: int, decimals: st.SearchStrategy[int]
) -> list[Step]:
    """A frame comes once more, or one that was dropped comes late."""
    if not exchange.sent:
        return []
    return [Step("frame", exchange.sent[-1 - draw(st.integers(0, min(5, len(exchange.sent) - 1)))], line)]


def _swap(
    draw: st.DrawFn, exchange: Exchange, topic: str, line: int, decimals: st.SearchStrategy[int]
) -> list[Step]:
    first = _say(draw, exchange, topic, line, decimals)
    return _say(draw, exchange, topic, line, decimals) + first


def _spoil(
    draw: st.DrawFn, exchange: Exchange, topic: str, line: int, decimals: st.SearchStrategy[int]
) -> list[Step]:
    message = draw(_spoiled(exchange.message(draw, topic, decimals)))
    return [Step("frame", write(message, draw(layouts)), line)]


def _hurt(
    draw: st.DrawFn, exchange: Exchange, topic: str, line: int, decimals: st.SearchStrategy[int]
) -> list[Step]:
    frame = write(exchange.message(draw, topic, decimals), draw(layouts))
    return [Step("frame", draw(damaged(frame)), line)]


def _other(
    draw: st.DrawFn, exchange: Exchange, topic: str, line: int, decimals: st.SearchStrategy[int]
) -> list[Step]:
    return [Step("frame", draw(_controls), line)]


def _subscribe(
    draw: st.DrawFn, exchange: Exchange, topic: str, line: int, decimals: st.SearchStrategy[int]
) -> list[Step]:
    return [Step("subscribed", topic=topic, line=line)]


def _disconnect(
    draw: st.DrawFn, exchange: Exchange, topic: str, line: int, decimals: st.SearchStrategy[int]
) -> list[Step]:
    return [Step("disconnect", line=line)]


def _silence(
    draw: st.DrawFn, exchange: Exchange, topic: str, line: int, decimals: st.SearchStrategy[int]
) -> list[Step]:
    return [Step("stale", topic=topic, line=line)]


def _announce(
    draw: st.DrawFn, exchange: Exchange, topic: str, line: int, decimals: st.SearchStrategy[int]
) -> list[Step]:
    return [Step("announce", decimals=(draw(st.integers(0, 19)), draw(st.integers(0, 4))))]


_CALM: list[Action] = [_say, _say, _say, _say, _say, _say, _again, _answer]
_TROUBLED: list[Action] = [*_CALM, _drop, _swap, _again, _subscribe, _disconnect, _silence, _announce]
_HOSTILE: list[Action] = [*_TROUBLED, _spoil, _spoil, _hurt, _hurt, _hurt, _other]
