#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tb_decimal.h"

/* ---- one frame --------------------------------------------------------------------------------------------- */

static size_t row_bytes(const tb_engine *engine)
{
    size_t total = 0;
    for (int32_t i = 0; i < engine->symbol_count; i++)
        total += tb_rows_bytes(engine->symbols[i]->rows);
    return total;
}

void fuzz_remember(fuzz_before *before, const tb_engine *engine)
{
    for (int i = 0; i < FUZZ_FEEDS; i++) {
        const tb_feed *feed = engine->feeds[i];
        before->digest[i] = tb_book_digest(&feed->book);
        before->update_id[i] = feed->update_id;
        before->messages[i] = feed->messages;
        before->rows[i] = feed->rows;
        before->unapplied[i] = feed->unapplied;
        before->repeats[i] = feed->repeats;
        before->state[i] = feed->state;
    }
    before->row_bytes = row_bytes(engine);
    before->symbol_count = engine->symbol_count;
    before->price_decimals = engine->symbols[FUZZ_SYMBOL]->price_decimals;
    before->size_decimals = engine->symbols[FUZZ_SYMBOL]->size_decimals;
}

void fuzz_check_result(const fuzz_before *before, const tb_engine *engine, int32_t result)
{
    const tb_symbol *symbol = engine->symbols[FUZZ_SYMBOL];
    FUZZ_CHECK(result >= TB_RESULT_UNDECODABLE && result < FUZZ_FEEDS);
    FUZZ_CHECK(result >= 0 || engine->symbol_count == before->symbol_count);
    for (int i = 0; i < FUZZ_FEEDS; i++) {
        const tb_feed *feed = engine->feeds[i];
        int64_t rows = feed->rows - before->rows[i], unapplied = feed->unapplied - before->unapplied[i];
        FUZZ_CHECK(feed->messages == before->messages[i] + (i == result));
        if (i != result) {
            FUZZ_CHECK(feed->update_id == before->update_id[i]);
            FUZZ_CHECK(rows == 0 && unapplied == 0);
            FUZZ_CHECK(feed->repeats == before->repeats[i]);
            if (result < 0) {
                FUZZ_CHECK(tb_book_digest(&feed->book) == before->digest[i]);
                FUZZ_CHECK(result == TB_RESULT_UNDECODABLE || feed->state == before->state[i]);
                /* never LIVE by a frame that was refused */
                FUZZ_CHECK(feed->state == before->state[i] || feed->state == TB_STALE);
            } else {
                FUZZ_CHECK(feed->state == before->state[i]);
            }
        } else if (feed->kind == TB_KIND_BOOK) {
            /* one that is ahead of another line is neither a row nor a repeat */
            FUZZ_CHECK(rows + feed->repeats - before->repeats[i] == 1 || (feed->merge && !rows));
            FUZZ_CHECK(unapplied == 0 || unapplied == 1);
            /* a frame that was not applied leaves the book alone, unless it brought decimals */
            if ((unapplied || !rows) && symbol->price_decimals == before->price_decimals &&
                symbol->size_decimals == before->size_decimals)
                FUZZ_CHECK(tb_book_digest(&feed->book) == before->digest[i]);
            if (unapplied || !rows)
                FUZZ_CHECK(feed->update_id == before->update_id[i]);
            else
                FUZZ_CHECK(feed->state == TB_LIVE);
        }
    }
    if (result < 0) {
        FUZZ_CHECK(row_bytes(engine) == before->row_bytes);
        FUZZ_CHECK(symbol->price_decimals == before->price_decimals);
        FUZZ_CHECK(symbol->size_decimals == before->size_decimals);
    }
}

/* ---- one engine -------------------------------------------------------------------------------------------- */

static void check_book(const tb_feed *feed)
{
    const tb_book *book = &feed->book;
    for (int s = 0; s < 2; s++) {
        const tb_side *side = &book->sides[s];
        FUZZ_CHECK(side->count >= 0 && side->count <= side->capacity);
        FUZZ_CHECK(side->count <= 2 * feed->depth);
        for (int32_t i = 0; i < side->count; i++) {
            FUZZ_CHECK(side->levels[i].size > 0);
            FUZZ_CHECK(side->levels[i].price != INT64_MIN);
            FUZZ_CHECK(i == 0 || (s ? side->levels[i].price < side->levels[i - 1].price
                                   : side->levels[i].price > side->levels[i - 1].price));
        }
    }
    FUZZ_CHECK(tb_book_digest(book) == tb_book_digest_recomputed(book));
    FUZZ_CHECK(feed->state != TB_LIVE || feed->crossed == tb_book_crossed(book));
}

