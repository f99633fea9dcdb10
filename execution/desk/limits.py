"""How much may be risked: sizes, positions, rates, prices and a day's loss. Pure; held against before the wire.

Nothing here is a forecast: each limit is arithmetic on what is known (own book, orders, positions, fills), on the side
of refusing. A cancel is never refused. What closes a position (reduce-only) is held against prices and rates alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import force_setattr

from engine.venue.rules import ZERO, decimal_of, plain
from engine.venue.terms import Side
from execution.desk.day_result import DayResult
from execution.desk.exposure import EVERYTHING, Direction, Pending
from execution.desk.filters import Filters
from execution.desk.live import Fill, LiveAccount, LiveOrder
from execution.desk.orders import Change, NewOrder, Refused
from execution.desk.outcomes import OrderRequest
from execution.desk.values import amounts, positive, whole
from execution.desk.wire import Op
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["Limits", "Quote", "RiskGate"]

_SECOND_MS: Final = 1_000
_DOLLAR: Final = Decimal(1)
"""What a contract of an inverse instrument is worth."""
# Found sooner here than in their classes, which Python 3.11 asks in a roundabout way.
_BUY, _SELL = Side.BUY, Side.SELL
_SPOT, _INVERSE, _AMEND = Category.SPOT, Category.INVERSE, Op.AMEND


class Quote(msgspec.Struct, frozen=True):
    """The best prices of our own live book, and how old they are; a book that isn't LIVE has no quote."""

    bid: Decimal
    ask: Decimal
    age_ms: int = 0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What may be risked. Each has to be said; None, said so, switches one off.

    Attributes:
        order_notional: largest order, quote coin (USD on inverse).
        position_notional: largest position of a symbol, either way, if everything that is open on its side filled.
        requests_per_second: creates and amends together.
        collar: how far beyond the best opposite price an order may reach, as a share (0.01 is 1 %).
        daily_loss: by settle coin, of spot by quote coin, what may be lost in a UTC day: realised by fills and fees,
            plus open losses (see `execution.desk.day_result`).
        order_quantity: largest order by symbol, base coins or contracts.
        quote_age_ms: an older quote doesn't count.

    Raises:
        ConfigError: a limit that isn't positive, or no number that is exact; the message names it.
    """

    order_notional: Decimal | None
    position_notional: Decimal | None
    requests_per_second: int | None
    collar: Decimal | None
    daily_loss: Mapping[str, Decimal] | None
    order_quantity: Mapping[str, Decimal] = {}
    quote_age_ms: int = 5_000

    def __post_init__(self) -> None:
        for name in ("order_notional", "position_notional", "collar"):
            if getattr(self, name) is not None:
                force_setattr(self, name, positive(f"limit {name}", getattr(self, name)))
        if self.requests_per_second is not None:
            whole("limit requests_per_second", self.requests_per_second)
        whole("limit quote_age_ms", self.quote_age_ms)
        if self.daily_loss is not None:
            force_setattr(self, "daily_loss", amounts("limit daily_loss", self.daily_loss, "USDT"))
        force_setattr(self, "order_quantity", amounts("limit order_quantity", self.order_quantity, "BTCUSDT"))
        if self.collar is not None and self.collar >= 1:
            raise ConfigError(f"limit collar is {self.collar}: expected a share such as 0.01, which is 1 %")


def _is_quote(found: object) -> bool:
    """Whether whoever gives quotes has given one."""
    if not isinstance(found, Quote) or not isinstance(found.age_ms, int | float):
        return False
    return all(isinstance(price, Decimal) and price.is_finite() for price in (found.bid, found.ask))


class RiskGate:
    """Holds orders and changes against the limits.

    Args:
        limits: what is allowed.
        account: what there is.
        quote_of: our own live book's best prices; None where there is no book that may be believed.
        unseen: creates and amends that may have happened and that no row has shown yet.
        pending: at most what they could add; None where only looking at each can tell.

    Attributes:
        recent: when the creates and amends of the last second went out; older ones may be among them.
    """

    def __init__(
        self,
        limits: Limits,
        account: LiveAccount,
        quote_of: Callable[[Category, str], Quote | None],
        unseen: Callable[[], Iterable[OrderRequest]],
        pending: Pending | None = None,
    ) -> None:
        self.limits = limits
        self._account = account
        self._quote_of = quote_of
        self._unseen = unseen
        self._pending = pending
        self.recent: deque[int] = deque()
        self._day = DayResult()

    def __repr__(self) -> str:
        return f"<RiskGate {self.limits} {self._day!r}>"

    # -- orders --------------------------------------------------------------------------------------------

    def check(self, order: NewOrder, filters: Filters, now_ms: int) -> None:
        """Hold a rounded new order against every limit.

        Raises:
            Refused: with the limit, what was found and what is allowed.
        """
        self.check_rate(now_ms)
        side, price = order.side, order.price
        quote = self.quote(order.category, order.symbol)
        if self.limits.collar is not None:
            self._check_price(side, price, quote, order.symbol)
        if order.reduce_only:
            return
        quantity = order.quantity
        unit: Decimal | None = None
        if order.in_quote_coin:
            self._check_size(quantity, ZERO, filters)
            quantity = self._bought_for(quantity, filters, quote)
            self._check_size(ZERO, quantity, filters)
        else:
            unit = self._unit(side, price or order.trigger_price, filters, quote)
            self._check_size(unit * quantity, quantity, filters)
            if price is None:
                unit = None  # what it becomes is worth what the market says, whatever its trigger
        self._check_position(side, order.position_index, quantity, unit, filters, quote)

    def check_change(self, order: LiveOrder, change: Change, filters: Filters, now_ms: int) -> None:
        """Hold a rounded change of an open order against them. Raises as `check` does."""
        self.check_rate(now_ms)
        quote = self.quote(order.category, order.symbol)
        side = _SELL if order.side == _SELL else _BUY
        price = change.price if change.price is not None else order.price
        if change.price is not None:
            self._check_price(side, change.price, quote, order.symbol)
        if order.is_reduce_only:
            return
        if change.price is None and change.quantity is None and change.trigger_price is None:
            return  # take profit and stop loss alone: it is worth what it was
        quantity = order.quantity if change.quantity is None else change.quantity
        unit = self._unit(side, price, filters, quote)
        self._check_size(unit * quantity, quantity, filters)
        more = quantity - order.quantity
        is_dearer = price is not None and order.price is not None and price > order.price
        if more > 0 or is_dearer or change.trigger_price is not None:
            index = order.row.get("positionIdx")
            self._check_position(side, index if index in (1, 2) else 0, more, unit, filters, quote)

    def sent(self, now_ms: int) -> None:
        """Count a create or an amend that goes out."""
        sent = self.recent
        sent.append(now_ms)
        while sent[0] + _SECOND_MS <= now_ms:
            sent.popleft()

    def quote(self, category: Category, symbol: str) -> Quote | None:
        """The best prices of our own live book; None where there is none that may be believed, or one too old."""
        quote = self._quote_of(category, symbol)
        if quote is None:
            return None
        if not _is_quote(quote):
            raise Refused(
                "quote",
                f"{symbol}: quote_of gave {str(quote)[:200]}: expected a Quote with bid and ask as finite Decimals and "
                "its age in milliseconds, or None where there is none",
            )
        if not quote.age_ms <= self.limits.quote_age_ms or not 0 < quote.bid < quote.ask:
            return None
        return quote

    def check_rate(self, now_ms: int, count: int = 1) -> None:
        """Hold so many requests that would go out together against the rate. Raises as `check` does."""
        most = self.limits.requests_per_second
        if most is None:
            return
        if len(self.recent) + count <= most:
            return
        while self.recent and self.recent[0] + _SECOND_MS <= now_ms:
            self.recent.popleft()
        if len(self.recent) + count > most:
            raise Refused(
                "requests per second",
                f"{len(self.recent)} went out in the last second, with {count} more it would be more than {most}",
            )

    def _check_price(self, side: Side, price: Decimal | None, quote: Quote | None, symbol: str) -> None:
        collar = self.limits.collar
        if collar is None:
            return
        if quote is None:
            raise Refused(
                "price collar",
                f"{symbol}: there is no live book to hold the price against, or nothing has been heard of it for "
                f"{self.limits.quote_age_ms} ms: wait for it, or give no collar",
            )
        if price is None:
            return
        far = quote.ask * (1 + collar) if side is _BUY else quote.bid * (1 - collar)
        if (price > far) if side is _BUY else (price < far):
            best = quote.ask if side is _BUY else quote.bid
            raise Refused(
                "price collar",
                f"{symbol}: {side.value} at {plain(price)} is beyond {plain(far)}, {plain(collar * 100)} % from the "
                f"best price of {plain(best)}",
            )

    def _unit(self, side: Side, price: Decimal | None, filters: Filters, quote: Quote | None) -> Decimal:
        """What one coin or contract is worth in an order at most: a buy's limit is that, a sell's is the least of it.

        A sell trades at the best bid, however far below that its limit is.
        """
        if filters.category is _INVERSE:
            return _DOLLAR
        if price is not None and side is _BUY:
            return price
        if quote is None:
            if self.limits.order_notional is None and self.limits.position_notional is None:
                return ZERO
            what = "a market order is worth" if price is None else "a sell is worth, at whatever limit,"
            raise Refused("order notional", f"{filters.symbol}: what {what} needs a live book: wait for it")
        if price is None:
            return quote.ask if side is _BUY else quote.bid
        return max(price, quote.bid)

    def _bought_for(self, amount: Decimal, filters: Filters, quote: Quote | None) -> Decimal:
        """Base coins that an amount of quote coins buys."""
        if quote is not None:
            return amount / quote.ask
        if self.limits.position_notional is None and filters.symbol not in self.limits.order_quantity:
            return ZERO
        raise Refused(
            "order quantity",
            f"{filters.symbol}: how much {plain(amount)} {filters.quote_coin} buys needs a live book: wait for it",
        )

    def _check_size(self, worth: Decimal, quantity: Decimal, filters: Filters) -> None:
        most = self.limits.order_notional
        if most is not None and worth > most:
            raise Refused(
                "order notional",
                f"{filters.symbol}: {plain(worth)} {filters.quote_coin}, {plain(most)} is allowed",
            )
        if self.limits.order_quantity:
            most = self.limits.order_quantity.get(filters.symbol)
            if most is not None and quantity > most:
                words = f"{filters.symbol}: {plain(quantity)}, {plain(most)} is allowed"
                raise Refused("order quantity", words)

    def _check_position(
        self,
        side: Side,
        index: int,
        quantity: Decimal,
        unit: Decimal | None,
        filters: Filters,
        quote: Quote | None,
    ) -> None:
        """Hold what a position could become against the limit.

        Args:
            unit: what one coin or contract is worth; None for what it is at the market's price.
        """
        most = self.limits.position_notional
        if most is None:
            return
        is_buy = side is _BUY
        if (index == 1 and not is_buy) or (index == 2 and is_buy):
            return  # it closes
        category = filters.category
        if category is _SPOT and not is_buy:
            return
        direction = category, filters.symbol, side, index
        known = self._held(side, index, filters) + self._account.exposure.get(direction, ZERO) + quantity
        if unit is None and quote is not None:
            unit = self._unit(side, None, filters, quote)
        if unit is not None and self._pending is not None:
            pending = self._pending.most(direction)
            if pending is not None and unit * (known + pending) <= most:
                return  # whatever rows are missing
        total = known + self._not_shown(side, index, filters, quote)
        if total <= 0:
            return
        worth = total * (self._unit(side, None, filters, quote) if unit is None else unit)
        if worth > most:
            raise Refused(
                "position",
                f"{filters.symbol}: with what is open it could become {plain(total)}, worth {plain(worth)} "
                f"{filters.quote_coin}, {plain(most)} is allowed",
            )

    def _held(self, side: Side, index: int, filters: Filters) -> Decimal:
        """What is held already in the direction of a side; negative if it is the other way."""
        if filters.category is _SPOT:
            coin = self._account.coins.get(filters.base_coin)
            return ZERO if coin is None else coin.wallet_balance
        signed = self._account.held(filters.category, filters.symbol, index)
        if not signed:
            return ZERO
        held = signed if side is _BUY else -signed
        if held >= 0:
            return held
        # What only closes may close it first, and leaves less room for what opens.
        direction = filters.category, filters.symbol, side.value, index
        return min(ZERO, held + self._account.reducing.of(direction) + self._reducing(direction))

    def _reducing(self, direction: Direction) -> Decimal:
        """What closing orders that no row has shown yet would close."""
        if self._pending is not None:
            return self._pending.reducing.of(direction)
        total = ZERO
        for request in self._unseen():
            fields = request.fields
            if (
                request.op is Op.CREATE
                and fields.get("reduceOnly")
                and direction
                == (
                    request.key.category,
                    request.key.symbol,
                    fields.get("side"),
                    fields.get("positionIdx", 0),
                )
            ):
                total += decimal_of(fields.get("qty")) or EVERYTHING
        return total

    def _not_shown(self, side: Side, index: int, filters: Filters, quote: Quote | None) -> Decimal:
        """What unseen orders and changes of a side could add."""
        total = ZERO
        for request in self._unseen():
            key = request.key
            if key.symbol == filters.symbol and key.category is filters.category:
                total += self._added(request, side, index, quote)
        return total

    def _added(self, request: OrderRequest, side: Side, index: int, quote: Quote | None) -> Decimal:
        """What a request adds on a side that no row shows yet."""
        fields = request.fields
        if request.op is _AMEND:
            key = request.key
            order = self._account.order(key.category, order_id=key.order_id, link_id=key.link_id)
            if order is None or order.side != side or order.is_reduce_only:
                return ZERO
            return max(ZERO, (decimal_of(request.changed.get("qty")) or ZERO) - order.quantity)
        if fields.get("side") != side or fields.get("positionIdx", 0) != index or fields.get("reduceOnly"):
            return ZERO
        quantity = request.quantity
        if quantity is None:
            quantity = decimal_of(fields.get("qty")) or ZERO
        if fields.get("marketUnit") == "quoteCoin":
            return ZERO if quote is None else quantity / quote.ask
        return quantity

    # -- the day's loss ------------------------------------------------------------------------------------

    def on_fill(self, fill: Fill, filters: Filters | None) -> None:
        """Count what a fill did; filters are its symbol's, None where it isn't traded here."""
        self._day.on_fill(fill, filters)

    def excess_loss(self, filters_of: Callable[[Category, str], Filters | None], now_ms: int) -> str:
        """Say which day's loss is beyond its limit; empty while none is."""
        for coin, most in (self.limits.daily_loss or {}).items():
            unrealised = ZERO
            for position in self._account.positions.values():
                filters = filters_of(position.category, position.symbol)
                if position.size and filters is not None and filters.settle_coin == coin:
                    unrealised += self._unrealised(position.signed, position.entry_price, filters)
            result = self._day.realised(coin, now_ms) + unrealised
            result += self._day.exchanged(coin, now_ms, self._spot_price)
            if result < -most:
                return f"today's result is {plain(result)} {coin}, {plain(most)} may be lost"
        return ""

    def _spot_price(self, symbol: str, quantity: Decimal) -> Decimal | None:
        """What coins could be sold for now, or those that are missing be bought for, by our own book."""
        quote = self.quote(_SPOT, symbol)
        if quote is None:
            return None
        return quote.bid if quantity > 0 else quote.ask

    def _unrealised(self, signed: Decimal, entry: Decimal, filters: Filters) -> Decimal:
        """Result of closing now at our own book's price; without a book, nothing is known and nothing is counted."""
        quote = self.quote(filters.category, filters.symbol)
        if quote is None or not entry:
            return ZERO
        price = quote.bid if signed > 0 else quote.ask
        return signed / entry - signed / price if filters.is_inverse else (price - entry) * signed
