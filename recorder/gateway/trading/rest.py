"""Signed REST: what an account asks for and sets (protocol section 6.3). Pure, but for the desk that it asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final, NamedTuple

from engine.venue import Account, Refusal
from engine.venue.holdings import rest_position_row
from engine.venue.refusals import invalid
from engine.venue.requests import Fields, read_category
from engine.venue.rules import ZERO, plain
from recorder.gateway.rest import RestError, instruments_info
from recorder.gateway.trading.desk import Desk
from recorder.gateway.trading.listings import executions, history, page, realtime
from recorder.gateway.trading.options import ApiKey
from schemas.names import Category

__all__ = [
    "GETS",
    "POSTS",
    "Asked",
    "account_info",
    "api_key",
    "cancel_all",
    "coin_info",
    "coins_balance",
    "dcp_info",
    "fee_rate",
    "instruments",
    "position_list",
    "set_dcp",
    "set_leverage",
    "switch_mode",
    "trading_stop",
    "wallet_balance",
]

Result = dict[str, Any]


class Asked(NamedTuple):
    """A request that stands.

    Attributes:
        values: query or body.
    """

    desk: Desk
    key: ApiKey
    values: Mapping[str, Any]

    @property
    def account(self) -> Account:
        """Whose request it is."""
        return self.desk.venue.accounts[self.key.uid]

    @property
    def category(self) -> Category:
        """What it is about."""
        return read_category(Fields(self.values))


def _unified(asked: Asked) -> None:
    if asked.values.get("accountType") not in ("UNIFIED",):
        raise invalid("accountType only support UNIFIED.")


def _coins(asked: Asked) -> list[str] | None:
    text = str(asked.values.get("coin", ""))
    return [coin for coin in text.split(",") if coin][:100] or None


def wallet_balance(asked: Asked) -> Result:
    """``/v5/account/wallet-balance``: the account's coins; those with nothing only if asked for."""
    _unified(asked)
    account, coins = asked.account, _coins(asked)
    if coins is None:
        coins = [coin for coin, amount in sorted(account.balances.items()) if amount]
    return {"list": [asked.desk.venue.wallet_row(account, coins)]}


def coins_balance(asked: Asked) -> Result:
    """``/v5/asset/transfer/query-account-coins-balance``."""
    account_type, coins = asked.values.get("accountType"), _coins(asked)
    if account_type not in ("UNIFIED", "FUND"):
        raise invalid("accountType is not one of UNIFIED, FUND")
    if account_type == "UNIFIED" and (coins is None or len(coins) > 10):
        raise invalid("coin is required for UNIFIED, at most 10 of them")
    account = asked.account
    rows = []
    for coin in coins or sorted(account.balances):
        amount = account.balances.get(coin, ZERO) if account_type == "UNIFIED" else ZERO
        free = max(ZERO, min(amount, account.available(coin, asked.desk.venue.price_of)))
        rows.append(
            {
                "coin": coin,
                "walletBalance": plain(amount),
                "transferBalance": plain(free if account_type == "UNIFIED" else ZERO),
                "bonus": "",
            }
        )
    return {"accountType": account_type, "memberId": asked.key.uid, "balance": rows}


def coin_info(asked: Asked) -> Result:
    """``/v5/asset/coin/query-info``: the coins, none of which can be withdrawn."""
    names = _coins(asked) or sorted(asked.account.balances)
    return {"rows": [{"name": name, "coin": name, "remainAmount": "0", "chains": []} for name in names]}


def fee_rate(asked: Asked) -> Result:
    """``/v5/account/fee-rate``."""
    category, wanted = asked.category, asked.values.get("symbol")
    rows = [
        {
            "symbol": rules.symbol,
            "takerFeeRate": plain(rules.taker_fee),
            "makerFeeRate": plain(rules.maker_fee),
        }
        for rules in asked.desk.rules(category)
        if wanted in (None, "", rules.symbol)
    ]
    return {"category": category.value, "list": rows}


def account_info(asked: Asked) -> Result:
    """``/v5/account/info``."""
    return {
        "marginMode": "REGULAR_MARGIN",
        "updatedTime": "0",
        "unifiedMarginStatus": 6,
        "dcpStatus": "ON",
        "timeWindow": int(asked.desk.disconnects.settings(asked.key.uid)[1]["timeWindow"]),
        "smpGroup": 0,
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
    }


def dcp_info(asked: Asked) -> Result:
    """``/v5/account/query-dcp-info``."""
    return {"dcpInfos": asked.desk.disconnects.settings(asked.key.uid)}


def api_key(asked: Asked) -> Result:
    """``/v5/user/query-api``: what the key may do."""
    key = asked.key
    return {
        "id": "1",
        "note": "gateway",
        "apiKey": key.key,
        "readOnly": int(key.is_read_only),
        "secret": "",
        "permissions": {
            "ContractTrade": ["Order", "Position"],
            "Spot": ["SpotTrade"],
            "Wallet": [],
            "Options": ["OptionsTrade"],
            "Derivatives": ["DerivativesTrade"],
            "CopyTrading": [],
            "BlockTrade": [],
            "Exchange": [],
            "NFT": [],
            "Affiliate": [],
            "Earn": [],
        },
        "ips": ["*"],
        "type": 1,
        "deadlineDay": -2,
        "expiredAt": "1970-01-01T00:00:00Z",
        "createdAt": "2025-01-01T00:00:00Z",
        "unified": 0,
        "uta": 1,
        "userID": int(key.uid),
        "inviterID": 0,
        "vipLevel": "No VIP",
        "mktMakerLevel": "0",
        "affiliateID": 0,
        "rsaPublicKey": "",
        "isMaster": True,
        "parentUid": "0",
        "kycLevel": "LEVEL_DEFAULT",
        "kycRegion": "",
    }


