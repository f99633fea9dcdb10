/* Feeds, symbols and lines: what there is, and where it is found. */
#include <stdlib.h>
#include <string.h>

#include "tb_internal.h"
#include "tb_swar.h"

/* Up to eight bytes, without a loop over them. */
TB_INLINE uint64_t short_word(const uint8_t *p, size_t n)
{
    if (n >= 4) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + n - 4, 4);
        return (uint64_t)high << 32 | low;
    }
    return n ? (uint64_t)p[0] << 16 | (uint64_t)p[n >> 1] << 8 | p[n - 1] : 0;
}

uint64_t tb_hash(const uint8_t *p, size_t n, uint64_t seed)
{
    uint64_t h = seed ^ (n * UINT64_C(0x9E3779B97F4A7C15));
    if (n <= 8) {
        h = (h ^ short_word(p, n)) * UINT64_C(0xBF58476D1CE4E5B9);
    } else {
        for (size_t i = 0; i + 8 < n; i += 8) {
            h = (h ^ tb_load8(p + i)) * UINT64_C(0xBF58476D1CE4E5B9);
            h ^= h >> 32;
        }
        h = (h ^ tb_load8(p + n - 8)) * UINT64_C(0x94D049BB133111EB); /* may overlap the one before */
    }
    h ^= h >> 29;
    h *= UINT64_C(0xD6E8FEB86659FD93);
    return h ^ h >> 32;
}

