/* Order-book feeds: continuity, sanity, rows and keyframes. */
#include <stdlib.h>
#include <string.h>

#include "tb_internal.h"

#define BOOK(column, type) TB_AT(table, type, TB_BOOK_##column, row)

/* The levels of a message: [0] bids and [1] asks; of an RPI book also [2] and [3], the same prices with their second sizes. */
#define SIDES(feed) ((feed)->rpi ? 4 : 2)

static tb_table_kind table_of(const tb_feed *feed)
{
    return feed->rpi ? TB_TABLE_RPI_BOOKS : TB_TABLE_BOOKS;
}

/* Most messages are of a few levels, for which a call costs more than the copy. */
#define FEW_VALUES 16

TB_INLINE void copy_values(int64_t *to, int64_t *other_to, const int64_t *from, const int64_t *other_from, int32_t count)
{
    int32_t i = 0;
    if (count > FEW_VALUES) {
        memcpy(to, from, (size_t)count * sizeof *to);
        memcpy(other_to, other_from, (size_t)count * sizeof *to);
        return;
    }
    for (; i + 2 <= count; i += 2) {
        memcpy(to + i, from + i, 2 * sizeof *to);
        memcpy(other_to + i, other_from + i, 2 * sizeof *to);
        __asm__("" : "+r"(i)); /* no call for this loop either */
    }
    if (i < count) {
        to[i] = from[i];
        other_to[i] = other_from[i];
    }
}

/* Appends levels of one side; the row that they belong to is written behind them. 0 when memory is out. */
static int append_levels(tb_rows *rows, int side, const tb_feed *feed, const tb_changes levels[])
{
    tb_buffer *const prices = &rows->buffers[(feed->rpi ? TB_RPI_BID_PRICES : TB_BID_PRICES) + 2 * side], *const sizes = prices + 1;
    const size_t bytes = (size_t)levels[side].count * sizeof(int64_t);
    int64_t *const price = tb_buffer_reserve(prices, bytes), *const size = tb_buffer_reserve(sizes, bytes);
    if (TB_UNLIKELY(!price || !size))
        return 0;
    copy_values(price, size, levels[side].prices, levels[side].sizes, levels[side].count);
    prices->used += bytes;
    sizes->used += bytes;
    if (TB_UNLIKELY(feed->rpi != NULL)) {
        tb_buffer *const rpi_sizes = &rows->buffers[TB_RPI_BID_RPI_SIZES + side];
        int64_t *const rpi_size = tb_buffer_reserve(rpi_sizes, bytes);
        if (!rpi_size)
            return 0;
        if (bytes)
            memcpy(rpi_size, levels[side + 2].sizes, bytes);
        rpi_sizes->used += bytes;
    }
    return 1;
}

int32_t tb_rpi_levels(const tb_feed *feed, int side, int64_t *prices, int64_t *sizes, int64_t *rpi_sizes)
{
    const tb_book *book = &feed->book, *rpi = feed->rpi;
    const int32_t plain = book->sides[side].count, other = rpi->sides[side].count;
    int32_t n = 0;
    for (int32_t i = 0, j = 0; i < plain || j < other; n++) {
        const tb_level a = i < plain ? tb_book_level(book, side, i) : (tb_level){0, 0};
        const tb_level b = j < other ? tb_book_level(rpi, side, j) : (tb_level){0, 0};
        /* whichever is nearer to the best, or both */
        const int takes_a = i < plain && (j >= other || a.price == b.price || (side ? a.price < b.price : a.price > b.price));
        const int takes_b = j < other && (i >= plain || a.price == b.price || !takes_a);
        prices[n] = takes_a ? a.price : b.price;
        sizes[n] = takes_a ? a.size : 0;
        rpi_sizes[n] = takes_b ? b.size : 0;
        i += takes_a;
        j += takes_b;
    }
    return n;
}

