"""What instruments-info says about an instrument: one column per documented field (protocol section 6.2)."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["INSTRUMENT_FIELDS", "INSTRUMENT_KINDS", "InstrumentField"]

INSTRUMENT_KINDS: Final = ("listed", "changed", "gone")


class InstrumentField(msgspec.Struct, frozen=True):
    """One field of instruments-info and the column that holds it.

    Attributes:
        path: keys of the exchange, outermost first.
        column: ours.
        kind: ``text``, ``decimal`` (DECIMAL(38,18)), ``integer``, ``time`` (ms since the epoch; ``0`` is none),
            ``flag`` (true or false) or ``json`` (as sent, compact).
        meaning: one sentence.
    """

    path: tuple[str, ...]
    column: str
    kind: str
    meaning: str


def _spec(path: str, column: str, kind: str, meaning: str) -> InstrumentField:
    return InstrumentField(tuple(path.split(".")), column, kind, meaning)


INSTRUMENT_FIELDS: Final = (
    _spec("symbolId", "symbol_id", "integer", "The exchange's number of the symbol."),
    _spec("status", "status", "text", "`PreLaunch`, `Trading`, `Delivering` or `Closed`."),
    _spec("baseCoin", "base_coin", "text", "Base coin."),
    _spec("quoteCoin", "quote_coin", "text", "Quote coin."),
    _spec("settleCoin", "settle_coin", "text", "Settlement coin of contracts and options."),
    _spec(
        "symbolType",
        "symbol_type",
        "text",
        "`innovation`, `adventure`, `xstocks`, `commodity`, `stock`, `forex`.",
    ),
    _spec(
        "contractType",
        "contract_type",
        "text",
        "`LinearPerpetual`, `LinearFutures`, `InversePerpetual` or `InverseFutures`.",
    ),
    _spec("optionsType", "option_type", "text", "Options: `Call` or `Put`."),
    _spec("displayName", "display_name", "text", "Name on the exchange's pages."),
    _spec("launchTime", "launch_time", "time", "When it was launched."),
    _spec(
        "deliveryTime", "delivery_time", "time", "When it is delivered, or delisted where that is announced."
    ),
    _spec("deliveryFeeRate", "delivery_fee_rate", "decimal", "Delivery fee rate."),
    _spec("priceFilter.tickSize", "tick_size", "decimal", "Smallest price step."),
    _spec("priceFilter.minPrice", "minimum_price", "decimal", "Lowest price of an order."),
    _spec("priceFilter.maxPrice", "maximum_price", "decimal", "Highest price of an order."),
    _spec("priceScale", "price_scale", "integer", "Decimals of prices."),
    _spec("lotSizeFilter.qtyStep", "quantity_step", "decimal", "Smallest step of quantity (not spot)."),
    _spec("lotSizeFilter.basePrecision", "base_precision", "decimal", "Spot: smallest step of quantity."),
    _spec("lotSizeFilter.quotePrecision", "quote_precision", "decimal", "Spot: smallest step of an amount."),
    _spec("lotSizeFilter.minOrderQty", "minimum_order_quantity", "decimal", "Smallest order."),
    _spec(
        "lotSizeFilter.maxOrderQty", "maximum_order_quantity", "decimal", "Largest limit or post-only order."
    ),
    _spec(
        "lotSizeFilter.maxMktOrderQty",
        "maximum_market_order_quantity",
        "decimal",
        "Contracts: largest market order.",
    ),
    _spec(
        "lotSizeFilter.postOnlyMaxOrderQty",
        "maximum_post_only_order_quantity",
        "decimal",
        "Contracts: largest post-only order (deprecated by the exchange).",
    ),
    _spec(
        "lotSizeFilter.minNotionalValue",
        "minimum_notional_value",
        "decimal",
        "Contracts: smallest value of an order.",
    ),
    _spec(
        "lotSizeFilter.minOrderAmt", "minimum_order_amount", "decimal", "Spot: smallest amount of an order."
    ),
    _spec(
        "lotSizeFilter.maxOrderAmt",
        "maximum_order_amount",
        "decimal",
        "Spot: largest amount (deprecated by the exchange).",
    ),
    _spec(
        "lotSizeFilter.maxLimitOrderQty",
        "spot_maximum_limit_quantity",
        "decimal",
        "Spot: largest limit order.",
    ),
    _spec(
        "lotSizeFilter.maxMarketOrderQty",
        "spot_maximum_market_quantity",
        "decimal",
        "Spot: largest market order.",
    ),
    _spec(
        "lotSizeFilter.postOnlyMaxLimitOrderSize",
        "spot_maximum_post_only_quantity",
        "decimal",
        "Spot: largest post-only order.",
    ),
    _spec("leverageFilter.minLeverage", "minimum_leverage", "decimal", "Lowest leverage."),
    _spec("leverageFilter.maxLeverage", "maximum_leverage", "decimal", "Highest leverage."),
    _spec("leverageFilter.leverageStep", "leverage_step", "decimal", "Step of leverage."),
    _spec("riskParameters.priceLimitRatioX", "price_limit_ratio_x", "decimal", "Price limit ratio X."),
    _spec("riskParameters.priceLimitRatioY", "price_limit_ratio_y", "decimal", "Price limit ratio Y."),
    _spec("fundingInterval", "funding_interval_minutes", "integer", "Minutes between fundings."),
    _spec("upperFundingRate", "upper_funding_rate", "decimal", "Highest funding rate."),
    _spec("lowerFundingRate", "lower_funding_rate", "decimal", "Lowest funding rate."),
    _spec("unifiedMarginTrade", "unified_margin_trade", "flag", "Whether unified margin may trade it."),
    _spec("copyTrading", "copy_trading", "text", "Copy trading: `none`, `both`, `utaOnly`, `normalOnly`."),
    _spec(
        "marginTrading", "margin_trading", "text", "Spot margin: `none`, `both`, `utaOnly`, `normalSpotOnly`."
    ),
    _spec("innovation", "innovation", "text", "Spot: innovation zone (deprecated by the exchange)."),
    _spec("stTag", "st_tag", "text", "Spot: special treatment, `1` or `0`."),
    _spec("xstockMultiplier", "xstock_multiplier", "decimal", "Spot: multiplier of an xStock."),
    _spec(
        "forbidUplWithdrawal",
        "forbid_upl_withdrawal",
        "flag",
        "Whether unrealised profit can't be withdrawn.",
    ),
    _spec("isPreListing", "is_pre_listing", "flag", "Whether it is a pre-market contract."),
    _spec(
        "preListingInfo.curAuctionPhase", "auction_phase", "text", "Pre-market: current phase of the auction."
    ),
    _spec("preListingInfo", "pre_listing_info", "json", "Pre-market: phases and fees, as sent."),
)
