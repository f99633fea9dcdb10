/* One order book: two flat sorted arrays with the best price at the end, and a digest of the whole state.
 *
 * A level is stored under a key that grows towards the best price on both sides (bids: price, asks: -price), so that
 * one piece of code serves both. Mantissas are within +-INT64_MAX, so negation is exact. */
#ifndef TB_BOOK_H
#define TB_BOOK_H

#include "tb_types.h"

typedef struct {
    int64_t price; /* in messages: mantissa; in a side: key */
    int64_t size;
} tb_level;

typedef struct {
    tb_level *levels;
    int32_t count;
    int32_t capacity;
} tb_side;

typedef struct {
    tb_side sides[2]; /* 0 bids, 1 asks */
    uint64_t digest;  /* of the levels only; see tb_book_digest */
    uint8_t price_decimals;
    uint8_t size_decimals;
} tb_book;

/* The levels of one side of one message, best price first when `sorted`. */
typedef struct {
    const tb_level *levels;
    int32_t count;
    int sorted;
} tb_changes;

void tb_book_init(tb_book *book);
void tb_book_free(tb_book *book);
void tb_book_clear(tb_book *book);

/* Replace the state. Levels of size 0 are ignored. TB_NO_MEMORY leaves the book cleared. */
tb_error tb_book_load(tb_book *book, const tb_changes changes[2]);

/* Set absolute sizes; 0 removes; removing an unknown price is ignored. *changed counts levels that differ afterwards.
 * Memory is taken before anything changes: TB_NO_MEMORY leaves the book as it was. */
tb_error tb_book_apply(tb_book *book, const tb_changes changes[2], int64_t *changed);

/* Make `copy` (initialised) the same book. TB_NO_MEMORY leaves it as it was. */
tb_error tb_book_copy(tb_book *copy, const tb_book *book);

/* Would widening to these decimals keep every mantissa within int64? */
tb_error tb_book_can_widen(const tb_book *book, unsigned price_decimals, unsigned size_decimals);
/* Rescale every level; call tb_book_can_widen first. */
void tb_book_widen(tb_book *book, unsigned price_decimals, unsigned size_decimals);

/* The 64-bit digest of the whole state with its exponents (docs/digest.md). */
uint64_t tb_book_digest(const tb_book *book);
/* The same, recomputed from the levels; equal by construction, which tests check. */
uint64_t tb_book_digest_recomputed(const tb_book *book);

static inline int tb_book_crossed(const tb_book *book)
{
    const tb_side *bids = &book->sides[0], *asks = &book->sides[1];
    return bids->count && asks->count &&
           bids->levels[bids->count - 1].price >= -asks->levels[asks->count - 1].price;
}

/* Level `i` from the best of a side, as price and size mantissas. */
static inline tb_level tb_book_level(const tb_book *book, int side, int32_t i)
{
    const tb_side *s = &book->sides[side];
    tb_level level = s->levels[s->count - 1 - i];
    if (side)
        level.price = -level.price;
    return level;
}

/* Sorts best first in place and says whether a price occurs twice. side: 0 bids, 1 asks. */
int tb_sort_changes(tb_level *levels, int32_t count, int side);

#endif
