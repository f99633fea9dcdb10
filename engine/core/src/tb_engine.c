#include "tb_engine.h"

#include <stdlib.h>
#include <string.h>

#include "tb_decimal.h"

#define MAX_PENDING_EVENTS 1000000
#define DAY_MS INT64_C(86400000)

/* ---- tables ------------------------------------------------------------------------------------------------ */

static uint64_t hash_bytes(const uint8_t *p, size_t n, uint64_t seed)
{
    uint64_t h = seed ^ (n * UINT64_C(0x9E3779B97F4A7C15));
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = (h ^ word) * UINT64_C(0xBF58476D1CE4E5B9);
        h ^= h >> 32;
        p += 8;
        n -= 8;
    }
    if (n) {
        uint64_t word = 0;
        memcpy(&word, p, n);
        h = (h ^ word) * UINT64_C(0x94D049BB133111EB);
        h ^= h >> 29;
    }
    h *= UINT64_C(0xD6E8FEB86659FD93);
    return h ^ h >> 32;
}

static int grow_table(tb_table *table)
{
    int32_t capacity = table->capacity ? table->capacity * 2 : 64;
    tb_slot *slots = malloc((size_t)capacity * sizeof *slots);
    if (!slots)
        return 0;
    for (int32_t i = 0; i < capacity; i++)
        slots[i].index = -1;
    for (int32_t i = 0; i < table->capacity; i++)
        if (table->slots[i].index >= 0) {
            uint32_t at = table->slots[i].hash & (uint32_t)(capacity - 1);
            while (slots[at].index >= 0)
                at = (at + 1) & (uint32_t)(capacity - 1);
            slots[at] = table->slots[i];
        }
    free(table->slots);
    table->slots = slots;
    table->capacity = capacity;
    return 1;
}

static int table_put(tb_table *table, uint32_t hash, int32_t index)
{
    if (2 * (table->count + 1) > table->capacity && !grow_table(table))
        return 0;
    uint32_t mask = (uint32_t)(table->capacity - 1), at = hash & mask;
    while (table->slots[at].index >= 0)
        at = (at + 1) & mask;
    table->slots[at].hash = hash;
    table->slots[at].index = index;
    table->count++;
    return 1;
}

int32_t tb_engine_find_feed(const tb_engine *engine, const uint8_t *topic, size_t length)
{
    const tb_table *table = &engine->feed_table;
    if (!table->capacity)
        return -1;
    uint32_t hash = (uint32_t)hash_bytes(topic, length, 1), mask = (uint32_t)(table->capacity - 1);
    for (uint32_t at = hash & mask; table->slots[at].index >= 0; at = (at + 1) & mask)
        if (table->slots[at].hash == hash) {
            const tb_feed *feed = engine->feeds[table->slots[at].index];
            if (feed->topic_length == length && memcmp(feed->topic, topic, length) == 0)
                return table->slots[at].index;
        }
    return -1;
}

static int grow_pointers(void ***array, int32_t count, int32_t *capacity, int32_t limit)
{
    if (count < *capacity)
        return 1;
    if (count >= limit)
        return 0;
    int32_t wanted = *capacity ? *capacity * 2 : 16;
    void **grown = realloc(*array, (size_t)wanted * sizeof **array);
    if (!grown)
        return 0;
    *array = grown;
    *capacity = wanted;
    return 1;
}

int32_t tb_engine_symbol(tb_engine *engine, const uint8_t *name, size_t length)
{
    tb_table *table = &engine->symbol_table;
    uint32_t hash = (uint32_t)hash_bytes(name, length, 2);
    if (table->capacity) {
        uint32_t mask = (uint32_t)(table->capacity - 1);
        for (uint32_t at = hash & mask; table->slots[at].index >= 0; at = (at + 1) & mask)
            if (table->slots[at].hash == hash) {
                const tb_symbol *symbol = engine->symbols[table->slots[at].index];
                if (symbol->name_length == length && memcmp(symbol->name, name, length) == 0)
                    return table->slots[at].index;
            }
    }
    if (length == 0 || length > TB_SYMBOL_BYTES ||
        !grow_pointers((void ***)&engine->symbols, engine->symbol_count, &engine->symbol_capacity, TB_MAX_SYMBOLS))
        return -1;
    tb_symbol *symbol = calloc(1, sizeof *symbol);
    if (!symbol)
        return -1;
    memcpy(symbol->name, name, length);
    symbol->name_length = (uint32_t)length;
    symbol->first_feed = -1;
    if (!table_put(table, hash, engine->symbol_count)) {
        free(symbol);
        return -1;
    }
    engine->symbols[engine->symbol_count] = symbol;
    return engine->symbol_count++;
}

