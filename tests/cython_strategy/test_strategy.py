"""A strategy compiled against the installed headers decides as its Python twin does, and with no Python inside."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from math import isnan
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import engine.core
from engine.core.book import Book
from engine.core.drive import Driver
from engine.core.feeds import Engine
from engine.measures import Fill
from recorder.archive import open_archive
from recorder.time_travel import replay
from schemas.names import Category
from schemas.time import format_ns
from tests.recorder.recordings import SECOND, START_NS
from tests.recorder.test_time_travel import TOPICS, drive_journal, recorded

pytest.importorskip("Cython", reason="compiles a strategy (the dev extra)")
pytest.importorskip("setuptools", reason="compiles a strategy (the dev extra)")
if shutil.which("cc") is None:
    pytest.skip("compiles a strategy and finds no C compiler", allow_module_level=True)

HERE = Path(__file__).parent
CORE = Path(engine.core.__file__).parent

BUILD = """
from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    name="strategy",
    ext_modules=cythonize(
        [
            Extension(name, [name + ".pyx"], include_dirs=[{headers!r}], extra_compile_args=["-Wall", "-Werror"])
            for name in ("strategy", "probe", "follower")
        ],
        include_path=[{root!r}],
        language_level=3,
    ),
    script_args=["-q", "build_ext", "--inplace"],
)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of what was compiled, and of the C that Cython made of it."""
    directory = tmp_path_factory.mktemp("strategy")
    for source in HERE.glob("*.pyx"):
        shutil.copy(source, directory)
    script = BUILD.format(headers=str(CORE / "src"), root=str(CORE.parents[1]))
    made = subprocess.run([sys.executable, "-c", script], cwd=directory, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return directory


def _load(built: Path, name: str) -> ModuleType:
    (path,) = [path for path in built.glob(f"{name}.*") if path.suffix in (".so", ".pyd")]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def strategy(built: Path) -> ModuleType:
    return _load(built, "strategy")


@pytest.fixture(scope="module")
def probe(built: Path) -> ModuleType:
    return _load(built, "probe")


class Twin:
    """The strategy again, in Python over the books' Python face."""

    def __init__(self, shallow: Book, deep: Book, levels: int, lean: float, clip: int, limit: float) -> None:
        self.shallow, self.deep = shallow, deep
        self.levels, self.lean, self.clip, self.limit = levels, lean, clip, limit
        self.seen: int | None = None
        self.position = self.decisions = self.cash = 0

    def on_frame(self) -> int:
        mid = self.deep.mid
        if not (self.shallow.live and self.deep.live) or mid is None or self.deep.crossed:
            return 0
        if self.deep.update_id == self.seen:
            return 0
        self.seen = self.deep.update_id
        self.decisions += 1
        lean = self.shallow.imbalance(self.levels)
        if lean is None or abs(lean) < self.lean:
            return 0
        fill: Fill = self.deep.cost_to_fill("buy" if lean > 0 else "sell", self.clip)
        sign = 1 if lean > 0 else -1
        if not fill.complete or fill.average_price is None or (fill.average_price - mid) * sign > self.limit:
            return 0
        self.position += sign * fill.filled
        self.cash -= sign * fill.notional
        return sign * fill.filled


def _frames(random: Random, count: int) -> list[bytes]:
    """Snapshots and deltas of two depths around a wandering mid; some are lost, which makes a book stale."""
    out, middle, update_ids = [], 10_000, {50: 0, 200: 0}
    for i in range(count):
        depth = random.choice([50, 200])
        middle += random.choice([-1, 0, 1])
        snapshot = update_ids[depth] == 0 or i % 40 == depth % 7
        update_ids[depth] += 1
        places = range(1, 40) if snapshot else sorted(random.sample(range(1, 40), 6))
        sides = [
            [[str(middle + way * place), str(random.choice([0, 1, 5, 30]))] for place in places]
            for way in (-1, 1)
        ]
        if not snapshot:  # what the mid has passed goes
            sides[0] += [[str(middle + place), "0"] for place in range(4)]
            sides[1] += [[str(middle - place), "0"] for place in range(4)]
        topic = f"orderbook.{depth}.BTCUSDT"
        data = {"s": "BTCUSDT", "b": sides[0], "a": sides[1], "u": update_ids[depth], "seq": i}
        kind = "snapshot" if snapshot else "delta"
        frame = {"topic": topic, "type": kind, "ts": 1_000 + i, "data": data, "cts": 1_000 + i}
        if random.random() > 0.02:
            out.append(json.dumps(frame).encode())
    return out


