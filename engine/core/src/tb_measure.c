#include "tb_measure.h"

#include <string.h>

static int32_t readable(const tb_book *book, int side, int32_t levels)
{
    int32_t count = book->sides[side].count;
    return levels < count ? levels : count;
}

tb_int128 tb_depth_of(const tb_book *book, int side, int32_t levels)
{
    const int32_t n = readable(book, side, levels);
    tb_int128 sum = 0;
    for (int32_t i = 0; i < n; i++)
        sum += tb_book_level(book, side, i).size;
    return sum;
}

double tb_imbalance(const tb_book *book, int32_t levels)
{
    tb_int128 bids = tb_depth_of(book, TB_BIDS, levels), asks = tb_depth_of(book, TB_ASKS, levels);
    return bids + asks > 0 ? (double)(bids - asks) / (double)(bids + asks) : TB_NAN;
}

/* ---- distances from the mid ----
 *
 * With s = twice the mid, a level at price p lies a distance of |2p - s| from it, in half mantissas, and a width of w
 * micro-bps reaches |s| * w / TB_MICRO_BPS far. Both are compared times TB_MICRO_BPS: below 2^100 and 2^127. */

static tb_int128 reach(tb_int128 mid_doubled, int64_t width_micro_bps)
{
    return (mid_doubled < 0 ? -mid_doubled : mid_doubled) * width_micro_bps;
}

static tb_int128 distance(tb_int128 mid_doubled, int side, int64_t price)
{
    tb_int128 above = 2 * (tb_int128)price - mid_doubled;
    return (side == TB_ASKS ? above : -above) * TB_MICRO_BPS;
}

tb_int128 tb_depth_within(const tb_book *book, int side, int32_t levels, int64_t width_micro_bps)
{
    if (!tb_has_both_sides(book) || width_micro_bps < 0)
        return -1;
    const int32_t n = readable(book, side, levels);
    const tb_int128 mid_doubled = tb_mid_doubled(book), bound = reach(mid_doubled, width_micro_bps);
    tb_int128 sum = 0;
    for (int32_t i = 0; i < n; i++) {
        tb_level level = tb_book_level(book, side, i);
        if (distance(mid_doubled, side, level.price) > bound)
            break;
        sum += level.size;
    }
    return sum;
}

int tb_depth_profile(const tb_book *book, int side, int32_t levels, int64_t width_micro_bps, int32_t buckets,
                     tb_int128 *out)
{
    if (!tb_has_both_sides(book) || width_micro_bps < 0 || buckets < 1 || width_micro_bps > INT64_MAX / buckets)
        return 0;
    memset(out, 0, (size_t)buckets * sizeof *out);
    const int32_t n = readable(book, side, levels);
    const tb_int128 mid_doubled = tb_mid_doubled(book), step = reach(mid_doubled, width_micro_bps);
    tb_int128 bound = step;
    int32_t bucket = 0;
    for (int32_t i = 0; i < n; i++) {
        tb_level level = tb_book_level(book, side, i);
        const tb_int128 from_mid = distance(mid_doubled, side, level.price);
        for (; from_mid > bound; bound += step)
            if (++bucket == buckets)
                return 1;
        out[bucket] += level.size;
    }
    return 1;
}

/* ---- walks ---- */

static void take(tb_fill *fill, int64_t price, int64_t size)
{
    if (size == 0)
        return;
    fill->filled += size;
    fill->notional += (tb_int128)price * size;
    fill->worst_price = price;
    fill->touched++;
}

static tb_fill concluded(tb_fill fill, int complete)
{
    fill.average_price = fill.filled ? (double)fill.notional / (double)fill.filled : TB_NAN;
    fill.complete = complete;
    return fill;
}

tb_fill tb_fill_size(const tb_book *book, int side, int32_t levels, int64_t size)
{
    const int32_t n = readable(book, side, levels);
    tb_fill fill = {0};
    for (int32_t i = 0; i < n && fill.filled < size; i++) {
        tb_level level = tb_book_level(book, side, i);
        int64_t left = size - fill.filled;
        take(&fill, level.price, level.size < left ? level.size : left);
    }
    return concluded(fill, fill.filled == size);
}

tb_fill tb_fill_notional(const tb_book *book, int side, int32_t levels, tb_int128 notional)
{
    const int32_t n = readable(book, side, levels);
    tb_fill fill = {0};
    if (notional < 0 || notional > (tb_int128)INT64_MAX * INT64_MAX)
        return concluded(fill, 0);
    /* Since `filled` is within int64, so are |fill.notional| within INT64_MAX^2 and what is left within twice that. */
    for (int32_t i = 0; i < n; i++) {
        const tb_level level = tb_book_level(book, side, i);
        const tb_int128 left = notional - fill.notional;
        const int64_t room = INT64_MAX - fill.filled, within = level.size < room ? level.size : room;
        if (level.price <= 0 && side == TB_BIDS)
            break;
        if (level.price > 0 && (tb_int128)level.price * within > left) {
            take(&fill, level.price, (int64_t)(left / level.price));
            return concluded(fill, 1);
        }
        take(&fill, level.price, within);
    }
    return concluded(fill, fill.notional == notional);
}

/* ---- changes ---- */

/* How many of the levels are better than a price; the first `from` are known to be. */
static int32_t better_than(const tb_side *side, int s, int32_t from, int64_t price)
{
    int32_t low = from, high = side->count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        int64_t held = side->levels[side->count - 1 - middle].price;
        if (s == TB_ASKS ? held < price : held > price)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

typedef struct {
    tb_change *out;
    int64_t capacity, count;
} tb_change_list;

static void note(tb_change_list *list, tb_change change)
{
    if (change.before == change.after)
        return;
    if (list->count < list->capacity)
        list->out[list->count] = change;
    list->count++;
}

int64_t tb_book_changes(const tb_book *book, const tb_changes changes[2], int replace, tb_change *out, int64_t capacity)
{
    tb_change_list list = {out, capacity, 0};
    for (int s = 0; s < 2; s++) {
        const tb_side *side = &book->sides[s];
        const tb_changes *in = &changes[s];
        int32_t at = 0;
        for (int32_t j = 0; j <= in->count; j++) {
            int32_t to = j < in->count ? better_than(side, s, at, in->prices[j]) : side->count;
            for (; replace && at < to; at++) { /* not in the snapshot */
                tb_level level = tb_book_level(book, s, at);
                note(&list, (tb_change){level.price, level.size, 0, at, s});
            }
            at = to;
            if (j == in->count)
                break;
            tb_level level = tb_level_at(book, s, at);
            int held = at < side->count && level.price == in->prices[j];
            note(&list, (tb_change){in->prices[j], held ? level.size : 0, in->sizes[j], at, s});
            at += held;
        }
    }
    return list.count;
}
