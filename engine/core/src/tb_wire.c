#include "tb_wire.h"

#include <stdlib.h>
#include <string.h>

#include "tb_decimal.h"

#define BOOK(column, type) (((const type *)source->columns[TB_BOOK_##column])[row])
#define TRADE(column, type) (((const type *)source->columns[TB_TRADE_##column])[row])
#define TICKER(column, type) (((const type *)source->columns[TB_TICKER_##column])[row])

static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                            "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";

/* ---- numbers --------------------------------------------------------------------------------------------------------- */

static const uint64_t powers[20] = {
    UINT64_C(0), UINT64_C(10), UINT64_C(100), UINT64_C(1000), UINT64_C(10000), UINT64_C(100000), UINT64_C(1000000),
    UINT64_C(10000000), UINT64_C(100000000), UINT64_C(1000000000), UINT64_C(10000000000), UINT64_C(100000000000),
    UINT64_C(1000000000000), UINT64_C(10000000000000), UINT64_C(100000000000000), UINT64_C(1000000000000000),
    UINT64_C(10000000000000000), UINT64_C(100000000000000000), UINT64_C(1000000000000000000), UINT64_C(10000000000000000000)};

TB_INLINE unsigned count_digits(uint64_t value)
{
    const unsigned guess = (unsigned)(64 - __builtin_clzll(value | 1)) * 1233 >> 12; /* bits, times log10(2) */
    return guess + 1 - (value < powers[guess]);
}

/* `count` digits of a value, the last before `end`; returns what is left of it. Pairs of digits, each with one multiplication. */
TB_INLINE uint64_t put_last_digits(uint8_t *end, uint64_t value, unsigned count)
{
    for (; count >= 2; count -= 2) {
        const uint64_t rest = value / 100;
        memcpy(end -= 2, pairs + 2 * (value - rest * 100), 2);
        value = rest;
    }
    if (count) {
        const uint64_t rest = value / 10;
        end[-1] = (uint8_t)('0' + (value - rest * 10));
        value = rest;
    }
    return value;
}

/* The eight digits of a value below 10^8 as text in a register, the first one in the lowest byte. */
TB_INLINE uint64_t eight_digits(uint32_t value)
{
    const uint64_t high = value / 10000, low = value % 10000;
    const uint64_t fours = high | low << 32;                                                /* two numbers of four digits */
    const uint64_t hundreds = (fours * 10486 >> 20) & UINT64_C(0x0000007F0000007F);
    const uint64_t twos = ((fours - 100 * hundreds) << 16) + hundreds;                      /* four of two */
    const uint64_t tens = (twos * 103 >> 10) & UINT64_C(0x000F000F000F000F);
    return (((twos - 10 * tens) << 8) + tens) | UINT64_C(0x3030303030303030);
}

#define EIGHT UINT64_C(100000000)

TB_INLINE void put_word(uint8_t *p, uint64_t word)
{
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    memcpy(p, &word, 8);
}

/* The digits of a value, without zeros before them. What is written behind them is room. */
TB_INLINE uint8_t *put_integer(uint8_t *p, uint64_t value)
{
    if (TB_UNLIKELY(value >= EIGHT)) {
        const uint64_t high = value / EIGHT;
        if (high < EIGHT) { /* clocks and ids */
            const unsigned count = count_digits(high);
            put_word(p, eight_digits((uint32_t)high) >> (64 - 8 * count));
            p += count;
        } else {
            const unsigned count = count_digits(high);
            (void)put_last_digits(p + count, high, count);
            p += count;
        }
        put_word(p, eight_digits((uint32_t)(value - high * EIGHT)));
        return p + 8;
    }
    const unsigned count = count_digits(value);
    put_word(p, eight_digits((uint32_t)value) >> (64 - 8 * count));
    return p + count;
}

