"""Orders, fills, positions and wallets as the private topics and REST tell them (protocol section 8). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from engine.venue.account import Account, Claims, PriceOf
from engine.venue.order import Order
from engine.venue.position import Position
from engine.venue.rules import ZERO, TradingRules, plain, settled
from schemas.names import Category

__all__ = [
    "GREEKS",
    "Row",
    "execution_row",
    "fast_row",
    "funding_row",
    "greeks_row",
    "order_row",
    "position_row",
    "rest_position_row",
    "wallet_row",
]

Row = dict[str, Any]
GREEKS = ("delta", "gamma", "vega", "theta")
_COINS_IN_USD = frozenset({"USD", "USDT", "USDC"})
_MAINTENANCE = Decimal("0.005")


def _text(number: Decimal | None, absent: str = "") -> str:
    return absent if number is None else plain(number)


def order_row(order: Order) -> Row:
    """An order as it stands (section 8.1)."""
    rules, trigger, protection = order.rules, order.trigger, order.protection
    average = ""
    if order.filled:
        ratio = order.filled / order.filled_value if rules.is_inverse else order.filled_value / order.filled
        average = plain(settled(ratio))
    fee_coins = list(order.fees)
    return {
        "category": rules.category.value,
        "symbol": rules.symbol,
        "orderId": order.order_id,
        "orderLinkId": order.link_id,
        "parentOrderLinkId": "",
        "blockTradeId": "",
        "side": order.side.value,
        "positionIdx": order.position_index,
        "orderType": order.order_type.value,
        "timeInForce": order.time_in_force.value,
        "price": _text(order.price, "0"),
        "qty": plain(order.quantity),
        "orderStatus": order.status.value,
        "cancelType": order.cancel_type.value,
        "rejectReason": order.reject_reason.value,
        "createType": order.create_type,
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
        "triggerPrice": _text(trigger.price if trigger else None, "" if trigger is None else "0"),
        "triggerDirection": 0 if trigger is None else 1 if trigger.rising else 2,
        "triggerBy": "" if trigger is None else trigger.by.value,
        "ocoTriggerBy": "",
        "takeProfit": _text(protection.take_profit),
        "stopLoss": _text(protection.stop_loss),
        "tpslMode": ("Partial" if protection.is_partial else "Full") if protection else "",
        "tpLimitPrice": _text(protection.take_profit_limit),
        "slLimitPrice": _text(protection.stop_loss_limit),
        "tpTriggerBy": protection.take_profit_by.value if protection.take_profit is not None else "",
        "slTriggerBy": protection.stop_loss_by.value if protection.stop_loss is not None else "",
        "reduceOnly": order.reduce_only,
        "closeOnTrigger": order.close_on_trigger,
        "placeType": "price" if rules.category is Category.OPTION else "",
        "smpType": order.smp_type.value,
        "smpGroup": 0,
        "smpOrderId": "",
        "slippageToleranceType": "UNKNOWN" if order.slippage is None else order.slippage[0],
        "slippageTolerance": "" if order.slippage is None else plain(order.slippage[1]),
        "lastPriceOnCreated": _text(order.last_price_on_created, "0"),
        "rpiTakerAccess": False,
        "rpiMatchedQty": "0",
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
    }


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
        "orderPrice": _text(order.price or order.limit, "0"),
        "orderQty": plain(order.quantity),
        "leavesQty": plain(order.leaves if not order.is_quote_sized else ZERO),
        "orderType": order.order_type.value,
        "stopOrderType": order.stop_order_type or "UNKNOWN",
        "createType": order.create_type,
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
        "markPrice": _text(mark),
        "indexPrice": _text(index),
        "underlyingPrice": _text(index) if rules.category is Category.OPTION else "",
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


def position_row(
    account: Account,
    position: Position,
    price_of: PriceOf,
    protections: dict[str, Decimal | None],
    greeks: dict[str, Decimal],
) -> Row:
    """A position as the stream tells it (section 8.3).

    Args:
        greeks: of one contract of an option.
        protections: triggers of ``takeProfit``, ``stopLoss`` and distance of ``trailingStop``, where there are any.
    """
    rules, mark = position.rules, price_of(position.rules)
    side = position.side
    value = position.cost if mark is None else rules.value(mark, position.size)
    margin, maintenance = account.position_margin(position), settled(value * _MAINTENANCE)
    return {
        "category": rules.category.value,
        "symbol": rules.symbol,
        "positionIdx": position.index,
        "side": "" if side is None else side.value,
        "size": plain(position.size),
        "positionValue": plain(position.cost),
        "entryPrice": plain(position.entry_price),
        "markPrice": _text(mark),
        "breakEvenPrice": plain(position.entry_price),
        "leverage": "" if rules.category is Category.OPTION else plain(account.leverage_of(rules)),
        "riskId": 1,
        "riskLimitValue": "2000000",
        "autoAddMargin": 0,
        "positionIM": plain(margin),
        "positionIMByMp": plain(margin),
        "positionMM": plain(maintenance),
        "positionMMByMp": plain(maintenance),
        "liqPrice": "",
        "bustPrice": "",
        "positionBalance": "0",
        "takeProfit": _text(protections.get("takeProfit"), "0"),
        "stopLoss": _text(protections.get("stopLoss"), "0"),
        "trailingStop": _text(protections.get("trailingStop"), "0"),
        "tpslMode": "Full",
        "tradeMode": 0,
        "unrealisedPnl": plain(ZERO if mark is None else position.unrealised(mark)),
        "curRealisedPnl": plain(position.realised),
        "cumRealisedPnl": plain(position.realised_ever),
        "sessionAvgPrice": "",
        "positionStatus": "Normal",
        "adlRankIndicator": 0,
        "isReduceOnly": False,
        "mmrSysUpdatedTime": "",
        "leverageSysUpdatedTime": "",
        "createdTime": str(position.created_ms),
        "updatedTime": str(position.updated_ms),
        "openTime": position.opened_ms,
        "seq": position.sequence,
        **_greeks_of(position, greeks),
    }


def _greeks_of(position: Position, greeks: dict[str, Decimal]) -> Row:
    if position.rules.category is not Category.OPTION:
        return {}
    return {name: plain(settled(position.signed * greeks.get(name, ZERO))) for name in GREEKS}


def greeks_row(account: Account, coin: str, greeks_of: Callable[[TradingRules], dict[str, Decimal]]) -> Row:
    """What an account's options on a coin add up to (section 8.5)."""
    total = dict.fromkeys(GREEKS, ZERO)
    for position in account.positions.values():
        if position.rules.category is Category.OPTION and position.rules.base_coin == coin:
            greeks = greeks_of(position.rules)
            for name in GREEKS:
                total[name] += position.signed * greeks.get(name, ZERO)
    return {
        "baseCoin": coin,
        **{f"total{name.capitalize()}": plain(settled(amount)) for name, amount in total.items()},
    }