int32_t tb_engine_add_feed(tb_engine *engine, const char *topic, size_t topic_length, int kind, int32_t depth,
                           const char *symbol, size_t symbol_length)
{
    int32_t found = tb_engine_find_feed(engine, (const uint8_t *)topic, topic_length);
    if (found >= 0)
        return found;
    if (topic_length == 0 || topic_length > TB_TOPIC_BYTES ||
        !grow_pointers((void ***)&engine->feeds, engine->feed_count, &engine->feed_capacity, TB_MAX_FEEDS))
        return -1;
    int32_t symbol_index = -1;
    if (symbol_length && (symbol_index = tb_engine_symbol(engine, (const uint8_t *)symbol, symbol_length)) < 0)
        return -1;
    tb_feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return -1;
    memcpy(feed->topic, topic, topic_length);
    feed->topic_length = (uint32_t)topic_length;
    feed->kind = kind;
    feed->depth = depth;
    feed->symbol = symbol_index;
    feed->next_of_symbol = -1;
    feed->update_id = feed->cross_sequence = feed->match_ms = feed->push_ms = feed->receive_ns = feed->sequence =
        feed->last_receive_ns = feed->first_receive_ns = feed->first_sequence = TB_NONE;
    feed->file_day = TB_NO_DAY;
    feed->last_row = -1;
    tb_book_init(&feed->book);
    int32_t index = engine->feed_count;
    if (kind == TB_KIND_TRADES) {
        feed->trade_ids = calloc(1, sizeof *feed->trade_ids);
        if (feed->trade_ids)
            memset(feed->trade_ids->heads, 0xFF, sizeof feed->trade_ids->heads);
    } else if (kind == TB_KIND_TICKER) {
        feed->ticker = calloc(1, sizeof *feed->ticker);
    }
    if ((kind == TB_KIND_TRADES && !feed->trade_ids) || (kind == TB_KIND_TICKER && !feed->ticker) ||
        !table_put(&engine->feed_table, (uint32_t)hash_bytes((const uint8_t *)topic, topic_length, 1), index)) {
        free(feed->trade_ids);
        free(feed->ticker);
        free(feed);
        return -1;
    }
    if (symbol_index >= 0) {
        tb_symbol *owner = engine->symbols[symbol_index];
        feed->next_of_symbol = owner->first_feed;
        owner->first_feed = index;
        feed->book.price_decimals = owner->price_decimals;
        feed->book.size_decimals = owner->size_decimals;
    }
    engine->feeds[index] = feed;
    engine->feed_count++;
    return index;
}

void tb_engine_init(tb_engine *engine, int columns)
{
    memset(engine, 0, sizeof *engine);
    engine->columns = columns;
    engine->found = -1;
}

void tb_engine_free(tb_engine *engine)
{
    for (int32_t i = 0; i < engine->feed_count; i++) {
        tb_book_free(&engine->feeds[i]->book);
        free(engine->feeds[i]->ticker);
        free(engine->feeds[i]->trade_ids);
        free(engine->feeds[i]);
    }
    for (int32_t i = 0; i < engine->symbol_count; i++) {
        tb_rows_free(&engine->symbols[i]->rows);
        free(engine->symbols[i]);
    }
    free(engine->feeds);
    free(engine->symbols);
    free(engine->feed_table.slots);
    free(engine->symbol_table.slots);
    free(engine->lines);
    free(engine->events);
    tb_frame_free(&engine->frame);
    tb_book_free(&engine->aside);
    memset(engine, 0, sizeof *engine);
}

/* ---- events and gaps --------------------------------------------------------------------------------------- */

/* Where and when: of the record being applied. */
typedef struct {
    int64_t sequence, receive_ns;
    uint16_t line;
} tb_stamp;

static tb_event *push_event(tb_engine *engine, int type, int32_t feed, tb_stamp at)
{
    static tb_event lost;
    if (engine->event_count == engine->event_capacity) {
        int32_t capacity = engine->event_capacity ? engine->event_capacity * 2 : 64;
        tb_event *events =
            capacity > MAX_PENDING_EVENTS ? NULL : realloc(engine->events, (size_t)capacity * sizeof *events);
        if (!events) {
            engine->events_lost++;
            return &lost;
        }
        engine->events = events;
        engine->event_capacity = capacity;
    }
    tb_event *event = &engine->events[engine->event_count++];
    memset(event, 0, sizeof *event);
    event->type = type;
    event->feed = feed;
    event->symbol = feed >= 0 ? engine->feeds[feed]->symbol : -1;
    event->line = at.line;
    event->sequence = at.sequence;
    event->receive_ns = at.receive_ns;
    event->match_ms = event->first_update_id = event->last_update_id = event->start_match_ms = event->update_id =
        TB_NONE;
    return event;
}

tb_line *tb_engine_line(tb_engine *engine, uint16_t line)
{
    if (line >= engine->line_count) {
        tb_line *lines = realloc(engine->lines, ((size_t)line + 1) * sizeof *lines);
        if (!lines)
            return NULL;
        memset(lines + engine->line_count, 0, ((size_t)line + 1 - (size_t)engine->line_count) * sizeof *lines);
        for (int32_t i = engine->line_count; i <= line; i++)
            lines[i].good_ns = lines[i].damage_sequence = TB_NONE;
        engine->lines = lines;
        engine->line_count = line + 1;
    }
    return &engine->lines[line];
}

static int has_consecutive_ids(const tb_feed *feed)
{
    return feed->kind == TB_KIND_BOOK && feed->depth > 1;
}

/* A gap from the last good frame on; or, when there was none, from what could not be used. */
static void open_gap(tb_engine *engine, int32_t index, int cause, int64_t first_update_id, int64_t match_ms,
                     tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    if (feed->gap.open)
        return;
    int known = feed->state == TB_LIVE && feed->receive_ns != TB_NONE;
    feed->gap.open = 1;
    feed->gap.cause = cause;
    feed->gap.first_update_id = first_update_id;
    feed->gap.start_ns = known ? feed->receive_ns : at.receive_ns;
    feed->gap.start_match_ms = known ? feed->match_ms : match_ms;
    tb_event *event = push_event(engine, TB_EVENT_GAP_OPENED, index, at);
    event->detail = cause;
    event->first_update_id = first_update_id;
    event->start_ns = feed->gap.start_ns;
    event->start_match_ms = feed->gap.start_match_ms;
}

static void make_stale(tb_engine *engine, int32_t index, int cause, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    int known = has_consecutive_ids(feed) && feed->update_id != TB_NONE;
    open_gap(engine, index, cause, known ? feed->update_id + 1 : TB_NONE, TB_NONE, at);
    feed->state = TB_STALE;
    feed->crossed = 0;
}