/* A magnitude with so many of its digits behind the point. */
TB_INLINE uint8_t *put_point(uint8_t *p, uint64_t value, unsigned decimals)
{
    if (decimals == 0)
        return put_integer(p, value);
    unsigned count = count_digits(value);
    if (count <= decimals)
        count = decimals + 1;
    const unsigned whole = count - decimals;
    if (TB_LIKELY(count <= 8)) { /* the point goes between them in the register */
        const uint64_t text = eight_digits((uint32_t)value) >> (64 - 8 * count);
        const uint64_t before = (UINT64_C(1) << 8 * whole) - 1;
        put_word(p, (text & before) | (uint64_t)'.' << 8 * whole | (text & ~before) << 8);
        p[8] = (uint8_t)(text >> 56);
        return p + count + 1;
    }
    value = put_last_digits(p + count + 1, value, decimals);
    p[whole] = '.';
    (void)put_last_digits(p + whole, value, whole);
    return p + count + 1;
}

/* mantissa / 10^decimals in a style; NULL where that can't be written so. At most 45 bytes. */
TB_INLINE uint8_t *put_number(uint8_t *p, int64_t mantissa, unsigned decimals, int style)
{
    uint64_t value = mantissa < 0 ? (uint64_t)0 - (uint64_t)mantissa : (uint64_t)mantissa;
    if (TB_UNLIKELY(decimals > TB_MAX_DECIMALS)) /* an altered archive may say anything */
        return NULL;
    if (mantissa < 0)
        *p++ = '-';
    if (style == TB_WIRE_TRIMMED) {
        while (decimals && value % 10 == 0) {
            value /= 10;
            decimals--;
        }
        return put_point(p, value, decimals);
    }
    unsigned places = (unsigned)style;
    if (places >= TB_WIRE_FULL) {
        places -= TB_WIRE_FULL;
    } else if (value == 0) {
        *p = '0';
        return p + 1;
    }
    if (TB_UNLIKELY(places > TB_MAX_DECIMALS))
        return NULL;
    if (TB_UNLIKELY(places > decimals)) {
        if (__builtin_mul_overflow(value, (uint64_t)tb_powers[places - decimals], &value))
            return NULL;
    } else if (TB_UNLIKELY(places < decimals)) {
        const uint64_t by = (uint64_t)tb_powers[decimals - places];
        if (value % by)
            return NULL;
        value /= by;
    }
    return put_point(p, value, places);
}

/* The same of a number times 10^18. At most 41 bytes. One division of 128 bits, and then both parts are of 64. */
static uint8_t *put_wide(uint8_t *p, tb_int128 number, int style)
{
    const uint64_t one = UINT64_C(1000000000000000000);
    const unsigned __int128 value = number < 0 ? (unsigned __int128)0 - (unsigned __int128)number : (unsigned __int128)number;
    const unsigned __int128 quotient = value / one;
    uint64_t fraction = (uint64_t)(value - quotient * one);
    unsigned decimals = TB_MAX_DECIMALS;
    if (TB_UNLIKELY(quotient > UINT64_MAX))
        return NULL;
    if (style == TB_WIRE_TRIMMED) {
        if (fraction == 0)
            decimals = 0;
        for (unsigned by = 8; by; by /= 2)
            while (decimals > by && fraction % (uint64_t)tb_powers[by] == 0) {
                fraction /= (uint64_t)tb_powers[by];
                decimals -= by;
            }
    } else {
        const unsigned places = (unsigned)style & (TB_WIRE_FULL - 1);
        if (value == 0 && style < TB_WIRE_FULL) {
            *p = '0';
            return p + 1;
        }
        if (TB_UNLIKELY(places > TB_MAX_DECIMALS || fraction % (uint64_t)tb_powers[TB_MAX_DECIMALS - places]))
            return NULL;
        fraction /= (uint64_t)tb_powers[TB_MAX_DECIMALS - places];
        decimals = places;
    }
    if (number < 0)
        *p++ = '-';
    p = put_integer(p, (uint64_t)quotient);
    if (decimals == 0)
        return p;
    *p++ = '.';
    (void)put_last_digits(p + decimals, fraction, decimals);
    return p + decimals;
}

