#include "tb_fast.h"

#include <string.h>

#include "tb_decimal.h"
#include "tb_levels.h"
#include "tb_swar.h"

#if TB_HAS_SWAR

/* From the topic's quote to the symbol it is at most 54 bytes, and so many are readable there, or the fast path gives up. */
#define HEAD_MARGIN 80
#define LEAST_LENGTH (32 + HEAD_MARGIN)
/* Behind the levels: `,"u":…,"seq":…},"cts":…}` */
#define LEAST_TAIL 30

/* Consumes a literal. */
#define LITERAL(p, text)                                                                                          \
    do {                                                                                                          \
        if (memcmp((p), (text), sizeof(text) - 1) != 0)                                                           \
            return 0;                                                                                             \
        (p) += sizeof(text) - 1;                                                                                  \
    } while (0)

/* A JSON integer of up to 16 digits, 17 bytes being readable. */
TB_INLINE const uint8_t *integer(const uint8_t *p, int64_t *out)
{
    uint64_t high, low;
    unsigned count = tb_digits8(p, &high);
    if (count == 0 || (*p == '0' && count > 1))
        return NULL;
    if (count < 8) {
        *out = (int64_t)high;
        return p + count;
    }
    count = tb_digits8(p + 8, &low);
    if (count == 0) {
        *out = (int64_t)high;
        return p + 8;
    }
    if (count == 8 && (unsigned)p[16] - '0' < 10)
        return NULL;
    *out = (int64_t)(high * (uint64_t)tb_powers[count] + low);
    return p + 8 + count;
}

/* The same for a number of `count` digits that ends at `end`, 16 bytes before which are readable. */
TB_INLINE int integer_before(const uint8_t *end, unsigned count, int64_t *out)
{
    uint64_t high = 0, low, x;
    if (count == 0 || count > 16 || (end[-(int)count] == '0' && count > 1))
        return 0;
    if (count > 8) {
        if (tb_not_digits(end - 8, &x))
            return 0;
        low = tb_eight(x);
        uint64_t other = tb_not_digits(end - 16, &x);
        unsigned shift = 8 * (16 - count);
        if (other >> shift)
            return 0;
        high = tb_eight(x >> shift << shift);
    } else {
        uint64_t other = tb_not_digits(end - 8, &x);
        unsigned shift = 8 * (8 - count);
        if (other >> shift)
            return 0;
        low = tb_eight(x >> shift << shift);
    }
    *out = (int64_t)(high * UINT64_C(100000000) + low);
    return 1;
}

int tb_fast_book(tb_frame *f, const uint8_t *bytes, size_t length, tb_find find, void *context)
{
    static const char head[] = "{\"topic\":\"orderbook.";
    const uint8_t *p = bytes, *end = bytes + length;
    if (length < LEAST_LENGTH)
        return 0;
    LITERAL(p, head);
    const uint8_t *topic = bytes + sizeof("{\"topic\":\"") - 1;
    const uint8_t *quote = memchr(p, '"', LEAST_LENGTH - sizeof head);
    if (!quote)
        return 0;
    tb_route route;
    f->topic.at = topic;
    f->topic.length = (uint32_t)(quote - topic);
    f->topic.escaped = 0;
    if (find(context, &f->topic, &route) != TB_KIND_BOOK)
        return 0;
    p = quote + 1;
    if (p > end - HEAD_MARGIN)
        return 0;
    /* futures' deep books put the type first, spot and level 1 the clock */
    int clock_first = p[2] == 't' && p[3] == 's';
    if (clock_first) {
        LITERAL(p, ",\"ts\":");
        if (!(p = integer(p, &f->push_ms)))
            return 0;
    }
    LITERAL(p, ",\"type\":\"");
    if (memcmp(p, "delta\"", 6) == 0) {
        f->kind = TB_DELTA;
        p += 6;
    } else {
        LITERAL(p, "snapshot\"");
        f->kind = TB_SNAPSHOT;
    }
    if (!clock_first) {
        LITERAL(p, ",\"ts\":");
        if (!(p = integer(p, &f->push_ms)))
            return 0;
    }
    LITERAL(p, ",\"data\":{\"s\":\"");
    if (p + route.symbol.length > end - HEAD_MARGIN || memcmp(p, route.symbol.at, route.symbol.length) != 0)
        return 0;
    p += route.symbol.length;
    LITERAL(p, "\",\"b\":[");
    f->price_decimals = f->expected_price = route.price_decimals;
    f->size_decimals = f->expected_size = route.size_decimals;
    if (!(p = tb_read_levels(f, 0, p, end)) || end - p < LEAST_TAIL)
        return 0;
    LITERAL(p, ",\"a\":[");
    if (!(p = tb_read_levels(f, 1, p, end)) || end - p < LEAST_TAIL)
        return 0;
    LITERAL(p, ",\"u\":");
    if (!(p = integer(p, &f->update_id)) || end - p < 24)
        return 0;
    LITERAL(p, ",\"seq\":");
    if (!(p = integer(p, &f->cross_sequence)) || end - p < 10)
        return 0;
    LITERAL(p, "},\"cts\":");
    if (end[-1] != '}' || !integer_before(end - 1, (unsigned)(end - 1 - p), &f->match_ms))
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
