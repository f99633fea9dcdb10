"""What the exchange answers: acknowledgements, errors and pongs (protocol sections 2.1 and 2.3). Pure.

:class:`Dialect` judges one connection's requests and phrases the answers; it owns no socket and no
subscription.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import msgspec

from schemas.names import Category

__all__ = [
    "MAX_OPTION_ARGUMENTS",
    "MAX_REQUEST_BYTES",
    "MAX_SPOT_ARGUMENTS",
    "MAX_TOPIC_CHARACTERS",
    "Action",
    "Answer",
    "Dialect",
    "is_topic",
    "symbol_of",
]

MAX_TOPIC_CHARACTERS: Final = 21_000
"""Of all topics subscribed on one connection."""
MAX_SPOT_ARGUMENTS: Final = 10
"""Topics in one spot request."""
MAX_OPTION_ARGUMENTS: Final = 2_000
"""Topics on one option connection."""
MAX_REQUEST_BYTES: Final = 256 * 1024
"""Far above any request within the limits; a longer message closes the connection."""

_CONTRACT_DEPTHS: Final = frozenset({"1", "50", "200", "1000", "rpi"})
_DEPTHS: Final[dict[Category, frozenset[str]]] = {
    Category.SPOT: _CONTRACT_DEPTHS | {"full"},
    # announced for contracts, and on testnet already
    Category.LINEAR: _CONTRACT_DEPTHS | {"full"},
    Category.INVERSE: _CONTRACT_DEPTHS | {"full"},
    Category.OPTION: frozenset({"25", "100"}),
    Category.SPREAD: frozenset({"25"}),
}
_KLINE_INTERVALS: Final = frozenset(
    ["1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M"]
)
_SYMBOL_TOPICS: Final[dict[Category, frozenset[str]]] = {
    Category.SPOT: frozenset({"publicTrade", "tickers", "priceLimit"}),
    Category.LINEAR: frozenset({"publicTrade", "tickers", "priceLimit", "allLiquidation"}),
    Category.INVERSE: frozenset({"publicTrade", "tickers", "priceLimit", "allLiquidation"}),
    Category.OPTION: frozenset({"publicTrade", "tickers"}),
    Category.SPREAD: frozenset({"publicTrade", "tickers"}),
}
_LIKE_OPTIONS: Final = (Category.OPTION, Category.SPREAD)
"""Categories that acknowledge with lists of topics and without an op, and whose pongs tell the time."""
_GROUP_TOPICS: Final = frozenset({"insurance", "adlAlert"})
_GROUPS: Final[dict[Category, frozenset[str]]] = {
    Category.LINEAR: frozenset({"USDT", "USDC"}),
    Category.INVERSE: frozenset({"inverse"}),
}
_OPTION_SILENT: Final = frozenset({"orderbook", "kline"})
"""Topics that options acknowledge whatever their depth or interval, and then never send."""


class _Request(msgspec.Struct):
    op: str
    args: list[str] = []
    req_id: str | int = ""
    """Some clients count; what they are answered is text all the same."""


_REQUEST = msgspec.json.Decoder(_Request)


class Action(Enum):
    """What a request does to the connection's subscriptions."""

    NONE = "none"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send back, and what to do.

    Attributes:
        payload: the answer's bytes.
        topics: newly subscribed, or to be unsubscribed; in the request's order, each once.
    """

    payload: bytes
    action: Action = Action.NONE
    topics: list[str] = field(default_factory=list)


def symbol_of(topic: str) -> str:
    """Return the last part of a topic; a symbol may hold dashes, underscores and slashes, but no dots."""
    return topic.rpartition(".")[2]


def is_topic(category: Category, topic: str, is_symbol: Callable[[str], bool]) -> bool:
    """Whether the category has this topic (protocol section 3).

    Args:
        is_symbol: whether a symbol is traded; for options only contracts are asked about, not base coins.
    """
    name, _, rest = topic.partition(".")
    if name == "orderbook":
        depth, _, symbol = rest.partition(".")
        return depth in _DEPTHS[category] and is_symbol(symbol)
    if name == "kline" and category not in _LIKE_OPTIONS:
        interval, _, symbol = rest.partition(".")
        return interval in _KLINE_INTERVALS and is_symbol(symbol)
    if name in _GROUP_TOPICS:
        return rest in _GROUPS.get(category, ())
    if name == "publicTrade" and category is Category.OPTION:
        return rest.isascii() and rest.isalnum() and rest == rest.upper()
    return name in _SYMBOL_TOPICS[category] and is_symbol(rest)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


class Dialect:
    """One connection's conversation.

    Args:
        category: whose shapes and limits apply.
        connection_id: told in every answer as ``conn_id``.
        is_symbol: whether a symbol is traded.
        only: the topics of a path that has no others, instead of the category's.
    """

    def __init__(
        self,
        category: Category,
        connection_id: str,
        is_symbol: Callable[[str], bool],
        *,
        only: Collection[str] | None = None,
    ) -> None:
        self._category = category
        self._connection_id = connection_id
        self._is_symbol = is_symbol
        self._only = only

    def _is_topic(self, topic: str) -> bool:
        if self._only is not None:
            return topic in self._only
        return is_topic(self._category, topic, self._is_symbol)

    def answer(self, message: bytes, subscribed: Collection[str], now_ms: int) -> Answer:
        """Judge one message.

        Args:
            message: as received, anything at all.
            subscribed: the connection's topics.
            now_ms: clock that option pongs tell.
        """
        try:
            request = _REQUEST.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Answer(self._refusal(f"Failed to decode incoming data:{error}", "", ""))
        if request.op == "ping":
            return Answer(self._pong(str(request.req_id), now_ms))
        if request.op == "subscribe":
            return self._subscribe(request, subscribed)
        if request.op == "unsubscribe":
            return self._unsubscribe(request)
        return Answer(self._refusal("error:invalid op", str(request.req_id), request.op))

    def refuse(self, message: bytes, granted: Answer, refused: str) -> Answer:
        """Refuse one topic of a subscribe request that was granted, in the words for a topic that doesn't exist."""
        request = _REQUEST.decode(message)
        if self._category in _LIKE_OPTIONS:
            rest = [topic for topic in dict.fromkeys(request.args) if topic != refused]
            fresh = [topic for topic in granted.topics if topic != refused]
            return Answer(self._option_ack(rest, [refused]), Action.SUBSCRIBE, fresh)
        words = f"error:handler not found,topic:{refused}"
        return Answer(self._refusal(words, str(request.req_id), request.op))

    def _subscribe(self, request: _Request, subscribed: Collection[str]) -> Answer:
        problem = self._limit(request.args, subscribed)
        if problem:
            return Answer(self._refusal(problem, str(request.req_id), request.op))
        if self._category in _LIKE_OPTIONS:
            return self._subscribe_options(request.args, subscribed)
        wanted: dict[str, None] = {}
        for topic in request.args:
            if not self._is_topic(topic):
                return Answer(
                    self._refusal(f"error:handler not found,topic:{topic}", str(request.req_id), request.op)
                )
            if topic in subscribed or topic in wanted:
                return Answer(
                    self._refusal(f"error:already subscribed,topic:{topic}", str(request.req_id), request.op)
                )
            wanted[topic] = None
        return Answer(self._success(str(request.req_id), request.op), Action.SUBSCRIBE, list(wanted))

    def _subscribe_options(self, args: list[str], subscribed: Collection[str]) -> Answer:
        succeeded: list[str] = []
        failed: list[str] = []
        for topic in dict.fromkeys(args):
            fine = self._is_topic(topic) or self._is_silent(topic)
            (succeeded if fine else failed).append(topic)
        fresh = [topic for topic in succeeded if topic not in subscribed]
        return Answer(self._option_ack(succeeded, failed), Action.SUBSCRIBE, fresh)

    def _is_silent(self, topic: str) -> bool:
        if self._category is not Category.OPTION:
            return False
        name, _, rest = topic.partition(".")
        symbol = symbol_of(topic)
        return name in _OPTION_SILENT and "." in rest and bool(symbol) and symbol == symbol.upper()

    def _unsubscribe(self, request: _Request) -> Answer:
        topics = list(dict.fromkeys(request.args))
        if self._category in _LIKE_OPTIONS:
            return Answer(self._option_ack(topics, []), Action.UNSUBSCRIBE, topics)
        for topic in topics:
            if not self._is_topic(topic):
                return Answer(
                    self._refusal(f"error:handler not found,topic:{topic}", str(request.req_id), request.op)
                )
        return Answer(self._success(str(request.req_id), request.op), Action.UNSUBSCRIBE, topics)

    def _limit(self, args: list[str], subscribed: Collection[str]) -> str:
        """Return what the request exceeds, or an empty text."""
        if not args:
            return "error:args is empty"
        if self._category is Category.SPOT and len(args) > MAX_SPOT_ARGUMENTS:
            return f"args size >{MAX_SPOT_ARGUMENTS}"
        if self._category is Category.OPTION and len(subscribed) + len(args) > MAX_OPTION_ARGUMENTS:
            return f"args size >{MAX_OPTION_ARGUMENTS}"
        if sum(map(len, args)) + sum(map(len, subscribed)) > MAX_TOPIC_CHARACTERS:
            return f"args length >{MAX_TOPIC_CHARACTERS}"
        return ""

    def _success(self, request_id: str, op: str) -> bytes:
        message = op if self._category is Category.SPOT else ""
        return self._plain(True, message, request_id, op)

    def _refusal(self, message: str, request_id: str, op: str) -> bytes:
        if self._category in _LIKE_OPTIONS:
            return (
                f'{{"success":false,"ret_msg":{_text(message)},"conn_id":"{self._connection_id}",'
                f'"data":{{"failTopics":[],"successTopics":[]}},"type":"COMMAND_RESP"}}'
            ).encode()
        return self._plain(False, message, request_id, op)

    def _plain(self, success: bool, message: str, request_id: str, op: str) -> bytes:
        return (
            f'{{"success":{"true" if success else "false"},"ret_msg":{_text(message)},'
            f'"conn_id":"{self._connection_id}","req_id":{_text(request_id)},"op":{_text(op)}}}'
        ).encode()

    def _option_ack(self, succeeded: list[str], failed: list[str]) -> bytes:
        data = json.dumps(
            {"failTopics": failed, "successTopics": succeeded}, ensure_ascii=False, separators=(",", ":")
        )
        success = "true" if succeeded or not failed else "false"
        return (
            f'{{"success":{success},"conn_id":"{self._connection_id}","data":{data},"type":"COMMAND_RESP"}}'
        ).encode()

    def _pong(self, request_id: str, now_ms: int) -> bytes:
        if self._category in _LIKE_OPTIONS:
            return f'{{"args":["{now_ms}"],"op":"pong"}}'.encode()
        echo = "" if self._category is Category.SPOT else f'"req_id":{_text(request_id)},'
        identity = f'"conn_id":"{self._connection_id}"'
        return f'{{"success":true,"ret_msg":"pong",{identity},{echo}"op":"ping"}}'.encode()