void fuzz_check_engine(const tb_engine *engine)
{
    FUZZ_CHECK(engine->feed_count == FUZZ_FEEDS);
    FUZZ_CHECK(engine->events_lost == 0 && engine->rows_lost == 0);
    FUZZ_CHECK(engine->undecodable[TB_OK] == 0 && engine->undecodable[TB_NO_MEMORY] == 0);
    for (int i = 0; i < FUZZ_FEEDS; i++) {
        const tb_feed *feed = engine->feeds[i];
        FUZZ_CHECK(feed->state >= TB_EMPTY && feed->state <= TB_STALE);
        FUZZ_CHECK(feed->state != TB_LIVE || !feed->gap.open);
        FUZZ_CHECK(feed->state != TB_STALE || feed->gap.open);
        FUZZ_CHECK(feed->update_id >= TB_NONE && feed->unapplied <= feed->rows);
        FUZZ_CHECK(feed->seen_count >= 0 && feed->seen_count <= TB_SEEN_RANGES);
        if (feed->kind == TB_KIND_BOOK)
            check_book(feed);
        if (feed->symbol >= 0) {
            FUZZ_CHECK(feed->book.price_decimals == engine->symbols[feed->symbol]->price_decimals);
            FUZZ_CHECK(feed->book.size_decimals == engine->symbols[feed->symbol]->size_decimals);
        }
    }
    for (int32_t i = 0; i < engine->symbol_count; i++) {
        FUZZ_CHECK(engine->symbols[i]->price_decimals <= TB_MAX_DECIMALS);
        FUZZ_CHECK(engine->symbols[i]->size_decimals <= TB_MAX_DECIMALS);
    }
}

/* ---- two engines ------------------------------------------------------------------------------------------- */

static void check_equal_gaps(const tb_gap *a, const tb_gap *b)
{
    FUZZ_CHECK(a->open == b->open && a->cause == b->cause && a->first_update_id == b->first_update_id);
    FUZZ_CHECK(a->start_ns == b->start_ns && a->start_match_ms == b->start_match_ms);
}

static void check_equal_books(const tb_book *a, const tb_book *b)
{
    FUZZ_CHECK(a->digest == b->digest && a->price_decimals == b->price_decimals &&
               a->size_decimals == b->size_decimals);
    for (int s = 0; s < 2; s++) {
        FUZZ_CHECK(a->sides[s].count == b->sides[s].count);
        FUZZ_CHECK(a->sides[s].count == 0 || memcmp(a->sides[s].levels, b->sides[s].levels,
                                                    (size_t)a->sides[s].count * sizeof(tb_level)) == 0);
    }
}

