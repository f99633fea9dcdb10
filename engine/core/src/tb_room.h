/* Memory for what stays as long as an engine: feeds and their books, beside each other. Many of them lie in huge pages, where the
 * system gives some to who asks: thousands of books are in more small pages than the processor remembers. */
#ifndef TB_ROOM_H
#define TB_ROOM_H

#include "tb_types.h"

typedef struct tb_room_block tb_room_block;

typedef struct {
    tb_room_block *blocks; /* the newest first */
    tb_room_block *filled; /* the one that is being filled */
    uint8_t *at;           /* what is free of it */
    size_t left, taken;
} tb_room;

/* So many bytes, a multiple of 64 and aligned to it; or NULL. What was taken last can be given back. */
void *tb_room_take(tb_room *room, size_t bytes);
void tb_room_give_back(tb_room *room, void *last, size_t bytes);
void tb_room_free(tb_room *room);

#endif
