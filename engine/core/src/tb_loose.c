#include "tb_loose.h"

#include <stdlib.h>
#include <string.h>

#include "tb_find.h"

#define SPREAD UINT64_C(0x9E3779B97F4A7C15) /* 2^64 over the golden ratio: multiples of a tick fall far apart */
#define PLACES_A_LEVEL 8 /* of the table, at least: a second look is a branch that can't be guessed */
#define FEW_NEW 32       /* so many levels are put into order one by one; more are sorted */
#define FEW_KEYS 160
#define NO_KEY INT64_MIN

void tb_loose_init(tb_loose *loose)
{
    memset(loose, 0, sizeof *loose);
    tb_book_init(&loose->book);
}

void tb_loose_free(tb_loose *loose)
{
    for (int s = 0; s < 2; s++)
        free(loose->sides[s].levels); /* and all that lies behind them */
    tb_book_free(&loose->book);
    tb_loose_init(loose);
}

/* ---- levels by price ---- */

TB_INLINE int64_t key_of(int64_t price, int s)
{
    return s ? -price : price;
}

TB_INLINE uint64_t place_of(const tb_loose_side *side, int64_t price)
{
    return (uint64_t)price * SPREAD >> side->shift;
}

TB_INLINE uint64_t next(const tb_loose_side *side, uint64_t place)
{
    return (place + 1) & ((UINT64_C(1) << (64 - side->shift)) - 1);
}

/* Adds a level with a size, whose price is not there. There is room. */
TB_INLINE int32_t add(tb_loose_side *side, int s, int64_t price, int64_t size)
{
    uint64_t place = place_of(side, price);
    while (side->table[place])
        place = next(side, place);
    const int32_t level = ++side->count;
    side->levels[level] = (tb_level){price, size};
    side->keys[level] = key_of(price, s);
    side->table[place] = level;
    return level;
}

/* The level of a price that is not at its first place. With a size, it is added if there is none; else that is 0. */
static __attribute__((noinline)) int32_t look_further(tb_loose_side *side, int s, int64_t price, int64_t size)
{
    for (uint64_t place = place_of(side, price);; place = next(side, place)) {
        const int32_t level = side->table[place];
        if (level == 0)
            return size ? add(side, s, price, size) : 0;
        if (side->levels[level].price == price)
            return level;
    }
}

/* Forgets all levels. Most of the table is empty as it is. */
static void clear(tb_loose_side *side)
{
    for (int32_t level = 1; level <= side->count; level++) {
        uint64_t place = place_of(side, side->levels[level].price);
        while (side->table[place] != level)
            place = next(side, place);
        side->table[place] = 0;
    }
    side->count = side->ordered = side->best = side->top = 0;
}

/* Adds a level that is better than all that there are. */
TB_INLINE void add_in_order(tb_loose_side *side, int s, int64_t price, int64_t size)
{
    side->sorted[side->ordered] = key_of(price, s);
    side->order[side->ordered++] = side->best = add(side, s, price, size);
}

/* Levels from the worst to the best, for which there is room. */
static void adopt(tb_loose_side *side, int s, const tb_side *from)
{
    clear(side);
    for (int32_t i = 0; i < from->count; i++)
        add_in_order(side, s, from->levels[i].price, from->levels[i].size);
}

/* Empty, with memory for so many levels. TB_NO_MEMORY leaves the side as it was. */
static tb_error renew(tb_loose_side *side, int64_t capacity)
{
    unsigned bits = 9;
    while (INT64_C(1) << bits < PLACES_A_LEVEL * capacity)
        bits++;
    const size_t each = (size_t)capacity + 1, places = (size_t)1 << bits;
    uint8_t *memory = calloc(1, each * (sizeof *side->levels + sizeof *side->keys + sizeof *side->sorted + sizeof *side->order) + places * sizeof *side->table);
    if (!memory)
        return TB_NO_MEMORY;
    free(side->levels);
    memset(side, 0, sizeof *side);
    side->levels = (tb_level *)(void *)memory;
    side->keys = (int64_t *)(void *)(side->levels + each);
    side->sorted = side->keys + each;
    side->order = (int32_t *)(void *)(side->sorted + each);
    side->table = side->order + each;
    side->levels[0].price = TB_NO_PRICE;
    side->capacity = (int32_t)capacity;
    side->shift = 64 - bits;
    return TB_OK;
}

