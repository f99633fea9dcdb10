/* Levels with AVX-512, two at a time, as long as they are written as the exchange writes them: prices and sizes with just the
 * decimals of the pair in force, but sizes of 0, which are `0`. From the first one that isn't, the AVX2 reader goes on. */
#include "tb_levels.h"

#include "tb_decimal.h"
#include "tb_swar.h"

#if defined(__x86_64__) && TB_HAS_SWAR

#include <immintrin.h>

#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,bmi,bmi2")))

#define SEEN 64 /* bytes from a level's first digit on, in which two levels end */
#define BEHIND 8 /* so many are read from a number's quote on */
#define LEAST_REST 40 /* what is behind a side in any case: else the complete decoder looks */
#define LONGEST 16                    /* characters of a number: a lane */
#define MOST_DECIMALS (LONGEST - 2)

/* A number lies in a lane of sixteen bytes so that it ends where the lane does. Where its point has to be and which bytes may be
 * its first is known from the decimals, and for each of both kinds of numbers by itself. */
typedef struct {
    uint8_t base[LONGEST];  /* what a byte's value is counted from: `0`, or the point */
    uint8_t most[LONGEST];  /* the highest such value */
    uint8_t close[LONGEST]; /* the digits before the point move up to those behind it */
    /* of places, a bit each: where a number must not begin with 0, nor with any other digit */
    uint16_t no_zero, no_other;
    uint16_t alone; /* where a size of 0 begins that has no point, while others have one */
} tb_writing;
static tb_writing price_writings[MOST_DECIMALS + 1], size_writings[MOST_DECIMALS + 1];

__attribute__((constructor)) static void make_writings(void)
{
    for (int decimals = 0; decimals <= MOST_DECIMALS; decimals++) {
        tb_writing *const w = &price_writings[decimals], *const other = &size_writings[decimals];
        const int point = decimals ? LONGEST - 1 - decimals : LONGEST; /* LONGEST: there is none */
        for (int k = 0; k < LONGEST; k++) {
            w->base[k] = k == point ? '.' : '0';
            w->most[k] = k == point ? 0 : 9;
            w->close[k] = (uint8_t)(decimals == 0 || k > point ? k : k ? k - 1 : 0x80);
            w->no_zero |= (uint16_t)((k != point - 1) << k); /* a 0 before the point is alone */
            w->no_other |= (uint16_t)((k >= point) << k);
        }
        *other = *w;
        if (decimals) {
            other->alone = 1 << (LONGEST - 1);
            other->no_zero &= (uint16_t)~other->alone;
        }
    }
}

/* In every lane, or of every number: price, size, price, size. */
typedef struct {
    __m512i base, most, close, quote, tens, hundreds, myriads, hundred_million, order;
    uint64_t no_zero, no_other, alone; /* no_zero: exclusive or no_other */
    uint64_t sizes;                    /* of the mantissas in their lanes: those that are `0` if they are 0 */
} tb_wide;

/* Behind a quote. */
#define BETWEEN_NUMBERS TB_TEXT2(',', '"')
#define BETWEEN_LEVELS TB_TEXT4(']', ',', '[', '"')
#define BEHIND_LEVELS TB_TEXT2(']', ']')

TB_INLINE uint32_t load2(const uint8_t *p)
{
    uint16_t word;
    memcpy(&word, p, 2);
    return word;
}

#define HOLD(constant) __asm__("" : "+v"(constant))

TB_INLINE WIDE __m512i lanes(const uint8_t price[LONGEST], const uint8_t size[LONGEST])
{
    const __m128i a = _mm_loadu_si128((const __m128i *)(const void *)price), b = _mm_loadu_si128((const __m128i *)(const void *)size);
    return _mm512_broadcast_i64x4(_mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1));
}

/* The numbers of `levels` levels (1 or 2) which end at p + ends[i] and have these lengths. Mantissas: price, price, size, size. What
 * comes back is 0 if all of them are written as expected. */
