"""Books that limits look at: a recorder's, out of shared memory, or one that the command follows itself."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from engine.shared import Snapshot
from execution.commands.own_book import SharedQuotes, is_needed
from execution.commands.session import NO_LIMITS as NONE_AT_ALL
from execution.desk.limits import Limits, Quote
from schemas.errors import ConfigError
from schemas.names import Category, FeedState
from tests.execution.commands.conftest import Desk
from tests.execution.commands.test_placing import SOME_LIMITS, resting_price
from tests.processes import recording, wait_until

LINEAR = Category.LINEAR
MS = 1_000_000


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
        wait_until(lambda: 0 <= _age_ms(quotes) < 5_000, "a quote as old as the book's last sign of life")
        wait_until(lambda: quotes._book.heard_ns > 0, "the recorder says what it has heard")
        hour_ns = 3_600 * 10**9
        later = SharedQuotes(
            str(data), LINEAR, "BTCUSDT",
            clock=lambda: time.monotonic_ns() + hour_ns, wall_clock=lambda: time.time_ns() + hour_ns,
        )  # fmt: skip
        wait_until(lambda: _age_ms(later) > 3_500_000, "the recorder lives, and nothing has come for an hour")
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


def _age_ms(quotes: SharedQuotes) -> int:
    quote = quotes(LINEAR, "BTCUSDT")
    return -1 if quote is None else quote.age_ms


class Quiet:
    """A book that hasn't changed since a moment, of a recorder that has heard something since."""

    def __init__(self, published_ns: int, receive_ns: int | None, heard_ns: int) -> None:
        self.heard_ns = heard_ns
        self._times = published_ns, receive_ns

    def read(self, depth: int) -> Snapshot:
        published_ns, receive_ns = self._times
        side = np.array([[1, 5]])
        return Snapshot(
            FeedState.LIVE, "", None, 1, 1, 1, 1, receive_ns, published_ns, 1, 0, 0, side, side + 1,
            (1, 1), False, 0, 2,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("published_ms", "receive_ms", "heard_ms", "age_ms"),
    [
        (70, 7, 0, 30),  # nothing else is known than when it changed
        (70, 7, 95, 5),  # quiet, while every connection brought something since
        (70, 7, 60, 30),  # a connection has stalled; this book's hasn't
        (99, 7, 0, 3),  # published again, and no message came
        (99, None, 0, 10),
    ],
)
def test_a_quote_is_as_old_as_the_last_that_was_heard(
    published_ms: int, receive_ms: int | None, heard_ms: int, age_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Quiet(published_ms * MS, None if receive_ms is None else receive_ms * MS, heard_ms * MS)
    monkeypatch.setattr("recorder.live_books.open_book", lambda *_, **__: book)
    quotes = SharedQuotes("data", LINEAR, "BTCUSDT", clock=lambda: 100 * MS, wall_clock=lambda: 10 * MS)
    assert quotes(LINEAR, "BTCUSDT") == Quote(Decimal(1), Decimal(2), age_ms)


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