static uint8_t *put_two(uint8_t *p, unsigned value, uint8_t behind)
{
    memcpy(p, pairs + 2 * value, 2);
    p[2] = behind;
    return p + 3;
}

/* `2025-12-26T08:00:00Z`; NULL for parts of a second, which are not written so. */
static uint8_t *put_iso(uint8_t *p, int64_t ms)
{
    if (ms < 0 || ms > TB_LAST_MS || ms % 1000)
        return NULL;
    const int64_t seconds = ms / 1000, day = seconds / 86400 + 719468;
    const unsigned time = (unsigned)(seconds % 86400);
    /* days from civil, backwards: years begin in March */
    const int64_t era = day / 146097;
    const unsigned of_era = (unsigned)(day - era * 146097);
    const unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const unsigned shifted = (5 * of_year + 2) / 153;
    const unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;
    const unsigned year = (unsigned)(year_of_era + era * 400) + (month <= 2);
    memcpy(p, pairs + 2 * (year / 100), 2);
    p = put_two(p + 2, year % 100, '-');
    p = put_two(p, month, '-');
    p = put_two(p, of_year - (153 * shifted + 2) / 5 + 1, 'T');
    p = put_two(p, time / 3600, ':');
    p = put_two(p, time / 60 % 60, ':');
    return put_two(p, time % 60, 'Z');
}

/* ---- frames ---------------------------------------------------------------------------------------------------------- */

TB_INLINE uint8_t *put_bytes(uint8_t *p, const void *bytes, size_t length)
{
    memcpy(p, bytes, length);
    return p + length;
}

/* Literals are short: sixteen bytes at a time, and what is beyond them is room, here and there. */
TB_INLINE uint8_t *put_literal(uint8_t *p, const uint8_t *text, uint32_t length)
{
    for (uint32_t at = 0; at < length; at += TB_WIRE_PIECE)
        memcpy(p + at, text + at, TB_WIRE_PIECE);
    return p + length;
}

/* With the byte behind them, which is room, in one piece. */
TB_INLINE uint8_t *put_three(uint8_t *p, const char text[4])
{
    memcpy(p, text, 4);
    return p + 3;
}

#define PUT(p, text) put_bytes((p), (text), sizeof(text) - 1)

TB_INLINE uint8_t *put_levels(const tb_wire_form *form, const tb_wire_source *source, int64_t row, int side, uint8_t *p,
                              const uint8_t *stop)
{
    const int32_t *ends = source->columns[side ? TB_BOOK_ask_end : TB_BOOK_bid_end];
    const int64_t *prices = (const int64_t *)(const void *)source->values[2 * side];
    const int64_t *sizes = (const int64_t *)(const void *)source->values[2 * side + 1];
    const int64_t *rpi = form->is_rpi ? (const int64_t *)(const void *)source->values[4 + side] : NULL;
    const unsigned price_decimals = (unsigned)-BOOK(price_exponent, int8_t), size_decimals = (unsigned)-BOOK(size_exponent, int8_t);
    const int price_style = form->styles[TB_WIRE_PRICE], size_style = form->styles[TB_WIRE_SIZE],
              rpi_style = form->styles[TB_WIRE_RPI_SIZE];
    for (int32_t i = ends[row]; i < ends[row + 1]; i++) {
        if (TB_UNLIKELY(p > stop))
            return NULL;
        p = put_three(p, ",[\"");
        if (TB_UNLIKELY(!(p = put_number(p, prices[i], price_decimals, price_style))))
            return NULL;
        p = put_three(p, "\",\"");
        if (TB_UNLIKELY(!(p = put_number(p, sizes[i], size_decimals, size_style))))
            return NULL;
        if (rpi) {
            p = put_three(p, "\",\"");
            if (!(p = put_number(p, rpi[i], size_decimals, rpi_style)))
                return NULL;
        }
        p = put_bytes(p, "\"]", 2);
    }
    return p;
}

