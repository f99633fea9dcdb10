#include "tb_fast.h"

#include <string.h>

#include "tb_decimal.h"
#include "tb_swar.h"

#if TB_HAS_SWAR

/* There are always this many readable bytes at the cursor, or the fast path gives up. A level is at most
 * 17 + `","` + 17 + `"],["` = 42 bytes here; from the topic's quote to the symbol it is at most 54. */
#define LEVEL_MARGIN 48
#define HEAD_MARGIN 80
#define LEAST_LENGTH (32 + HEAD_MARGIN)
#define TAIL_BYTES 128

/* On x86 the shifts by a variable cost half with BMI2; the machine is asked once, when the library is loaded. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
#define TB_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define TB_CLONES
#endif

/* Consumes a literal. */
#define LITERAL(p, text)                                                                                          \
    do {                                                                                                          \
        if (memcmp((p), (text), sizeof(text) - 1) != 0)                                                           \
            return 0;                                                                                             \
        (p) += sizeof(text) - 1;                                                                                  \
    } while (0)

/* A JSON integer of up to 16 digits. */
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

/* A plain decimal of up to 8 digits before and 8 behind the point. */
static const uint8_t *long_decimal(const uint8_t *p, int64_t *mantissa, unsigned *decimals)
{
    uint64_t whole, fraction;
    unsigned count = tb_digits8(p, &whole);
    if (TB_UNLIKELY(count == 0 || (*p == '0' && count > 1)))
        return NULL;
    p += count;
    if (*p != '.') {
        *mantissa = (int64_t)whole;
        *decimals = 0;
        return p;
    }
    count = tb_digits8(++p, &fraction);
    if (TB_UNLIKELY(count == 0))
        return NULL;
    *mantissa = (int64_t)(whole * (uint64_t)tb_powers[count] + fraction);
    *decimals = count;
    return p + count;
}

/* The same, and quicker where point and digits fit in eight bytes: the point is closed up, and one conversion does. */
TB_INLINE const uint8_t *decimal(const uint8_t *p, int64_t *mantissa, unsigned *decimals)
{
    uint64_t x, other = tb_not_digits(p, &x);
    if (TB_UNLIKELY(other == 0))
        return long_decimal(p, mantissa, decimals);
    unsigned point = (unsigned)__builtin_ctzll(other) & ~7u; /* in bits */
    if (TB_UNLIKELY(point == 0 || (*p == '0' && point > 8)))
        return NULL;
    if (p[point >> 3] != '.') {
        *mantissa = (int64_t)tb_eight(x << (64 - point));
        *decimals = 0;
        return p + (point >> 3);
    }
    other &= other - 1;
    unsigned end = other ? (unsigned)__builtin_ctzll(other) & ~7u : 64;
    if (TB_UNLIKELY(end == point + 8 || (end == 64 && (unsigned)p[8] - '0' < 10)))
        return end == 64 ? long_decimal(p, mantissa, decimals) : NULL;
    uint64_t whole = (UINT64_C(1) << point) - 1;
    x = (x & whole) | (x >> 8 & ~whole);
    *mantissa = (int64_t)tb_eight(x << (72 - end));
    *decimals = (end - point - 8) >> 3;
    return p + (end >> 3);
}

/* Up to eight bytes of text as the number that a little-endian load of them gives. */
#define TEXT2(a, b) ((uint64_t)(a) | (uint64_t)(b) << 8)
#define TEXT4(a, b, c, d) (TEXT2(a, b) | TEXT2(c, d) << 16)
#define BYTES(n) ((UINT64_C(1) << (8 * (n))) - 1)

