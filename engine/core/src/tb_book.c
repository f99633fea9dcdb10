#include "tb_book.h"

#include <stdlib.h>
#include <string.h>

#include "tb_decimal.h"

/* splitmix64's finalizer: a bijective 64-bit mixer of full avalanche. */
static inline uint64_t mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    x ^= x >> 27;
    x *= UINT64_C(0x94D049BB133111EB);
    x ^= x >> 31;
    return x;
}

static const uint64_t side_salt[2] = {UINT64_C(0x9E3779B97F4A7C15), UINT64_C(0xC2B2AE3D27D4EB4F)};
#define EXPONENT_SALT UINT64_C(0xD6E8FEB86659FD93)

/* key is the stored one; the digest is over the price mantissa */
static inline uint64_t price_half(int side, int64_t key)
{
    return mix64((uint64_t)(side ? -key : key) ^ side_salt[side]);
}

static inline uint64_t level_digest(uint64_t half, int64_t size)
{
    return mix64(half + (uint64_t)size);
}

void tb_book_init(tb_book *book)
{
    memset(book, 0, sizeof *book);
}

void tb_book_free(tb_book *book)
{
    free(book->sides[0].levels);
    free(book->sides[1].levels);
    tb_book_init(book);
}

void tb_book_clear(tb_book *book)
{
    book->sides[0].count = book->sides[1].count = 0;
    book->digest = 0;
}

static tb_error reserve(tb_side *side, int64_t count)
{
    if (count <= side->capacity)
        return TB_OK;
    int64_t capacity = count + count / 8 + 8;
    if (capacity > INT32_MAX / (int64_t)sizeof(tb_level))
        return TB_NO_MEMORY;
    tb_level *levels = realloc(side->levels, (size_t)capacity * sizeof *levels);
    if (!levels)
        return TB_NO_MEMORY;
    side->levels = levels;
    side->capacity = (int32_t)capacity;
    return TB_OK;
}

static int by_key(const void *a, const void *b)
{
    int64_t x = ((const tb_level *)a)->price, y = ((const tb_level *)b)->price;
    return (x > y) - (x < y);
}

static int by_key_down(const void *a, const void *b)
{
    return by_key(b, a);
}

int tb_sort_changes(tb_level *levels, int32_t count, int side)
{
    qsort(levels, (size_t)count, sizeof *levels, side ? by_key : by_key_down);
    for (int32_t i = 1; i < count; i++)
        if (levels[i].price == levels[i - 1].price)
            return 1;
    return 0;
}

tb_error tb_book_load(tb_book *book, const tb_changes changes[2])
{
    tb_book_clear(book);
    for (int s = 0; s < 2; s++)
        if (reserve(&book->sides[s], changes[s].count) != TB_OK)
            return TB_NO_MEMORY;
    for (int s = 0; s < 2; s++) {
        tb_side *side = &book->sides[s];
        const tb_changes *in = &changes[s];
        int32_t n = 0;
        uint64_t digest = 0;
        for (int32_t i = in->count; i-- > 0;) {
            tb_level level = in->levels[i];
            if (level.size == 0)
                continue;
            if (s)
                level.price = -level.price;
            side->levels[n++] = level;
            digest ^= level_digest(price_half(s, level.price), level.size);
        }
        side->count = n;
        if (!in->sorted)
            qsort(side->levels, (size_t)n, sizeof *side->levels, by_key);
        book->digest ^= digest;
    }
    return TB_OK;
}

/* Few changes: walk down from the best, moving the part above a level that comes or goes. */
static int64_t apply_in_place(tb_side *side, int s, const tb_changes *in, uint64_t *digest)
{
    tb_level *v = side->levels;
    int32_t n = side->count, i = n - 1;
    int64_t changed = 0;
    for (int32_t j = 0; j < in->count; j++) {
        int64_t key = s ? -in->levels[j].price : in->levels[j].price, size = in->levels[j].size;
        if (!in->sorted)
            i = n - 1;
        while (i >= 0 && v[i].price > key)
            i--;
        if (i >= 0 && v[i].price == key) {
            if (v[i].size == size)
                continue;
            uint64_t half = price_half(s, key);
            *digest ^= level_digest(half, v[i].size);
            changed++;
            if (size) {
                *digest ^= level_digest(half, size);
                v[i].size = size;
            } else {
                memmove(v + i, v + i + 1, (size_t)(n - i - 1) * sizeof *v);
                n--;
                i--;
            }
        } else if (size) {
            *digest ^= level_digest(price_half(s, key), size);
            changed++;
            memmove(v + i + 2, v + i + 1, (size_t)(n - i - 1) * sizeof *v);
            v[i + 1].price = key;
            v[i + 1].size = size;
            n++;
        }
    }
    side->count = n;
    return changed;
}

/* Many sorted changes: one merging pass from the best down to the worst price that the message names. The merged part
 * is built best first behind the array (reserve() made room for it) and written back the other way round. */
