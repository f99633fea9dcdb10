#include "tb_frame.h"

#include <stdlib.h>
#include <string.h>

#include "tb_decimal.h"
#include "tb_fast.h"

/* The order is the bit order of schemas.tables.TICKER_FIELDS (a test holds them together). */
static const struct {
    const char *key;
    uint8_t length;
    char type;
} ticker_fields[TB_TICKER_FIELDS] = {
#define FIELD(key, type) {key, sizeof(key) - 1, type}
    FIELD("tickDirection", 's'), FIELD("price24hPcnt", 'd'), FIELD("lastPrice", 'd'), FIELD("prevPrice24h", 'd'),
    FIELD("highPrice24h", 'd'), FIELD("lowPrice24h", 'd'), FIELD("prevPrice1h", 'd'), FIELD("markPrice", 'd'),
    FIELD("indexPrice", 'd'), FIELD("openInterest", 'd'), FIELD("openInterestValue", 'd'),
    FIELD("singleOpenInterest", 'd'), FIELD("singleOpenInterestValue", 'd'), FIELD("turnover24h", 'd'),
    FIELD("volume24h", 'd'), FIELD("nextFundingTime", 't'), FIELD("fundingRate", 'd'), FIELD("bid1Price", 'd'),
    FIELD("bid1Size", 'd'), FIELD("ask1Price", 'd'), FIELD("ask1Size", 'd'), FIELD("fundingIntervalHour", 'd'),
    FIELD("fundingCap", 'd'), FIELD("deliveryTime", 't'), FIELD("basis", 'd'), FIELD("basisRate", 'd'),
    FIELD("basisRateYear", 'd'), FIELD("deliveryFeeRate", 'd'), FIELD("predictedDeliveryPrice", 'd'),
    FIELD("preOpenPrice", 'd'), FIELD("preQty", 'd'), FIELD("curPreListingPhase", 's'), FIELD("usdIndexPrice", 'd'),
    FIELD("bidPrice", 'd'), FIELD("bidSize", 'd'), FIELD("bidIv", 'd'), FIELD("askPrice", 'd'), FIELD("askSize", 'd'),
    FIELD("askIv", 'd'), FIELD("markPriceIv", 'd'), FIELD("underlyingPrice", 'd'), FIELD("totalVolume", 'd'),
    FIELD("totalTurnover", 'd'), FIELD("delta", 'd'), FIELD("gamma", 'd'), FIELD("vega", 'd'), FIELD("theta", 'd'),
    FIELD("change24h", 'd'),
#undef FIELD
};

const char *tb_ticker_key(int field)
{
    return field >= 0 && field < TB_TICKER_FIELDS ? ticker_fields[field].key : NULL;
}

char tb_ticker_type(int field)
{
    return ticker_fields[field].type;
}

static const char *const tick_directions[4] = {"PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick"};

void tb_frame_free(tb_frame *frame)
{
    for (int s = 0; s < 2; s++) {
        free(frame->levels[s]);
        free(frame->decimals[s]);
    }
    free(frame->trades);
    free(frame->text);
    memset(frame, 0, sizeof *frame);
}

/* Keys are short; one with escapes is resolved into `buffer`, and one that can't be is nobody's key. */
#define KEY_BYTES 64
static int read_key(tb_cursor *c, tb_slice *key, uint8_t buffer[KEY_BYTES])
{
    if (!tb_string(c, key))
        return 0;
    if (TB_UNLIKELY(key->escaped) && !tb_unescape(c, key, buffer, KEY_BYTES)) {
        c->error = TB_OK;
        key->length = 0;
    }
    return tb_expect(c, ':');
}