TB_INLINE uint64_t load8(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

/* The levels of one side, from behind the opening bracket to behind the closing one. */
TB_CLONES
static const uint8_t *levels(tb_frame *f, int side, const uint8_t *p, const uint8_t *safe)
{
    if (TB_UNLIKELY(!f->levels[side])) /* the complete decoder makes the room, once */
        return NULL;
    tb_level *out = f->levels[side], *const full = out + f->capacity[side];
    uint8_t *places = f->decimals[side];
    const unsigned price_expected = f->expected_price, size_expected = f->expected_size;
    unsigned price_widest = f->price_decimals, size_widest = f->size_decimals, odd = 0;
    /* bids fall, asks rise: with the sign turned both have to fall */
    const int64_t turn = side ? -1 : 1;
    int64_t before = INT64_MAX;
    if (*p == ']') {
        f->count[side] = 0;
        f->ready[side] = 1;
        return p + 1;
    }
    if ((load8(p) & BYTES(2)) != TEXT2('[', '"'))
        return NULL;
    p += 2;
    for (;; p += 5) {
        unsigned price_places, size_places;
        int64_t price, size;
        if (TB_UNLIKELY(p > safe || out == full))
            return NULL;
        p = decimal(p, &price, &price_places);
        if (TB_UNLIKELY(!p || (load8(p) & BYTES(3)) != TEXT4('"', ',', '"', 0)))
            return NULL;
        p = decimal(p + 3, &size, &size_places);
        if (TB_UNLIKELY(!p))
            return NULL;
        out->price = price;
        out->size = size;
        out++;
        *places++ = (uint8_t)price_places;
        *places++ = (uint8_t)size_places;
        if (size == 0)
            size_places = size_expected; /* nothing has no decimals */
        odd |= (price_places ^ price_expected) | (size_places ^ size_expected);
        if (TB_UNLIKELY(odd)) {
            price_widest = price_places > price_widest ? price_places : price_widest;
            size_widest = size && size_places > size_widest ? size_places : size_widest;
        }
        price *= turn;
        odd |= price >= before;
        before = price;
        uint64_t behind = load8(p);
        if ((behind & BYTES(5)) == (TEXT4('"', ']', ',', '[') | (uint64_t)'"' << 32))
            continue;
        if (TB_UNLIKELY((behind & BYTES(3)) != TEXT4('"', ']', ']', 0)))
            return NULL;
        break;
    }
    f->count[side] = (int32_t)(out - f->levels[side]);
    f->ready[side] = !odd;
    f->price_decimals = (uint8_t)price_widest;
    f->size_decimals = (uint8_t)size_widest;
    return p + 3;
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
    f->price_decimals = f->size_decimals = 0;
    f->expected_price = route.price_decimals;
    f->expected_size = route.size_decimals;
    const uint8_t *safe = end - LEVEL_MARGIN;
    if (!(p = levels(f, 0, p, safe)) || p > safe)
        return 0;
    LITERAL(p, ",\"a\":[");
    if (!(p = levels(f, 1, p, safe)))
        return 0;
    /* the tail, `,"u":…,"seq":…},"cts":…}`, is short: it is read from a padded copy */
    uint8_t tail[TAIL_BYTES + 32];
    size_t rest = (size_t)(end - p);
    if (p > end || rest > sizeof tail - 32)
        return 0;
    memcpy(tail, p, rest);
    memset(tail + rest, 0, 32);
    p = tail;
    LITERAL(p, ",\"u\":");
    if (!(p = integer(p, &f->update_id)))
        return 0;
    LITERAL(p, ",\"seq\":");
    if (!(p = integer(p, &f->cross_sequence)))
        return 0;
    LITERAL(p, "},\"cts\":");
    if (!(p = integer(p, &f->match_ms)))
        return 0;
    if (p != tail + rest - 1 || *p != '}' || f->push_ms > TB_LAST_MS || f->match_ms > TB_LAST_MS)
        return 0;
    return 1;
}

#else

int tb_fast_book(tb_frame *f, const uint8_t *bytes, size_t length, tb_find find, void *context)
{
    (void)f, (void)bytes, (void)length, (void)find, (void)context;
    return 0;
}

#endif
