"""What an engine has to tell, as Python has it: events, gaps, levels, counts. Nothing here changes anything."""

from engine.core.core cimport *
from engine.core.delays cimport histogram_of
from engine.core.values cimport name_of, optional, topic_of
from engine.core.whole cimport *

from engine.events import ERRORS, Event, EventKind
from schemas.names import FeedState
from schemas.notes import OpenGap
from schemas.tables import CAUSES

HEALERS = ("snapshot", "message", "subscribed", "end", "gap")
cdef tuple STATES = (FeedState.EMPTY, FeedState.SYNCING, FeedState.LIVE, FeedState.STALE)


cdef object state_of(const tb_feed *feed):
    """The feed's ``FeedState``."""
    return STATES[feed.state]


cdef int number_of_state(object state) except -1:
    """How the core has it."""
    return STATES.index(FeedState(state))


cdef list events_of(const tb_engine *engine):
    """The events that wait, oldest first."""
    cdef list out = []
    cdef const tb_event *e
    for i in range(engine.event_count):
        e = &engine.events[i]
        if e.type == EventKind.UNDECODABLE:
            detail = ERRORS[e.detail]
        elif e.type <= EventKind.GAP_CLOSED:
            detail = CAUSES[e.detail]
        else:
            detail = ""
        out.append(Event(
            EventKind(e.type), "" if e.feed < 0 else topic_of(engine.feeds[e.feed]),
            "" if e.symbol < 0 else name_of(engine.symbols[e.symbol]), detail,
            HEALERS[e.healer] if e.type == EventKind.GAP_CLOSED else None,
            e.line, e.sequence, e.receive_ns, optional(e.match_ms), optional(e.first_update_id),
            optional(e.last_update_id), e.start_ns, optional(e.start_match_ms), optional(e.update_id),
            e.digest, e.price_decimals, e.size_decimals,
        ))
    return out


cdef object gap_of(const tb_gap *gap):
    """An open gap as ``OpenGap``, or None."""
    if not gap.open:
        return None
    moved = gap.reach_ns != gap.start_ns
    return OpenGap(
        CAUSES[gap.cause], gap.start_ns, optional(gap.start_match_ms), optional(gap.first_update_id),
        gap.reach_ns if moved else None, optional(gap.reach_match_ms) if moved else None,
    )


cdef list levels_of(const tb_book *book, int side, object most):
    """The best ``most`` levels of a side (None: all held) as (price, size) mantissas, best first."""
    cdef tb_level level
    cdef list out = []
    cdef int32_t i, count = <int32_t>levels_wanted(most, book.sides[side].count, book.sides[side].count)
    for i in range(count):
        level = tb_book_level(book, side, i)
        out.append((level.price, level.size))
    return out


cdef dict counters_of_feed(const tb_feed *feed):
    """Counts of one feed, and its stamps."""
    return {
        "messages": feed.messages, "rows": feed.rows, "repeats": feed.repeats, "unapplied": feed.unapplied,
        "last_receive_ns": optional(feed.last_receive_ns), "last_push_ms": optional(feed.push_ms),
        "last_match_ms": optional(feed.match_ms),
    }


cdef dict counters_of(const tb_engine *engine):
    """Counts of the whole engine."""
    return {
        "undecodable": {ERRORS[i]: engine.undecodable[i] for i in range(1, TB_ERROR_COUNT) if engine.undecodable[i]},
        "unattributed": engine.unattributed,
        "controls": engine.controls,
        "unknown_topics": engine.unknown_topics,
        "drift": engine.drift,
        "events_lost": engine.events_lost,
        "rows_lost": engine.rows_lost,
    }


cdef dict delays_of(const tb_engine *engine):
    """{class of topics: (match to receive, push to receive)}."""
    cdef dict out = {}
    cdef const tb_class_delays *delays = engine.delays
    if delays != NULL:
        for i in range(delays.count):
            name = delays.names[i].text[:delays.names[i].length].decode()
            out[name] = (histogram_of(&delays.match[i]), histogram_of(&delays.push[i]))
    return out