static int append_rpi_side(tb_rows *rows, int side, const tb_feed *feed)
{
    const size_t most = ((size_t)feed->book.sides[side].count + (size_t)feed->rpi->sides[side].count) * sizeof(int64_t);
    tb_buffer *prices = &rows->buffers[TB_RPI_BID_PRICES + 2 * side], *sizes = prices + 1,
              *rpi_sizes = &rows->buffers[TB_RPI_BID_RPI_SIZES + side];
    int64_t *price = tb_buffer_reserve(prices, most), *size = tb_buffer_reserve(sizes, most),
            *rpi_size = tb_buffer_reserve(rpi_sizes, most);
    if (!price || !size || !rpi_size)
        return 0;
    const size_t bytes = (size_t)tb_rpi_levels(feed, side, price, size, rpi_size) * sizeof *price;
    prices->used += bytes;
    sizes->used += bytes;
    rpi_sizes->used += bytes;
    return 1;
}

static int append_side(tb_rows *rows, int side, const tb_book *book)
{
    const int32_t count = book->sides[side].count;
    tb_buffer *prices = &rows->buffers[TB_BID_PRICES + 2 * side], *sizes = prices + 1;
    int64_t *price = tb_buffer_reserve(prices, (size_t)count * sizeof *price);
    int64_t *size = tb_buffer_reserve(sizes, (size_t)count * sizeof *size);
    if (!price || !size)
        return 0;
    for (int32_t i = 0; i < count; i++) {
        const tb_level level = tb_book_level(book, side, i);
        price[i] = level.price;
        size[i] = level.size;
    }
    prices->used += (size_t)count * sizeof *price;
    sizes->used += (size_t)count * sizeof *size;
    return 1;
}

/* What the envelope of a row says. */
typedef struct {
    int64_t push_ms, match_ms, update_id, cross_sequence;
    uint8_t kind, applied;
} tb_said;

/* Writes a row over `levels`, or over the whole book where there are none. */
static void append_row(tb_engine *engine, int32_t index, const tb_changes levels[], tb_said said, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    tb_rows *rows = engine->symbols[feed->symbol]->rows;
    tb_table *table = &rows->tables[table_of(feed)];
    tb_buffer *buffers = &rows->buffers[feed->rpi ? TB_RPI_BID_PRICES : TB_BID_PRICES];
    const int used = feed->rpi ? 6 : 4;
    size_t before[6];
    for (int i = 0; i < used; i++)
        before[i] = buffers[i].used;
    int fits = tb_table_reserve(table, table_of(feed));
    for (int s = 0; s < 2 && fits; s++)
        fits = levels      ? append_levels(rows, s, feed, levels)
               : feed->rpi ? append_rpi_side(rows, s, feed)
                           : append_side(rows, s, &feed->book);
    if (TB_UNLIKELY(!fits)) {
        for (int i = 0; i < used; i++)
            buffers[i].used = before[i];
        engine->rows_lost++;
        return;
    }
    const int64_t row = table->count++;
    BOOK(sequence, int64_t) = at.sequence;
    BOOK(receive_ns, int64_t) = at.receive_ns;
    BOOK(push_ms, int64_t) = said.push_ms;
    BOOK(match_ms, int64_t) = said.match_ms;
    BOOK(update_id, int64_t) = said.update_id;
    BOOK(cross_sequence, int64_t) = said.cross_sequence;
    BOOK(digest, uint64_t) = 0;
    BOOK(day, int32_t) = feed->file_day;
    BOOK(feed, int32_t) = index;
    TB_AT(table, int32_t, TB_BOOK_bid_end, row + 1) = (int32_t)(buffers[0].used / sizeof(int64_t));
    TB_AT(table, int32_t, TB_BOOK_ask_end, row + 1) = (int32_t)(buffers[2].used / sizeof(int64_t));
    BOOK(depth, int16_t) = (int16_t)feed->depth;
    BOOK(line, uint16_t) = at.line;
    BOOK(kind, uint8_t) = said.kind;
    BOOK(applied, uint8_t) = said.applied;
    BOOK(has_digest, uint8_t) = 0;
    BOOK(price_exponent, int8_t) = (int8_t)-feed->book.price_decimals;
    BOOK(size_exponent, int8_t) = (int8_t)-feed->book.size_decimals;
}

