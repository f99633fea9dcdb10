/* What the files of the engine share among themselves. */
#ifndef TB_INTERNAL_H
#define TB_INTERNAL_H

#include "tb_decimal.h"
#include "tb_engine.h"
#include "tb_shared.h"

/* tb_registry.c */
uint64_t tb_hash(const uint8_t *p, size_t n, uint64_t seed);
/* For names of a few bytes, where a call of memcmp would cost more than the comparison. */
int tb_same_bytes(const void *left, const void *right, size_t n);
/* Whether that is the feed's topic; -1 is no feed. */
TB_INLINE int tb_is_feed(const tb_engine *engine, int32_t index, const uint8_t *topic, size_t length)
{
    return index >= 0 && engine->feeds[index]->topic_length == length && tb_same_bytes(engine->feeds[index]->topic, topic, length);
}
/* Takes back the newest symbols, which nothing refers to yet. */
void tb_forget_symbols(tb_engine *engine, int32_t keep);

/* tb_gaps.c */
tb_event *tb_new_event(tb_engine *engine);
tb_event *tb_push_event(tb_engine *engine, int type, int32_t feed, tb_stamp at);
int tb_has_consecutive_ids(const tb_feed *feed);
void tb_open_gap(tb_engine *engine, int32_t index, int cause, int64_t first_update_id, int64_t match_ms, tb_stamp at);
void tb_make_stale(tb_engine *engine, int32_t index, int cause, tb_stamp at);
/* The same with a gap that began earlier than the last good frame. */
void tb_make_stale_since(tb_engine *engine, int32_t index, int cause, int64_t start_ns, int64_t start_match_ms, tb_stamp at);
void tb_lengthen_gap(tb_engine *engine, int32_t index, int cause, int64_t start_ns, int64_t start_match_ms, tb_stamp at);
void tb_close_gap(tb_engine *engine, int32_t index, tb_gap *gap, int healer, int64_t last_update_id, int64_t match_ms,
                  tb_stamp at);

/* tb_feed.c */
tb_error tb_can_widen(const tb_engine *engine, const tb_symbol *symbol, unsigned price, unsigned size);
void tb_widen(tb_engine *engine, int32_t index, unsigned price, unsigned size, tb_stamp at);
int tb_seen(const tb_feed *feed, int64_t u);
void tb_remember(tb_feed *feed, int64_t u);
void tb_count_message(tb_feed *feed, tb_stamp at);
void tb_good_frame(tb_feed *feed, const tb_frame *frame, tb_stamp at);

/* tb_merge.c: what is to become of a frame, where a feed has or gets several lines; and what befalls the lines. */
tb_verdict tb_admit(tb_engine *engine, int32_t index, const tb_frame *frame, tb_stamp at);
static inline int tb_is_merged(const tb_feed *feed, tb_stamp at)
{
    return feed->merge != NULL || feed->line != at.line;
}
void tb_count_trades(tb_feed *feed, int64_t rows, int64_t repeats, tb_stamp at);
/* The feed is carried by a line (anew). */
void tb_carry(tb_feed *feed, tb_stamp at);
/* It is not any more. Stale, unless another line has it. */
void tb_drop_line(tb_engine *engine, int32_t index, int cause, tb_stamp at);
void tb_leave(tb_engine *engine, int32_t index, tb_stamp at);
int tb_carries(const tb_feed *feed, uint16_t line);
/* A damaged frame of the line may have been of this feed: whether another line can be trusted to bring it. */
int tb_is_covered(tb_feed *feed, tb_stamp at);
/* Whether another line may still bring an update id. */
int tb_may_be_brought(const tb_feed *feed, int64_t u, tb_stamp at);
int tb_was_hurt(const tb_feed *feed);
/* tb_copies.c: the same for feeds without ids */
tb_verdict tb_admit_copy(tb_engine *engine, int32_t index, tb_carrier *carrier, const tb_frame *frame, tb_stamp at);
int tb_has_pending(const tb_merge *merge, int32_t slot);
/* Whether a line has brought what nobody has followed, and what was not yet compared. */
int tb_has_untold(const tb_merge *merge, int32_t slot);
/* A gap from there on, or behind the last good frame. */
void tb_lose_untold(tb_engine *engine, int32_t index, int cause, tb_stamp at);
/* A line is gone: what the only one that is left had brought before it is its alone now. */
void tb_count_uncopied(tb_merge *merge, const tb_carrier *lost);