/* ---- order ---- */

static int rising(const void *a, const void *b)
{
    const int64_t x = ((const tb_level *)a)->price, y = ((const tb_level *)b)->price;
    return (x > y) - (x < y);
}

static int falling(const void *a, const void *b)
{
    return rising(b, a);
}

TB_VECTORS
static int32_t count_below(const int64_t *keys, int32_t count, int64_t key)
{
    int64_t below = 0;
    for (int32_t i = 0; i < count; i++)
        below += keys[i] < key;
    return (int32_t)below;
}

/* Puts new levels among those that are in order. */
static void order_new(tb_loose_side *side, int s)
{
    for (; side->ordered < side->count; side->ordered++) {
        const int32_t level = side->ordered + 1;
        const int64_t key = key_of(side->levels[level].price, s);
        int32_t at = 0, left = side->ordered;
        for (; left > FEW_KEYS; left -= left / 2) /* without branches, until it is quicker to look at all that are left */
            at += left / 2 & -(side->sorted[at + left / 2 - 1] < key);
        at += count_below(side->sorted + at, left, key);
        memmove(side->order + at + 1, side->order + at, (size_t)(side->ordered - at) * sizeof *side->order);
        memmove(side->sorted + at + 1, side->sorted + at, (size_t)(side->ordered - at) * sizeof *side->sorted);
        side->order[at] = level;
        side->sorted[at] = key;
    }
}

/* Writes a side's levels into the book's, which always has room for them, without those of size 0. */
static void write_side(tb_loose *loose, int s)
{
    tb_loose_side *side = &loose->sides[s];
    tb_side *to = &loose->book.sides[s];
    const int few = side->count - side->ordered <= FEW_NEW;
    int32_t n = 0;
    if (few)
        order_new(side, s);
    for (int32_t i = 0; i < side->count; i++) {
        const tb_level level = few ? tb_loose_level(side, i) : side->levels[i + 1];
        to->levels[n] = level;
        n += level.size != 0;
    }
    if (!few)
        qsort(to->levels, (size_t)n, sizeof *to->levels, s ? falling : rising);
    to->count = n;
}

const tb_loose_side *tb_loose_sorted(tb_loose *loose, int s)
{
    tb_loose_side *side = &loose->sides[s];
    if (side->count - side->ordered > FEW_NEW) {
        write_side(loose, s);
        adopt(side, s, &loose->book.sides[s]);
    }
    order_new(side, s);
    const int64_t best = side->best ? side->keys[side->best] : NO_KEY;
    int32_t top = side->top; /* it has moved a little, if at all */
    while (top < side->ordered && side->sorted[top] <= best)
        top++;
    while (top > 0 && side->sorted[top - 1] > best)
        top--;
    side->top = top;
    return side;
}

/* ---- the book ---- */

/* Before a side grows, it drops what is gone; and it grows before dropping would become a habit. */
static __attribute__((noinline)) tb_error make_room(tb_loose *loose, int s, int64_t more)
{
    tb_loose_side *side = &loose->sides[s];
    tb_side *held = &loose->book.sides[s];
    if (side->levels)
        write_side(loose, s);
    const int64_t needed = (int64_t)held->count + more, wanted = 2 * needed + 32;
    if ((4 * needed > 3 * (int64_t)side->capacity || !side->levels) &&
        (wanted > INT32_MAX || tb_book_reserve(&loose->book, s ? 0 : (int32_t)wanted, s ? (int32_t)wanted : 0) != TB_OK ||
         renew(side, wanted) != TB_OK))
        return TB_NO_MEMORY;
    adopt(side, s, held);
    return TB_OK;
}

TB_INLINE tb_error reserve(tb_loose *loose, int64_t bids, int64_t asks)
{
    const int64_t more[2] = {bids, asks};
    for (int s = 0; s < 2; s++) {
        const tb_loose_side *side = &loose->sides[s];
        if (TB_UNLIKELY(side->count + more[s] > side->capacity || !side->levels) && make_room(loose, s, more[s]) != TB_OK)
            return TB_NO_MEMORY;
    }
    return TB_OK;
}

