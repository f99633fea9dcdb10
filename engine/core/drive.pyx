"""A strategy behind an engine: what it is told of, frame by frame, be the frames live or those of an archive.

The engine does the work; a `Driver` tells the strategy of each book that changed, of trades that were new and of feeds whose
state changed, once the engine has taken the frame. So the books are those behind the frame.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint16_t, uint8_t, uintptr_t

from engine.core.core cimport (
    TB_KIND_BOOK, TB_KIND_RPI, TB_KIND_TRADES, TB_LIVE, TB_NONE, TB_RESULT_DRIVEN, tb_engine, tb_engine_apply, tb_feed, tb_trade,
)
from engine.core.whole cimport *

import numpy as np

from engine.strategy import Moment, TradeSeen
from schemas.names import FeedState

cdef tuple _STATES = (FeedState.EMPTY, FeedState.SYNCING, FeedState.LIVE, FeedState.STALE)
cdef tuple _SIDES = ("buy", "sell")


cdef object _moment(const tb_moment *at):
    return Moment(at.sequence, at.receive_ns, at.push_ms, None if at.match_ms == TB_NONE else at.match_ms)


cdef class Strategy:
    """What is driven. Override what is of interest: in Python these methods, in Cython their c_ twins (drive.pxd).

    Feeds are the engine's indices. Prices and sizes are mantissas at the exponents that the engine has for the symbol.
    """

    def __cinit__(self, *arguments, **named):
        self.hears_books = type(self).on_book is not Strategy.on_book
        self.hears_trades = type(self).on_trades is not Strategy.on_trades
        self.hears_states = type(self).on_state is not Strategy.on_state

    cdef int c_on_book(self, int32_t feed, const tb_moment *at) except -1:
        if not self.hears_books:
            return 0
        self.on_book(feed, _moment(at))
        return 0

    cdef int c_on_trades(self, int32_t feed, const tb_moment *at, const tb_trade *trades, int32_t count) except -1:
        if not self.hears_trades:
            return 0
        self.on_trades(
            feed,
            _moment(at),
            [TradeSeen(_SIDES[trades[i].side], trades[i].price, trades[i].size, trades[i].match_ms) for i in range(count)],
        )
        return 0

    cdef int c_on_state(self, int32_t feed, const tb_moment *at, int state) except -1:
        if not self.hears_states:
            return 0
        self.on_state(feed, _moment(at), _STATES[state])
        return 0

    def begin(self, engine):
        """Called once, before anything else: the engine has the feeds, and books are to be had with ``engine.book(feed)``."""

    def on_book(self, feed, at):
        """A message changed or repeated a book; it is live, and as the message left it."""

    def on_trades(self, feed, at, trades):
        """A message brought trades that were not known."""

    def on_state(self, feed, at, state):
        """A feed became live, or is not any more. One of trades becomes live with a message, not when it is acknowledged."""


cdef class FanOut(Strategy):
    """Several strategies behind one driver. One that raises is detached, and neither the others nor the driver notice.

    Args:
        failed: told (strategy, what it raised) of one that was detached.
        slow: told (strategy, nanoseconds) of a call that took longer than ``slow_ns``.
        slow_ns: how long a call may take.
        clock: monotonic, nanoseconds.
    """

    def __init__(self, failed, slow, int64_t slow_ns, clock):
        self._failed, self._slow, self._clock = failed, slow, clock
        self._slow_ns = slow_ns
        self.strategies = ()
        self.engine = None

    def add(self, Strategy strategy not None):
        """Attach a strategy; behind `begin` its own is called, and what that raises comes out of here."""
        if self.engine is not None:
            strategy.begin(self.engine)
        self.strategies = (*self.strategies, strategy)

    def remove(self, Strategy strategy not None):
        """Detach it; nothing happens if it isn't attached."""
        self.strategies = tuple(each for each in self.strategies if each is not strategy)

    def begin(self, engine):
        self.engine = engine
        for strategy in self.strategies:
            try:
                strategy.begin(engine)
            except BaseException as error:
                self.fail(strategy, error)

    cdef int fail(self, Strategy strategy, error) except -1:
        self.remove(strategy)
        self._failed(strategy, error)
        return 0

    cdef int took(self, Strategy strategy, int64_t began) except -1:
        cdef int64_t took = <int64_t>self._clock() - began
        if took > self._slow_ns:
            self._slow(strategy, took)
        return 0

    # What a strategy raises must not come between two frames of a list, so nothing at all gets past these three.

    cdef int c_on_book(self, int32_t feed, const tb_moment *at) except -1:
        cdef Strategy strategy
        cdef int64_t began
        for strategy in self.strategies:
            began = self._clock()
            try:
                strategy.c_on_book(feed, at)
            except BaseException as error:
                self.fail(strategy, error)
            self.took(strategy, began)
        return 0

    cdef int c_on_trades(self, int32_t feed, const tb_moment *at, const tb_trade *trades, int32_t count) except -1:
        cdef Strategy strategy
        cdef int64_t began
        for strategy in self.strategies:
            began = self._clock()
            try:
                strategy.c_on_trades(feed, at, trades, count)
            except BaseException as error:
                self.fail(strategy, error)
            self.took(strategy, began)
        return 0

    cdef int c_on_state(self, int32_t feed, const tb_moment *at, int state) except -1:
        cdef Strategy strategy
        cdef int64_t began
        for strategy in self.strategies:
            began = self._clock()
            try:
                strategy.c_on_state(feed, at, state)
            except BaseException as error:
                self.fail(strategy, error)
            self.took(strategy, began)
        return 0