/* A string value; another type is TB_WRONG_TYPE. Escapes are resolved into the frame's own memory. */
static int read_text(tb_frame *f, tb_cursor *c, tb_slice *out)
{
    if (tb_peek(c) != '"') {
        if (tb_skip(c, 0))
            c->error = TB_WRONG_TYPE;
        return 0;
    }
    if (!tb_string(c, out))
        return 0;
    if (TB_LIKELY(!out->escaped))
        return 1;
    /* room for all texts of the frame was made in tb_frame_decode: resolving never makes a text longer */
    uint8_t *target = f->text + f->text_used;
    if (!tb_unescape(c, out, target, f->text_capacity - f->text_used))
        return 0;
    f->text_used += out->length;
    return 1;
}

/* A decimal in a string, for prices and sizes of books and trades. */
static int read_decimal(tb_frame *f, tb_cursor *c, int64_t *mantissa, uint8_t *decimals)
{
    unsigned places;
    if (TB_LIKELY(c->p < c->end && *c->p == '"')) {
        const uint8_t *p = tb_decimal64(c->p + 1, c->end, mantissa, &places, &c->error);
        if (TB_LIKELY(p && p < c->end && *p == '"')) {
            c->p = p + 1;
            *decimals = (uint8_t)places;
            return 1;
        }
        c->error = TB_OK; /* an escape, or wrong: the careful way decides */
    }
    tb_slice text;
    if (!read_text(f, c, &text))
        return 0;
    const uint8_t *end = text.at + text.length;
    const uint8_t *p = tb_decimal64(text.at, end, mantissa, &places, &c->error);
    if (!p)
        return 0;
    if (p != end)
        return tb_fail(c, TB_BAD_NUMBER);
    *decimals = (uint8_t)places;
    return 1;
}

static int grow_levels(tb_frame *f, int side)
{
    int32_t capacity = f->capacity[side] ? f->capacity[side] * 2 : 256;
    tb_level *levels = realloc(f->levels[side], (size_t)capacity * sizeof *levels);
    if (levels)
        f->levels[side] = levels;
    uint8_t *decimals = realloc(f->decimals[side], (size_t)capacity * 2);
    if (decimals)
        f->decimals[side] = decimals;
    if (!levels || !decimals)
        return 0;
    f->capacity[side] = capacity;
    return 1;
}

static int read_levels(tb_frame *f, tb_cursor *c, int side)
{
    unsigned price_widest = f->price_decimals, size_widest = f->size_decimals;
    int32_t n = 0;
    if (tb_peek(c) != '[') {
        if (tb_skip(c, 2))
            c->error = TB_WRONG_TYPE;
        return 0;
    }
    c->p++;
    if (!tb_accept(c, ']')) {
        do {
            uint8_t price_places, size_places;
            if (TB_UNLIKELY(n == f->capacity[side]) && !grow_levels(f, side))
                return tb_fail(c, TB_NO_MEMORY);
            tb_level *level = &f->levels[side][n];
            if (tb_peek(c) != '[') {
                if (tb_skip(c, 3))
                    c->error = TB_WRONG_TYPE;
                return 0;
            }
            c->p++;
            tb_space(c);
            if (!read_decimal(f, c, &level->price, &price_places) || !tb_expect(c, ','))
                return 0;
            tb_space(c);
            if (!read_decimal(f, c, &level->size, &size_places))
                return 0;
            if (TB_UNLIKELY(level->size < 0))
                return tb_fail(c, TB_BAD_NUMBER);
            if (TB_UNLIKELY(!tb_accept(c, ']'))) {
                if (!tb_expect(c, ','))
                    return 0;
                return tb_fail(c, TB_WRONG_TYPE); /* more than price and size: not this kind of book */
            }
            f->decimals[side][2 * n] = price_places;
            f->decimals[side][2 * n + 1] = size_places;
            if (price_places > price_widest)
                price_widest = price_places;
            if (level->size && size_places > size_widest)
                size_widest = size_places;
            n++;
        } while (tb_accept(c, ','));
        if (!tb_expect(c, ']'))
            return 0;
    }
    f->count[side] = n;
    f->price_decimals = (uint8_t)price_widest;
    f->size_decimals = (uint8_t)size_widest;
    return 1;
}

