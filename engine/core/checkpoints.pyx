"""Checkpoints of feeds, lines and symbols: the core's state (src/tb_engine.h) as the notes of schemas.notes, and back."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from engine.core.core cimport *
from engine.core.merge cimport merge_of, restore_merge
from engine.core.readings cimport gap_of, levels_of, number_of_state, state_of
from engine.core.values cimport name_of, optional, required, topic_of
from engine.core.whole cimport *

from schemas.notes import FeedCheckpoint, LineCheckpoint, Shared, TickerState
from schemas.tables import CAUSES, TICKER_FIELDS

_TEXT_FIELDS = tuple(i for i, field in enumerate(TICKER_FIELDS) if field.kind == "text")


# ---- what feeds share ----

cdef object shared_of(const tb_engine *engine):
    """Exponent pairs and lines, as ``Shared``."""
    symbols = {}
    for i in range(engine.symbol_count):
        symbols[name_of(engine.symbols[i])] = (engine.symbols[i].price_decimals, engine.symbols[i].size_decimals)
    lines = []
    for i in range(engine.line_count):
        lines.append(LineCheckpoint(i, optional(engine.lines[i].damage_sequence), optional(engine.lines[i].good_ns),
                                    gap_of(&engine.lines[i].gap)))
    return Shared(symbols=symbols, lines=lines)


cdef int restore_lines(tb_engine *engine, const checkpoint_functions *core, object lines) except -1:
    """Take up the lines of a ``Shared``."""
    cdef tb_line *line
    for item in lines:
        line = core.line(engine, item.line)
        if line == NULL:
            raise MemoryError
        line.damage_sequence = required(item.damage_sequence)
        line.good_ns = required(item.good_ns)
        _restore_gap(&line.gap, item.gap)
    return 0


cdef int _restore_gap(tb_gap *gap, object note) except -1:
    """Take up an ``OpenGap``, or None."""
    memset(gap, 0, sizeof(tb_gap))
    if note is not None:
        gap.open = 1
        gap.cause = CAUSES.index(note.cause)
        gap.start_ns = note.start_ns
        gap.start_match_ms = required(note.start_match_ms)
        gap.reach_ns = gap.start_ns if note.reach_ns is None else note.reach_ns
        gap.reach_match_ms = gap.start_match_ms if note.reach_ns is None else required(note.reach_match_ms)
        gap.first_update_id = required(note.first_update_id)
    return 0


# ---- a feed ----

cdef object checkpoint_of(const tb_feed *feed, uint64_t digest):
    """The feed's whole state, as a ``FeedCheckpoint``; ``digest`` is the core's, of its book."""
    cdef bint has_digest = feed.state == TB_LIVE and (feed.kind == TB_KIND_BOOK or feed.kind == TB_KIND_RPI)
    rpi = [levels_of(feed.rpi, side, None) if feed.rpi != NULL else [] for side in range(2)]
    return FeedCheckpoint(
        topic=topic_of(feed), state=state_of(feed).value, line=feed.line, subscribed=feed.subscribed == 1,
        left=feed.subscribed == 2, crossed=bool(feed.crossed), update_id=optional(feed.update_id),
        cross_sequence=optional(feed.cross_sequence), match_ms=optional(feed.match_ms), push_ms=optional(feed.push_ms),
        receive_ns=optional(feed.receive_ns), sequence=optional(feed.sequence), since_digest=feed.since_digest,
        seen=[(feed.seen[i].low, feed.seen[i].high) for i in range(feed.seen_count)],
        digest=f"{digest:016x}" if has_digest else None,
        bids=levels_of(&feed.book, 0, None), asks=levels_of(&feed.book, 1, None), rpi_bids=rpi[0], rpi_asks=rpi[1],
        gap=gap_of(&feed.gap), ticker=_ticker_of(feed), trade_ids=_trade_ids_of(feed).hex(),
        carried=bool(feed.carried), merge=merge_of(feed),
    )


cdef int restore_feed(tb_feed *feed, const checkpoint_functions *core, object note) except -1:
    """Take up a ``FeedCheckpoint``; the feed has its topic."""
    feed.state = number_of_state(note.state)
    feed.line = note.line
    feed.subscribed = 2 if note.left else note.subscribed
    feed.carried = note.carried
    restore_merge(feed, note.merge)
    if feed.trade_ids != NULL and note.merge is not None:
        _make_room(feed, core, note.merge.trade_room)
    feed.crossed = note.crossed
    feed.update_id = required(note.update_id)
    feed.cross_sequence = required(note.cross_sequence)
    feed.match_ms = required(note.match_ms)
    feed.push_ms = required(note.push_ms)
    feed.receive_ns = feed.last_receive_ns = required(note.receive_ns)
    feed.sequence = required(note.sequence)
    feed.since_digest = note.since_digest
    feed.keyframe_push_ms = feed.push_ms
    _restore_gap(&feed.gap, note.gap)
    feed.seen_count = 0
    for low, high in note.seen[-TB_SEEN_RANGES:]:
        feed.seen[feed.seen_count].low = low
        feed.seen[feed.seen_count].high = high
        feed.seen_count += 1
    if feed.kind == TB_KIND_RPI:
        _restore_book(feed.rpi, core, feed.depth, note.rpi_bids, note.rpi_asks)
    if feed.kind == TB_KIND_BOOK or feed.kind == TB_KIND_RPI:
        _restore_book(&feed.book, core, feed.depth, note.bids, note.asks)
    if feed.ticker != NULL and note.ticker is not None:
        _restore_ticker(feed.ticker, note.topic, note.ticker)
    if feed.trade_ids != NULL:
        _restore_trade_ids(feed.trade_ids, core, bytes.fromhex(note.trade_ids))
    return 0


# ---- what only feeds of one kind have ----

cdef int _restore_book(tb_book *book, const checkpoint_functions *core, int32_t depth, list bids, list asks) except -1:
    cdef tb_changes changes[2]
    cdef Py_ssize_t total = len(bids) + len(asks)
    cdef int64_t *memory = <int64_t *>malloc(4 * max(total, 1) * sizeof(int64_t))
    cdef int64_t *prices = memory
    cdef int64_t *sizes = memory + total
    if memory == NULL:
        raise MemoryError
    try:
        for side, source in enumerate((bids, asks)):
            for i, (price, size) in enumerate(source):
                prices[<int>i] = price
                sizes[<int>i] = size
            core.sort_changes(prices, sizes, len(source), side, <tb_level *>(memory + 2 * total))
            changes[<int>side].prices = prices
            changes[<int>side].sizes = sizes
            changes[<int>side].count = len(source)
            prices += len(source)
            sizes += len(source)
        if core.load_book(book, changes) != TB_OK:
            raise ValueError(f"found {len(bids)} bids and {len(asks)} asks, expected at most {2 * depth} of each: twice the depth")
    finally:
        free(memory)
    return 0


cdef object _ticker_of(const tb_feed *feed):
    """The fields of a LIVE ticker, as ``TickerState``; None for other feeds."""
    cdef const tb_ticker *ticker = feed.ticker
    if ticker == NULL or feed.state != TB_LIVE:
        return None
    values = {}
    for i in range(TB_TICKER_FIELDS):
        if ticker.present >> i & 1 and i not in _TEXT_FIELDS:
            values[i] = str(int.from_bytes((<const uint8_t *>&ticker.values[i])[:16], "little", signed=True))
    texts = tuple(
        ticker.texts[i].bytes[:ticker.texts[i].length].decode() if ticker.present >> field & 1 else ""
        for i, field in enumerate(_TEXT_FIELDS)
    )
    return TickerState(ticker.keys, ticker.present, values, texts)


cdef int _restore_ticker(tb_ticker *ticker, str topic, object note) except -1:
    cdef bytes raw
    ticker.keys = note.keys
    ticker.present = note.present
    for i, text in note.values.items():
        if not 0 <= i < TB_TICKER_FIELDS:
            raise ValueError(f"{topic}: found ticker field {i}, expected one of 0..{TB_TICKER_FIELDS - 1}")
        raw = int(text).to_bytes(16, "little", signed=True)
        memcpy(&ticker.values[<int>i], PyBytes_AS_STRING(raw), 16)
    for i, text in enumerate(note.texts):
        raw = text.encode()[:TB_TEXT_BYTES]
        ticker.texts[<int>i].length = len(raw)
        memcpy(ticker.texts[<int>i].bytes, PyBytes_AS_STRING(raw), len(raw))
    return 0


cdef bytes _trade_ids_of(const tb_feed *feed):
    """The trade ids that are remembered, 16 bytes each, oldest first."""
    cdef const tb_trade_ids *ids = feed.trade_ids
    if ids == NULL:
        return b""
    first = ids.at if ids.count == ids.room else 0
    return b"".join((<const uint8_t *>&ids.hash[(first + i) % ids.room][0])[:16] for i in range(ids.count))


cdef int _restore_trade_ids(tb_trade_ids *ids, const checkpoint_functions *core, bytes raw) except -1:
    cdef uint64_t hashed[2]
    for i in range(len(raw) // 16):
        memcpy(hashed, PyBytes_AS_STRING(raw) + 16 * <Py_ssize_t>i, 16)
        core.remember_trade(ids, hashed)
    return 0


cdef int _make_room(tb_feed *feed, const checkpoint_functions *core, int32_t room) except -1:
    """Remember as many trade ids as the other engine did."""
    cdef tb_trade_ids *grown
    if room <= feed.trade_ids.room:
        return 0
    if room > TB_MOST_TRADE_IDS or room & (room - 1):
        raise ValueError(f"found room for {room} trade ids, expected a power of two up to {TB_MOST_TRADE_IDS}")
    grown = core.copy_trades(feed.trade_ids, room)
    if grown == NULL:
        raise MemoryError
    free(feed.trade_ids)
    feed.trade_ids = grown
    return 0