static uint8_t *put_members(const tb_wire_form *form, const tb_wire_source *source, int64_t row, uint8_t *p, const uint8_t *stop)
{
    uint64_t keys = TICKER(keys, uint64_t);
    const uint64_t present = TICKER(present, uint64_t);
    for (int32_t i = 0; i < form->member_count && keys; i++) {
        const tb_wire_member *member = &form->members[i];
        const int field = member->field, style = form->styles[field];
        if (!(keys >> field & 1))
            continue;
        keys &= ~(UINT64_C(1) << field);
        if (TB_UNLIKELY(p > stop))
            return NULL;
        p = put_literal(p, (const uint8_t *)member->key, member->length);
        const void *column = source->columns[TB_TICKER_FIRST_FIELD + field];
        if (present >> field & 1) {
            if (style == TB_WIRE_TEXT || style == TB_WIRE_TEXT + 1) {
                const int32_t *ends = source->columns[style == TB_WIRE_TEXT ? TB_TICKER_text_0_end : TB_TICKER_text_1_end];
                const int32_t length = ends[row + 1] - ends[row];
                if (length > TB_TEXT_BYTES)
                    return NULL;
                p = put_bytes(p, source->values[style - TB_WIRE_TEXT] + ends[row], (size_t)length);
            } else if (style == TB_WIRE_MS) {
                p = put_integer(p, (uint64_t)((const int64_t *)column)[row]);
            } else if (style == TB_WIRE_ISO) {
                p = put_iso(p, ((const int64_t *)column)[row]);
            } else if (style == TB_WIRE_UNKNOWN) {
                return NULL;
            } else {
                p = put_wide(p, ((const tb_int128 *)column)[row], style);
            }
            if (TB_UNLIKELY(!p))
                return NULL;
        }
        *p++ = '"';
    }
    return keys ? NULL : p;
}

static uint8_t *put_trade(const tb_wire_form *form, const tb_wire_source *source, int64_t row, uint8_t *p, const uint8_t *stop)
{
    static const char *const tick_directions[4] = {"PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick"};
    const tb_wire_step *steps = form->steps + form->step_count;
    for (int32_t i = 0; i < form->each_count; i++) {
        const tb_wire_step *step = &steps[i];
        if (TB_UNLIKELY(p > stop || (step->kind == TB_WIRE_LITERAL && step->length > (size_t)(stop - p) + TB_WIRE_SLACK / 2)))
            return NULL;
        switch (step->kind) {
        case TB_WIRE_LITERAL: p = put_literal(p, form->text + step->at, step->length); break;
        case TB_WIRE_SYMBOL: p = put_bytes(p, source->symbol, source->symbol_length); break;
        case TB_WIRE_TRADE_MATCH: p = put_integer(p, (uint64_t)TRADE(match_ms, int64_t)); break;
        case TB_WIRE_TRADE_CROSS:
            if (TRADE(cross_sequence, int64_t) < 0)
                return NULL;
            p = put_integer(p, (uint64_t)TRADE(cross_sequence, int64_t));
            break;
        case TB_WIRE_TRADE_SIDE: p = TRADE(side, int8_t) == 0 ? PUT(p, "Buy") : PUT(p, "Sell"); break;
        case TB_WIRE_TRADE_PRICE:
            p = put_number(p, TRADE(price, int64_t), (unsigned)-TRADE(price_exponent, int8_t), form->styles[TB_WIRE_PRICE]);
            break;
        case TB_WIRE_TRADE_SIZE:
            p = put_number(p, TRADE(size, int64_t), (unsigned)-TRADE(size_exponent, int8_t), form->styles[TB_WIRE_SIZE]);
            break;
        case TB_WIRE_TRADE_TICK: {
            const int tick = TRADE(tick_direction, int8_t);
            if (tick < 0)
                return NULL;
            p = put_bytes(p, tick_directions[tick & 3], strlen(tick_directions[tick & 3]));
            break;
        }
        case TB_WIRE_TRADE_ID: {
            const int32_t *ends = source->columns[TB_TRADE_id_end];
            const int32_t length = ends[row + 1] - ends[row];
            if (length > TB_TRADE_ID_BYTES)
                return NULL;
            p = put_bytes(p, source->values[0] + ends[row], (size_t)length);
            break;
        }
        case TB_WIRE_TRADE_BLOCK:
        case TB_WIRE_TRADE_RPI: {
            const int flag = step->kind == TB_WIRE_TRADE_BLOCK ? TRADE(is_block, int8_t) : TRADE(is_rpi, int8_t);
            if (flag < 0)
                return NULL;
            p = flag ? PUT(p, "true") : PUT(p, "false");
            break;
        }
        default: {
            const int extra = step->kind - TB_WIRE_TRADE_EXTRA;
            const int style = form->styles[TB_WIRE_EXTRA + extra];
            if (extra < 0)
                return NULL;
            if (TRADE(extras, uint8_t) >> extra & 1) /* else "" */
                p = style == TB_WIRE_UNKNOWN
                        ? NULL
                        : put_wide(p, ((const tb_int128 *)source->columns[TB_TRADE_mark_price + extra])[row], style);
            break;
        }
        }
        if (TB_UNLIKELY(!p))
            return NULL;
    }
    return p;
}