static int same_text(const tb_slice *a, const tb_slice *b)
{
    return a->length == b->length && memcmp(a->at, b->at, a->length) == 0;
}

/* Walks the members of the object that comes next. The body reads the value of `key` or leaves it to tb_skip. */
#define EACH_MEMBER_BEGIN(c, nesting)                                                                            \
    if (tb_peek(c) != '{') {                                                                                      \
        if (tb_skip(c, nesting))                                                                                  \
            (c)->error = TB_WRONG_TYPE;                                                                           \
        return 0;                                                                                                 \
    }                                                                                                             \
    (c)->p++;                                                                                                     \
    if (!tb_accept(c, '}')) {                                                                                     \
        do {                                                                                                      \
            tb_slice key;                                                                                         \
            uint8_t key_buffer[KEY_BYTES];                                                                        \
            if (!read_key(c, &key, key_buffer))                                                                   \
                return 0;
#define EACH_MEMBER_END(c)                                                                                        \
        } while (tb_accept(c, ','));                                                                              \
        if (!tb_expect(c, '}'))                                                                                   \
            return 0;                                                                                             \
    }

#define ONCE(c, seen, bit)                                                                                        \
    do {                                                                                                          \
        if (TB_UNLIKELY((seen) & (bit)))                                                                          \
            return tb_fail(c, TB_DUPLICATE_KEY);                                                                  \
        (seen) |= (bit);                                                                                          \
    } while (0)

static int read_book(tb_frame *f, tb_cursor *c, const tb_slice *symbol)
{
    enum { S = 1, B = 2, A = 4, U = 8, SEQ = 16 };
    unsigned seen = 0;
    f->price_decimals = f->size_decimals = 0;
    EACH_MEMBER_BEGIN(c, 1)
    if (key.length == 1) {
        switch (key.at[0]) {
        case 's': {
            tb_slice text;
            ONCE(c, seen, S);
            if (!read_text(f, c, &text))
                return 0;
            if (!same_text(&text, symbol))
                return tb_fail(c, TB_WRONG_SYMBOL);
            continue;
        }
        case 'b':
            ONCE(c, seen, B);
            if (!read_levels(f, c, 0))
                return 0;
            continue;
        case 'a':
            ONCE(c, seen, A);
            if (!read_levels(f, c, 1))
                return 0;
            continue;
        case 'u':
            ONCE(c, seen, U);
            if (!tb_integer(c, INT64_MAX, &f->update_id))
                return 0;
            continue;
        default:
            break;
        }
    } else if (TB_IS(&key, "seq")) {
        ONCE(c, seen, SEQ);
        if (!tb_integer(c, INT64_MAX, &f->cross_sequence))
            return 0;
        continue;
    }
    if (!tb_skip(c, 2))
        return 0;
    EACH_MEMBER_END(c)
    if ((seen & (S | B | A | U)) != (S | B | A | U))
        return tb_fail(c, TB_MISSING_KEY);
    return 1;
}

/* DECIMAL(38,18) from a string, or from a bare number of the same grammar. *present is 0 for "". */
static int read_wide(tb_frame *f, tb_cursor *c, tb_int128 *value, int *present)
{
    tb_slice text;
    int byte = tb_peek(c);
    if (byte == '"') {
        if (!read_text(f, c, &text))
            return 0;
        *present = text.length != 0;
        if (!*present)
            return 1;
    } else if (byte == '-' || (byte >= '0' && byte <= '9')) {
        if (!tb_number(c, &text))
            return 0;
        *present = 1;
    } else {
        if (tb_skip(c, 0))
            c->error = TB_WRONG_TYPE;
        return 0;
    }
    const uint8_t *end = text.at + text.length;
    const uint8_t *p = tb_decimal128(text.at, end, value, &c->error);
    if (!p)
        return 0;
    return p == end ? 1 : tb_fail(c, TB_BAD_NUMBER);
}

