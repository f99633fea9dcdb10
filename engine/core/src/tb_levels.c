#include "tb_levels.h"

#include <string.h>

#include "tb_decimal.h"
#include "tb_swar.h"

#if TB_HAS_SWAR

#define BETWEEN_NUMBERS TB_TEXT4('"', ',', '"', 0)
#define BETWEEN_LEVELS (TB_TEXT4('"', ']', ',', '[') | (uint64_t)'"' << 32)
#define BEHIND_LEVELS TB_TEXT4('"', ']', ']', 0)

/* Brings a mantissa of `whole` digits before the point and `places` behind it to the decimals in force. Not 0 in *bad when
 * that may not fit, or would lose digits. */
TB_INLINE int64_t at_decimals(uint64_t mantissa, unsigned whole, unsigned places, unsigned decimals, uint64_t *bad)
{
    unsigned by = decimals - places;
    *bad |= (by > TB_MAX_DECIMALS) | (whole + decimals > TB_MAX_DECIMALS);
    return (int64_t)(mantissa * (uint64_t)tb_powers[by > TB_MAX_DECIMALS ? 0 : by]);
}

/* Best first: bids fall, asks rise. */
TB_INLINE int out_of_order(int64_t price, int64_t before, int side)
{
    return side ? price <= before : price >= before;
}

/* ---- plain 64-bit arithmetic ---- */

/* A level is at most 17 + `","` + 17 + `"],["` = 42 bytes here, and so many are readable at the cursor. */
#define PORTABLE_MARGIN 48

/* A plain decimal of up to 8 digits before and 8 behind the point. */
static const uint8_t *long_decimal(const uint8_t *p, uint64_t *mantissa, unsigned *whole, unsigned *places)
{
    uint64_t head, fraction;
    unsigned count = tb_digits8(p, &head);
    if (count == 0 || (*p == '0' && count > 1))
        return NULL;
    *whole = count;
    p += count;
    if (*p != '.') {
        *mantissa = head;
        *places = 0;
        return p;
    }
    count = tb_digits8(++p, &fraction);
    if (count == 0)
        return NULL;
    *mantissa = head * (uint64_t)tb_powers[count] + fraction;
    *places = count;
    return p + count;
}

/* The same, and quicker where point and digits fit in eight bytes: the point is closed up, and one conversion does. */
TB_INLINE const uint8_t *decimal(const uint8_t *p, uint64_t *mantissa, unsigned *whole, unsigned *places)
{
    uint64_t x, other = tb_not_digits(p, &x);
    if (TB_UNLIKELY(other == 0))
        return long_decimal(p, mantissa, whole, places);
    unsigned point = (unsigned)__builtin_ctzll(other) & ~7u; /* in bits */
    if (TB_UNLIKELY(point == 0 || (*p == '0' && point > 8)))
        return NULL;
    *whole = point >> 3;
    if (p[point >> 3] != '.') {
        *mantissa = tb_eight(x << (64 - point));
        *places = 0;
        return p + (point >> 3);
    }
    other &= other - 1;
    unsigned end = other ? (unsigned)__builtin_ctzll(other) & ~7u : 64;
    if (TB_UNLIKELY(end == point + 8 || (end == 64 && (unsigned)p[8] - '0' < 10)))
        return end == 64 ? long_decimal(p, mantissa, whole, places) : NULL;
    uint64_t below = (UINT64_C(1) << point) - 1;
    x = (x & below) | (x >> 8 & ~below);
    *mantissa = tb_eight(x << (72 - end));
    *places = (end - point - 8) >> 3;
    return p + (end >> 3);
}

