#include "tb_book.h"

#include <stdlib.h>
#include <string.h>

#include "tb_decimal.h"
#include "tb_find.h"

#define MIX_ONE UINT64_C(0xBF58476D1CE4E5B9)
#define MIX_TWO UINT64_C(0x94D049BB133111EB)

/* splitmix64's finalizer: a bijective 64-bit mixer of full avalanche. */
TB_INLINE uint64_t mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= MIX_ONE;
    x ^= x >> 27;
    x *= MIX_TWO;
    x ^= x >> 31;
    return x;
}

static const uint64_t side_salt[2] = {UINT64_C(0xA0761D6478BD642F), UINT64_C(0xC2B2AE3D27D4EB4F)};
#define EXPONENT_SALT UINT64_C(0xD6E8FEB86659FD93)

/* No two levels of a book meet before the mixer: multiples of this constant, 2^64 over the golden ratio, that are near each
 * other are of prices that are far apart. Where there is no level the digest is 0, without a branch. */
#define SPREAD UINT64_C(0x9E3779B97F4A7C15)

TB_INLINE uint64_t level_digest(int side, int64_t price, int64_t size)
{
    return mix64(((uint64_t)price * SPREAD + (uint64_t)size) ^ side_salt[side]) & (uint64_t)(-size >> 63);
}

void tb_book_init(tb_book *book)
{
    memset(book, 0, sizeof *book);
}

static tb_block *block_of(const tb_book *book, const tb_side *side)
{
    return side->levels && !book->fixed ? (tb_block *)(void *)((uint8_t *)side->levels - offsetof(tb_block, levels)) : NULL;
}

void tb_book_free(tb_book *book)
{
    free(block_of(book, &book->sides[0]));
    free(block_of(book, &book->sides[1]));
    while (book->kept) {
        tb_block *older = book->kept->older;
        free(book->kept);
        book->kept = older;
    }
    tb_book_init(book);
}

void tb_book_fix(tb_book *book, tb_level *levels, int32_t capacity)
{
    book->sides[0].levels = levels;
    book->sides[1].levels = levels + capacity + 1;
    book->sides[0].capacity = book->sides[1].capacity = capacity;
    book->fixed = 1;
}

void tb_book_clear(tb_book *book)
{
    book->sides[0].count = book->sides[1].count = 0;
    book->digest = 0;
}

/* Moves a side into memory for at least `count` levels. */
static tb_error grow(tb_book *book, tb_side *side, int64_t count)
{
    int64_t capacity = (int64_t)side->capacity * 2 > count ? (int64_t)side->capacity * 2 : count;
    if (book->fixed || capacity > INT32_MAX / 32)
        return TB_NO_MEMORY;
    tb_block *block = calloc(1, sizeof *block + ((size_t)capacity + 1) * sizeof(tb_level)), *old = block_of(book, side);
    if (!block)
        return TB_NO_MEMORY;
    if (side->count)
        memcpy(block->levels, side->levels, (size_t)side->count * sizeof(tb_level));
    if (old && book->viewed) {
        old->older = book->kept;
        book->kept = old;
    } else {
        free(old);
    }
    side->levels = block->levels;
    side->capacity = (int32_t)capacity;
    return TB_OK;
}

TB_INLINE tb_error reserve(tb_book *book, int64_t bids, int64_t asks)
{
    if (TB_UNLIKELY(bids > book->sides[0].capacity || !book->sides[0].levels) &&
        grow(book, &book->sides[0], bids) != TB_OK)
        return TB_NO_MEMORY;
    if (TB_UNLIKELY(asks > book->sides[1].capacity || !book->sides[1].levels) &&
        grow(book, &book->sides[1], asks) != TB_OK)
        return TB_NO_MEMORY;
    return TB_OK;
}

tb_error tb_book_reserve(tb_book *book, int32_t bids, int32_t asks)
{
    return reserve(book, bids, asks);
}