/* The whole book as it stands, under the stamps of the feed's last good frame. */
static void keyframe(tb_engine *engine, int32_t index)
{
    tb_feed *feed = engine->feeds[index];
    const tb_said said = {feed->push_ms, feed->match_ms, feed->update_id, feed->cross_sequence, TB_KEYFRAME, 1};
    append_row(engine, index, NULL, said, (tb_stamp){feed->sequence, feed->receive_ns, feed->line});
    feed->keyframe_push_ms = feed->push_ms;
    feed->changed = 0;
}

/* Called before the frame changes anything: a file's part of a feed begins with a full book. */
static void begin_file(tb_engine *engine, int32_t index, const tb_frame *frame)
{
    tb_feed *feed = engine->feeds[index];
    if (!engine->columns)
        return;
    int32_t day = tb_day_of(frame->push_ms);
    if (TB_LIKELY(feed->file_day == day))
        return;
    feed->file_day = day;
    if (feed->state == TB_LIVE && frame->kind == TB_DELTA)
        keyframe(engine, index);
}

void tb_engine_keyframe(tb_engine *engine, int32_t index)
{
    tb_feed *feed = engine->feeds[index];
    if (!engine->columns || feed->state != TB_LIVE || !tb_has_consecutive_ids(feed))
        return;
    feed->file_day = tb_day_of(feed->push_ms);
    keyframe(engine, index);
}

static void frame_row(tb_engine *engine, int32_t index, const tb_frame *frame, const tb_changes levels[], int applied,
                      tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    feed->rows++;
    feed->unapplied += !applied;
    if (!engine->columns)
        return;
    const tb_said said = {frame->push_ms,        frame->match_ms,      frame->update_id,
                          frame->cross_sequence, (uint8_t)frame->kind, (uint8_t)applied};
    append_row(engine, index, levels, said, at);
    feed->last_row = engine->symbols[feed->symbol]->rows->tables[table_of(feed)].count - 1;
    tb_made_row(engine, feed->symbol, feed->last_row);
}

int tb_engine_set_digest(tb_engine *engine, int32_t index, int64_t update_id, uint64_t digest)
{
    const tb_feed *feed = engine->feeds[index];
    if (feed->last_row < 0 || feed->symbol < 0)
        return 0;
    const tb_table *table = &engine->symbols[feed->symbol]->rows->tables[table_of(feed)];
    const int64_t row = feed->last_row;
    if (row >= table->count || BOOK(update_id, int64_t) != update_id || BOOK(feed, int32_t) != index)
        return 0;
    BOOK(digest, uint64_t) = digest;
    BOOK(has_digest, uint8_t) = 1;
    return 1;
}

/* Brings a side of the frame to the pair in force. */
static tb_error rescale(tb_frame *frame, int s, int rpi, unsigned price_decimals, unsigned size_decimals)
{
    const uint8_t *decimals = frame->decimals[s];
    for (int32_t i = 0; i < frame->count[s]; i++)
        if (tb_rescale(&frame->prices[s][i], price_decimals - decimals[2 * i]) != TB_OK ||
            (frame->sizes[s][i] && tb_rescale(&frame->sizes[s][i], size_decimals - decimals[2 * i + 1]) != TB_OK) ||
            (rpi && frame->rpi_sizes[s][i] &&
             tb_rescale(&frame->rpi_sizes[s][i], size_decimals - frame->rpi_decimals[s][i]) != TB_OK))
            return TB_DECIMAL;
    return TB_OK;
}

/* Unsorted levels are legal, a price twice is not. The row keeps the message's order, so a copy is sorted: *memory, which is
 * the caller's to free, holds it. */
