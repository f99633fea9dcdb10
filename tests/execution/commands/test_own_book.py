"""Books that limits look at: a recorder's, out of shared memory, or one that the command follows itself."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from execution.commands.own_book import SharedQuotes, is_needed
from execution.commands.session import NO_LIMITS as NONE_AT_ALL
from execution.desk.limits import Limits
from schemas.errors import ConfigError
from schemas.names import Category
from tests.execution.commands.conftest import Desk
from tests.execution.commands.test_placing import SOME_LIMITS, resting_price
from tests.processes import recording, wait_until

LINEAR = Category.LINEAR


def test_which_limits_look_at_a_book() -> None:
    assert not is_needed(NONE_AT_ALL)
    assert not is_needed(
        Limits(
            order_notional=None, position_notional=None, requests_per_second=5, collar=None, daily_loss=None
        )
    )
    for name, value in (("collar", Decimal("0.01")), ("daily_loss", {"USDT": Decimal(1)})):
        values = dict.fromkeys(Limits.__struct_fields__[:5])
        assert is_needed(Limits(**(values | {name: value})))


def test_a_recorders_book(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> None:
    scratch = tmp_path_factory.mktemp("recorder")
    data = scratch / "data"
    price = resting_price(desk)
    words = ("--symbols", "BTCUSDT", "--topics", "orderbook.50", "--no-roll")
    with recording(scratch / "process", desk.root, data, *words) as recorder:
        recorder.until(lambda: _has_book(data), "the book was published")
        quotes = SharedQuotes(str(data), LINEAR, "BTCUSDT")
        wait_until(lambda: quotes(LINEAR, "BTCUSDT") is not None, "the book is live")
        quote = quotes(LINEAR, "BTCUSDT")
        assert quote is not None
        assert 0 < quote.ask - quote.bid < 1_000
        assert abs(quote.bid - price / Decimal("0.97")) < 1_000, "in the exchange's unit, not in mantissas"
        assert quotes(LINEAR, "ETHUSDT") is None
        assert quotes(Category.SPOT, "BTCUSDT") is None

        desk.configure(f'data = "{data}"\n{SOME_LIMITS}')
        refused = desk("buy", "BTCUSDT", "0.001", "--price", int(price * 2))
        assert refused.code == 2
        assert "not sent (price collar)" in refused.err
        (row,) = desk.rows("buy", "BTCUSDT", "0.01", "--price", price)
        assert row["status"] == "New"
        assert len(desk.rows("cancel-all")) == 1
        recorder.stop()
    assert quotes(LINEAR, "BTCUSDT") is None, "nobody keeps it current any more"
    dead = desk("buy", "BTCUSDT", "0.01", "--price", price)
    assert dead.code == 2
    assert dead.err


def _has_book(data: Path) -> bool:
    try:
        SharedQuotes(str(data), LINEAR, "BTCUSDT")
    except ConfigError:
        return False
    return True


def test_no_recorder_there(desk: Desk) -> None:
    desk.configure(f'data = "{desk.directory}/nothing"\n{SOME_LIMITS}')
    ended = desk("buy", "BTCUSDT", "0.01", "--price", "60000")
    assert ended.code == 2
    assert "no such data directory" in ended.err