static void close_gap(tb_engine *engine, int32_t index, tb_gap *gap, int healer, int64_t last_update_id,
                      int64_t match_ms, tb_stamp at)
{
    if (!gap->open)
        return;
    tb_event *event = push_event(engine, TB_EVENT_GAP_CLOSED, index, at);
    event->detail = gap->cause;
    event->healer = healer;
    event->first_update_id = gap->first_update_id;
    event->last_update_id = last_update_id;
    event->start_ns = gap->start_ns;
    event->start_match_ms = gap->start_match_ms;
    event->match_ms = match_ms;
    gap->open = 0;
}

/* Best effort on damaged bytes: the first `"topic":"..."` that names a feed of ours. */
static int32_t blame(const tb_engine *engine, const uint8_t *bytes, size_t length)
{
    static const char mark[] = "\"topic\":\"";
    const size_t mark_length = sizeof mark - 1;
    const uint8_t *p = bytes, *end = bytes + length;
    while ((size_t)(end - p) > mark_length) {
        const uint8_t *hit = memchr(p, '"', (size_t)(end - p) - mark_length);
        if (!hit)
            return -1;
        if (memcmp(hit, mark, mark_length) != 0) {
            p = hit + 1;
            continue;
        }
        const uint8_t *topic = hit + mark_length, *quote = memchr(topic, '"', (size_t)(end - topic));
        if (!quote)
            return -1;
        int32_t feed = tb_engine_find_feed(engine, topic, (size_t)(quote - topic));
        if (feed >= 0)
            return feed;
        p = topic;
    }
    return -1;
}

static int32_t undecodable(tb_engine *engine, int32_t index, tb_error error, tb_stamp at)
{
    engine->undecodable[error]++;
    tb_event *event = push_event(engine, TB_EVENT_UNDECODABLE, index, at);
    event->detail = error;
    if (index >= 0) {
        tb_feed *feed = engine->feeds[index];
        if (feed->state == TB_LIVE)
            make_stale(engine, index, TB_CAUSE_UNDECODABLE, at);
        else
            open_gap(engine, index, TB_CAUSE_UNDECODABLE, TB_NONE, TB_NONE, at);
    } else {
        tb_line *line = tb_engine_line(engine, at.line);
        engine->unattributed++;
        if (line) {
            line->damage_sequence = at.sequence;
            if (!line->gap.open) {
                line->gap.open = 1;
                line->gap.cause = TB_CAUSE_UNDECODABLE;
                line->gap.first_update_id = line->gap.start_match_ms = TB_NONE;
                line->gap.start_ns = line->good_ns != TB_NONE ? line->good_ns : at.receive_ns;
                event = push_event(engine, TB_EVENT_GAP_OPENED, -1, at);
                event->detail = TB_CAUSE_UNDECODABLE;
                event->start_ns = line->gap.start_ns;
            }
        }
    }
    return TB_RESULT_UNDECODABLE;
}

/* ---- exponents --------------------------------------------------------------------------------------------- */

static tb_error can_widen(const tb_engine *engine, const tb_symbol *symbol, unsigned price, unsigned size)
{
    if (price <= symbol->price_decimals && size <= symbol->size_decimals)
        return TB_OK;
    for (int32_t i = symbol->first_feed; i >= 0; i = engine->feeds[i]->next_of_symbol)
        if (tb_book_can_widen(&engine->feeds[i]->book, price, size) != TB_OK)
            return TB_DECIMAL;
    return TB_OK;
}

static void widen(tb_engine *engine, int32_t index, unsigned price, unsigned size, tb_stamp at)
{
    tb_symbol *symbol = engine->symbols[index];
    if (price == symbol->price_decimals && size == symbol->size_decimals)
        return;
    for (int32_t i = symbol->first_feed; i >= 0; i = engine->feeds[i]->next_of_symbol)
        tb_book_widen(&engine->feeds[i]->book, price, size);
    symbol->price_decimals = (uint8_t)price;
    symbol->size_decimals = (uint8_t)size;
    tb_event *event = push_event(engine, TB_EVENT_WIDENED, -1, at);
    event->symbol = index;
    event->price_decimals = (uint8_t)price;
    event->size_decimals = (uint8_t)size;
}