static void check_equal_feeds(const tb_feed *a, const tb_feed *b, int rows)
{
    FUZZ_CHECK(a->state == b->state && a->line == b->line && a->crossed == b->crossed &&
               a->subscribed == b->subscribed);
    FUZZ_CHECK(a->update_id == b->update_id && a->cross_sequence == b->cross_sequence);
    FUZZ_CHECK(a->match_ms == b->match_ms && a->push_ms == b->push_ms);
    FUZZ_CHECK(a->receive_ns == b->receive_ns && a->sequence == b->sequence);
    FUZZ_CHECK(a->messages == b->messages && a->rows == b->rows && a->repeats == b->repeats &&
               a->unapplied == b->unapplied);
    FUZZ_CHECK(a->last_receive_ns == b->last_receive_ns && a->first_receive_ns == b->first_receive_ns &&
               a->first_sequence == b->first_sequence);
    check_equal_gaps(&a->gap, &b->gap);
    FUZZ_CHECK(a->seen_count == b->seen_count);
    FUZZ_CHECK(memcmp(a->seen, b->seen, (size_t)a->seen_count * sizeof a->seen[0]) == 0);
    FUZZ_CHECK(a->since_digest == b->since_digest);
    check_equal_books(&a->book, &b->book);
    if (rows)
        FUZZ_CHECK(a->keyframe_push_ms == b->keyframe_push_ms && a->changed == b->changed &&
                   a->file_day == b->file_day && a->last_row == b->last_row);
    if (a->ticker) {
        FUZZ_CHECK(a->ticker->keys == b->ticker->keys && a->ticker->present == b->ticker->present);
        FUZZ_CHECK(memcmp(a->ticker->values, b->ticker->values, sizeof a->ticker->values) == 0);
        FUZZ_CHECK(memcmp(a->ticker->texts, b->ticker->texts, sizeof a->ticker->texts) == 0);
    }
    FUZZ_CHECK(!a->merge == !b->merge);
    if (a->merge) /* not the hashes: one of the two may have got its frames with a space */
        FUZZ_CHECK(a->merge->count == b->merge->count && a->merge->elected == b->merge->elected &&
                   a->merge->alike == b->merge->alike && a->merge->head_ms == b->merge->head_ms &&
                   a->merge->next_copy == b->merge->next_copy &&
                   memcmp(a->merge->carriers, b->merge->carriers, sizeof a->merge->carriers) == 0);
    if (a->trade_ids)
        FUZZ_CHECK(a->trade_ids->count == b->trade_ids->count && a->trade_ids->at == b->trade_ids->at &&
                   memcmp(a->trade_ids->hash, b->trade_ids->hash,
                          (size_t)a->trade_ids->count * sizeof a->trade_ids->hash[0]) == 0);
}

static void check_equal_event(const tb_event *a, const tb_event *b)
{
    FUZZ_CHECK(a->type == b->type && a->feed == b->feed && a->symbol == b->symbol && a->detail == b->detail);
    FUZZ_CHECK(a->healer == b->healer && a->line == b->line);
    FUZZ_CHECK(a->sequence == b->sequence && a->receive_ns == b->receive_ns && a->match_ms == b->match_ms);
    FUZZ_CHECK(a->first_update_id == b->first_update_id && a->last_update_id == b->last_update_id);
    FUZZ_CHECK(a->start_ns == b->start_ns && a->start_match_ms == b->start_match_ms);
    FUZZ_CHECK(a->update_id == b->update_id && a->digest == b->digest);
    FUZZ_CHECK(a->price_decimals == b->price_decimals && a->size_decimals == b->size_decimals);
}

/* Live digests are only told where no rows are made; every other event has its twin. */
static const tb_event *next_event(const tb_engine *engine, int32_t *at, int digests)
{
    while (*at < engine->event_count) {
        const tb_event *event = &engine->events[(*at)++];
        if (digests || event->type != TB_EVENT_DIGEST)
            return event;
    }
    return NULL;
}

static void check_equal_buffers(const tb_buffer *a, const tb_buffer *b)
{
    FUZZ_CHECK(a->used == b->used);
    FUZZ_CHECK(a->used == 0 || memcmp(a->bytes, b->bytes, a->used) == 0);
}

static void check_equal_tables(const tb_table *a, const tb_table *b, tb_table_kind kind)
{
    int count;
    const tb_column *columns = tb_columns_of(kind, &count);
    FUZZ_CHECK(a->count == b->count);
    for (int i = 0; i < count && a->count; i++) {
        size_t entries = (size_t)a->count + (columns[i].width && strcmp(columns[i].numpy, "end") == 0);
        FUZZ_CHECK(!columns[i].width || memcmp(a->columns[i], b->columns[i], entries * columns[i].width) == 0);
    }
}

static void check_equal_row_sets(const tb_rows *a, const tb_rows *b)
{
    FUZZ_CHECK(!a == !b);
    if (!a)
        return;
    for (int i = 0; i < TB_TABLE_COUNT; i++)
        check_equal_tables(&a->tables[i], &b->tables[i], (tb_table_kind)i);
    for (int i = 0; i < TB_BUFFER_COUNT; i++)
        check_equal_buffers(&a->buffers[i], &b->buffers[i]);
}

