/* Lines of a feed: who carries it, and which of their frames the feed follows (tb_merge.h). */
#include <stdlib.h>
#include <string.h>

#include "tb_internal.h"

tb_carrier *tb_find_carrier(tb_merge *merge, uint16_t line)
{
    for (int32_t i = 0; i < merge->count; i++)
        if (merge->carriers[i].line == line)
            return &merge->carriers[i];
    return NULL;
}

static tb_carrier *place_for(tb_merge *merge, uint16_t line)
{
    tb_carrier *carrier = tb_find_carrier(merge, line);
    if (carrier)
        return carrier;
    if (merge->count < TB_CARRIERS)
        return &merge->carriers[merge->count++];
    for (int32_t i = 0; i < merge->count; i++)
        if (!merge->carriers[i].up)
            return &merge->carriers[i];
    return NULL;
}

tb_carrier *tb_join(tb_merge *merge, uint16_t line, int64_t receive_ns)
{
    const tb_carrier *known = tb_find_carrier(merge, line);
    tb_carrier *carrier = place_for(merge, line);
    if (!carrier)
        return NULL;
    const int32_t slot = (int32_t)(carrier - merge->carriers);
    if (!known) {
        memset(carrier, 0, sizeof *carrier);
        carrier->left = TB_NONE;
    }
    carrier->line = line;
    carrier->up = 1;
    carrier->opened = carrier->met = 0;
    carrier->untold = 0;
    carrier->position = carrier->place = carrier->heard_ns = carrier->hurt_ns = carrier->hurt_sequence = TB_NONE;
    carrier->said_ms = carrier->missed_ms = TB_NONE;
    carrier->since_ns = receive_ns;
    for (int32_t i = 0; i < TB_COPIES; i++)
        merge->copies[i].lines &= (uint8_t)~(1u << slot);
    if (!merge->carriers[merge->elected].up)
        merge->elected = slot;
    return carrier;
}

/* From here on the feed has lines; the one that it had is the elected one. NULL when memory is out. */
static tb_merge *begin_merge(tb_feed *feed, int64_t receive_ns)
{
    tb_merge *merge = calloc(1, sizeof *merge);
    if (!merge)
        return NULL;
    merge->waiting_ns = merge->head_ms = merge->chain_ms = TB_NONE;
    tb_carrier *first = tb_join(merge, feed->line, feed->state == TB_LIVE ? 0 : receive_ns);
    first->opened = feed->receive_ns != TB_NONE;
    if (feed->state == TB_LIVE) {
        first->met = 1;
        first->position = feed->update_id;
        /* a feed of rare messages may have had none yet: its silence counts from here */
        first->heard_ns = feed->receive_ns != TB_NONE ? feed->receive_ns : receive_ns;
        merge->head_ms = feed->kind == TB_KIND_DRIVEN ? TB_NONE : feed->push_ms;
    }
    feed->merge = merge;
    return merge;
}

void tb_carry(tb_feed *feed, tb_stamp at)
{
    if (!feed->merge && (feed->line == at.line || !(feed->carried || feed->state == TB_LIVE) ||
                         !begin_merge(feed, at.receive_ns))) {
        feed->line = at.line;
        feed->carried = 1;
    } else {
        (void)tb_join(feed->merge, at.line, at.receive_ns);
    }
}

int tb_carries(const tb_feed *feed, uint16_t line)
{
    if (!feed->merge)
        return feed->line == line && (feed->carried || feed->state == TB_LIVE);
    const tb_carrier *carrier = tb_find_carrier(feed->merge, line);
    return carrier && carrier->up;
}

int tb_wait(tb_merge *merge, int64_t receive_ns)
{
    if (merge->waiting_ns == TB_NONE || receive_ns < merge->waiting_ns) /* or the clock was set back */
        merge->waiting_ns = receive_ns;
    return receive_ns - merge->waiting_ns <= TB_WAIT_NS;
}