static int two_digits(const uint8_t *p)
{
    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
        return -1;
    return (p[0] - '0') * 10 + (p[1] - '0');
}

/* `2025-12-26T08:00:00Z`, with up to three decimals of a second, to ms since the epoch, or -1. */
static int64_t iso_to_ms(const uint8_t *p, size_t n)
{
    static const int month_days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (n < 20 || n > 24 || p[4] != '-' || p[7] != '-' || p[10] != 'T' || p[13] != ':' || p[16] != ':' ||
        p[n - 1] != 'Z' || n == 21 || (n > 21 && p[19] != '.'))
        return -1;
    int milliseconds = 0;
    for (size_t i = 20; i < 23; i++) {
        int digit = i < n - 1 ? p[i] - '0' : 0;
        if (digit < 0 || digit > 9)
            return -1;
        milliseconds = milliseconds * 10 + digit;
    }
    int century = two_digits(p), year = two_digits(p + 2), month = two_digits(p + 5), day = two_digits(p + 8);
    int hour = two_digits(p + 11), minute = two_digits(p + 14), second = two_digits(p + 17);
    if (century < 0 || year < 0 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 59)
        return -1;
    year += century * 100;
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1970 || day > month_days[month - 1] + (month == 2 && leap))
        return -1;
    int64_t before = year - 1;
    int64_t days = before * 365 + before / 4 - before / 100 + before / 400 - 719162; /* since 1970-01-01 */
    for (int m = 1; m < month; m++)
        days += month_days[m - 1] + (m == 2 && leap);
    days += day - 1;
    return ((days * 24 + hour) * 60 + minute) * 60000 + second * 1000 + milliseconds;
}

static int read_time(tb_frame *f, tb_cursor *c, tb_int128 *value, int *present)
{
    tb_slice text;
    if (tb_peek(c) == '"') {
        if (!read_text(f, c, &text))
            return 0;
    } else if (!tb_number(c, &text)) {
        c->error = TB_OK;
        if (tb_skip(c, 0))
            c->error = TB_WRONG_TYPE;
        return 0;
    }
    *present = text.length != 0;
    if (!*present)
        return 1;
    tb_cursor inner = {text.at, text.at + text.length, TB_OK};
    int64_t ms;
    if (text.at[0] >= '0' && text.at[0] <= '9' && tb_integer(&inner, TB_LAST_MS, &ms) && inner.p == inner.end) {
        *value = ms;
        return 1;
    }
    ms = iso_to_ms(text.at, text.length);
    if (ms < 0)
        return tb_fail(c, TB_BAD_NUMBER);
    *value = ms;
    return 1;
}

static int ticker_field(const tb_slice *key)
{
    for (int i = 0; i < TB_TICKER_FIELDS; i++)
        if (key->length == ticker_fields[i].length && memcmp(key->at, ticker_fields[i].key, key->length) == 0)
            return i;
    return -1;
}

static int read_ticker(tb_frame *f, tb_cursor *c, const tb_slice *symbol)
{
    tb_ticker *t = &f->ticker;
    int named = 0, hint = 0;
    t->keys = t->present = 0;
    EACH_MEMBER_BEGIN(c, 1)
    if (TB_IS(&key, "symbol")) {
        tb_slice text;
        if (named)
            return tb_fail(c, TB_DUPLICATE_KEY);
        named = 1;
        if (!read_text(f, c, &text))
            return 0;
        if (!same_text(&text, symbol))
            return tb_fail(c, TB_WRONG_SYMBOL);
        continue;
    }
    /* keys mostly come in table order: look at the next one first */
    int field = hint < TB_TICKER_FIELDS && tb_is(&key, ticker_fields[hint].key, ticker_fields[hint].length)
                    ? hint
                    : ticker_field(&key);
    if (field < 0) {
        if (!tb_skip(c, 2))
            return 0;
        continue;
    }
    hint = field + 1;
    uint64_t bit = UINT64_C(1) << field;
    int present = 1;
    ONCE(c, t->keys, bit);
    if (ticker_fields[field].type == 'd') {
        if (!read_wide(f, c, &t->values[field], &present))
            return 0;
    } else if (ticker_fields[field].type == 't') {
        if (!read_time(f, c, &t->values[field], &present))
            return 0;
    } else {
        tb_slice text;
        if (!read_text(f, c, &text))
            return 0;
        if (text.length > TB_TEXT_BYTES)
            return tb_fail(c, TB_BAD_VALUE);
        tb_text *target = &t->texts[field == 0 ? 0 : 1];
        target->length = (uint8_t)text.length;
        memcpy(target->bytes, text.at, text.length);
        present = text.length != 0;
    }
    if (present)
        t->present |= bit;
    EACH_MEMBER_END(c)
    return named ? 1 : tb_fail(c, TB_MISSING_KEY);
}

