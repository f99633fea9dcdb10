/* Feeds without ids over several lines: a copy is known by its bytes (tb_merge.h). */
#include "tb_internal.h"

static tb_copy *copy_at(tb_merge *merge, int64_t ordinal)
{
    return &merge->copies[ordinal % TB_COPIES];
}

static int64_t oldest(const tb_merge *merge, int64_t from)
{
    const int64_t kept = merge->next_copy - TB_COPIES;
    from = from > kept ? from : kept;
    return from > merge->first_copy ? from : merge->first_copy;
}

/* The oldest such frame that this carrier hasn't brought, or -1; *known: there is one, whoever brought it. */
static int64_t find_copy(tb_merge *merge, uint64_t hash, uint8_t bit, int *known)
{
    for (int64_t i = oldest(merge, 0); i < merge->next_copy; i++)
        if (merge->hashes[i % TB_COPIES] == hash) {
            *known = 1;
            if (!(copy_at(merge, i)->lines & bit))
                return i;
        }
    return -1;
}

static void add_copy(tb_merge *merge, uint64_t hash, const tb_frame *frame, int32_t slot, int taken, int opening, tb_stamp at)
{
    const int64_t ordinal = merge->next_copy++;
    merge->hashes[ordinal % TB_COPIES] = hash;
    *copy_at(merge, ordinal) = (tb_copy){frame->push_ms,
                                         frame->match_ms,
                                         at.receive_ns,
                                         (uint8_t)(1u << slot),
                                         (uint8_t)taken,
                                         (uint8_t)opening,
                                         (uint8_t)!merge->carriers[slot].met};
}

/* A frame that another line has brought before: what of theirs did this one not bring, and which of both is it that shows
 * whether they carry the same? Returns whether something is lost that only others brought and that nobody followed. */
static int compare(tb_merge *merge, tb_carrier *carrier, int64_t ordinal)
{
    const int32_t slot = (int32_t)(carrier - merge->carriers);
    const uint8_t bit = (uint8_t)(1u << slot);
    int32_t missed = 0, lost = 0, own = 0;
    for (int64_t i = oldest(merge, carrier->place + 1); carrier->met && i < ordinal; i++) {
        const tb_copy *copy = copy_at(merge, i);
        own |= copy->lines == bit;
        if (copy->exempt || (copy->lines & bit))
            continue;
        missed++;
        lost |= !copy->taken;
        if (copy->taken && copy->lines && (copy->lines & (copy->lines - 1)) == 0)
            merge->carriers[__builtin_ctz(copy->lines)].saved++;
    }
    merge->alike += 1 - TB_MISS * missed;
    if (merge->alike > TB_MOST_ALIKE)
        merge->alike = TB_MOST_ALIKE;
    if (merge->alike < 0)
        merge->alike = 0;
    for (int32_t i = 0; i < merge->count; i++) { /* it has met those who were before it, and they it */
        tb_carrier *one = &merge->carriers[i];
        if (!(copy_at(merge, ordinal)->lines >> i & 1) || !one->up)
            continue;
        if (one == carrier || !one->met)
            one->place = ordinal > one->place ? ordinal : one->place;
        /* what it brought behind this one, before the others came so far, counts from now on */
        for (int64_t j = ordinal + 1; !one->met && j < merge->next_copy; j++)
            if (copy_at(merge, j)->lines >> i & 1)
                copy_at(merge, j)->exempt = 0;
        one->met = 1;
    }
    return lost && !own;
}

/* A gap behind the frame of an ordinal, where that is still known; else behind the feed's last good one. */
static void lose(tb_engine *engine, int32_t index, int cause, int64_t ordinal, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    if (feed->state != TB_LIVE)
        return;
    if (ordinal >= 0 && ordinal >= oldest(feed->merge, 0)) {
        const tb_copy *copy = copy_at(feed->merge, ordinal);
        tb_make_stale_since(engine, index, cause, copy->receive_ns, copy->match_ms, at);
    } else {
        tb_make_stale(engine, index, cause, at);
    }
}

/* The newest frame that was followed and is not newer than this one, or -1. */
static int64_t before(tb_merge *merge, int64_t push_ms)
{
    for (int64_t i = merge->next_copy; i-- > oldest(merge, 0);)
        if (copy_at(merge, i)->taken && copy_at(merge, i)->push_ms <= push_ms)
            return i;
    return -1;
}

