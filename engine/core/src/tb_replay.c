#include "tb_replay.h"

#include <stdlib.h>
#include <string.h>

#include "tb_decimal.h"

void tb_replay_init(tb_replay *replay, int32_t depth)
{
    memset(replay, 0, sizeof *replay);
    replay->depth = depth;
    replay->last_sequence = INT64_MIN;
    tb_loose_init(&replay->loose);
    tb_book_init(&replay->aside);
}

void tb_replay_free(tb_replay *replay)
{
    tb_loose_free(&replay->loose);
    tb_book_free(&replay->aside);
    free(replay->scratch);
    replay->scratch = NULL;
    replay->scratch_count = 0;
}

static __attribute__((noinline, cold)) tb_row_error fail(tb_replay *r, tb_row_error error, int column, int64_t found,
                                                         int64_t expected)
{
    r->error = error;
    r->column = column;
    r->found = found;
    r->expected = expected;
    return error;
}

/* ---- what a row says ---- */

static tb_row_error nulls(tb_replay *r, const tb_replay_columns *c, int64_t i)
{
    for (int column = 0; column < TB_COLUMN_COUNT; column++)
        if (!tb_bit(c->there[column], i))
            return fail(r, TB_ROW_NULL, column, 0, 0);
    return TB_ROW_OK;
}

/* The values of a row, within the column's. */
TB_INLINE tb_row_error list_of(tb_replay *r, const tb_replay_columns *c, int64_t i, int which, const int64_t **values,
                               int32_t *count)
{
    const tb_lists *lists = &c->lists[which];
    const int32_t from = lists->offsets[i], to = lists->offsets[i + 1];
    if (TB_UNLIKELY((from < 0) | (to < from) | (to > lists->length)))
        return fail(r, TB_ROW_OFFSETS, TB_COLUMN_LISTS + which, from, to);
    if (TB_UNLIKELY(lists->values_there.bytes != NULL))
        for (int64_t at = from; at < to; at++)
            if (!tb_bit(lists->values_there, at))
                return fail(r, TB_ROW_NULL_LEVEL, TB_COLUMN_LISTS + which, at - from, 0);
    *values = from < to ? lists->values + from : NULL;
    *count = to - from;
    return TB_ROW_OK;
}

TB_INLINE tb_row_error levels_of(tb_replay *r, const tb_replay_columns *c, int64_t i, tb_changes levels[2])
{
    for (int s = 0; s < 2; s++) {
        int32_t sizes = 0;
        if (TB_UNLIKELY(list_of(r, c, i, 2 * s, &levels[s].prices, &levels[s].count) != TB_ROW_OK ||
                        list_of(r, c, i, 2 * s + 1, &levels[s].sizes, &sizes) != TB_ROW_OK))
            return r->error;
        if (TB_UNLIKELY(levels[s].count != sizes))
            return fail(r, TB_ROW_COUNTS, TB_COLUMN_LISTS + 2 * s, levels[s].count, sizes);
    }
    return TB_ROW_OK;
}

/* As the decoder writes them: best first, no price twice, no size below 0, no price without a negative. */
TB_INLINE int is_plain(const tb_changes *levels, int side)
{
    const int32_t n = levels->count;
    int64_t sizes = 0;
    if (n == 0)
        return 1;
    for (int32_t i = 0; i < n; i++)
        sizes |= levels->sizes[i];
    return sizes >= 0 && levels->prices[side ? 0 : n - 1] != INT64_MIN && tb_is_sorted(levels->prices, n, side);
}

static int64_t *scratch(tb_replay *r, size_t count)
{
    if (count > r->scratch_count) {
        int64_t *grown = realloc(r->scratch, count * sizeof *grown);
        if (!grown)
            return NULL;
        r->scratch = grown;
        r->scratch_count = count;
    }
    return r->scratch;
}

