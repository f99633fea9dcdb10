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

/* What is about to be forgotten, and not every line has brought. */
static void forget_oldest(tb_merge *merge)
{
    const tb_copy *copy = copy_at(merge, merge->next_copy - TB_COPIES);
    for (int32_t i = 0; copy->taken && i < merge->count; i++) {
        tb_carrier *one = &merge->carriers[i];
        if (!(copy->lines >> i & 1) && copy->receive_ns > one->since_ns && copy->push_ms > one->missed_ms)
            one->missed_ms = copy->push_ms;
    }
}

/* Whether a line is so far behind that what it brings may have been followed and forgotten. One that brings older frames
 * than before is not behind: the exchange's clock was set back. */
static int is_far_behind(tb_carrier *carrier, int64_t push_ms)
{
    if (push_ms == TB_NONE) /* a row by itself, that may come at any time */
        return 0;
    if (push_ms < carrier->said_ms)
        carrier->missed_ms = TB_NONE;
    carrier->said_ms = push_ms;
    return push_ms <= carrier->missed_ms;
}

static tb_copy *add_copy(tb_merge *merge, uint64_t hash, const tb_frame *frame, int32_t slot, int taken, int opening,
                         tb_stamp at)
{
    if (merge->next_copy - merge->first_copy >= TB_COPIES)
        forget_oldest(merge);
    const int64_t ordinal = merge->next_copy++;
    merge->hashes[ordinal % TB_COPIES] = hash;
    *copy_at(merge, ordinal) = (tb_copy){frame->push_ms,
                                         frame->match_ms,
                                         at.receive_ns,
                                         (uint8_t)(1u << slot),
                                         (uint8_t)taken,
                                         (uint8_t)opening,
                                         (uint8_t)!merge->carriers[slot].met,
                                         0};
    return copy_at(merge, ordinal);
}

/* A gap behind the frame of an ordinal, where that is still known; else behind the feed's last good one. In a gap that
 * is open, one up to where it begins, unless it holds that frame. */
static void lose(tb_engine *engine, int32_t index, int cause, int64_t ordinal, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    const int known = ordinal >= 0 && ordinal >= oldest(feed->merge, 0);
    const tb_copy *copy = known ? copy_at(feed->merge, ordinal) : NULL;
    if (feed->state != TB_LIVE) {
        if (known)
            tb_lengthen_gap(engine, index, cause, copy->receive_ns, copy->match_ms, at);
    } else if (known) {
        tb_make_stale_since(engine, index, cause, copy->receive_ns, copy->match_ms, at);
    } else {
        tb_make_stale(engine, index, cause, at);
    }
}

/* The newest frame that was followed and is older than this time (unknown: that came before this ordinal), or -1. */
static int64_t before(tb_merge *merge, int64_t push_ms, int64_t ordinal)
{
    for (int64_t i = merge->next_copy; i-- > oldest(merge, 0);)
        if (copy_at(merge, i)->taken && (push_ms == TB_NONE ? i < ordinal : copy_at(merge, i)->push_ms < push_ms))
            return i;
    return -1;
}

/* A frame that another line has brought before: what of theirs did this one not bring, and which of both is it that shows
 * whether they carry the same? *last_good, where something is lost that only others brought and that nobody followed: the
 * last frame ahead of it that was followed, or that this line was compared by. Returns whether something is lost. */
