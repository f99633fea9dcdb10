#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tb_find.h"
#include "tb_levels.h"

#define START_MS INT64_C(1700000000000)
#define STEP_NS INT64_C(1000000)

enum { COLUMNS = 1, OTHER_COLUMNS = 2, BATCH = 4, WHOLE_TICKERS = 8, PORTABLE = 64 };

fuzz_counts fuzz_total;

typedef struct {
    /* 0 takes frames as they are; 1 takes them so that only the complete decoder can, or reads levels portably */
    fuzz_side sides[2];
    fuzz_shared shared; /* 0 is published too, and must be none the worse for it */
    fuzz_text text;
    int same_columns, batch, portable;
    int64_t sequence, push_ms, frames;
    int32_t result; /* of the step's frame, or of none */
} fuzz_world;

static void open_engine(tb_engine *engine, int columns, int whole_tickers)
{
    static const struct {
        const char *topic;
        int kind;
        int32_t depth;
        const char *symbol;
    } feeds[FUZZ_FEEDS] = {
        {"orderbook.1.BTCUSDT", TB_KIND_BOOK, 1, "BTCUSDT"},   {"orderbook.50.BTCUSDT", TB_KIND_BOOK, 50, "BTCUSDT"},
        {"orderbook.200.BTCUSDT", TB_KIND_BOOK, 200, "BTCUSDT"}, {"publicTrade.BTCUSDT", TB_KIND_TRADES, 0, "BTCUSDT"},
        {"tickers.BTCUSDT", TB_KIND_TICKER, 0, "BTCUSDT"},     {"publicTrade.BTC", TB_KIND_TRADES, 0, ""},
    };
    tb_engine_init(engine, columns);
    for (int i = 0; i < FUZZ_FEEDS; i++) {
        int32_t depth = feeds[i].kind == TB_KIND_TICKER ? whole_tickers : feeds[i].depth;
        FUZZ_CHECK(tb_engine_add_feed(engine, feeds[i].topic, strlen(feeds[i].topic), feeds[i].kind, depth,
                                      feeds[i].symbol, strlen(feeds[i].symbol)) == i);
    }
}

/* A copy that ends where its memory ends; `spaced` puts a space behind the first byte. */
static uint8_t *exact_copy(const uint8_t *bytes, size_t length, int spaced)
{
    uint8_t *copy = malloc(length + (size_t)spaced);
    FUZZ_CHECK(copy);
    if (spaced) {
        copy[0] = bytes[0];
        copy[1] = ' ';
        memcpy(copy + 2, bytes + 1, length - 1);
    } else if (length) {
        memcpy(copy, bytes, length);
    }
    return copy;
}

static int32_t apply(tb_engine *engine, const uint8_t *bytes, size_t length, int spaced, uint16_t line,
                     int64_t sequence, int batch, int32_t other)
{
    uint8_t *copy = exact_copy(bytes, length, spaced);
    int32_t result = other;
    length += (size_t)spaced;
    if (batch) { /* says nothing about the result: the counters have to */
        const int32_t offsets[2] = {0, (int32_t)length};
        const int64_t receive_ns = sequence * STEP_NS;
        const uint8_t kind = 0;
        const tb_batch one = {copy, offsets, &receive_ns, &sequence, &line, &kind, NULL};
        FUZZ_CHECK(tb_engine_apply_batch_in_threads(engine, &one, 0, 1, batch, 1) == 1);
    } else {
        result = tb_engine_apply(engine, copy, length, sequence * STEP_NS, sequence, line);
    }
    free(copy);
    return result;
}

static void count_result(const tb_engine *engine, const fuzz_before *before, int32_t result)
{
    const tb_symbol *symbol = engine->symbols[FUZZ_SYMBOL];
    fuzz_total.frames++;
    fuzz_total.undecodable += result == TB_RESULT_UNDECODABLE;
    fuzz_total.widened += symbol->price_decimals != before->price_decimals ||
                          symbol->size_decimals != before->size_decimals;
    if (result < 0)
        return;
    int unapplied = engine->feeds[result]->unapplied != before->unapplied[result];
    fuzz_total.applied += !unapplied;
    fuzz_total.unapplied += unapplied;
    /* only the fast path says that the levels need no second look */
    fuzz_total.fast += result < FUZZ_BOOKS && engine->frame.ready;
}

