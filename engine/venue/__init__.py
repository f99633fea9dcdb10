"""A simulated exchange that trades: accounts, orders, positions and balances over a recorded or simulated book."""

from __future__ import annotations

from engine.venue.account import Account
from engine.venue.market import SymbolMarket
from engine.venue.order import Order
from engine.venue.outbox import VenueEvent
from engine.venue.position import Position
from engine.venue.refusals import Refusal
from engine.venue.rules import TradingRules, rules_of
from engine.venue.terms import OrderStatus, OrderType, Side, TimeInForce
from engine.venue.venue import TradingVenue

__all__ = [
    "Account",
    "Order",
    "OrderStatus",
    "OrderType",
    "Position",
    "Refusal",
    "Side",
    "SymbolMarket",
    "TimeInForce",
    "TradingRules",
    "TradingVenue",
    "VenueEvent",
    "rules_of",
]
