"""The conversation of ``/v5/private``: authentication, subscriptions, pongs (protocol sections 2 and 8). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from engine.venue import Refusal
from recorder.gateway.trading.options import ApiKey
from recorder.gateway.trading.signed import check_socket

__all__ = ["DCP_TOPICS", "PrivateAnswer", "PrivateDialect", "feeds_of"]

_BY_CATEGORY: Final = {
    "order": ("spot", "linear", "inverse", "option"),
    "execution": ("spot", "linear", "inverse", "option"),
    "execution.fast": ("spot", "linear", "inverse", "option"),
    "position": ("linear", "inverse", "option"),
}
DCP_TOPICS: Final = ("dcp.future", "dcp.spot", "dcp.option")
_SILENT: Final = ("spread.order", "spread.execution", "strategy", *DCP_TOPICS)
"""Topics that may be subscribed and never tell anything here."""
_TOPICS: Final = frozenset(
    {
        *_BY_CATEGORY,
        *(f"{topic}.{category}" for topic, names in _BY_CATEGORY.items() for category in names),
        "wallet",
        "greeks",
        *_SILENT,
    }
)
MAXIMUM_ARGUMENTS: Final = 100


def feeds_of(topic: str) -> tuple[str, str]:
    """Split a topic into what it is about and its category, which is empty for all of them."""
    for name, categories in _BY_CATEGORY.items():
        if topic.startswith(f"{name}.") and topic[len(name) + 1 :] in categories:
            return name, topic[len(name) + 1 :]
    return topic, ""


@dataclass(slots=True)
class PrivateAnswer:
    """What to send, and what has changed."""

    message: dict[str, Any]
    subscribed: list[str] = field(default_factory=list)
    unsubscribed: list[str] = field(default_factory=list)


class PrivateDialect:
    """One connection's conversation.

    Attributes:
        key: whose connection it is; None until it has authenticated.
        topics: subscribed.
    """

    def __init__(self, keys: Mapping[str, ApiKey], connection_id: str) -> None:
        self._keys = keys
        self._connection_id = connection_id
        self.key: ApiKey | None = None
        self.topics: dict[str, None] = {}

    def answer(self, payload: bytes, now_ms: int) -> PrivateAnswer:
        """Judge one message, anything at all."""
        try:
            request = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return PrivateAnswer(self._ack("", None, False, f"Failed to decode incoming data:{error}"))
        if not isinstance(request, dict) or not isinstance(request.get("op"), str):
            return PrivateAnswer(self._ack("", None, False, "error:invalid op"))
        op, identity = request["op"], request.get("req_id")
        if op == "ping":
            message = {"op": "pong", "args": [str(now_ms)], "conn_id": self._connection_id}
            return PrivateAnswer(message if identity is None else {"req_id": identity, **message})
        if op == "auth":
            return PrivateAnswer(self._authenticate(request.get("args"), identity, now_ms))
        if op not in ("subscribe", "unsubscribe"):
            return PrivateAnswer(self._ack(op, identity, False, "error:invalid op"))
        topics = request.get("args")
        if self.key is None:
            return PrivateAnswer(self._ack(op, identity, False, "error:request not authorized"))
        if (
            not isinstance(topics, list)
            or not 0 < len(topics) <= MAXIMUM_ARGUMENTS
            or not all(isinstance(topic, str) for topic in topics)
        ):
            return PrivateAnswer(self._ack(op, identity, False, "error:args is no list of topics"))
        return self._subscribe(op, topics, identity)

    def _authenticate(self, arguments: Any, identity: Any, now_ms: int) -> dict[str, Any]:
        if self.key is not None:
            return self._ack("auth", identity, False, "error:already authenticated")
        try:
            self.key = check_socket(self._keys, arguments, now_ms)
        except Refusal as refusal:
            return self._ack("auth", identity, False, refusal.message)
        return self._ack("auth", identity, True, "")

    def _subscribe(self, op: str, topics: list[str], identity: Any) -> PrivateAnswer:
        wanted = list(dict.fromkeys(topics))
        for topic in wanted:
            name, category = feeds_of(topic)
            if category and name in wanted:
                words = f"error:{name} and {topic} must not be in one request"
                return PrivateAnswer(self._ack(op, identity, False, words))
        known = [topic for topic in wanted if topic in _TOPICS]
        unknown = [topic for topic in wanted if topic not in _TOPICS]
        if op == "unsubscribe":
            gone = [topic for topic in known if topic in self.topics]
            for topic in gone:
                del self.topics[topic]
            return PrivateAnswer(self._ack(op, identity, True, ""), unsubscribed=gone)
        fresh = [topic for topic in known if topic not in self.topics]
        self.topics.update(dict.fromkeys(fresh))
        if unknown:
            words = (
                "Batch subscription partially succeeded."
                f"Successful subscriptions are as follows:[{','.join(known)}]. "
                f"The failed subscriptions are as follows:[{','.join(topic[:60] for topic in unknown)}]"
            )
            return PrivateAnswer(self._ack(op, identity, False, words), subscribed=fresh)
        if not fresh:
            words = f"error:already subscribed,topic:{wanted[0]}"
            return PrivateAnswer(self._ack(op, identity, False, words))
        return PrivateAnswer(self._ack(op, identity, True, ""), subscribed=fresh)

    def _ack(self, op: str, identity: Any, success: bool, words: str) -> dict[str, Any]:
        message: dict[str, Any] = {"success": success, "ret_msg": words, "conn_id": self._connection_id}
        if identity is not None:
            message["req_id"] = identity
        return {**message, "op": op}
