/* Drives RPI and full books with frames that are good, damaged and out of order, in exactly as much memory as they have; built
 * with sanitizers and run by test_deep_sanitized.py. Prints how many states were LIVE, frames undecodable, rows made. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tb_engine.h"

#define TOPICS 3
#define MOST_BYTES 65536

static const char *const topics[TOPICS] = {"orderbook.rpi.BTCUSDT", "orderbook.full.BTCUSDT", "orderbook.50.BTCUSDT"};
enum { RPI, FULL };

static uint64_t state = UINT64_C(88172645463325252);

static uint32_t below(uint32_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 11) % limit;
}

static size_t say_side(char *out, int rpi, uint32_t count, uint32_t lowest)
{
    size_t n = (size_t)sprintf(out, "[");
    for (uint32_t i = 0; i < count; i++) {
        n += (size_t)sprintf(out + n, "%s[\"%u.%0*u\",\"%u%s\"", i ? "," : "", lowest + below(60), 1 + (int)below(2),
                             below(9), below(4), below(3) ? "" : ".5");
        if (rpi)
            n += (size_t)sprintf(out + n, ",\"%u%s\"", below(3), below(4) ? "" : ".25");
        n += (size_t)sprintf(out + n, "]");
    }
    return n + (size_t)sprintf(out + n, "]");
}

static size_t say(char *out, int topic, const char *type, int64_t id, uint32_t count)
{
    const long long ms = 1700000000000LL + id * 200;
    size_t n = (size_t)sprintf(out, "{\"topic\":\"%s\",\"ts\":%lld,\"type\":\"%s\",\"data\":{\"s\":\"BTCUSDT\",\"b\":",
                               topics[topic], ms, type);
    n += say_side(out + n, topic == RPI, count, 100);
    n += (size_t)sprintf(out + n, ",\"a\":");
    n += say_side(out + n, topic == RPI, count, 165);
    return n + (size_t)sprintf(out + n, ",\"u\":%lld,\"seq\":%lld},\"cts\":%lld}", (long long)id, (long long)id * 10, ms - 1);
}

static uint8_t *exactly(const char *bytes, size_t length)
{
    uint8_t *copy = malloc(length ? length : 1);
    if (!copy)
        abort();
    memcpy(copy, bytes, length);
    return copy;
}

static void restate(tb_engine *engine, int64_t id, int64_t sequence, char *buffer)
{
    uint8_t *frames[4];
    size_t lengths[4];
    const int count = 1 + (int)below(4);
    for (int i = 0; i < count; i++) {
        lengths[i] = say(buffer, FULL, i ? "delta" : "snapshot", id + i, below(15));
        if (!below(12))
            buffer[below((uint32_t)lengths[i])] = (char)below(256);
        frames[i] = exactly(buffer, lengths[i]);
    }
    tb_engine_restate(engine, FULL, (const uint8_t *const *)frames, lengths, count, 2000 + sequence, sequence);
    for (int i = 0; i < count; i++)
        free(frames[i]);
}

static int is_sound(const tb_engine *engine)
{
    for (int i = 0; i < TOPICS; i++)
        if (tb_feed_digest(engine->feeds[i]) != tb_feed_digest_recomputed(engine->feeds[i]))
            return 0;
    const tb_feed *feed = engine->feeds[RPI];
    for (int s = 0; s < 2; s++) {
        const size_t most = (size_t)feed->book.sides[s].count + (size_t)feed->rpi->sides[s].count;
        int64_t *prices = malloc((3 * most + 1) * sizeof *prices), *sizes = prices + most, *rpi_sizes = sizes + most;
        if (!prices)
            abort();
        const int32_t count = tb_rpi_levels(feed, s, prices, sizes, rpi_sizes);
        int sound = (size_t)count <= most;
        for (int32_t i = 0; i < count; i++)
            sound &= (sizes[i] || rpi_sizes[i]) && (!i || (s ? prices[i] > prices[i - 1] : prices[i] < prices[i - 1]));
        free(prices);
        if (!sound)
            return 0;
    }
    return 1;
}

int main(void)
{
    static char buffer[MOST_BYTES];
    long live = 0, undecodable = 0, rows = 0;
    for (int round = 0; round < 200; round++) {
        tb_engine engine;
        tb_engine_init(&engine, round & 1);
        tb_engine_add_feed(&engine, topics[0], strlen(topics[0]), TB_KIND_RPI, 50, "BTCUSDT", 7);
        tb_engine_add_feed(&engine, topics[1], strlen(topics[1]), TB_KIND_BOOK, TB_FULL_DEPTH, "BTCUSDT", 7);
        tb_engine_add_feed(&engine, topics[2], strlen(topics[2]), TB_KIND_BOOK, 50, "BTCUSDT", 7);
        int64_t ids[TOPICS] = {5, 5, 5};
        for (int i = 0; i < 300; i++) {
            const int topic = (int)below(TOPICS);
            const uint32_t turn = below(20);
            ids[topic] = turn == 0 ? 1 : ids[topic] + (turn == 1 ? 3 : 1);
            const char *type = topic != FULL && (i < 6 || !below(12)) ? "snapshot" : "delta";
            size_t length = say(buffer, topic, type, ids[topic], below(60) ? below(12) : 110);
            for (uint32_t hits = below(10) ? 0 : 1 + below(3); hits > 0; hits--)
                buffer[below((uint32_t)length)] = (char)below(256);
            if (!below(25))
                length = below((uint32_t)length);
            uint8_t *frame = exactly(buffer, length);
            undecodable += tb_engine_apply(&engine, frame, length, 1000 + i, i, (uint16_t)below(2)) < 0;
            free(frame);
            if (topic == FULL && !below(4)) {
                restate(&engine, ids[FULL], i, buffer);
                ids[FULL] = engine.feeds[FULL]->update_id < 0 ? ids[FULL] : engine.feeds[FULL]->update_id;
            }
            if (!below(50))
                tb_engine_widen(&engine, 0, below(6), below(6), i, i);
            if (!below(40))
                tb_engine_disconnect(&engine, (uint16_t)below(2), i, i);
            if (!below(30))
                tb_engine_keyframe(&engine, (int32_t)below(TOPICS));
            if (!is_sound(&engine)) {
                fprintf(stderr, "round %d, step %d: digests or levels are wrong\n", round, i);
                return 1;
            }
            for (int t = 0; t < TOPICS; t++)
                live += engine.feeds[t]->state == TB_LIVE;
        }
        if (round & 1)
            rows += (long)(engine.symbols[0]->rows->tables[TB_TABLE_RPI_BOOKS].count +
                           engine.symbols[0]->rows->tables[TB_TABLE_BOOKS].count);
        tb_engine_free(&engine);
    }
    printf("%ld live, %ld undecodable, %ld rows\n", live, undecodable, rows);
    return 0;
}
