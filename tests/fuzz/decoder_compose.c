#include <string.h>

#include "decoder.h"

#define MOST_LEVELS 512 /* of one side */

enum { SNAPSHOT = 1, TYPE_FIRST = 2, WITH_ID = 4, NO_CTS = 8, ASKS_FIRST = 16, TRIMMED = 32, HIGH = 64, DATA_FIRST = 128 };

/* What is odd about a level. */
enum { BACK, TWICE, THREE, ZERO_IN_FRONT, MORE_PLACES, LONG, SPACE, NEGATIVE, ODDITIES };

static unsigned byte_at(const uint8_t *shape, size_t size, size_t i)
{
    return i < size ? shape[i] : 0;
}

/* `value` of the smallest unit, with `places` decimals, zeros at the end cut off or not. */
static void put_decimal(fuzz_text *out, uint64_t value, unsigned places, int trimmed)
{
    while (trimmed && places && value % 10 == 0) {
        value /= 10;
        places--;
    }
    size_t from = out->length;
    fuzz_put_digits(out, value, places + 1);
    if (places && out->length >= from + places + 1) {
        uint8_t *point = out->bytes + out->length - places;
        memmove(point + 1, point, places);
        *point = '.';
        out->length++;
    }
}

typedef struct {
    fuzz_text *out;
    const uint8_t *shape;
    size_t size, at;
    unsigned price_places, size_places;
    int trimmed, plain;
    int64_t origin;
} composer;

static void put_level(composer *c, int64_t price, unsigned size, int first, int oddity)
{
    fuzz_put(c->out, first ? "[\"" : oddity == SPACE ? " , [\"" : ",[\"");
    if (oddity == NEGATIVE)
        fuzz_put(c->out, "-");
    if (oddity == ZERO_IN_FRONT)
        fuzz_put(c->out, "0");
    if (oddity == LONG)
        fuzz_put(c->out, "123456789");
    put_decimal(c->out, (uint64_t)price, c->price_places, c->trimmed);
    if (oddity == MORE_PLACES)
        fuzz_put(c->out, "7");
    fuzz_put(c->out, "\",\"");
    if (size)
        put_decimal(c->out, size, c->size_places, c->trimmed);
    else
        fuzz_put(c->out, "0");
    if (oddity == THREE)
        fuzz_put(c->out, "\",\"0");
    fuzz_put(c->out, "\"]");
}

/* Two bytes make a run: its length, the step and whether every other level goes, or the end of the side; the size. 0xFF in
 * front makes the next level odd. */
static void put_side(composer *c, int side)
{
    static const int64_t steps[4] = {1, 2, 7, 1000};
    int64_t price = c->origin + side;
    int count = 0, oddity = ODDITIES;
    fuzz_put(c->out, side ? "\"a\":[" : "\"b\":[");
    while (c->at < c->size && !fuzz_is_full(c->out)) {
        unsigned run = c->shape[c->at++], amount = byte_at(c->shape, c->size, c->at++);
        if (run == 0xFF) {
            oddity = (int)(amount % ODDITIES);
            c->plain = 0;
            continue;
        }
        for (unsigned i = 0; i <= (run & 15) && count < MOST_LEVELS && !fuzz_is_full(c->out); i++, count++) {
            int64_t step = steps[run >> 4 & 3], by = side ? step : -step;
            if (oddity != TWICE)
                price += oddity == BACK ? -3 * by : by;
            if (price <= 0)
                price = 1 + i; /* rises, which on the bids' side is odd enough */
            put_level(c, price, run & 64 && i & 1 ? 0 : amount * (amount % 3 == 0 ? 1000 : 1), count == 0, oddity);
            oddity = ODDITIES;
        }
        if (run & 128)
            break;
    }
    fuzz_put(c->out, "]");
}

static void put_ids(fuzz_text *out, unsigned which)
{
    static const char *const ids[8] = {"177400506", "1", "0", "4030692", "9999999999999999", "10000000000000000",
                                       "9223372036854775807", "9223372036854775808"};
    fuzz_put(out, ",\"u\":");
    fuzz_put(out, ids[which]);
    fuzz_put(out, ",\"seq\":");
    fuzz_put(out, which < 4 ? "66544703301" : ids[which]);
}

int fuzz_compose_frame(fuzz_text *out, const uint8_t *shape, size_t size)
{
    static const struct {
        const char *topic, *symbol;
    } books[8] = {
        {"orderbook.50.BTCUSDT", "BTCUSDT"},
        {"orderbook.1.BTCUSDT", "BTCUSDT"},
        {"orderbook.200.1000PEPEUSDT", "1000PEPEUSDT"},
        {"orderbook.25.BTC-25JUN27-106000-C-USDT", "BTC-25JUN27-106000-C-USDT"},
        {"orderbook.25.SOLUSDT_SOL/USDT", "SOLUSDT_SOL/USDT"},
        {"orderbook.1000.A", "A"},
        {"orderbook.full.MNTUSDT", "MNTUSDT"},
        {"orderbook.rpi.BTCUSDT", "BTCUSDT"},
    };
    unsigned flags = byte_at(shape, size, 0), names = byte_at(shape, size, 3);
    const char *topic = books[names & 7].topic, *symbol = books[names & 7].symbol;
    const char *kind = flags & SNAPSHOT ? "\"type\":\"snapshot\"" : "\"type\":\"delta\"";
    composer c = {out, shape, size, 6, byte_at(shape, size, 1) % 19, byte_at(shape, size, 2) % 19, (flags & TRIMMED) != 0,
                  !(flags & (WITH_ID | NO_CTS | ASKS_FIRST | DATA_FIRST)), 0};
    c.origin = 10000 + (int64_t)(byte_at(shape, size, 4) << 8 | byte_at(shape, size, 5)) * 10;
    if (flags & HIGH)
        c.origin *= 123457;
    out->length = 0;
    fuzz_put(out, "{");
    if (!(flags & DATA_FIRST)) {
        fuzz_put(out, "\"topic\":\"");
        fuzz_put(out, topic);
        fuzz_put(out, flags & TYPE_FIRST ? "\"," : "\",\"ts\":1687940967466,");
        fuzz_put(out, kind);
        fuzz_put(out, flags & TYPE_FIRST ? ",\"ts\":1687940967466," : ",");
    }
    if (flags & WITH_ID)
        fuzz_put(out, "\"id\":\"orderbook-1\",");
    fuzz_put(out, "\"data\":{\"s\":\"");
    fuzz_put(out, symbol);
    fuzz_put(out, "\",");
    for (int i = 0; i < 2; i++) {
        put_side(&c, (flags & ASKS_FIRST ? 1 : 0) ^ i);
        fuzz_put(out, i ? "" : ",");
    }
    put_ids(out, names >> 3 & 7);
    fuzz_put(out, "}");
    if (flags & DATA_FIRST) {
        fuzz_put(out, ",\"topic\":\"");
        fuzz_put(out, topic);
        fuzz_put(out, "\",\"ts\":1687940967466,");
        fuzz_put(out, kind);
    }
    if (!(flags & NO_CTS))
        fuzz_put(out, ",\"cts\":1687940967464");
    fuzz_put(out, "}");
    return c.plain;
}
