#include "decoder.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exact.h"
#include "tb_decimal.h"
#include "tb_fast.h"
#include "tb_levels.h"

/* An input is three bytes of options, then what the first of them says: the text of a frame, a frame to be composed, the same
 * with a change to one byte, a number. */
enum { TEXT, COMPOSED, CHANGED, NUMBER };
enum { MODES = 3, LITTLE_ROOM = 4, ROWS_NAME_SYMBOLS = 8, NEW_BOOK = 16, ALL_ARE_CHANGES = 32, FIXED = 64, WIDEN = 128 };
#define OPTION_BYTES 3

#define FIXED_LEVELS 100 /* of one side, twice what the most common topic shows */
#define USUAL_ROOM 256 /* of a frame that has been used */
#define NUMBERS_A_SIDE 3 /* so many are read on their own too */

static struct {
    uint64_t executions, composed, data, books, levels, fast, fast_portably, only_vectors, only_portably, undecodable,
        controls, unsorted, doubled, too_wide, no_room, applied, changed, widened, trades, tickers, numbers, unsure;
} total;

typedef struct {
    unsigned price_decimals, size_decimals;
    int rows_name_symbols;
} circumstances;

typedef struct {
    circumstances now;
    fuzz_decoded vectors, portable, complete;
    int portable_judged; /* where it didn't take the frame, the complete decoder did so in its place */
    fuzz_frame_model model;
    tb_level levels[2][FUZZ_MAX_LEVELS]; /* of the model's frame, at the pair in force, as they came */
    fuzz_kept_book kept;
} fuzz_world;

/* ---- frames ------------------------------------------------------------------------------------------------- */

/* Everything that is named as the exchange names it is ours. Topics come from whoever subscribes: they are plain text. */
static int find(void *context, const tb_slice *topic, tb_route *route)
{
    static const struct {
        const char *prefix;
        int kind, dots; /* before the symbol */
    } kinds[3] = {{"orderbook.", TB_KIND_BOOK, 2}, {"publicTrade.", TB_KIND_TRADES, 1}, {"tickers.", TB_KIND_TICKER, 1}};
    const circumstances *now = context;
    for (uint32_t i = 0; i < topic->length; i++)
        if (topic->at[i] <= ' ' || topic->at[i] > '~' || topic->at[i] == '"' || topic->at[i] == '\\')
            return -1;
    for (int k = 0; k < 3; k++) {
        size_t n = strlen(kinds[k].prefix);
        if (topic->length <= n || memcmp(topic->at, kinds[k].prefix, n) != 0)
            continue;
        const uint8_t *symbol = topic->at + n, *end = topic->at + topic->length;
        if (kinds[k].dots == 2)
            symbol = memchr(symbol, '.', (size_t)(end - symbol));
        if (!symbol)
            return -1;
        symbol += kinds[k].dots == 2;
        if (symbol == end)
            return -1;
        route->symbol = (tb_slice){symbol, (uint32_t)(end - symbol), 0};
        if (kinds[k].kind == TB_KIND_TRADES && now->rows_name_symbols)
            route->symbol.length = 0;
        route->price_decimals = (uint8_t)now->price_decimals;
        route->size_decimals = (uint8_t)now->size_decimals;
        return kinds[k].kind;
    }
    return -1;
}

/* Room for so many levels, exactly. */
static void make_room(tb_frame *frame, int32_t levels)
{
    if (frame->capacity[0] == levels && frame->capacity[1] == levels && frame->prices[0])
        return;
    tb_frame_free(frame);
    for (int s = 0; s < 2 && levels; s++) {
        frame->prices[s] = malloc((size_t)levels * sizeof *frame->prices[s]);
        frame->sizes[s] = malloc((size_t)levels * sizeof *frame->sizes[s]);
        frame->decimals[s] = malloc((size_t)levels * 2);
        FUZZ_CHECK(frame->prices[s] && frame->sizes[s] && frame->decimals[s]);
        frame->capacity[s] = levels;
    }
}