/* Levels that are not plain, or have other exponents than the book will: a copy, sorted and brought to these decimals. */
static __attribute__((noinline)) tb_row_error brought(tb_replay *r, tb_changes levels[2], unsigned price_by,
                                                      unsigned size_by)
{
    const size_t both = (size_t)levels[0].count + (size_t)levels[1].count;
    int64_t *prices = scratch(r, 4 * both + 1), *sizes = prices + both;
    if (!prices)
        return fail(r, TB_ROW_NO_MEMORY, 0, 0, 0);
    tb_level *beside = (tb_level *)(void *)(sizes + both);
    for (int s = 0; s < 2; s++) {
        const int32_t n = levels[s].count;
        for (int32_t i = 0; i < n; i++) {
            prices[i] = levels[s].prices[i];
            sizes[i] = levels[s].sizes[i];
            if (sizes[i] < 0)
                return fail(r, TB_ROW_SIZE, TB_COLUMN_LISTS + 2 * s + 1, sizes[i], 0);
            if (prices[i] == INT64_MIN || tb_rescale(&prices[i], price_by) != TB_OK)
                return fail(r, TB_ROW_DECIMAL, TB_COLUMN_LISTS + 2 * s, prices[i], 0);
            if (tb_rescale(&sizes[i], size_by) != TB_OK)
                return fail(r, TB_ROW_DECIMAL, TB_COLUMN_LISTS + 2 * s + 1, sizes[i], 0);
        }
        if (!tb_is_sorted(prices, n, s) && tb_sort_changes(prices, sizes, n, s, beside))
            return fail(r, TB_ROW_DUPLICATE, TB_COLUMN_LISTS + 2 * s, 0, 0);
        levels[s] = (tb_changes){prices, sizes, n};
        prices += n;
        sizes += n;
    }
    return TB_ROW_OK;
}

/* ---- what it does to the book ---- */

TB_INLINE unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* As they are, or a plain copy. */
TB_INLINE tb_row_error made_plain(tb_replay *r, tb_changes levels[2])
{
    if (TB_LIKELY(is_plain(&levels[0], 0) && is_plain(&levels[1], 1)))
        return TB_ROW_OK;
    return brought(r, levels, 0, 0);
}

static tb_row_error replace(tb_replay *r, const tb_changes message[2], unsigned price_decimals, unsigned size_decimals)
{
    tb_changes levels[2] = {message[0], message[1]};
    if (made_plain(r, levels) != TB_ROW_OK)
        return r->error;
    if (tb_loose_load(&r->loose, levels) != TB_OK)
        return fail(r, TB_ROW_NO_MEMORY, 0, 0, 0);
    r->loose.book.price_decimals = (uint8_t)price_decimals;
    r->loose.book.size_decimals = (uint8_t)size_decimals;
    return TB_ROW_OK;
}

/* Levels that are not plain, or at other exponents than the book's: finer ones widen it, coarser ones are brought to it. */
static __attribute__((noinline)) tb_row_error change_slowly(tb_replay *r, const tb_changes message[2],
                                                            unsigned price_decimals, unsigned size_decimals)
{
    tb_book *book = &r->loose.book;
    tb_changes levels[2] = {message[0], message[1]};
    const unsigned price = larger(price_decimals, book->price_decimals);
    const unsigned size = larger(size_decimals, book->size_decimals);
    int64_t changed;
    tb_loose_settle(&r->loose);
    if (brought(r, levels, price - price_decimals, size - size_decimals) != TB_ROW_OK)
        return r->error;
    if (tb_book_can_widen(book, price, size) != TB_OK)
        return fail(r, TB_ROW_WIDER, 0, -(int64_t)price, -(int64_t)size);
    if (tb_loose_reserve(&r->loose, levels[0].count, levels[1].count) != TB_OK)
        return fail(r, TB_ROW_NO_MEMORY, 0, 0, 0);
    if (price != book->price_decimals || size != book->size_decimals)
        tb_book_widen(book, price, size);
    (void)tb_book_apply(book, levels, &changed); /* can't fail: there is room for all to be new */
    tb_loose_adopt(&r->loose);
    return TB_ROW_OK;
}

TB_INLINE tb_row_error change(tb_replay *r, const tb_changes levels[2], unsigned price_decimals, unsigned size_decimals)
{
    const tb_book *book = &r->loose.book;
    if (TB_UNLIKELY(price_decimals != book->price_decimals || size_decimals != book->size_decimals))
        return change_slowly(r, levels, price_decimals, size_decimals);
    const tb_error error = tb_loose_apply(&r->loose, levels);
    if (TB_LIKELY(error == TB_OK))
        return TB_ROW_OK;
    return error == TB_NO_MEMORY ? fail(r, TB_ROW_NO_MEMORY, 0, 0, 0)
                                 : change_slowly(r, levels, price_decimals, size_decimals);
}

