"""The lines of a feed between the C core (src/tb_merge.h) and its checkpoints."""

from libc.stdlib cimport calloc, free

from engine.core.core cimport *
from engine.core.values cimport optional, required
from engine.lines import LineShare
from schemas.notes import Carrier, Copy, MergeState


cdef object merge_of(const tb_feed *feed):
    """The feed's lines as a ``MergeState``, or None where it never had two."""
    cdef const tb_merge *m = feed.merge
    cdef const tb_carrier *c
    cdef const tb_copy *copy
    cdef int64_t i, first
    cdef int at
    if m == NULL:
        return None
    carriers = []
    for at in range(m.count):
        c = &m.carriers[at]
        carriers.append(Carrier(
            c.line, bool(c.up), bool(c.opened), bool(c.met), optional(c.position), optional(c.place), c.since_ns,
            optional(c.heard_ns), optional(c.hurt_ns), optional(c.hurt_sequence),
            c.untold, optional(c.said_ms), optional(c.missed_ms),
        ))
    copies = []
    first = max(m.first_copy, m.next_copy - TB_COPIES)
    for i in range(first, m.next_copy):
        copy = &m.copies[i % TB_COPIES]
        copies.append(Copy(
            f"{m.hashes[i % TB_COPIES]:016x}", copy.push_ms, optional(copy.match_ms), copy.receive_ns, copy.lines,
            copy.taken | copy.opening << 1 | copy.exempt << 2 | copy.again << 3,
        ))
    return MergeState(
        carriers, m.elected, m.alike, m.unanswered, optional(m.waiting_ns), optional(m.head_ms), optional(m.chain_ms),
        m.next_copy, copies, m.burst, m.burst_ns, feed.trade_ids.room if feed.trade_ids != NULL else 0,
    )


cdef int restore_merge(tb_feed *feed, object note) except -1:
    """Take up a ``MergeState``, or none."""
    cdef tb_merge *m
    cdef tb_carrier *c
    cdef tb_copy *copy
    cdef int64_t i
    free(feed.merge)
    feed.merge = NULL
    if note is None:
        return 0
    if not (0 < len(note.carriers) <= TB_CARRIERS and len(note.copies) <= min(TB_COPIES, note.next_copy)
            and 0 <= note.elected < len(note.carriers)):
        raise ValueError(f"found {len(note.carriers)} carriers, the elected one {note.elected}, and {len(note.copies)} copies "
                         f"before ordinal {note.next_copy}; expected at most {TB_CARRIERS} and {TB_COPIES}")
    m = <tb_merge *>calloc(1, sizeof(tb_merge))
    if m == NULL:
        raise MemoryError
    feed.merge = m
    m.count, m.elected, m.alike, m.unanswered = len(note.carriers), note.elected, note.alike, note.unanswered
    m.waiting_ns, m.head_ms, m.chain_ms = required(note.waiting_ns), required(note.head_ms), required(note.chain_ms)
    m.burst, m.burst_ns = note.burst, note.burst_ns
    m.next_copy = note.next_copy
    m.first_copy = note.next_copy - len(note.copies)
    for i, item in enumerate(note.carriers):
        c = &m.carriers[i]
        c.line, c.up, c.opened, c.met = item.line, item.up, item.opened, item.met
        c.position, c.place, c.since_ns = required(item.position), required(item.place), item.since_ns
        c.heard_ns, c.hurt_ns = required(item.heard_ns), required(item.hurt_ns)
        c.hurt_sequence = required(item.hurt_sequence)
        c.untold, c.said_ms, c.missed_ms = item.untold, required(item.said_ms), required(item.missed_ms)
    for i, item in enumerate(note.copies, m.first_copy):
        m.hashes[i % TB_COPIES] = int(item.hash, 16)
        copy = &m.copies[i % TB_COPIES]
        copy.push_ms, copy.match_ms, copy.receive_ns = item.push_ms, required(item.match_ms), item.receive_ns
        copy.lines, copy.taken = item.lines, item.flags & 1
        copy.opening, copy.exempt, copy.again = item.flags >> 1 & 1, item.flags >> 2 & 1, item.flags >> 3 & 1
    return 0


cdef list lines_of(const tb_feed *feed):
    """What each line did, as ``LineShare``."""
    cdef list out = []
    cdef const tb_carrier *c
    cdef int i
    if feed.merge != NULL:
        for i in range(feed.merge.count):
            c = &feed.merge.carriers[i]
            out.append(LineShare(c.line, bool(c.up), c.frames, c.taken, c.repeats, c.ahead, c.saved))
    return out