static tb_error sort_copy(const tb_changes changes[], tb_changes sorted[], int count_of_sides, int64_t **memory)
{
    size_t count[4] = {0}, all = 0;
    for (int s = 0; s < count_of_sides; s++)
        all += count[s] = (size_t)changes[s].count;
    int64_t *prices = *memory = malloc(all * 4 * sizeof *prices + 1), *sizes = prices + all;
    if (!prices)
        return TB_NO_MEMORY;
    tb_level *scratch = (tb_level *)(void *)(sizes + all);
    for (int s = 0; s < count_of_sides; s++) { /* no price is there twice, so [2] comes out in the order of [0] */
        if (count[s]) {
            memcpy(prices, changes[s].prices, count[s] * sizeof *prices);
            memcpy(sizes, changes[s].sizes, count[s] * sizeof *sizes);
        }
        if (tb_sort_changes(prices, sizes, changes[s].count, s & 1, scratch))
            return TB_DUPLICATE_LEVEL;
        sorted[s] = (tb_changes){prices, sizes, changes[s].count};
        prices += count[s];
        sizes += count[s];
    }
    return TB_OK;
}

static int overflown(const tb_feed *feed, const tb_book *book)
{
    return book->sides[0].count > 2 * feed->depth || book->sides[1].count > 2 * feed->depth;
}

uint64_t tb_feed_digest(const tb_feed *feed)
{
    const uint64_t digest = tb_book_digest(&feed->book);
    return feed->rpi ? tb_book_joint_digest(digest, tb_book_digest(feed->rpi)) : digest;
}

uint64_t tb_feed_digest_recomputed(const tb_feed *feed)
{
    const uint64_t digest = tb_book_digest_recomputed(&feed->book);
    return feed->rpi ? tb_book_joint_digest(digest, tb_book_digest_recomputed(feed->rpi)) : digest;
}

/* Only a feed that was crossed already, or whose sides may grow beyond what is kept, can be refused after the fact: then the
 * frame is tried on a copy first, so that a frame that is refused leaves no trace, and a feed's book never needs more room
 * than for twice its depth. */
static int is_risky(const tb_feed *feed, const tb_changes changes[], int replace)
{
    int risky = feed->crossed && !replace;
    for (int s = 0; s < 2; s++)
        risky |= (int64_t)(replace ? 0 : feed->book.sides[s].count) + changes[s].count > 2 * feed->depth;
    return risky;
}

/* The state after a frame is judged as a whole: nonsense stops the feed, and the frame counts as not applied. A snapshot
 * is the exchange's own word on the state, so it may be crossed again and again, a delta behind it may not. */
static int judged(tb_engine *engine, int32_t index, const tb_book *book, const tb_book *rpi, const tb_frame *frame, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    int cause = -1, crossed = tb_book_crossed(book); /* by the sizes that are no RPI: these may be hidden, and shown again */
    if (TB_UNLIKELY(overflown(feed, book) || (rpi && overflown(feed, rpi))))
        cause = TB_CAUSE_OVERFLOW;
    else if (TB_UNLIKELY(crossed && feed->crossed && frame->kind == TB_DELTA))
        cause = TB_CAUSE_CROSSED;
    if (TB_LIKELY(cause < 0)) {
        feed->crossed = (uint8_t)crossed;
        return 1;
    }
    if (feed->update_id == TB_NONE) /* nothing was ever good: the gap begins with this frame */
        tb_open_gap(engine, index, cause, tb_has_consecutive_ids(feed) ? frame->update_id : TB_NONE, frame->match_ms, at);
    tb_make_stale(engine, index, cause, at);
    return 0;
}

