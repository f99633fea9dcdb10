/* A book for replaying, which only moves levels where it must: one that goes stays where it is, with size 0, until its place is
 * needed, so that most rows only set sizes. The best level of a side is always a real one. It keeps no digest. */
#ifndef TB_LOOSE_H
#define TB_LOOSE_H

#include "tb_book.h"

typedef struct {
    tb_book book;
    uint8_t loose; /* there may be levels of size 0, and the digest is not the levels' */
    int32_t *places; /* of the changes of each side */
    int32_t *coming; /* which changes of a side bring a new level */
    int32_t room;    /* changes a side that these are enough for */
} tb_loose;

void tb_loose_init(tb_loose *loose);
void tb_loose_free(tb_loose *loose);

/* Set absolute sizes in a book that something was loaded into; 0 removes. TB_BAD_VALUE: the changes of a side don't come best
 * first, or a price comes twice or has no negative, or a size is below 0. TB_NO_MEMORY. Either leaves the book as it was. */
tb_error tb_loose_apply(tb_loose *loose, const tb_changes changes[2]);

/* Make `book` what any other is: without levels of size 0, and with its digest. */
void tb_loose_settle(tb_loose *loose);

#endif