static int compare(tb_merge *merge, tb_carrier *carrier, int64_t ordinal, int is_taken, int64_t *last_good)
{
    const int32_t slot = (int32_t)(carrier - merge->carriers);
    const uint8_t bit = (uint8_t)(1u << slot);
    int64_t lost_ms = INT64_MAX, first = 0; /* when the oldest of it was pushed, and which that is */
    int32_t missed = 0, lost = 0, own = 0;
    for (int64_t i = oldest(merge, carrier->place + 1); carrier->met && i < ordinal; i++) {
        const tb_copy *copy = copy_at(merge, i);
        own |= copy->lines == bit;
        if (copy->push_ms > copy_at(merge, ordinal)->push_ms || copy->receive_ns <= carrier->since_ns)
            continue; /* of a line that is further ahead, or from before this one was subscribed */
        if (copy->exempt || (copy->lines & bit))
            continue;
        missed++;
        if (!copy->taken) {
            lost = 1;
            first = copy->push_ms < lost_ms ? i : first;
            lost_ms = copy->push_ms < lost_ms ? copy->push_ms : lost_ms;
        }
        if (copy->taken && copy->lines && (copy->lines & (copy->lines - 1)) == 0)
            merge->carriers[__builtin_ctz(copy->lines)].saved++;
    }
    const int64_t good = lost ? before(merge, lost_ms, first) : TB_NONE;
    *last_good = good > carrier->place ? good : carrier->place;
    merge->alike += 1 - TB_MISS * missed;
    if (merge->alike > TB_MOST_ALIKE)
        merge->alike = TB_MOST_ALIKE;
    if (merge->alike < 0)
        merge->alike = 0;
    for (int32_t i = 0; i < merge->count; i++) { /* it has met those who were before it, and they it, in what is followed */
        tb_carrier *one = &merge->carriers[i];
        if (!(copy_at(merge, ordinal)->lines >> i & 1) || !one->up)
            continue;
        if (one == carrier || !one->met)
            one->place = ordinal > one->place ? ordinal : one->place;
        if (!is_taken)
            continue;
        /* what it brought behind this one, before the others came so far, counts from now on */
        const int64_t behind = one == carrier ? merge->next_copy : ordinal + 1;
        for (int64_t j = behind; !one->met && j < merge->next_copy; j++)
            if (copy_at(merge, j)->lines >> i & 1 && !copy_at(merge, j)->opening) /* that is a line's own */
                copy_at(merge, j)->exempt = 0;
        one->untold = behind > one->untold ? behind : one->untold;
        one->met = 1;
    }
    return lost && !own;
}

/* Whether a carrier has brought this one behind all that was compared, and nobody has followed it. */
static int is_untold(const tb_merge *merge, const tb_carrier *carrier, const tb_copy *copy)
{
    return copy->lines >> (carrier - merge->carriers) & 1 && !copy->taken && !copy->opening && !copy->exempt;
}

/* A carrier brings what was followed already: what did it bring before, and the line that was followed did not? That it
 * lacks others' frames as well says that each line has words of its own, unless they have proved to be alike.
 * *last_good: the newest frame ahead of all that was followed. It is told once. */
static int is_skipped(tb_merge *merge, const tb_carrier *carrier, int64_t ordinal, int alike, int64_t *last_good)
{
    const uint8_t bit = (uint8_t)(1u << (carrier - merge->carriers));
    const int64_t push_ms = copy_at(merge, ordinal)->push_ms;
    int64_t lost_ms = INT64_MAX, first = 0;
    for (int64_t i = oldest(merge, carrier->untold); carrier->met && i < merge->next_copy; i++) {
        const tb_copy *copy = copy_at(merge, i);
        if (!is_untold(merge, carrier, copy) || copy->push_ms > push_ms || copy->push_ms >= lost_ms)
            continue;
        lost_ms = copy->push_ms;
        first = i;
    }
    if (lost_ms == INT64_MAX)
        return 0;
    for (int64_t i = oldest(merge, carrier->place + 1); !alike && i < ordinal; i++) {
        const tb_copy *copy = copy_at(merge, i);
        if (copy->taken && !(copy->lines & bit) && !copy->opening && !copy->again && copy->push_ms <= push_ms &&
            copy->receive_ns > carrier->since_ns)
            return 0;
    }
    *last_good = before(merge, lost_ms, first);
    return 1;
}

/* What of this nobody followed is told by a gap. */
static void settle(tb_merge *merge, const tb_carrier *carrier)
{
    for (int64_t i = oldest(merge, carrier->untold); i < merge->next_copy; i++)
        copy_at(merge, i)->exempt |= is_untold(merge, carrier, copy_at(merge, i));
}

/* The feed follows this one; a gap that is open ends with it, and holds what came in its time, ahead of this one. */
static tb_verdict take(const tb_feed *feed, int64_t ordinal)
{
    tb_merge *merge = feed->merge;
    tb_copy *taken = copy_at(merge, ordinal);
    taken->taken = 1;
    if (taken->push_ms > merge->head_ms)
        merge->head_ms = taken->push_ms;
    for (int64_t i = oldest(merge, 0); feed->state != TB_LIVE && feed->gap.open && i < ordinal; i++) {
        tb_copy *copy = copy_at(merge, i);
        if (copy->receive_ns >= feed->gap.reach_ns && copy->push_ms <= taken->push_ms)
            copy->exempt |= !copy->taken;
    }
    return TB_TAKE;
}

/* A snapshot is the state: what was before it is forgotten. What a line has brought that is newer another one may bring
 * yet: if none does, that line can't take over. */
static void begin_chain(tb_merge *merge, int64_t push_ms)
{
    const int64_t from = oldest(merge, 0), to = merge->next_copy;
    merge->first_copy = to;
    for (int64_t i = from; i < to; i++) {
        tb_copy kept = *copy_at(merge, i);
        if (kept.taken || kept.opening || kept.push_ms <= push_ms)
            continue;
        kept.exempt = 1;
        merge->hashes[merge->next_copy % TB_COPIES] = merge->hashes[i % TB_COPIES]; /* never ahead of what is read */
        *copy_at(merge, merge->next_copy++) = kept;
    }
}

