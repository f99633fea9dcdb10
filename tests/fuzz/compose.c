#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define MAX_LEVELS 1024

/* `value` tenths, written with `places` decimals (0: the value itself, as an integer). */
static void put_decimal(fuzz_text *out, int64_t value, unsigned places)
{
    if (places == 0) {
        fuzz_put_number(out, value);
        return;
    }
    fuzz_put_number(out, value / 10);
    fuzz_put(out, ".");
    fuzz_put_digits(out, (uint64_t)(value % 10), 1);
    if (places > 1)
        fuzz_put_digits(out, 0, places - 1);
}

int64_t fuzz_next_update_id(const tb_feed *feed)
{
    return feed->update_id == TB_NONE ? 1000 : feed->update_id < INT64_MAX ? feed->update_id + 1 : 0;
}

static int falling(const void *a, const void *b)
{
    int64_t x = ((const tb_level *)a)->price, y = ((const tb_level *)b)->price;
    return (x < y) - (x > y);
}

static int rising(const void *a, const void *b)
{
    return falling(b, a);
}

/* Sorts best first and keeps the first of equal prices. */
static int sort_levels(tb_level *levels, int count, int side)
{
    int kept = 0;
    qsort(levels, (size_t)count, sizeof *levels, side ? rising : falling);
    for (int i = 0; i < count; i++)
        if (kept == 0 || levels[i].price != levels[kept - 1].price)
            levels[kept++] = levels[i];
    return kept;
}

enum { SNAPSHOT = 1, TYPE_FIRST = 2, UNSORTED = 4, CROSSING = 8, WITH_ID = 16, HIGH = 32, MIXED = 64, NO_CTS = 128 };

void fuzz_compose_book(fuzz_text *out, const tb_feed *feed, int64_t update_id, int64_t push_ms, const uint8_t *shape,
                       size_t size)
{
    static tb_level levels[2][MAX_LEVELS];
    int count[2] = {0, 0};
    unsigned flags = size > 0 ? shape[0] : 0, decimals = size > 1 ? shape[1] : 0;
    unsigned price_places = decimals & 3, size_places = decimals >> 2 & 3;
    int64_t middle = flags & HIGH ? INT64_C(98765432100) : 10000;
    const char *kind = flags & SNAPSHOT ? "\"type\":\"snapshot\"" : "\"type\":\"delta\"";
    if (decimals & 16)
        price_places += 7;
    if (decimals & 32)
        size_places += 7;
    /* three bytes make a run of levels: side, length and step; distance from the middle; size (0 removes) */
    for (size_t i = 2; i + 3 <= size; i += 3) {
        int side = shape[i] & 1, run = 1 + (shape[i] >> 1 & 31);
        int64_t step = 1 + (shape[i] >> 6), distance = shape[i + 1] + (flags & CROSSING ? -64 : 0);
        int64_t amount = shape[i + 2] % 16 ? shape[i + 2] : 0;
        for (int k = 0; k < run && count[side] < MAX_LEVELS; k++, distance += step) {
            tb_level *level = &levels[side][count[side]++];
            level->price = side ? middle + 1 + distance : middle - distance;
            level->size = amount;
        }
    }
    out->length = 0;
    fuzz_put(out, "{\"topic\":\"");
    fuzz_put_bytes(out, feed->topic, feed->topic_length);
    fuzz_put(out, "\",");
    if (flags & TYPE_FIRST) {
        fuzz_put(out, kind);
        fuzz_put(out, ",\"ts\":");
        fuzz_put_number(out, push_ms);
    } else {
        fuzz_put(out, "\"ts\":");
        fuzz_put_number(out, push_ms);
        fuzz_put(out, ",");
        fuzz_put(out, kind);
    }
    if (flags & WITH_ID)
        fuzz_put(out, ",\"id\":\"orderbook-1\"");
    fuzz_put(out, ",\"data\":{\"s\":\"BTCUSDT\"");
    for (int side = 0; side < 2; side++) {
        if (!(flags & UNSORTED))
            count[side] = sort_levels(levels[side], count[side], side);
        fuzz_put(out, side ? ",\"a\":[" : ",\"b\":[");
        for (int i = 0; i < count[side] && !fuzz_is_full(out); i++) {
            unsigned places = flags & MIXED && i % 5 == 4 ? 0 : price_places;
            fuzz_put(out, i ? ",[\"" : "[\"");
            put_decimal(out, places ? levels[side][i].price : levels[side][i].price / (price_places ? 10 : 1), places);
            fuzz_put(out, "\",\"");
            if (levels[side][i].size)
                put_decimal(out, levels[side][i].size, size_places);
            else
                fuzz_put(out, "0");
            fuzz_put(out, "\"]");
        }
        fuzz_put(out, "]");
    }
    fuzz_put(out, ",\"u\":");
    fuzz_put_number(out, update_id);
    fuzz_put(out, ",\"seq\":");
    fuzz_put_number(out, update_id < INT64_MAX / 8 ? update_id * 7 : update_id);
    fuzz_put(out, "}");
    if (!(flags & NO_CTS)) {
        fuzz_put(out, ",\"cts\":");
        fuzz_put_number(out, push_ms - 2);
    }
    fuzz_put(out, "}");
}

void fuzz_compose_trades(fuzz_text *out, const tb_feed *feed, int64_t push_ms, const uint8_t *shape, size_t size)
{
    int count = size > 0 ? shape[0] : 0, first = size > 1 ? shape[1] * 16 : 0;
    if (count < 240) /* mostly few: many cost time */
        count %= 12;
    static const char *const contracts[3] = {"BTC-25JUN27-90000-C", "BTC-25JUN27-95000-P", "BTC-25JUN27-1-C-USDT"};
    unsigned decimals = size > 2 ? shape[2] : 0;
    out->length = 0;
    fuzz_put(out, "{\"topic\":\"");
    fuzz_put_bytes(out, feed->topic, feed->topic_length);
    fuzz_put(out, "\",\"type\":\"snapshot\",\"ts\":");
    fuzz_put_number(out, push_ms);
    fuzz_put(out, ",\"data\":[");
    for (int i = 0; i < count && !fuzz_is_full(out); i++) {
        fuzz_put(out, i ? ",{\"i\":\"t" : "{\"i\":\"t");
        fuzz_put_number(out, first + i);
        fuzz_put(out, "\",\"T\":");
        fuzz_put_number(out, push_ms - 1);
        fuzz_put(out, ",\"p\":\"");
        put_decimal(out, 10000 + i, decimals & 7);
        fuzz_put(out, "\",\"v\":\"");
        put_decimal(out, i % 16, decimals >> 3 & 7);
        fuzz_put(out, i & 1 ? "\",\"S\":\"Buy\",\"s\":\"" : "\",\"S\":\"Sell\",\"s\":\"");
        fuzz_put(out, feed->symbol >= 0 ? "BTCUSDT" : contracts[i % 3]);
        fuzz_put(out, decimals & 64 ? "\",\"BT\":false,\"iv\":\"0.14\"}" : "\",\"L\":\"PlusTick\",\"seq\":5}");
    }
    fuzz_put(out, "]}");
}

void fuzz_fill_template(fuzz_text *out, const tb_engine *engine, const uint8_t *text, size_t size)
{
    out->length = 0;
    for (size_t i = 0; i < size && !fuzz_is_full(out); i++) {
        if (text[i] == '~' && i + 1 < size)
            fuzz_put_number(out, fuzz_next_update_id(engine->feeds[text[++i] % FUZZ_FEEDS]));
        else
            out->bytes[out->length++] = text[i] == '\r' ? '\n' : text[i];
    }
}