static const uint8_t *read_side_portably(tb_frame *f, int side, const uint8_t *p, const uint8_t *end)
{
    int64_t *prices = f->prices[side], *sizes = f->sizes[side];
    int32_t n = 0;
    uint64_t bad = 0, odd = 0;
    int64_t before = side ? INT64_MIN : INT64_MAX;
    if (end - p < PORTABLE_MARGIN || !prices) /* the complete decoder makes the room, once */
        return NULL;
    const uint8_t *safe = end - PORTABLE_MARGIN;
    if (*p == ']') {
        f->count[side] = 0;
        return p + 1;
    }
    if ((tb_load8(p) & TB_BYTES(2)) != TB_TEXT2('[', '"'))
        return NULL;
    p += 2;
    for (;; p += 5) {
        uint64_t price, size;
        unsigned whole, places;
        if (TB_UNLIKELY(p > safe || n == f->capacity[side]))
            return NULL;
        p = decimal(p, &price, &whole, &places);
        if (TB_UNLIKELY(!p || (tb_load4(p) & TB_BYTES(3)) != BETWEEN_NUMBERS))
            return NULL;
        odd |= places ^ f->expected_price;
        prices[n] = at_decimals(price, whole, places, f->expected_price, &bad);
        p = decimal(p + 3, &size, &whole, &places);
        if (TB_UNLIKELY(!p))
            return NULL;
        odd |= size ? places ^ f->expected_size : places;
        sizes[n] = at_decimals(size, whole, places, f->expected_size, &bad);
        bad |= (uint64_t)out_of_order(prices[n], before, side);
        before = prices[n++];
        uint64_t behind = tb_load8(p);
        if ((behind & TB_BYTES(5)) == BETWEEN_LEVELS)
            continue;
        if (TB_UNLIKELY((behind & TB_BYTES(3)) != BEHIND_LEVELS))
            return NULL;
        break;
    }
    f->count[side] = n;
    f->exact &= odd == 0;
    return bad ? NULL : p + 3;
}

static const uint8_t *read_portably(tb_frame *f, const uint8_t *p, const uint8_t *end)
{
    f->exact = 1;
    p = read_side_portably(f, 0, p, end);
    if (TB_UNLIKELY(!p || end - p < PORTABLE_MARGIN || (tb_load8(p) & TB_BYTES(6)) != TB_BETWEEN_SIDES))
        return NULL;
    return read_side_portably(f, 1, p + 6, end);
}

/* ---- AVX2 ---- */

#if defined(__x86_64__)

#include <immintrin.h>

/* A level's 32 bytes, and from its second quote at most 31 + 8. */
#define VECTOR_MARGIN 40

/* For a number of `length` characters with its point at `point` (or at `length`): which byte goes where, so that the digits
 * end at the last place, zeros before them, the point left out. Where there can be no such number, a byte that is not a digit
 * is taken along. */
static _Alignas(16) uint8_t arrangements[17][32][16];

/* By the decimals in force. `scale`: for so many characters from the point on, what brings the mantissa to them, or -1 where
 * there are too many. `least`: for so many digits before the point, what the scaled mantissa is at least: more than can be
 * where it would not fit, and so that only a single digit may be 0. A price of 0 is for the complete decoder, because its
 * decimals count. */
typedef struct {
    int64_t scale[18];
    int64_t least[18];
} tb_rule;
static tb_rule price_rules[TB_MAX_DECIMALS + 1], size_rules[TB_MAX_DECIMALS + 1];

__attribute__((constructor)) static void make_tables(void)
{
    for (int length = 0; length <= 16; length++)
        for (int point = 0; point <= length; point++) {
            int digits = length - (point < length), number = point > 0 && point + 1 != length;
            for (int place = 0; place < 16; place++) {
                int digit = place - (16 - digits);
                arrangements[length][point][place] =
                    (uint8_t)(!number ? point : digit < 0 ? 0x80 : digit < point ? digit : digit + 1);
            }
        }
    for (int decimals = 0; decimals <= TB_MAX_DECIMALS; decimals++)
        for (int count = 0; count < 18; count++) {
            int places = count ? count - 1 : 0;
            tb_rule *rule = &price_rules[decimals], *other = &size_rules[decimals];
            rule->scale[count] = places <= decimals ? tb_powers[decimals - places] : -1;
            rule->least[count] = count < 1 || count + decimals > TB_MAX_DECIMALS ? INT64_MAX
                                 : count == 1                                    ? 1
                                                                                 : tb_powers[count - 1 + decimals];
            *other = *rule;
            other->least[1] = 1 + decimals > TB_MAX_DECIMALS ? INT64_MAX : 0;
        }
}

/* In memory, because to load them is cheaper than what the compiler does otherwise: it makes them anew, even for every level. */
#define EIGHT(x) {x, x, x, x, x, x, x, x}
static const union {
    uint32_t words[8];
    __m256i vector;
} constants[7] = {{EIGHT(0x22222222)}, {EIGHT(0x30303030)}, {EIGHT(0x2E2E2E2E)},
                  {EIGHT(0x010A010A)}, {EIGHT(0x00010064)}, {EIGHT(0x00012710)},
                  {EIGHT(100000000)}};

/* Keeps a constant in its register, and an address in one. */
#define HOLD(constant) __asm__("" : "+x"(constant))
#define HOLD_ADDRESS(address) __asm__("" : "+r"(address))

