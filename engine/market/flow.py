"""One symbol's order flow: limit, cancel and market orders in bursts around a drifting fair price."""

from __future__ import annotations

import math
import random
from collections import deque
from itertools import islice
from typing import Final, NamedTuple

from sortedcontainers import SortedDict

from engine.market.fair import FairValue
from engine.market.listing import Listing

__all__ = ["RECENT_TRADES", "OrderFlow", "Statistics", "Trade"]

RECENT_TRADES: Final = 1_000

_BTC_EVENTS_PER_SECOND: Final = 115.0
_BRANCHING: Final = 0.55
"""Share of events set off by earlier ones: the burstiness of a self-exciting process."""
_DECAY_PER_SECOND: Final = 12.0

_TRADE_SHARE: Final = 0.14
_REQUOTE_SHARE: Final = 0.17
_PLACE_SHARE: Final = 0.37
_OPTION_SPREAD: Final = 0.03
"""Usual distance of an option's bid and ask, as a share of its value."""
_USUAL_GAP: Final = 5e-6
"""Usual distance of neighbouring levels near the touch, as a share of the price."""
_OPTION_GAP: Final = 0.02
_REPLENISH_TRIES: Final = 4
_MAX_REQUOTED: Final = 150
_MAX_SWEPT_LEVELS: Final = 40
_SLACK_LEVELS: Final = 10

PLUS, ZERO_PLUS, MINUS, ZERO_MINUS = "PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick"


class Trade(NamedTuple):
    """One fill.

    Attributes:
        number: ordinal of the trade in its symbol, from 1; its identity.
        time_ns: when it was matched.
        is_buy: taker side.
        sequence: of the match; the fills of one order share it.
    """

    number: int
    time_ns: int
    is_buy: bool
    ticks: int
    lots: int
    tick_direction: str
    sequence: int


class Statistics:
    """Running figures that tickers tell: prices in ticks, sizes in lots."""

    __slots__ = (
        "high",
        "last",
        "low",
        "open_lots",
        "previous_day",
        "previous_hour",
        "tick_direction",
        "turnover",
        "volume",
    )

    def __init__(self, opening: int, typical_lots: float) -> None:
        self.last = opening
        self.previous_day = max(1, round(opening * 0.983))
        self.previous_hour = max(1, round(opening * 0.9975))
        self.high = max(opening, round(opening * 1.022))
        self.low = max(1, round(opening * 0.973))
        self.volume = int(typical_lots * 500_000)
        self.turnover = self.volume * opening
        self.open_lots = int(typical_lots * 100_000)
        self.tick_direction = ZERO_PLUS