int tb_is_sorted(const int64_t *prices, int32_t count, int side)
{
    int bad = 0;
    for (int32_t i = 1; i < count; i++)
        bad |= !tb_worse(prices[i], prices[i - 1], side);
    return !bad;
}

static int rising(const void *a, const void *b)
{
    int64_t x = ((const tb_level *)a)->price, y = ((const tb_level *)b)->price;
    return (x > y) - (x < y);
}

static int falling(const void *a, const void *b)
{
    return rising(b, a);
}

int tb_sort_changes(int64_t *prices, int64_t *sizes, int32_t count, int side, tb_level *scratch)
{
    int twice = 0;
    for (int32_t i = 0; i < count; i++)
        scratch[i] = (tb_level){prices[i], sizes[i]};
    if (count)
        qsort(scratch, (size_t)count, sizeof *scratch, side ? rising : falling);
    for (int32_t i = 0; i < count; i++) {
        prices[i] = scratch[i].price;
        sizes[i] = scratch[i].size;
        twice |= i && prices[i] == prices[i - 1];
    }
    return twice;
}

tb_error tb_book_load(tb_book *book, const tb_changes changes[2])
{
    if (reserve(book, changes[0].count, changes[1].count) != TB_OK)
        return TB_NO_MEMORY;
    uint64_t digest = 0;
    for (int s = 0; s < 2; s++) {
        tb_side *side = &book->sides[s];
        const tb_changes *in = &changes[s];
        int32_t n = 0;
        for (int32_t i = in->count; i-- > 0;) {
            int64_t price = in->prices[i], size = in->sizes[i];
            side->levels[n] = (tb_level){price, size};
            n += size != 0;
            digest ^= level_digest(s, price, size);
        }
        side->count = n;
    }
    book->digest = digest;
    return TB_OK;
}

/* So many changes are looked up before the levels move. */
#define CHUNK 128

/* A level that comes or goes. */
typedef struct {
    tb_level *at;   /* as the levels were: the one that goes, or before which one comes */
    int64_t change; /* index into the message */
} tb_shift;

/* Levels between two shifts move together, by the balance of what comes and goes below them. Runs that move down are moved
 * from the worst to the best, then runs that move up from the best to the worst: nothing is overwritten before it has moved. */
static void shift(tb_side *side, const tb_changes *in, const tb_shift *shifts, int32_t count)
{
    tb_level *const end = side->levels + side->count;
    int64_t by = 0;
    for (int32_t k = count; k-- > 0;) {
        int64_t goes = in->sizes[shifts[k].change] == 0;
        tb_level *from = shifts[k].at + goes, *to = k ? shifts[k - 1].at : end;
        by += 1 - 2 * goes;
        if (by < 0 && from < to)
            memmove(from + by, from, (size_t)((uint8_t *)to - (uint8_t *)from));
    }
    side->count += (int32_t)by;
    for (int32_t k = 0; k < count; k++) {
        int64_t price = in->prices[shifts[k].change], size = in->sizes[shifts[k].change], goes = size == 0;
        tb_level *from = shifts[k].at + goes, *to = k ? shifts[k - 1].at : end;
        if (by > 0 && from < to)
            memmove(from + by, from, (size_t)((uint8_t *)to - (uint8_t *)from));
        by -= 1 - 2 * goes;
        if (!goes) /* its place is free now: what was there has moved up, or down before */
            shifts[k].at[by] = (tb_level){price, size};
    }
}

/* Many shifts leave short runs: those are cheaper put together anew, in blocks, than moved one by one. A block may be longer than
 * its run: what it writes too much is overwritten by the next one, and the last is exact. */
#define FEW_SHIFTS 2
#define BLOCK 4
#define MOST_ASIDE 512