/* Price and size are read together, one in each half of a vector, and all complaints are gathered and looked at once behind
 * the last level: negative differences in `wrong`, bytes above 9 in `highest`. So there is one branch a level that has to be
 * guessed: whether another one follows. */
typedef struct {
    __m256i quote, zero, dot, tens, hundreds, myriads, hundred_million;
    const tb_rule *price_rule, *size_rule;
    const uint8_t (*arrange)[32][16];
    uint64_t price_full, size_full; /* characters from the point on, where all decimals are there */
} tb_held;

/* From the first digit of a level on, behind `n` others that have been read. */
TB_INLINE __attribute__((target("avx2,bmi,bmi2"))) const uint8_t *read_rest(tb_frame *f, const int side, const tb_held *h,
                                                                           const uint8_t *p, const uint8_t *end, int64_t n)
{
    int64_t *const prices = f->prices[side], *const sizes = f->sizes[side];
    const int64_t capacity = f->capacity[side];
    __m256i highest = _mm256_setzero_si256();
    int64_t before = n ? prices[n - 1] : side ? -1 : INT64_MAX, wrong = 0;
    uint64_t odd = 0;
    if (end - p < VECTOR_MARGIN)
        return NULL;
    const uint8_t *safe = end - VECTOR_MARGIN;
    for (;;) {
        if (TB_UNLIKELY(p > safe || n == capacity))
            return NULL;
        /* 61809.40","0.105"],[" : the first quote ends the price, the third the size. If there is no third one among these
         * bytes, the byte behind them has to be it, or won't pass for one below. */
        const uint32_t quotes =
            (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(const void *)p), h->quote));
        const uint64_t price_length = _tzcnt_u32(quotes), size_end = _tzcnt_u32(_blsr_u32(_blsr_u32(quotes)));
        const uint64_t size_length = size_end - price_length - 3;
        if (TB_UNLIKELY(price_length > 16) || TB_UNLIKELY(size_length > 16))
            return NULL;
        const uint64_t behind = tb_load8(p + size_end), between = tb_load4(p + price_length);
        const __m256i text =
            _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)p)),
                                    _mm_loadu_si128((const __m128i *)(const void *)(p + price_length + 3)), 1);
        const uint32_t dots = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(text, h->dot));
        const uint64_t price_point = _tzcnt_u32(dots | UINT32_C(1) << price_length);
        const uint64_t size_point = _tzcnt_u32(dots >> 16 | UINT32_C(1) << size_length);
        const __m256i arrangement = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_load_si128((const __m128i *)(const void *)h->arrange[price_length][price_point])),
            _mm_load_si128((const __m128i *)(const void *)h->arrange[size_length][size_point]), 1);
        const __m256i digits = _mm256_shuffle_epi8(_mm256_sub_epi8(text, h->zero), arrangement);
        highest = _mm256_max_epu8(highest, digits);
        /* sixteen digits, eight pairs, four fours, two eights */
        const __m256i fours = _mm256_madd_epi16(_mm256_maddubs_epi16(digits, h->tens), h->hundreds);
        const __m256i eights = _mm256_madd_epi16(_mm256_packus_epi32(fours, fours), h->myriads);
        const __m256i mantissas =
            _mm256_add_epi64(_mm256_mul_epu32(eights, h->hundred_million), _mm256_srli_epi64(eights, 32));
        const int64_t price = (int64_t)((uint64_t)_mm_cvtsi128_si64(_mm256_castsi256_si128(mantissas)) *
                                        (uint64_t)h->price_rule->scale[price_length - price_point]);
        const int64_t size = (int64_t)((uint64_t)_mm_cvtsi128_si64(_mm256_extracti128_si256(mantissas, 1)) *
                                       (uint64_t)h->size_rule->scale[size_length - size_point]);
        /* a size of 0 is at most `0`, `0.0`, …: one that is longer than a digit has a point */
        odd |= ((price_length - price_point) ^ h->price_full) | ((size_length - size_point) ^ (size ? h->size_full : 0));
        wrong |= price | (int64_t)((uint64_t)price - (uint64_t)h->price_rule->least[price_point]);
        wrong |= size | (int64_t)((uint64_t)size - (uint64_t)h->size_rule->least[size_point]);
        wrong |= side ? (int64_t)((uint64_t)price + ~(uint64_t)before) : (int64_t)((uint64_t)before + ~(uint64_t)price);
        before = price;
        prices[n] = price;
        sizes[n++] = size;
        if (((behind << 24 ^ BETWEEN_LEVELS << 24) | (uint32_t)(between << 8 ^ BETWEEN_NUMBERS << 8)) == 0) {
            p += size_end + 5;
            continue;
        }
        const __m256i nine = _mm256_set1_epi8(9);
        const int digital = _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(highest, nine), nine)) == -1;
        f->count[side] = (int32_t)n;
        f->exact &= odd == 0;
        return wrong >= 0 && digital && (between & TB_BYTES(3)) == BETWEEN_NUMBERS && (behind & TB_BYTES(3)) == BEHIND_LEVELS
                   ? p + size_end + 3
                   : NULL;
    }
}

