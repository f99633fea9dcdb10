/* The engine's entry points: a frame, a batch, and what the bytes don't say. */
#include <stdlib.h>
#include <string.h>

#include "tb_internal.h"

#define NEAR_FEEDS 64               /* so many are at hand in any case */
#define NEAR_BYTES ((size_t)1 << 19) /* of feeds: so many are near enough not to be asked for ahead */
#define NEAR_FRAMES 48              /* a feed that had one of the last so many is at hand, however many feeds there are */
#define USE_STEP 16                 /* noted in such steps: threads rarely write beside each other then */
#define MANY_ARE_FAR (TB_ALL_FAR / 4) /* from here on a look at the next frame of a batch is worth its 6 ns */
#define FETCHED_LEVELS 64

/* Best effort on damaged bytes: the first `"topic":"..."` that names a feed of ours. */
static int32_t blame(const tb_engine *engine, const uint8_t *bytes, size_t length)
{
    static const char mark[] = "\"topic\":\"";
    const size_t mark_length = sizeof mark - 1;
    const uint8_t *p = bytes, *end = bytes + length;
    while ((size_t)(end - p) > mark_length) {
        const uint8_t *hit = memchr(p, '"', (size_t)(end - p) - mark_length);
        if (!hit)
            return -1;
        if (memcmp(hit, mark, mark_length) != 0) {
            p = hit + 1;
            continue;
        }
        const uint8_t *topic = hit + mark_length, *quote = memchr(topic, '"', (size_t)(end - topic));
        if (!quote)
            return -1;
        int32_t feed = tb_engine_find_feed(engine, topic, (size_t)(quote - topic));
        if (feed >= 0 && !engine->feeds[feed]->ended)
            return feed;
        p = topic;
    }
    return -1;
}

/* A damaged frame that may be of any feed of its line: whether other lines carry all of them. */
static int all_are_covered(tb_engine *engine, tb_stamp at)
{
    int carried = 0, covered = 1;
    for (int32_t i = 0; i < engine->feed_count; i++) {
        tb_feed *feed = engine->feeds[i];
        if (!tb_carries(feed, at.line))
            continue;
        carried = 1;
        covered &= feed->merge && (tb_is_covered(feed, at) || feed->gap.open);
    }
    return carried && covered;
}

int32_t tb_undecodable(tb_engine *engine, int32_t index, tb_error error, tb_stamp at)
{
    engine->undecodable[error]++;
    tb_event *event = tb_push_event(engine, TB_EVENT_UNDECODABLE, index, at);
    event->detail = error;
    if (index >= 0) {
        tb_feed *feed = engine->feeds[index];
        if (tb_is_merged(feed, at) && tb_is_covered(feed, at))
            return TB_RESULT_UNDECODABLE;
        if (feed->state == TB_LIVE)
            tb_make_stale(engine, index, TB_CAUSE_UNDECODABLE, at);
        else
            tb_open_gap(engine, index, TB_CAUSE_UNDECODABLE, TB_NONE, TB_NONE, at);
    } else {
        tb_line *line = tb_engine_line(engine, at.line);
        engine->unattributed++;
        if (line) {
            line->damage_sequence = at.sequence;
            if (!line->gap.open && !all_are_covered(engine, at)) {
                line->gap.open = 1;
                line->gap.cause = TB_CAUSE_UNDECODABLE;
                line->gap.first_update_id = line->gap.start_match_ms = TB_NONE;
                line->gap.start_ns = line->good_ns != TB_NONE ? line->good_ns : at.receive_ns;
                line->gap.reach_ns = line->gap.start_ns;
                line->gap.reach_match_ms = TB_NONE;
                event = tb_push_event(engine, TB_EVENT_GAP_OPENED, -1, at);
                event->detail = TB_CAUSE_UNDECODABLE;
                event->start_ns = line->gap.start_ns;
            }
        }
    }
    return TB_RESULT_UNDECODABLE;
}