static int read_trade(tb_frame *f, tb_cursor *c, tb_trade *t)
{
    enum { T = 1, SYMBOL = 2, SIDE = 4, V = 8, P = 16, I = 32, L = 64, BT = 128, RPI = 256, SEQ = 512, EXTRA = 1024 };
    static const char *const extra_keys[4] = {"mP", "iP", "mIv", "iv"};
    unsigned seen = 0;
    t->cross_sequence = TB_NONE;
    t->tick_direction = t->is_block = t->is_rpi = -1;
    t->extras = 0;
    EACH_MEMBER_BEGIN(c, 2)
    tb_slice text;
    int flag;
    if (key.length == 1) {
        switch (key.at[0]) {
        case 'T':
            ONCE(c, seen, T);
            if (!tb_integer(c, TB_LAST_MS, &t->match_ms))
                return 0;
            continue;
        case 's':
            ONCE(c, seen, SYMBOL);
            if (!read_text(f, c, &t->symbol))
                return 0;
            if (t->symbol.length == 0 || t->symbol.length > TB_SYMBOL_BYTES)
                return tb_fail(c, TB_BAD_VALUE);
            continue;
        case 'S':
            ONCE(c, seen, SIDE);
            if (!read_text(f, c, &text))
                return 0;
            if (TB_IS(&text, "Buy"))
                t->side = 0;
            else if (TB_IS(&text, "Sell"))
                t->side = 1;
            else
                return tb_fail(c, TB_BAD_VALUE);
            continue;
        case 'v':
            ONCE(c, seen, V);
            tb_space(c);
            if (!read_decimal(f, c, &t->size, &t->size_decimals))
                return 0;
            if (t->size < 0)
                return tb_fail(c, TB_BAD_NUMBER);
            continue;
        case 'p':
            ONCE(c, seen, P);
            tb_space(c);
            if (!read_decimal(f, c, &t->price, &t->price_decimals))
                return 0;
            continue;
        case 'i':
            ONCE(c, seen, I);
            if (!read_text(f, c, &t->id))
                return 0;
            if (t->id.length == 0 || t->id.length > TB_TRADE_ID_BYTES)
                return tb_fail(c, TB_BAD_VALUE);
            continue;
        case 'L':
            ONCE(c, seen, L);
            if (!read_text(f, c, &text))
                return 0;
            for (int i = 0; i < 4; i++)
                if (tb_is(&text, tick_directions[i], strlen(tick_directions[i])))
                    t->tick_direction = (int8_t)i;
            f->drift += t->tick_direction < 0;
            continue;
        default:
            break;
        }
    } else if (TB_IS(&key, "BT")) {
        ONCE(c, seen, BT);
        if (!tb_boolean(c, &flag))
            return 0;
        t->is_block = (int8_t)flag;
        continue;
    } else if (TB_IS(&key, "RPI")) {
        ONCE(c, seen, RPI);
        if (!tb_boolean(c, &flag))
            return 0;
        t->is_rpi = (int8_t)flag;
        continue;
    } else if (TB_IS(&key, "seq")) {
        ONCE(c, seen, SEQ);
        if (!tb_integer(c, INT64_MAX, &t->cross_sequence))
            return 0;
        continue;
    } else if (key.length <= 3) {
        int extra = 0;
        while (extra < 4 && !tb_is(&key, extra_keys[extra], strlen(extra_keys[extra])))
            extra++;
        if (extra < 4) {
            int present;
            ONCE(c, seen, (unsigned)EXTRA << extra);
            if (!read_wide(f, c, &t->extra[extra], &present))
                return 0;
            t->extras |= (uint8_t)(present << extra);
            continue;
        }
    }
    if (!tb_skip(c, 3))
        return 0;
    EACH_MEMBER_END(c)
    unsigned needed = T | SYMBOL | SIDE | V | P | I;
    return (seen & needed) == needed ? 1 : tb_fail(c, TB_MISSING_KEY);
}

