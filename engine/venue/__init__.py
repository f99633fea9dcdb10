"""A simulated exchange that trades: accounts, orders, positions and balances over a recorded or simulated book."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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

_MODULES: Final = {
    "account": ("Account",),
    "market": ("SymbolMarket",),
    "order": ("Order",),
    "outbox": ("VenueEvent",),
    "position": ("Position",),
    "refusals": ("Refusal",),
    "rules": ("TradingRules", "rules_of"),
    "terms": ("OrderStatus", "OrderType", "Side", "TimeInForce"),
    "venue": ("TradingVenue",),
}
_PLACES: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """What is in this package's modules, loaded when first asked for: who needs the terms alone needs no books."""
    if name in _PLACES:
        return getattr(import_module(f"engine.venue.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
