/* Levels with AVX-512, two at a time, as long as they are written as the exchange writes them: prices and sizes with just the
 * decimals of the pair in force, but sizes of 0, which are `0`. From the first one that isn't, the AVX2 reader goes on. */
#include "tb_levels.h"

#include "tb_decimal.h"
#include "tb_swar.h"

#if defined(__x86_64__) && TB_HAS_SWAR

#include <immintrin.h>

#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,bmi,bmi2")))

#define SEEN 64       /* bytes from a level's first digit on, in which two levels end */
#define BEHIND 8      /* so many are read from a number's quote on */
#define LEAST_REST 40 /* what is behind a side in any case: else the complete decoder looks */
#define LANE 16
#define MOST_DIGITS (LANE - 2)
#define MOST_DECIMALS (MOST_DIGITS - 1)

/* From the end of a number back to that of the one before, without its own length: `","`, and `"],["`. */
#define TO_SIZE 3
#define TO_PRICE 5
#define SPANS (TO_PRICE + SEEN + 1)

/* A number's text lies in a lane so that it ends where the lane does. So its point has its place, which depends on the decimals
 * alone. The text becomes values, and these are put in order: digits at the end, zeros before them. Of the two places that no digit
 * needs the first gets what has to be the point, and the second the first digit, where that must not be 0, or else the quote in
 * front of it. How, depends on the number's length. A length that no such number has puts a 0 there. */
typedef struct {
    uint8_t base[LANE]; /* what a byte's value is counted from: `0`, or the point */
    uint8_t order[SPANS][LANE]; /* by length, from -TO_PRICE on */
} tb_writing;
static _Alignas(64) tb_writing price_writings[MOST_DECIMALS + 1], size_writings[MOST_DECIMALS + 1];

static void make_order(uint8_t order[LANE], int length, int decimals, int is_size)
{
    const int first = LANE - length, point = decimals ? LANE - 1 - decimals : LANE; /* LANE: there is none */
    const int is_alone = is_size && decimals && length == 1;                        /* a size of 0 */
    memset(order, 0x80, LANE);
    if (length < 1 || length - (decimals > 0) > MOST_DIGITS || (first >= point && !is_alone))
        return;
    for (int place = LANE - 1, from = LANE - 1; from >= first; from--)
        if (from != point)
            order[place--] = (uint8_t)from;
    if (first < point && decimals)
        order[0] = (uint8_t)point;
    order[1] = (uint8_t)(first + 1 < point && length > 1 ? first : first - 1);
}

__attribute__((constructor)) static void make_writings(void)
{
    for (int decimals = 0; decimals <= MOST_DECIMALS; decimals++)
        for (int is_size = 0; is_size < 2; is_size++) {
            tb_writing *const w = is_size ? &size_writings[decimals] : &price_writings[decimals];
            memset(w->base, '0', LANE);
            if (decimals)
                w->base[LANE - 1 - decimals] = '.';
            for (int i = 0; i < SPANS; i++)
                make_order(w->order[i], i - TO_PRICE, decimals, is_size);
        }
}

#define EVERY_16(...) {__VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__}
#define EVERY_4(x) EVERY_16(x, x, x, x)
typedef union {
    uint32_t words[LANE];
    __m512i vector;
} tb_constant;
static const tb_constant quote = {EVERY_4(0x22222222)}, tens = {EVERY_16(0x010A0000, 0x010A010A, 0x010A010A, 0x010A010A)},
                         hundreds = {EVERY_4(0x00010064)}, myriads = {EVERY_4(0x00012710)}, hundred_million = {EVERY_4(100000000)},
                         first_less_one = {EVERY_16(0xFF00, 0, 0, 0)}, /* 0 becomes 255 */
                         most = {EVERY_16(0x0909FE00, 0x09090909, 0x09090909, 0x09090909)},
                         second_last = {EVERY_16(0, 0, 0, 0x00FF0000)}, by_kind = {{0, 0, 4, 0, 2, 0, 6, 0}};

/* Of the frame's numbers. */
typedef struct {
    __m512i base; /* price, size, price, size */
    const uint8_t *prices, *sizes; /* orders, of length 0 */
    uint32_t may_be_alone; /* of the second halves of the lanes: sizes, if `0` is another spelling than theirs */
} tb_written;

/* What the numbers of `levels` levels (1 or 2) make whose texts and orders these are: price, price, size, size. What comes back is 0
 * if they are what is expected. */