/* Many books don't fit in the nearest cache: what the frame will need of this one is asked for while the frame is read. */
TB_INLINE void fetch(const tb_feed *feed)
{
    const uint8_t *bytes = (const uint8_t *)feed;
    for (size_t i = 0; i < offsetof(tb_feed, seen) + sizeof feed->seen[0]; i += 64)
        __builtin_prefetch(bytes + i);
}

TB_INLINE void fetch_levels(const tb_feed *feed, int32_t depth)
{
    const int32_t levels = depth < FETCHED_LEVELS ? depth : FETCHED_LEVELS;
    for (int32_t i = 0; i <= levels; i += 4) { /* the best are at the end, and a book is about as deep as its topic */
        __builtin_prefetch(feed->levels + depth - i);
        __builtin_prefetch(feed->levels + 2 * depth + 1 + depth - i);
    }
}

/* Whether the nearest caches will not have a feed that a frame is for; notes that it is used. */
TB_INLINE int is_far(tb_engine *engine, int32_t index)
{
    tb_pair *pair = &engine->pairs[index];
    const uint16_t now = (uint16_t)(engine->use.frames++ / USE_STEP);
    const int far = (uint16_t)(now - pair->used) > NEAR_FRAMES / USE_STEP;
    if (pair->used != now)
        pair->used = now;
    engine->use.far += ((far ? TB_ALL_FAR : 0) - engine->use.far) / 32;
    return far;
}

/* What the next frame of a batch will need is asked for while this one is applied. Returns whose it seems to be, or -1. */
static int32_t fetch_ahead(tb_engine *engine, const uint8_t *bytes, size_t length)
{
    static const char mark[] = "{\"topic\":\"";
    const size_t mark_length = sizeof mark - 1;
    if (length < mark_length + TB_TOPIC_BYTES || memcmp(bytes, mark, mark_length) != 0)
        return -1;
    const uint8_t *topic = bytes + mark_length, *quote = memchr(topic, '"', TB_TOPIC_BYTES);
    const int32_t index = quote ? tb_engine_guess_feed(engine, topic, (size_t)(quote - topic)) : -1;
    if (index < 0)
        return -1;
    if (is_far(engine, index)) {
        const tb_feed *feed = engine->feeds[index];
        fetch(feed);
        if (engine->pairs[index].depth)
            fetch_levels(feed, engine->pairs[index].depth);
    }
    return index;
}

static int find_topic(void *context, const tb_slice *topic, tb_route *route)
{
    tb_engine *engine = context;
    const int fetched = tb_is_feed(engine, engine->expected, topic->at, topic->length);
    engine->found = fetched ? engine->expected : tb_engine_find_feed(engine, topic->at, topic->length);
    if (engine->found < 0)
        return -1;
    const tb_feed *feed = engine->feeds[engine->found];
    if (TB_UNLIKELY(feed->ended))
        return engine->found = -1;
    const int far = !fetched && engine->feed_count > NEAR_FEEDS && is_far(engine, engine->found);
    if (far)
        fetch(feed);
    route->symbol.at = (const uint8_t *)feed->symbol_name;
    route->symbol.length = feed->symbol_length;
    route->price_decimals = engine->pairs[engine->found].price_decimals;
    route->size_decimals = engine->pairs[engine->found].size_decimals;
    if (far && feed->kind == TB_KIND_BOOK && feed->depth < TB_FULL_DEPTH)
        fetch_levels(feed, feed->depth);
    return feed->kind;
}