TB_INLINE WIDE uint64_t read_numbers(const tb_wide *w, const uint8_t *p, const uint64_t ends[4], const uint64_t lengths[4],
                                     const int levels, __m256i *out)
{
#define LANE(i) _mm_loadu_si128((const __m128i *)(const void *)(p + ends[i] - LONGEST))
    const uint64_t firsts = levels == 2 ? ((UINT64_C(1) << ((16 - lengths[0]) & 63)) + (UINT64_C(1) << ((32 - lengths[1]) & 63))) +
                                              ((UINT64_C(1) << ((48 - lengths[2]) & 63)) + (UINT64_C(1) << ((64 - lengths[3]) & 63)))
                                        : (UINT64_C(1) << ((16 - lengths[0]) & 63)) + (UINT64_C(1) << ((32 - lengths[1]) & 63));
    uint64_t high, zero, none;
    if (levels == 2) {
        const uint64_t used = ((UINT64_C(1) << 16) + (UINT64_C(1) << 32) + (UINT64_C(1) << 48)) - firsts;
        const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(LANE(0)), LANE(1), 1),
                      upper = _mm256_inserti128_si256(_mm256_castsi128_si256(LANE(2)), LANE(3), 1);
        const __m512i text = _mm512_inserti64x4(_mm512_castsi256_si512(low), upper, 1);
        __m512i x = _mm512_maskz_sub_epi8(_cvtu64_mask64(used), text, w->base);
        high = _cvtmask64_u64(_mm512_cmpgt_epu8_mask(x, w->most));
        zero = _cvtmask64_u64(_mm512_testn_epi8_mask(x, x));
        /* sixteen digits, eight pairs, four fours, two eights */
        x = _mm512_madd_epi16(_mm512_maddubs_epi16(_mm512_shuffle_epi8(x, w->close), w->tens), w->hundreds);
        x = _mm512_madd_epi16(_mm512_packus_epi32(x, x), w->myriads);
        x = _mm512_add_epi64(_mm512_mul_epu32(x, w->hundred_million), _mm512_srli_epi64(x, 32));
        none = _cvtmask8_u32(_mm512_testn_epi64_mask(x, x));
        *out = _mm512_castsi512_si256(_mm512_permutexvar_epi64(w->order, x));
    } else {
        const uint32_t used = (uint32_t)((UINT64_C(1) << 16) + (UINT64_C(1) << 32) - firsts);
        const __m256i text = _mm256_inserti128_si256(_mm256_castsi128_si256(LANE(0)), LANE(1), 1);
        __m256i x = _mm256_maskz_sub_epi8(_cvtu32_mask32(used), text, _mm512_castsi512_si256(w->base));
        high = _cvtmask32_u32(_mm256_cmpgt_epu8_mask(x, _mm512_castsi512_si256(w->most)));
        zero = _cvtmask32_u32(_mm256_testn_epi8_mask(x, x));
        x = _mm256_shuffle_epi8(x, _mm512_castsi512_si256(w->close));
        x = _mm256_madd_epi16(_mm256_maddubs_epi16(x, _mm512_castsi512_si256(w->tens)), _mm512_castsi512_si256(w->hundreds));
        x = _mm256_madd_epi16(_mm256_packus_epi32(x, x), _mm512_castsi512_si256(w->myriads));
        x = _mm256_add_epi64(_mm256_mul_epu32(x, _mm512_castsi512_si256(w->hundred_million)), _mm256_srli_epi64(x, 32));
        none = _cvtmask8_u32(_mm256_testn_epi64_mask(x, x));
        *out = x; /* each is there twice */
    }
#undef LANE
    /* a size of 0 that is not `0` is another spelling */
    return high | (firsts & (w->no_other ^ (zero & w->no_zero))) | (_pext_u64(firsts, w->alone) ^ _pext_u64(none, w->sizes));
}

