/* The writer of live books: after everything that changes a book or its state, its place in shared memory is written anew,
 * and the change is put on the tape. The memory is given by the caller; layout and readers: tapebook_shared.h. */
#ifndef TB_SHARED_H
#define TB_SHARED_H

#include <time.h>

#define TAPEBOOK_WITHOUT_FILES
#include "tapebook_shared.h"
#include "tb_engine.h"

typedef int (*tb_gettime)(int clock, struct timespec *at); /* clock_gettime, which the caller hands in */

typedef struct {
    tapebook_book_file *file; /* NULL: none */
    uint8_t known;            /* the readers know the feed's number */
    uint8_t touched;          /* it is in the list of those */
    uint8_t state, cause;     /* as told last */
    uint8_t ended;
} tb_place;

/* NULL in engines that nobody reads. */
typedef struct tb_shared {
    tb_place *places; /* by feed */
    int32_t count, capacity;
    int32_t *touched; /* feeds that may have changed, with room for all */
    int32_t touched_count;
    tapebook_tape_file *tape; /* NULL: none */
    uint64_t written, entries, sector; /* of the tape; the sector of the last entry */
    int clock;
    tb_gettime gettime; /* what tells the time of publishing; NULL: now_ns does */
    int64_t now_ns;
    int64_t published, told; /* books, entries */
} tb_shared;

void tb_shared_free(tb_shared *shared);

/* Room for so many feeds. 0 when memory is out. */
int tb_shared_reserve(tb_shared *shared, int32_t feeds);
/* Bytes of a book's file. */
size_t tb_shared_book_bytes(uint32_t capacity);
/* Readers know the feed from here on; `file`, zeroed and of the right size, or NULL, is where its book goes. */
void tb_shared_add(tb_engine *engine, int32_t index, tapebook_book_file *file);

/* A feed's book or state may have changed; told at the end of what is going on. */
void tb_shared_touch(tb_shared *shared, int32_t index);
/* All may have. */
void tb_shared_touch_all(tb_shared *shared);
/* Tells what was touched. */
void tb_shared_tell(tb_engine *engine);
/* The frame at hand, the record of this sequence, was of this feed (or, below 0, of none). */
void tb_shared_frame(tb_engine *engine, int32_t index, int64_t sequence);
/* A feed's book was made anew by something else than a frame. */
void tb_shared_restated(tb_engine *engine, int32_t index);

#endif