TB_INLINE WIDE __mmask64 read_two(const tb_written *w, __m512i text, __m512i order, __m256i *mantissas)
{
    __m512i x = _mm512_shuffle_epi8(_mm512_sub_epi8(text, w->base), order);
    x = _mm512_add_epi8(x, first_less_one.vector);
    const __mmask64 high = _mm512_cmpgt_epu8_mask(x, most.vector);
    /* fourteen digits, seven pairs, four fours, two eights */
    x = _mm512_madd_epi16(_mm512_maddubs_epi16(x, tens.vector), hundreds.vector);
    x = _mm512_madd_epi16(_mm512_packus_epi32(x, x), myriads.vector);
    x = _mm512_add_epi64(_mm512_mul_epu32(x, hundred_million.vector), _mm512_srli_epi64(x, 32)); /* each twice */
    *mantissas = _mm512_castsi512_si256(_mm512_permutexvar_epi64(by_kind.vector, x));
    /* a size is 0 if, and only if, it is a single character: the one before that is a quote */
    const __m512i before_last = _mm512_ternarylogic_epi64(text, quote.vector, second_last.vector, 0x28);
    const __mmask8 sizes = (__mmask8)w->may_be_alone;
    return _kor_mask64(high, _kxor_mask8(_mm512_mask_testn_epi64_mask(sizes, x, x),
                                         _mm512_mask_testn_epi64_mask(sizes, before_last, before_last)));
}

TB_INLINE WIDE __mmask32 read_one(const tb_written *w, __m256i text, __m256i order, __m256i *mantissas)
{
#define HALF(name) _mm512_castsi512_si256(name.vector)
    __m256i x = _mm256_shuffle_epi8(_mm256_sub_epi8(text, _mm512_castsi512_si256(w->base)), order);
    x = _mm256_add_epi8(x, HALF(first_less_one));
    const __mmask32 high = _mm256_cmpgt_epu8_mask(x, HALF(most));
    x = _mm256_madd_epi16(_mm256_maddubs_epi16(x, HALF(tens)), HALF(hundreds));
    x = _mm256_madd_epi16(_mm256_packus_epi32(x, x), HALF(myriads));
    x = _mm256_add_epi64(_mm256_mul_epu32(x, HALF(hundred_million)), _mm256_srli_epi64(x, 32));
    *mantissas = x; /* each is there twice */
    const __m256i before_last = _mm256_ternarylogic_epi64(text, HALF(quote), HALF(second_last), 0x28);
    const __mmask8 sizes = (__mmask8)(w->may_be_alone & 0x0F);
    return _kor_mask32(high, _kxor_mask8(_mm256_mask_testn_epi64_mask(sizes, x, x),
                                         _mm256_mask_testn_epi64_mask(sizes, before_last, before_last)));
#undef HALF
}

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

TB_INLINE WIDE __m256i load_lanes(const uint8_t *low, const uint8_t *high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)low)),
                                   _mm_loadu_si128((const __m128i *)(const void *)high), 1);
}

/* For a number from here to there. */
TB_INLINE const uint8_t *order_of(const uint8_t *orders, uint64_t from, uint64_t to)
{
    return orders + LANE * (ptrdiff_t)(to - from);
}

/* A constant that is cheaper to make each time than to keep: registers are scarce here. */
TB_INLINE uint64_t bit(const int i)
{
    uint64_t word = UINT64_C(1) << i;
    __asm__("" : "+r"(word));
    return word;
}

/* The quotes among the bytes from p on, of which so many are readable: a bit each. */
TB_INLINE WIDE uint64_t quotes_from(const uint8_t *p, uint64_t left)
{
    const __m512i seen = TB_LIKELY(left >= SEEN)
                             ? _mm512_loadu_si512((const void *)p)
                             : _mm512_maskz_loadu_epi8(_cvtu64_mask64((UINT64_C(1) << left) - 1), (const void *)p);
    return _cvtmask64_u64(_mm512_cmpeq_epi8_mask(seen, quote.vector));
}

/* How far a side has been read. */
typedef struct {
    int64_t *to;    /* where the next price goes; its size lies `to_sizes` from there */
    int64_t *full;
    uintptr_t to_sizes;
    __m128i before; /* its second number: the price before */
} tb_sofar;

/* Bids fall, asks rise. */
#define OUT_OF_ORDER(prices, before) (side ? _mm_cmple_epi64_mask((prices), (before)) : _mm_cmpge_epi64_mask((prices), (before)))

/* Reads two levels, or the last one, from p on, where these quotes are. Returns where the quote is that ends them; NULL, with nothing
 * read, if they are written in any other way. */