static int may_assemble(const tb_side *side, const tb_changes *in, const tb_shift *shifts, int32_t count)
{
    return count > FEW_SHIFTS && side->capacity - side->count - in->count >= BLOCK &&
           side->levels + side->count - shifts[count - 1].at <= MOST_ASIDE;
}

static __attribute__((noinline)) void assemble(tb_side *side, const tb_changes *in, const tb_shift *shifts, int32_t count)
{
    tb_level aside[MOST_ASIDE + BLOCK]; /* what lies above the worst shift, as it was */
    tb_level *const worst = shifts[count - 1].at, *to = worst;
    const tb_level *const end = aside + (side->levels + side->count - worst), *from = aside;
    memcpy(aside, worst, (size_t)((const uint8_t *)end - (const uint8_t *)aside));
    for (int32_t k = count; k-- > 0;) {
        const int64_t price = in->prices[shifts[k].change], size = in->sizes[shifts[k].change], goes = size == 0;
        const tb_level *const until = aside + (shifts[k].at - worst);
        tb_level *const next = to + (until - from);
        do {
            memcpy(to, from, BLOCK * sizeof *to);
            to += BLOCK;
            from += BLOCK;
        } while (from < until);
        *next = (tb_level){price, size}; /* one that goes is overwritten in turn */
        to = next + 1 - goes;
        from = until + goes;
    }
    memcpy(to, from, (size_t)((const uint8_t *)end - (const uint8_t *)from));
    side->count = (int32_t)(to + (end - from) - side->levels);
}

/* What the changes do to the digest; and how many levels differ after them. */
TB_INLINE uint64_t account(int s, const tb_changes *in, const int64_t *befores, int64_t *changed)
{
    const int64_t *prices = in->prices, *sizes = in->sizes;
    uint64_t mixed = 0;
    int64_t different = 0;
    for (int32_t j = 0; j < in->count; j++) {
        mixed ^= level_digest(s, prices[j], befores[j]) ^ level_digest(s, prices[j], sizes[j]);
        different += befores[j] != sizes[j];
    }
    *changed += different;
    return mixed;
}

/* Loops over arrays, which the compiler can make vectors of. */
TB_VECTORS
static uint64_t account_narrowly(int s, const tb_changes *in, const int64_t *befores, int64_t *changed)
{
    return account(s, in, befores, changed);
}

#if defined(__x86_64__)

#include <immintrin.h>

TB_INLINE TB_WIDE __m512i mix64_widely(__m512i x)
{
    x = _mm512_xor_si512(x, _mm512_srli_epi64(x, 30));
    x = _mm512_mullo_epi64(x, _mm512_set1_epi64((int64_t)MIX_ONE));
    x = _mm512_xor_si512(x, _mm512_srli_epi64(x, 27));
    x = _mm512_mullo_epi64(x, _mm512_set1_epi64((int64_t)MIX_TWO));
    return _mm512_xor_si512(x, _mm512_srli_epi64(x, 31));
}

