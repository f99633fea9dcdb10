"""What an account sets beside its orders: leverage, position mode, and what protects a position. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from engine.venue.account import Account, PriceOf
from engine.venue.market import SymbolMarket
from engine.venue.outbox import Outbox
from engine.venue.position import Position
from engine.venue.refusals import Refusal, invalid
from engine.venue.requests import Fields
from engine.venue.rules import ZERO
from engine.venue.terms import OrderType, TriggerBy
from engine.venue.triggers import Triggers
from schemas.names import Category

__all__ = ["Settings"]

_NOT_MODIFIED: Final = 34040
_KEYS: Final = (
    ("TakeProfit", "takeProfit", "tpTriggerBy", "tpSize", "tpLimitPrice", "tpOrderType"),
    ("StopLoss", "stopLoss", "slTriggerBy", "slSize", "slLimitPrice", "slOrderType"),
)


class Settings:
    """Sets what is set per symbol or position."""

    def __init__(self, triggers: Triggers, outbox: Outbox, price_of: PriceOf) -> None:
        self._triggers = triggers
        self._outbox = outbox
        self._price_of = price_of

    def set_leverage(self, account: Account, market: SymbolMarket, values: Mapping[str, Any]) -> None:
        """``/v5/position/set-leverage``.

        Raises:
            Refusal: 110043 unchanged, 10001 anything else.
        """
        rules, fields = market.rules, Fields(values)
        buy, sell = fields.number("buyLeverage"), fields.number("sellLeverage")
        if rules.category not in (Category.LINEAR, Category.INVERSE):
            raise invalid("leverage belongs to linear and inverse")
        if buy is None or sell is None or buy != sell:
            raise invalid("buyLeverage and sellLeverage are required, and equal in cross margin")
        if not 1 <= buy <= rules.maximum_leverage:
            raise invalid(f"leverage {buy} is not between 1 and {rules.maximum_leverage}")
        if buy == account.leverage_of(rules):
            raise Refusal(110043, "Set leverage has not been modified.")
        before = account.leverage_of(rules)
        account.leverage[rules.category, rules.symbol] = buy
        if buy < before and account.available(rules.settle_coin, self._price_of) < 0:
            account.leverage[rules.category, rules.symbol] = before
            raise Refusal(110044, "Available margin is insufficient.")
        for index in (0, 1, 2):
            position = account.position(rules, index)
            if position is not None:
                self._outbox.position(account, position)

    def switch_mode(self, account: Account, markets: list[SymbolMarket], hedge: bool) -> None:
        """``/v5/position/switch-mode`` for these symbols.

        Raises:
            Refusal: 110025 unchanged, 110024 positions are open, 110028 orders are, 110029 not of this contract.
        """
        if hedge and not all(
            m.rules.category is Category.LINEAR
            and m.rules.settle_coin == "USDT"
            and "-" not in m.rules.symbol
            for m in markets
        ):
            raise Refusal(110029, "Hedge mode is not supported for this symbol.")
        if all(account.is_hedged(market.rules) == hedge for market in markets):
            raise Refusal(110025, "Position mode has not been modified.")
        for market in markets:
            rules = market.rules
            positions = (account.position(rules, index) for index in (0, 1, 2))
            if any(position is not None and position.signed for position in positions):
                raise Refusal(
                    110024, "You have an existing position, so the position mode cannot be switched."
                )
            if any(order.rules is rules for order in account.orders.values()):
                raise Refusal(
                    110028, "You have existing open orders, so the position mode cannot be switched."
                )
        for market in markets:
            key = market.rules.category, market.rules.symbol
            (account.hedged.add if hedge else account.hedged.discard)(key)

    def trading_stop(
        self, account: Account, market: SymbolMarket, values: Mapping[str, Any], now_ms: int
    ) -> None:
        """``/v5/position/trading-stop``.

        Raises:
            Refusal: 34040 nothing changed, 110061 too many, 10001 anything else.
        """
        fields = Fields(values)
        if "positionIdx" not in fields or "tpslMode" not in fields:
            raise invalid("tpslMode and positionIdx are required")
        index = fields.integer("positionIdx", 0, (0, 1, 2))
        position = account.position(market.rules, index)
        if position is None or position.side is None:
            raise invalid("can not set tp/sl/ts for zero position")
        mode = fields.text("tpslMode")
        if mode == "Full":
            self._set_whole(account, market, position, fields, now_ms)
        elif mode == "Partial":
            self._add_partial(account, market, position, fields, now_ms)
        else:
            raise invalid("tpslMode is not one of Full, Partial")

    def _check(self, market: SymbolMarket, position: Position, kind: str, price: Decimal) -> None:
        current = market.last or market.reference
        if position.side is not None and current is not None:
            self._triggers.check_side(market.rules, position.side, kind, price, current)

    def _set_whole(
        self, account: Account, market: SymbolMarket, position: Position, fields: Fields, now_ms: int
    ) -> None:
        wanted: list[tuple[str, Decimal, TriggerBy]] = []
        for kind, key, by_key, *_ in _KEYS:
            price = fields.number(key)
            if price is not None:
                self._check(market, position, kind, price)
                wanted.append((kind, price, fields.name(by_key, TriggerBy, TriggerBy.LAST)))
        trail = fields.number("trailingStop")
        if trail is not None:
            if trail % market.rules.tick_size:
                raise invalid("trailingStop is not a multiple of the tick size")
            wanted.append(("TrailingStop", trail, TriggerBy.LAST))
        if not wanted:
            raise invalid("nothing to set: give takeProfit, stopLoss or trailingStop")
        active = fields.number("activePrice") or None
        changed = [
            self._triggers.set_whole(
                account, position, kind, price, by, now_ms, active if kind == "TrailingStop" else None
            )
            for kind, price, by in wanted
        ]
        if not any(changed):
            raise Refusal(_NOT_MODIFIED, "not modified")
        if market.last is not None:
            self._triggers.check(market, now_ms)

    def _add_partial(
        self, account: Account, market: SymbolMarket, position: Position, fields: Fields, now_ms: int
    ) -> None:
        wanted: list[tuple[str, Decimal | None, TriggerBy, Decimal | None, Decimal]] = []
        sizes: set[Decimal] = set()
        for kind, key, by_key, size_key, limit_key, type_key in _KEYS:
            price = fields.number(key) or None
            if price is None:
                continue
            size = fields.number(size_key) or ZERO
            market.rules.check_quantity(size, OrderType.MARKET)
            if size > position.size:
                raise Refusal(
                    110058,
                    "You can't set take profit and stop loss due to insufficient size of remaining position size.",
                )
            limit = None
            if fields.name(type_key, OrderType, OrderType.MARKET) is OrderType.LIMIT:
                limit = fields.number(limit_key)
                if not limit:
                    raise invalid(f"{limit_key} is required with {type_key} Limit")
                market.rules.check_price(limit)
            self._check(market, position, kind, price)
            sizes.add(size)
            wanted.append((kind, price, fields.name(by_key, TriggerBy, TriggerBy.LAST), limit, size))
        if not wanted:
            raise invalid("nothing to set: give takeProfit or stopLoss")
        if len(sizes) > 1:
            raise invalid("tpSize and slSize must be equal")
        self._triggers.set_partial(account, position, wanted, now_ms)