/* An RPI book is two books, and both change or none: they are tried aside. Ten small frames a second can afford it. */
static tb_error take_rpi(tb_engine *engine, int32_t index, const tb_frame *frame, const tb_changes changes[], int64_t *changed,
                         int *good, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    tb_book *book = &engine->aside, *rpi = &engine->aside_rpi;
    const int replace = frame->kind == TB_SNAPSHOT;
    int64_t rpi_changed = 0;
    if (tb_book_copy(book, &feed->book) != TB_OK || tb_book_copy(rpi, feed->rpi) != TB_OK ||
        (replace ? tb_book_load(book, changes) : tb_book_apply(book, changes, changed)) != TB_OK ||
        (replace ? tb_book_load(rpi, changes + 2) : tb_book_apply(rpi, changes + 2, &rpi_changed)) != TB_OK)
        return TB_NO_MEMORY;
    *good = judged(engine, index, book, rpi, frame, at);
    if (*good) { /* can't fail: there is room for twice the depth */
        (void)tb_book_copy(&feed->book, book);
        (void)tb_book_copy(feed->rpi, rpi);
        *changed += rpi_changed;
    }
    return TB_OK;
}

/* Takes the levels into the book, or says TB_NO_MEMORY, with nothing changed. *good: the book may be believed. */
static tb_error take(tb_engine *engine, int32_t index, const tb_frame *frame, const tb_changes changes[],
                     int64_t *changed, int *good, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    if (TB_UNLIKELY(feed->rpi != NULL))
        return take_rpi(engine, index, frame, changes, changed, good, at);
    int replace = frame->kind == TB_SNAPSHOT, risky = is_risky(feed, changes, replace);
    tb_book *book = TB_UNLIKELY(risky) ? &engine->aside : &feed->book;
    if (TB_UNLIKELY(risky) && tb_book_copy(book, &feed->book) != TB_OK)
        return TB_NO_MEMORY;
    if (TB_UNLIKELY(risky) && tb_is_full(feed) &&
        tb_book_reserve(&feed->book, feed->book.sides[0].count + changes[0].count,
                        feed->book.sides[1].count + changes[1].count) != TB_OK)
        return TB_NO_MEMORY;
    if ((replace ? tb_book_load(book, changes) : tb_book_apply(book, changes, changed)) != TB_OK)
        return TB_NO_MEMORY;
    *good = judged(engine, index, book, NULL, frame, at);
    if (TB_UNLIKELY(risky) && *good)
        (void)tb_book_copy(&feed->book, book); /* can't fail: there is room */
    return TB_OK;
}

void tb_note_digest(tb_engine *engine, int32_t index, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    feed->since_digest = 0;
    if (engine->columns || engine->restating)
        return;
    tb_event *event = tb_push_event(engine, TB_EVENT_DIGEST, index, at);
    event->update_id = feed->update_id;
    event->digest = tb_feed_digest(feed);
}

static int cause_of_loss(const tb_engine *engine, const tb_feed *feed, tb_stamp at)
{
    int damaged = at.line < engine->line_count && engine->lines[at.line].damage_sequence > feed->sequence;
    return damaged || tb_was_hurt(feed) ? TB_CAUSE_UNDECODABLE : TB_CAUSE_LOST;
}

static tb_error on_snapshot(tb_engine *engine, int32_t index, const tb_frame *frame, const tb_changes row[],
                            const tb_changes changes[], tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    int consecutive = tb_has_consecutive_ids(feed), good;
    int64_t before = feed->update_id, changed;
    tb_error error = take(engine, index, frame, changes, &changed, &good, at);
    if (error != TB_OK)
        return error;
    feed->seen_count = 0;
    tb_remember(feed, frame->update_id);
    frame_row(engine, index, frame, row, good, at);
    if (!good)
        return TB_OK;
    if (consecutive && feed->state == TB_LIVE && before != TB_NONE && frame->update_id - 1 > before &&
        !tb_may_be_brought(feed, before + 1, at)) /* nobody had missed anything, and yet there is something between */
        tb_open_gap(engine, index, cause_of_loss(engine, feed, at), before + 1, TB_NONE, at);
    int new_chain = frame->update_id == 1 || frame->update_id < before;
    tb_close_gap(engine, index, &feed->gap, TB_BY_SNAPSHOT,
              consecutive && !new_chain ? frame->update_id - 1 : TB_NONE, frame->match_ms, at);
    feed->state = TB_LIVE;
    feed->update_id = frame->update_id;
    tb_good_frame(feed, frame, at);
    feed->keyframe_push_ms = frame->push_ms;
    feed->changed = 0;
    if (consecutive || ++feed->since_digest >= TB_DIGEST_EVERY)
        tb_note_digest(engine, index, at);
    return TB_OK;
}