static uint8_t *put_trades(const tb_wire_form *form, const tb_wire_source *source, int64_t row, int64_t rows, uint8_t *p,
                           const uint8_t *stop)
{
    for (int64_t i = row; i < row + rows && p; i++) {
        if (i > row)
            *p++ = ',';
        p = put_trade(form, source, i, p, stop);
    }
    return p;
}

/* The integers of a frame are of the same kind at other places of books, trades and tickers. */
typedef struct {
    int64_t push_ms, match_ms, update_id, cross_sequence;
    int kind;
} tb_head;

static tb_head head_of(const tb_wire_source *source, tb_table_kind table, int64_t row)
{
    switch (table) {
    case TB_TABLE_TRADES: return (tb_head){TRADE(push_ms, int64_t), TB_NONE, TB_NONE, TB_NONE, TB_SNAPSHOT};
    case TB_TABLE_TICKERS:
        return (tb_head){TICKER(push_ms, int64_t), TB_NONE, TB_NONE, TICKER(cross_sequence, int64_t), TICKER(kind, uint8_t)};
    default:
        return (tb_head){BOOK(push_ms, int64_t), BOOK(match_ms, int64_t), BOOK(update_id, int64_t),
                         BOOK(cross_sequence, int64_t), BOOK(kind, uint8_t)};
    }
}

#define MOST_OPEN 20

/* Digits that stand in no column. */
static uint8_t *put_open(tb_wire_open *open, uint8_t *p, const uint8_t *out)
{
    if (!open)
        return NULL;
    if (!open->text) {
        const int64_t at = p - out;
        int64_t length = 0;
        while (at + length < open->actual_length && length <= MOST_OPEN && (unsigned)open->actual[at + length] - '0' < 10)
            length++;
        if (length == 0)
            return NULL;
        open->text = open->actual + at;
        open->length = length;
    }
    if (open->length > MOST_OPEN)
        return NULL;
    return put_bytes(p, open->text, (size_t)open->length);
}

