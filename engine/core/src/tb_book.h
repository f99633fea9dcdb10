/* One order book: two flat sorted arrays with the best level at the end, and a digest of the whole state.
 *
 * Bids rise towards the end, asks fall. Mantissas are within +-INT64_MAX, so negation is exact. */
#ifndef TB_BOOK_H
#define TB_BOOK_H

#include "tb_types.h"

typedef struct {
    int64_t price;
    int64_t size;
} tb_level;

/* Memory of one side. One level more than its capacity is there, so that the place behind the last may be touched. */
typedef struct tb_block {
    struct tb_block *older; /* only while it is kept for somebody's view */
    tb_level levels[];
} tb_block;

typedef struct {
    tb_level *levels; /* of the block, or NULL */
    int32_t count;
    int32_t capacity;
} tb_side;

typedef struct {
    tb_side sides[2]; /* 0 bids, 1 asks */
    uint64_t digest;  /* of the levels only; see tb_book_digest */
    uint8_t price_decimals;
    uint8_t size_decimals;
    uint8_t viewed;   /* somebody looks at the arrays: memory that they grow out of is kept */
    uint8_t fixed;    /* the memory is somebody else's, and there is no more */
    tb_block *kept;
} tb_book;

/* The levels of one side of one message: no price twice, best price first. */
typedef struct {
    const int64_t *prices;
    const int64_t *sizes;
    int32_t count;
} tb_changes;

void tb_book_init(tb_book *book);
void tb_book_free(tb_book *book);
void tb_book_clear(tb_book *book);

/* Uses memory for `capacity` + 1 levels of each side, one behind the other, for as long as the book lives. */
void tb_book_fix(tb_book *book, tb_level *levels, int32_t capacity);
/* Room for so many levels. TB_NO_MEMORY leaves the book as it was. */
tb_error tb_book_reserve(tb_book *book, int32_t bids, int32_t asks);

/* Replace the state. Levels of size 0 are ignored. Memory is taken before anything changes. */
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

/* The 64-bit digest of the whole state with its exponents (docs/verify.md). */
uint64_t tb_book_digest(const tb_book *book);
/* Of a book whose levels have two sizes, kept as two books: the second digest is mixed once more, so that the two sizes of a
 * level can't change places unseen. */
uint64_t tb_book_joint_digest(uint64_t sizes, uint64_t rpi_sizes);
/* The same, recomputed from the levels; equal by construction, which tests check. */
uint64_t tb_book_digest_recomputed(const tb_book *book);

static inline int tb_book_crossed(const tb_book *book)
{
    const tb_side *bids = &book->sides[0], *asks = &book->sides[1];
    return bids->count && asks->count &&
           bids->levels[bids->count - 1].price >= asks->levels[asks->count - 1].price;
}

/* Level `i` from the best of a side. */
static inline tb_level tb_book_level(const tb_book *book, int side, int32_t i)
{
    const tb_side *s = &book->sides[side];
    return s->levels[s->count - 1 - i];
}

/* Says whether levels come best first, no price twice. side: 0 bids, 1 asks. */
int tb_is_sorted(const int64_t *prices, int32_t count, int side);
/* Sorts them so, in place, using `scratch` for `count` levels; says whether a price occurs twice. */
int tb_sort_changes(int64_t *prices, int64_t *sizes, int32_t count, int side, tb_level *scratch);

#endif