static unsigned max_of(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

tb_error tb_engine_widen(tb_engine *engine, int32_t index, unsigned price, unsigned size, int64_t sequence,
                         int64_t receive_ns)
{
    tb_symbol *symbol = engine->symbols[index];
    tb_stamp at = {sequence, receive_ns, 0};
    if (price > TB_MAX_DECIMALS || size > TB_MAX_DECIMALS)
        return TB_DECIMAL;
    price = max_of(price, symbol->price_decimals);
    size = max_of(size, symbol->size_decimals);
    tb_error error = can_widen(engine, symbol, price, size);
    if (error == TB_OK)
        widen(engine, index, price, size, at);
    return error;
}

/* ---- update ids seen in this chain -------------------------------------------------------------------------- */

static int seen(const tb_feed *feed, int64_t u)
{
    for (int32_t i = feed->seen_count; i-- > 0;)
        if (u >= feed->seen[i].low && u <= feed->seen[i].high)
            return 1;
    return 0;
}

static void remember(tb_feed *feed, int64_t u)
{
    for (int32_t i = feed->seen_count; i-- > 0;) {
        if (u == feed->seen[i].high + 1) {
            feed->seen[i].high = u;
            return;
        }
        if (u == feed->seen[i].low - 1) {
            feed->seen[i].low = u;
            return;
        }
    }
    if (feed->seen_count == TB_SEEN_RANGES) {
        memmove(feed->seen, feed->seen + 1, (TB_SEEN_RANGES - 1) * sizeof feed->seen[0]);
        feed->seen_count--;
    }
    feed->seen[feed->seen_count].low = feed->seen[feed->seen_count].high = u;
    feed->seen_count++;
}

int tb_remember_trade(tb_trade_ids *ids, const uint64_t hash[2])
{
    int16_t *head = &ids->heads[hash[0] & (2 * TB_TRADE_IDS - 1)];
    for (int16_t i = *head; i >= 0; i = ids->next[i])
        if (ids->hash[i][0] == hash[0] && ids->hash[i][1] == hash[1])
            return 0;
    int16_t slot = (int16_t)ids->at;
    if (ids->count == TB_TRADE_IDS) { /* forget the oldest */
        int16_t *link = &ids->heads[ids->hash[slot][0] & (2 * TB_TRADE_IDS - 1)];
        while (*link != slot)
            link = &ids->next[*link];
        *link = ids->next[slot];
    } else {
        ids->count++;
    }
    head = &ids->heads[hash[0] & (2 * TB_TRADE_IDS - 1)];
    ids->hash[slot][0] = hash[0];
    ids->hash[slot][1] = hash[1];
    ids->next[slot] = *head;
    *head = slot;
    ids->at = (ids->at + 1) % TB_TRADE_IDS;
    return 1;
}

/* ---- rows -------------------------------------------------------------------------------------------------- */

static int32_t day_of(int64_t ms)
{
    return (int32_t)(ms / DAY_MS);
}

/* Appends the levels, then the row, so that a row without its levels can't be. */
static tb_book_row *book_row(tb_engine *engine, tb_feed *feed, const tb_changes changes[2], tb_stamp at)
{
    tb_rows *rows = &engine->symbols[feed->symbol]->rows;
    tb_book_row *row = tb_buffer_reserve(&rows->books, sizeof *row);
    for (int s = 0; s < 2; s++)
        for (int half = 0; half < 2; half++)
            if (!tb_buffer_reserve(&rows->levels[2 * s + half], (size_t)changes[s].count * 8))
                return NULL;
    if (!row)
        return NULL;
    for (int s = 0; s < 2; s++) {
        int64_t *prices = (int64_t *)(void *)(rows->levels[2 * s].bytes + rows->levels[2 * s].used);
        int64_t *sizes = (int64_t *)(void *)(rows->levels[2 * s + 1].bytes + rows->levels[2 * s + 1].used);
        for (int32_t i = 0; i < changes[s].count; i++) {
            prices[i] = changes[s].levels[i].price;
            sizes[i] = changes[s].levels[i].size;
        }
        rows->levels[2 * s].used += (size_t)changes[s].count * 8;
        rows->levels[2 * s + 1].used += (size_t)changes[s].count * 8;
    }
    memset(row, 0, sizeof *row);
    row->sequence = at.sequence;
    row->receive_ns = at.receive_ns;
    row->line = at.line;
    row->bids = changes[0].count;
    row->asks = changes[1].count;
    row->depth = (int16_t)feed->depth;
    row->price_exponent = (int8_t)-feed->book.price_decimals;
    row->size_exponent = (int8_t)-feed->book.size_decimals;
    row->day = feed->file_day;
    rows->books.used += sizeof *row;
    return row;
}

/* The whole book as it stands, under the stamps of the feed's last good frame. */
static void keyframe(tb_engine *engine, int32_t index)
{
    tb_feed *feed = engine->feeds[index];
    tb_rows *rows = &engine->symbols[feed->symbol]->rows;
    const tb_changes none[2] = {{NULL, 0, 1}, {NULL, 0, 1}};
    tb_stamp at = {feed->sequence, feed->receive_ns, feed->line};
    for (int s = 0; s < 2; s++)
        for (int half = 0; half < 2; half++)
            if (!tb_buffer_reserve(&rows->levels[2 * s + half], (size_t)feed->book.sides[s].count * 8)) {
                engine->rows_lost++;
                return;
            }
    tb_book_row *row = book_row(engine, feed, none, at);
    if (!row) {
        engine->rows_lost++;
        return;
    }
    for (int s = 0; s < 2; s++) {
        int32_t count = feed->book.sides[s].count;
        int64_t *prices = (int64_t *)(void *)(rows->levels[2 * s].bytes + rows->levels[2 * s].used);
        int64_t *sizes = (int64_t *)(void *)(rows->levels[2 * s + 1].bytes + rows->levels[2 * s + 1].used);
        for (int32_t i = 0; i < count; i++) {
            tb_level level = tb_book_level(&feed->book, s, i);
            prices[i] = level.price;
            sizes[i] = level.size;
        }
        rows->levels[2 * s].used += (size_t)count * 8;
        rows->levels[2 * s + 1].used += (size_t)count * 8;
    }
    row->bids = feed->book.sides[0].count;
    row->asks = feed->book.sides[1].count;
    row->push_ms = feed->push_ms;
    row->match_ms = feed->match_ms;
    row->update_id = feed->update_id;
    row->cross_sequence = feed->cross_sequence;
    row->kind = TB_KEYFRAME;
    row->applied = 1;
    row->feed = index;
    feed->keyframe_push_ms = feed->push_ms;
    feed->changed = 0;
}

/* Called before the frame changes anything: a file's part of a feed begins with a full book. */
static void begin_file(tb_engine *engine, int32_t index, const tb_frame *frame)
{
    tb_feed *feed = engine->feeds[index];
    int32_t day = day_of(frame->push_ms);
    if (!engine->columns || feed->file_day == day)
        return;
    feed->file_day = day;
    if (feed->state == TB_LIVE && frame->kind == TB_DELTA)
        keyframe(engine, index);
}

static void frame_row(tb_engine *engine, int32_t index, const tb_frame *frame, const tb_changes changes[2],
                      int applied, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    feed->rows++;
    feed->unapplied += !applied;
    if (!engine->columns)
        return;
    tb_book_row *row = book_row(engine, feed, changes, at);
    if (!row) {
        engine->rows_lost++;
        return;
    }
    row->push_ms = frame->push_ms;
    row->match_ms = frame->match_ms;
    row->update_id = frame->update_id;
    row->cross_sequence = frame->cross_sequence;
    row->kind = (uint8_t)frame->kind;
    row->applied = (uint8_t)applied;
    row->feed = index;
    feed->last_row = (int64_t)(engine->symbols[feed->symbol]->rows.books.used / sizeof *row) - 1;
}

int tb_engine_set_digest(tb_engine *engine, int32_t index, int64_t update_id, uint64_t digest)
{
    tb_feed *feed = engine->feeds[index];
    if (feed->last_row < 0 || feed->symbol < 0)
        return 0;
    tb_buffer *books = &engine->symbols[feed->symbol]->rows.books;
    if ((size_t)feed->last_row * sizeof(tb_book_row) >= books->used)
        return 0;
    tb_book_row *row = (tb_book_row *)(void *)books->bytes + feed->last_row;
    if (row->update_id != update_id || row->feed != index)
        return 0;
    row->digest = digest;
    row->has_digest = 1;
    return 1;
}

/* ---- books ------------------------------------------------------------------------------------------------- */

/* Brings the frame's levels to the pair in force and finds out whether they come sorted. */
static tb_error normalise(tb_frame *frame, int s, unsigned price_decimals, unsigned size_decimals, tb_changes *out)
{
    tb_level *levels = frame->levels[s];
    const uint8_t *decimals = frame->decimals[s];
    int32_t count = frame->count[s];
    int sorted = 1;
    out->levels = levels;
    out->count = count;
    out->sorted = 1;
    /* the pair can't have changed since the frame was decoded, but it may be about to, by the other side */
    if (TB_LIKELY(frame->ready[s] && price_decimals == frame->expected_price && size_decimals == frame->expected_size))
        return TB_OK;
    for (int32_t i = 0; i < count; i++) {
        unsigned price = decimals[2 * i], size = decimals[2 * i + 1];
        if (TB_UNLIKELY(price != price_decimals) && tb_rescale(&levels[i].price, price_decimals - price) != TB_OK)
            return TB_DECIMAL;
        if (TB_UNLIKELY(size != size_decimals) && levels[i].size &&
            tb_rescale(&levels[i].size, size_decimals - size) != TB_OK)
            return TB_DECIMAL;
        if (i && TB_UNLIKELY(s ? levels[i].price <= levels[i - 1].price : levels[i].price >= levels[i - 1].price))
            sorted = 0;
    }
    out->sorted = sorted;
    return TB_OK;
}

/* Unsorted levels are legal, a price twice is not. The row keeps the message's order, so a copy is sorted. */
static tb_error check_unsorted(const tb_changes changes[2])
{
    for (int s = 0; s < 2; s++) {
        if (TB_LIKELY(changes[s].sorted))
            continue;
        tb_level *copy = malloc((size_t)changes[s].count * sizeof *copy);
        if (!copy)
            return TB_NO_MEMORY;
        memcpy(copy, changes[s].levels, (size_t)changes[s].count * sizeof *copy);
        int twice = tb_sort_changes(copy, changes[s].count, s);
        free(copy);
        if (twice)
            return TB_DUPLICATE_LEVEL;
    }
    return TB_OK;
}

static int overflown(const tb_feed *feed)
{
    return feed->book.sides[0].count > 2 * feed->depth || feed->book.sides[1].count > 2 * feed->depth;
}

static void count_message(tb_feed *feed, tb_stamp at)
{
    if (TB_UNLIKELY(feed->messages++ == 0)) {
        feed->first_receive_ns = at.receive_ns;
        feed->first_sequence = at.sequence;
    }
    feed->last_receive_ns = at.receive_ns;
}

static void good_frame(tb_engine *engine, tb_feed *feed, const tb_frame *frame, tb_stamp at)
{
    feed->cross_sequence = frame->cross_sequence;
    feed->match_ms = frame->match_ms;
    feed->push_ms = frame->push_ms;
    feed->receive_ns = at.receive_ns;
    feed->sequence = at.sequence;
    feed->line = at.line;
}

/* Only a feed that was crossed already, or whose sides may grow beyond what is kept, can be refused after the fact:
 * then the last good book is kept aside, so that a frame that is refused leaves no trace in it. */
static tb_error keep_aside(tb_engine *engine, const tb_feed *feed, const tb_changes changes[2], int replace, int *kept)
{
    *kept = feed->crossed && !replace;
    for (int s = 0; s < 2; s++)
        *kept |= (replace ? 0 : feed->book.sides[s].count) + changes[s].count > 2 * feed->depth;
    return TB_LIKELY(!*kept) ? TB_OK : tb_book_copy(&engine->aside, &feed->book);
}

/* The state after a frame is judged as a whole: nonsense stops the feed, and the frame counts as not applied. A snapshot
 * is the exchange's own word on the state, so it may be crossed again and again, a delta behind it may not. */
static int judged(tb_engine *engine, int32_t index, const tb_frame *frame, int kept, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    int cause = -1, crossed = tb_book_crossed(&feed->book);
    if (TB_UNLIKELY(overflown(feed)))
        cause = TB_CAUSE_OVERFLOW;
    else if (TB_UNLIKELY(crossed && feed->crossed && frame->kind == TB_DELTA))
        cause = TB_CAUSE_CROSSED;
    if (TB_LIKELY(cause < 0)) {
        feed->crossed = (uint8_t)crossed;
        return 1;
    }
    if (kept) {
        tb_book refused = feed->book;
        feed->book = engine->aside;
        engine->aside = refused;
    }
    if (feed->update_id == TB_NONE) /* nothing was ever good: the gap begins with this frame */
        open_gap(engine, index, cause, has_consecutive_ids(feed) ? frame->update_id : TB_NONE, frame->match_ms, at);
    make_stale(engine, index, cause, at);
    return 0;
}

static void note_digest(tb_engine *engine, int32_t index, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    feed->since_digest = 0;
    if (engine->columns)
        return;
    tb_event *event = push_event(engine, TB_EVENT_DIGEST, index, at);
    event->update_id = feed->update_id;
    event->digest = tb_book_digest(&feed->book);
}

static tb_error on_snapshot(tb_engine *engine, int32_t index, const tb_frame *frame, const tb_changes changes[2],
                            tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    int consecutive = has_consecutive_ids(feed);
    int64_t before = feed->update_id;
    int kept;
    if (keep_aside(engine, feed, changes, 1, &kept) != TB_OK)
        return TB_NO_MEMORY;
    if (tb_book_load(&feed->book, changes) != TB_OK) {
        make_stale(engine, index, TB_CAUSE_UNDECODABLE, at);
        return TB_NO_MEMORY;
    }
    feed->seen_count = 0;
    remember(feed, frame->update_id);
    int good = judged(engine, index, frame, kept, at);
    frame_row(engine, index, frame, changes, good, at);
    if (!good)
        return TB_OK;
    int new_chain = frame->update_id == 1 || frame->update_id < before;
    close_gap(engine, index, &feed->gap, TB_BY_SNAPSHOT,
              consecutive && !new_chain ? frame->update_id - 1 : TB_NONE, frame->match_ms, at);
    feed->state = TB_LIVE;
    feed->update_id = frame->update_id;
    good_frame(engine, feed, frame, at);
    feed->keyframe_push_ms = frame->push_ms;
    feed->changed = 0;
    if (consecutive || ++feed->since_digest >= TB_DIGEST_EVERY)
        note_digest(engine, index, at);
    return TB_OK;
}

static tb_error on_delta(tb_engine *engine, int32_t index, const tb_frame *frame, const tb_changes changes[2],
                         tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    int64_t u = frame->update_id;
    if (TB_UNLIKELY(feed->state != TB_LIVE || u != feed->update_id + 1)) {
        if (feed->state == TB_LIVE) {
            if (u == 1) { /* a restart: a new chain, which the next snapshot will join */
                make_stale(engine, index, TB_CAUSE_RESET, at);
                feed->seen_count = 0;
            } else if (u > feed->update_id) {
                int damaged = at.line < engine->line_count && engine->lines[at.line].damage_sequence > feed->sequence;
                make_stale(engine, index, damaged ? TB_CAUSE_UNDECODABLE : TB_CAUSE_LOST, at);
            }
        } else if (feed->state != TB_STALE) {
            open_gap(engine, index, TB_CAUSE_NO_SNAPSHOT, has_consecutive_ids(feed) ? u : TB_NONE, frame->match_ms, at);
        }
        if (seen(feed, u)) {
            feed->repeats++;
            return TB_OK;
        }
        remember(feed, u);
        frame_row(engine, index, frame, changes, 0, at);
        return TB_OK;
    }
    int64_t changed = 0;
    int kept;
    tb_error error = keep_aside(engine, feed, changes, 0, &kept);
    if (error == TB_OK)
        error = tb_book_apply(&feed->book, changes, &changed);
    if (error != TB_OK)
        return error;
    if (TB_LIKELY(feed->seen_count && feed->seen[0].high == u - 1 && feed->seen_count == 1))
        feed->seen[0].high = u;
    else
        remember(feed, u);
    int good = judged(engine, index, frame, kept, at);
    frame_row(engine, index, frame, changes, good, at);
    if (TB_UNLIKELY(!good))
        return TB_OK;
    feed->update_id = u;
    good_frame(engine, feed, frame, at);
    feed->changed += changed;
    if (++feed->since_digest >= TB_DIGEST_EVERY)
        note_digest(engine, index, at);
    if (engine->columns) {
        int64_t since = frame->push_ms - feed->keyframe_push_ms;
        int64_t held = (int64_t)feed->book.sides[0].count + feed->book.sides[1].count;
        if ((since >= TB_KEYFRAME_MS && feed->changed >= held) || since >= TB_KEYFRAME_QUIET_MS)
            keyframe(engine, index);
    }
    return TB_OK;
}

static tb_error on_book(tb_engine *engine, int32_t index, tb_frame *frame, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    tb_symbol *symbol = engine->symbols[feed->symbol];
    unsigned price = max_of(symbol->price_decimals, frame->price_decimals);
    unsigned size = max_of(symbol->size_decimals, frame->size_decimals);
    tb_changes changes[2];
    tb_error error;
    for (int s = 0; s < 2; s++)
        if ((error = normalise(frame, s, price, size, &changes[s])) != TB_OK)
            return error;
    if (TB_UNLIKELY(!changes[0].sorted || !changes[1].sorted) && (error = check_unsorted(changes)) != TB_OK)
        return error;
    if ((error = can_widen(engine, symbol, price, size)) != TB_OK)
        return error;
    begin_file(engine, index, frame);
    widen(engine, feed->symbol, price, size, at);
    count_message(feed, at);
    return frame->kind == TB_SNAPSHOT ? on_snapshot(engine, index, frame, changes, at)
                                      : on_delta(engine, index, frame, changes, at);
}

/* ---- trades ------------------------------------------------------------------------------------------------ */

static void trade_row(tb_engine *engine, int32_t symbol_index, const tb_frame *frame, const tb_trade *trade,
                      tb_stamp at)
{
    tb_symbol *symbol = engine->symbols[symbol_index];
    tb_trade_row *row = tb_buffer_reserve(&symbol->rows.trades, sizeof *row);
    uint8_t *id = tb_buffer_reserve(&symbol->rows.trade_ids, trade->id.length);
    if (!row || !id) {
        engine->rows_lost++;
        return;
    }
    memset(row, 0, sizeof *row);
    memcpy(id, trade->id.at, trade->id.length);
    row->sequence = at.sequence;
    row->receive_ns = at.receive_ns;
    row->line = at.line;
    row->push_ms = frame->push_ms;
    row->day = day_of(frame->push_ms);
    row->match_ms = trade->match_ms;
    row->price = trade->price;
    row->size = trade->size;
    row->cross_sequence = trade->cross_sequence;
    row->id_bytes = (int32_t)trade->id.length;
    row->price_exponent = (int8_t)-symbol->price_decimals;
    row->size_exponent = (int8_t)-symbol->size_decimals;
    row->side = (int8_t)trade->side;
    row->tick_direction = trade->tick_direction;
    row->is_block = trade->is_block;
    row->is_rpi = trade->is_rpi;
    row->extras = trade->extras;
    memcpy(row->extra, trade->extra, sizeof row->extra);
    symbol->rows.trades.used += sizeof *row;
    symbol->rows.trade_ids.used += trade->id.length;
}

/* Every symbol of the message must be able to take its prices before any of them does. */
static tb_error fit_trades(tb_engine *engine, tb_frame *frame, int32_t *symbols)
{
    tb_error error = TB_OK;
    for (int32_t i = 0; i < frame->trade_count; i++) {
        tb_trade *trade = &frame->trades[i];
        symbols[i] = tb_engine_symbol(engine, trade->symbol.at, trade->symbol.length);
        if (symbols[i] < 0)
            return TB_NO_MEMORY;
        tb_symbol *symbol = engine->symbols[symbols[i]];
        symbol->pending_price = symbol->price_decimals;
        symbol->pending_size = symbol->size_decimals;
    }
    for (int32_t i = 0; i < frame->trade_count; i++) {
        const tb_trade *trade = &frame->trades[i];
        tb_symbol *symbol = engine->symbols[symbols[i]];
        symbol->pending_price = (uint8_t)max_of(symbol->pending_price, trade->price_decimals);
        if (trade->size)
            symbol->pending_size = (uint8_t)max_of(symbol->pending_size, trade->size_decimals);
    }
    for (int32_t i = 0; i < frame->trade_count && error == TB_OK; i++) {
        tb_trade *trade = &frame->trades[i];
        const tb_symbol *symbol = engine->symbols[symbols[i]];
        if (tb_rescale(&trade->price, symbol->pending_price - trade->price_decimals) != TB_OK ||
            (trade->size && tb_rescale(&trade->size, symbol->pending_size - trade->size_decimals) != TB_OK))
            error = TB_DECIMAL;
        else
            error = can_widen(engine, symbol, symbol->pending_price, symbol->pending_size);
    }
    return error;
}

static tb_error on_trades(tb_engine *engine, int32_t index, tb_frame *frame, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    int32_t few[64], *symbols = few;
    if (frame->trade_count > 64 && !(symbols = malloc((size_t)frame->trade_count * sizeof *symbols)))
        return TB_NO_MEMORY;
    tb_error error = fit_trades(engine, frame, symbols);
    if (error == TB_OK) {
        int64_t first_match = frame->trade_count ? frame->trades[0].match_ms : TB_NONE;
        int64_t rows = 0;
        for (int32_t i = 0; i < frame->trade_count; i++) {
            tb_trade *trade = &frame->trades[i];
            tb_symbol *symbol = engine->symbols[symbols[i]];
            uint64_t hash[2] = {hash_bytes(trade->id.at, trade->id.length, 3),
                                hash_bytes(trade->id.at, trade->id.length, UINT64_C(0x5851F42D4C957F2D))};
            widen(engine, symbols[i], symbol->pending_price, symbol->pending_size, at);
            if (!tb_remember_trade(feed->trade_ids, hash))
                continue;
            rows++;
            if (engine->columns)
                trade_row(engine, symbols[i], frame, trade, at);
        }
        count_message(feed, at);
        feed->rows += rows;
        feed->repeats += frame->trade_count - rows;
        close_gap(engine, index, &feed->gap, TB_BY_MESSAGE, TB_NONE, first_match, at);
        feed->state = TB_LIVE;
        frame->match_ms = frame->trade_count ? frame->trades[frame->trade_count - 1].match_ms : feed->match_ms;
        frame->cross_sequence =
            frame->trade_count ? frame->trades[frame->trade_count - 1].cross_sequence : feed->cross_sequence;
        good_frame(engine, feed, frame, at);
    }
    if (symbols != few)
        free(symbols);
    return error;
}

/* ---- tickers ----------------------------------------------------------------------------------------------- */

static void merge_ticker(tb_ticker *into, const tb_ticker *from)
{
    for (uint64_t keys = from->keys; keys; keys &= keys - 1) {
        int field = __builtin_ctzll(keys);
        if (tb_ticker_type(field) == 's')
            into->texts[field == 0 ? 0 : 1] = from->texts[field == 0 ? 0 : 1];
        else
            into->values[field] = from->values[field];
    }
    into->keys |= from->keys;
    into->present = (into->present & ~from->keys) | from->present;
}

static void ticker_row(tb_engine *engine, tb_feed *feed, const tb_frame *frame, const tb_ticker *state, int applied,
                       tb_stamp at)
{
    feed->rows++;
    feed->unapplied += !applied;
    if (!engine->columns)
        return;
    tb_rows *rows = &engine->symbols[feed->symbol]->rows;
    tb_ticker_row *row = tb_buffer_reserve(&rows->tickers, sizeof *row);
    if (!row) {
        engine->rows_lost++;
        return;
    }
    memset(row, 0, offsetof(tb_ticker_row, values));
    row->sequence = at.sequence;
    row->receive_ns = at.receive_ns;
    row->line = at.line;
    row->push_ms = frame->push_ms;
    row->day = day_of(frame->push_ms);
    row->cross_sequence = frame->cross_sequence;
    row->keys = frame->ticker.keys;
    row->present = state->present;
    row->kind = (uint8_t)frame->kind;
    row->applied = (uint8_t)applied;
    memcpy(row->texts, state->texts, sizeof row->texts);
    memcpy(row->values, state->values, sizeof row->values);
    rows->tickers.used += sizeof *row;
}

static tb_error on_ticker(tb_engine *engine, int32_t index, tb_frame *frame, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    count_message(feed, at);
    if (frame->kind == TB_DELTA && feed->state != TB_LIVE) {
        open_gap(engine, index, TB_CAUSE_NO_SNAPSHOT, TB_NONE, TB_NONE, at);
        ticker_row(engine, feed, frame, &frame->ticker, 0, at);
        return TB_OK;
    }
    if (frame->kind == TB_SNAPSHOT) {
        feed->ticker->keys = feed->ticker->present = 0;
        close_gap(engine, index, &feed->gap, feed->depth ? TB_BY_MESSAGE : TB_BY_SNAPSHOT, TB_NONE, TB_NONE, at);
        feed->state = TB_LIVE;
    }
    merge_ticker(feed->ticker, &frame->ticker);
    frame->match_ms = TB_NONE;
    good_frame(engine, feed, frame, at);
    ticker_row(engine, feed, frame, feed->ticker, 1, at);
    return TB_OK;
}

/* ---- entry points ------------------------------------------------------------------------------------------ */

static int find_topic(void *context, const tb_slice *topic, tb_route *route)
{
    tb_engine *engine = context;
    engine->found = tb_engine_find_feed(engine, topic->at, topic->length);
    if (engine->found < 0)
        return -1;
    const tb_feed *feed = engine->feeds[engine->found];
    route->symbol.length = 0;
    if (feed->symbol >= 0) {
        const tb_symbol *owner = engine->symbols[feed->symbol];
        route->symbol.at = (const uint8_t *)owner->name;
        route->symbol.length = owner->name_length;
        route->price_decimals = owner->price_decimals;
        route->size_decimals = owner->size_decimals;
    }
    return feed->kind;
}

int32_t tb_engine_apply(tb_engine *engine, const uint8_t *bytes, size_t length, int64_t receive_ns,
                        int64_t sequence, uint16_t line)
{
    tb_frame *frame = &engine->frame;
    tb_stamp at = {sequence, receive_ns, line};
    tb_frame_status status = TB_FRAME_DATA;
    int32_t result;
    engine->found = -1;
    tb_error error = tb_frame_decode(frame, bytes, length, find_topic, engine, &status);
    if (TB_UNLIKELY(error != TB_OK)) {
        result = undecodable(engine, engine->found >= 0 ? engine->found : blame(engine, bytes, length), error, at);
    } else if (TB_UNLIKELY(status == TB_FRAME_CONTROL)) {
        engine->controls++;
        result = TB_RESULT_CONTROL;
    } else if (TB_UNLIKELY(status == TB_FRAME_UNKNOWN_TOPIC)) {
        engine->unknown_topics++;
        result = TB_RESULT_UNKNOWN_TOPIC;
    } else {
        result = engine->found;
        engine->drift += frame->drift;
        switch (engine->feeds[result]->kind) {
        case TB_KIND_BOOK: error = on_book(engine, result, frame, at); break;
        case TB_KIND_TRADES: error = on_trades(engine, result, frame, at); break;
        default: error = on_ticker(engine, result, frame, at); break;
        }
        if (TB_UNLIKELY(error != TB_OK)) {
            result = undecodable(engine, result, error, at);
        } else {
            tb_line *carrier = tb_engine_line(engine, line);
            if (TB_LIKELY(carrier != NULL)) {
                carrier->good_ns = receive_ns;
                if (TB_UNLIKELY(carrier->gap.open))
                    close_gap(engine, -1, &carrier->gap, TB_BY_MESSAGE, TB_NONE, TB_NONE, at);
            }
        }
    }
    return result;
}

int64_t tb_engine_apply_batch(tb_engine *engine, const uint8_t *payloads, const int32_t *offsets,
                              const int64_t *receive_ns, const int64_t *sequences, const uint16_t *lines,
                              const uint8_t *kinds, int64_t from, int64_t to)
{
    for (; from < to && kinds[from] == 0; from++)
        (void)tb_engine_apply(engine, payloads + offsets[from], (size_t)(offsets[from + 1] - offsets[from]),
                              receive_ns[from], sequences[from], lines[from]);
    return from;
}

void tb_engine_subscribed(tb_engine *engine, int32_t index, uint16_t line, int64_t receive_ns, int64_t sequence)
{
    tb_feed *feed = engine->feeds[index];
    tb_stamp at = {sequence, receive_ns, line};
    feed->line = line;
    feed->subscribed = 1;
    if (feed->kind == TB_KIND_TRADES) {
        close_gap(engine, index, &feed->gap, TB_BY_SUBSCRIBED, TB_NONE, TB_NONE, at);
        feed->state = TB_LIVE;
    } else if (feed->state == TB_EMPTY) {
        feed->state = TB_SYNCING;
    }
}

void tb_engine_stale(tb_engine *engine, int32_t index, int cause, int64_t receive_ns, int64_t sequence)
{
    tb_stamp at = {sequence, receive_ns, engine->feeds[index]->line};
    if (engine->feeds[index]->state == TB_LIVE)
        make_stale(engine, index, cause, at);
}

void tb_engine_disconnect(tb_engine *engine, uint16_t line, int64_t receive_ns, int64_t sequence)
{
    for (int32_t i = 0; i < engine->feed_count; i++)
        if (engine->feeds[i]->line == line)
            tb_engine_stale(engine, i, TB_CAUSE_DISCONNECT, receive_ns, sequence);
}