static void decode_every_way(fuzz_world *world, const uint8_t *bytes, size_t length, int32_t room)
{
    fuzz_decoded *a = &world->vectors, *b = &world->portable, *c = &world->complete;
    make_room(&a->frame, room);
    make_room(&b->frame, room);
    make_room(&c->frame, room);
    /* every second length by the vectors that are not the widest */
    (void)tb_choose_levels_reader(length % 2 ? TB_LEVELS_AVX2 : TB_LEVELS_AVX512);
    a->error = tb_frame_decode(&a->frame, bytes, length, find, &world->now, &a->status);
    (void)tb_choose_levels_reader(TB_LEVELS_PORTABLE);
    b->frame.ready = (uint8_t)tb_fast_book(&b->frame, bytes, length, find, &world->now);
    (void)tb_choose_levels_reader(TB_LEVELS_AVX512);
    b->error = TB_OK;
    b->status = TB_FRAME_DATA;
    b->frame.drift = 0;
    world->portable_judged = b->frame.ready || a->frame.ready || length % 8 == 0;
    if (!b->frame.ready && world->portable_judged) /* what it left behind is mostly what the vectors left behind */
        b->error = tb_frame_decode_completely(&b->frame, bytes, length, find, &world->now, &b->status);
    c->error = tb_frame_decode_completely(&c->frame, bytes, length, find, &world->now, &c->status);
    fuzz_model_frame(&world->model, bytes, length, find, &world->now);
}

static void check_decoders(fuzz_world *world)
{
    const fuzz_decoded *complete = &world->complete;
    const fuzz_decoded *others[2] = {&world->vectors, &world->portable};
    fuzz_check_model(complete, &world->model);
    for (int i = 0; i < 1 + world->portable_judged; i++) {
        if (others[i]->frame.ready)
            fuzz_check_fast(others[i], complete, world->now.price_decimals, world->now.size_decimals);
        else
            fuzz_check_same(others[i], complete, world->model.feed_kind);
    }
}

static unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* The levels at the pair that is in force with this frame, from the model; 0 when one doesn't fit. */
static int levels_at(fuzz_world *world, unsigned price_decimals, unsigned size_decimals)
{
    for (int s = 0; s < 2; s++)
        for (int32_t i = 0; i < world->model.count[s]; i++) {
            const fuzz_level *level = &world->model.levels[s][i];
            tb_level *out = &world->levels[s][i];
            *out = (tb_level){0, 0};
            if (fuzz_mantissa(&level->price, price_decimals, &out->price) != 0 ||
                (level->size.digits && fuzz_mantissa(&level->size, size_decimals, &out->size) != 0))
                return 0;
        }
    return 1;
}

/* Brings the complete decoder's levels to the pair, as the engine does. */
static int rescale(tb_frame *f, unsigned price_decimals, unsigned size_decimals)
{
    for (int s = 0; s < 2; s++)
        for (int32_t i = 0; i < f->count[s]; i++)
            if (tb_rescale(&f->prices[s][i], price_decimals - f->decimals[s][2 * i]) != TB_OK ||
                (f->sizes[s][i] && tb_rescale(&f->sizes[s][i], size_decimals - f->decimals[s][2 * i + 1]) != TB_OK))
                return 0;
    return 1;
}

static void check_levels(const tb_frame *f, const fuzz_world *world)
{
    for (int s = 0; s < 2; s++)
        for (int32_t i = 0; i < f->count[s]; i++) {
            FUZZ_CHECK(f->prices[s][i] == world->levels[s][i].price);
            FUZZ_CHECK(f->sizes[s][i] == world->levels[s][i].size);
        }
}

static void check_sorting(const fuzz_world *world, tb_frame *f, int sorted[2], int *twice)
{
    static tb_level scratch[FUZZ_MAX_LEVELS], levels[FUZZ_MAX_LEVELS];
    for (int s = 0; s < 2; s++) {
        int32_t count = f->count[s];
        sorted[s] = fuzz_levels_sorted(world->levels[s], count, s);
        FUZZ_CHECK((tb_is_sorted(f->prices[s], count, s) != 0) == sorted[s]);
        if (sorted[s])
            continue;
        memcpy(levels, world->levels[s], (size_t)count * sizeof *levels);
        int expected = fuzz_sort_levels(levels, count, s);
        FUZZ_CHECK((tb_sort_changes(f->prices[s], f->sizes[s], count, s, scratch) != 0) == expected);
        *twice |= expected;
        for (int32_t i = 0; i < count; i++) {
            FUZZ_CHECK(f->prices[s][i] == levels[i].price);
            FUZZ_CHECK(expected || f->sizes[s][i] == levels[i].size);
        }
    }
}