/* Of a topic: the words' products don't wait for each other. */
static uint32_t topic_hash(const uint8_t *p, size_t n)
{
    if (n < 8)
        return (uint32_t)tb_hash(p, n, 1);
    uint64_t h = tb_load8(p) * UINT64_C(0x9E3779B97F4A7C15) + tb_load8(p + n - 8) * UINT64_C(0xBF58476D1CE4E5B9);
    for (size_t i = 8; i + 8 < n; i += 8)
        h += (tb_load8(p + i) + i) * UINT64_C(0x94D049BB133111EB);
    h = (h ^ h >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    return (uint32_t)(h >> 32);
}

int tb_same_bytes(const void *left, const void *right, size_t n)
{
    const uint8_t *a = left, *b = right;
    if (n <= 8)
        return short_word(a, n) == short_word(b, n);
    uint64_t differs = tb_load8(a + n - 8) ^ tb_load8(b + n - 8);
    if (n <= 24) { /* most names and topics: words that overlap, without a loop over them */
        const size_t second = n <= 16 ? 0 : 8;
        return (differs | (tb_load8(a) ^ tb_load8(b)) | (tb_load8(a + second) ^ tb_load8(b + second))) == 0;
    }
    for (size_t i = 0; i + 8 < n; i += 8)
        differs |= tb_load8(a + i) ^ tb_load8(b + i);
    return differs == 0;
}

int32_t tb_engine_find_feed(const tb_engine *engine, const uint8_t *topic, size_t length)
{
    if (!engine->feed_count)
        return -1;
    tb_search search = tb_index_search(&engine->feed_index, topic_hash(topic, length));
    int32_t found;
    do
        found = tb_index_next(&engine->feed_index, &search);
    while (found >= 0 && TB_UNLIKELY(!tb_is_feed(engine, found, topic, length)));
    return found;
}

int32_t tb_engine_guess_feed(const tb_engine *engine, const uint8_t *topic, size_t length)
{
    if (!engine->feed_count)
        return -1;
    tb_search search = tb_index_search(&engine->feed_index, topic_hash(topic, length));
    return tb_index_next(&engine->feed_index, &search);
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
    const uint32_t hash = (uint32_t)tb_hash(name, length, 2);
    if (engine->symbol_count) {
        tb_search search = tb_index_search(&engine->symbol_index, hash);
        for (int32_t at; (at = tb_index_next(&engine->symbol_index, &search)) >= 0;)
            if (engine->symbols[at]->name_length == length && tb_same_bytes(engine->symbols[at]->name, name, length))
                return at;
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
    if ((engine->columns && !(symbol->rows = calloc(1, sizeof *symbol->rows))) ||
        !tb_index_add(&engine->symbol_index, hash)) {
        free(symbol->rows);
        free(symbol);
        return -1;
    }
    engine->symbols[engine->symbol_count] = symbol;
    return engine->symbol_count++;
}

void tb_forget_symbols(tb_engine *engine, int32_t keep)
{
    while (engine->symbol_count > keep) {
        tb_symbol *symbol = engine->symbols[--engine->symbol_count];
        tb_rows_free(symbol->rows);
        free(symbol->rows);
        free(symbol);
    }
    tb_index_cut(&engine->symbol_index, engine->symbol_count);
}

int32_t tb_engine_add_feed(tb_engine *engine, const char *topic, size_t topic_length, int kind, int32_t depth,
                           const char *symbol, size_t symbol_length)
{
    int32_t found = tb_engine_find_feed(engine, (const uint8_t *)topic, topic_length);
    if (found >= 0) {
        engine->feeds[found]->ended = 0;
        tb_touch(engine, found);
        tb_tell(engine);
        return found;
    }
    if (topic_length == 0 || topic_length > TB_TOPIC_BYTES ||
        !grow_pointers((void ***)&engine->feeds, engine->feed_count, &engine->feed_capacity, TB_MAX_FEEDS))
        return -1;
    int32_t symbol_index = -1;
    if (symbol_length && (symbol_index = tb_engine_symbol(engine, (const uint8_t *)symbol, symbol_length)) < 0)
        return -1;
    tb_pair *pairs = realloc(engine->pairs, (size_t)engine->feed_capacity * sizeof *pairs);
    if (!pairs)
        return -1;
    engine->pairs = pairs;
    /* the full book grows as it needs */
    const int is_book = kind == TB_KIND_BOOK || kind == TB_KIND_RPI, is_fixed = is_book && depth < TB_FULL_DEPTH;
    const int32_t room = is_fixed ? 2 * depth : 0;
    const size_t levels = is_fixed ? 2 * ((size_t)room + 1) * sizeof(tb_level) : 0, bytes = (sizeof(tb_feed) + levels + 63) / 64 * 64;
    tb_feed *feed = tb_room_take(&engine->room, bytes);
    if (!feed)
        return -1;
    memset(feed, 0, bytes);
    memcpy(feed->topic, topic, topic_length);
    feed->topic_length = (uint32_t)topic_length;
    feed->kind = kind;
    feed->depth = depth;
    feed->symbol = symbol_index;
    feed->next_of_symbol = -1;
    feed->update_id = feed->cross_sequence = feed->match_ms = feed->push_ms = feed->receive_ns = feed->sequence =
        feed->last_receive_ns = feed->first_receive_ns = feed->first_sequence = TB_NONE;
    feed->quiet = kind == TB_KIND_TRADES;
    feed->file_day = TB_NO_DAY;
    feed->last_row = -1;
    tb_book_init(&feed->book);
    if (is_fixed)
        tb_book_fix(&feed->book, feed->levels, room);
    int32_t index = engine->feed_count;
    if (kind == TB_KIND_TRADES) {
        feed->trade_ids = tb_new_trades(TB_TRADE_IDS);
    } else if (kind == TB_KIND_TICKER) {
        feed->ticker = calloc(1, sizeof *feed->ticker);
    } else if (kind == TB_KIND_RPI) {
        feed->rpi = calloc(1, sizeof *feed->rpi);
        if (feed->rpi && tb_book_reserve(feed->rpi, room, room) != TB_OK) {
            tb_book_free(feed->rpi);
            free(feed->rpi);
            feed->rpi = NULL;
        }
    }
    if ((kind == TB_KIND_TRADES && !feed->trade_ids) || (kind == TB_KIND_TICKER && !feed->ticker) ||
        (kind == TB_KIND_RPI && !feed->rpi) ||
        !tb_index_add(&engine->feed_index, topic_hash((const uint8_t *)topic, topic_length))) {
        if (feed->rpi)
            tb_book_free(feed->rpi);
        free(feed->rpi);
        free(feed->trade_ids);
        free(feed->ticker);
        tb_room_give_back(&engine->room, feed, bytes);
        return -1;
    }
    if (symbol_index >= 0) {
        tb_symbol *owner = engine->symbols[symbol_index];
        feed->next_of_symbol = owner->first_feed;
        owner->first_feed = index;
        feed->symbol_name = owner->name;
        feed->symbol_length = owner->name_length;
        feed->book.price_decimals = owner->price_decimals;
        feed->book.size_decimals = owner->size_decimals;
        if (feed->rpi) {
            feed->rpi->price_decimals = owner->price_decimals;
            feed->rpi->size_decimals = owner->size_decimals;
        }
        /* nearer at hand, where the topic ends with it */
        if (symbol_length <= topic_length && memcmp(feed->topic + topic_length - symbol_length, symbol, symbol_length) == 0)
            feed->symbol_name = feed->topic + topic_length - symbol_length;
    }
    engine->pairs[index] = (tb_pair){feed->book.price_decimals, feed->book.size_decimals, is_fixed ? (int16_t)depth : 0, 0};
    engine->feeds[index] = feed;
    engine->feed_count++;
    return index;
}

void tb_engine_init(tb_engine *engine, int columns)
{
    memset(engine, 0, sizeof *engine);
    engine->columns = columns;
    engine->found = engine->expected = -1;
}

void tb_engine_free(tb_engine *engine)
{
    for (int32_t i = 0; i < engine->feed_count; i++) {
        tb_book_free(&engine->feeds[i]->book);
        if (engine->feeds[i]->rpi)
            tb_book_free(engine->feeds[i]->rpi);
        free(engine->feeds[i]->rpi);
        free(engine->feeds[i]->ticker);
        free(engine->feeds[i]->trade_ids);
        free(engine->feeds[i]->merge);
    }
    tb_room_free(&engine->room);
    for (int32_t i = 0; i < engine->symbol_count; i++) {
        tb_rows_free(engine->symbols[i]->rows);
        free(engine->symbols[i]->rows);
        free(engine->symbols[i]);
    }
    free(engine->feeds);
    free(engine->pairs);
    free(engine->symbols);
    tb_index_free(&engine->feed_index);
    tb_index_free(&engine->symbol_index);
    free(engine->lines);
    free(engine->events);
    free(engine->delays);
    tb_frame_free(&engine->frame);
    tb_book_free(&engine->aside);
    tb_book_free(&engine->aside_rpi);
    memset(engine, 0, sizeof *engine);
}

tb_line *tb_engine_line(tb_engine *engine, uint16_t line)
{
    if (line >= engine->line_count) {
        tb_line *lines = realloc(engine->lines, ((size_t)line + 1) * sizeof *lines);
        if (!lines)
            return NULL;
        memset(lines + engine->line_count, 0, ((size_t)line + 1 - (size_t)engine->line_count) * sizeof *lines);
        for (int32_t i = engine->line_count; i <= line; i++)
            lines[i].good_ns = lines[i].damage_sequence = lines[i].good_order = TB_NONE;
        engine->lines = lines;
        engine->line_count = line + 1;
    }
    return &engine->lines[line];
}