int tb_may_be_brought(const tb_feed *feed, int64_t u, tb_stamp at)
{
    const tb_merge *merge = feed->merge;
    for (int32_t i = 0; merge && i < merge->count; i++) {
        const tb_carrier *other = &merge->carriers[i];
        if (other->line != at.line && other->up && (other->position == TB_NONE || other->position < u))
            return 1;
    }
    return 0;
}

/* The others' positions are of a chain that has ended; whoever was away misses this one from its beginning on. */
static void begin_chain(tb_merge *merge, const tb_carrier *carrier, int64_t u)
{
    for (int32_t i = 0; i < merge->count; i++) {
        tb_carrier *other = &merge->carriers[i];
        if (other == carrier)
            continue;
        other->position = TB_NONE;
        if (other->left != TB_NONE)
            other->left = u - 1;
    }
}

static tb_verdict wait_or_take(const tb_feed *feed, tb_carrier *carrier, tb_stamp at)
{
    /* the next id, the largest one aside */
    const int64_t next = feed->update_id == INT64_MAX ? INT64_MAX : feed->update_id + 1;
    if (tb_may_be_brought(feed, next, at) && tb_wait(feed->merge, at.receive_ns)) {
        carrier->ahead++;
        return TB_COPY;
    }
    return TB_TAKE;
}

static tb_verdict admit_snapshot(tb_engine *engine, int32_t index, tb_carrier *carrier, const tb_frame *frame, int order,
                                 tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    const int64_t u = frame->update_id, last = feed->update_id;
    const int leads = carrier->line == feed->line && carrier->position != TB_NONE;
    /* A chain that has moved on has a newer sequence than its first snapshot had: the same one begins another chain. */
    const int same = u < last && feed->cross_sequence != TB_NONE && frame->cross_sequence == feed->cross_sequence;
    const int restarts = u <= last && (order > 0 || (u == 1 && order == 0 && (same || !tb_seen(feed, 1))));
    /* One that skips what another line may still bring is ahead, whoever brings it. */
    const int skips = u > last && u - 1 > last && tb_may_be_brought(feed, last + 1, at);
    if ((leads && !skips) || restarts) { /* on the stream that is followed it always counts (protocol section 4, rule 1) */
        if (restarts || u < last)
            begin_chain(feed->merge, carrier, u);
        carrier->position = u;
        return TB_TAKE;
    }
    if (order < 0 && u > last && !leads) /* of a chain that has ended */
        return TB_COPY;
    carrier->position = u;
    if (u <= last)
        return TB_COPY;
    const tb_verdict verdict = wait_or_take(feed, carrier, at);
    if (verdict == TB_TAKE && u - 1 > last)
        tb_make_stale(engine, index, TB_CAUSE_LOST, at);
    return verdict;
}

static tb_verdict admit_delta(const tb_feed *feed, tb_carrier *carrier, const tb_frame *frame, int order, tb_stamp at)
{
    const int64_t u = frame->update_id, last = feed->update_id;
    if (u > last && order < 0) /* of a chain that has ended */
        return TB_COPY;
    if (u <= last && order > 0) { /* of a chain that nobody has begun yet: ours is behind it */
        carrier->position = INT64_MAX;
        return wait_or_take(feed, carrier, at);
    }
    if (carrier->position == TB_NONE || u > carrier->position)
        carrier->position = u;
    if (u <= last)
        return TB_COPY;
    return u - 1 == last ? TB_TAKE : wait_or_take(feed, carrier, at);
}

static tb_verdict admit_book(tb_engine *engine, int32_t index, tb_carrier *carrier, const tb_frame *frame, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    const int64_t ours = feed->cross_sequence, theirs = frame->cross_sequence;
    const int order = ours == TB_NONE || theirs == TB_NONE ? 0 : (theirs > ours) - (theirs < ours);
    if (feed->state != TB_LIVE) {
        if (frame->kind == TB_SNAPSHOT && (frame->update_id == 1 || frame->update_id < feed->update_id))
            begin_chain(feed->merge, carrier, frame->update_id);
        carrier->position = frame->update_id;
        return TB_TAKE;
    }
    return frame->kind == TB_SNAPSHOT ? admit_snapshot(engine, index, carrier, frame, order, at)
                                      : admit_delta(feed, carrier, frame, order, at);
}

