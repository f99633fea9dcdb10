/* The envelope of a frame, and the payload of a book (protocol section 3.1). */
#include "tb_frame.h"

#include <stdlib.h>
#include <string.h>

#include "tb_decimal.h"
#include "tb_fast.h"
#include "tb_read.h"

void tb_frame_free(tb_frame *frame)
{
    for (int s = 0; s < 2; s++) {
        free(frame->prices[s]);
        free(frame->sizes[s]);
        free(frame->decimals[s]);
        free(frame->rpi_sizes[s]);
        free(frame->rpi_decimals[s]);
    }
    free(frame->trades);
    free(frame->text);
    memset(frame, 0, sizeof *frame);
}

int tb_read_key(tb_cursor *c, tb_slice *key, uint8_t buffer[TB_KEY_BYTES])
{
    if (!tb_string(c, key))
        return 0;
    if (TB_UNLIKELY(key->escaped) && !tb_unescape(c, key, buffer, TB_KEY_BYTES)) {
        c->error = TB_OK;
        key->length = 0;
    }
    return tb_expect(c, ':');
}

int tb_read_text(tb_frame *f, tb_cursor *c, tb_slice *out)
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

int tb_read_decimal(tb_frame *f, tb_cursor *c, int64_t *mantissa, uint8_t *decimals)
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
    if (!tb_read_text(f, c, &text))
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

