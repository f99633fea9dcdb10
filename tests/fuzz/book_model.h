/* A book that is kept the plain way: one merging pass a message over a sorted array, and the digest anew from the definition
 * (docs/verify.md). */
#ifndef TB_FUZZ_BOOK_MODEL_H
#define TB_FUZZ_BOOK_MODEL_H

#include "target.h"
#include "tb_book.h"

#define FUZZ_BOOK_LEVELS 400 /* a side that outgrows them begins anew */
#define FUZZ_BOOK_ROOM (FUZZ_BOOK_LEVELS + FUZZ_MAX_FRAME / 8)

typedef struct {
    int count;
    tb_level levels[FUZZ_BOOK_ROOM]; /* in the book's order: best last */
} fuzz_side_model;

typedef struct {
    fuzz_side_model sides[2], before[2]; /* before: the last message, for whoever reads about a failure */
    unsigned price_decimals, size_decimals;
} fuzz_book_model;

void fuzz_empty_book(fuzz_book_model *model);
/* Changes best first, no price twice. Returns how many levels differ afterwards. */
int64_t fuzz_model_apply(fuzz_book_model *model, int side, const tb_level *changes, int count);
/* 0 when a level would not fit, with nothing changed. */
int fuzz_model_widen(fuzz_book_model *model, unsigned price_decimals, unsigned size_decimals);
uint64_t fuzz_model_digest(const fuzz_book_model *model);
/* Says what a failure needs to be told again: the book before and what came. */
void fuzz_print_side(const char *name, const tb_level *levels, int count);

/* Best first? */
int fuzz_levels_sorted(const tb_level *levels, int count, int side);
/* Sorts them so; says whether a price is there twice. */
int fuzz_sort_levels(tb_level *levels, int count, int side);

#endif
