#include "tb_find.h"

#include <string.h>

/* ---- binary searches ---- */

#define TOGETHER 4 /* searches at once; what remains, in twos and ones */

/* Binary searches whose steps depend on `count` alone, so that the processor has nothing to guess, and which it can run side by
 * side, because none waits for another. count > 0. */
TB_INLINE void find_few(const tb_level *levels, int64_t count, const int64_t *prices, int32_t *places, int s, const int few)
{
    const tb_level *base[TOGETHER];
    for (int k = 0; k < few; k++)
        base[k] = levels;
    for (int64_t length = count; length > 1;) {
        const int64_t half = length >> 1;
        for (int k = 0; k < few; k++) {
            const tb_level *probe = base[k] + half;
            const int below = tb_worse(probe[-1].price, prices[k], s);
            base[k] = __builtin_expect_with_probability(below, 1, 0.5) ? probe : base[k];
        }
        length -= half;
    }
    for (int k = 0; k < few; k++)
        places[k] = (int32_t)(base[k] - levels + tb_worse(base[k]->price, prices[k], s));
}

TB_INLINE void find_side_narrowly(const tb_side *side, int s, const int64_t *prices, int32_t n, int32_t *places)
{
    int32_t j = 0;
    for (; j + TOGETHER <= n; j += TOGETHER)
        find_few(side->levels, side->count, prices + j, places + j, s, TOGETHER);
    if (n - j >= 2) {
        find_few(side->levels, side->count, prices + j, places + j, s, 2);
        j += 2;
    }
    if (j < n)
        find_few(side->levels, side->count, prices + j, places + j, s, 1);
}

static void find_narrowly(const tb_side *side, int s, const int64_t *prices, int32_t n, int32_t *places)
{
    if (s)
        find_side_narrowly(side, 1, prices, n, places);
    else
        find_side_narrowly(side, 0, prices, n, places);
}

/* ---- AVX-512 ---- */

#if defined(__x86_64__)

#include <immintrin.h>

#define BLOCK 8
#define FEW_LEVELS 256
#define MANY_LEVELS 1024

int tb_is_wide;

__attribute__((constructor)) static void choose(void)
{
    (void)tb_find_narrowly(0);
}

int tb_find_narrowly(int narrowly)
{
    __builtin_cpu_init();
    tb_is_wide = !narrowly && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("bmi");
    return !tb_is_wide;
}

/* Eight prices at a time are held against the best level of every block of eight; then each against those of its block. What lies
 * behind the last level is not worse than any price. */
TB_INLINE TB_WIDE void find_side_widely(tb_level *levels, int32_t count, const int s, const int64_t *prices, int32_t n, int32_t *places)
{
    const int32_t blocks = count / BLOCK;
    const __m512i one = _mm512_set1_epi64(1);
    levels[count].price = s ? INT64_MIN : INT64_MAX;
    for (int32_t j = 0; j < n; j += BLOCK) {
        const int32_t some = n - j < BLOCK ? n - j : BLOCK;
        const __m512i wanted = _mm512_maskz_loadu_epi64((__mmask8)((1u << some) - 1), prices + j);
        __m512i below = _mm512_setzero_si512();
        int64_t block[BLOCK];
        for (int32_t i = 0; i < blocks; i++) {
            const __m512i best = _mm512_set1_epi64(levels[BLOCK * i + BLOCK - 1].price);
            below = _mm512_mask_add_epi64(below, s ? _mm512_cmpgt_epi64_mask(best, wanted) : _mm512_cmplt_epi64_mask(best, wanted),
                                          below, one);
        }
        _mm512_storeu_si512(block, below);
        for (int32_t k = 0; k < some; k++) {
            const tb_level *const at = levels + BLOCK * block[k];
            const __m512i price = _mm512_set1_epi64(prices[j + k]);
            const __m512i low = _mm512_loadu_si512(at), high = _mm512_loadu_si512(at + BLOCK / 2);
            /* a bit for each price, none for its size */
            const __mmask8 in_low = s ? _mm512_mask_cmple_epi64_mask(0x55, low, price) : _mm512_mask_cmpge_epi64_mask(0x55, low, price);
            const __mmask8 in_high =
                s ? _mm512_mask_cmple_epi64_mask(0x55, high, price) : _mm512_mask_cmpge_epi64_mask(0x55, high, price);
            const uint32_t bits = _cvtmask16_u32(_mm512_kunpackb(in_high, in_low));
            places[j + k] = (int32_t)(BLOCK * block[k]) + (int32_t)(_tzcnt_u32(bits) >> 1);
        }
    }
}

static TB_WIDE void find_widely(tb_side *side, int s, const int64_t *prices, int32_t n, int32_t *places)
{
    if (s)
        find_side_widely(side->levels, side->count, 1, prices, n, places);
    else
        find_side_widely(side->levels, side->count, 0, prices, n, places);
}

/* A single price is found sooner by a binary search. All blocks are looked at, too many of them for a few prices in a deep book; and
 * as a whole. A price that stands for the
 * end must not be looked for. */
static int may_be_wide(const tb_side *side, int s, const int64_t *prices, int32_t n)
{
    return tb_is_wide && n > 1 && side->count <= (n < BLOCK ? FEW_LEVELS : MANY_LEVELS) && (side->count | (BLOCK - 1)) <= side->capacity &&
           (s || prices[0] != INT64_MAX);
}

#else

int tb_find_narrowly(int narrowly)
{
    (void)narrowly;
    return 1;
}

static int may_be_wide(const tb_side *side, int s, const int64_t *prices, int32_t n)
{
    (void)side, (void)s, (void)prices, (void)n;
    return 0;
}

static void find_widely(tb_side *side, int s, const int64_t *prices, int32_t n, int32_t *places)
{
    find_narrowly(side, s, prices, n, places);
}

#endif

void tb_find_places(tb_side *side, int s, const int64_t *prices, int32_t count, int32_t *places)
{
    if (TB_UNLIKELY(side->count == 0))
        memset(places, 0, (size_t)count * sizeof *places);
    else if (may_be_wide(side, s, prices, count))
        find_widely(side, s, prices, count, places);
    else
        find_narrowly(side, s, prices, count, places);
    side->levels[side->count].price = TB_NO_PRICE;
}
