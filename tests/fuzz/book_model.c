#include "book_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_empty_book(fuzz_book_model *model)
{
    model->sides[0].count = model->sides[1].count = 0;
}

static int better(int64_t a, int64_t b, int side)
{
    return side ? a < b : a > b;
}

int64_t fuzz_model_apply(fuzz_book_model *model, int side, const tb_level *changes, int count)
{
    fuzz_side_model *old = &model->before[side], *new = &model->sides[side];
    int64_t changed = 0;
    int at = 0, n = 0;
    old->count = new->count;
    memcpy(old->levels, new->levels, (size_t)new->count * sizeof *new->levels);
    for (int i = count - 1; i >= 0; i--) {
        int64_t before = 0;
        while (at < old->count && better(changes[i].price, old->levels[at].price, side))
            new->levels[n++] = old->levels[at++];
        if (at < old->count && old->levels[at].price == changes[i].price)
            before = old->levels[at++].size;
        if (changes[i].size)
            new->levels[n++] = changes[i];
        changed += before != changes[i].size;
    }
    while (at < old->count)
        new->levels[n++] = old->levels[at++];
    new->count = n;
    return changed;
}

static int times_ten(int64_t *value, unsigned times)
{
    __int128 wide = *value;
    for (unsigned i = 0; i < times && wide; i++) {
        wide *= 10;
        if (wide > INT64_MAX || wide < -INT64_MAX)
            return 0;
    }
    *value = (int64_t)wide;
    return 1;
}

int fuzz_model_widen(fuzz_book_model *model, unsigned price_decimals, unsigned size_decimals)
{
    for (int twice = 0; twice < 2; twice++)
        for (int s = 0; s < 2; s++)
            for (int i = 0; i < model->sides[s].count; i++) {
                tb_level level = model->sides[s].levels[i];
                if (!times_ten(&level.price, price_decimals - model->price_decimals) ||
                    !times_ten(&level.size, size_decimals - model->size_decimals))
                    return 0;
                if (twice)
                    model->sides[s].levels[i] = level;
            }
    model->price_decimals = price_decimals;
    model->size_decimals = size_decimals;
    return 1;
}

/* splitmix64's finalizer */
static uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

uint64_t fuzz_model_digest(const fuzz_book_model *model)
{
    static const uint64_t salts[2] = {UINT64_C(0xA0761D6478BD642F), UINT64_C(0xC2B2AE3D27D4EB4F)};
    uint64_t digest = mixed(UINT64_C(0xD6E8FEB86659FD93) ^ (model->price_decimals << 8 | model->size_decimals));
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < model->sides[s].count; i++) {
            const tb_level *level = &model->sides[s].levels[i];
            digest ^= mixed(((uint64_t)level->price * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)level->size) ^ salts[s]);
        }
    return digest;
}

void fuzz_print_side(const char *name, const tb_level *levels, int count)
{
    fprintf(stderr, "%s:", name);
    for (int i = 0; i < count; i++)
        fprintf(stderr, " %" PRId64 ":%" PRId64, levels[i].price, levels[i].size);
    fprintf(stderr, "\n");
}

int fuzz_levels_sorted(const tb_level *levels, int count, int side)
{
    for (int i = 1; i < count; i++)
        if (!better(levels[i - 1].price, levels[i].price, side))
            return 0;
    return 1;
}

/* Merging from the bottom up. */
int fuzz_sort_levels(tb_level *levels, int count, int side)
{
    static tb_level room[FUZZ_BOOK_ROOM];
    for (int width = 1; width < count; width *= 2) {
        for (int from = 0; from < count; from += 2 * width) {
            int middle = from + width < count ? from + width : count;
            int end = middle + width < count ? middle + width : count;
            for (int left = from, right = middle, to = from; to < end; to++)
                room[to] = right >= end || (left < middle && !better(levels[right].price, levels[left].price, side))
                               ? levels[left++]
                               : levels[right++];
        }
        memcpy(levels, room, (size_t)count * sizeof *levels);
    }
    return !fuzz_levels_sorted(levels, count, side);
}
