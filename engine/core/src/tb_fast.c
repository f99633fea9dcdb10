#include "tb_fast.h"

#include <string.h>

#include "tb_decimal.h"
#include "tb_internal.h"
#include "tb_levels.h"
#include "tb_swar.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if TB_HAS_SWAR

/* From the topic's quote to the symbol it is at most 54 bytes, and so many are readable there, or the fast path gives up. */
#define HEAD_MARGIN 80
#define LEAST_LENGTH (32 + HEAD_MARGIN)
/* Behind the levels: `,"u":…,"seq":…},"cts":…}` */
#define LEAST_TAIL 30

/* Do these bytes begin with a text of a length that is known here? Words of it that overlap, without a call. */
TB_INLINE int begins(const uint8_t *p, const char *text, size_t length)
{
    const uint8_t *t = (const uint8_t *)text;
    uint64_t differs = 0;
    if (length < 8) /* at least 4 */
        return ((tb_load4(p) ^ tb_load4(t)) | (tb_load4(p + length - 4) ^ tb_load4(t + length - 4))) == 0;
    for (size_t i = 0; i + 8 < length; i += 8)
        differs |= tb_load8(p + i) ^ tb_load8(t + i);
    return (differs | (tb_load8(p + length - 8) ^ tb_load8(t + length - 8))) == 0;
}

/* Consumes a literal. */
#define LITERAL(p, text)                                                                                          \
    do {                                                                                                          \
        if (TB_UNLIKELY(!begins((p), (text), sizeof(text) - 1)))                                                  \
            return 0;                                                                                             \
        (p) += sizeof(text) - 1;                                                                                  \
    } while (0)

/* What the compiler must not know better: it would wait for a value that is looked up, where one that was guessed, and is compared
 * with it, lets the processor go on. Nor may the branch between them become a choice. */
#define HIDE(length) __asm__ volatile("" : "+r"(length))

/* The first quote of at most 64 bytes, all readable; NULL if there is none. */
TB_INLINE const uint8_t *quote_within_64(const uint8_t *p)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    for (int i = 0; i < 64; i += 32) {
        const __m128i *at = (const __m128i *)(const void *)(p + i);
        uint32_t low = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(at), quote));
        uint32_t high = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(at + 1), quote));
        if (TB_LIKELY((low | high) != 0))
            return p + i + __builtin_ctz(low | high << 16);
    }
    return NULL;
#else
    return memchr(p, '"', 64);
#endif
}

/* The number that `count` digits make which end at `end`; 16 bytes before it are readable, 0 < count <= 16. */
TB_INLINE int64_t digits_before(const uint8_t *end, unsigned count)
{
    const uint64_t ascii = UINT64_C(0x3030303030303030);
    if (count <= 8)
        return (int64_t)tb_eight((tb_load8(end - 8) ^ ascii) >> (64 - 8 * count) << (64 - 8 * count));
    uint64_t high = (tb_load8(end - 16) ^ ascii) >> (128 - 8 * count) << (128 - 8 * count);
    return (int64_t)(tb_eight(high) * UINT64_C(100000000) + tb_eight(tb_load8(end - 8) ^ ascii));
}

/* How many digits there are, up to 16; 17 bytes are readable. */
TB_INLINE unsigned count_digits(const uint8_t *p)
{
#if defined(__SSE2__)
    const __m128i values = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), _mm_set1_epi8('0'));
    const __m128i digits = _mm_cmpeq_epi8(_mm_min_epu8(values, _mm_set1_epi8(9)), values);
    return (unsigned)__builtin_ctz(~(unsigned)_mm_movemask_epi8(digits));
#else
    uint64_t ignored, other = tb_not_digits(p, &ignored);
    if (other)
        return (unsigned)__builtin_ctzll(other) >> 3;
    other = tb_not_digits(p + 8, &ignored);
    return other ? 8 + ((unsigned)__builtin_ctzll(other) >> 3) : 16;
#endif
}

/* A JSON integer of up to 16 digits. Readable are 17 bytes, and 16 before them. NULL if there is none. */
TB_INLINE const uint8_t *integer(const uint8_t *p, int64_t *out)
{
    unsigned count = count_digits(p);
    if (TB_UNLIKELY(count == 0 || (*p == '0' && count > 1) || (count == 16 && (unsigned)p[16] - '0' < 10)))
        return NULL;
    *out = digits_before(p + count, count);
    return p + count;
}