int tb_has_untold(const tb_merge *merge, int32_t slot)
{
    const tb_carrier *carrier = &merge->carriers[slot];
    for (int64_t i = oldest(merge, carrier->untold); carrier->met && i < merge->next_copy; i++)
        if (is_untold(merge, carrier, &merge->copies[i % TB_COPIES]))
            return 1;
    return 0;
}

void tb_lose_untold(tb_engine *engine, int32_t index, int cause, tb_stamp at)
{
    tb_merge *merge = engine->feeds[index]->merge;
    int64_t lost_ms = INT64_MAX, first = 0;
    for (int32_t slot = 0; slot < merge->count; slot++) {
        tb_carrier *carrier = &merge->carriers[slot];
        if (!carrier->up || !carrier->met)
            continue;
        for (int64_t i = oldest(merge, carrier->untold); i < merge->next_copy; i++)
            if (is_untold(merge, carrier, copy_at(merge, i)) && copy_at(merge, i)->push_ms < lost_ms) {
                lost_ms = copy_at(merge, i)->push_ms;
                first = i;
            }
        settle(merge, carrier);
    }
    lose(engine, index, cause, lost_ms == INT64_MAX || lost_ms > merge->head_ms ? TB_NONE : before(merge, lost_ms, first), at);
}

void tb_count_uncopied(tb_merge *merge, const tb_carrier *lost)
{
    int32_t left = -1;
    for (int32_t i = 0; i < merge->count; i++)
        if (merge->carriers[i].up) {
            if (left >= 0) /* they may still bring each other's */
                return;
            left = i;
        }
    for (int64_t i = oldest(merge, lost->place + 1); left >= 0 && i < merge->next_copy; i++) {
        const tb_copy *copy = copy_at(merge, i);
        merge->carriers[left].saved += copy->taken && copy->lines == 1u << left && copy->receive_ns > lost->since_ns;
    }
}

int tb_has_pending(const tb_merge *merge, int32_t slot)
{
    /* at the same time, it is another one if the lines say the same */
    const int64_t from_ms = merge->alike > 0 && merge->head_ms != TB_NONE ? merge->head_ms : merge->head_ms + 1;
    int is_newest = 1; /* nothing was followed since */
    for (int64_t i = merge->next_copy; i-- > oldest(merge, 0);) {
        const tb_copy *copy = &merge->copies[i % TB_COPIES];
        if (copy->taken)
            is_newest = 0;
        else if (copy->lines >> slot & 1 && !copy->opening && (is_newest || copy->push_ms >= from_ms) &&
                 (i >= merge->carriers[slot].untold || copy->push_ms > merge->head_ms))
            return 1;
    }
    return 0;
}

/* Whether something was followed that comes behind a frame of this time which the carrier brings only now. At the same
 * time it is what the carrier hasn't brought: of the two nobody can tell which is the older one.
 * In a gap too: unless the exchange's clock was set back, which this line shows then. */
static int is_passed(const tb_merge *merge, int32_t slot, int64_t place, int64_t push_ms, int live)
{
    if (push_ms > merge->head_ms || push_ms == TB_NONE) /* none: a row by itself, that may come at any time */
        return 0;
    if (live && push_ms < merge->head_ms)
        return 1;
    const int64_t since_ns = merge->carriers[slot].since_ns;
    for (int64_t i = oldest(merge, place + 1); i < merge->next_copy; i++) {
        const tb_copy *copy = &merge->copies[i % TB_COPIES];
        if (copy->taken && copy->push_ms >= push_ms && copy->receive_ns > since_ns && !(copy->lines >> slot & 1))
            return 1;
    }
    return 0;
}