tb_error tb_loose_reserve(tb_loose *loose, int32_t bids, int32_t asks)
{
    return reserve(loose, bids, asks);
}

void tb_loose_adopt(tb_loose *loose)
{
    for (int s = 0; s < 2; s++)
        adopt(&loose->sides[s], s, &loose->book.sides[s]);
    loose->loose = 0;
}

tb_error tb_loose_load(tb_loose *loose, const tb_changes levels[2])
{
    if (reserve(loose, levels[0].count, levels[1].count) != TB_OK)
        return TB_NO_MEMORY;
    for (int s = 0; s < 2; s++) {
        tb_loose_side *side = &loose->sides[s];
        clear(side);
        for (int32_t i = levels[s].count; i-- > 0;)
            if (levels[s].sizes[i])
                add_in_order(side, s, levels[s].prices[i], levels[s].sizes[i]);
    }
    loose->loose = 1;
    return TB_OK;
}

/* Less than 0 where changes are not what tb_loose_apply takes. */
TB_INLINE int64_t flaws(const tb_changes *in, int s)
{
    const int64_t *const prices = in->prices, n = in->count;
    if (n == 0)
        return 0;
    int64_t bad = in->sizes[0] | -(int64_t)(prices[s ? 0 : n - 1] == TB_NO_PRICE);
    for (int64_t i = 1; i < n; i++)
        bad |= in->sizes[i] | -(int64_t)!tb_worse(prices[i], prices[i - 1], s);
    return bad;
}

TB_VECTORS
static int64_t largest(const int64_t *keys, int32_t count)
{
    int64_t found = NO_KEY;
    for (int32_t i = 0; i < count; i++)
        found = keys[i] > found ? keys[i] : found;
    return found;
}

/* The best level went. */
static __attribute__((noinline)) void find_best(tb_loose_side *side, int s)
{
    const int64_t key = largest(side->keys + 1, side->count);
    side->best = key == NO_KEY ? 0 : look_further(side, s, key_of(key, s), 0);
}

/* Masks instead of branches: which levels go, and whether the best one changes, can't be guessed. */
TB_INLINE void set(tb_loose_side *side, int s, const tb_changes *in)
{
    tb_level *const levels = side->levels;
    int64_t *const keys = side->keys;
    int32_t first = 0; /* the best of those that there are now */
    for (int32_t i = in->count; i-- > 0;) {
        const int64_t price = in->prices[i], size = in->sizes[i], is = -(int64_t)(size != 0);
        int32_t level = side->table[place_of(side, price)];
        if (TB_UNLIKELY(levels[level].price != price))
            level = look_further(side, s, price, size);
        levels[level].size = size;
        keys[level] = NO_KEY ^ ((key_of(price, s) ^ NO_KEY) & is);
        first ^= (first ^ level) & (int32_t)is;
    }
    side->best ^= (side->best ^ first) & -(int32_t)((first != 0) & !tb_worse(levels[first].price, levels[side->best].price, s));
    if (TB_UNLIKELY(levels[side->best].size == 0))
        find_best(side, s);
}

tb_error tb_loose_apply(tb_loose *loose, const tb_changes changes[2])
{
    if (TB_UNLIKELY((flaws(&changes[0], 0) | flaws(&changes[1], 1)) < 0))
        return TB_BAD_VALUE;
    if (reserve(loose, changes[0].count, changes[1].count) != TB_OK)
        return TB_NO_MEMORY;
    set(&loose->sides[0], 0, &changes[0]);
    set(&loose->sides[1], 1, &changes[1]);
    loose->loose = 1;
    return TB_OK;
}

void tb_loose_settle(tb_loose *loose)
{
    tb_book *book = &loose->book;
    if (!loose->loose)
        return;
    write_side(loose, 0);
    write_side(loose, 1);
    book->digest = 0;
    book->digest = tb_book_digest_recomputed(book) ^ tb_book_digest(book); /* without the exponents */
    loose->loose = 0;
}
