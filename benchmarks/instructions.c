/* Applies length-prefixed frames, so that callgrind can count: the harness of `python -m benchmarks instructions`.
 *
 *   instructions [--publish DIRECTORY] FRAMES WARM COLUMNS TOPIC:KIND:DEPTH:SYMBOL...
 *
 * FRAMES is a file of 4-byte little-endian lengths, each with its frame behind it. The first WARM frames go through
 * `warm`, so that memory is taken and snapshots are loaded; the others go through `measured`, the only function that
 * callgrind is told to look into. COLUMNS is 0 (books) or 1 (books and archive rows). With --publish the books go into
 * files <number>.book in DIRECTORY too, and their changes onto a tape. Prints what the books have become. */
#include <inttypes.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tb_engine.h"
#include "tb_shared.h"

#define FRAMES_A_BATCH 768 /* what 256 KiB hold */

typedef struct {
    const uint8_t *at, *end;
    int64_t sequence;
} frames;

/* Hands over the rows made so far to nobody; their memory is kept. */
static void drop_rows(tb_engine *engine)
{
    for (int32_t i = 0; i < engine->symbol_count; i++)
        tb_rows_clear(engine->symbols[i]->rows);
    for (int32_t i = 0; i < engine->feed_count; i++)
        engine->feeds[i]->last_row = -1;
}

/* Applies up to `count` frames; says how many. */
static inline int64_t apply_frames(tb_engine *engine, frames *left, int64_t count)
{
    int64_t applied = 0;
    while (applied < count && left->end - left->at >= 4) {
        const uint8_t *p = left->at;
        uint32_t length = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        if (length > (size_t)(left->end - p) - 4)
            break;
        tb_engine_apply(engine, p + 4, length, left->sequence, left->sequence, 0);
        engine->event_count = 0;
        left->at = p + 4 + length;
        left->sequence++;
        applied++;
        if (applied % FRAMES_A_BATCH == 0)
            drop_rows(engine);
    }
    return applied;
}

static __attribute__((noinline)) int64_t warm(tb_engine *engine, frames *left, int64_t count)
{
    return apply_frames(engine, left, count);
}

__attribute__((noinline)) int64_t measured(tb_engine *engine, frames *left)
{
    return apply_frames(engine, left, INT64_MAX);
}

/* Registers TOPIC:KIND:DEPTH:SYMBOL; 0 when it is not of that form. */
static int add_feed(tb_engine *engine, char *text)
{
    char *fields[4];
    for (int i = 0; i < 4; i++) {
        fields[i] = text;
        if (i == 3)
            break;
        text = strchr(text, ':');
        if (!text)
            return 0;
        *text++ = '\0';
    }
    return tb_engine_add_feed(engine, fields[0], strlen(fields[0]), atoi(fields[1]), atoi(fields[2]), fields[3],
                              strlen(fields[3])) >= 0;
}

static void *map_new(const char *directory, const char *name, size_t bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    const int descriptor = open(path, O_RDWR | O_CREAT, 0600);
    void *at = descriptor < 0 || ftruncate(descriptor, (off_t)bytes) != 0
                   ? MAP_FAILED
                   : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (descriptor >= 0)
        close(descriptor);
    return at == MAP_FAILED ? NULL : at;
}

/* As engine.core.publisher.Publisher does, but for what only readers look at. 0 when it can't be. */
static int publish(tb_engine *engine, tb_shared *shared, const char *directory)
{
    const uint64_t ring = 1 << 20;
    memset(shared, 0, sizeof *shared);
    shared->sector = UINT64_MAX;
    shared->tape = map_new(directory, "tape", sizeof *shared->tape + ring);
    if (!shared->tape || !tb_shared_reserve(shared, engine->feed_count))
        return 0;
    shared->tape->ring_bytes = ring;
    engine->shared = shared;
    for (int32_t i = 0; i < engine->feed_count; i++) {
        const int32_t capacity = engine->feeds[i]->kind == TB_KIND_BOOK ? engine->feeds[i]->depth : 0;
        char name[32];
        snprintf(name, sizeof name, "%d.book", i);
        tapebook_book_file *file = capacity ? map_new(directory, name, tb_shared_book_bytes((uint32_t)capacity)) : NULL;
        if (capacity && !file)
            return 0;
        if (file)
            file->capacity = (uint32_t)capacity;
        tb_shared_add(engine, i, file);
    }
    return 1;
}

static uint8_t *read_all(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    if (file && fseek(file, 0, SEEK_END) == 0) {
        long size = ftell(file);
        rewind(file);
        bytes = size > 0 ? malloc((size_t)size) : NULL;
        if (bytes && fread(bytes, 1, (size_t)size, file) != (size_t)size) {
            free(bytes);
            bytes = NULL;
        }
        *length = (size_t)size;
    }
    if (file)
        fclose(file);
    return bytes;
}

int main(int count, char **arguments)
{
    size_t length = 0;
    tb_engine engine;
    tb_shared shared;
    const char *directory = count > 2 && strcmp(arguments[1], "--publish") == 0 ? arguments[2] : NULL;
    if (directory) {
        arguments += 2;
        count -= 2;
    }
    if (count < 5) {
        fprintf(stderr, "expected [--publish DIRECTORY] FRAMES WARM COLUMNS TOPIC:KIND:DEPTH:SYMBOL...\n");
        return 2;
    }
    uint8_t *bytes = read_all(arguments[1], &length);
    if (!bytes) {
        fprintf(stderr, "%s: cannot be read, or empty\n", arguments[1]);
        return 2;
    }
    tb_engine_init(&engine, atoi(arguments[3]));
    for (int i = 4; i < count; i++) {
        if (!add_feed(&engine, arguments[i])) {
            fprintf(stderr, "%s: expected TOPIC:KIND:DEPTH:SYMBOL\n", arguments[i]);
            return 2;
        }
    }
    if (directory && !publish(&engine, &shared, directory)) {
        fprintf(stderr, "%s: cannot be written\n", directory);
        return 2;
    }
    frames left = {bytes, bytes + length, 0};
    int64_t before = warm(&engine, &left, strtoll(arguments[2], NULL, 10));
    int64_t after = measured(&engine, &left);
    uint64_t digests = 0;
    for (int32_t i = 0; i < engine.feed_count; i++)
        digests ^= tb_book_digest(&engine.feeds[i]->book);
    printf("{\"warm\": %" PRId64 ", \"measured\": %" PRId64 ", \"digests\": \"%016" PRIx64 "\"}\n", before, after, digests);
    tb_engine_free(&engine);
    if (directory)
        tb_shared_free(&shared);
    free(bytes);
    return 0;
}