/* Whether what was followed is newer than this time, and others brought it: while the carrier was subscribed, or ever. */
static int is_behind(const tb_merge *merge, int32_t slot, int64_t push_ms, int64_t since_ns)
{
    if (push_ms >= merge->head_ms || push_ms == TB_NONE)
        return 0;
    for (int64_t i = oldest(merge, 0); i < merge->next_copy; i++) {
        const tb_copy *copy = &merge->copies[i % TB_COPIES];
        if (copy->taken && copy->push_ms > push_ms && copy->receive_ns > since_ns && !(copy->lines >> slot & 1))
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
    /* what answers a subscription is its line's own */
    const int opening = !carrier->opened || (needs_snapshot && frame->kind == TB_SNAPSHOT);
    const int is_elected = slot == merge->elected;
    const int64_t place = carrier->place, push_ms = frame->push_ms;
    int known = 0;
    carrier->opened = 1;
    if (is_elected)
        merge->unanswered = 0;
    if (needs_snapshot && !live && frame->kind == TB_SNAPSHOT) {
        begin_chain(merge, push_ms);
        for (int32_t i = 0; i < merge->count; i++)
            merge->carriers[i].met = 0;
        carrier->met = 1;
        merge->elected = slot;
        merge->head_ms = merge->chain_ms = push_ms;
        add_copy(merge, hash, frame, slot, 1, opening, at);
        return TB_TAKE;
    }
    const int alike = merge->alike >= TB_ALIKE && carrier->met;
    const int far_behind = is_far_behind(carrier, push_ms);
    const int64_t copy = find_copy(merge, hash, (uint8_t)(1u << slot), &known);
    const int taken = copy >= 0 && copy_at(merge, copy)->taken;
    /* what it has brought before and nobody has followed comes first: from a slower line */
    const int may_lead = is_elected || (alike && !taken && !tb_has_pending(merge, slot));
    if (copy >= 0) {
        copy_at(merge, copy)->lines |= (uint8_t)(1u << slot);
        const int follows = may_lead && !taken && (live || !needs_snapshot);
        int64_t last_good;
        if (taken && is_skipped(merge, carrier, copy, alike, &last_good)) {
            lose(engine, index, TB_CAUSE_LOST, last_good, at);
            settle(merge, carrier);
        }
        const int lost = compare(merge, carrier, copy, taken || follows, &last_good);
        if (!follows)
            return TB_COPY;
        const int is_late = is_passed(merge, slot, place, push_ms, live);
        if (is_late)
            lose(engine, index, TB_CAUSE_LOST, before(merge, push_ms, merge->next_copy), at);
        else if (lost)
            lose(engine, index, TB_CAUSE_LOST, last_good, at);
        if (!is_late)
            return take(feed, copy);
        copy_at(merge, copy)->taken = 1;
        return TB_LATE;
    }
    if (alike && far_behind)
        return TB_COPY;
    if (needs_snapshot && !live) { /* a row that is not applied: another line's copy of it may be, behind a snapshot */
        add_copy(merge, hash, frame, slot, 0, opening, at);
        return TB_TAKE;
    }
    if (live && push_ms < merge->chain_ms && tb_wait(merge, at.receive_ns))
        return TB_COPY; /* older than the snapshot that the state began with */
    if (known && !(may_lead && push_ms >= merge->head_ms))
        return TB_COPY; /* the same line again, late */
    if (!may_lead) {
        add_copy(merge, hash, frame, slot, 0, opening, at);
        const tb_carrier *elected = &merge->carriers[merge->elected];
        const int64_t heard_ns = elected->heard_ns > elected->since_ns ? elected->heard_ns : elected->since_ns;
        /* in a gap there is nothing to lose, unless it is older than what was followed */
        const int64_t patience_ns = live || push_ms <= merge->head_ms ? TB_SILENCE_NS : TB_WAIT_NS;
        if (++merge->unanswered < TB_UNANSWERED || at.receive_ns - heard_ns <= patience_ns)
            return TB_COPY;
        lose(engine, index, TB_CAUSE_SILENCE, -1, at);
        merge->elected = slot;
        merge->unanswered = 0;
        merge->head_ms = push_ms;
        (void)take(feed, merge->next_copy - 1);
        copy_at(merge, merge->next_copy - 1)->taken = !needs_snapshot;
        return TB_TAKE;
    }
    if (alike ? is_passed(merge, slot, place, push_ms, live)
              : live && carrier->met && is_behind(merge, slot, push_ms, carrier->since_ns)) {
        lose(engine, index, TB_CAUSE_LOST, before(merge, push_ms, merge->next_copy), at);
        add_copy(merge, hash, frame, slot, 1, opening, at);
        return TB_LATE;
    }
    if (live && is_behind(merge, slot, push_ms, TB_NONE) && tb_wait(merge, at.receive_ns))
        return TB_COPY; /* the line before it has brought that, in its own words */
    if (is_elected && !carrier->met) { /* what was before says nothing of it */
        carrier->met = 1;
        carrier->place = merge->next_copy;
    }
    if (feed->line != carrier->line || push_ms > merge->head_ms || !live)
        merge->head_ms = push_ms;
    add_copy(merge, hash, frame, slot, 1, opening, at)->again = (uint8_t)known;
    return take(feed, merge->next_copy - 1);
}
