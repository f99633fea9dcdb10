/* Live books in shared memory: see tb_shared.h, and tapebook_shared.h for the protocol. */
#include "tb_shared.h"

#include <stdlib.h>
#include <string.h>

#include "tb_internal.h"

#define SET(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELAXED)

_Static_assert(TAPEBOOK_EMPTY == (int)TB_EMPTY && TAPEBOOK_STALE == (int)TB_STALE, "one list of states");
_Static_assert(sizeof(tapebook_level) == sizeof(tb_level), "one kind of level");

void tb_shared_free(tb_shared *shared)
{
    free(shared->places);
    free(shared->touched);
    memset(shared, 0, sizeof *shared);
}

int tb_shared_reserve(tb_shared *shared, int32_t feeds)
{
    if (feeds <= shared->capacity)
        return 1;
    int32_t capacity = shared->capacity ? shared->capacity : 64;
    while (capacity < feeds)
        capacity *= 2;
    tb_place *places = realloc(shared->places, (size_t)capacity * sizeof *places);
    if (!places)
        return 0;
    shared->places = places;
    int32_t *touched = realloc(shared->touched, (size_t)capacity * sizeof *touched);
    if (!touched)
        return 0;
    shared->touched = touched;
    memset(places + shared->capacity, 0, (size_t)(capacity - shared->capacity) * sizeof *places);
    shared->capacity = capacity;
    return 1;
}

size_t tb_shared_book_bytes(uint32_t capacity)
{
    return sizeof(tapebook_book_file) + 2 * (size_t)capacity * sizeof(tapebook_level);
}

