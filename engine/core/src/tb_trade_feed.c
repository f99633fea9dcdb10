/* Trade feeds: once by id, each row under its own symbol. */
#include <stdlib.h>
#include <string.h>

#include "tb_internal.h"

#define TRADE(column, type) TB_AT(table, type, TB_TRADE_##column, row)

static void trade_row(tb_engine *engine, int32_t symbol_index, const tb_frame *frame, const tb_trade *trade,
                      tb_stamp at, int source)
{
    tb_symbol *symbol = engine->symbols[symbol_index];
    tb_table *table = &symbol->rows->tables[TB_TABLE_TRADES];
    tb_buffer *ids = &symbol->rows->buffers[TB_IDS_OF_TRADES];
    uint8_t *id = tb_buffer_reserve(ids, trade->id.length);
    if (!id || !tb_table_reserve(table, TB_TABLE_TRADES)) {
        engine->rows_lost++;
        return;
    }
    memcpy(id, trade->id.at, trade->id.length);
    ids->used += trade->id.length;
    const int64_t row = table->count++;
    tb_made_row(engine, symbol_index, row);
    TRADE(sequence, int64_t) = at.sequence;
    TRADE(receive_ns, int64_t) = at.receive_ns;
    TRADE(push_ms, int64_t) = frame->push_ms;
    TRADE(match_ms, int64_t) = trade->match_ms;
    TRADE(price, int64_t) = trade->price;
    TRADE(size, int64_t) = trade->size;
    TRADE(cross_sequence, int64_t) = trade->cross_sequence;
    TRADE(day, int32_t) = tb_day_of(frame->push_ms);
    TB_AT(table, int32_t, TB_TRADE_id_end, row + 1) = (int32_t)ids->used;
    TRADE(line, uint16_t) = at.line;
    TRADE(price_exponent, int8_t) = (int8_t)-symbol->price_decimals;
    TRADE(size_exponent, int8_t) = (int8_t)-symbol->size_decimals;
    TRADE(side, int8_t) = (int8_t)trade->side;
    TRADE(source, int8_t) = (int8_t)source;
    TRADE(tick_direction, int8_t) = trade->tick_direction;
    TRADE(is_block, int8_t) = trade->is_block;
    TRADE(is_rpi, int8_t) = trade->is_rpi;
    TRADE(extras, uint8_t) = trade->extras;
    for (int i = 0; i < 4; i++)
        TB_AT(table, tb_int128, TB_TRADE_mark_price + i, row) = trade->extras >> i & 1 ? trade->extra[i] : 0;
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
        symbol->pending_price = (uint8_t)tb_max(symbol->pending_price, trade->price_decimals);
        if (trade->size)
            symbol->pending_size = (uint8_t)tb_max(symbol->pending_size, trade->size_decimals);
    }
    for (int32_t i = 0; i < frame->trade_count && error == TB_OK; i++) {
        tb_trade *trade = &frame->trades[i];
        const tb_symbol *symbol = engine->symbols[symbols[i]];
        if (tb_rescale(&trade->price, symbol->pending_price - trade->price_decimals) != TB_OK ||
            (trade->size && tb_rescale(&trade->size, symbol->pending_size - trade->size_decimals) != TB_OK))
            error = TB_DECIMAL;
        else
            error = tb_can_widen(engine, symbol, symbol->pending_price, symbol->pending_size);
    }
    return error;
}

static void hash_id(const tb_trade *trade, uint64_t hash[2])
{
    hash[0] = tb_hash(trade->id.at, trade->id.length, 3);
    hash[1] = tb_hash(trade->id.at, trade->id.length, UINT64_C(0x5851F42D4C957F2D));
}

/* Rows of the trades that the feed doesn't know yet. */
static void take_trades(tb_engine *engine, tb_feed *feed, const tb_frame *frame, const int32_t *symbols,
                           tb_stamp at, int source)
{
    int64_t rows = 0;
    for (int32_t i = 0; i < frame->trade_count; i++) {
        const tb_trade *trade = &frame->trades[i];
        const tb_symbol *symbol = engine->symbols[symbols[i]];
        uint64_t hash[2];
        hash_id(trade, hash);
        tb_widen(engine, symbols[i], symbol->pending_price, symbol->pending_size, at);
        frame->trades[i].owner = symbols[i];
        frame->trades[i].fresh = (uint8_t)tb_remember_trade(feed->trade_ids, hash);
        if (!trade->fresh)
            continue;
        rows++;
        if (engine->columns)
            trade_row(engine, symbols[i], frame, trade, at, source);
    }
    feed->rows += rows;
    feed->repeats += frame->trade_count - rows;
}

