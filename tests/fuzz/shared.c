/* Live books beside the first engine: after each step a reader sees the engine's books and states, and the tape has an entry
 * for each message that a book took. The memory is no larger than it has to be, so that the sanitizers see who writes beyond. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define RING TAPEBOOK_LEAST_RING
#define NOW_NS 5

static const uint32_t capacities[FUZZ_BOOKS] = {1, 7, 200};

static void *zeroed(size_t bytes)
{
    void *memory = calloc(1, bytes);
    FUZZ_CHECK(memory);
    return memory;
}

void fuzz_share(fuzz_shared *shared, tb_engine *engine)
{
    memset(shared, 0, sizeof *shared);
    shared->writer.sector = UINT64_MAX;
    shared->writer.now_ns = NOW_NS;
    shared->writer.tape = zeroed(sizeof *shared->writer.tape + RING);
    *shared->writer.tape = (tapebook_tape_file){.magic = TAPEBOOK_TAPE_MAGIC,
                                                .version = TAPEBOOK_VERSION,
                                                .header_bytes = sizeof(tapebook_tape_file),
                                                .file_bytes = sizeof(tapebook_tape_file) + RING,
                                                .ring_bytes = RING};
    FUZZ_CHECK(tb_shared_reserve(&shared->writer, FUZZ_FEEDS));
    engine->shared = &shared->writer;
    tapebook_collector nobody = {0};
    FUZZ_CHECK(tapebook_attach_tape(&shared->tape, shared->writer.tape, sizeof(tapebook_tape_file) + RING, &nobody) ==
               TAPEBOOK_GOOD);
    for (int i = 0; i < FUZZ_FEEDS; i++) {
        tapebook_book_file *file = NULL;
        if (i < FUZZ_BOOKS) {
            const size_t bytes = tb_shared_book_bytes(capacities[i]);
            file = zeroed(bytes);
            *file = (tapebook_book_file){.magic = TAPEBOOK_BOOK_MAGIC,
                                         .version = TAPEBOOK_VERSION,
                                         .header_bytes = sizeof *file,
                                         .file_bytes = bytes,
                                         .capacity = capacities[i]};
            FUZZ_CHECK(tapebook_attach_book(&shared->books[i], file, bytes, &nobody) == TAPEBOOK_GOOD);
        }
        tb_shared_add(engine, i, file);
    }
}

static void check_book(const tapebook_book *book, const tb_feed *feed)
{
    tapebook_level sides[2][200];
    tapebook_snapshot got;
    tapebook_quote quote;
    FUZZ_CHECK(tapebook_copy(book, &got, sides[0], sides[1], 200) && tapebook_look(book, &quote));
    FUZZ_CHECK(got.state == feed->state && quote.state == got.state);
    FUZZ_CHECK(got.update_id == feed->update_id && got.receive_ns == feed->receive_ns && got.push_ms == feed->push_ms);
    FUZZ_CHECK(got.price_exponent == -feed->book.price_decimals && got.size_exponent == -feed->book.size_decimals);
    FUZZ_CHECK(got.digest == tb_book_digest(&feed->book));
    FUZZ_CHECK(got.cause == (feed->gap.open ? 1 + feed->gap.cause : 0));
    for (int s = 0; s < 2; s++) {
        const int32_t held = feed->book.sides[s].count;
        int32_t most = held < feed->depth ? held : feed->depth;
        most = most < (int32_t)book->capacity ? most : (int32_t)book->capacity;
        FUZZ_CHECK(got.held[s] == held && got.count[s] == most);
        FUZZ_CHECK(!(quote.flags & (s ? TAPEBOOK_HAS_ASK : TAPEBOOK_HAS_BID)) == !held);
        for (int32_t i = 0; i < most; i++) {
            const tb_level level = tb_book_level(&feed->book, s, i);
            FUZZ_CHECK(sides[s][i].price == level.price && sides[s][i].size == level.size);
            if (i == 0)
                FUZZ_CHECK((s ? quote.ask.price : quote.bid.price) == level.price);
        }
    }
}

void fuzz_check_shared(fuzz_shared *shared, const tb_engine *engine, int32_t result)
{
    static uint64_t room[RING / 4 / 8];
    const tapebook_entry *entry = (const tapebook_entry *)(const void *)room;
    int changes = 0;
    int64_t bytes;
    for (int i = 0; i < FUZZ_BOOKS; i++)
        check_book(&shared->books[i], engine->feeds[i]);
    while ((bytes = tapebook_tape_read(&shared->tape, room, sizeof room)) != 0) {
        FUZZ_CHECK(bytes > 0 && entry->ordinal == ++shared->entries);
        FUZZ_CHECK(entry->feed >= 0 && entry->feed < FUZZ_FEEDS && entry->published_ns == NOW_NS);
        if (entry->type == TAPEBOOK_BOOK_CHANGE) {
            changes++;
            FUZZ_CHECK(entry->feed == result && entry->feed < FUZZ_BOOKS);
            FUZZ_CHECK(bytes == (int64_t)(sizeof *entry + (entry->count[0] + entry->count[1]) * sizeof(tapebook_level)));
        } else if (entry->type == TAPEBOOK_TRADES) {
            FUZZ_CHECK(entry->feed == result && engine->feeds[result]->kind == TB_KIND_TRADES && entry->count[0] > 0);
        } else {
            FUZZ_CHECK(entry->type == TAPEBOOK_STATE_CHANGE);
            shared->states[entry->feed] = entry->state;
        }
    }
    FUZZ_CHECK(shared->tape.lost == 0 && changes <= 1);
    for (int i = 0; i < FUZZ_FEEDS; i++)
        FUZZ_CHECK(shared->states[i] == engine->feeds[i]->state);
}

void fuzz_unshare(fuzz_shared *shared, tb_engine *engine)
{
    engine->shared = NULL;
    for (int i = 0; i < FUZZ_BOOKS; i++)
        free((void *)(uintptr_t)shared->books[i].file);
    free(shared->writer.tape);
    tb_shared_free(&shared->writer);
}