static void on_book(fuzz_world *world, unsigned options)
{
    tb_frame *a = &world->vectors.frame, *b = &world->portable.frame, *c = &world->complete.frame;
    unsigned price = larger(world->now.price_decimals, c->price_decimals);
    unsigned size = larger(world->now.size_decimals, c->size_decimals);
    int fits = levels_at(world, price, size), sorted[2], twice = 0;
    FUZZ_CHECK(rescale(c, price, size) == fits);
    FUZZ_CHECK(fits || !(a->ready || b->ready));
    total.books++;
    total.levels += (uint64_t)c->count[0] + (uint64_t)c->count[1];
    total.fast += a->ready;
    total.fast_portably += b->ready;
    total.only_vectors += a->ready && !b->ready;
    total.only_portably += b->ready && !a->ready;
    total.too_wide += !fits;
    if (!fits)
        return;
    check_levels(c, world);
    if (a->ready)
        check_levels(a, world);
    if (b->ready)
        check_levels(b, world);
    check_sorting(world, c, sorted, &twice);
    FUZZ_CHECK((sorted[0] && sorted[1]) || !(a->ready || b->ready));
    total.unsorted += !sorted[0] || !sorted[1];
    total.doubled += twice != 0;
    if (twice)
        return;
    int replace = c->kind == TB_SNAPSHOT && !(options & ALL_ARE_CHANGES);
    int64_t changed = fuzz_apply(&world->kept, a->ready ? a : c, replace);
    total.no_room += changed < 0;
    total.applied += changed >= 0;
    total.changed += changed < 0 ? 0 : (uint64_t)changed;
}

/* ---- inputs ------------------------------------------------------------------------------------------------- */

/* A frame that the exchange could send at this pair: long enough, numbers of a usual length that fit, prices above 0. */
static int is_usual(const fuzz_world *world, size_t length, int32_t room)
{
    const fuzz_frame_model *model = &world->model;
    if (model->verdict != FUZZ_TAKEN || model->feed_kind != TB_KIND_BOOK || length < 256)
        return 0;
    for (int s = 0; s < 2; s++) {
        if (model->count[s] > room)
            return 0;
        for (int32_t i = 0; i < model->count[s]; i++) {
            const fuzz_level *level = &model->levels[s][i];
            if (level->price.digits <= 0 || level->price.negative || level->price.whole > 8 || level->price.places > 7 ||
                level->size.whole > 8 || level->size.places > 7 || level->price.places > world->now.price_decimals ||
                level->size.places > world->now.size_decimals || level->price.whole + world->now.price_decimals > 18 ||
                level->size.whole + world->now.size_decimals > 18)
                return 0;
        }
        if (!fuzz_levels_sorted(world->levels[s], model->count[s], s))
            return 0;
    }
    return model->update_id > 1000000 && model->update_id < INT64_C(1000000000000000);
}

static void on_frame(fuzz_world *world, const uint8_t *text, size_t length, unsigned options, int plain)
{
    /* little room: for as many levels as there are decimals of prices */
    int32_t room = options & LITTLE_ROOM ? (int32_t)world->now.price_decimals : USUAL_ROOM;
    const uint8_t *bytes = fuzz_expose(text, length);
    decode_every_way(world, bytes, length, room);
    check_decoders(world);
    const fuzz_frame_model *model = &world->model;
    const tb_error error = world->complete.error;
    total.unsure += model->verdict == FUZZ_UNSURE;
    total.undecodable += error != TB_OK;
    total.controls += error == TB_OK && world->complete.status != TB_FRAME_DATA;
    if (error != TB_OK || world->complete.status != TB_FRAME_DATA || model->verdict != FUZZ_TAKEN)
        return;
    total.data++;
    total.trades += model->feed_kind == TB_KIND_TRADES ? (uint64_t)world->complete.frame.trade_count : 0;
    total.tickers += model->feed_kind == TB_KIND_TICKER;
    if (model->feed_kind != TB_KIND_BOOK)
        return;
    for (int s = 0; s < 2; s++)
        for (int32_t i = 0; i < model->count[s] && i < NUMBERS_A_SIDE; i++) {
            const tb_slice *price = &model->levels[s][i].price_text, *size = &model->levels[s][i].size_text;
            fuzz_check_number(price->at, price->at + price->length, world->now.price_decimals);
            fuzz_check_number(size->at, size->at + size->length, world->now.size_decimals);
        }
    on_book(world, options);
    if (plain && is_usual(world, length, room))
        FUZZ_CHECK(world->vectors.frame.ready && world->portable.frame.ready);
}