static int64_t apply_merged(tb_side *side, int s, const tb_changes *in, uint64_t *digest)
{
    tb_level *v = side->levels;
    tb_level *out = v + side->count;
    int32_t i = side->count - 1, j = 0, m = in->count, t = 0;
    int64_t changed = 0;
    while (j < m) {
        int64_t key = s ? -in->levels[j].price : in->levels[j].price, size = in->levels[j].size;
        while (i >= 0 && v[i].price > key)
            out[t++] = v[i--];
        j++;
        if (i >= 0 && v[i].price == key) {
            int64_t old = v[i--].size;
            if (old != size) {
                uint64_t half = price_half(s, key);
                *digest ^= level_digest(half, old);
                if (size)
                    *digest ^= level_digest(half, size);
                changed++;
            }
        } else if (size) {
            *digest ^= level_digest(price_half(s, key), size);
            changed++;
        }
        if (size) {
            out[t].price = key;
            out[t++].size = size;
        }
    }
    /* out begins at the old count, the destination ends at i + 1 + t <= old count + t: they may overlap, so reverse in
     * place first and then move. */
    for (int32_t a = 0, b = t - 1; a < b; a++, b--) {
        tb_level swap = out[a];
        out[a] = out[b];
        out[b] = swap;
    }
    memmove(v + i + 1, out, (size_t)t * sizeof *v);
    side->count = i + 1 + t;
    return changed;
}

#define MERGE_FROM 16

tb_error tb_book_apply(tb_book *book, const tb_changes changes[2], int64_t *changed)
{
    for (int s = 0; s < 2; s++) {
        /* room for every change to be an insertion, and for the merge's output behind the array */
        int64_t need = (int64_t)book->sides[s].count + changes[s].count;
        if (changes[s].count >= MERGE_FROM)
            need += book->sides[s].count;
        if (reserve(&book->sides[s], need) != TB_OK)
            return TB_NO_MEMORY;
    }
    int64_t total = 0;
    uint64_t digest = book->digest;
    for (int s = 0; s < 2; s++) {
        const tb_changes *in = &changes[s];
        if (in->count == 0)
            continue;
        if (in->sorted && in->count >= MERGE_FROM)
            total += apply_merged(&book->sides[s], s, in, &digest);
        else
            total += apply_in_place(&book->sides[s], s, in, &digest);
    }
    book->digest = digest;
    *changed = total;
    return TB_OK;
}

tb_error tb_book_copy(tb_book *copy, const tb_book *book)
{
    for (int s = 0; s < 2; s++)
        if (reserve(&copy->sides[s], book->sides[s].count) != TB_OK)
            return TB_NO_MEMORY;
    for (int s = 0; s < 2; s++) {
        copy->sides[s].count = book->sides[s].count;
        if (book->sides[s].count)
            memcpy(copy->sides[s].levels, book->sides[s].levels, (size_t)book->sides[s].count * sizeof(tb_level));
    }
    copy->digest = book->digest;
    copy->price_decimals = book->price_decimals;
    copy->size_decimals = book->size_decimals;
    return TB_OK;
}

tb_error tb_book_can_widen(const tb_book *book, unsigned price_decimals, unsigned size_decimals)
{
    for (int s = 0; s < 2; s++)
        for (int32_t i = 0; i < book->sides[s].count; i++) {
            tb_level level = book->sides[s].levels[i];
            if (tb_rescale(&level.price, price_decimals - book->price_decimals) != TB_OK ||
                tb_rescale(&level.size, size_decimals - book->size_decimals) != TB_OK)
                return TB_DECIMAL;
        }
    return TB_OK;
}

void tb_book_widen(tb_book *book, unsigned price_decimals, unsigned size_decimals)
{
    for (int s = 0; s < 2; s++)
        for (int32_t i = 0; i < book->sides[s].count; i++) {
            tb_level *level = &book->sides[s].levels[i];
            (void)tb_rescale(&level->price, price_decimals - book->price_decimals);
            (void)tb_rescale(&level->size, size_decimals - book->size_decimals);
        }
    book->price_decimals = (uint8_t)price_decimals;
    book->size_decimals = (uint8_t)size_decimals;
    book->digest = 0;
    book->digest = tb_book_digest_recomputed(book) ^ tb_book_digest(book);
}

static uint64_t exponent_digest(const tb_book *book)
{
    return mix64(EXPONENT_SALT ^ ((uint64_t)book->price_decimals << 8 | book->size_decimals));
}

uint64_t tb_book_digest(const tb_book *book)
{
    return book->digest ^ exponent_digest(book);
}

uint64_t tb_book_digest_recomputed(const tb_book *book)
{
    uint64_t digest = exponent_digest(book);
    for (int s = 0; s < 2; s++)
        for (int32_t i = 0; i < book->sides[s].count; i++) {
            const tb_level *level = &book->sides[s].levels[i];
            digest ^= level_digest(price_half(s, level->price), level->size);
        }
    return digest;
}