/* Whether two books are the same, once the one is widened to what the other may have finer. */
static int is_same(const tb_book *book, const tb_book *other, int *no_memory)
{
    const unsigned price = larger(book->price_decimals, other->price_decimals);
    const unsigned size = larger(book->size_decimals, other->size_decimals);
    if (TB_LIKELY(price == book->price_decimals && size == book->size_decimals))
        return tb_book_digest(book) == tb_book_digest(other);
    tb_book wider;
    tb_book_init(&wider);
    *no_memory = tb_book_copy(&wider, book) != TB_OK;
    int same = 0;
    if (!*no_memory && tb_book_can_widen(&wider, price, size) == TB_OK) {
        tb_book_widen(&wider, price, size);
        same = tb_book_digest(&wider) == tb_book_digest(other);
    }
    tb_book_free(&wider);
    return same;
}

/* A keyframe is the book that the rows before it make, if that book stands at the same update. */
static tb_row_error compare_keyframe(tb_replay *r, const tb_changes message[2], unsigned price_decimals,
                                     unsigned size_decimals, int64_t update_id)
{
    tb_changes levels[2] = {message[0], message[1]};
    int no_memory = 0;
    if (!r->held || r->update_id != update_id)
        return TB_ROW_OK;
    if (made_plain(r, levels) != TB_ROW_OK)
        return r->error;
    if (tb_book_load(&r->aside, levels) != TB_OK)
        return fail(r, TB_ROW_NO_MEMORY, 0, 0, 0);
    r->aside.price_decimals = (uint8_t)price_decimals;
    r->aside.size_decimals = (uint8_t)size_decimals;
    tb_loose_settle(&r->loose);
    if (is_same(&r->loose.book, &r->aside, &no_memory))
        return TB_ROW_OK;
    return no_memory ? fail(r, TB_ROW_NO_MEMORY, 0, 0, 0) : fail(r, TB_ROW_KEYFRAME, 0, update_id, 0);
}

/* A row that the live book did not take. One that came late, behind the update that it belongs to, has cost nothing. */
TB_INLINE void pass_over(tb_replay *r, int kind, int64_t update_id)
{
    r->trusted &= kind == TB_DELTA && update_id > 1 && update_id <= r->update_id;
}

/* Ids of level 1 are not consecutive. */
TB_INLINE int is_next(const tb_replay *r, int64_t update_id)
{
    return r->depth == 1 || update_id == r->update_id || (uint64_t)update_id == (uint64_t)r->update_id + 1;
}

