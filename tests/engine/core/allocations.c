/* Counts what the core asks the allocator for: linked with --wrap, run by test_allocations.py. Reads frames, each behind its
 * length as a native uint32, applies `warm` of them, then the rest, and prints how often memory was asked for meanwhile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tb_engine.h"

static long asked;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size) { asked++; return __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { asked++; return __real_calloc(count, size); }
void *__wrap_realloc(void *old, size_t size) { asked++; return __real_realloc(old, size); }
void *__wrap_aligned_alloc(size_t alignment, size_t size) { asked++; return __real_aligned_alloc(alignment, size); }

int main(int count, char **arguments)
{
    static uint8_t frame[1 << 20];
    uint32_t length;
    long frames = 0, warm = count == 3 ? atol(arguments[2]) : 0, before = -1;
    FILE *file = count == 3 ? fopen(arguments[1], "rb") : NULL;
    tb_engine engine;
    if (!file)
        return 2;
    tb_engine_init(&engine, 0);
    for (int i = 0; i < 4; i++) {
        static const char *const topics[4] = {"orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT", "publicTrade.BTCUSDT",
                                              "tickers.BTCUSDT"};
        static const int kinds[4] = {TB_KIND_BOOK, TB_KIND_BOOK, TB_KIND_TRADES, TB_KIND_TICKER};
        static const int32_t depths[4] = {50, 1, 0, 0};
        if (tb_engine_add_feed(&engine, topics[i], strlen(topics[i]), kinds[i], depths[i], "BTCUSDT", 7) != i)
            return 2;
    }
    printf("%ld bytes a feed\n", (long)(sizeof(tb_feed) + 2 * (2 * 50 + 1) * sizeof(tb_level)));
    while (fread(&length, sizeof length, 1, file) == 1 && length <= sizeof frame && fread(frame, 1, length, file) == length) {
        if (frames == warm)
            before = asked;
        if (tb_engine_apply(&engine, frame, length, frames, frames, 0) < 0)
            return 3;
        engine.event_count = 0; /* taken */
        frames++;
    }
    printf("%ld frames, %ld warm, %ld asked\n", frames, before < 0 ? 0 : before, before < 0 ? -1 : asked - before);
    fclose(file);
    tb_engine_free(&engine);
    return 0;
}
