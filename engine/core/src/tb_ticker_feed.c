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

#define TICKER(column, type) TB_AT(table, type, TB_TICKER_##column, row)

static void ticker_row(tb_engine *engine, tb_feed *feed, const tb_frame *frame, const tb_ticker *state, int applied,
                       tb_stamp at)
{
    feed->rows++;
    feed->unapplied += !applied;
    if (!engine->columns)
        return;
    tb_rows *rows = engine->symbols[feed->symbol]->rows;
    tb_table *table = &rows->tables[TB_TABLE_TICKERS];
    tb_buffer *texts = &rows->buffers[TB_TEXTS_OF_TICKERS];
    int fits = tb_table_reserve(table, TB_TABLE_TICKERS);
    for (int i = 0; i < TB_TICKER_TEXTS && fits; i++)
        fits = tb_buffer_reserve(&texts[i], TB_TEXT_BYTES) != NULL;
    if (!fits) {
        engine->rows_lost++;
        return;
    }
    const int64_t row = table->count++;
    tb_made_row(engine, feed->symbol, row);
    for (int i = 0, text = 0; i < TB_TICKER_FIELDS; i++) {
        void *column = table->columns[TB_TICKER_FIRST_FIELD + i];
        switch (tb_ticker_type(i)) {
        case 'd': ((tb_int128 *)column)[row] = state->values[i]; break;
        case 't': ((int64_t *)column)[row] = (int64_t)state->values[i]; break;
        default:
            if (state->present >> i & 1) {
                memcpy(texts[text].bytes + texts[text].used, state->texts[text].bytes, state->texts[text].length);
                texts[text].used += state->texts[text].length;
            }
            text++;
        }
    }
    TICKER(sequence, int64_t) = at.sequence;
    TICKER(receive_ns, int64_t) = at.receive_ns;
    TICKER(push_ms, int64_t) = frame->push_ms;
    TICKER(cross_sequence, int64_t) = frame->cross_sequence;
    TICKER(keys, uint64_t) = frame->ticker.keys;
    TICKER(present, uint64_t) = state->present;
    TICKER(day, int32_t) = tb_day_of(frame->push_ms);
    TB_AT(table, int32_t, TB_TICKER_text_0_end, row + 1) = (int32_t)texts[0].used;
    TB_AT(table, int32_t, TB_TICKER_text_1_end, row + 1) = (int32_t)texts[1].used;
    TICKER(line, uint16_t) = at.line;
    TICKER(kind, uint8_t) = (uint8_t)frame->kind;
    TICKER(applied, uint8_t) = (uint8_t)applied;
}

tb_error tb_on_ticker(tb_engine *engine, int32_t index, tb_frame *frame, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    tb_count_message(feed, at);
    frame->match_ms = TB_NONE;
    if (TB_UNLIKELY(tb_is_merged(feed, at))) {
        const tb_verdict verdict = tb_admit(engine, index, frame, at);
        if (verdict == TB_LATE)
            ticker_row(engine, feed, frame, &frame->ticker, 0, at);
        if (verdict != TB_TAKE)
            return TB_OK;
    }
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
    tb_good_frame(feed, frame, at);
    ticker_row(engine, feed, frame, feed->ticker, 1, at);
    return TB_OK;
}