TB_VECTORS int64_t tb_wire_render(const tb_wire_form *form, const tb_wire_source *source, int64_t row, int64_t rows, uint8_t *out,
                       int64_t most)
{
    const tb_head head = head_of(source, form->table, row);
    uint8_t *p = out, *stop = out + most;
    for (int32_t i = 0; i < form->step_count; i++) {
        const tb_wire_step *step = &form->steps[i];
        int64_t number = 0;
        if (TB_UNLIKELY(p > stop))
            return -1;
        switch (step->kind) {
        case TB_WIRE_LITERAL:
            if (TB_UNLIKELY(step->length > (size_t)(stop - p)))
                return -1;
            p = put_literal(p, form->text + step->at, step->length);
            continue;
        case TB_WIRE_SYMBOL: p = put_bytes(p, source->symbol, source->symbol_length); continue;
        case TB_WIRE_KIND:
            if (head.kind != TB_SNAPSHOT && head.kind != TB_DELTA)
                return -1;
            p = head.kind == TB_SNAPSHOT ? PUT(p, "snapshot") : PUT(p, "delta");
            continue;
        case TB_WIRE_OPEN:
            if (!(p = put_open(source->open, p, out)))
                return -1;
            continue;
        case TB_WIRE_PUSH: number = head.push_ms; break;
        case TB_WIRE_MATCH: number = head.match_ms; break;
        case TB_WIRE_UPDATE: number = head.update_id; break;
        case TB_WIRE_CROSS: number = head.cross_sequence; break;
        case TB_WIRE_BIDS:
        case TB_WIRE_ASKS: {
            /* the first level's comma is one too many: it takes the place of the byte before, which is put back */
            if (i == 0)
                return -1;
            const uint8_t before = p[-1];
            uint8_t *end = put_levels(form, source, row, step->kind == TB_WIRE_ASKS, p - 1, stop);
            if (TB_UNLIKELY(!end))
                return -1;
            p[-1] = before;
            p = end < p ? p : end;
            continue;
        }
        case TB_WIRE_VALUES: p = put_members(form, source, row, p, stop); break;
        case TB_WIRE_TRADES: p = put_trades(form, source, row, rows, p, stop); break;
        default: return -1;
        }
        if (TB_UNLIKELY(!p))
            return -1;
        if (step->kind >= TB_WIRE_VALUES)
            continue;
        if (TB_UNLIKELY(number < 0))
            return -1;
        p = put_integer(p, (uint64_t)number);
    }
    return p > stop ? -1 : p - out;
}

void tb_wire_free_form(tb_wire_form *form)
{
    if (!form)
        return;
    free(form->text);
    free(form->steps);
    free(form->members);
    free(form);
}

/* ---- the check ------------------------------------------------------------------------------------------------------- */

void tb_wire_free(tb_wire *wire)
{
    for (int32_t i = 0; i < wire->feed_count; i++) {
        tb_wire_free_form(wire->feeds[i].form);
        for (int r = 0; wire->feeds[i].recent && r < TB_WIRE_RECENT; r++)
            free(wire->feeds[i].recent[r].bytes);
        free(wire->feeds[i].recent);
    }
    free(wire->feeds);
    free(wire->scratch);
    free(wire->repeats);
    free(wire->opens);
    free(wire->met);
    memset(wire, 0, sizeof *wire);
}

int tb_wire_reserve(tb_wire *wire, int32_t feeds)
{
    if (feeds <= wire->feed_count)
        return 1;
    tb_wire_feed *grown = realloc(wire->feeds, (size_t)feeds * sizeof *grown);
    if (!grown)
        return 0;
    memset(grown + wire->feed_count, 0, (size_t)(feeds - wire->feed_count) * sizeof *grown);
    wire->feeds = grown;
    wire->feed_count = feeds;
    return 1;
}

static int reserve_scratch(tb_wire *wire, int64_t length)
{
    const int64_t needed = length + 2 * TB_WIRE_SLACK;
    if (TB_LIKELY(needed <= wire->scratch_bytes))
        return 1;
    uint8_t *grown = realloc(wire->scratch, (size_t)needed * 2);
    if (!grown)
        return 0;
    wire->scratch = grown;
    wire->scratch_bytes = needed * 2;
    return 1;
}

#define RECENT_STEP 128 /* bytes */