/* Replaces, puts in or takes out one byte, or cuts everything from there: the two bits on top of the place. */
static void change(fuzz_text *text, unsigned place, uint8_t byte)
{
    size_t at = text->length ? (place & 0x3FFF) % text->length : 0;
    if (text->length == 0 || text->length == FUZZ_MAX_FRAME)
        return;
    switch (place >> 14) {
    case 0: text->bytes[at] = byte; break;
    case 1:
        memmove(text->bytes + at + 1, text->bytes + at, text->length - at);
        text->bytes[at] = byte;
        text->length++;
        break;
    case 2:
        memmove(text->bytes + at, text->bytes + at + 1, text->length - at - 1);
        text->length--;
        break;
    default: text->length = at; break;
    }
}

void fuzz_run(const uint8_t *data, size_t size)
{
    static fuzz_world world;
    static uint8_t room[FUZZ_MAX_FRAME];
    fuzz_text text = {room, 0};
    if (size < OPTION_BYTES || size > FUZZ_MAX_INPUT)
        return;
    const unsigned options = data[0];
    /* '0' is none */
    world.now.price_decimals = (uint8_t)(data[1] - '0') % (TB_MAX_DECIMALS + 1);
    world.now.size_decimals = (uint8_t)(data[2] - '0') % (TB_MAX_DECIMALS + 1);
    world.now.rows_name_symbols = (options & ROWS_NAME_SYMBOLS) != 0;
    const tb_side *sides = world.kept.book.sides;
    if (options & NEW_BOOK)
        fuzz_new_book(&world.kept, options & FIXED ? FIXED_LEVELS : 0);
    else if (sides[0].count > FUZZ_BOOK_LEVELS || sides[1].count > FUZZ_BOOK_LEVELS)
        fuzz_clear_book(&world.kept);
    data += OPTION_BYTES;
    size -= OPTION_BYTES;
    switch (options & MODES) {
    case TEXT: on_frame(&world, data, size, options, 0); break;
    case COMPOSED: {
        int plain = fuzz_compose_frame(&text, data, size);
        on_frame(&world, text.bytes, text.length, options, plain);
        total.composed++;
        break;
    }
    case CHANGED:
        if (size >= 3) {
            (void)fuzz_compose_frame(&text, data + 3, size - 3);
            change(&text, (unsigned)data[0] << 8 | data[1], data[2]);
            on_frame(&world, text.bytes, text.length, options, 0);
            total.composed++;
        }
        break;
    default: {
        const uint8_t *bytes = fuzz_expose(data, size);
        fuzz_check_number(bytes, bytes + size, world.now.price_decimals + world.now.size_decimals);
        total.numbers++;
        break;
    }
    }
    if (options & WIDEN)
        total.widened += (uint64_t)fuzz_widen(&world.kept, world.now.price_decimals);
    total.executions++;
}

/* ---- for the driver ---- */

const uint8_t fuzz_separator = ',';

uint64_t fuzz_executions(void)
{
    return total.executions;
}

/* What reaches the book is worth more than what is refused. */
uint64_t fuzz_work(void)
{
    return total.applied;
}

/* The mode stays what it is; every other option is rare. */
uint8_t fuzz_other_options(uint8_t options, uint64_t random)
{
    uint64_t flags = (random >> 8) & (random >> 16) & (random >> 24) & 0xFF & ~(uint64_t)MODES;
    return random % 4 ? options : (uint8_t)((options & MODES) | flags);
}

void fuzz_print_counts(void)
{
    printf("executions=%" PRIu64 " composed=%" PRIu64 " data=%" PRIu64 " books=%" PRIu64 " levels=%" PRIu64
           " fast=%" PRIu64 " fast_portably=%" PRIu64 " only_vectors=%" PRIu64 " only_portably=%" PRIu64
           " undecodable=%" PRIu64 " controls=%" PRIu64 " unsorted=%" PRIu64 " doubled=%" PRIu64 " too_wide=%" PRIu64
           " no_room=%" PRIu64 " applied=%" PRIu64 " changed=%" PRIu64 " widened=%" PRIu64 " trades=%" PRIu64 " tickers=%" PRIu64
           " numbers=%" PRIu64 " unsure=%" PRIu64 "\n",
           total.executions, total.composed, total.data, total.books, total.levels, total.fast, total.fast_portably,
           total.only_vectors, total.only_portably, total.undecodable, total.controls, total.unsorted, total.doubled,
           total.too_wide, total.no_room, total.applied, total.changed, total.widened, total.trades, total.tickers, total.numbers,
           total.unsure);
}
