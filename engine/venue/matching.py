"""Orders meet the book: how a new one is filled, how resting ones are, and what every fill moves. Pure.

Every fill goes through :meth:`Matcher.fill`, which moves the order, the position, the balances and the fees together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final
from uuid import UUID

from engine.venue.account import Account, PriceOf
from engine.venue.market import SymbolMarket
from engine.venue.order import Order
from engine.venue.outbox import Outbox
from engine.venue.position import Position
from engine.venue.rows import execution_row, funding_row
from engine.venue.rules import PRICE_BAND, ZERO, TradingRules, settled
from engine.venue.terms import CancelType, OrderType, RejectReason, Side, SmpType, TimeInForce
from schemas.names import Category

__all__ = ["Identities", "Matcher"]

_SEQUENCES_PER_MS: Final = 1_000
Markets = Mapping[tuple[Category, str], SymbolMarket]


class Identities:
    """Ids that look like the exchange's and follow from seed and beginning.

    Args:
        began_ms: when the venue began; one that begins again later has other ids, and higher sequences.
    """

    def __init__(self, seed: int, began_ms: int = 0) -> None:
        self._random = random.Random(f"venue/{seed}/{began_ms}")
        self._sequence = max(10**10, began_ms * _SEQUENCES_PER_MS)
        self._orders = 0

    def ordinal(self) -> int:
        """The next number of an order."""
        self._orders += 1
        return self._orders

    def unique(self) -> str:
        """A fresh id."""
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def sequence(self) -> int:
        """The next cross sequence of a fill."""
        self._sequence += 1
        return self._sequence


class Matcher:
    """Trades orders in markets.

    Args:
        price_of: what positions are valued at.
        on_filled: called after each fill of a contract order with its account, order and position.
        on_ended: called when a partly filled contract order ends without being filled.
    """

    def __init__(
        self,
        accounts: Mapping[str, Account],
        markets: Markets,
        identities: Identities,
        outbox: Outbox,
        price_of: PriceOf,
        on_filled: Callable[[Account, Order, Position, int], None],
        on_ended: Callable[[Account, Order, int], None],
    ) -> None:
        self._accounts = accounts
        self._markets = markets
        self._identities = identities
        self._outbox = outbox
        self._price_of = price_of
        self._on_filled = on_filled
        self._on_ended = on_ended
        self._sequence = 0
        """Of the present match: its fills share it."""

    def market_of(self, rules: TradingRules) -> SymbolMarket:
        """The market of an instrument."""
        return self._markets[rules.category, rules.symbol]

    def find_market(self, category: Category, symbol: str) -> SymbolMarket | None:
        """The market of a symbol, None where it is not traded."""
        return self._markets.get((category, symbol))

    # Orders that come

    def limit_of(self, market: SymbolMarket, order: Order) -> Decimal | None:
        """The worst price at which an order may trade; None where there is nothing to measure it by."""
        if order.order_type is OrderType.LIMIT:
            return order.price
        best = market.best(order.side.opposite)
        reference = best if best is not None else market.reference
        if reference is None:
            return None
        if order.slippage is None:
            return order.rules.band(reference, order.side, PRICE_BAND)
        kind, number = order.slippage
        if kind == "TickSize":
            far = reference + number * order.rules.tick_size * order.side.sign
            return max(order.rules.minimum_price, far)
        return order.rules.band(reference, order.side, number / 100)

    def enter(self, order: Order, now_ms: int) -> None:
        """Let an order trade, as far as it goes at once, and rest if it may."""
        market = self.market_of(order.rules)
        self._sequence = self._identities.sequence()
        limit = order.limit = self.limit_of(market, order)
        if limit is None:
            self.end(order, now_ms, CancelType.UNKNOWN, RejectReason.NO_QUANTITY)
            return
        if order.time_in_force is TimeInForce.POST_ONLY and self._would_take(market, order, limit):
            self.end(order, now_ms, CancelType.UNKNOWN, RejectReason.POST_ONLY)
            return
        if order.time_in_force is TimeInForce.FOK and market.volume(order.side, limit, order) < self._cap(
            order, order.wants(limit)
        ):
            self.end(order, now_ms, CancelType.UNKNOWN, RejectReason.NOT_FULL)
            return
        self._take(market, order, limit, now_ms)
        if not order.is_open:
            if order.is_complete:
                self._outbox.order(order)
            return
        if order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
            reason = RejectReason.NOT_IMMEDIATE
            if order.order_type is OrderType.MARKET:
                reason = RejectReason.NO_QUANTITY
            self.end(order, now_ms, CancelType.UNKNOWN, reason)
            return
        if order.only_closes and not self._cap(order, order.wants(limit)):
            self.end(order, now_ms, CancelType.BY_REDUCE_ONLY)
            return
        market.rest(order)
        self._outbox.order(order)

    def _would_take(self, market: SymbolMarket, order: Order, limit: Decimal) -> bool:
        return next(iter(market.offers(order.side, limit)), None) is not None

    def _cap(self, order: Order, quantity: Decimal) -> Decimal:
        """What of a quantity an order may trade: one that only reduces never more than there is."""
        if not order.only_closes:
            return quantity
        return min(quantity, self._accounts[order.uid].reducible(order))

    def _take(self, market: SymbolMarket, order: Order, limit: Decimal, now_ms: int) -> None:
        for offer in market.offers(order.side, limit):
            maker = offer.maker
            if maker is not None and maker.uid == order.uid and order.smp_type is not SmpType.NONE:
                if order.smp_type in (SmpType.CANCEL_MAKER, SmpType.CANCEL_BOTH):
                    maker.smp_order_id = order.order_id
                    self.end(maker, now_ms, CancelType.BY_SMP, RejectReason.SELF_MATCH)
                if order.smp_type in (SmpType.CANCEL_TAKER, SmpType.CANCEL_BOTH):
                    order.smp_order_id = maker.order_id
                    self.end(order, now_ms, CancelType.BY_SMP, RejectReason.SELF_MATCH)
                    return
                continue
            offered = offer.quantity
            if maker is not None:
                offered = self._cap(maker, offered)
                if not offered:
                    self.end(maker, now_ms, CancelType.BY_REDUCE_ONLY)
                    continue
            quantity = self._cap(order, min(offered, order.wants(offer.price)))
            if quantity <= 0:
                break
            if maker is None:
                market.ladders[order.side.opposite].take(offer.price, quantity)
            self.fill(order, offer.price, quantity, now_ms, is_maker=False)
            if maker is not None:
                self.fill(maker, offer.price, quantity, now_ms, is_maker=True)
                self._after_passive(maker, now_ms)
            if not order.is_open:
                break

    # Orders that rest

    def passive(self, order: Order, quantity: Decimal, now_ms: int) -> Decimal:
        """Fill a resting order at its own price, by so much at most; returns how much it was."""
        assert order.price is not None
        self._sequence = self._identities.sequence()
        quantity = self._cap(order, min(quantity, order.wants(order.price))) if order.is_open else ZERO
        if quantity > 0:
            self.fill(order, order.price, quantity, now_ms, is_maker=True)
        if order.is_open or quantity > 0:
            self._after_passive(order, now_ms)
        return max(quantity, ZERO)

    def _after_passive(self, order: Order, now_ms: int) -> None:
        if not order.is_open:
            self.market_of(order.rules).withdraw(order)
            self._outbox.order(order)
        elif order.only_closes and not self._cap(order, order.wants(order.price or ZERO)):
            self.end(order, now_ms, CancelType.BY_REDUCE_ONLY)
        else:
            self._outbox.order(order)

    def end(
        self,
        order: Order,
        now_ms: int,
        cancel_type: CancelType,
        reason: RejectReason = RejectReason.NONE,
    ) -> None:
        """End an order that is open, wherever it is."""
        self.market_of(order.rules).withdraw(order)
        order.end(now_ms, cancel_type, reason)
        account = self._accounts[order.uid]
        account.close_order(order)
        self._outbox.order(order)
        self._outbox.position_of(account, order)
        self._outbox.wallet(account)
        if order.filled and not order.rules.is_spot:
            self._on_ended(account, order, now_ms)

    # Fills

    def fill(self, order: Order, price: Decimal, quantity: Decimal, now_ms: int, *, is_maker: bool) -> None:
        """Fill an order: everything that a fill moves is moved here."""
        rules, account = order.rules, self._accounts[order.uid]
        order.fill(price, quantity, now_ms)
        value = rules.value(price, quantity)
        rate = rules.fee_rate(maker=is_maker)
        closed = profit = ZERO
        sequence = self._sequence
        position: Position | None = None
        if rules.is_spot:
            fee_coin, fee = self._exchange_coins(account, order, quantity, value, rate)
        else:
            fee_coin, fee = rules.settle_coin, settled(value * rate)
            position = account.position_for_fill(rules, order.position_index)
            closed, profit = position.apply(order.side, price, quantity, now_ms)
            position.sequence = sequence
            account.book(fee_coin, profit - fee)
            account.realised[fee_coin] = account.realised.get(fee_coin, ZERO) + profit - fee
            order.closed_pnl += profit
            self._outbox.position(account, position)
        order.fees[fee_coin] = order.fees.get(fee_coin, ZERO) + fee
        market = self.market_of(rules)
        row = execution_row(
            order,
            identity=self._identities.unique(),
            sequence=sequence,
            price=price,
            quantity=quantity,
            is_maker=is_maker,
            fee=fee,
            fee_rate=rate,
            fee_coin=fee_coin,
            closed=closed,
            profit=profit,
            mark=market.mark,
            index=market.index,
            now_ms=now_ms,
        )
        self._outbox.execution(account, rules.category, row)
        self._outbox.wallet(account)
        if not order.is_open and order.is_complete:
            account.close_order(order)
        if position is not None:
            self._on_filled(account, order, position, now_ms)

    def _exchange_coins(
        self, account: Account, order: Order, quantity: Decimal, value: Decimal, rate: Decimal
    ) -> tuple[str, Decimal]:
        """Book a spot fill; the fee is paid in what is received."""
        rules = order.rules
        if order.side is Side.BUY:
            fee = settled(quantity * rate)
            account.book(rules.quote_coin, -value)
            account.book(rules.base_coin, quantity - fee)
            return rules.base_coin, fee
        fee = settled(value * rate)
        account.book(rules.base_coin, -quantity)
        account.book(rules.quote_coin, value - fee)
        return rules.quote_coin, fee

    def fund(self, account: Account, position: Position, mark: Decimal, rate: Decimal, now_ms: int) -> None:
        """Settle the funding of a position: longs pay shorts where the rate is above 0."""
        rules = position.rules
        fee = settled(rules.value(mark, position.size) * rate * (1 if position.signed > 0 else -1))
        account.book(rules.settle_coin, -fee)
        account.realised[rules.settle_coin] = account.realised.get(rules.settle_coin, ZERO) - fee
        position.realised -= fee
        position.realised_ever -= fee
        position.updated_ms = now_ms
        position.sequence = self._identities.sequence()
        row = funding_row(
            position,
            identity=self._identities.unique(),
            sequence=position.sequence,
            mark=mark,
            rate=rate,
            fee=fee,
            now_ms=now_ms,
        )
        self._outbox.execution(account, rules.category, row)
        self._outbox.position(account, position)
        self._outbox.wallet(account)