/* Trades that were fetched back are older than some that the stream has brought since. The ids are laid anew, the
 * message's last and in its order, so that those that can come again are not the first to be forgotten. */
static void lay_ids_anew(tb_feed *feed, const tb_frame *frame)
{
    tb_trade_ids *ids = feed->trade_ids, *named = tb_new_trades(ids->room), *laid = tb_new_trades(ids->room);
    if (named && laid) { /* if not: the order only serves memory's thrift */
        uint64_t hash[2];
        for (int32_t i = 0; i < frame->trade_count; i++) {
            hash_id(&frame->trades[i], hash);
            tb_remember_trade(named, hash);
        }
        const int32_t first = ids->count == ids->room ? ids->at : 0;
        for (int32_t i = 0; i < ids->count; i++) {
            const uint64_t *old = ids->hash[(first + i) % ids->room];
            if (!tb_knows_trade(named, old))
                tb_remember_trade(laid, old);
        }
        for (int32_t i = 0; i < frame->trade_count; i++) {
            hash_id(&frame->trades[i], hash);
            tb_remember_trade(laid, hash);
        }
        feed->trade_ids = laid;
        laid = ids;
    }
    free(named);
    free(laid);
}

/* Lines bring a burst one after the other: what the last of them brings must still be known then. So there is room for what
 * all of them bring in a second and in the next. */
static void make_room(tb_feed *feed, int32_t trades, tb_stamp at)
{
    tb_merge *merge = feed->merge;
    if (!merge)
        return;
    if (at.receive_ns - merge->burst_ns > TB_WAIT_NS || at.receive_ns < merge->burst_ns) {
        merge->burst_ns = at.receive_ns;
        merge->burst = 0;
    }
    if (merge->burst < TB_MOST_TRADE_IDS)
        merge->burst += trades;
    int32_t room = feed->trade_ids->room;
    while (room < 2 * merge->burst && room < TB_MOST_TRADE_IDS)
        room *= 2;
    tb_trade_ids *grown = room > feed->trade_ids->room ? tb_copy_trades(feed->trade_ids, room) : NULL;
    if (grown) {
        free(feed->trade_ids);
        feed->trade_ids = grown;
    }
}

tb_error tb_on_trades(tb_engine *engine, int32_t index, tb_frame *frame, tb_stamp at, tb_trade_source from)
{
    tb_feed *feed = engine->feeds[index];
    int32_t few[64], *symbols = few;
    if (frame->trade_count > 64 && !(symbols = malloc((size_t)frame->trade_count * sizeof *symbols)))
        return TB_NO_MEMORY;
    int32_t known = engine->symbol_count;
    tb_error error = fit_trades(engine, frame, symbols);
    if (TB_UNLIKELY(error != TB_OK)) { /* a refused frame leaves no symbols behind either */
        tb_forget_symbols(engine, known);
    } else if (from != TB_FROM_STREAM) { /* says nothing about the stream */
        take_trades(engine, feed, frame, symbols, at, from);
        if (from == TB_FROM_BACKFILL)
            lay_ids_anew(feed, frame);
    } else {
        int64_t first_match = frame->trade_count ? frame->trades[0].match_ms : TB_NONE;
        const int64_t rows = feed->rows, repeats = feed->repeats;
        if (TB_UNLIKELY(tb_is_merged(feed, at)))
            (void)tb_admit(engine, index, frame, at);
        make_room(feed, frame->trade_count, at);
        take_trades(engine, feed, frame, symbols, at, TB_FROM_STREAM);
        tb_count_trades(feed, feed->rows - rows, feed->repeats - repeats, at);
        tb_count_message(feed, at);
        tb_close_gap(engine, index, &feed->gap, TB_BY_MESSAGE, TB_NONE, first_match, at);
        feed->state = TB_LIVE;
        frame->match_ms = frame->trade_count ? frame->trades[frame->trade_count - 1].match_ms : feed->match_ms;
        frame->cross_sequence =
            frame->trade_count ? frame->trades[frame->trade_count - 1].cross_sequence : feed->cross_sequence;
        tb_good_frame(feed, frame, at);
    }
    if (symbols != few)
        free(symbols);
    return error;
}