void fuzz_check_equal_rows(const tb_engine *a, const tb_engine *b)
{
    FUZZ_CHECK(a->symbol_count == b->symbol_count);
    for (int32_t i = 0; i < a->symbol_count; i++)
        check_equal_row_sets(a->symbols[i]->rows, b->symbols[i]->rows);
}

void fuzz_check_equal(const tb_engine *a, const tb_engine *b, int rows)
{
    int32_t i = 0, j = 0;
    const tb_event *left, *right;
    for (int k = 0; k < FUZZ_FEEDS; k++)
        check_equal_feeds(a->feeds[k], b->feeds[k], rows);
    FUZZ_CHECK(a->symbol_count == b->symbol_count);
    for (int32_t k = 0; k < a->symbol_count; k++) {
        const tb_symbol *mine = a->symbols[k], *yours = b->symbols[k];
        FUZZ_CHECK(mine->name_length == yours->name_length &&
                   memcmp(mine->name, yours->name, mine->name_length) == 0);
        FUZZ_CHECK(mine->price_decimals == yours->price_decimals && mine->size_decimals == yours->size_decimals);
        FUZZ_CHECK(!rows || tb_rows_bytes(mine->rows) == tb_rows_bytes(yours->rows));
    }
    FUZZ_CHECK(a->line_count == b->line_count);
    for (int32_t k = 0; k < a->line_count; k++) {
        FUZZ_CHECK(a->lines[k].damage_sequence == b->lines[k].damage_sequence &&
                   a->lines[k].good_ns == b->lines[k].good_ns);
        check_equal_gaps(&a->lines[k].gap, &b->lines[k].gap);
    }
    do {
        left = next_event(a, &i, rows);
        right = next_event(b, &j, rows);
        FUZZ_CHECK(!left == !right);
        if (left)
            check_equal_event(left, right);
    } while (left);
    FUZZ_CHECK(memcmp(a->undecodable, b->undecodable, sizeof a->undecodable) == 0);
    FUZZ_CHECK(a->unattributed == b->unattributed && a->controls == b->controls &&
               a->unknown_topics == b->unknown_topics && a->drift == b->drift);
}

/* ---- rows -------------------------------------------------------------------------------------------------- */

static void model_set(fuzz_model *model, int s, int64_t price, int64_t size)
{
    if (model->count[s] == model->capacity[s]) { /* room for one more, whether it comes or not */
        model->capacity[s] = model->capacity[s] ? 2 * model->capacity[s] : 64;
        model->levels[s] = realloc(model->levels[s], (size_t)model->capacity[s] * sizeof *model->levels[s]);
        FUZZ_CHECK(model->levels[s]);
    }
    int32_t low = 0, high = model->count[s];
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (model->levels[s][middle].price < price)
            low = middle + 1;
        else
            high = middle;
    }
    tb_level *at = model->levels[s] + low;
    size_t behind = (size_t)(model->count[s] - low);
    if (behind && at->price == price) {
        if (size) {
            at->size = size;
        } else {
            memmove(at, at + 1, (behind - 1) * sizeof *at);
            model->count[s]--;
        }
    } else if (size) {
        memmove(at + 1, at, behind * sizeof *at);
        at->price = price;
        at->size = size;
        model->count[s]++;
    }
}

/* Exponents only ever widen, and every level has been found to fit. */
static void model_widen(fuzz_model *model, unsigned price_decimals, unsigned size_decimals)
{
    FUZZ_CHECK(price_decimals >= model->price_decimals && size_decimals >= model->size_decimals);
    unsigned price = price_decimals - model->price_decimals, size = size_decimals - model->size_decimals;
    if (!price && !size)
        return;
    for (int s = 0; s < 2; s++)
        for (int32_t i = 0; i < model->count[s]; i++)
            FUZZ_CHECK(!__builtin_mul_overflow(model->levels[s][i].price, tb_powers[price],
                                               &model->levels[s][i].price) &&
                       !__builtin_mul_overflow(model->levels[s][i].size, tb_powers[size],
                                               &model->levels[s][i].size));
    model->price_decimals = price_decimals;
    model->size_decimals = size_decimals;
}