TB_INLINE tb_row_error take(tb_replay *r, const tb_replay_columns *c, int64_t i, int verify)
{
    tb_changes levels[2];
    r->took = TB_TOOK_NOTHING;
    if (TB_UNLIKELY(c->nulls) && nulls(r, c, i) != TB_ROW_OK)
        return r->error;
    const int kind = c->kind_names[c->kind[i]];
    const int64_t sequence = c->sequence[i], update_id = c->update_id[i];
    const unsigned price_decimals = (unsigned)-c->price_exponent[i], size_decimals = (unsigned)-c->size_exponent[i];
    if (TB_UNLIKELY(kind == TB_NO_KIND))
        return fail(r, TB_ROW_KIND, TB_COLUMN_KIND, c->kind[i], 0);
    if (TB_UNLIKELY(c->depth[i] != r->depth))
        return fail(r, TB_ROW_DEPTH, TB_COLUMN_DEPTH, c->depth[i], r->depth);
    if (TB_UNLIKELY(sequence < r->last_sequence))
        return fail(r, TB_ROW_SEQUENCE, TB_COLUMN_SEQUENCE, sequence, r->last_sequence);
    if (TB_UNLIKELY(price_decimals > TB_MAX_DECIMALS))
        return fail(r, TB_ROW_EXPONENT, TB_COLUMN_PRICE_EXPONENT, c->price_exponent[i], 0);
    if (TB_UNLIKELY(size_decimals > TB_MAX_DECIMALS))
        return fail(r, TB_ROW_EXPONENT, TB_COLUMN_SIZE_EXPONENT, c->size_exponent[i], 0);
    if (TB_UNLIKELY(levels_of(r, c, i, levels) != TB_ROW_OK))
        return r->error;
    if (TB_UNLIKELY(!tb_bit(c->applied, i))) {
        pass_over(r, kind, update_id);
    } else if (TB_LIKELY(kind == TB_DELTA)) {
        if (TB_LIKELY(r->held)) {
            if (TB_UNLIKELY((uint64_t)update_id != (uint64_t)r->update_id + 1))
                return fail(r, TB_ROW_BREAK, TB_COLUMN_UPDATE_ID, update_id, r->update_id);
            if (TB_UNLIKELY(change(r, levels, price_decimals, size_decimals) != TB_ROW_OK))
                return r->error;
            r->took = TB_TOOK_MESSAGE;
            r->follows = r->trusted;
        } else if (verify) {
            return fail(r, TB_ROW_NO_BOOK, TB_COLUMN_UPDATE_ID, update_id, 0);
        }
    } else {
        if (verify && kind == TB_KEYFRAME &&
            compare_keyframe(r, levels, price_decimals, size_decimals, update_id) != TB_ROW_OK)
            return r->error;
        if (replace(r, levels, price_decimals, size_decimals) != TB_ROW_OK)
            return r->error;
        r->took = kind == TB_KEYFRAME ? TB_TOOK_KEYFRAME : TB_TOOK_MESSAGE;
        r->follows = (uint8_t)(r->trusted && is_next(r, update_id));
        r->held = r->trusted = 1;
        r->keyframes += kind == TB_KEYFRAME;
    }
    r->last_sequence = sequence;
    r->rows++;
    if (r->took != TB_TOOK_NOTHING) {
        r->update_id = update_id;
        r->sequence = sequence;
        r->books++;
    }
    return TB_ROW_OK;
}

tb_row_error tb_replay_row(tb_replay *replay, const tb_replay_columns *columns, int64_t i)
{
    return take(replay, columns, i, 0);
}

int64_t tb_replay_best(tb_replay *replay, const tb_replay_columns *columns, tb_best *out)
{
    for (int64_t i = 0; i < columns->count; i++) {
        if (TB_UNLIKELY(take(replay, columns, i, 0) != TB_ROW_OK))
            return i;
        const tb_book *book = &replay->loose.book;
        const tb_level bid = tb_loose_best(&replay->loose, 0), ask = tb_loose_best(&replay->loose, 1);
        const int has_bid = bid.size != 0, has_ask = ask.size != 0;
        out->bid_price[i] = has_bid ? bid.price : 0;
        out->bid_size[i] = bid.size;
        out->ask_price[i] = has_ask ? ask.price : 0;
        out->ask_size[i] = ask.size;
        out->price_exponent[i] = (int8_t)-book->price_decimals;
        out->size_exponent[i] = (int8_t)-book->size_decimals;
        out->flags[i] = (uint8_t)(has_bid * TB_HAS_BID | has_ask * TB_HAS_ASK | (replay->trusted ? TB_IS_TRUSTED : 0));
    }
    return columns->count;
}

int64_t tb_replay_verify(tb_replay *replay, const tb_replay_columns *columns)
{
    for (int64_t i = 0; i < columns->count; i++) {
        if (TB_UNLIKELY(take(replay, columns, i, 1) != TB_ROW_OK))
            return i;
        if (replay->took == TB_TOOK_NOTHING || !tb_bit(columns->digest_there, i))
            continue;
        replay->digests++;
        tb_loose_settle(&replay->loose);
        const uint64_t digest = tb_book_digest(&replay->loose.book);
        if (digest != columns->digest[i]) {
            (void)fail(replay, TB_ROW_DIGEST, 0, (int64_t)digest, (int64_t)columns->digest[i]);
            return i;
        }
    }
    return columns->count;
}

int64_t tb_flag_bits(const uint8_t *flags, int64_t count, uint8_t flag, uint8_t *bits)
{
    int64_t set = 0;
    for (int64_t at = 0; at < count; at += 8) {
        const int64_t rows = count - at < 8 ? count - at : 8;
        unsigned eight = 0;
        for (int64_t i = 0; i < rows; i++)
            eight |= (unsigned)((flags[at + i] & flag) != 0) << i;
        bits[at >> 3] = (uint8_t)eight;
        set += __builtin_popcount(eight);
    }
    return set;
}