static int remember(tb_wire_feed *feed, const uint8_t *bytes, int64_t length, int64_t sequence)
{
    if (!feed->recent && !(feed->recent = calloc(TB_WIRE_RECENT, sizeof *feed->recent)))
        return 0;
    if (length > TB_WIRE_RECENT_BYTES)
        return 1;
    tb_wire_recent *recent = &feed->recent[feed->next];
    /* as much as it needs: what a feed's largest frame once took, 32 times for each of thousands of feeds, would be most of all memory */
    const uint32_t wanted = ((uint32_t)length / RECENT_STEP + 1) * RECENT_STEP;
    if (recent->capacity < length || recent->capacity > 2 * wanted) {
        uint8_t *grown = realloc(recent->bytes, wanted);
        if (!grown)
            return 0;
        recent->bytes = grown;
        recent->capacity = wanted;
    }
    if (length)
        memcpy(recent->bytes, bytes, (size_t)length);
    recent->length = (uint32_t)length;
    recent->sequence = sequence;
    feed->next = (feed->next + 1) % TB_WIRE_RECENT;
    return 1;
}

/* The sequence of a recent frame with these bytes, or TB_NONE. */
static int64_t repeated(const tb_wire_feed *feed, const uint8_t *bytes, int64_t length)
{
    for (int i = 1; i <= TB_WIRE_RECENT; i++) {
        const tb_wire_recent *recent = &feed->recent[(feed->next + TB_WIRE_RECENT - i) % TB_WIRE_RECENT];
        if (recent->bytes && recent->length == length && memcmp(recent->bytes, bytes, (size_t)length) == 0)
            return recent->sequence;
    }
    return TB_NONE;
}

/* Room for another entry of so many numbers; NULL when memory is out. */
static int64_t *next_entry(int64_t **entries, int64_t *count, int64_t *capacity, int width)
{
    if (*count == *capacity) {
        const int64_t larger = *capacity ? *capacity * 2 : 256;
        int64_t *grown = realloc(*entries, (size_t)larger * (size_t)width * sizeof *grown);
        if (!grown)
            return NULL;
        *entries = grown;
        *capacity = larger;
    }
    return *entries + width * (*count)++;
}

static int note_open(tb_wire *wire, int64_t i, int64_t at, int64_t length)
{
    int64_t *entry = next_entry(&wire->opens, &wire->open_count, &wire->open_capacity, 3);
    if (!entry)
        return 0;
    entry[0] = i;
    entry[1] = at;
    entry[2] = length;
    return 1;
}

static int note_repeat(tb_wire *wire, int64_t i, int64_t sequence)
{
    int64_t *entry = next_entry(&wire->repeats, &wire->repeat_count, &wire->repeat_capacity, 2);
    if (!entry)
        return 0;
    entry[0] = i;
    entry[1] = sequence;
    return 1;
}

static int note_met(tb_wire *wire, int64_t i)
{
    int64_t *entry = next_entry(&wire->met, &wire->met_count, &wire->met_capacity, 1);
    if (!entry)
        return 0;
    *entry = i;
    return 1;
}

/* `publicTrade.BTC` of options: its rows are found again by the coin that their symbols begin with. */
static int names_coin_of(const tb_feed *feed, const tb_symbol *symbol)
{
    const char *dot = memchr(feed->topic, '.', feed->topic_length);
    const size_t length = dot ? feed->topic_length - (size_t)(dot + 1 - feed->topic) : 0;
    return length && symbol->name_length > length && memcmp(dot + 1, symbol->name, length) == 0 && symbol->name[length] == '-' &&
           !memchr(dot + 1, '-', length);
}