int32_t tb_engine_apply(tb_engine *engine, const uint8_t *bytes, size_t length, int64_t receive_ns,
                        int64_t sequence, uint16_t line)
{
    tb_frame *frame = &engine->frame;
    tb_stamp at = {sequence, receive_ns, line};
    tb_frame_status status = TB_FRAME_DATA;
    int32_t result;
    engine->found = -1;
    engine->bytes = bytes;
    engine->length = length;
    tb_error error = tb_frame_decode(frame, bytes, length, find_topic, engine, &status);
    if (TB_UNLIKELY(error != TB_OK)) {
        result = tb_undecodable(engine, engine->found >= 0 ? engine->found : blame(engine, bytes, length), error, at);
    } else if (TB_UNLIKELY(status == TB_FRAME_CONTROL)) {
        engine->controls++;
        result = TB_RESULT_CONTROL;
    } else if (TB_UNLIKELY(status == TB_FRAME_UNKNOWN_TOPIC)) {
        engine->unknown_topics++;
        result = TB_RESULT_UNKNOWN_TOPIC;
    } else if (TB_UNLIKELY(status == TB_FRAME_DRIVEN)) {
        result = TB_RESULT_DRIVEN - engine->found;
    } else {
        result = engine->found;
        engine->drift += frame->drift;
        tb_feed *feed = engine->feeds[result];
        const int64_t last_update_id = feed->update_id, rows = feed->rows;
        const int measured = engine->delays != NULL && feed->state == TB_LIVE;
        switch (feed->kind) {
        case TB_KIND_BOOK:
        case TB_KIND_RPI: error = tb_on_book(engine, result, frame, at); break;
        case TB_KIND_TRADES: error = tb_on_trades(engine, result, frame, at, TB_FROM_STREAM); break;
        default: error = tb_on_ticker(engine, result, frame, at); break;
        }
        if (TB_UNLIKELY(error != TB_OK)) {
            result = tb_undecodable(engine, result, error, at);
        } else {
            if (measured && feed->rows > rows)
                tb_observe(engine, feed, frame, last_update_id, at);
            tb_line_is_good(engine, at);
        }
    }
    if (TB_UNLIKELY(engine->shared != NULL))
        tb_shared_frame(engine, result, sequence);
    return result;
}

tb_error tb_engine_backfill(tb_engine *engine, const uint8_t *bytes, size_t length, int64_t receive_ns, int64_t sequence,
                            tb_trade_source from)
{
    tb_stamp at = {sequence, receive_ns, 0};
    tb_frame_status status = TB_FRAME_DATA;
    engine->found = -1;
    tb_error error = tb_frame_decode(&engine->frame, bytes, length, find_topic, engine, &status);
    if (error != TB_OK)
        return error;
    if (status != TB_FRAME_DATA || engine->feeds[engine->found]->kind != TB_KIND_TRADES ||
        engine->frame.trade_count > TB_TRADE_IDS)
        return TB_BAD_VALUE;
    at.line = engine->feeds[engine->found]->line;
    error = tb_on_trades(engine, engine->found, &engine->frame, at, from);
    tb_tell(engine); /* of exponents; a tape is of what happens now */
    return error;
}

int32_t tb_engine_restate(tb_engine *engine, int32_t index, const uint8_t *const *frames, const size_t *lengths, int32_t count,
                          int64_t receive_ns, int64_t sequence)
{
    tb_feed *feed = engine->feeds[index];
    const tb_stamp at = {sequence, receive_ns, feed->line};
    const int64_t messages = feed->messages, last_receive_ns = feed->last_receive_ns, first_receive_ns = feed->first_receive_ns,
                  first_sequence = feed->first_sequence;
    int32_t taken = 0;
    engine->restating = 1;
    for (; taken < count; taken++) {
        tb_frame_status status = TB_FRAME_DATA;
        const tb_frame *frame = &engine->frame;
        engine->found = -1;
        if (tb_frame_decode(&engine->frame, frames[taken], lengths[taken], find_topic, engine, &status) != TB_OK ||
            status != TB_FRAME_DATA || engine->found != index ||
            (taken ? frame->kind != TB_DELTA || frame->update_id - 1 != feed->update_id : frame->kind != TB_SNAPSHOT) ||
            tb_on_book(engine, index, &engine->frame, at) != TB_OK || feed->state != TB_LIVE)
            break;
    }
    engine->restating = 0;
    feed->messages = messages;
    feed->last_receive_ns = last_receive_ns;
    feed->first_receive_ns = first_receive_ns;
    feed->first_sequence = first_sequence;
    if (taken)
        tb_note_digest(engine, index, at);
    if (TB_UNLIKELY(taken && engine->shared != NULL))
        tb_shared_restated(engine, index);
    tb_tell(engine);
    return taken;
}