static int read_trades(tb_frame *f, tb_cursor *c, const tb_slice *symbol)
{
    f->trade_count = 0;
    if (tb_peek(c) != '[') {
        if (tb_skip(c, 1))
            c->error = TB_WRONG_TYPE;
        return 0;
    }
    c->p++;
    if (tb_accept(c, ']'))
        return 1;
    do {
        if (f->trade_count == f->trade_capacity) {
            int32_t capacity = f->trade_capacity ? f->trade_capacity * 2 : 64;
            tb_trade *trades = realloc(f->trades, (size_t)capacity * sizeof *trades);
            if (!trades)
                return tb_fail(c, TB_NO_MEMORY);
            f->trades = trades;
            f->trade_capacity = capacity;
        }
        tb_trade *trade = &f->trades[f->trade_count];
        if (!read_trade(f, c, trade))
            return 0;
        if (symbol->length && !same_text(&trade->symbol, symbol))
            return tb_fail(c, TB_WRONG_SYMBOL);
        f->trade_count++;
    } while (tb_accept(c, ','));
    return tb_expect(c, ']');
}

static int read_data(tb_frame *f, tb_cursor *c, int kind, const tb_slice *symbol)
{
    switch (kind) {
    case TB_KIND_BOOK:
        return read_book(f, c, symbol);
    case TB_KIND_TRADES:
        return read_trades(f, c, symbol);
    default:
        return read_ticker(f, c, symbol);
    }
}

