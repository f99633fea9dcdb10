#include "tb_loose.h"

#include <stdlib.h>
#include <string.h>

#include "tb_find.h"

void tb_loose_init(tb_loose *loose)
{
    memset(loose, 0, sizeof *loose);
    tb_book_init(&loose->book);
}

void tb_loose_free(tb_loose *loose)
{
    tb_book_free(&loose->book);
    free(loose->places);
    free(loose->coming);
    tb_loose_init(loose);
}

static tb_error make_room(tb_loose *loose, int32_t changes)
{
    const int64_t room = 2 * (int64_t)changes + 64;
    if (room > INT32_MAX)
        return TB_NO_MEMORY;
    int32_t *places = malloc(2 * (size_t)room * sizeof *places);
    int32_t *coming = malloc((size_t)room * sizeof *coming);
    if (!places || !coming) {
        free(places);
        free(coming);
        return TB_NO_MEMORY;
    }
    free(loose->places);
    free(loose->coming);
    loose->places = places;
    loose->coming = coming;
    loose->room = (int32_t)room;
    return TB_OK;
}

/* Drops the levels of size 0. */
static void compact(tb_side *side)
{
    int32_t n = 0;
    for (int32_t i = 0; i < side->count; i++) {
        side->levels[n] = side->levels[i];
        n += side->levels[i].size != 0;
    }
    side->count = n;
}

/* Before a side grows, it drops what is gone; and it grows before dropping would become a habit. */
static __attribute__((noinline)) tb_error make_places(tb_loose *loose, int s, int32_t changes)
{
    tb_side *side = &loose->book.sides[s];
    compact(side);
    const int64_t needed = (int64_t)side->count + changes, wanted = 2 * needed + 32;
    if (4 * needed <= 3 * (int64_t)side->capacity)
        return TB_OK;
    if (wanted > INT32_MAX)
        return TB_NO_MEMORY;
    return tb_book_reserve(&loose->book, s ? 0 : (int32_t)wanted, s ? (int32_t)wanted : 0);
}

/* Finds all places of a side's changes. Returns less than 0 where these are not what tb_loose_apply can take. */
TB_INLINE int64_t find(tb_side *side, int s, const tb_changes *in, int32_t *places)
{
    const int64_t *const prices = in->prices, n = in->count;
    if (n == 0)
        return 0;
    int64_t bad = in->sizes[0] | -(int64_t)(prices[s ? 0 : n - 1] == TB_NO_PRICE);
    for (int64_t i = 1; i < n; i++)
        bad |= in->sizes[i] | -(int64_t)!tb_worse(prices[i], prices[i - 1], s);
    tb_find_places(side, s, prices, (int32_t)n, places);
    return bad;
}

/* Levels between two that come move up together, from the best to the worst. */
static __attribute__((noinline)) void insert(tb_side *side, const tb_changes *in, const int32_t *places, const int32_t *coming, int32_t count)
{
    tb_level *const levels = side->levels;
    int32_t to = side->count;
    side->count += count;
    for (int32_t k = 0; k < count; k++) {
        const int32_t change = coming[k], at = places[change], by = count - k;
        if (at < to)
            memmove(levels + at + by, levels + at, (size_t)(to - at) * sizeof *levels);
        levels[at + by - 1] = (tb_level){in->prices[change], in->sizes[change]};
        to = at;
    }
}

TB_INLINE void set(tb_side *side, const tb_changes *in, const int32_t *places, int32_t *coming)
{
    tb_level *const levels = side->levels;
    const int32_t count = side->count;
    int32_t n = 0;
    for (int32_t j = 0; j < in->count; j++) {
        const int32_t at = places[j];
        const int known = levels[at].price == in->prices[j];
        levels[known ? at : count].size = in->sizes[j]; /* behind the last where there is nothing to change */
        coming[n] = j;
        n += !known & (in->sizes[j] != 0);
    }
    if (n)
        insert(side, in, places, coming, n);
    while (side->count && levels[side->count - 1].size == 0)
        side->count--;
}

tb_error tb_loose_apply(tb_loose *loose, const tb_changes changes[2])
{
    tb_side *const sides = loose->book.sides;
    for (int s = 0; s < 2; s++) {
        if (TB_UNLIKELY(changes[s].count > loose->room || !loose->places) &&
            make_room(loose, changes[s].count) != TB_OK)
            return TB_NO_MEMORY;
        if (TB_UNLIKELY((int64_t)sides[s].count + changes[s].count > sides[s].capacity) &&
            make_places(loose, s, changes[s].count) != TB_OK)
            return TB_NO_MEMORY;
    }
    int32_t *const bids = loose->places, *const asks = loose->places + loose->room;
    if (TB_UNLIKELY((find(&sides[0], 0, &changes[0], bids) | find(&sides[1], 1, &changes[1], asks)) < 0))
        return TB_BAD_VALUE;
    set(&sides[0], &changes[0], bids, loose->coming);
    set(&sides[1], &changes[1], asks, loose->coming);
    loose->loose = 1;
    return TB_OK;
}

void tb_loose_settle(tb_loose *loose)
{
    tb_book *book = &loose->book;
    if (!loose->loose)
        return;
    compact(&book->sides[0]);
    compact(&book->sides[1]);
    book->digest = 0;
    book->digest = tb_book_digest_recomputed(book) ^ tb_book_digest(book); /* without the exponents */
    loose->loose = 0;
}
