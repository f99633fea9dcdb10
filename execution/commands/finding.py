"""Which orders are meant by what somebody typed."""

from __future__ import annotations

from collections.abc import Sequence

from execution.commands.asking import asking
from execution.commands.options import Choices
from execution.desk.live import LiveOrder
from execution.desk.orders import OrderKey, Refused
from execution.desk.outcomes import Lookup
from execution.loading import look_up
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["check_name", "find_orders", "key_of"]


def key_of(order: LiveOrder) -> OrderKey:
    """What an order is asked for by."""
    return OrderKey(order.category, order.symbol, order.order_id, order.link_id)


async def find_orders(choices: Choices, names: Sequence[str], category: Category | None) -> list[OrderKey]:
    """The open orders of some order or link ids, in their order.

    Raises:
        ConfigError: one of them isn't open, or a link id is that of several (in several categories).
        ExchangeError: no answer.
    """
    async with asking(choices) as there:
        orders = await there.open_orders(choices.categories(category))
    found = []
    for name in dict.fromkeys(names):
        meant = [order for order in orders if name in (order.order_id, order.link_id)]
        if not meant:
            raise ConfigError(
                f"{name[:60]!r}: no open order has this order id or link id; `tapebook trade orders` lists them, with "
                "--closed those that are over. Nothing was sent"
            )
        if len(meant) > 1:
            where = ", ".join(f"{order.category.value} {order.symbol}" for order in meant)
            raise ConfigError(
                f"{name[:60]!r}: {len(meant)} open orders have this link id ({where}): give --category"
            )
        found.append(key_of(meant[0]))
    return found


async def check_name(choices: Choices, key: OrderKey) -> None:
    """Whether a link id that somebody typed is new: an answer that says otherwise would be taken for a repeat of it.

    Raises:
        Refused: an order of this name was placed already, by whatever run.
    """
    if not key.link_id:
        return
    async with asking(choices) as there:
        rows = await look_up(there.rest, Lookup(0, key, there.clock.now_ms()))
    if rows:
        raise Refused(
            "orderLinkId",
            f"{key.link_id}: an order of this name was placed already ({rows[0].get('orderStatus')})",
        )