/* A delta of the full book before there is a snapshot, which doesn't come with the stream: that is no gap, but a loss among
 * these deltas is one (protocol section 3.3, step 1). */
static void await_answer(tb_engine *engine, int32_t index, const tb_frame *frame, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    const int64_t u = frame->update_id;
    int64_t last = TB_NONE;
    for (int32_t i = 0; i < feed->seen_count; i++)
        last = feed->seen[i].high > last ? feed->seen[i].high : last;
    if (u == 1 && last != 1)
        feed->seen_count = 0; /* a new chain */
    else if (last != TB_NONE && u > last && u - 1 != last && !tb_may_be_brought(feed, last + 1, at))
        tb_open_gap(engine, index, TB_CAUSE_LOST, last + 1, frame->match_ms, at);
}

/* A delta that doesn't follow the last good frame. */
static void on_break(tb_engine *engine, int32_t index, const tb_frame *frame, const tb_changes row[], tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    int64_t u = frame->update_id;
    if (tb_is_full(feed) && feed->state != TB_LIVE) {
        await_answer(engine, index, frame, at);
    } else if (feed->state == TB_LIVE) {
        if (u == 1) { /* a restart: a new chain, which the next snapshot will join */
            tb_make_stale(engine, index, TB_CAUSE_RESET, at);
            feed->seen_count = 0;
        } else if (u > feed->update_id) {
            tb_make_stale(engine, index, cause_of_loss(engine, feed, at), at);
        } else if (feed->cross_sequence != TB_NONE && frame->cross_sequence > feed->cross_sequence) {
            /* newer, and yet not the next one: of a chain whose snapshot we lack */
            tb_make_stale(engine, index, TB_CAUSE_RESET, at);
            feed->seen_count = 0;
        }
    } else if (feed->state != TB_STALE) {
        tb_open_gap(engine, index, TB_CAUSE_NO_SNAPSHOT, tb_has_consecutive_ids(feed) ? u : TB_NONE, frame->match_ms, at);
    }
    if (tb_seen(feed, u)) {
        feed->repeats++;
        return;
    }
    tb_remember(feed, u);
    frame_row(engine, index, frame, row, 0, at);
}

static tb_error on_delta(tb_engine *engine, int32_t index, const tb_frame *frame, const tb_changes row[],
                         const tb_changes changes[], tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    int64_t u = frame->update_id, changed = 0;
    int good;
    if (TB_UNLIKELY(feed->state != TB_LIVE || u - 1 != feed->update_id || (u == 1 && tb_is_full(feed)))) {
        on_break(engine, index, frame, row, at);
        return TB_OK;
    }
    tb_error error = take(engine, index, frame, changes, &changed, &good, at);
    if (error != TB_OK)
        return error;
    if (TB_LIKELY(feed->seen_count == 1 && feed->seen[0].high == u - 1))
        feed->seen[0].high = u;
    else
        tb_remember(feed, u);
    frame_row(engine, index, frame, row, good, at);
    if (TB_UNLIKELY(!good))
        return TB_OK;
    feed->update_id = u;
    tb_good_frame(feed, frame, at);
    feed->changed += changed;
    if (++feed->since_digest >= TB_DIGEST_EVERY)
        tb_note_digest(engine, index, at);
    if (engine->columns) {
        int64_t since = frame->push_ms - feed->keyframe_push_ms;
        int64_t held = (int64_t)feed->book.sides[0].count + feed->book.sides[1].count;
        if (feed->rpi)
            held += (int64_t)feed->rpi->sides[0].count + feed->rpi->sides[1].count;
        if ((since >= TB_KEYFRAME_MS && feed->changed >= held) || since >= TB_KEYFRAME_QUIET_MS)
            keyframe(engine, index);
    }
    return TB_OK;
}

