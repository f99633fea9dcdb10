"""Positions, greeks and wallets as the private topics and REST tell them (protocol sections 8.3 to 8.5). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from engine.venue.account import Account, Claims, PriceOf
from engine.venue.position import Position
from engine.venue.rows import Row, text_of
from engine.venue.rules import ZERO, TradingRules, plain, settled
from schemas.names import Category

__all__ = ["GREEKS", "greeks_row", "position_row", "rest_position_row", "wallet_row"]

GREEKS = ("delta", "gamma", "vega", "theta")
_COINS_IN_USD = frozenset({"USD", "USDT", "USDC"})
_MAINTENANCE = Decimal("0.005")


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
        "markPrice": text_of(mark),
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
        "takeProfit": text_of(protections.get("takeProfit"), "0"),
        "stopLoss": text_of(protections.get("stopLoss"), "0"),
        "trailingStop": text_of(protections.get("trailingStop"), "0"),
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