static int read_frame(tb_frame *f, tb_cursor *c, tb_find find, void *context, tb_frame_status *status)
{
    enum { TOPIC = 1, TYPE = 2, TS = 4, CTS = 8, CS = 16, DATA = 32 };
    unsigned seen = 0;
    int kind = -1;
    int64_t cs = TB_NONE;
    tb_route route = {{NULL, 0, 0}, 0, 0};
    tb_cursor data = {NULL, NULL, TB_OK};
    tb_error type_error = TB_OK;
    EACH_MEMBER_BEGIN(c, 0)
    tb_slice text;
    if (TB_IS(&key, "topic")) {
        ONCE(c, seen, TOPIC);
        if (!tb_string(c, &text)) {
            if (c->error == TB_NOT_JSON && tb_peek(c) != '"' && tb_skip(c, 1))
                c->error = TB_WRONG_TYPE;
            return 0;
        }
        if (!tb_unescape(c, &text, f->topic_text, sizeof f->topic_text))
            return 0;
        f->topic = text;
        kind = find(context, &text, &route);
        continue;
    }
    if (TB_IS(&key, "type")) {
        ONCE(c, seen, TYPE);
        if (!read_text(f, c, &text)) {
            if (c->error == TB_NOT_JSON)
                return 0;
            type_error = c->error;
            c->error = TB_OK;
            continue;
        }
        if (TB_IS(&text, "delta"))
            f->kind = TB_DELTA;
        else if (TB_IS(&text, "snapshot"))
            f->kind = TB_SNAPSHOT;
        else
            type_error = TB_BAD_VALUE;
        continue;
    }
    if (TB_IS(&key, "data")) {
        ONCE(c, seen, DATA);
        if (TB_LIKELY(kind >= 0)) {
            if (!read_data(f, c, kind, &route.symbol))
                return 0;
        } else { /* before the topic, or not ours */
            data = *c;
            if (!tb_skip(c, 1))
                return 0;
        }
        continue;
    }
    /* Clocks of frames that are not ours may be anything: only a frame of ours is refused for them, below. */
    int64_t *clock = NULL;
    if (TB_IS(&key, "ts")) {
        ONCE(c, seen, TS);
        clock = &f->push_ms;
    } else if (TB_IS(&key, "cts")) {
        ONCE(c, seen, CTS);
        clock = &f->match_ms;
    } else if (TB_IS(&key, "cs")) {
        ONCE(c, seen, CS);
        clock = &cs;
    }
    if (clock) {
        if (!tb_integer(c, clock == &cs ? INT64_MAX : TB_LAST_MS, clock)) {
            if (c->error == TB_NOT_JSON)
                return 0;
            type_error = c->error;
            c->error = TB_OK;
        }
        continue;
    }
    if (!tb_skip(c, 1))
        return 0;
    EACH_MEMBER_END(c)
    tb_space(c);
    if (c->p != c->end)
        return tb_fail(c, TB_NOT_JSON);
    if (!(seen & TOPIC)) {
        *status = TB_FRAME_CONTROL;
        return 1;
    }
    if (kind < 0) {
        *status = TB_FRAME_UNKNOWN_TOPIC;
        return 1;
    }
    if (type_error != TB_OK)
        return tb_fail(c, type_error);
    if ((seen & (TYPE | TS | DATA)) != (TYPE | TS | DATA))
        return tb_fail(c, TB_MISSING_KEY);
    if (data.p && !read_data(f, &data, kind, &route.symbol))
        return tb_fail(c, data.error);
    if (kind == TB_KIND_TICKER)
        f->cross_sequence = cs;
    if (kind == TB_KIND_TRADES && f->kind != TB_SNAPSHOT)
        return tb_fail(c, TB_BAD_VALUE);
    *status = TB_FRAME_DATA;
    return 1;
}

/* The array behind `"data":` of one side may be read again when data came before the topic, so every count is set
 * where it is read, and only the envelope is reset here. */
tb_error tb_frame_decode(tb_frame *f, const uint8_t *bytes, size_t length, tb_find find, void *context,
                         tb_frame_status *status)
{
    tb_cursor c = {bytes, bytes + length, TB_OK};
    f->text_used = 0;
    f->drift = 0;
    if (TB_LIKELY(tb_fast_book(f, bytes, length, find, context))) {
        *status = TB_FRAME_DATA;
        return TB_OK;
    }
    f->ready[0] = f->ready[1] = 0;
    f->topic.at = NULL;
    f->topic.length = 0;
    f->kind = -1;
    f->push_ms = f->match_ms = f->cross_sequence = f->update_id = TB_NONE;
    if (length > INT32_MAX)
        return TB_NOT_JSON;
    size_t valid = tb_valid_utf8(bytes, length);
    c.end = bytes + valid;
    if (TB_UNLIKELY(memchr(bytes, '\\', length) != NULL) && f->text_capacity < length + 8) {
        uint8_t *text = realloc(f->text, length + 8);
        if (!text)
            return TB_NO_MEMORY;
        f->text = text;
        f->text_capacity = length + 8;
    }
    /* damaged bytes are read up to the damage, because the topic before it says whose they are */
    if (!read_frame(f, &c, find, context, status))
        return c.error == TB_OK ? TB_NOT_JSON : c.error;
    if (TB_UNLIKELY(valid < length))
        return TB_NOT_JSON;
    return TB_OK;
}
