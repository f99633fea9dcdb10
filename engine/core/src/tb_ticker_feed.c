/* Ticker feeds: deltas merged key by key into the last whole object. */
#include <string.h>

#include "tb_internal.h"

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
    row->day = tb_day_of(frame->push_ms);
    row->cross_sequence = frame->cross_sequence;
    row->keys = frame->ticker.keys;
    row->present = state->present;
    row->kind = (uint8_t)frame->kind;
    row->applied = (uint8_t)applied;
    memcpy(row->texts, state->texts, sizeof row->texts);
    memcpy(row->values, state->values, sizeof row->values);
    rows->tickers.used += sizeof *row;
}

tb_error tb_on_ticker(tb_engine *engine, int32_t index, tb_frame *frame, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    tb_count_message(feed, at);
    if (frame->kind == TB_DELTA && feed->state != TB_LIVE) {
        tb_open_gap(engine, index, TB_CAUSE_NO_SNAPSHOT, TB_NONE, TB_NONE, at);
        ticker_row(engine, feed, frame, &frame->ticker, 0, at);
        return TB_OK;
    }
    if (frame->kind == TB_SNAPSHOT) {
        feed->ticker->keys = feed->ticker->present = 0;
        tb_close_gap(engine, index, &feed->gap, feed->depth ? TB_BY_MESSAGE : TB_BY_SNAPSHOT, TB_NONE, TB_NONE, at);
        feed->state = TB_LIVE;
    }
    merge_ticker(feed->ticker, &frame->ticker);
    frame->match_ms = TB_NONE;
    tb_good_frame(feed, frame, at);
    ticker_row(engine, feed, frame, feed->ticker, 1, at);
    return TB_OK;
}