/* A line that has come back: what it missed, the line that is followed has brought. */
static void count_absence(tb_feed *feed, tb_carrier *carrier)
{
    tb_carrier *leading = tb_find_carrier(feed->merge, feed->line);
    if (carrier->left == TB_NONE || carrier->position == TB_NONE)
        return;
    const int64_t missed = carrier->position - carrier->left;
    if (leading && leading != carrier && missed > 0 && missed < INT32_MAX) /* more is no absence, but another numbering */
        leading->saved += missed;
    carrier->left = TB_NONE;
}

/* What the others lack, or nobody else was there to bring. */
static int is_saved(const tb_merge *merge, const tb_carrier *carrier, int64_t u)
{
    int others = 0;
    for (int32_t i = 0; i < merge->count; i++) {
        const tb_carrier *other = &merge->carriers[i];
        if (other == carrier || !other->up)
            continue;
        others++;
        if (u != TB_NONE && other->position > u)
            return 1;
    }
    return others == 0 && u == TB_NONE; /* update ids tell when a line comes back */
}

tb_verdict tb_admit(tb_engine *engine, int32_t index, const tb_frame *frame, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    if (!feed->merge && (!(feed->carried || feed->state == TB_LIVE) || !begin_merge(feed, at.receive_ns))) {
        feed->line = at.line;
        feed->carried = 1;
        return TB_TAKE;
    }
    tb_merge *merge = feed->merge;
    tb_carrier *carrier = tb_find_carrier(merge, at.line);
    if (TB_UNLIKELY(!carrier || !carrier->up) && !(carrier = tb_join(merge, at.line, at.receive_ns)))
        return TB_COPY;
    const int64_t ahead = carrier->ahead;
    const int consecutive = tb_has_consecutive_ids(feed);
    tb_verdict verdict = TB_TAKE;
    carrier->frames++;
    if (consecutive) {
        verdict = admit_book(engine, index, carrier, frame, at);
        count_absence(feed, carrier);
    }
    else if (feed->kind != TB_KIND_TRADES)
        verdict = tb_admit_copy(engine, index, carrier, frame, at);
    carrier->heard_ns = at.receive_ns;
    if (feed->kind == TB_KIND_TRADES)
        return verdict;
    if (verdict == TB_COPY) {
        carrier->repeats += carrier->ahead == ahead;
        feed->repeats += carrier->ahead == ahead;
        return verdict;
    }
    merge->waiting_ns = TB_NONE;
    carrier->taken++;
    carrier->saved += is_saved(merge, carrier, consecutive ? frame->update_id : TB_NONE);
    return verdict;
}

void tb_count_trades(tb_feed *feed, int64_t rows, int64_t repeats, tb_stamp at)
{
    tb_carrier *carrier = feed->merge ? tb_find_carrier(feed->merge, at.line) : NULL;
    if (!carrier)
        return;
    carrier->taken += rows > 0;
    carrier->repeats += rows == 0 && repeats > 0;
    carrier->saved += rows > 0 && is_saved(feed->merge, carrier, TB_NONE);
}

/* Whether a line that is up can be trusted to bring whatever another was about to bring. */
static int can_succeed(const tb_feed *feed, int32_t slot, int64_t receive_ns)
{
    const tb_merge *merge = feed->merge;
    const tb_carrier *carrier = &merge->carriers[slot];
    if (!carrier->up)
        return 0;
    if (tb_has_consecutive_ids(feed))
        return carrier->position != TB_NONE && carrier->position <= feed->update_id;
    return receive_ns - carrier->since_ns >= TB_OVERLAP_NS && !tb_has_pending(merge, slot) && !tb_has_untold(merge, slot);
}