int tb_read_wide(tb_frame *f, tb_cursor *c, tb_int128 *value, int *present)
{
    tb_slice text;
    int byte = tb_peek(c);
    if (byte == '"') {
        if (!tb_read_text(f, c, &text))
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

static int grow_levels(tb_frame *f, int side)
{
    int32_t capacity = f->capacity[side] ? f->capacity[side] * 2 : 256;
    int64_t *prices = realloc(f->prices[side], (size_t)capacity * sizeof *prices);
    if (prices)
        f->prices[side] = prices;
    int64_t *sizes = realloc(f->sizes[side], (size_t)capacity * sizeof *sizes);
    if (sizes)
        f->sizes[side] = sizes;
    uint8_t *decimals = realloc(f->decimals[side], (size_t)capacity * 2);
    if (decimals)
        f->decimals[side] = decimals;
    if (!prices || !sizes || !decimals)
        return 0;
    f->capacity[side] = capacity;
    return 1;
}

/* Room for the second sizes of as many levels as there is room for first ones. */
static int grow_rpi(tb_frame *f, int side)
{
    const int32_t capacity = f->capacity[side];
    int64_t *sizes = realloc(f->rpi_sizes[side], (size_t)capacity * sizeof *sizes);
    if (sizes)
        f->rpi_sizes[side] = sizes;
    uint8_t *decimals = realloc(f->rpi_decimals[side], (size_t)capacity);
    if (decimals)
        f->rpi_decimals[side] = decimals;
    if (!sizes || !decimals)
        return 0;
    f->rpi_capacity[side] = capacity;
    return 1;
}

/* The size that levels of RPI books have behind the other one. */
static int read_rpi_size(tb_frame *f, tb_cursor *c, int side, int32_t n, unsigned *widest)
{
    uint8_t places;
    if (TB_UNLIKELY(n >= f->rpi_capacity[side]) && !grow_rpi(f, side))
        return tb_fail(c, TB_NO_MEMORY);
    if (!tb_expect(c, ','))
        return 0;
    tb_space(c);
    if (!tb_read_decimal(f, c, &f->rpi_sizes[side][n], &places))
        return 0;
    if (f->rpi_sizes[side][n] < 0)
        return tb_fail(c, TB_BAD_NUMBER);
    f->rpi_decimals[side][n] = places;
    if (f->rpi_sizes[side][n] && places > *widest)
        *widest = places;
    return 1;
}

static int read_levels(tb_frame *f, tb_cursor *c, int side, int rpi)
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
            int64_t *price = &f->prices[side][n], *size = &f->sizes[side][n];
            if (tb_peek(c) != '[') {
                if (tb_skip(c, 3))
                    c->error = TB_WRONG_TYPE;
                return 0;
            }
            c->p++;
            tb_space(c);
            if (!tb_read_decimal(f, c, price, &price_places) || !tb_expect(c, ','))
                return 0;
            tb_space(c);
            if (!tb_read_decimal(f, c, size, &size_places))
                return 0;
            if (TB_UNLIKELY(*size < 0))
                return tb_fail(c, TB_BAD_NUMBER);
            if (rpi && !read_rpi_size(f, c, side, n, &size_widest))
                return 0;
            if (TB_UNLIKELY(!tb_accept(c, ']'))) {
                if (!tb_expect(c, ','))
                    return 0;
                return tb_fail(c, TB_WRONG_TYPE); /* more than this kind of book has */
            }
            f->decimals[side][2 * n] = price_places;
            f->decimals[side][2 * n + 1] = size_places;
            if (price_places > price_widest)
                price_widest = price_places;
            if (*size && size_places > size_widest)
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

static int read_book(tb_frame *f, tb_cursor *c, const tb_slice *symbol, int rpi)
{
    enum { S = 1, B = 2, A = 4, U = 8, SEQ = 16 };
    unsigned seen = 0;
    f->price_decimals = f->size_decimals = 0;
    TB_EACH_MEMBER(c, 1)
    if (key.length == 1) {
        switch (key.at[0]) {
        case 's': {
            tb_slice text;
            TB_ONCE(c, seen, S);
            if (!tb_read_text(f, c, &text))
                return 0;
            if (!tb_same_text(&text, symbol))
                return tb_fail(c, TB_WRONG_SYMBOL);
            continue;
        }
        case 'b':
            TB_ONCE(c, seen, B);
            if (!read_levels(f, c, 0, rpi))
                return 0;
            continue;
        case 'a':
            TB_ONCE(c, seen, A);
            if (!read_levels(f, c, 1, rpi))
                return 0;
            continue;
        case 'u':
            TB_ONCE(c, seen, U);
            if (!tb_integer(c, INT64_MAX, &f->update_id))
                return 0;
            continue;
        default:
            break;
        }
    } else if (TB_IS(&key, "seq")) {
        TB_ONCE(c, seen, SEQ);
        if (!tb_integer(c, INT64_MAX, &f->cross_sequence))
            return 0;
        continue;
    }
    if (!tb_skip(c, 2))
        return 0;
    TB_END_MEMBERS(c)
    if ((seen & (S | B | A | U)) != (S | B | A | U))
        return tb_fail(c, TB_MISSING_KEY);
    return 1;
}

static int read_data(tb_frame *f, tb_cursor *c, int kind, const tb_slice *symbol)
{
    switch (kind) {
    case TB_KIND_BOOK:
    case TB_KIND_RPI:
        return read_book(f, c, symbol, kind == TB_KIND_RPI);
    case TB_KIND_TRADES:
        return tb_read_trades(f, c, symbol);
    default:
        return tb_read_ticker(f, c, symbol);
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
    TB_EACH_MEMBER(c, 0)
    tb_slice text;
    if (TB_IS(&key, "topic")) {
        TB_ONCE(c, seen, TOPIC);
        if (tb_peek(c) != '"') {
            if (tb_skip(c, 1))
                c->error = TB_WRONG_TYPE;
            return 0;
        }
        if (!tb_string(c, &text))
            return 0;
        if (!tb_unescape(c, &text, f->topic_text, sizeof f->topic_text))
            return 0;
        f->topic = text;
        kind = find(context, &text, &route);
        if (TB_UNLIKELY(kind == TB_KIND_DRIVEN)) {
            *status = TB_FRAME_DRIVEN;
            return 1;
        }
        continue;
    }
    if (TB_IS(&key, "type")) {
        TB_ONCE(c, seen, TYPE);
        if (!tb_read_text(f, c, &text)) {
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
        TB_ONCE(c, seen, DATA);
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
        TB_ONCE(c, seen, TS);
        clock = &f->push_ms;
    } else if (TB_IS(&key, "cts")) {
        TB_ONCE(c, seen, CTS);
        clock = &f->match_ms;
    } else if (TB_IS(&key, "cs")) {
        TB_ONCE(c, seen, CS);
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
    TB_END_MEMBERS(c)
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
tb_error tb_frame_decode_completely(tb_frame *f, const uint8_t *bytes, size_t length, tb_find find, void *context,
                                    tb_frame_status *status)
{
    tb_cursor c = {bytes, bytes + length, TB_OK};
    f->text_used = 0;
    f->drift = 0;
    f->ready = 0;
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

tb_error tb_frame_decode(tb_frame *f, const uint8_t *bytes, size_t length, tb_find find, void *context,
                         tb_frame_status *status)
{
    if (TB_LIKELY(tb_fast_book(f, bytes, length, find, context))) {
        f->drift = 0;
        f->ready = 1;
        *status = TB_FRAME_DATA;
        return TB_OK;
    }
    return tb_frame_decode_completely(f, bytes, length, find, context, status);
}