#define ROW(type, column) TB_AT(table, type, column, row)

/* From where to where a row's values go, in entries of `width` bytes; they follow on each other. */
static int32_t span(const tb_table *table, int end_column, int64_t row, const tb_buffer *values, size_t width,
                    int32_t *from)
{
    const int32_t *ends = table->columns[end_column];
    *from = ends[row];
    FUZZ_CHECK((row > 0 || *from == 0) && *from >= 0 && ends[row + 1] >= *from);
    FUZZ_CHECK((size_t)ends[row + 1] * width <= values->used);
    return ends[row + 1] - *from;
}

static void read_book_row(fuzz_side *side, const tb_rows *rows, fuzz_cursor *cursor)
{
    const tb_table *table = &rows->tables[TB_TABLE_BOOKS];
    const int64_t row = (int64_t)cursor->books++;
    const int32_t feed = ROW(int32_t, TB_BOOK_feed);
    const int kind = ROW(uint8_t, TB_BOOK_kind), applied = ROW(uint8_t, TB_BOOK_applied);
    FUZZ_CHECK(feed >= 0 && feed < FUZZ_BOOKS);
    fuzz_model *model = &side->models[feed];
    FUZZ_CHECK(kind <= TB_KEYFRAME && ROW(int16_t, TB_BOOK_depth) == side->engine.feeds[feed]->depth);
    FUZZ_CHECK(kind == TB_KEYFRAME || ROW(int32_t, TB_BOOK_day) == ROW(int64_t, TB_BOOK_push_ms) / INT64_C(86400000));
    fuzz_total.keyframes += kind == TB_KEYFRAME;
    if (applied) {
        model_widen(model, (unsigned)-ROW(int8_t, TB_BOOK_price_exponent), (unsigned)-ROW(int8_t, TB_BOOK_size_exponent));
        if (kind == TB_SNAPSHOT)
            model->count[0] = model->count[1] = 0;
    }
    for (int s = 0; s < 2; s++) {
        const tb_buffer *prices = &rows->buffers[TB_BID_PRICES + 2 * s];
        int32_t from, count = span(table, TB_BOOK_bid_end + s, row, prices, sizeof(int64_t), &from);
        FUZZ_CHECK(prices[1].used == prices[0].used);
        /* a keyframe says nothing new */
        FUZZ_CHECK(kind != TB_KEYFRAME || model->count[s] == count);
        for (int32_t i = 0; i < count; i++) {
            int64_t price, size;
            memcpy(&price, prices[0].bytes + (size_t)(from + i) * sizeof price, sizeof price);
            memcpy(&size, prices[1].bytes + (size_t)(from + i) * sizeof size, sizeof size);
            FUZZ_CHECK(size >= 0 && price != INT64_MIN);
            if (kind == TB_KEYFRAME) {
                const tb_level *held = &model->levels[s][s ? i : count - 1 - i]; /* best first */
                FUZZ_CHECK(held->price == price && held->size == size);
            } else if (applied) {
                model_set(model, s, price, size);
            }
        }
        cursor->levels[s] = (size_t)(from + count) * sizeof(int64_t);
    }
}

/* A trade is a row once. */
static void check_new_trade(fuzz_trade_ids *ids, const uint8_t *id, int32_t length)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    size_t held = ids->count < FUZZ_TRADE_IDS ? ids->count : FUZZ_TRADE_IDS;
    for (int32_t i = 0; i < length; i++)
        hash = (hash ^ id[i]) * UINT64_C(1099511628211);
    for (size_t i = 0; i < held; i++)
        FUZZ_CHECK(ids->hashes[i] != hash);
    ids->hashes[ids->count++ % FUZZ_TRADE_IDS] = hash;
}