/* tb_observe.c: a frame that a LIVE feed took; last_update_id is what it had before. */
void tb_observe(tb_engine *engine, tb_feed *feed, const tb_frame *frame, int64_t last_update_id, tb_stamp at);
/* The same, once it is clear that its stamps mean something; TB_NONE for those that don't. */
void tb_observe_times(tb_engine *engine, tb_feed *feed, int64_t push_ms, int64_t match_ms, tb_stamp at);

/* tb_engine.c */
int32_t tb_undecodable(tb_engine *engine, int32_t index, tb_error error, tb_stamp at);

/* The line has brought a good frame. */
static inline void tb_line_is_good(tb_engine *engine, tb_stamp at)
{
    tb_line *carrier = tb_engine_line(engine, at.line);
    if (TB_LIKELY(carrier != NULL)) {
        carrier->good_ns = at.receive_ns;
        carrier->good_order = engine->order;
        if (TB_UNLIKELY(carrier->gap.open))
            tb_close_gap(engine, -1, &carrier->gap, TB_BY_MESSAGE, TB_NONE, TB_NONE, at);
    }
}

static inline int32_t tb_apply_record(tb_engine *engine, const tb_batch *batch, int64_t i)
{
    /* told in its place: a copy would have to wait for everything that was written before it */
    tb_made *const made = batch->made ? &batch->made[i] : NULL;
    if (made)
        *made = (tb_made){-1, -1, 0, 0, 0};
    engine->made = made;
    const int32_t result =
        tb_engine_apply(engine, batch->payloads + batch->offsets[i], (size_t)(batch->offsets[i + 1] - batch->offsets[i]),
                        batch->receive_ns[i], batch->sequences[i], batch->lines[i]);
    engine->made = NULL;
    if (made) {
        made->feed = result >= 0 ? result : -1;
        made->layout = engine->frame.ready && engine->frame.exact ? engine->frame.layout : 0;
    }
    return result;
}

/* Whether a record is the digest note of a book that has just this digest; then the newest row has it too. For batches that
 * tell what was made. Anything else about a note, also a digest that differs, is not decided here. */
int tb_meet_digest(tb_engine *engine, const tb_batch *batch, int64_t i);

/* A feed's book or state may have changed: other processes are told at the end of what is going on. */
static inline void tb_touch(tb_engine *engine, int32_t index)
{
    if (TB_UNLIKELY(engine->shared != NULL))
        tb_shared_touch(engine->shared, index);
}

/* That end. */
static inline void tb_tell(tb_engine *engine)
{
    if (TB_UNLIKELY(engine->shared != NULL))
        tb_shared_tell(engine);
}

/* Tells the live digest of a book. */
void tb_note_digest(tb_engine *engine, int32_t index, tb_stamp at);

static inline int tb_is_full(const tb_feed *feed)
{
    return feed->kind == TB_KIND_BOOK && feed->depth == TB_FULL_DEPTH;
}

static inline unsigned tb_max(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* UTC day of a moment, counted from 1970-01-01. */
static inline int32_t tb_day_of(int64_t ms)
{
    return (int32_t)(ms / INT64_C(86400000));
}

/* One per kind of feed: take a decoded frame. Anything but TB_OK means that nothing has changed. */
tb_error tb_on_book(tb_engine *engine, int32_t index, tb_frame *frame, tb_stamp at);
tb_error tb_on_trades(tb_engine *engine, int32_t index, tb_frame *frame, tb_stamp at, tb_trade_source from);
tb_error tb_on_ticker(tb_engine *engine, int32_t index, tb_frame *frame, tb_stamp at);

#endif