/* A side begins with its first level, or ends at once. */
TB_INLINE __attribute__((target("avx2,bmi,bmi2"))) const uint8_t *read_side(tb_frame *f, const int side, const tb_held *h,
                                                                           const uint8_t *p, const uint8_t *end)
{
    if (end - p < VECTOR_MARGIN || !f->prices[side]) /* the complete decoder makes the room, once */
        return NULL;
    if (*p == ']') {
        f->count[side] = 0;
        return p + 1;
    }
    return (tb_load8(p) & TB_BYTES(2)) == TB_TEXT2('[', '"') ? read_rest(f, side, h, p + 2, end, 0) : NULL;
}

TB_INLINE __attribute__((target("avx2,bmi,bmi2"))) tb_held held(const tb_frame *f)
{
    tb_held h = {constants[0].vector, constants[1].vector, constants[2].vector, constants[3].vector, constants[4].vector,
                 constants[5].vector, constants[6].vector, &price_rules[f->expected_price], &size_rules[f->expected_size],
                 arrangements, f->expected_price ? f->expected_price + UINT64_C(1) : 0,
                 f->expected_size ? f->expected_size + UINT64_C(1) : 0};
    HOLD(h.quote);
    HOLD(h.zero);
    HOLD(h.dot);
    HOLD(h.tens);
    HOLD(h.hundreds);
    HOLD(h.myriads);
    HOLD(h.hundred_million);
    HOLD_ADDRESS(h.price_rule);
    HOLD_ADDRESS(h.size_rule);
    HOLD_ADDRESS(h.arrange);
    return h;
}

__attribute__((target("avx2,bmi,bmi2"), noinline)) const uint8_t *tb_read_other_levels(tb_frame *f, int side, const uint8_t *p,
                                                                                       const uint8_t *end, int64_t n)
{
    const tb_held h = held(f);
    return side ? read_rest(f, 1, &h, p, end, n) : read_rest(f, 0, &h, p, end, n);
}

__attribute__((target("avx2,bmi,bmi2"))) const uint8_t *tb_read_levels_singly(tb_frame *f, const uint8_t *p, const uint8_t *end)
{
    const tb_held h = held(f);
    f->exact = 1;
    p = read_side(f, 0, &h, p, end);
    if (TB_UNLIKELY(!p || end - p < VECTOR_MARGIN || (tb_load8(p) & TB_BYTES(6)) != TB_BETWEEN_SIDES))
        return NULL;
    return read_side(f, 1, &h, p + 6, end);
}

#endif

/* The fastest of those up to `most`. */
static tb_levels_way fastest(tb_levels_way most)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (most >= TB_LEVELS_AVX512 && tb_can_read_pairs())
        return TB_LEVELS_AVX512;
    if (most >= TB_LEVELS_AVX2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
        __builtin_cpu_supports("bmi2"))
        return TB_LEVELS_AVX2;
#else
    (void)most;
#endif
    return TB_LEVELS_PORTABLE;
}

tb_levels_reader tb_read_levels = read_portably;

tb_levels_way tb_choose_levels_reader(tb_levels_way most)
{
    const tb_levels_way way = fastest(most);
#if defined(__x86_64__)
    tb_read_levels = way == TB_LEVELS_AVX512 ? tb_read_levels_in_pairs : way == TB_LEVELS_AVX2 ? tb_read_levels_singly : read_portably;
#endif
    return way;
}

__attribute__((constructor)) static void choose(void)
{
    (void)tb_choose_levels_reader(TB_LEVELS_AVX512);
}

#else

tb_levels_way tb_choose_levels_reader(tb_levels_way most)
{
    (void)most;
    return TB_LEVELS_PORTABLE;
}

#endif