static void on_frame(fuzz_world *world, const uint8_t *bytes, size_t length, uint16_t line)
{
    tb_engine *a = &world->sides[0].engine, *b = &world->sides[1].engine;
    int spaced = !world->portable && length > 0 && bytes[0] == '{';
    fuzz_before before[2];
    fuzz_remember(&before[0], a);
    fuzz_remember(&before[1], b);
    int32_t result = apply(a, bytes, length, 0, line, world->sequence, 0, 0);
    (void)tb_choose_levels_reader(world->portable ? TB_LEVELS_PORTABLE : TB_LEVELS_AVX512);
    (void)tb_find_narrowly(1);
    int32_t other = apply(b, bytes, length, spaced, line, world->sequence, world->batch, result);
    (void)tb_find_narrowly(0);
    (void)tb_choose_levels_reader(TB_LEVELS_AVX512);
    FUZZ_CHECK(result == other);
    world->frames++;
    world->result = result;
    fuzz_check_result(&before[0], a, result);
    fuzz_check_result(&before[1], b, other);
    count_result(a, &before[0], result);
    fuzz_total.portable += world->portable && result >= 0 && result < FUZZ_BOOKS && b->frame.ready;
}

static unsigned argument(const uint8_t *bytes, size_t length, size_t i)
{
    return i < length ? bytes[i] : 0;
}

/* Frames that are composed carry a clock that moves by what a real feed's could, days included. */
static int64_t advance(fuzz_world *world, unsigned step)
{
    static const int64_t steps[8] = {0, 20, 100, 1000, 10000, 11000, 300000, 86400000};
    world->push_ms += steps[step % 8];
    return world->push_ms;
}

static void compose(fuzz_world *world, const uint8_t *rest, size_t length, int trades)
{
    const tb_engine *engine = &world->sides[0].engine;
    unsigned which = argument(rest, length, 0);
    size_t skipped = length < 3 ? length : 3;
    if (trades) {
        const tb_feed *feed = engine->feeds[which & 1 ? 5 : 3];
        fuzz_compose_trades(&world->text, feed, advance(world, argument(rest, length, 1)), rest + skipped,
                            length - skipped);
    } else {
        const tb_feed *feed = engine->feeds[which % FUZZ_BOOKS];
        /* '0' is the next update id, '1' skips one, '/' repeats the last */
        int64_t update_id = fuzz_next_update_id(feed);
        if (__builtin_add_overflow(update_id, (int64_t)argument(rest, length, 2) - '0', &update_id) || update_id < 0)
            update_id = 1;
        fuzz_compose_book(&world->text, feed, update_id,
                          advance(world, argument(rest, length, 1)), rest + skipped, length - skipped);
    }
    on_frame(world, world->text.bytes, world->text.length, 0);
}

/* What the bytes don't say, in both engines. */
static void on_event(fuzz_world *world, int action, const uint8_t *rest, size_t length)
{
    unsigned first = argument(rest, length, 0), second = argument(rest, length, 1);
    int64_t sequence = world->sequence, now = sequence * STEP_NS;
    uint64_t digest = 0;
    tb_error errors[2] = {TB_OK, TB_OK};
    for (int i = 0; i < 2; i++) {
        tb_engine *engine = &world->sides[i].engine;
        const tb_feed *feed = engine->feeds[first % FUZZ_FEEDS];
        switch (action) {
        case 's': tb_engine_subscribed(engine, (int32_t)(first % FUZZ_FEEDS), second & 3, now, sequence); break;
        case 'x': tb_engine_disconnect(engine, first & 3, now, sequence); break;
        case 'q':
            tb_engine_stale(engine, (int32_t)(first % FUZZ_FEEDS), (int)(second % TB_CAUSE_COUNT), now, sequence);
            break;
        case 'k': tb_engine_keyframe(engine, (int32_t)(first % FUZZ_FEEDS)); break;
        case 'w': errors[i] = tb_engine_widen(engine, FUZZ_SYMBOL, first & 31, second & 31, sequence, now); break;
        default: /* the digest in a row is the book's, or it is refused */
            digest = tb_book_digest(&feed->book);
            (void)tb_engine_set_digest(engine, (int32_t)(first % FUZZ_FEEDS), feed->update_id, digest);
            break;
        }
    }
    FUZZ_CHECK(errors[0] == errors[1]);
}

static void take_rows(fuzz_world *world)
{
    if (world->same_columns)
        fuzz_check_equal_rows(&world->sides[0].engine, &world->sides[1].engine);
    for (int i = 0; i < 2; i++)
        fuzz_take_rows(&world->sides[i]);
}