/* The same for a clock, which has 13 digits from 2001 to 2286. */
TB_INLINE const uint8_t *clock_ms(const uint8_t *p, int64_t *out)
{
    const unsigned count = count_digits(p);
    if (TB_UNLIKELY(count != 13 || *p == '0'))
        return integer(p, out);
    *out = digits_before(p + 13, 13);
    return p + 13;
}

/* The same for one that ends at `end`, where less than 17 bytes may be readable. */
TB_INLINE int integer_before(const uint8_t *end, size_t count, int64_t *out)
{
    uint64_t ignored, low = tb_not_digits(end - 8, &ignored), high = tb_not_digits(end - 16, &ignored);
    if (TB_UNLIKELY(count == 0 || count > 16 || (end[-(ptrdiff_t)count] == '0' && count > 1)))
        return 0;
    if (TB_UNLIKELY(count <= 8 ? low >> (64 - 8 * count) : (high >> (128 - 8 * count)) | low))
        return 0;
    *out = digits_before(end, (unsigned)count);
    return 1;
}

int tb_fast_book(tb_frame *f, const uint8_t *bytes, size_t length, tb_find find, void *context)
{
    const uint8_t *p = bytes, *end = bytes + length;
    if (length < LEAST_LENGTH)
        return 0;
    LITERAL(p, "{\"topic\":\"orderbook.");
    const uint8_t *topic = bytes + sizeof("{\"topic\":\"") - 1;
    const uint8_t *quote = quote_within_64(p);
    if (!quote)
        return 0;
    tb_route route;
    f->topic.at = topic;
    f->topic.length = (uint32_t)(quote - topic);
    f->topic.escaped = 0;
    if (find(context, &f->topic, &route) != TB_KIND_BOOK)
        return 0;
    /* orderbook.1. to orderbook.1000. */
    const size_t prefix = p[1] == '.' ? 12 : p[2] == '.' ? 13 : p[3] == '.' ? 14 : 15;
    p = quote + 1;
    if (p > end - HEAD_MARGIN)
        return 0;
    /* futures' deep books put the type first, spot and level 1 the clock */
    int clock_first = p[2] == 't' && p[3] == 's';
    f->layout = (uint8_t)(1 + clock_first);
    if (clock_first) {
        LITERAL(p, ",\"ts\":");
        if (!(p = clock_ms(p, &f->push_ms)))
            return 0;
    }
    LITERAL(p, ",\"type\":\"");
    if (begins(p, "delta\"", 6)) {
        f->kind = TB_DELTA;
        p += 6;
    } else {
        LITERAL(p, "snapshot\"");
        f->kind = TB_SNAPSHOT;
    }
    if (!clock_first) {
        LITERAL(p, ",\"ts\":");
        if (!(p = clock_ms(p, &f->push_ms)))
            return 0;
    }
    LITERAL(p, ",\"data\":{\"s\":\"");
    size_t symbol_length = (size_t)(quote - topic) - prefix;
    const int is_right = symbol_length == route.symbol.length;
    HIDE(symbol_length);
    if (TB_UNLIKELY(!is_right)) {
        symbol_length = route.symbol.length;
        HIDE(symbol_length);
    }
    if (p + symbol_length > end - HEAD_MARGIN || !tb_same_bytes(p, route.symbol.at, symbol_length))
        return 0;
    p += symbol_length;
    LITERAL(p, "\",\"b\":[");
    f->price_decimals = f->expected_price = route.price_decimals;
    f->size_decimals = f->expected_size = route.size_decimals;
    if (!(p = tb_read_levels(f, p, end)) || end - p < LEAST_TAIL)
        return 0;
    LITERAL(p, ",\"u\":");
    if (!(p = integer(p, &f->update_id)) || end - p < 24)
        return 0;
    LITERAL(p, ",\"seq\":");
    if (!(p = integer(p, &f->cross_sequence)) || end - p < 10)
        return 0;
    LITERAL(p, "},\"cts\":");
    if (end[-1] != '}' || !integer_before(end - 1, (size_t)(end - 1 - p), &f->match_ms))
        return 0;
    return f->push_ms <= TB_LAST_MS && f->match_ms <= TB_LAST_MS;
}

#else

int tb_fast_book(tb_frame *f, const uint8_t *bytes, size_t length, tb_find find, void *context)
{
    (void)f, (void)bytes, (void)length, (void)find, (void)context;
    return 0;
}

#endif