int tb_has_pending(const tb_merge *merge, int32_t slot)
{
    for (int64_t i = merge->next_copy; i-- > oldest(merge, 0);) {
        const tb_copy *copy = &merge->copies[i % TB_COPIES];
        if (copy->taken)
            return 0;
        if (copy->lines >> slot & 1 && !copy->opening)
            return 1;
    }
    return 0;
}

tb_verdict tb_admit_copy(tb_engine *engine, int32_t index, tb_carrier *carrier, const tb_frame *frame, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    tb_merge *merge = feed->merge;
    const int32_t slot = (int32_t)(carrier - merge->carriers);
    const uint64_t hash = tb_hash(engine->bytes, engine->length, 4);
    const int needs_snapshot = feed->kind == TB_KIND_TICKER && !feed->depth, live = feed->state == TB_LIVE;
    const int opening = !carrier->opened, is_elected = slot == merge->elected;
    const int64_t place = carrier->place, push_ms = frame->push_ms;
    int known = 0;
    carrier->opened = 1;
    if (is_elected)
        merge->unanswered = 0;
    if (needs_snapshot && !live && frame->kind == TB_SNAPSHOT) {
        merge->first_copy = merge->next_copy;
        for (int32_t i = 0; i < merge->count; i++)
            merge->carriers[i].met = 0;
        carrier->met = 1;
        merge->elected = slot;
        merge->head_ms = merge->chain_ms = push_ms;
        add_copy(merge, hash, frame, slot, 1, opening, at);
        return TB_TAKE;
    }
    const int64_t copy = find_copy(merge, hash, (uint8_t)(1u << slot), &known);
    if (copy >= 0) {
        copy_at(merge, copy)->lines |= (uint8_t)(1u << slot);
        const int lost = compare(merge, carrier, copy);
        if (copy_at(merge, copy)->taken || !is_elected || (needs_snapshot && !live))
            return TB_COPY;
        if (lost)
            lose(engine, index, TB_CAUSE_LOST, place, at);
        copy_at(merge, copy)->taken = 1;
        if (push_ms > merge->head_ms)
            merge->head_ms = push_ms;
        return TB_TAKE;
    }
    if (needs_snapshot && !live) { /* a row that is not applied: another line's copy of it may be, behind a snapshot */
        add_copy(merge, hash, frame, slot, 0, opening, at);
        return TB_TAKE;
    }
    if (live && push_ms < merge->chain_ms && tb_wait(merge, at.receive_ns))
        return TB_COPY; /* older than the snapshot that the state began with */
    const int alike = merge->alike >= TB_ALIKE && carrier->met, may_lead = is_elected || alike;
    if (known && !(may_lead && push_ms >= merge->head_ms))
        return TB_COPY; /* the same line again, late */
    if (!may_lead) {
        add_copy(merge, hash, frame, slot, 0, opening, at);
        const tb_carrier *elected = &merge->carriers[merge->elected];
        const int64_t heard_ns = elected->heard_ns > elected->since_ns ? elected->heard_ns : elected->since_ns;
        if (++merge->unanswered < TB_UNANSWERED || at.receive_ns - heard_ns <= TB_SILENCE_NS)
            return TB_COPY;
        lose(engine, index, TB_CAUSE_SILENCE, -1, at);
        merge->elected = slot;
        merge->unanswered = 0;
        copy_at(merge, merge->next_copy - 1)->taken = !needs_snapshot;
        merge->head_ms = push_ms;
        return TB_TAKE;
    }
    if (live && push_ms < merge->head_ms) {
        if (alike) {
            lose(engine, index, TB_CAUSE_LOST, before(merge, push_ms), at);
            add_copy(merge, hash, frame, slot, 1, opening, at);
            return TB_LATE;
        }
        if (feed->line != carrier->line && tb_wait(merge, at.receive_ns))
            return TB_COPY; /* the line before it has brought that, in its own words */
    }
    if (is_elected)
        carrier->met = 1;
    if (feed->line != carrier->line || push_ms > merge->head_ms || !live)
        merge->head_ms = push_ms;
    add_copy(merge, hash, frame, slot, 1, opening, at);
    return TB_TAKE;
}