def position_list(asked: Asked) -> Result:
    """``/v5/position/list``: by symbol flat ones too, by settle coin only those that are open."""
    category, values = asked.category, asked.values
    symbol, settle, base = (str(values.get(key, "")) for key in ("symbol", "settleCoin", "baseCoin"))
    if category is Category.SPOT:
        raise invalid("category is not one of linear, inverse, option")
    if category is Category.LINEAR and not symbol and not settle:
        raise invalid("symbol or settleCoin is required")
    account, venue = asked.account, asked.desk.venue
    if symbol:
        market = asked.desk.market(category.value, symbol)
        if market is None:
            raise invalid(f"symbol invalid {symbol[:60]}")
        indices = (1, 2) if account.is_hedged(market.rules) else (0,)
        positions = [account.position_or_flat(market.rules, index) for index in indices]
    else:
        positions = [
            position
            for position in account.positions.values()
            if position.signed
            and position.rules.category is category
            and settle in ("", position.rules.settle_coin)
            and base in ("", position.rules.base_coin)
        ]
    rows = {
        f"{position.rules.symbol}/{position.index}": rest_position_row(venue.position_row(account, position))
        for position in positions
    }
    return page(sorted(rows.items(), key=itemgetter(0)), values, 200, 20, category, ascending=True)


def instruments(asked: Asked) -> Result:
    """``/v5/account/instruments-info``: what the account may trade, which is everything."""
    try:
        return instruments_info(asked.desk.source(asked.category), asked.values)
    except RestError as error:
        raise Refusal(error.code, error.message) from None


def set_leverage(asked: Asked) -> Result:
    """``/v5/position/set-leverage``."""
    asked.desk.venue.settings.set_leverage(asked.account, _market(asked), asked.values)
    return {}


def switch_mode(asked: Asked) -> Result:
    """``/v5/position/switch-mode``: of one symbol, or of all that a coin settles."""
    fields = Fields(asked.values)
    category, mode = asked.category, fields.integer("mode", -1, (0, 3))
    symbol, coin = fields.text("symbol"), fields.text("coin")
    if category is not Category.LINEAR or mode == -1 or not (symbol or coin):
        raise invalid("category linear, mode 0 or 3, and symbol or coin are required")
    markets = asked.desk.markets(category, symbol, coin)
    if not markets:
        raise invalid(f"symbol invalid {(symbol or coin)[:60]}")
    asked.desk.venue.settings.switch_mode(asked.account, markets, mode == 3)
    return {}


def trading_stop(asked: Asked) -> Result:
    """``/v5/position/trading-stop``."""
    if asked.category is Category.SPOT:
        raise invalid("category is not one of linear, inverse, option")
    desk = asked.desk
    desk.venue.settings.trading_stop(asked.account, _market(asked), asked.values, desk.market_ms())
    return {}


def cancel_all(asked: Asked) -> Result:
    """``/v5/order/cancel-all``."""
    category, desk = asked.category, asked.desk
    rate = desk.rates.order(asked.key.uid, category, "cancel-all", desk.request_ms())
    if not rate.granted:
        raise Refusal(10006, "Too many visits. Exceeded the API Rate Limit.")
    orders = desk.venue.cancel_all(asked.key.uid, asked.values, desk.market_ms())
    rows = [{"orderId": order.order_id, "orderLinkId": order.link_id} for order in orders]
    return {"list": rows, "success": "1"}


def set_dcp(asked: Asked) -> Result:
    """``/v5/order/disconnected-cancel-all``."""
    product = str(asked.values.get("product") or "OPTIONS")
    asked.desk.disconnects.set_window(asked.key.uid, product, asked.values.get("timeWindow"))
    return {}


def _market(asked: Asked) -> Any:
    symbol = Fields(asked.values).required("symbol")
    market = asked.desk.market(asked.category.value, symbol)
    if market is None:
        raise invalid(f"symbol invalid {symbol[:60]}")
    return market


GETS: Final[dict[str, Callable[[Asked], Result]]] = {
    "/v5/account/wallet-balance": wallet_balance,
    "/v5/account/fee-rate": fee_rate,
    "/v5/account/info": account_info,
    "/v5/account/query-dcp-info": dcp_info,
    "/v5/account/instruments-info": instruments,
    "/v5/asset/transfer/query-account-coins-balance": coins_balance,
    "/v5/asset/coin/query-info": coin_info,
    "/v5/user/query-api": api_key,
    "/v5/position/list": position_list,
    "/v5/order/realtime": lambda asked: realtime(asked.account, asked.values),
    "/v5/order/history": lambda asked: history(asked.account, asked.values),
    "/v5/execution/list": lambda asked: executions(asked.account, asked.values),
}
"""What an account asks for, by path."""

POSTS: Final[dict[str, Callable[[Asked], Result]]] = {
    "/v5/position/set-leverage": set_leverage,
    "/v5/position/switch-mode": switch_mode,
    "/v5/position/trading-stop": trading_stop,
    "/v5/order/cancel-all": cancel_all,
    "/v5/order/disconnected-cancel-all": set_dcp,
}
"""What it sets, by path; orders themselves are operations."""