class OrderFlow:
    """The matching engine of one symbol.

    The same seed gives the same history however often and in whatever steps :meth:`run_until` is called.

    Attributes:
        bids, asks: lots by key; an ask's key is its price in ticks, a bid's the negative of it, so that both
            are sorted best first.
        sequence: cross sequence of the latest event.
        match_ns: its time.
        version: count of events.
        statistics: what tickers tell.
        recent: the latest trades, oldest first.
        trades_total: ordinal of the latest trade.
    """

    __slots__ = (
        "_base_rate",
        "_excitation",
        "_new_trades",
        "_next_ns",
        "_random",
        "asks",
        "bids",
        "fair",
        "listing",
        "match_ns",
        "recent",
        "sequence",
        "statistics",
        "trades_total",
        "version",
    )

    def __init__(self, listing: Listing, seed: int, start_ns: int, rate: float) -> None:
        self.listing = listing
        self.fair = FairValue(listing, seed)
        self._random = random.Random(f"flow/{seed}/{listing.category.value}/{listing.symbol}")
        mean_rate = _BTC_EVENTS_PER_SECOND * listing.activity * rate
        self._base_rate = mean_rate * (1.0 - _BRANCHING)
        self._excitation = 0.0
        self.bids: SortedDict[int, int] = SortedDict()
        self.asks: SortedDict[int, int] = SortedDict()
        self.sequence = 10**11 + self._random.randrange(9 * 10**11)
        self.match_ns = start_ns
        self.version = 0
        self.recent: deque[Trade] = deque(maxlen=RECENT_TRADES)
        self.trades_total = 0
        self._new_trades: list[Trade] = []
        opening = round(self.fair.ticks(start_ns))
        self.statistics = Statistics(opening, listing.typical_lots)
        self._open(opening)
        self._next_ns = start_ns
        self._schedule(start_ns)

    def run_until(self, now_ns: int) -> None:
        """Play every event up to and including a moment."""
        while self._next_ns <= now_ns:
            moment = self._next_ns
            self._event(moment)
            self._schedule(moment)

    def take_trades(self) -> list[Trade]:
        """Return the trades since the last call, oldest first."""
        trades, self._new_trades = self._new_trades, []
        return trades

    def window(self, depth: int) -> tuple[dict[int, int], dict[int, int]]:
        """Copy the best ``depth`` levels of bids and asks, keyed as the sides are."""
        return dict(islice(self.bids.items(), depth)), dict(islice(self.asks.items(), depth))

    def _schedule(self, now_ns: int) -> None:
        # Ogata's thinning: draw from the present intensity, which only decays until the next event, and
        # accept by what is left of it.
        draw = self._random.random
        wait_s = 0.0
        excitation = self._excitation
        while True:
            ceiling = self._base_rate + excitation
            step_s = -math.log(1.0 - draw()) / ceiling
            wait_s += step_s
            excitation *= math.exp(-_DECAY_PER_SECOND * step_s)
            if draw() * ceiling <= self._base_rate + excitation:
                break
        self._excitation = excitation + _BRANCHING * _DECAY_PER_SECOND
        self._next_ns = now_ns + 1 + int(wait_s * 1e9)

    def _event(self, now_ns: int) -> None:
        draw = self._random.random
        self.sequence += 1 + int(draw() * 60)
        self.match_ns = now_ns
        self.version += 1
        fair = self.fair.ticks(now_ns)
        pull = self._pull(fair)
        choice = draw()
        upward = draw() < 0.5 + pull
        if choice < _TRADE_SHARE:
            self._take(upward, fair, chase=abs(pull) > 0.44)
        elif choice < _TRADE_SHARE + _REQUOTE_SHARE:
            self._requote(self.bids if draw() < 0.5 else self.asks)
        elif choice < _TRADE_SHARE + _REQUOTE_SHARE + _PLACE_SHARE:
            self._place(upward, fair)
        else:
            # What trades upward also withdraws its offers.
            self._withdraw(self.asks if upward else self.bids)
        self._keep_shape(self.bids, self.listing.levels[0])
        self._keep_shape(self.asks, self.listing.levels[1])

    def _pull(self, fair: float) -> float:
        """How far the book lags behind the fair price, -0.45 … 0.45; positive asks for higher prices."""
        if not self.bids or not self.asks:
            return 0.0
        best_bid: int = -self.bids.peekitem(0)[0]
        best_ask: int = self.asks.peekitem(0)[0]
        lag = fair - (best_bid + best_ask) / 2
        return max(-0.45, min(0.45, lag / (4.0 + 2.0 * (best_ask - best_bid))))

    def _size(self, scale: float = 1.0) -> int:
        lots = self._random.lognormvariate(0.0, 1.3) * self.listing.typical_lots * scale
        return max(1, int(lots))

    def _index(self, count: int) -> int:
        # Pareto: half of all activity at the best price, a long tail into the book.
        return min(count - 1, int((1.0 - self._random.random()) ** -1.1) - 1)

    def _take(self, is_buy: bool, fair: float, *, chase: bool) -> None:
        side: SortedDict[int, int] = self.asks if is_buy else self.bids
        left = self._size(0.6)
        if chase:
            left *= 20
        limit = fair if is_buy else -fair
        for _ in range(_MAX_SWEPT_LEVELS):
            if left <= 0 or len(side) < 2:
                break
            key, resting = side.peekitem(0)
            if chase and key > limit:
                break
            filled = min(left, resting)
            left -= filled
            if filled == resting:
                del side[key]
            else:
                side[key] = resting - filled
            self._fill(is_buy, abs(key), filled)

    def _fill(self, is_buy: bool, ticks: int, lots: int) -> None:
        statistics = self.statistics
        if ticks > statistics.last:
            direction = PLUS
        elif ticks < statistics.last:
            direction = MINUS
        else:
            direction = ZERO_PLUS if statistics.tick_direction in (PLUS, ZERO_PLUS) else ZERO_MINUS
        pieces = 1
        while lots > pieces * 4 and pieces < 6 and self._random.random() < 0.45:
            pieces += 1
        share = lots // pieces
        for piece in range(pieces):
            part = share if piece else lots - share * (pieces - 1)
            self.trades_total += 1
            trade = Trade(self.trades_total, self.match_ns, is_buy, ticks, part, direction, self.sequence)
            self._new_trades.append(trade)
            self.recent.append(trade)
            direction = ZERO_PLUS if direction in (PLUS, ZERO_PLUS) else ZERO_MINUS
        statistics.tick_direction = self.recent[-1].tick_direction
        statistics.last = ticks
        statistics.high = max(statistics.high, ticks)
        statistics.low = min(statistics.low, ticks)
        statistics.volume += lots
        statistics.turnover += lots * ticks
        statistics.open_lots = max(lots, statistics.open_lots + self._random.randint(-lots, lots))

    def _place(self, is_bid: bool, fair: float) -> None:
        side, other = (self.bids, self.asks) if is_bid else (self.asks, self.bids)
        if not side:
            return
        if other:
            best = side.peekitem(0)[0]
            spread = other.peekitem(0)[0] + best
            usual = self._usual_spread(fair)
            if spread > usual and self._random.random() < 0.4 + 0.1 * (spread / usual):
                # Inside the spread, close to what the thing is worth; never across it.
                retreat = usual / 2 + (1.0 - self._random.random()) ** -0.7 - 1.0
                key = math.ceil((-fair if is_bid else fair) + retreat)
                key = max(best - spread + 1, min(best - 1, key))
                if key != 0 and (key < 0) == is_bid:
                    side[key] = self._size()
                    return
        self._touch(side, self._index(len(side)))

    def _usual_spread(self, fair: float) -> int:
        return 1 if self.listing.option is None else max(1, int(fair * _OPTION_SPREAD))

    def _touch(self, side: SortedDict[int, int], index: int) -> None:
        """Put a new level into the gap behind a level, or change the level's size."""
        key, lots = side.peekitem(index)
        if index + 1 < len(side):
            gap = side.peekitem(index + 1)[0] - key
            step = self._step(key, index)
            # The wider the gap, the likelier that somebody fills it.
            if gap > 1 and self._random.random() < 0.5 + 0.1 * (gap / step):
                side[key + min(gap - 1, step)] = self._size()
                return
        side[key] = max(1, lots + self._size(0.5) * (1 if self._random.random() < 0.5 else -1))

    def _step(self, key: int, index: int) -> int:
        """Draw the distance from one level to the next further one."""
        return 1 + int(self._usual_gap(key, index) * -math.log(1.0 - self._random.random()))

    def _usual_gap(self, key: int, index: int) -> float:
        share = _USUAL_GAP if self.listing.option is None else _OPTION_GAP
        return abs(key) * share * (1 + index / 200)

    def _withdraw(self, side: SortedDict[int, int]) -> None:
        if len(side) < 2:
            return
        key, lots = side.peekitem(self._index(len(side)))
        if self._random.random() < 0.4:
            del side[key]
        else:
            side[key] = max(1, int(lots * self._random.random()))

    def _requote(self, side: SortedDict[int, int]) -> None:
        """A market maker renews a run of levels at once."""
        if len(side) < 4:
            return
        count = min(_MAX_REQUOTED, int(3 * (1.0 - self._random.random()) ** -0.8), len(side) - 2)
        first = int((len(side) - 1 - count) * self._random.random() ** 4)
        for key in side.keys()[first : first + count]:
            if self._random.random() < 0.3 and len(side) > 2:
                lots = side.pop(key)
                if key != -1 and key + 1 not in side and self._random.random() < 0.8:
                    side[key + 1] = lots
            else:
                side[key] = self._size()

    def _open(self, opening: int) -> None:
        bid_levels, ask_levels = self.listing.levels
        spread = self._usual_spread(opening)
        best_bid = max(1, opening - (spread + 1) // 2)
        if bid_levels:
            self.bids[-best_bid] = self._size()
        self.asks[best_bid + spread] = self._size()
        self._keep_shape(self.bids, bid_levels)
        self._keep_shape(self.asks, ask_levels)

    def _keep_shape(self, side: SortedDict[int, int], levels: int) -> None:
        """Hold a side's level count and reach: quote anew near the touch what was taken, cut the far end."""
        if not levels:
            return
        reach = side.peekitem(-1)[0] - side.peekitem(0)[0]
        if len(side) > levels + _SLACK_LEVELS or reach > 2 * levels * (
            1 + self._usual_gap(side.peekitem(0)[0], levels // 2)
        ):
            side.popitem(-1)
        while len(side) < levels:
            if not self._replenish(side):
                break

    def _replenish(self, side: SortedDict[int, int]) -> bool:
        """Add a level where one is missing, or else at the far end; False at the lowest possible price."""
        for _ in range(_REPLENISH_TRIES):
            index = self._index(len(side)) * 8 + int(8 * self._random.random())
            if index + 1 < len(side):
                key = side.peekitem(index)[0]
                gap = side.peekitem(index + 1)[0] - key
                if gap > 2 + 2 * self._usual_gap(key, index):
                    side[key + min(gap - 1, self._step(key, index))] = self._size()
                    return True
        far = side.peekitem(-1)[0]
        key = far + self._step(far, len(side))
        if far < 0 <= key:
            return False
        side[key] = self._size()
        return True