/* The same, eight at once. */
static TB_WIDE uint64_t account_widely(int s, const tb_changes *in, const int64_t *befores, int64_t *changed)
{
    const __m512i spread = _mm512_set1_epi64((int64_t)SPREAD), salt = _mm512_set1_epi64((int64_t)side_salt[s]);
    __m512i mixed = _mm512_setzero_si512();
    for (int32_t j = 0; j < in->count; j += 8) {
        const int32_t left = in->count - j;
        const __mmask8 some = (__mmask8)(left < 8 ? (1 << left) - 1 : 0xFF);
        const __m512i price = _mm512_mullo_epi64(_mm512_maskz_loadu_epi64(some, in->prices + j), spread);
        const __m512i before = _mm512_maskz_loadu_epi64(some, befores + j), after = _mm512_maskz_loadu_epi64(some, in->sizes + j);
        const __m512i old = mix64_widely(_mm512_xor_si512(_mm512_add_epi64(price, before), salt)),
                      new = mix64_widely(_mm512_xor_si512(_mm512_add_epi64(price, after), salt));
        mixed = _mm512_mask_xor_epi64(mixed, _mm512_test_epi64_mask(before, before), mixed, old);
        mixed = _mm512_mask_xor_epi64(mixed, _mm512_test_epi64_mask(after, after), mixed, new);
        *changed += __builtin_popcount(_cvtmask8_u32(_mm512_cmpneq_epi64_mask(before, after)));
    }
    const __m256i four = _mm256_xor_si256(_mm512_castsi512_si256(mixed), _mm512_extracti64x4_epi64(mixed, 1));
    const __m128i two = _mm_xor_si128(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    return (uint64_t)_mm_cvtsi128_si64(two) ^ (uint64_t)_mm_extract_epi64(two, 1);
}

#else

static uint64_t account_widely(int s, const tb_changes *in, const int64_t *befores, int64_t *changed)
{
    return account_narrowly(s, in, befores, changed);
}

#endif

TB_INLINE void apply_side(tb_side *side, int s, const tb_changes *message, uint64_t *digest, int64_t *changed)
{
    tb_shift shifts[CHUNK + 1];
    int32_t places[CHUNK];
    int64_t befores[CHUNK];
    for (int32_t done = 0; done < message->count; done += CHUNK) {
        const int32_t left = message->count - done;
        const tb_changes in = {message->prices + done, message->sizes + done, left < CHUNK ? left : CHUNK};
        tb_level *const levels = side->levels, *const unused = levels + side->count;
        int32_t count = 0;
        tb_find_places(side, s, in.prices, in.count, places);
        /* Masks, not branches: whether a price is held, and whether it goes, can't be guessed. */
        for (int32_t j = 0; j < in.count; j++) {
            tb_level *const place = levels + places[j];
            int64_t size = in.sizes[j], held = -(int64_t)(place->price == in.prices[j]);
            int64_t before = befores[j] = place->size & held;
            tb_level *target = (tb_level *)((uintptr_t)unused + (((uintptr_t)place - (uintptr_t)unused) & (uintptr_t)held));
            target->size = size; /* the unused one's where there is nothing to change */
            shifts[count] = (tb_shift){place, j};
            count += (int32_t)((-before ^ -size) < 0);
        }
        *digest ^= in.count == 1 ? account(s, &(tb_changes){in.prices, in.sizes, 1}, befores, changed)
                   : tb_is_wide  ? account_widely(s, &in, befores, changed)
                                 : account_narrowly(s, &in, befores, changed);
        if (may_assemble(side, &in, shifts, count))
            assemble(side, &in, shifts, count);
        else if (count)
            shift(side, &in, shifts, count);
    }
}

tb_error tb_book_apply(tb_book *book, const tb_changes changes[2], int64_t *changed)
{
    /* room for every change to be an insertion */
    if (reserve(book, (int64_t)book->sides[0].count + changes[0].count,
                (int64_t)book->sides[1].count + changes[1].count) != TB_OK)
        return TB_NO_MEMORY;
    *changed = 0;
    apply_side(&book->sides[0], 0, &changes[0], &book->digest, changed);
    apply_side(&book->sides[1], 1, &changes[1], &book->digest, changed);
    return TB_OK;
}

tb_error tb_book_copy(tb_book *copy, const tb_book *book)
{
    if (reserve(copy, book->sides[0].count, book->sides[1].count) != TB_OK)
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

uint64_t tb_book_joint_digest(uint64_t sizes, uint64_t rpi_sizes)
{
    return sizes ^ mix64(rpi_sizes);
}

uint64_t tb_book_digest_recomputed(const tb_book *book)
{
    uint64_t digest = exponent_digest(book);
    for (int s = 0; s < 2; s++)
        for (int32_t i = 0; i < book->sides[s].count; i++)
            digest ^= level_digest(s, book->sides[s].levels[i].price, book->sides[s].levels[i].size);
    return digest;
}
