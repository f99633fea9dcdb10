/* A writer and three readers of live books as threads of one process, so that the thread sanitizer sees every word that they
 * share: none may be touched but by atomics. Readers hold each book against its digest, and each entry of the tape against the
 * one before it. Prints how many looks were good; exits with 1 if anything was torn. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tb_shared.h"

#define DEPTH 50
#define UPDATES 30000
#define RING TAPEBOOK_LEAST_RING

static tapebook_book book;
static tapebook_tape_file *tape;
static int done;
static int64_t torn, good, entries;

static int64_t apply(tb_engine *engine, int64_t update_id)
{
    char text[2048];
    int length = snprintf(text, sizeof text,
                          "{\"topic\":\"orderbook.50.BTCUSDT\",\"type\":\"%s\",\"ts\":1,\"data\":{\"s\":\"BTCUSDT\",\"b\":[",
                          update_id > 1 ? "delta" : "snapshot");
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < 5; i++)
            length += snprintf(text + length, sizeof text - (size_t)length, "%s[\"%d\",\"%d\"]", i ? "," : "",
                               1000 * (1 + side) + (int)(update_id * 7 + i * 11) % DEPTH, (int)(update_id + i) % 3);
        length += snprintf(text + length, sizeof text - (size_t)length, side ? "]" : "],\"a\":[");
    }
    length += snprintf(text + length, sizeof text - (size_t)length, ",\"u\":%" PRId64 ",\"seq\":1},\"cts\":1}", update_id);
    return tb_engine_apply(engine, (const uint8_t *)text, (size_t)length, update_id, update_id, 0);
}

static void *read_books(void *nothing)
{
    static _Thread_local tapebook_level bids[DEPTH], asks[DEPTH];
    int64_t newest = 0, looks = 0, wrong = 0;
    while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
        tapebook_snapshot got;
        tapebook_quote quote;
        if (tapebook_look(&book, &quote))
            wrong += (quote.flags & 3) == 3 && quote.bid.price >= quote.ask.price;
        if (!tapebook_copy(&book, &got, bids, asks, DEPTH))
            continue;
        tb_book copy;
        tb_book_init(&copy);
        copy.sides[0] = (tb_side){(tb_level *)bids, got.count[0], DEPTH};
        copy.sides[1] = (tb_side){(tb_level *)asks, got.count[1], DEPTH};
        copy.price_decimals = (uint8_t)-got.price_exponent;
        copy.size_decimals = (uint8_t)-got.size_exponent;
        wrong += tb_book_digest_recomputed(&copy) != got.digest || got.update_id < newest;
        newest = got.update_id;
        looks++;
    }
    __atomic_fetch_add(&torn, wrong, __ATOMIC_RELAXED);
    __atomic_fetch_add(&good, looks, __ATOMIC_RELAXED);
    return nothing;
}

static void *follow(void *nothing)
{
    static uint64_t room[RING / 4 / 8];
    const tapebook_entry *entry = (const tapebook_entry *)(const void *)room;
    tapebook_collector nobody = {0};
    tapebook_tape reader;
    uint64_t last = 0;
    int64_t wrong = 0, seen = 0;
    if (tapebook_attach_tape(&reader, tape, sizeof *tape + RING, &nobody) != TAPEBOOK_GOOD)
        abort();
    last = reader.next - 1;
    while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
        const uint64_t lost = reader.lost;
        const int64_t bytes = tapebook_tape_read(&reader, room, sizeof room);
        if (bytes == 0)
            continue;
        seen++;
        wrong += bytes < 0 || entry->ordinal != last + 1 + reader.lost - lost;
        last = entry->ordinal;
        if (entry->type == TAPEBOOK_BOOK_CHANGE)
            wrong += bytes != (int64_t)(sizeof *entry + 10 * sizeof(tapebook_level)) || entry->update_id != entry->record;
    }
    __atomic_fetch_add(&torn, wrong, __ATOMIC_RELAXED);
    __atomic_fetch_add(&entries, seen, __ATOMIC_RELAXED);
    return nothing;
}

int main(void)
{
    static const char topic[] = "orderbook.50.BTCUSDT";
    tb_engine engine;
    tb_shared shared = {.sector = UINT64_MAX};
    tapebook_collector nobody = {0};
    pthread_t threads[3];
    const size_t bytes = tb_shared_book_bytes(DEPTH);
    tapebook_book_file *file = calloc(1, bytes);
    tape = calloc(1, sizeof *tape + RING);
    if (!file || !tape)
        return 2;
    *file = (tapebook_book_file){.magic = TAPEBOOK_BOOK_MAGIC, .version = TAPEBOOK_VERSION, .header_bytes = sizeof *file,
                                 .file_bytes = bytes, .capacity = DEPTH};
    *tape = (tapebook_tape_file){.magic = TAPEBOOK_TAPE_MAGIC, .version = TAPEBOOK_VERSION, .header_bytes = sizeof *tape,
                                 .file_bytes = sizeof *tape + RING, .ring_bytes = RING};
    tb_engine_init(&engine, 0);
    if (tb_engine_add_feed(&engine, topic, strlen(topic), TB_KIND_BOOK, DEPTH, "BTCUSDT", 7) != 0 ||
        !tb_shared_reserve(&shared, 1) || tapebook_attach_book(&book, file, bytes, &nobody) != TAPEBOOK_GOOD)
        return 2;
    shared.tape = tape;
    engine.shared = &shared;
    tb_shared_add(&engine, 0, file);
    if (apply(&engine, 1) != 0)
        return 2;
    for (int i = 0; i < 3; i++)
        if (pthread_create(&threads[i], NULL, i < 2 ? read_books : follow, NULL) != 0)
            return 2;
    /* as long as it takes for every reader to have seen something */
    for (int64_t u = 2; u < UPDATES; u++)
        if (apply(&engine, u) != 0)
            return 2;
    __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    const int live = engine.feeds[0]->state == TB_LIVE && engine.feeds[0]->update_id == UPDATES - 1;
    engine.shared = NULL;
    printf("%" PRId64 " %" PRId64 " %" PRId64 "\n", good, entries, torn);
    tb_engine_free(&engine);
    tb_shared_free(&shared);
    free(file);
    free(tape);
    return torn || !live;
}