def test_it_decides_as_its_twin_does(strategy: ModuleType) -> None:
    feeds = Engine(Category.LINEAR)
    shallow, deep = (feeds.book(feeds.add_feed(f"orderbook.{depth}.BTCUSDT")) for depth in (50, 200))
    arguments = (5, 0.25, 20, 6.0)
    taker, twin = strategy.Taker(shallow, deep, *arguments), Twin(shallow, deep, *arguments)
    bought = sold = stale = 0
    for sequence, frame in enumerate(_frames(Random(7), 3_000)):
        assert feeds.apply(frame, sequence, sequence) >= 0
        traded = taker.on_frame()
        assert traded == twin.on_frame()
        bought, sold, stale = bought + (traded > 0), sold + (traded < 0), stale + (not deep.live)
    assert (taker.position, taker.cash, taker.decisions) == (twin.position, twin.cash, twin.decisions)
    assert min(bought, sold, stale) > 20, "the frames left something untried"


def test_a_loop_over_levels(strategy: ModuleType) -> None:
    feeds = Engine(Category.LINEAR)
    book = feeds.book(feeds.add_feed("orderbook.50.BTCUSDT"))
    assert strategy.weighted_ladder(book, 10) == 0
    for sequence, frame in enumerate(_frames(Random(3), 200)):
        feeds.apply(frame, sequence, sequence)
    expected = sum(
        int(price) * int(size) / (1 + place)
        for levels in (book.bid_levels, book.ask_levels)
        for place, (price, size) in enumerate(levels[:10])
    )
    assert strategy.weighted_ladder(book, 10) == pytest.approx(expected, rel=1e-12)


def test_the_decision_is_plain_c(built: Path) -> None:
    """`nogil` lets nothing else compile; this says it once more, of the C that came out."""
    text = (built / "strategy.c").read_text()
    body = re.search(
        r"^static int64_t __pyx_f_8strategy_5Taker_decide\([^;]*?\) \{\n(.*?)^\}", text, re.S | re.M
    )
    assert body is not None
    code = re.sub(r"/\*.*?\*/", "", body.group(1), flags=re.S)
    assert "tb_" in code
    assert re.findall(r"\b(?:Py[A-Z]\w+|__Pyx_(?:INC|DEC|X?GOT|GIVE)REF)\b", code) == []


def test_it_takes_no_other_object(strategy: ModuleType) -> None:
    with pytest.raises(TypeError, match="Book"):
        strategy.Taker(Book(1), "book", 5, 0.5, 1, 1.0)
    with pytest.raises(TypeError, match="None"):
        strategy.Taker(None, Book(1), 5, 0.5, 1, 1.0)


# ---- what the Python face refuses before it gets here ----

NOTHING = (0, 0, 0, 0)  # filled, notional, worst price, touched
MAX = 2**63 - 1
BIDS, ASKS = 0, 1


@pytest.fixture
def book() -> Book:
    book = Book(2)
    prices, sizes = np.array([[10, 9, 8], [11, 12, 13]]), np.array([[1, 2, 3], [4, 5, 6]])
    book.load(prices[0], sizes[0], prices[1], sizes[1], 0, 0)
    return book


@pytest.mark.parametrize("i", [-1, -(2**31), 2, 3, 2**31 - 1])
def test_a_level_that_is_not_there(probe: ModuleType, book: Book, i: int) -> None:
    assert probe.level(book, BIDS, i) == probe.level(book, ASKS, i) == (0, 0)
    assert (probe.level(book, BIDS, 1), probe.level(book, ASKS, 1)) == ((9, 2), (12, 5))


def test_an_empty_book_in_c(probe: ModuleType) -> None:
    assert probe.best(Book(2)) == (0, 0, 0, 0)
    mid_doubled, spread, *ratios = probe.prices(Book(2))
    assert (mid_doubled, spread) == (0, 0)
    assert all(isnan(ratio) for ratio in ratios)
    assert probe.depth_within(Book(2), 1) == (-1, -1)
    assert probe.depth_profile(Book(2), 1, 4) == (False, [77] * 4)


@pytest.mark.parametrize("levels", [0, -1, -(2**31)])
def test_no_levels(probe: ModuleType, book: Book, levels: int) -> None:
    assert probe.cumulative_size(book, levels) == (0, 0)


def test_more_levels_than_the_depth(probe: ModuleType, book: Book) -> None:
    assert probe.cumulative_size(book, 2**31 - 1) == (3, 9)


@pytest.mark.parametrize("width", [-1, -(2**63)])
def test_negative_widths(probe: ModuleType, book: Book, width: int) -> None:
    assert probe.depth_within(book, width) == (-1, -1)
    assert probe.depth_profile(book, width, 4) == (False, [77] * 4)