static void step(fuzz_world *world, const uint8_t *line, size_t length)
{
    world->sequence++;
    world->result = TB_RESULT_CONTROL;
    switch (line[0]) {
    case 'f': on_frame(world, line + 1, length - 1, 0); break;
    case 'g': on_frame(world, line + 1, length - 1, 1); break;
    case 't':
        fuzz_fill_template(&world->text, &world->sides[0].engine, line + 1, length - 1);
        on_frame(world, world->text.bytes, world->text.length, 0);
        break;
    case 'b': compose(world, line + 1, length - 1, 0); break;
    case 'p': compose(world, line + 1, length - 1, 1); break;
    case 's': case 'x': case 'q': case 'k': case 'w': case 'd': on_event(world, line[0], line + 1, length - 1); break;
    case 'r': take_rows(world); break;
    default: on_frame(world, line, length, 0); break;
    }
    for (int i = 0; i < 2; i++)
        fuzz_check_engine(&world->sides[i].engine);
    fuzz_check_equal(&world->sides[0].engine, &world->sides[1].engine, world->same_columns);
    for (int i = 0; i < 2; i++) {
        world->sides[i].engine.event_count = 0;
        if (world->sides[i].engine.columns)
            fuzz_check_rows(&world->sides[i], world->result);
    }
    fuzz_check_shared(&world->shared, &world->sides[0].engine, world->result);
}

void fuzz_run(const uint8_t *data, size_t size)
{
    static fuzz_world world;
    static uint8_t text[FUZZ_MAX_FRAME];
    if (size == 0 || size > FUZZ_MAX_INPUT)
        return;
    unsigned options = data[0];
    world.text.bytes = text;
    world.push_ms = START_MS;
    world.sequence = world.frames = 0;
    world.same_columns = !(options & OTHER_COLUMNS);
    world.batch = (options & BATCH) != 0;
    world.portable = (options & PORTABLE) != 0;
    open_engine(&world.sides[0].engine, options & COLUMNS, (options & WHOLE_TICKERS) != 0);
    open_engine(&world.sides[1].engine, (options & COLUMNS) ^ ((options & OTHER_COLUMNS) >> 1),
                (options & WHOLE_TICKERS) != 0);
    fuzz_share(&world.shared, &world.sides[0].engine);
    const uint8_t *at = data + 1, *end = data + size;
    for (int steps = 0; at < end && steps < FUZZ_MAX_STEPS; steps++) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *stop = newline ? newline : end;
        if (stop > at)
            step(&world, at, (size_t)(stop - at));
        at = newline ? newline + 1 : end;
    }
    take_rows(&world);
    fuzz_unshare(&world.shared, &world.sides[0].engine);
    for (int i = 0; i < 2; i++) {
        tb_engine *engine = &world.sides[i].engine;
        int64_t counted = engine->controls + engine->unknown_topics;
        for (int k = 0; k < FUZZ_FEEDS; k++)
            counted += engine->feeds[k]->messages;
        for (int k = 0; k < TB_ERROR_COUNT; k++)
            counted += engine->undecodable[k];
        FUZZ_CHECK(counted == world.frames);
        fuzz_forget_models(&world.sides[i]);
        tb_engine_free(engine);
    }
    fuzz_total.executions++;
}

/* ---- for the driver ---- */

const uint8_t fuzz_separator = '\n';

uint64_t fuzz_executions(void)
{
    return fuzz_total.executions;
}

uint64_t fuzz_work(void)
{
    return fuzz_total.frames + fuzz_total.trades;
}

uint8_t fuzz_other_options(uint8_t options, uint64_t random)
{
    if (random % 4 == 0)
        options = (uint8_t)('0' + (random >> 8) % 16);
    return (random >> 16) % 3 == 0 ? options | PORTABLE : options & (uint8_t)~PORTABLE;
}

void fuzz_print_counts(void)
{
    const fuzz_counts *n = &fuzz_total;
    printf("executions=%" PRIu64 " frames=%" PRIu64 " applied=%" PRIu64 " unapplied=%" PRIu64 " undecodable=%" PRIu64
           " fast=%" PRIu64 " portable=%" PRIu64 " widened=%" PRIu64 " keyframes=%" PRIu64 " trades=%" PRIu64
           " tickers=%" PRIu64 "\n",
           n->executions, n->frames, n->applied, n->unapplied, n->undecodable, n->fast, n->portable, n->widened,
           n->keyframes, n->trades, n->tickers);
}