/* Whether the rows of a frame and its feed's form give its bytes. */
static int is_written(tb_wire *wire, const tb_engine *engine, const tb_wire_form *form, const tb_made *made, const uint8_t *bytes,
                      int64_t length, tb_wire_open *open)
{
    const tb_symbol *symbol = engine->symbols[made->symbol];
    const tb_rows *rows = symbol->rows;
    const tb_table *table = &rows->tables[form->table];
    const tb_buffer *buffers = rows->buffers;
    tb_wire_source source = {table->columns, {0}, open, symbol->name, symbol->name_length};
    if (engine->feeds[made->feed]->symbol < 0 && !names_coin_of(engine->feeds[made->feed], symbol))
        return 0;
    switch (form->table) {
    case TB_TABLE_TRADES: source.values[0] = buffers[TB_IDS_OF_TRADES].bytes; break;
    case TB_TABLE_TICKERS:
        source.values[0] = buffers[TB_TEXTS_OF_TICKERS].bytes;
        source.values[1] = buffers[TB_TEXTS_OF_TICKERS + 1].bytes;
        break;
    default:
        for (int i = 0; i < (form->is_rpi ? 6 : 4); i++)
            source.values[i] = buffers[(form->is_rpi ? TB_RPI_BID_PRICES : TB_BID_PRICES) + i].bytes;
    }
    return tb_wire_render(form, &source, made->row, made->rows, wire->scratch, length) == length &&
           memcmp(wire->scratch, bytes, (size_t)length) == 0;
}

/* Whether the decoder's fast path has seen already that a book's frame is written just so: in the form's layout, with all the
 * decimals of the row. It takes no other spelling, so these and the row tell every byte. */
static int is_told(const tb_engine *engine, const tb_wire_form *form, const tb_made *made)
{
    if (!made->layout || form->layout != made->layout || form->table != TB_TABLE_BOOKS)
        return 0;
    const tb_table *table = &engine->symbols[made->symbol]->rows->tables[TB_TABLE_BOOKS];
    return form->styles[TB_WIRE_PRICE] == -TB_AT(table, int8_t, TB_BOOK_price_exponent, made->row) &&
           form->styles[TB_WIRE_SIZE] == -TB_AT(table, int8_t, TB_BOOK_size_exponent, made->row);
}

int64_t tb_wire_check(tb_wire *wire, const tb_engine *engine, const tb_batch *batch, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++) {
        const tb_made *made = &batch->made[i];
        if (TB_UNLIKELY(made->rows == TB_MADE_MET)) {
            if (!note_met(wire, i))
                return -1;
            continue;
        }
        if (batch->kinds[i] != 0 || made->feed < 0 || made->feed >= wire->feed_count)
            return i;
        const uint8_t *bytes = batch->payloads + batch->offsets[i];
        const int64_t length = batch->offsets[i + 1] - batch->offsets[i];
        tb_wire_feed *feed = &wire->feeds[made->feed];
        if (made->rows > 0) {
            if (!reserve_scratch(wire, length))
                return -1;
            tb_wire_open open = {NULL, bytes, 0, length};
            if (TB_UNLIKELY(made->symbol < 0 || !feed->form ||
                            (!is_told(engine, feed->form, made) &&
                             !is_written(wire, engine, feed->form, made, bytes, length, &open))))
                return i;
            if (TB_UNLIKELY(open.text != NULL) && !note_open(wire, i, open.text - batch->payloads, open.length))
                return -1;
        } else {
            const int64_t sequence = feed->recent ? repeated(feed, bytes, length) : TB_NONE;
            if (sequence == TB_NONE)
                return i;
            if (!note_repeat(wire, i, sequence))
                return -1;
            continue; /* the earlier one is still there */
        }
        if (TB_UNLIKELY(feed->recent != NULL) && !remember(feed, bytes, length, batch->sequences[i]))
            return -1;
    }
    return to;
}

int tb_wire_remember(tb_wire *wire, const tb_batch *batch, int64_t i)
{
    const tb_made *made = &batch->made[i];
    if (batch->kinds[i] != 0 || made->feed < 0 || made->feed >= wire->feed_count)
        return 1;
    tb_wire_feed *feed = &wire->feeds[made->feed];
    if (!feed->recent && made->rows != 0) /* nothing of it has come twice yet */
        return 1;
    return remember(feed, batch->payloads + batch->offsets[i], batch->offsets[i + 1] - batch->offsets[i], batch->sequences[i]);
}