/* The best one, or -1: one that carries the feed's own bytes before one that hasn't shown it. */
static int32_t successor(const tb_feed *feed, int64_t receive_ns)
{
    int32_t found = -1;
    for (int32_t i = 0; i < feed->merge->count; i++)
        if (can_succeed(feed, i, receive_ns) && (found < 0 || (feed->merge->carriers[i].met && !feed->merge->carriers[found].met)))
            found = i;
    return found;
}

static int32_t first_up(const tb_merge *merge)
{
    for (int32_t i = 0; i < merge->count; i++)
        if (merge->carriers[i].up)
            return i;
    return -1;
}

void tb_drop_line(tb_engine *engine, int32_t index, int cause, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    tb_merge *merge = feed->merge;
    if (!merge) {
        if (feed->line != at.line)
            return;
        feed->carried = 0;
        if (feed->state == TB_LIVE)
            tb_make_stale(engine, index, cause, at);
        return;
    }
    tb_carrier *lost = tb_find_carrier(merge, at.line);
    if (!lost || !lost->up)
        return;
    lost->up = lost->met = 0;
    if (lost->position != TB_NONE) /* else it left before, and has brought nothing since */
        lost->left = lost->position;
    lost->position = TB_NONE;
    const int copies = feed->kind != TB_KIND_TRADES && !tb_has_consecutive_ids(feed);
    if (copies)
        tb_count_uncopied(merge, lost);
    int32_t next = first_up(merge);
    const int led = merge->carriers[merge->elected].line == at.line;
    if (next >= 0) {
        const int32_t good = led || tb_has_consecutive_ids(feed) || feed->kind == TB_KIND_TRADES
                                 ? successor(feed, at.receive_ns) : merge->elected;
        if (good < 0 && feed->state == TB_LIVE && copies)
            tb_lose_untold(engine, index, cause, at);
        else if (good < 0 && feed->state == TB_LIVE)
            tb_make_stale(engine, index, cause, at);
        if (good >= 0)
            next = good;
        if (led) {
            merge->elected = next;
            merge->unanswered = 0;
        }
        if (feed->line == at.line)
            feed->line = merge->carriers[next].line;
    } else if (feed->state == TB_LIVE) {
        tb_make_stale(engine, index, cause, at);
    }
}

void tb_leave(tb_engine *engine, int32_t index, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    int others = 0;
    for (int32_t i = 0; feed->merge && i < feed->merge->count; i++)
        others |= feed->merge->carriers[i].up && feed->merge->carriers[i].line != at.line;
    if (others) {
        tb_drop_line(engine, index, TB_CAUSE_DISCONNECT, at);
    } else if (tb_carries(feed, at.line)) {
        if (feed->merge)
            tb_find_carrier(feed->merge, at.line)->up = 0;
        feed->carried = 0;
        feed->subscribed = 2;
    }
}

int tb_is_covered(tb_feed *feed, tb_stamp at)
{
    tb_merge *merge = feed->merge;
    if (!tb_carries(feed, at.line)) /* then it is nothing that anybody relied on */
        return feed->state == TB_LIVE;
    if (!merge)
        return 0;
    tb_carrier *hurt = tb_find_carrier(merge, at.line);
    int covered = 0;
    for (int32_t i = 0; i < merge->count && feed->state == TB_LIVE; i++) {
        const tb_carrier *other = &merge->carriers[i];
        if (other == hurt || !other->up)
            continue;
        if (tb_has_consecutive_ids(feed)) /* the next ids will tell */
            covered |= other->position == TB_NONE || other->position <= feed->update_id;
        else
            covered |= at.receive_ns - other->since_ns >= TB_OVERLAP_NS &&
                       (other->hurt_ns == TB_NONE || at.receive_ns - other->hurt_ns > TB_HURT_NS);
    }
    hurt->hurt_ns = at.receive_ns;
    hurt->hurt_sequence = at.sequence;
    return covered;
}

int tb_was_hurt(const tb_feed *feed)
{
    for (int32_t i = 0; feed->merge && i < feed->merge->count; i++)
        if (feed->merge->carriers[i].hurt_sequence > feed->sequence)
            return 1;
    return 0;
}