int64_t tb_engine_apply_batch(tb_engine *engine, const tb_batch *batch, int64_t from, int64_t to)
{
    const int meets = engine->columns && batch->made;
    for (; from < to; from++) {
        if (TB_UNLIKELY(batch->kinds[from] != 0)) {
            if (!meets || !tb_meet_digest(engine, batch, from))
                break;
            continue;
        }
        engine->order = from;
        int32_t next = -1;
        if (engine->room.taken > NEAR_BYTES && engine->use.far > MANY_ARE_FAR && from + 1 < to)
            next = fetch_ahead(engine, batch->payloads + batch->offsets[from + 1],
                               (size_t)(batch->offsets[from + 2] - batch->offsets[from + 1]));
        if (TB_UNLIKELY(tb_apply_record(engine, batch, from) <= TB_RESULT_DRIVEN))
            break;
        engine->expected = next;
    }
    engine->expected = -1;
    return from;
}

void tb_engine_subscribed(tb_engine *engine, int32_t index, uint16_t line, int64_t receive_ns, int64_t sequence)
{
    tb_feed *feed = engine->feeds[index];
    tb_stamp at = {sequence, receive_ns, line};
    tb_carry(feed, at);
    feed->subscribed = 1;
    if (feed->quiet) {
        tb_close_gap(engine, index, &feed->gap, TB_BY_SUBSCRIBED, TB_NONE, TB_NONE, at);
        feed->state = TB_LIVE;
    } else if (feed->state == TB_EMPTY) {
        feed->state = TB_SYNCING;
    }
    tb_touch(engine, index);
    tb_tell(engine);
}

void tb_engine_end_feed(tb_engine *engine, int32_t index, int64_t receive_ns, int64_t sequence)
{
    tb_feed *feed = engine->feeds[index];
    if (feed->ended)
        return;
    tb_close_gap(engine, index, &feed->gap, TB_BY_END, TB_NONE, TB_NONE,
                 (tb_stamp){sequence, receive_ns, feed->line});
    free(feed->merge);
    feed->merge = NULL;
    feed->ended = 1;
    feed->carried = 0;
    feed->state = TB_EMPTY;
    feed->crossed = 0;
    feed->subscribed = 0;
    feed->seen_count = 0;
    feed->since_digest = 0;
    feed->update_id = feed->cross_sequence = feed->match_ms = feed->push_ms = feed->receive_ns = feed->sequence = TB_NONE;
    if (feed->ticker)
        feed->ticker->keys = feed->ticker->present = 0;
    tb_touch(engine, index);
    tb_tell(engine);
}

void tb_engine_stale(tb_engine *engine, int32_t index, int cause, int64_t receive_ns, int64_t sequence)
{
    tb_stamp at = {sequence, receive_ns, engine->feeds[index]->line};
    if (engine->feeds[index]->state == TB_LIVE)
        tb_make_stale(engine, index, cause, at);
    else if (cause == TB_CAUSE_NO_SNAPSHOT) /* of the full book, whose snapshot doesn't come with the stream */
        tb_open_gap(engine, index, cause, TB_NONE, TB_NONE, at);
    tb_tell(engine);
}

void tb_engine_disconnect(tb_engine *engine, uint16_t line, int64_t receive_ns, int64_t sequence)
{
    const tb_stamp at = {sequence, receive_ns, line};
    for (int32_t i = 0; i < engine->feed_count; i++)
        tb_drop_line(engine, i, TB_CAUSE_DISCONNECT, at);
    tb_tell(engine);
}

void tb_engine_unsubscribed(tb_engine *engine, int32_t index, uint16_t line, int64_t receive_ns, int64_t sequence)
{
    tb_leave(engine, index, (tb_stamp){sequence, receive_ns, line});
    tb_tell(engine);
}
