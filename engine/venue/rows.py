"""Orders and executions as the private topics and REST tell them (protocol sections 8.1, 8.2). Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine.venue.order import Order, Trigger
from engine.venue.position import Position
from engine.venue.rules import ZERO, plain
from schemas.names import Category

__all__ = ["Row", "execution_row", "fast_row", "funding_row", "order_row", "text_of"]

Row = dict[str, Any]


def text_of(number: Decimal | None, absent: str = "") -> str:
    """Write a number, or what stands for none."""
    return absent if number is None else plain(number)


def order_row(order: Order) -> Row:
    """An order as it stands (section 8.1)."""
    rules, trigger, protection = order.rules, order.trigger, order.protection
    average = ""
    if order.filled:
        average = plain(rules.average(order.filled, order.exact_value))
    fee_coins = list(order.fees)
    return {
        "category": rules.category.value,
        "symbol": rules.symbol,
        "orderId": order.order_id,
        "orderLinkId": order.link_id,
        "parentOrderLinkId": order.parent_link_id,
        "blockTradeId": "",
        "side": order.side.value,
        "positionIdx": order.position_index,
        "orderType": order.order_type.value,
        "timeInForce": order.time_in_force.value,
        "price": text_of(order.price, "0"),
        "qty": plain(order.quantity),
        "orderStatus": order.status.value,
        "cancelType": order.cancel_type.value,
        "rejectReason": order.reject_reason.value,
        **_create_type(order),
        "avgPrice": average,
        "leavesQty": plain(order.leaves if not order.is_quote_sized else ZERO),
        "leavesValue": plain(_leaves_value(order)),
        "cumExecQty": plain(order.filled),
        "cumExecValue": plain(order.filled_value),
        "cumExecFee": plain(sum(order.fees.values(), ZERO)),
        "cumFeeDetail": {coin: plain(fee) for coin, fee in order.fees.items()},
        "closedPnl": plain(order.closed_pnl),
        "feeCurrency": fee_coins[0] if rules.is_spot and fee_coins else "",
        "isLeverage": "0" if rules.is_spot else "",
        "orderIv": "",
        "marketUnit": ("quoteCoin" if order.is_quote_sized else "baseCoin") if rules.is_spot else "",
        "stopOrderType": order.stop_order_type,
        "triggerPrice": "" if trigger is None else text_of(_told_trigger(order, trigger), "0"),
        "triggerDirection": 0 if trigger is None else 1 if trigger.rising else 2,
        "triggerBy": "" if trigger is None else trigger.by.value,
        "ocoTriggerBy": "",
        "takeProfit": text_of(protection.take_profit),
        "stopLoss": text_of(protection.stop_loss),
        **_protection_mode(order),
        "tpLimitPrice": text_of(protection.take_profit_limit),
        "slLimitPrice": text_of(protection.stop_loss_limit),
        "tpTriggerBy": protection.take_profit_by.value if protection.take_profit is not None else "",
        "slTriggerBy": protection.stop_loss_by.value if protection.stop_loss is not None else "",
        "reduceOnly": order.reduce_only,
        "closeOnTrigger": order.close_on_trigger,
        "placeType": "price" if rules.category is Category.OPTION else "",
        "smpType": order.smp_type.value,
        "smpGroup": 0,
        "smpOrderId": order.smp_order_id,
        "slippageToleranceType": "UNKNOWN" if order.slippage is None else order.slippage[0],
        "slippageTolerance": "" if order.slippage is None else plain(order.slippage[1]),
        "lastPriceOnCreated": text_of(order.last_price_on_created, "0"),
        "rpiTakerAccess": False,
        "rpiMatchedQty": "0",
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
    }


def _create_type(order: Order) -> Row:
    """Spot and options do not have this key."""
    has_none = order.rules.is_spot or order.rules.category is Category.OPTION
    return {} if has_none else {"createType": order.create_type}


def _protection_mode(order: Order) -> Row:
    """Spot does not have this key, and options leave it empty."""
    if order.rules.is_spot:
        return {}
    if not order.protection or order.rules.category is Category.OPTION:
        return {"tpslMode": ""}
    return {"tpslMode": "Partial" if order.protection.is_partial else "Full"}


def _told_trigger(order: Order, trigger: Trigger) -> Decimal | None:
    """A trailing stop tells where it becomes active, whatever its trigger is by now."""
    return trigger.active_price if order.stop_order_type == "TrailingStop" else trigger.price


def _leaves_value(order: Order) -> Decimal:
    if order.is_quote_sized:
        return order.leaves
    price = order.price or order.limit
    return ZERO if price is None or order.leaves <= 0 else order.rules.value(price, order.leaves)


def execution_row(
    order: Order,
    *,
    identity: str,
    sequence: int,
    price: Decimal,
    quantity: Decimal,
    is_maker: bool,
    fee: Decimal,
    fee_rate: Decimal,
    fee_coin: str,
    closed: Decimal,
    profit: Decimal,
    mark: Decimal | None,
    index: Decimal | None,
    now_ms: int,
) -> Row:
    """One fill of an order (section 8.2)."""
    rules = order.rules
    return {
        "category": rules.category.value,
        "symbol": rules.symbol,
        "orderId": order.order_id,
        "orderLinkId": order.link_id,
        "side": order.side.value,
        "orderPrice": text_of(order.price or order.limit, "0"),
        "orderQty": plain(order.quantity),
        "leavesQty": plain(order.leaves if not order.is_quote_sized else ZERO),
        "orderType": order.order_type.value,
        "stopOrderType": order.stop_order_type or "UNKNOWN",
        **_create_type(order),
        "execId": identity,
        "execType": "Trade",
        "execPrice": plain(price),
        "execQty": plain(quantity),
        "execValue": plain(rules.value(price, quantity)),
        "execFee": plain(fee),
        "feeRate": plain(fee_rate),
        "feeCurrency": fee_coin,
        "extraFees": "",
        "execPnl": plain(profit),
        "closedSize": plain(closed),
        "isMaker": is_maker,
        "execTime": str(now_ms),
        "markPrice": text_of(mark),
        "indexPrice": text_of(index),
        "underlyingPrice": text_of(index) if rules.category is Category.OPTION else "",
        "tradeIv": "",
        "markIv": "",
        "blockTradeId": "",
        "isLeverage": "0",
        "marketUnit": ("quoteCoin" if order.is_quote_sized else "baseCoin") if rules.is_spot else "",
        "seq": sequence,
    }


def funding_row(
    position: Position,
    *,
    identity: str,
    sequence: int,
    mark: Decimal,
    rate: Decimal,
    fee: Decimal,
    now_ms: int,
) -> Row:
    """A funding payment, as an execution without an order; a fee above 0 is paid, below 0 received."""
    rules, side = position.rules, position.side
    return {
        "category": rules.category.value,
        "symbol": rules.symbol,
        "orderId": identity,
        "orderLinkId": "",
        "side": "" if side is None else side.value,
        "orderPrice": "0",
        "orderQty": "0",
        "leavesQty": "0",
        "orderType": "UNKNOWN",
        "stopOrderType": "UNKNOWN",
        "createType": "",
        "execId": identity,
        "execType": "Funding",
        "execPrice": plain(mark),
        "execQty": plain(position.size),
        "execValue": plain(rules.value(mark, position.size)),
        "execFee": plain(fee),
        "feeRate": plain(rate),
        "feeCurrency": rules.settle_coin,
        "extraFees": "",
        "execPnl": "0",
        "closedSize": "0",
        "isMaker": False,
        "execTime": str(now_ms),
        "markPrice": plain(mark),
        "indexPrice": "",
        "underlyingPrice": "",
        "tradeIv": "",
        "markIv": "",
        "blockTradeId": "",
        "isLeverage": "0",
        "marketUnit": "",
        "seq": sequence,
    }


def fast_row(execution: Row) -> Row | None:
    """What ``execution.fast`` tells of an execution; None for what it does not tell."""
    if execution["execType"] != "Trade":
        return None
    keys = (
        "category",
        "symbol",
        "execId",
        "execPrice",
        "execQty",
        "orderId",
        "isMaker",
        "side",
        "execTime",
        "seq",
    )
    return {
        **{key: execution[key] for key in keys},
        "orderLinkId": "" if execution["isMaker"] else execution["orderLinkId"],
    }