static void read_trade_row(fuzz_side *side, int32_t result, const tb_rows *rows, fuzz_cursor *cursor)
{
    const tb_table *table = &rows->tables[TB_TABLE_TRADES];
    const tb_buffer *ids = &rows->buffers[TB_IDS_OF_TRADES];
    const int64_t row = (int64_t)cursor->trades++;
    int32_t from, length = span(table, TB_TRADE_id_end, row, ids, 1, &from);
    FUZZ_CHECK(length > 0 && length <= TB_TRADE_ID_BYTES);
    FUZZ_CHECK(ROW(int64_t, TB_TRADE_size) >= 0 && (ROW(int8_t, TB_TRADE_side) & ~1) == 0);
    FUZZ_CHECK(ROW(int8_t, TB_TRADE_tick_direction) < 4);
    FUZZ_CHECK(ROW(int64_t, TB_TRADE_match_ms) >= 0 && ROW(int64_t, TB_TRADE_match_ms) <= TB_LAST_MS);
    FUZZ_CHECK(result >= 0 && side->engine.feeds[result]->kind == TB_KIND_TRADES);
    check_new_trade(&side->trade_ids[result], ids->bytes + from, length);
    cursor->trade_ids = (size_t)(from + length);
    fuzz_total.trades++;
}

static void read_ticker_row(const tb_rows *rows, fuzz_cursor *cursor)
{
    const tb_table *table = &rows->tables[TB_TABLE_TICKERS];
    const int64_t row = (int64_t)cursor->tickers++;
    FUZZ_CHECK(ROW(uint8_t, TB_TICKER_kind) <= TB_DELTA);
    for (int i = 0; i < TB_TICKER_TEXTS; i++) {
        int32_t from;
        FUZZ_CHECK(span(table, TB_TICKER_text_0_end + i, row, &rows->buffers[TB_TEXTS_OF_TICKERS + i], 1, &from) <=
                   TB_TEXT_BYTES);
    }
    fuzz_total.tickers++;
}

static void check_model(const fuzz_model *model, const tb_book *book)
{
    for (int s = 0; s < 2; s++) {
        FUZZ_CHECK(model->count[s] == book->sides[s].count);
        for (int32_t i = 0; i < model->count[s]; i++) {
            tb_level level = tb_book_level(book, s, s ? i : model->count[s] - 1 - i);
            FUZZ_CHECK(level.price == model->levels[s][i].price && level.size == model->levels[s][i].size);
        }
    }
}

void fuzz_check_rows(fuzz_side *side, int32_t result)
{
    const tb_engine *engine = &side->engine;
    FUZZ_CHECK(engine->symbol_count <= FUZZ_MAX_SYMBOLS);
    for (int32_t i = 0; i < engine->symbol_count; i++) {
        const tb_rows *rows = engine->symbols[i]->rows;
        fuzz_cursor *cursor = &side->cursors[i];
        while (cursor->books < (size_t)rows->tables[TB_TABLE_BOOKS].count)
            read_book_row(side, rows, cursor);
        while (cursor->trades < (size_t)rows->tables[TB_TABLE_TRADES].count)
            read_trade_row(side, result, rows, cursor);
        while (cursor->tickers < (size_t)rows->tables[TB_TABLE_TICKERS].count)
            read_ticker_row(rows, cursor);
        FUZZ_CHECK(cursor->trade_ids == rows->buffers[TB_IDS_OF_TRADES].used);
        for (int s = 0; s < 2; s++)
            FUZZ_CHECK(cursor->levels[s] == rows->buffers[TB_BID_PRICES + 2 * s].used);
    }
    for (int i = 0; i < FUZZ_BOOKS; i++) {
        const tb_book *book = &engine->feeds[i]->book;
        model_widen(&side->models[i], book->price_decimals, book->size_decimals);
        check_model(&side->models[i], book);
    }
}

void fuzz_take_rows(fuzz_side *side)
{
    for (int32_t i = 0; i < side->engine.symbol_count; i++) {
        tb_rows_clear(side->engine.symbols[i]->rows);
        memset(&side->cursors[i], 0, sizeof side->cursors[i]);
    }
    for (int32_t i = 0; i < side->engine.feed_count; i++)
        side->engine.feeds[i]->last_row = -1;
}

void fuzz_forget_models(fuzz_side *side)
{
    for (int i = 0; i < FUZZ_BOOKS; i++) {
        fuzz_model *model = &side->models[i];
        model->count[0] = model->count[1] = 0;
        model->price_decimals = model->size_decimals = 0;
    }
    for (int i = 0; i < FUZZ_FEEDS; i++)
        side->trade_ids[i].count = 0;
}