static int64_t now(const tb_shared *shared)
{
    struct timespec at;
    if (!shared->gettime || shared->gettime(shared->clock, &at) != 0)
        return shared->now_ns;
    return (int64_t)at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

static uint8_t cause_of(const tb_feed *feed)
{
    return feed->gap.open ? (uint8_t)(1 + feed->gap.cause) : 0;
}

/* ---- books ---- */

/* Best first: the core holds them the other way round. */
TB_INLINE void write_side(tapebook_level *out, const tb_side *side, int32_t count)
{
    const tb_level *from = side->levels + side->count;
    for (int32_t i = 0; i < count; i++) {
        from--;
        SET(out[i].price, from->price);
        SET(out[i].size, from->size);
    }
}

static void write_book(tb_shared *shared, tapebook_book_file *file, const tb_feed *feed, int64_t now_ns)
{
    const tb_book *book = &feed->book;
    const int32_t most = feed->depth < (int32_t)file->capacity ? feed->depth : (int32_t)file->capacity;
    const uint64_t lock = file->lock; /* nobody else writes it */
    tapebook_level *const levels = (tapebook_level *)(void *)((char *)file + sizeof *file);
    unsigned flags = (unsigned)tb_book_crossed(book) * TAPEBOOK_CROSSED + feed->ended * (unsigned)TAPEBOOK_ENDED;
    SET(file->lock, lock | 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    for (int s = 0; s < 2; s++) {
        const tb_side *side = &book->sides[s];
        const int32_t count = side->count < most ? side->count : most;
        const tb_level best = side->count ? side->levels[side->count - 1] : (tb_level){0, 0};
        flags |= side->count ? (unsigned)(s ? TAPEBOOK_HAS_ASK : TAPEBOOK_HAS_BID) : 0;
        SET(file->best[s].price, best.price);
        SET(file->best[s].size, best.size);
        SET(file->count[s], count);
        SET(file->held[s], side->count);
        write_side(levels + (s ? file->capacity : 0), side, count);
    }
    SET(file->state, (uint8_t)feed->state);
    SET(file->flags, (uint8_t)flags);
    SET(file->price_exponent, (int8_t)-book->price_decimals);
    SET(file->size_exponent, (int8_t)-book->size_decimals);
    SET(file->cause, cause_of(feed));
    SET(file->update_id, feed->update_id);
    SET(file->published_ns, now_ns);
    SET(file->cross_sequence, feed->cross_sequence);
    SET(file->match_ms, feed->match_ms);
    SET(file->push_ms, feed->push_ms);
    SET(file->receive_ns, feed->receive_ns);
    SET(file->record, feed->sequence);
    SET(file->digest, tb_book_digest(book));
    __atomic_store_n(&file->lock, (lock | 1) + 1, __ATOMIC_RELEASE);
    shared->published++;
}

/* ---- the tape ---- */

typedef struct {
    tapebook_tape_file *file;
    uint64_t position, bytes;
    uint64_t *at; /* where the next word goes */
} tb_entry;

/* Takes the room, which from here on no reader believes in. `bytes` is at most a quarter of the ring. */
static tb_entry begin_entry(tb_shared *shared, uint64_t bytes)
{
    tapebook_tape_file *file = shared->tape;
    const uint64_t ring = file->ring_bytes, left = ring - (shared->written & (ring - 1));
    uint64_t *data = (uint64_t *)(void *)((char *)file + sizeof *file);
    const uint64_t start = left < bytes ? shared->written + left : shared->written;
    SET(file->reserved, start + bytes);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    if (left < bytes) { /* entries are in one piece: the rest of the ring is passed by */
        const uint32_t padding[2] = {(uint32_t)left, TAPEBOOK_PADDING};
        uint64_t word;
        memcpy(&word, padding, sizeof word);
        SET(data[(shared->written & (ring - 1)) / 8], word);
    }
    const uint64_t sector = ring / TAPEBOOK_MARKS;
    if (start / sector != shared->sector) {
        shared->sector = start / sector;
        SET(file->marks[shared->sector % TAPEBOOK_MARKS], start);
    }
    return (tb_entry){file, start, bytes, data + (start & (ring - 1)) / 8};
}

static void put(tb_entry *entry, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i += 8) {
        uint64_t word;
        memcpy(&word, (const char *)bytes + i, 8);
        SET(*entry->at++, word);
    }
}

static void end_entry(tb_shared *shared, const tb_entry *entry)
{
    shared->written = entry->position + entry->bytes;
    shared->told++;
    SET(entry->file->entries, ++shared->entries);
    __atomic_store_n(&entry->file->written, shared->written, __ATOMIC_RELEASE);
}

static tapebook_entry head_of(const tb_shared *shared, const tb_feed *feed, int32_t index, int type, int64_t now_ns)
{
    return (tapebook_entry){
        .bytes = sizeof(tapebook_entry),
        .type = (uint8_t)type,
        .state = (uint8_t)feed->state,
        .cause = cause_of(feed),
        .ordinal = shared->entries + 1,
        .feed = index,
        .price_exponent = (int8_t)-feed->book.price_decimals,
        .size_exponent = (int8_t)-feed->book.size_decimals,
        .update_id = feed->update_id,
        .cross_sequence = feed->cross_sequence,
        .match_ms = feed->match_ms,
        .push_ms = feed->push_ms,
        .receive_ns = feed->receive_ns,
        .record = feed->sequence,
        .published_ns = now_ns,
    };
}

static void tell_state(tb_shared *shared, const tb_feed *feed, int32_t index, int64_t now_ns)
{
    tb_place *place = &shared->places[index];
    const uint8_t state = (uint8_t)feed->state, cause = cause_of(feed), ended = feed->ended;
    if (TB_LIKELY(place->state == state && place->cause == cause && place->ended == ended))
        return;
    place->state = state;
    place->cause = cause;
    place->ended = ended;
    if (!shared->tape)
        return;
    tapebook_entry head = head_of(shared, feed, index, TAPEBOOK_STATE_CHANGE, now_ns);
    head.flags = ended ? TAPEBOOK_FEED_IS_ENDED : 0;
    tb_entry entry = begin_entry(shared, head.bytes);
    put(&entry, &head, sizeof head);
    end_entry(shared, &entry);
}

/* Of levels in the message's order, at the pair in force. */
static void tell_levels(tb_shared *shared, const tb_feed *feed, int32_t index, const tb_frame *frame, int64_t now_ns)
{
    tapebook_entry head = head_of(shared, feed, index, TAPEBOOK_BOOK_CHANGE, now_ns);
    const uint64_t count = (uint64_t)frame->count[0] + (uint64_t)frame->count[1];
    const uint64_t bytes = sizeof head + count * sizeof(tapebook_level);
    const int fits = bytes <= shared->tape->ring_bytes / 4;
    head.flags = (uint8_t)((frame->kind == TB_SNAPSHOT ? TAPEBOOK_IS_SNAPSHOT : 0) | (fits ? 0 : TAPEBOOK_LEVELS_OMITTED));
    head.bytes = fits ? (uint32_t)bytes : (uint32_t)sizeof head;
    for (int s = 0; s < 2; s++)
        head.count[s] = fits ? (uint32_t)frame->count[s] : 0;
    tb_entry entry = begin_entry(shared, head.bytes);
    put(&entry, &head, sizeof head);
    for (int s = 0; s < 2 && fits; s++)
        for (int32_t i = 0; i < frame->count[s]; i++) {
            SET(entry.at[0], (uint64_t)frame->prices[s][i]);
            SET(entry.at[1], (uint64_t)frame->sizes[s][i]);
            entry.at += 2;
        }
    end_entry(shared, &entry);
}

/* The whole book, where no frame has told it. */
static void tell_book(tb_shared *shared, const tb_feed *feed, int32_t index, int64_t now_ns)
{
    tapebook_entry head = head_of(shared, feed, index, TAPEBOOK_BOOK_CHANGE, now_ns);
    const uint64_t count = (uint64_t)feed->book.sides[0].count + (uint64_t)feed->book.sides[1].count;
    const uint64_t bytes = sizeof head + count * sizeof(tapebook_level);
    const int fits = bytes <= shared->tape->ring_bytes / 4;
    head.flags = (uint8_t)(TAPEBOOK_IS_SNAPSHOT | (fits ? 0 : TAPEBOOK_LEVELS_OMITTED));
    head.bytes = fits ? (uint32_t)bytes : (uint32_t)sizeof head;
    for (int s = 0; s < 2; s++)
        head.count[s] = fits ? (uint32_t)feed->book.sides[s].count : 0;
    tb_entry entry = begin_entry(shared, head.bytes);
    put(&entry, &head, sizeof head);
    for (int s = 0; s < 2 && fits; s++) {
        write_side((tapebook_level *)(void *)entry.at, &feed->book.sides[s], feed->book.sides[s].count);
        entry.at += 2 * feed->book.sides[s].count;
    }
    end_entry(shared, &entry);
}

static void tell_trades(tb_engine *engine, int32_t index, int64_t now_ns)
{
    tb_shared *shared = engine->shared;
    const tb_feed *feed = engine->feeds[index];
    const tb_frame *frame = &engine->frame;
    const int named = feed->symbol < 0; /* options' trades come by their base coin */
    const size_t each = sizeof(tapebook_trade) + (named ? TAPEBOOK_SYMBOL_BYTES : 0);
    const uint64_t most = (shared->tape->ring_bytes / 4 - sizeof(tapebook_entry)) / each;
    int32_t from = 0;
    while (from < frame->trade_count) { /* one entry, but for very many */
        uint32_t count = 0;
        int32_t to = from;
        for (; to < frame->trade_count && count < most; to++)
            count += frame->trades[to].fresh;
        if (count) {
            tapebook_entry head = head_of(shared, feed, index, TAPEBOOK_TRADES, now_ns);
            head.flags = named ? TAPEBOOK_NAMES_SYMBOLS : 0;
            head.count[0] = count;
            head.bytes = (uint32_t)(sizeof head + count * each);
            tb_entry entry = begin_entry(shared, head.bytes);
            put(&entry, &head, sizeof head);
            for (int32_t i = from; i < to; i++) {
                const tb_trade *trade = &frame->trades[i];
                if (!trade->fresh)
                    continue;
                const tb_symbol *symbol = engine->symbols[trade->owner];
                const tapebook_trade told = {
                    trade->price, trade->size, trade->match_ms, trade->cross_sequence,
                    (int8_t)-symbol->price_decimals, (int8_t)-symbol->size_decimals,
                    (uint8_t)(trade->side * TAPEBOOK_SELL | (trade->is_block == 1) * TAPEBOOK_BLOCK | (trade->is_rpi == 1) * TAPEBOOK_RPI),
                    {0}};
                put(&entry, &told, sizeof told);
                if (named) {
                    char name[TAPEBOOK_SYMBOL_BYTES] = {0};
                    memcpy(name, symbol->name, symbol->name_length);
                    put(&entry, name, sizeof name);
                }
            }
            end_entry(shared, &entry);
        }
        from = to;
    }
}

/* ---- what is told, and when ---- */

static int is_known(const tb_shared *shared, int32_t index)
{
    return index >= 0 && index < shared->count && shared->places[index].known;
}

void tb_shared_touch(tb_shared *shared, int32_t index)
{
    if (!is_known(shared, index) || shared->places[index].touched)
        return;
    shared->places[index].touched = 1;
    shared->touched[shared->touched_count++] = index;
}

void tb_shared_touch_all(tb_shared *shared)
{
    for (int32_t i = 0; i < shared->count; i++)
        tb_shared_touch(shared, i);
}

void tb_shared_add(tb_engine *engine, int32_t index, tapebook_book_file *file)
{
    tb_shared *shared = engine->shared;
    const tb_feed *feed = engine->feeds[index];
    tb_place *place = &shared->places[index];
    if (shared->count <= index)
        shared->count = index + 1;
    *place = (tb_place){file, 1, place->touched, (uint8_t)feed->state, cause_of(feed), feed->ended};
    if (file)
        write_book(shared, file, feed, now(shared));
}

static void tell_touched(tb_engine *engine, int64_t now_ns)
{
    tb_shared *shared = engine->shared;
    for (int32_t i = 0; i < shared->touched_count; i++) {
        const int32_t index = shared->touched[i];
        tb_place *place = &shared->places[index];
        place->touched = 0;
        tell_state(shared, engine->feeds[index], index, now_ns);
        if (place->file)
            write_book(shared, place->file, engine->feeds[index], now_ns);
    }
    shared->touched_count = 0;
}

void tb_shared_tell(tb_engine *engine)
{
    tb_shared *shared = engine->shared;
    if (shared->touched_count)
        tell_touched(engine, now(shared));
}

void tb_shared_restated(tb_engine *engine, int32_t index)
{
    tb_shared *shared = engine->shared;
    const int64_t now_ns = now(shared);
    tb_shared_touch(shared, index);
    tell_touched(engine, now_ns);
    if (is_known(shared, index) && shared->tape)
        tell_book(shared, engine->feeds[index], index, now_ns);
}

void tb_shared_frame(tb_engine *engine, int32_t index, int64_t sequence)
{
    tb_shared *shared = engine->shared;
    if (!is_known(shared, index)) {
        tb_shared_tell(engine);
        return;
    }
    const int64_t now_ns = now(shared);
    const tb_feed *feed = engine->feeds[index];
    tb_place *place = &shared->places[index];
    const int is_good = feed->state == TB_LIVE && feed->sequence == sequence;
    tell_state(shared, feed, index, now_ns);
    if (is_good && feed->kind == TB_KIND_BOOK) {
        if (place->file)
            write_book(shared, place->file, feed, now_ns);
        if (shared->tape)
            tell_levels(shared, feed, index, &engine->frame, now_ns);
    } else if (is_good && feed->kind == TB_KIND_TRADES && shared->tape) {
        tell_trades(engine, index, now_ns);
    }
    if (shared->touched_count)
        tell_touched(engine, now_ns);
}