/* A frame that the fast path has read: sorted, and at the pair in force. */
static tb_error on_levels(tb_engine *engine, int32_t index, const tb_frame *frame, const tb_changes row[],
                          const tb_changes changes[], tb_verdict verdict, tb_stamp at)
{
    begin_file(engine, index, frame);
    tb_count_message(engine->feeds[index], at);
    if (TB_UNLIKELY(verdict == TB_LATE)) {
        frame_row(engine, index, frame, row, 0, at);
        return TB_OK;
    }
    return frame->kind == TB_SNAPSHOT ? on_snapshot(engine, index, frame, row, changes, at)
                                      : on_delta(engine, index, frame, row, changes, at);
}

/* Another line has brought it, or will: nothing happens. */
static int is_copy(tb_engine *engine, int32_t index, const tb_frame *frame, tb_verdict *verdict, tb_stamp at)
{
    if (TB_LIKELY(!tb_is_merged(engine->feeds[index], at)) || engine->restating)
        return 0;
    *verdict = tb_admit(engine, index, frame, at);
    if (*verdict == TB_COPY)
        tb_count_message(engine->feeds[index], at);
    return *verdict == TB_COPY;
}

/* Any other one is brought to that first. */
static tb_error on_other_levels(tb_engine *engine, int32_t index, tb_frame *frame, const tb_changes row[], tb_stamp at)
{
    const int sides = SIDES(engine->feeds[index]);
    const tb_symbol *symbol = engine->symbols[engine->feeds[index]->symbol];
    unsigned price = tb_max(symbol->price_decimals, frame->price_decimals);
    unsigned size = tb_max(symbol->size_decimals, frame->size_decimals);
    tb_changes sorted[4] = {row[0], row[1]};
    int64_t *memory = NULL;
    tb_error error = TB_OK;
    for (int s = 0; s < 2 && error == TB_OK; s++)
        error = rescale(frame, s, sides == 4, price, size);
    for (int s = 2; s < sides; s++)
        sorted[s] = row[s];
    if (error == TB_OK &&
        !(tb_is_sorted(row[0].prices, row[0].count, 0) && tb_is_sorted(row[1].prices, row[1].count, 1)))
        error = sort_copy(row, sorted, sides, &memory);
    if (error == TB_OK)
        error = tb_can_widen(engine, symbol, price, size);
    tb_verdict verdict = TB_TAKE;
    if (error == TB_OK && !is_copy(engine, index, frame, &verdict, at)) {
        begin_file(engine, index, frame);
        tb_widen(engine, engine->feeds[index]->symbol, price, size, at);
        error = on_levels(engine, index, frame, row, sorted, verdict, at);
    }
    free(memory);
    return error;
}

tb_error tb_on_book(tb_engine *engine, int32_t index, tb_frame *frame, tb_stamp at)
{
    if (TB_UNLIKELY(!frame->ready)) {
        const tb_changes row[4] = {{frame->prices[0], frame->sizes[0], frame->count[0]},
                                   {frame->prices[1], frame->sizes[1], frame->count[1]},
                                   {frame->prices[0], frame->rpi_sizes[0], frame->count[0]},
                                   {frame->prices[1], frame->rpi_sizes[1], frame->count[1]}};
        return on_other_levels(engine, index, frame, row, at);
    }
    /* the fast path reads no second sizes */
    const tb_changes row[2] = {{frame->prices[0], frame->sizes[0], frame->count[0]},
                               {frame->prices[1], frame->sizes[1], frame->count[1]}};
    tb_verdict verdict = TB_TAKE;
    return TB_UNLIKELY(is_copy(engine, index, frame, &verdict, at)) ? TB_OK
                                                                     : on_levels(engine, index, frame, row, row, verdict, at);
}
