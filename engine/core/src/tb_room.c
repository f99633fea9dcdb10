#define _DEFAULT_SOURCE /* madvise */
#include "tb_room.h"

#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#define LINE ((size_t)64)
#define BLOCK ((size_t)1 << 16)
#define HUGE ((size_t)1 << 21)
#define MANY ((size_t)1 << 20) /* from so many bytes on huge pages are asked for: few feeds need none, and would hold a whole one */

struct tb_room_block {
    tb_room_block *older;
    void *memory;
};

static void *new_block(tb_room *room, size_t bytes, size_t alignment)
{
    tb_room_block *block = malloc(sizeof *block);
    void *memory = block ? aligned_alloc(alignment, bytes) : NULL;
    if (!memory) {
        free(block);
        return NULL;
    }
#if defined(MADV_HUGEPAGE)
    if (alignment == HUGE)
        (void)madvise(memory, bytes, MADV_HUGEPAGE); /* a wish: small pages do as well */
#endif
    *block = (tb_room_block){room->blocks, memory};
    room->blocks = block;
    return memory;
}

void *tb_room_take(tb_room *room, size_t bytes)
{
    if (bytes > room->left) {
        const size_t size = room->taken < MANY ? BLOCK : HUGE;
        const int is_large = bytes > size / 4; /* has a block of its own, and the one before goes on */
        uint8_t *memory = new_block(room, is_large ? bytes : size, is_large || size == BLOCK ? LINE : HUGE);
        if (!memory || is_large) {
            room->taken += memory ? bytes : 0;
            return memory;
        }
        room->at = memory;
        room->left = size;
    }
    void *taken = room->at;
    room->at += bytes;
    room->left -= bytes;
    room->taken += bytes;
    return taken;
}

void tb_room_give_back(tb_room *room, void *last, size_t bytes)
{
    if ((uint8_t *)last + bytes != room->at)
        return; /* a large one stays until the end */
    room->at -= bytes;
    room->left += bytes;
    room->taken -= bytes;
}

void tb_room_free(tb_room *room)
{
    while (room->blocks) {
        tb_room_block *block = room->blocks;
        room->blocks = block->older;
        free(block->memory);
        free(block);
    }
    memset(room, 0, sizeof *room);
}
