"""From a request that has begun to bytes in a socket, and from answers back to requests."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from execution.desk.limits import RiskGate
from execution.desk.link_ids import LinkIds
from execution.desk.orders import NewOrder, Refused
from execution.desk.outcomes import OrderRequest
from execution.desk.plain_orders import PlainOrders
from execution.desk.rates import RateLimiter
from execution.desk.replies import OrderReply, PrivateRows, item_of, pair_items
from execution.desk.requests import Requests
from execution.desk.signers import Signer
from execution.desk.wire import Op, batch_fields, batch_message, message_of, trade_url, write_fields
from execution.exchange_clock import ExchangeClock
from execution.order_journal import OrderJournal, Way
from execution.signed_rest import NotSent, SignedRest
from execution.sockets import KeptSocket
from execution.ticket import Ticket, Waiters
from recorder.network import Network
from schemas.errors import ExchangeError, StoreError
from schemas.names import Category

__all__ = ["Calls", "Sender"]

_RESTARTING: Final = 10019
_CLOCK_CODES: Final = frozenset({10002, -1})
_RATE_CODE: Final = 10006
_CANCEL: Final = Op.CANCEL  # found sooner here than in its class


@dataclass(frozen=True, slots=True)
class Calls:
    """What a sender asks of its client.

    Attributes:
        stop: something of ours failed, and why: nothing but cancels goes out any more.
        notice: what happened, for the journal and the log.
        start: run in the background.
        clock_is_off: the exchange says so: ask it for the time, in the background.
        ask_clock: ask it for the time.
        wake: something is to be looked at.
    """

    stop: Callable[[str], None]
    notice: Callable[[str, str], None]
    start: Callable[[Coroutine[Any, Any, Any]], None]
    clock_is_off: Callable[[], None]
    ask_clock: Callable[[], Awaitable[None]]
    wake: Callable[[], None]


class Sender:
    """Sends requests, each once, and takes their answers.

    Attributes:
        socket: of order entry.
        waiters: who waits for the outcome of which request.
        journal: where requests are written down; None outside of ``async with``, when nothing can be sent.
    """

    def __init__(
        self,
        network: Network,
        signer: Signer,
        clock: ExchangeClock,
        rest: SignedRest,
        requests: Requests,
        rates: RateLimiter,
        gate: RiskGate,
        ids: LinkIds,
        calls: Calls,
        *,
        recv_window_ms: int,
        ping_s: float,
    ) -> None:
        self._clock = clock
        self._rest = rest
        self._requests = requests
        self._rates = rates
        self._gate = gate
        self._ids = ids
        self.journal: OrderJournal | None = None
        self._calls = calls
        self._recv_window_ms = recv_window_ms
        self._on_connection: dict[int, dict[str, list[OrderRequest]]] = {}
        self.waiters = Waiters()
        self.socket = KeptSocket(
            network,
            trade_url(network.root),
            signer,
            clock,
            on_message=self._on_trade,
            on_up=lambda _: calls.notice("trade socket", "up"),
            on_down=self._on_trade_down,
            ask_clock=calls.ask_clock,
            ping_s=ping_s,
        )

    def __repr__(self) -> str:
        waiting = sum(map(len, self._on_connection.values()))
        return f"<Sender {self.socket!r}, {waiting} messages unanswered>"

    def submit(self, request: OrderRequest, way: Way, now_ms: int) -> Ticket:
        """Send a request that has begun, or give it up and say why."""
        op, window_ms = request.op, self._recv_window_ms
        self._requests.sending(request, now_ms, window_ms)
        try:
            written = self._write_down(request, way)
        except Refused as refusal:
            self._requests.not_sent(request, str(refusal))
            raise
        if way == "socket":
            message = message_of(op, written, request.request_id, now_ms, window_ms)
            self._send(request.request_id, [request], message)
        else:
            self._calls.start(self._post([request]))
        self._count(request, now_ms)
        return Ticket(request, self.waiters)

    def submit_plain(
        self,
        order: NewOrder,
        plain: PlainOrders,
        begin: Callable[[NewOrder, str, bytes], OrderRequest],
        now_ms: int,
        why_stopped: Callable[[], Refused | None],
    ) -> Ticket | None:
        """Send a new order over the socket if it is plain; None where it isn't, and nothing has happened.

        Args:
            begin: makes its request, of this name and as its message says. That comes after the bytes, as time counts
                before; nothing can be asked in between.
            why_stopped: asked last, as whoever told the price may have stopped trading.
        """
        journal, window_ms = self.journal, self._recv_window_ms
        if journal is None or not self.socket.is_up:
            return None
        number = journal.lines
        texts = plain.write(order, now_ms, window_ms, number, time.time_ns())
        if texts is None or journal.lines != number or why_stopped() is not None:
            return None  # lines: whoever told the price has done something with the journal
        request_id, line, message = texts
        connection, problem = 0, None
        try:
            journal.put_request(line)
            connection = self.socket.send(message)
        except (StoreError, ExchangeError) as error:
            problem = error
        finally:
            try:
                request = begin(order, request_id, message)
                self._requests.sending(request, now_ms, window_ms)
            except BaseException as error:
                # a mistake of ours, or Ctrl-C just here: limits would not know of it, and the next start will
                self._calls.stop(f"{request_id} may have gone out, and nobody keeps it in mind: {error!r}")
                raise
        if isinstance(problem, StoreError):
            request.is_written = journal.lines != number
            self._calls.stop(str(problem))
            refusal = Refused("order journal", str(problem))
            self._requests.not_sent(request, str(refusal))
            raise refusal
        if problem is None:
            self._await_answer(connection, request_id, [request])
        else:
            self._lose([request])
        self._count(request, now_ms)
        return Ticket(request, self.waiters)

    def _count(self, request: OrderRequest, now_ms: int) -> None:
        """Count a request when its bytes have gone, which nothing can come in between of, as time counts before."""
        op = request.op
        last_ms = now_ms + request.window_ms + self._requests.clock_error_ms
        self._rates.count(request.key.category, op, now_ms, last_ms)
        if op is not _CANCEL:
            self._gate.sent(now_ms)

    def submit_batch(self, requests: list[OrderRequest], way: Way, now_ms: int) -> list[Ticket]:
        """Send requests of one kind that have begun in one message, or give them up and say why."""
        if len(requests) == 1:
            return [self.submit(requests[0], way, now_ms)]
        op, category, window_ms = requests[0].op, requests[0].key.category, self._recv_window_ms
        try:
            for request in requests:
                self._requests.sending(request, now_ms, window_ms)
                self._write_down(request, way)
        except Refused as refusal:
            for request in requests:
                self._requests.not_sent(request, str(refusal))
            raise
        last_ms = now_ms + window_ms + self._requests.clock_error_ms
        self._rates.count(category, op, now_ms, last_ms, _cost(category, len(requests)))
        if op is not _CANCEL:
            for _ in requests:
                self._gate.sent(now_ms)
        if way == "socket":
            batch_id = self._ids.next()
            fields = [request.fields for request in requests]
            message = batch_message(op, category.value, fields, batch_id, now_ms, window_ms)
            self._send(batch_id, requests, message)
        else:
            self._calls.start(self._post(requests))
        return [Ticket(request, self.waiters) for request in requests]

    def check_way(self, op: Op, category: Category, now_ms: int, *, or_rest: bool, count: int = 1) -> Way:
        """Before requests begin: which way there is for them, and whether the exchange's rate allows them.

        Raises:
            Refused: not now.
        """
        way: Way = "socket" if self.socket.is_up else "rest"
        if way == "rest" and not or_rest:
            raise Refused("trade socket", "it is down: wait for it, or allow REST (or_rest)")
        if op is _CANCEL:
            return way  # counted, and never held back
        cost = 1 if count == 1 else _cost(category, count)
        if cost > 1 and cost > (most := self._rates.limit(category, op)):
            raise Refused("rate", f"{cost} requests at once: the exchange takes {most} a second")
        if wait_ms := self._rates.wait_ms(category, op, now_ms, cost):
            raise Refused("rate", f"the exchange takes no more {op.value} now: try again in {wait_ms} ms")
        return way

    def _write_down(self, request: OrderRequest, way: Way) -> bytes:
        """Put a request into the journal, and return its fields as they are there and on the wire."""
        journal = self.journal
        if journal is None:
            raise RuntimeError(f"{self!r}: use it inside `async with`")
        number = journal.lines
        try:
            written = write_fields(request.fields)
            journal.request(request, way, time.time_ns(), written)
        except StoreError as error:
            request.is_written = journal.lines != number
            self._calls.stop(str(error))
            if request.op is not Op.CANCEL:
                raise Refused("order journal", str(error)) from None
        except UnicodeEncodeError as error:
            request.is_written = False
            raise Refused(
                "name", f"{ascii(request.key)[:200]}: {error.reason}: no order is called that"
            ) from None
        return written

    def _send(self, message_id: str, requests: list[OrderRequest], message: bytes) -> None:
        try:
            number = self.socket.send(message)
        except ExchangeError:
            self._lose(requests)
            return
        self._await_answer(number, message_id, requests)

    def _await_answer(self, number: int, message_id: str, requests: list[OrderRequest]) -> None:
        unanswered = self._on_connection.get(number)
        if unanswered is None:
            unanswered = self._on_connection[number] = {}
        unanswered[message_id] = requests

    def _lose(self, requests: list[OrderRequest]) -> None:
        """They may be gone in part; whether they were is found out like that of any lost answer."""
        self._requests.lose(requests, self._clock.now_ms())
        self._calls.wake()

    async def _post(self, requests: list[OrderRequest]) -> None:
        """Send requests of one kind over REST, several as a batch."""
        op, category = requests[0].op, requests[0].key.category
        path, fields = op.path, requests[0].fields
        if len(requests) > 1:
            path = op.batch_path
            fields = batch_fields(category.value, [request.fields for request in requests])
        try:
            answer, headers = await self._rest.post(path, fields, requests[0].timestamp_ms)
        except NotSent as error:
            for request in requests:
                self._requests.not_sent(request, str(error))
        except ExchangeError:
            self._lose(requests)
        else:
            order_id = answer.result.get("orderId")
            self._on_answer(
                requests,
                OrderReply(
                    requests[0].request_id,
                    op.value,
                    answer.code,
                    answer.words,
                    order_id if isinstance(order_id, str) else "",
                    headers,
                    pair_items(answer.result, answer.extra) if len(requests) > 1 and answer.code == 0 else (),
                ),
            )

    # -- what comes back -----------------------------------------------------------------------------------

    def _on_trade(self, number: int, message: OrderReply | PrivateRows) -> None:
        if not isinstance(message, OrderReply):
            return
        now_ms = self._clock.now_ms()
        requests = self._on_connection.get(number, {}).pop(message.request_id, [])
        if message.code == _RESTARTING and number == self.socket.connections:
            self._calls.notice("trade socket", "the exchange restarts its trade service")
            self.socket.renew()
        self._on_answer(requests, message)
        if not requests:
            self._requests.on_reply(message.request_id, message.code, message.words, message.order_id, now_ms)
        self._calls.wake()

    def _on_answer(self, requests: list[OrderRequest], message: OrderReply) -> None:
        """Take the answer to one request or to a batch, of either way."""
        now_ms = self._clock.now_ms()
        for index, request in enumerate(requests):
            code, words, order_id = message.code, message.words, message.order_id
            if len(requests) > 1 and code == 0:
                # the outer code says nothing about the items (section 6.3)
                code, words, order_id = item_of(message.items, index, len(requests), request.key.link_id)
            if message.headers is not None:
                self._rates.on_headers(request.key.category, request.op, message.headers, now_ms)
            self._on_code(request, code, now_ms)
            self._requests.on_reply(request.request_id, code, words, order_id, now_ms)

    def _on_code(self, request: OrderRequest, code: int, now_ms: int) -> None:
        if code == _RATE_CODE:
            self._rates.on_refusal(request.key.category, request.op, now_ms)
        elif code in _CLOCK_CODES:
            self._calls.clock_is_off()

    def _on_trade_down(self, number: int, reason: str) -> None:
        self._calls.notice("trade socket", f"down: {reason}")
        for requests in self._on_connection.pop(number, {}).values():
            self._requests.lose(requests, self._clock.now_ms())
        self._calls.wake()


def _cost(category: Category, count: int) -> int:
    """What requests in one message cost (section 6.3)."""
    return 1 if category is Category.OPTION else count