TB_INLINE WIDE const uint8_t *read_side(tb_frame *f, const int side, const tb_wide *w, const uint8_t *p, const uint8_t *end)
{
    int64_t *const prices = f->prices[side], *const sizes = f->sizes[side];
    const int64_t capacity = f->capacity[side];
    int64_t n = 0;
    __m128i before = _mm_set1_epi64x(side ? 0 : INT64_MAX);
    if (TB_UNLIKELY(end - p < LEAST_REST || !prices)) /* the complete decoder makes the room, once */
        return NULL;
    if (*p == ']') {
        f->count[side] = 0;
        return p + 1;
    }
    if (TB_UNLIKELY(load2(p) != TB_TEXT2('[', '"')))
        return NULL;
    for (p += 2;;) {
        const uint64_t left = (uint64_t)(end - p);
        uint64_t ends[4], lengths[4];
        const uint8_t *behind;
        __m256i mantissas;
        /* 61809.40","0.105"],["61809.30","0"] : every other quote ends a number */
        const __m512i text = TB_LIKELY(left >= SEEN)
                                 ? _mm512_loadu_si512((const void *)p)
                                 : _mm512_maskz_loadu_epi8(_cvtu64_mask64((UINT64_C(1) << left) - 1), (const void *)p);
        const uint64_t quotes = _cvtmask64_u64(_mm512_cmpeq_epi8_mask(text, w->quote));
        ends[0] = _tzcnt_u64(quotes);
        ends[1] = _tzcnt_u64(_pdep_u64(1 << 2, quotes));
        if (TB_UNLIKELY(ends[1] + BEHIND > left))
            break;
        lengths[0] = ends[0];
        lengths[1] = ends[1] - ends[0] - 3;
        uint32_t strange = load2(p + ends[0] + 1) ^ BETWEEN_NUMBERS;
        behind = p + ends[1];
        if (tb_load4(behind + 1) == BETWEEN_LEVELS) {
            ends[2] = _tzcnt_u64(_pdep_u64(1 << 4, quotes));
            ends[3] = _tzcnt_u64(_pdep_u64(1 << 6, quotes));
            if (TB_UNLIKELY(ends[3] + BEHIND > left))
                break;
            lengths[2] = ends[2] - ends[1] - 5;
            lengths[3] = ends[3] - ends[2] - 3;
            strange |= load2(p + ends[2] + 1) ^ BETWEEN_NUMBERS;
            behind = p + ends[3];
            uint64_t odd = read_numbers(w, p, ends, lengths, 2, &mantissas);
            odd |= ((lengths[0] - 1) | (lengths[1] - 1) | (lengths[2] - 1) | (lengths[3] - 1)) & ~(uint64_t)(LONGEST - 1);
            const __m128i two = _mm256_castsi256_si128(mantissas), shifted = _mm_alignr_epi8(two, before, 8);
            odd |= _cvtmask8_u32(side ? _mm_cmple_epi64_mask(two, shifted) : _mm_cmpge_epi64_mask(two, shifted));
            if (TB_UNLIKELY((odd | strange) != 0 || n + 2 > capacity))
                break;
            before = two;
            _mm_storeu_si128((__m128i *)(void *)(prices + n), two);
            _mm_storeu_si128((__m128i *)(void *)(sizes + n), _mm256_extracti128_si256(mantissas, 1));
            n += 2;
            if (tb_load4(behind + 1) == BETWEEN_LEVELS) {
                p = behind + 5;
                continue;
            }
        } else {
            uint64_t odd = read_numbers(w, p, ends, lengths, 1, &mantissas);
            odd |= ((lengths[0] - 1) | (lengths[1] - 1)) & ~(uint64_t)(LONGEST - 1);
            const __m128i one = _mm256_castsi256_si128(mantissas), shifted = _mm_alignr_epi8(one, before, 8);
            odd |= _cvtmask8_u32(side ? _mm_cmple_epi64_mask(one, shifted) : _mm_cmpge_epi64_mask(one, shifted)) & 1;
            if (TB_UNLIKELY((odd | strange) != 0 || n + 1 > capacity))
                break;
            prices[n] = _mm_cvtsi128_si64(one);
            sizes[n] = _mm_cvtsi128_si64(_mm256_extracti128_si256(mantissas, 1));
            n++;
        }
        f->count[side] = (int32_t)n;
        return load2(behind + 1) == BEHIND_LEVELS && (side || prices[n - 1]) ? behind + 3 : NULL;
    }
    return tb_read_other_levels(f, side, p, end, n);
}

WIDE const uint8_t *tb_read_levels_in_pairs(tb_frame *f, const uint8_t *p, const uint8_t *end)
{
    if (TB_UNLIKELY(f->expected_price > MOST_DECIMALS || f->expected_size > MOST_DECIMALS)) /* no lane holds such a number */
        return tb_read_levels_singly(f, p, end);
    const tb_writing *const price = &price_writings[f->expected_price], *const size = &size_writings[f->expected_size];
#define EACH(name) (((uint64_t)price->name | (uint64_t)size->name << 16) * UINT64_C(0x0000000100000001))
    tb_wide w = {.base = lanes(price->base, size->base),
                 .most = lanes(price->most, size->most),
                 .close = lanes(price->close, size->close),
                 .quote = _mm512_set1_epi8('"'),
                 .tens = _mm512_set1_epi16(0x010A),
                 .hundreds = _mm512_set1_epi32(0x00010064),
                 .myriads = _mm512_set1_epi32(0x00012710),
                 .hundred_million = _mm512_set1_epi32(100000000),
                 .order = _mm512_setr_epi64(0, 4, 2, 6, 0, 0, 0, 0),
                 .no_zero = EACH(no_zero) ^ EACH(no_other),
                 .no_other = EACH(no_other),
                 .alone = EACH(alone),
                 .sizes = f->expected_size ? 0x44 : 0};
#undef EACH
    HOLD(w.quote);
    HOLD(w.tens);
    HOLD(w.hundreds);
    HOLD(w.myriads);
    HOLD(w.hundred_million);
    HOLD(w.order);
    f->exact = 1;
    p = read_side(f, 0, &w, p, end);
    if (TB_UNLIKELY(!p || end - p < LEAST_REST || (tb_load8(p) & TB_BYTES(6)) != TB_BETWEEN_SIDES))
        return NULL;
    return read_side(f, 1, &w, p + 6, end);
}

int tb_can_read_pairs(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
}

#endif
