"""One book on the page: exact levels, bands of price, columns that come at a pace and say when nothing is known."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.shared import Snapshot
from recorder.serving.book_view import (
    COLUMN_MS,
    COLUMNS,
    LEVELS,
    PATIENT_COLUMNS,
    ROWS,
    BookView,
    _Moment,
    band_width,
)
from schemas.names import FeedState
from tests.recorder.serving.pretend import NOW_NS, PretendBook

NOW_MS = NOW_NS // 1_000_000


class Fixed(PretendBook):
    """A book of levels given as (price, size) mantissas with exponents -1 and -3."""

    def __init__(self, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
        super().__init__(0)
        self.bids, self.asks = bids, asks

    def read(self, depth: int | None = None) -> Snapshot:
        sides = [np.array(side, np.int64).reshape(-1, 2)[:depth] for side in (self.bids, self.asks)]
        return super().read()._replace(bids=sides[0], asks=sides[1])


def _view(book: PretendBook | None, words: str = "") -> BookView:
    return BookView("linear", "linear", "orderbook.50.X", book, words)


def _told(view: BookView, since: int = -1) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(view.encode(since))
    return told


def test_the_ladder_is_exact() -> None:
    view = _view(Fixed([(1000, 1500), (999, 500)], [(1003, 4000)]))
    assert view.look(NOW_MS)
    ladder = _told(view)["ladder"]
    assert ladder["bids"] == [
        ["100.0", "1.500", "1.500", 0.375, 0.375],
        ["99.9", "0.500", "2.000", 0.125, 0.5],
    ]
    assert ladder["asks"] == [["100.3", "4.000", "4.000", 1.0, 1.0]]
    assert (ladder["spread"], ladder["middle"], ladder["lag_ms"]) == ("0.3", "100.15", 3.0)
    assert ladder["spread_bps"] == round(0.3 / 100.15 * 10_000, 3)


def test_prices_below_zero_have_no_spread_below_zero() -> None:
    view = _view(Fixed([(-1_250, 3)], [(-1_240, 3)]))
    view.look(NOW_MS)
    ladder = _told(view)["ladder"]
    assert (ladder["spread"], ladder["middle"], ladder["spread_bps"]) == ("1.0", "-124.5", 80.321)
    middle_of_nothing = _view(Fixed([(-5, 3)], [(5, 3)]))
    middle_of_nothing.look(NOW_MS)
    assert _told(middle_of_nothing)["ladder"]["spread_bps"] is None


@given(
    st.lists(st.tuples(st.integers(0, 10**18), st.integers(0, 10**15)), min_size=1, max_size=40),
    st.integers(-18, 0),
    st.integers(-18, 0),
)
def test_any_level_is_written_as_it_is(levels: list[tuple[int, int]], price: int, size: int) -> None:
    class Odd(Fixed):
        def read(self, depth: int | None = None) -> Snapshot:
            return super().read(depth)._replace(price_exponent=price, size_exponent=size)

    view = _view(Odd(levels, levels))
    view.look(NOW_MS)
    told = _told(view)["ladder"]["bids"]
    assert len(told) == min(len(levels), LEVELS)
    for (level_price, level_size, *_), (mantissa, amount) in zip(told, levels, strict=False):
        assert Decimal(level_price) == Decimal(mantissa).scaleb(price)
        assert Decimal(level_size) == Decimal(amount).scaleb(size)


def test_a_book_that_must_not_be_believed_shows_no_level() -> None:
    book = PretendBook(1)
    view = _view(book)
    view.look(NOW_MS)
    assert "bids" in _told(view)["ladder"]
    book.turn(FeedState.STALE, "writer dead")
    assert view.look(NOW_MS + COLUMN_MS)
    told = _told(view)
    assert "bids" not in told["ladder"]
    assert (told["ladder"]["state"], told["ladder"]["trouble"]) == ("stale", "writer dead")
    assert told["columns"][-1][2:] == ["", None, None, "stale"]
    book.turn(FeedState.LIVE)
    view.look(NOW_MS + 2 * COLUMN_MS)
    assert "bids" in _told(view)["ladder"]
    assert [column[5] for column in _told(view)["columns"]] == ["live", "stale", "live"]


@pytest.mark.parametrize("state", [FeedState.EMPTY, FeedState.SYNCING])
def test_nor_one_that_has_nothing_yet(state: FeedState) -> None:
    book = Fixed([], [])
    book.turn(state)
    view = _view(book)
    view.look(NOW_MS)
    assert _told(view)["ladder"]["state"] == state.value
    assert _told(view)["columns"][0][2:5] == ["", None, None]


def test_why_it_must_not_be_believed() -> None:
    book = PretendBook(1)
    book.cause = "disconnect"
    book.turn(FeedState.STALE)
    view = _view(book)
    view.look(NOW_MS)
    assert _told(view)["ladder"]["trouble"] == "a gap is open: disconnect"


def test_a_book_that_is_being_written_is_not_waited_for() -> None:
    book = PretendBook(1)
    view = _view(book)
    view.look(NOW_MS)
    before = _told(view)["ladder"]
    book.version += 1
    view.look(NOW_MS + 1)
    assert (_told(view)["ladder"], book.reads) == (before, 1)
    # its writer died in the midst of it: nobody can read it any more, and that is said
    book.feed_state, book.words = FeedState.STALE, "writer dead"
    assert view.look(NOW_MS + 2)
    assert (_told(view)["ladder"], book.reads) == ({"state": "stale", "trouble": "writer dead"}, 1)


def test_one_side_alone() -> None:
    view = _view(Fixed([(1000, 1500)], []))
    view.look(NOW_MS)
    ladder = _told(view)["ladder"]
    assert (len(ladder["bids"]), ladder["asks"], "spread" in ladder) == (1, [], False)
    assert _told(view)["columns"][0][2] == ""


def test_nothing_is_read_while_nothing_changes() -> None:
    book = PretendBook(1)
    view = _view(book)
    assert view.look(NOW_MS)
    version = view.version
    assert not view.look(NOW_MS + 1)
    assert (view.version, book.reads) == (version, 1)
    assert view.look(NOW_MS + COLUMN_MS), "a column comes whether it changes or not"
    assert book.reads == 1
    book.move(NOW_NS)
    assert view.look(NOW_MS + COLUMN_MS + 1)
    assert book.reads == 2


def test_columns_come_at_a_pace_and_are_bounded() -> None:
    book = PretendBook(1)
    view = _view(book)
    for step in range(2 * COLUMNS):
        book.move(NOW_NS)
        view.look(NOW_MS + step * COLUMN_MS // 2)
    assert len(_told(view)["columns"]) == COLUMNS
    seen = view.version
    for step in range(3):
        view.look(NOW_MS + (COLUMNS + 1 + step) * COLUMN_MS)
    told = _told(view, seen)
    assert told["whole"] is False
    assert [column[0] for column in told["columns"]] == [
        (NOW_MS // COLUMN_MS + COLUMNS + 1 + step) * COLUMN_MS for step in range(3)
    ]


def test_shades_are_of_the_bands_that_hold_something() -> None:
    # 100 levels a side, a mantissa apart: a band holds several, the fat one stands out
    book = Fixed([(10_000 - n, 1000) for n in range(100)], [(10_001 + n, 1000) for n in range(100)])
    book.asks[50] = (10_051, 1_000_000)
    view = _view(book)
    view.look(NOW_MS)
    told = _told(view)
    band, rows = told["grid"]["band"], told["grid"]["rows"]
    assert 150 <= band * rows <= band * ROWS, "three quarters of the levels have room"
    _, row, shades, bid, ask, state = told["columns"][0]
    found = base64.b64decode(shades)
    assert (bid, ask, state) == (round(10_000 / band, 2), round(10_001 / band, 2), "live")
    assert row == (10_000 - 99) // band
    assert row + len(found) - 1 == 10_100 // band
    assert found[10_051 // band - row] == max(found) == 255
    assert min(found) > 0


def test_bands_are_chosen_anew_when_the_book_reaches_elsewhere_for_good() -> None:
    near = [(10_000 - n, 10) for n in range(50)], [(10_001 + n, 10) for n in range(50)]
    far = [(10_000 - 20 * n, 10) for n in range(50)], [(10_001 + 20 * n, 10) for n in range(50)]
    book = Fixed(*near)
    view = _view(book)
    view.look(NOW_MS)
    first = _told(view)
    seen = view.version

    def step(number: int, levels: Any) -> dict[str, Any]:
        book.bids, book.asks = levels
        book.version += 2
        view.look(NOW_MS + number * COLUMN_MS)
        return _told(view, seen)

    assert not step(1, far)["whole"], "once may be an accident"
    assert not step(2, near)["whole"]
    told = first
    for number in range(3, 3 + PATIENT_COLUMNS):
        told = step(number, far)
    assert told["whole"], "what was painted before has other bands"
    assert told["grid"]["band"] > first["grid"]["band"]
    assert len(told["columns"]) == 3 + PATIENT_COLUMNS, "it is painted again, in the new ones"


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.integers(0, 10**6), st.sampled_from([1, 2, 5, 10, 50]),
    st.sampled_from([1, 2, 5, 10, 50]),
)  # fmt: skip
def test_nothing_is_lost_when_sums_move_into_other_bands(
    sums: list[int], row: int, old: int, new: int
) -> None:
    moment = _Moment(1, row, np.array(sums, np.float64), 7, 9, "live")
    moved = moment.moved(old, new, 1)
    assert moved.sums is not None
    assert moved.sums.sum() == pytest.approx(sum(sums))
    assert moved.sums.min() >= 0
    assert moved.row * new <= row * old
    assert (moved.row + len(moved.sums)) * new >= (row + len(sums)) * old
    if old % new == 0:
        whole = moved.sums[(row * old) // new - moved.row :]
        back = [whole[at : at + old // new].sum() for at in range(0, len(whole), old // new)]
        assert back[: len(sums)] == pytest.approx(sums)


def test_a_wider_price_moves_the_picture_along() -> None:
    """The exponent in force is the widest seen: the same prices become ten times as many mantissas."""
    book = Fixed([(1000 - n, 10) for n in range(50)], [(1001 + n, 10) for n in range(50)])
    view = _view(book)
    view.look(NOW_MS)
    before = _told(view)

    class Wider(Fixed):
        def read(self, depth: int | None = None) -> Snapshot:
            return super().read(depth)._replace(price_exponent=-2)

    view.turn_to(
        Wider([(10_000 - 10 * n, 10) for n in range(50)], [(10_010 + 10 * n, 10) for n in range(50)]), ""
    )
    view.look(NOW_MS + COLUMN_MS)
    after = _told(view)
    assert after["grid"]["exponent"] == -2
    assert len(after["columns"]) == 2
    price = [
        each["columns"][0][3] * each["grid"]["band"] * 10.0 ** each["grid"]["exponent"]
        for each in (before, after)
    ]
    assert price[0] == pytest.approx(price[1], rel=1e-3)
    assert price[0] == pytest.approx(100, rel=1e-3)


def test_a_book_of_one_level_has_room_around_it() -> None:
    view = _view(Fixed([(1000, 1500)], [(1010, 1500)]))
    view.look(NOW_MS)
    told = _told(view)
    assert told["grid"]["band"] * told["grid"]["rows"] >= 12 * 10
    assert told["ladder"]["middle"] == "100.5"


def test_levels_far_away_dont_make_the_rest_small() -> None:
    near = [(10_000 - n, 10) for n in range(40)], [(10_001 + n, 10) for n in range(40)]
    views = []
    for far in ([], [(1_000, 10)]):
        view = _view(Fixed(near[0] + far, near[1]))
        view.look(NOW_MS)
        views.append(_told(view)["grid"])
    assert views[0]["band"] == views[1]["band"]


def test_a_collector_that_starts_anew() -> None:
    book = PretendBook(1)
    view = _view(book)
    view.look(NOW_MS)
    view.turn_to(None, "no recorder runs")
    assert _told(view)["ladder"] == {"state": None, "trouble": "no recorder runs"}
    assert not view.look(NOW_MS + COLUMN_MS)
    view.turn_to(PretendBook(2), "")
    assert view.look(NOW_MS + 2 * COLUMN_MS)
    assert "bids" in _told(view)["ladder"]


@given(st.integers(1, 10**18), st.integers(8, 200))
def test_bands_are_as_narrow_as_they_may_be(reach: int, rows: int) -> None:
    band = band_width(reach, rows)
    assert band * rows >= reach
    assert str(band).rstrip("0") in ("1", "2", "5")
    assert band == 1 or band * rows < 2.5 * reach + 2.5 * rows