def rest_position_row(row: Row) -> Row:
    """The same under the names of REST, where the average price has another one."""
    rest = {key: value for key, value in row.items() if key not in ("entryPrice", "category")}
    return {**rest, "avgPrice": row["entryPrice"]}


def wallet_row(
    account: Account, price_of: PriceOf, usd_of: dict[str, Decimal], coins: Iterable[str] | None = None
) -> Row:
    """The account's wallet (section 8.4).

    Args:
        usd_of: price of a coin in USD; a coin that is not in it, and no dollar, is worth nothing here.
        coins: those to tell; None for all that the account has had.
    """
    names = sorted(account.balances) if coins is None else list(coins)
    claims = account.claims(price_of)
    rows = [_coin_row(account, coin, price_of, usd_of, claims) for coin in names]
    total = {
        key: sum((Decimal(row[key] or 0) * _usd(row["coin"], usd_of) for row in rows), ZERO)
        for key in (
            "equity",
            "walletBalance",
            "unrealisedPnl",
            "totalPositionIM",
            "totalOrderIM",
            "totalPositionMM",
        )
    }
    initial = total["totalPositionIM"] + total["totalOrderIM"]
    margin_balance = total["walletBalance"] + total["unrealisedPnl"]
    free = sum((account.available(coin, price_of, claims) * _usd(coin, usd_of) for coin in names), ZERO)
    texts = {
        "totalEquity": total["equity"],
        "totalWalletBalance": total["walletBalance"],
        "totalMarginBalance": margin_balance,
        "totalAvailableBalance": free,
        "totalPerpUPL": total["unrealisedPnl"],
        "totalInitialMargin": initial,
        "totalMaintenanceMargin": total["totalPositionMM"],
        "accountIMRate": initial / margin_balance if margin_balance > 0 else ZERO,
        "accountMMRate": total["totalPositionMM"] / margin_balance if margin_balance > 0 else ZERO,
    }
    row: Row = {key: plain(settled(value)) for key, value in texts.items()}
    for name in ("totalInitialMargin", "totalMaintenanceMargin", "accountIMRate", "accountMMRate"):
        row[name + "ByMp"] = row[name]
    return {**row, "accountType": "UNIFIED", "accountLTV": "0", "coin": rows}


def _usd(coin: str, usd_of: dict[str, Decimal]) -> Decimal:
    return Decimal(1) if coin in _COINS_IN_USD else usd_of.get(coin, ZERO)


def _coin_row(
    account: Account, coin: str, price_of: PriceOf, usd_of: dict[str, Decimal], claims: Claims
) -> Row:
    balance = account.balances.get(coin, ZERO)
    unrealised = account.unrealised(coin, price_of)
    positions = list(account.contract_positions(coin))
    margin = sum((account.position_margin(position) for position in positions), ZERO)
    maintenance = sum((settled(position.cost * _MAINTENANCE) for position in positions), ZERO)
    equity = balance + unrealised
    return {
        "coin": coin,
        "equity": plain(equity),
        "usdValue": plain(settled(equity * _usd(coin, usd_of))),
        "walletBalance": plain(balance),
        "locked": plain(claims.locked.get(coin, ZERO)),
        "spotHedgingQty": "0",
        "borrowAmount": "0",
        "spotBorrow": "0",
        "accruedInterest": "0",
        "totalOrderIM": plain(claims.margins.get(coin, ZERO)),
        "totalPositionIM": plain(margin),
        "totalPositionMM": plain(maintenance),
        "unrealisedPnl": plain(unrealised),
        "cumRealisedPnl": plain(account.realised.get(coin, ZERO)),
        "bonus": "0",
        "collateralSwitch": True,
        "marginCollateral": True,
        "colRes": "",
        "free": "",
        "availableToBorrow": "",
        "availableToWithdraw": "",
    }
