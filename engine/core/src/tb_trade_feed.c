/* Trade feeds: once by id, each row under its own symbol. */
#include <stdlib.h>
#include <string.h>

#include "tb_internal.h"

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
    row->day = tb_day_of(frame->push_ms);
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

tb_error tb_on_trades(tb_engine *engine, int32_t index, tb_frame *frame, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    int32_t few[64], *symbols = few;
    if (frame->trade_count > 64 && !(symbols = malloc((size_t)frame->trade_count * sizeof *symbols)))
        return TB_NO_MEMORY;
    int32_t known = engine->symbol_count;
    tb_error error = fit_trades(engine, frame, symbols);
    if (TB_UNLIKELY(error != TB_OK)) /* a refused frame leaves no symbols behind either */
        tb_forget_symbols(engine, known);
    if (error == TB_OK) {
        int64_t first_match = frame->trade_count ? frame->trades[0].match_ms : TB_NONE;
        int64_t rows = 0;
        for (int32_t i = 0; i < frame->trade_count; i++) {
            tb_trade *trade = &frame->trades[i];
            tb_symbol *symbol = engine->symbols[symbols[i]];
            uint64_t hash[2] = {tb_hash(trade->id.at, trade->id.length, 3),
                                tb_hash(trade->id.at, trade->id.length, UINT64_C(0x5851F42D4C957F2D))};
            tb_widen(engine, symbols[i], symbol->pending_price, symbol->pending_size, at);
            if (!tb_remember_trade(feed->trade_ids, hash))
                continue;
            rows++;
            if (engine->columns)
                trade_row(engine, symbols[i], frame, trade, at);
        }
        tb_count_message(feed, at);
        feed->rows += rows;
        feed->repeats += frame->trade_count - rows;
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
