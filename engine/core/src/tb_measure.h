/* What one book can tell: best prices, sums, costs, ratios, and what a message would change. Formulae, sources and the
 * answers for odd books are in docs/books.md.
 *
 * Everything here only reads, takes no memory and never fails. Prices and sizes are the book's mantissas; sizes are above 0, as
 * tb_book_load and tb_book_apply keep them; prices may be 0 or negative (spread products). A side is TB_BIDS or TB_ASKS;
 * `levels` is how many levels from the best are read, which for readers is at most the topic's depth: what lies deeper is state
 * that they don't see. Sums and products are exact: 2^31 levels of 2^63 fit in 128 bits. */
#ifndef TB_MEASURE_H
#define TB_MEASURE_H

#include "tb_book.h"

enum { TB_BIDS = 0, TB_ASKS = 1 };

/* Widths count in millionths of a basis point, so that boundaries are exact integers; this many are the whole price. */
#define TB_MICRO_BPS INT64_C(10000000000)

#define TB_NAN __builtin_nan("")

/* ---- in constant time ---- */

static inline int tb_has_both_sides(const tb_book *book)
{
    return book->sides[TB_BIDS].count > 0 && book->sides[TB_ASKS].count > 0;
}

/* Level `i` from the best, or one of size 0 (and price 0) where there is none. */
static inline tb_level tb_level_at(const tb_book *book, int side, int32_t i)
{
    if (i < 0 || i >= book->sides[side].count)
        return (tb_level){0, 0};
    return tb_book_level(book, side, i);
}

/* Best bid plus best ask: twice the mid. 0 without two sides. */
static inline tb_int128 tb_mid_doubled(const tb_book *book)
{
    if (!tb_has_both_sides(book))
        return 0;
    return (tb_int128)tb_book_level(book, TB_BIDS, 0).price + tb_book_level(book, TB_ASKS, 0).price;
}

/* Best ask less best bid: negative when crossed, 0 when locked. 0 without two sides. */
static inline tb_int128 tb_spread(const tb_book *book)
{
    if (!tb_has_both_sides(book))
        return 0;
    return (tb_int128)tb_book_level(book, TB_ASKS, 0).price - tb_book_level(book, TB_BIDS, 0).price;
}

/* The mid, correctly rounded. NaN without two sides. */
static inline double tb_mid(const tb_book *book)
{
    return tb_has_both_sides(book) ? (double)tb_mid_doubled(book) / 2 : TB_NAN;
}

/* The mid weighted by the sizes on the other side: (bid * ask_size + ask * bid_size) / (bid_size + ask_size). The sums are
 * exact, the quotient is within 2^-51 of its value. NaN without two sides. */
static inline double tb_microprice(const tb_book *book)
{
    if (!tb_has_both_sides(book))
        return TB_NAN;
    tb_level bid = tb_book_level(book, TB_BIDS, 0), ask = tb_book_level(book, TB_ASKS, 0);
    tb_int128 weighted = (tb_int128)bid.price * ask.size + (tb_int128)ask.price * bid.size;
    return (double)weighted / (double)((tb_int128)bid.size + ask.size);
}

/* ---- over levels ---- */

/* Sum of the sizes of the best levels. */
tb_int128 tb_depth_of(const tb_book *book, int side, int32_t levels);

/* (B - A) / (B + A) with the summed sizes of the best levels: from -1, only asks, to 1, only bids. NaN when both are empty. */
double tb_imbalance(const tb_book *book, int32_t levels);

/* Sum of sizes no farther from the mid than a width: bids at or above mid - |mid| * width, asks at or below mid + |mid| * width,
 * both inclusive; levels across the mid (a crossed book's) count. -1 without two sides or for a negative width. */
tb_int128 tb_depth_within(const tb_book *book, int side, int32_t levels, int64_t width_micro_bps);

/* The same sums apart, by distance from the mid: out[i] is what lies beyond i widths and within i + 1 (out[0]: within one), so
 * that the first n add up to tb_depth_within n widths. Says whether there was an answer: two sides, at least one bucket, and a
 * width of 0 or more of which `buckets` fit in INT64_MAX; if not, `out` is untouched. */
int tb_depth_profile(const tb_book *book, int side, int32_t levels, int64_t width_micro_bps, int32_t buckets,
                     tb_int128 *out);

/* What walking a side from the best level on would bring. */
typedef struct {
    tb_int128 notional;   /* sum of price * size taken, at the sum of the exponents */
    double average_price; /* notional / filled within 2^-51 of its value; NaN when nothing was filled */
    int64_t filled;       /* size taken; for want of levels this can be less than asked for */
    int64_t worst_price;  /* of the last level touched; 0 when nothing was filled */
    int32_t touched;      /* levels taken from */
    int complete;         /* what was asked for ended the walk, not the levels */
} tb_fill;

/* Takes `size` from a side: TB_ASKS for a purchase, TB_BIDS for a sale. Nothing is taken for a size of 0, which is complete, or
 * below, which is not. */
tb_fill tb_fill_size(const tb_book *book, int side, int32_t levels, int64_t size);

/* Takes the largest size whose notional is at most `notional`, 0 to INT64_MAX^2 (for others nothing is taken and `complete` is
 * 0). `filled` stops at INT64_MAX, which leaves the walk incomplete. Prices of 0 and below: a purchase takes such asks whole,
 * since they cost nothing or pay; a sale ends before such bids, since they bring nothing. */
tb_fill tb_fill_notional(const tb_book *book, int side, int32_t levels, tb_int128 notional);

/* ---- what changes ---- */

/* One level that a message changes. */
typedef struct {
    int64_t price;
    int64_t before, after; /* sizes; 0: no level */
    int32_t place;         /* how many levels of the book, as it was, are better */
    int32_t side;
} tb_change;

/* What taking a message into the book would change: a delta, or with `replace` a snapshot. Call it before tb_book_apply or
 * tb_book_load, with the same message at the book's own exponents. Bids first, each side best first. Returns how many levels
 * change, for a delta what tb_book_apply counts; the first `capacity` of them are in `out`. There are never more than the
 * message has levels, and with `replace` the book's besides. */
int64_t tb_book_changes(const tb_book *book, const tb_changes changes[2], int replace, tb_change *out, int64_t capacity);

#endif
