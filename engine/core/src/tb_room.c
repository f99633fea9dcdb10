#define _DEFAULT_SOURCE /* madvise */
#include "tb_room.h"

#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <sys/mman.h>
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* <linux/mman.h>, newer than glibc's may be */
#endif
#endif

#define LINE ((size_t)64)
#define BLOCK ((size_t)1 << 16)
#define HUGE ((size_t)1 << 21)
#define MANY ((size_t)1 << 20) /* from so many bytes on there may be huge pages: few feeds need none */

struct tb_room_block {
    tb_room_block *older;
    void *memory;
    size_t mapped; /* bytes; 0: it came from malloc */
};

/* Memory that may be of one huge page, or NULL. */
static uint8_t *map_huge(void)
{
#if defined(MADV_HUGEPAGE)
    uint8_t *twice = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (twice == MAP_FAILED)
        return NULL;
    const size_t before = (size_t)(-(uintptr_t)twice & (HUGE - 1));
    if (before)
        (void)munmap(twice, before);
    (void)munmap(twice + before + HUGE, HUGE - before);
    return twice + before;
#else
    return NULL;
#endif
}

/* A block that is full becomes a huge page, and not before, so that what is free in the last one costs nothing. It is a wish: small
 * pages do as well. Where the kernel can't do it at once (before Linux 6.1), it does so when it comes by. */
static void make_huge(const tb_room_block *block)
{
#if defined(MADV_HUGEPAGE)
    if (!block || !block->mapped)
        return;
    (void)madvise(block->memory, block->mapped, MADV_HUGEPAGE);
    (void)madvise(block->memory, block->mapped, MADV_COLLAPSE);
#else
    (void)block;
#endif
}

static void *new_block(tb_room *room, size_t bytes)
{
    tb_room_block *block = malloc(sizeof *block);
    if (!block)
        return NULL;
    uint8_t *memory = bytes == HUGE ? map_huge() : NULL;
    *block = (tb_room_block){room->blocks, memory, memory ? bytes : 0};
    if (!memory && !(block->memory = aligned_alloc(LINE, bytes))) {
        free(block);
        return NULL;
    }
    room->blocks = block;
    return block->memory;
}

void *tb_room_take(tb_room *room, size_t bytes)
{
    if (bytes > room->left) {
        const size_t size = room->taken < MANY ? BLOCK : HUGE;
        const int is_large = bytes > size / 4; /* has a block of its own, and the one before goes on */
        if (!is_large)
            make_huge(room->filled);
        uint8_t *memory = new_block(room, is_large ? bytes : size);
        if (!memory || is_large) {
            room->taken += memory ? bytes : 0;
            return memory;
        }
        room->filled = room->blocks;
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
#if defined(MADV_HUGEPAGE)
        if (block->mapped)
            (void)munmap(block->memory, block->mapped);
        else
#endif
            free(block->memory);
        free(block);
    }
    memset(room, 0, sizeof *room);
}