@pytest.mark.parametrize(
    ("width", "buckets"), [(1, 0), (1, -1), (1, -(2**31)), (MAX, 2), (MAX // 4 + 1, 4), (2**33, 2**31 - 1)]
)
def test_a_profile_without_an_answer(probe: ModuleType, book: Book, width: int, buckets: int) -> None:
    assert probe.depth_profile(book, width, buckets) == (False, [77] * 4)


def test_a_profile_as_wide_as_can_be(probe: ModuleType, book: Book) -> None:
    assert probe.depth_profile(book, MAX // 4, 4) == (True, [3, 0, 0, 0])
    assert probe.depth_within(book, MAX) == (3, 9)


@pytest.mark.parametrize("size", [-1, -(2**63)])
def test_a_negative_size(probe: ModuleType, book: Book, size: int) -> None:
    *fill, complete, average = probe.cost_to_fill(book, ASKS, size)
    assert (tuple(fill), complete, isnan(average)) == (NOTHING, False, True)


@pytest.mark.parametrize("notional", [-1, -(2**127), MAX**2 + 1, 2**127 - 1])
def test_a_notional_out_of_bounds(probe: ModuleType, book: Book, notional: int) -> None:
    *fill, complete, average = probe.size_for_notional(book, ASKS, notional)
    assert (tuple(fill), complete, isnan(average)) == (NOTHING, False, True)


# ---- a book of one's own, driven from C ----


def _columns(*sides: list[tuple[int, int]]) -> list[np.ndarray[Any, Any]]:
    return [np.array([level[i] for level in side], dtype=np.int64) for side in sides for i in (0, 1)]


def test_a_book_changed_from_c_is_the_one_changed_from_python(probe: ModuleType) -> None:
    random, ours, theirs = Random(11), Book(3), Book(3)
    for turn in range(400):
        bids, asks = (
            [(price, random.randint(0, 3)) for price in sorted(random.sample(prices, random.randint(0, 4)))]
            for prices in (range(90, 101), range(99, 110))
        )
        bids.reverse()
        replace = turn % 50 == 0
        expected = theirs.changes_of(*_columns(bids, asks), -2, -3, replace=replace)
        told = [(change.side == "ask", *change[1:]) for change in expected.levels]
        for capacity in (8, 1, 0):
            assert probe.changes_of(ours, bids, asks, replace, capacity) == (len(told), told[:capacity])
        if replace:
            theirs.load(*_columns(bids, asks), -2, -3)
            assert probe.load(ours, bids, asks, 2, 3) == "ok"
        else:
            assert probe.apply(ours, bids, asks) == ("ok", theirs.apply(*_columns(bids, asks), -2, -3))
        assert ours.digest == theirs.digest == ours.recomputed_digest()
        assert (ours.bids(20), ours.asks(20)) == (theirs.bids(20), theirs.asks(20))


@pytest.mark.parametrize(
    ("bids", "asks", "why"),
    [
        ([(9, 1), (10, 1)], [], "duplicate level"),
        ([(9, 1), (9, 2)], [], "duplicate level"),
        ([], [(12, 1), (11, 1)], "duplicate level"),
        ([(9, -1)], [], "bad number"),
        ([], [(11, -(2**63))], "bad number"),
        ([(-(2**63), 1)], [], "decimal"),
    ],
)
def test_changes_from_c_that_no_book_can_take(
    probe: ModuleType, book: Book, bids: list[tuple[int, int]], asks: list[tuple[int, int]], why: str
) -> None:
    before = (book.digest, book.bids(9), book.asks(9))
    assert probe.load(book, bids, asks) == why
    assert probe.apply(book, bids, asks) == (why, -1)
    assert (book.digest, book.bids(9), book.asks(9)) == before


def test_of_a_view_c_changes_nothing(probe: ModuleType, book: Book) -> None:
    feeds = Engine(Category.LINEAR)
    view = feeds.book(feeds.add_feed("orderbook.50.BTCUSDT"))
    assert probe.load(view, [(9, 1)], []) == "bad value"
    assert probe.apply(view, [(9, 1)], []) == ("bad value", -1)
    assert probe.changes_of(view, [(9, 1)], [], False, 8) == (1, [(0, 9, 0, 1, 0)])
    assert view.counts == (0, 0)
    assert probe.load(book, [(9, 1)], [], 19) == probe.load(book, [(9, 1)], [], 0, 2**32 - 1) == "decimal"
    assert probe.load(book, [(9, 1)], [], counted=-2) == "bad number"
    assert book.best_bid == (10, 1)


def test_a_compiled_strategy_follows_a_replay_as_it_followed_live(built: Path, tmp_path: Path) -> None:
    module = _load(built, "follower")
    data = recorded(tmp_path, lost=(40, 41))
    live = module.Follower(10)
    engine = Engine(Category.LINEAR)
    for topic in TOPICS:
        engine.add_feed(topic)
    drive_journal(data, Driver(engine, live))
    replayed = module.Follower(10)
    with open_archive(data) as archive:
        replay(archive, ["BTCUSDT", "ETHUSDT"], format_ns(START_NS), format_ns(START_NS + 9 * SECOND)).run(
            replayed
        )
    for name in ("seen", "stale", "position", "bought"):
        assert getattr(replayed, name) == getattr(live, name) > 0, name