TB_INLINE WIDE const uint8_t *read_some(const tb_written *w, const int side, tb_sofar *sofar, const uint8_t *p, uint64_t left,
                                        uint64_t quotes)
{
    /* 61809.40","0.105"],["61809.30","0"] : every other quote ends a number */
    const uint64_t end_0 = _tzcnt_u64(quotes), end_1 = _tzcnt_u64(_pdep_u64(bit(2), quotes));
    __m256i mantissas;
    if (TB_UNLIKELY(end_1 + BEHIND > left))
        return NULL;
    const uint8_t *behind = p + end_1;
    uint32_t strange = load2(p + end_0 + 1) ^ BETWEEN_NUMBERS;
    const __m256i text = load_lanes(p + end_0 - LANE, behind - LANE);
    const __m256i order = load_lanes(order_of(w->prices, 0, end_0), order_of(w->sizes, end_0 + TO_SIZE, end_1));
    if (tb_load4(behind + 1) != BETWEEN_LEVELS) {
        __mmask32 odd = read_one(w, text, order, &mantissas);
        const __m128i one = _mm256_castsi256_si128(mantissas);
        odd = _kor_mask32(odd, _kand_mask8(OUT_OF_ORDER(one, _mm_alignr_epi8(one, sofar->before, 8)), 1));
        if (TB_UNLIKELY(!_kortestz_mask32_u8(odd, odd)) || TB_UNLIKELY(strange != 0 || sofar->to == sofar->full))
            return NULL;
        _mm_storel_epi64((__m128i *)(void *)sofar->to, one);
        _mm_storel_epi64((__m128i *)((uintptr_t)sofar->to + sofar->to_sizes), _mm256_extracti128_si256(mantissas, 1));
        sofar->to++;
        return behind;
    }
    const uint64_t end_2 = _tzcnt_u64(_pdep_u64(bit(4), quotes)), end_3 = _tzcnt_u64(_pdep_u64(bit(6), quotes));
    if (TB_UNLIKELY(end_3 + BEHIND > left))
        return NULL;
    behind = p + end_3;
    strange |= load2(p + end_2 + 1) ^ BETWEEN_NUMBERS;
    const __m256i other_text = load_lanes(p + end_2 - LANE, behind - LANE);
    const __m256i other_order = load_lanes(order_of(w->prices, end_1 + TO_PRICE, end_2), order_of(w->sizes, end_2 + TO_SIZE, end_3));
    __mmask64 odd = read_two(w, _mm512_inserti64x4(_mm512_castsi256_si512(text), other_text, 1),
                             _mm512_inserti64x4(_mm512_castsi256_si512(order), other_order, 1), &mantissas);
    const __m128i two = _mm256_castsi256_si128(mantissas);
    odd = _kor_mask64(odd, OUT_OF_ORDER(two, _mm_alignr_epi8(two, sofar->before, 8)));
    if (TB_UNLIKELY(!_kortestz_mask64_u8(odd, odd)) || TB_UNLIKELY(strange != 0 || sofar->full - sofar->to < 2))
        return NULL;
    sofar->before = two;
    _mm_storeu_si128((__m128i *)(void *)sofar->to, two);
    _mm_storeu_si128((__m128i *)((uintptr_t)sofar->to + sofar->to_sizes), _mm256_extracti128_si256(mantissas, 1));
    sofar->to += 2;
    return behind;
}

TB_INLINE WIDE const uint8_t *read_side(tb_frame *f, const int side, const tb_written *w, const uint8_t *p, const uint8_t *end)
{
    int64_t *const prices = f->prices[side];
    if (TB_UNLIKELY(end - p < LEAST_REST || !prices)) /* the complete decoder makes the room, once */
        return NULL;
    if (*p == ']') {
        f->count[side] = 0;
        return p + 1;
    }
    if (TB_UNLIKELY(load2(p) != TB_TEXT2('[', '"')))
        return NULL;
    tb_sofar sofar = {prices, prices + f->capacity[side], (uintptr_t)f->sizes[side] - (uintptr_t)prices,
                      _mm_set1_epi64x(side ? 0 : INT64_MAX)};
    const uint8_t *behind;
    for (p += 2;; p = behind + TO_PRICE) {
        /* Twice, and the second time with what has been seen already: to wait for where the first ones end, and then for the bytes
         * from there on, is what takes longest. */
        const uint64_t left = (uint64_t)(end - p), quotes = quotes_from(p, left);
        behind = read_some(w, side, &sofar, p, left, quotes);
        if (TB_UNLIKELY(!behind))
            break;
        if (tb_load4(behind + 1) == BETWEEN_LEVELS) {
            const uint64_t done = (uint64_t)(behind - p) + TO_PRICE;
            if (TB_UNLIKELY(done >= SEEN || left < 2 * SEEN))
                continue;
            const uint64_t more = quotes_from(p + SEEN, SEEN);
            p += done;
            behind = read_some(w, side, &sofar, p, left - done, quotes >> done | more << (SEEN - done));
            if (TB_UNLIKELY(!behind))
                break;
            if (tb_load4(behind + 1) == BETWEEN_LEVELS)
                continue;
        }
        f->count[side] = (int32_t)(sofar.to - prices);
        return load2(behind + 1) == BEHIND_LEVELS && (side || sofar.to[-1]) ? behind + 3 : NULL;
    }
    return tb_read_other_levels(f, side, p, end, sofar.to - prices);
}

WIDE const uint8_t *tb_read_levels_in_pairs(tb_frame *f, const uint8_t *p, const uint8_t *end)
{
    if (TB_UNLIKELY(f->expected_price > MOST_DECIMALS || f->expected_size > MOST_DECIMALS)) /* no lane holds such a number */
        return tb_read_levels_singly(f, p, end);
    const tb_writing *const price = &price_writings[f->expected_price], *const size = &size_writings[f->expected_size];
    const tb_written w = {_mm512_broadcast_i64x4(load_lanes(price->base, size->base)), price->order[TO_PRICE], size->order[TO_PRICE],
                          f->expected_size ? 0x88 : 0};
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
