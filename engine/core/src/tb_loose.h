/* A book for replaying rows: the levels of a side lie in the order in which their prices came, found by a hash of the price, so
 * that a row moves nothing and searches nothing. What is gone stays with size 0 until the side is full and is laid out anew. Order
 * is made when somebody asks for it. */
#ifndef TB_LOOSE_H
#define TB_LOOSE_H

#include "tb_book.h"

typedef struct {
    tb_level *levels; /* from 1 on; 0 stands for none, without a size */
    int64_t *keys;    /* of each level: the better it is the larger, INT64_MIN where the size is 0 */
    int32_t *table;   /* open addressing: the levels by hashes of their prices, 0 where there is none */
    int32_t *order;   /* `ordered` levels, the first that came, best last */
    int64_t *sorted;  /* their keys, as if none had gone */
    int32_t count, capacity, ordered;
    int32_t best;     /* level, or 0 */
    int32_t top;      /* how many in `order` are no better than the best one, when it was asked for last */
    unsigned shift;   /* of hashes: the table has 2^(64 - shift) places */
} tb_loose_side;

typedef struct {
    tb_loose_side sides[2];
    tb_book book;  /* its exponents are in force; its levels are those of the sides once it is settled */
    uint8_t loose; /* it is not */
} tb_loose;

void tb_loose_init(tb_loose *loose);
void tb_loose_free(tb_loose *loose);

/* Replace the state by levels that come best first, no price twice; those of size 0 are ignored. TB_NO_MEMORY leaves it as it
 * was. */
tb_error tb_loose_load(tb_loose *loose, const tb_changes levels[2]);

/* Set absolute sizes in a book that something was loaded into; 0 removes. TB_BAD_VALUE: the changes of a side don't come best
 * first, or a price comes twice or has no negative, or a size is below 0. TB_NO_MEMORY. Either leaves the book as it was. */
tb_error tb_loose_apply(tb_loose *loose, const tb_changes changes[2]);

/* Make `book` what any other is: its levels and its digest. */
void tb_loose_settle(tb_loose *loose);

/* To change `book` itself, settle it, reserve room for so many levels more (TB_NO_MEMORY leaves everything as it was), and have
 * it adopted behind the change. */
tb_error tb_loose_reserve(tb_loose *loose, int32_t bids, int32_t asks);
void tb_loose_adopt(tb_loose *loose);

/* The best level of a side; its size is 0 if there is none. */
TB_INLINE tb_level tb_loose_best(const tb_loose *loose, int s)
{
    const tb_loose_side *side = &loose->sides[s];
    return side->levels ? side->levels[side->best] : (tb_level){0, 0};
}

/* A side with its first `top` levels in order, those of size 0 among them. */
const tb_loose_side *tb_loose_sorted(tb_loose *loose, int s);

/* Level `i` of a sorted side: 0 is the worst, top - 1 the best. */
TB_INLINE tb_level tb_loose_level(const tb_loose_side *side, int32_t i)
{
    return side->levels[side->order[i]];
}

#endif