# What a driver that was never begun looks at in the place of its engine's flag: one look tells both.
cdef bint _NEVER_BEGUN = True


cdef class Driver:
    """Drives a strategy with what an engine takes.

    Args:
        engine: with its feeds; those that come later are driven too. Frames go to the driver from here on, not to it.
        strategy: told of everything. What it raises comes out of ``apply``; the engine has taken the frame all the same.

    It belongs to the engine's thread: while another thread's ``apply_batch`` is at work, everything raises RuntimeError.
    """

    def __cinit__(self):
        self.busy = &_NEVER_BEGUN

    def __init__(self, engine, Strategy strategy not None):
        cdef uintptr_t core = engine.core, busy = engine.busy_at
        taken, states = np.zeros(16, np.int64), np.zeros(16, np.intc)
        self.engine, self.strategy = engine, strategy
        self.core, self.busy = <tb_engine *>core, <const bint *>busy
        self.known = 0
        self._taken, self._states = taken, states
        if self.busy[0]:
            _refuse(self)
        self.grow()
        strategy.begin(engine)

    cdef int grow(self) except -1:
        """Feeds that are new are looked at as they are."""
        cdef tb_feed *f
        cdef int32_t i
        if self.core.feed_count > self._taken.shape[0]:
            size = 2 * self.core.feed_count
            taken, states = np.zeros(size, np.int64), np.zeros(size, np.intc)
            taken[:self.known], states[:self.known] = self._taken[:self.known], self._states[:self.known]
            self._taken, self._states = taken, states
        for i in range(self.known, self.core.feed_count):
            f = self.core.feeds[i]
            self._taken[i], self._states[i] = f.rows - f.unapplied, f.state
        self.known = self.core.feed_count
        return 0

    def apply(self, bytes frame not None, int64_t receive_ns, int64_t sequence, uint16_t line=0):
        """Take one frame, as ``Engine.apply``, and tell the strategy. Returns what that returns."""
        cdef tb_moment at
        at.sequence, at.receive_ns = sequence, receive_ns
        return self.one(<const uint8_t *>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), &at, line, True)

    def apply_all(self, const uint8_t[::1] payloads not None, const int64_t[::1] starts not None,
                  const int64_t[::1] ends not None, const int64_t[::1] receive_ns not None,
                  const int64_t[::1] sequences not None, const int32_t[::1] order not None, bint told=True):
        """Take frames that lie anywhere in a buffer.

        Args:
            payloads: the bytes.
            starts, ends, receive_ns, sequences: of each frame.
            order: which frames, one after the other.
            told: whether the strategy is told; if not, the engine alone takes them.
        """
        cdef tb_moment at
        cdef int64_t i
        cdef int32_t k
        cdef int64_t n = starts.shape[0], size = payloads.shape[0]
        if not (ends.shape[0] == receive_ns.shape[0] == sequences.shape[0] == n):
            raise ValueError("found columns of several lengths, expected one")
        for i in range(order.shape[0]):
            k = order[i]
            if not (0 <= k < n and 0 <= starts[k] <= ends[k] <= size):
                raise ValueError(f"found frame {k}, expected one of {n} within {size} bytes")
            at.sequence, at.receive_ns = sequences[k], receive_ns[k]
            if ends[k] > starts[k]:
                self.one(&payloads[starts[k]], ends[k] - starts[k], &at, 0, told)

    def acted(self, int64_t receive_ns, int64_t sequence):
        """Something else than a frame has acted on the engine, which its caller did: tell which states it changed, and of
        books that it made anew. Trades that it brought are told to nobody: they are of an earlier time."""
        cdef tb_moment at
        at.sequence, at.receive_ns, at.push_ms, at.match_ms = sequence, receive_ns, receive_ns // 1000000, TB_NONE
        self.look_at_all(&at, True)

    def said(self):
        """What the last frame said of a book: (bids, asks) as (price, size) mantissas, best first; a size of 0 removes."""
        cdef int32_t i
        cdef int side
        if self.busy[0]:
            _refuse(self)
        out = ([], [])
        for side in range(2):
            for i in range(self.core.frame.count[side]):
                out[side].append((self.core.frame.prices[side][i], self.core.frame.sizes[side][i]))
        return out

    def disconnect(self, uint16_t line, int64_t receive_ns, int64_t sequence):
        """A line is gone, as ``Engine.disconnect``."""
        if self.busy[0]:
            _refuse(self)
        self.engine.disconnect(line, receive_ns, sequence)
        self.acted(receive_ns, sequence)

    def stale(self, topic, cause, int64_t receive_ns, int64_t sequence, bint told=True):
        """A feed is not to be trusted any more, as ``Engine.stale``."""
        cdef tb_moment at
        if self.busy[0]:
            _refuse(self)
        self.engine.stale(topic, cause, receive_ns, sequence)
        at.sequence, at.receive_ns, at.push_ms, at.match_ms = sequence, receive_ns, receive_ns // 1000000, TB_NONE
        self.look_at_all(&at, told)

    cdef int32_t one(self, const uint8_t *frame, size_t length, tb_moment *at, uint16_t line, bint told) except? -1000:
        cdef int32_t feed
        if self.busy[0]:  # looked at once a frame: what a strategy does may let other threads in
            _refuse(self)
        feed = tb_engine_apply(self.core, frame, length, at.receive_ns, at.sequence, line)
        if feed <= TB_RESULT_DRIVEN:  # nothing was taken yet: its reader is the engine's
            feed = self.engine.apply(PyBytes_FromStringAndSize(<const char *>frame, length), at.receive_ns, at.sequence, line)
        at.push_ms, at.match_ms = self.core.frame.push_ms, self.core.frame.match_ms
        if feed >= 0:
            self.look(feed, at, told, True)
        else:
            at.push_ms, at.match_ms = at.receive_ns // 1000000, TB_NONE
            self.look_at_all(at, told)
        return feed

    cdef int look_at_all(self, tb_moment *at, bint told) except -1:
        """What is no feed's frame may have changed the state of any."""
        cdef int32_t i
        if self.busy[0]:
            _refuse(self)
        self.grow()
        for i in range(self.known):
            self.look(i, at, told, False)
        return 0

    cdef int look(self, int32_t feed, tb_moment *at, bint told, bint framed) except -1:
        """Tell what has changed since the feed was looked at last. What was seen is seen, whatever the strategy raises."""
        cdef tb_feed *f = self.core.feeds[feed]
        cdef int64_t taken = f.rows - f.unapplied, more
        cdef int state = f.state
        if feed >= self.known:  # added since, and this is its first frame
            self.grow()
            self._states[feed] = self._taken[feed] = 0
        more = taken - self._taken[feed]
        if f.kind == TB_KIND_TRADES and state == TB_LIVE and not framed:
            state = self._states[feed]  # told with its first message: an archive has no row of an acknowledgement
        # Whether a feed waits for its first message or for somebody to ask for it is nothing to a strategy.
        cdef bint changed = state != self._states[feed] and (state == TB_LIVE or self._states[feed] == TB_LIVE)
        self._taken[feed], self._states[feed] = taken, state
        if not told:
            return 0
        if changed:
            self.strategy.c_on_state(feed, at, state)
        if more > 0:
            if f.kind == TB_KIND_BOOK or f.kind == TB_KIND_RPI:
                self.strategy.c_on_book(feed, at)
            elif f.kind == TB_KIND_TRADES and framed:
                # Known ones of a message come first: it repeats what another ended with.
                more = min(more, <int64_t>self.core.frame.trade_count)
                self.strategy.c_on_trades(feed, at, self.core.frame.trades + self.core.frame.trade_count - more,
                                          <int32_t>more)
        return 0


cdef int _refuse(Driver driver) except -1:
    if driver.core == NULL:
        raise RuntimeError(f"found a {type(driver).__name__} that was never begun, expected its __init__ to call "
                           "Driver.__init__(engine, strategy)")
    raise RuntimeError(
        "another thread is applying a batch to this driver's engine; give each thread an engine of its own, or wait for it"
    )
