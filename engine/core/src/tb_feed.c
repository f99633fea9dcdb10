/* What every kind of feed needs: exponent pairs, the ids of a chain, the last good frame. */
#include <stdlib.h>
#include <string.h>

#include "tb_internal.h"

tb_error tb_can_widen(const tb_engine *engine, const tb_symbol *symbol, unsigned price, unsigned size)
{
    if (price <= symbol->price_decimals && size <= symbol->size_decimals)
        return TB_OK;
    for (int32_t i = symbol->first_feed; i >= 0; i = engine->feeds[i]->next_of_symbol)
        if (tb_book_can_widen(&engine->feeds[i]->book, price, size) != TB_OK ||
            (engine->feeds[i]->rpi && tb_book_can_widen(engine->feeds[i]->rpi, price, size) != TB_OK))
            return TB_DECIMAL;
    return TB_OK;
}

void tb_widen(tb_engine *engine, int32_t index, unsigned price, unsigned size, tb_stamp at)
{
    tb_symbol *symbol = engine->symbols[index];
    if (price == symbol->price_decimals && size == symbol->size_decimals)
        return;
    for (int32_t i = symbol->first_feed; i >= 0; i = engine->feeds[i]->next_of_symbol) {
        tb_book_widen(&engine->feeds[i]->book, price, size);
        if (engine->feeds[i]->rpi)
            tb_book_widen(engine->feeds[i]->rpi, price, size);
        engine->pairs[i].price_decimals = (uint8_t)price;
        engine->pairs[i].size_decimals = (uint8_t)size;
        tb_touch(engine, i);
    }
    symbol->price_decimals = (uint8_t)price;
    symbol->size_decimals = (uint8_t)size;
    tb_event *event = tb_push_event(engine, TB_EVENT_WIDENED, -1, at);
    event->symbol = index;
    event->price_decimals = (uint8_t)price;
    event->size_decimals = (uint8_t)size;
}

tb_error tb_engine_widen(tb_engine *engine, int32_t index, unsigned price, unsigned size, int64_t sequence,
                         int64_t receive_ns)
{
    tb_symbol *symbol = engine->symbols[index];
    tb_stamp at = {sequence, receive_ns, 0};
    if (price > TB_MAX_DECIMALS || size > TB_MAX_DECIMALS)
        return TB_DECIMAL;
    price = tb_max(price, symbol->price_decimals);
    size = tb_max(size, symbol->size_decimals);
    tb_error error = tb_can_widen(engine, symbol, price, size);
    if (error == TB_OK)
        tb_widen(engine, index, price, size, at);
    tb_tell(engine);
    return error;
}

int tb_seen(const tb_feed *feed, int64_t u)
{
    for (int32_t i = feed->seen_count; i-- > 0;)
        if (u >= feed->seen[i].low && u <= feed->seen[i].high)
            return 1;
    return 0;
}

void tb_remember(tb_feed *feed, int64_t u)
{
    for (int32_t i = feed->seen_count; i-- > 0;) {
        if (u - 1 == feed->seen[i].high) {
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

tb_trade_ids *tb_new_trades(int32_t room)
{
    const size_t places = (size_t)room;
    tb_trade_ids *ids = calloc(1, sizeof *ids + places * (sizeof *ids->hash + 3 * sizeof *ids->next));
    if (!ids)
        return NULL;
    ids->room = room;
    ids->hash = (uint64_t (*)[2])(void *)(ids + 1);
    ids->next = (int16_t *)(void *)(ids->hash + places);
    ids->heads = ids->next + places;
    memset(ids->heads, 0xFF, 2 * places * sizeof *ids->heads);
    return ids;
}

tb_trade_ids *tb_copy_trades(const tb_trade_ids *ids, int32_t room)
{
    tb_trade_ids *copy = tb_new_trades(room);
    const int32_t first = ids->count == ids->room ? ids->at : 0;
    for (int32_t i = 0; copy && i < ids->count; i++)
        (void)tb_remember_trade(copy, ids->hash[(first + i) % ids->room]);
    return copy;
}

static int16_t *head_of(const tb_trade_ids *ids, const uint64_t hash[2])
{
    return &ids->heads[hash[0] & (2 * (uint64_t)ids->room - 1)];
}

int tb_knows_trade(const tb_trade_ids *ids, const uint64_t hash[2])
{
    for (int16_t i = *head_of(ids, hash); i >= 0; i = ids->next[i])
        if (ids->hash[i][0] == hash[0] && ids->hash[i][1] == hash[1])
            return 1;
    return 0;
}

int tb_remember_trade(tb_trade_ids *ids, const uint64_t hash[2])
{
    if (tb_knows_trade(ids, hash))
        return 0;
    int16_t slot = (int16_t)ids->at;
    if (ids->count == ids->room) { /* forget the oldest */
        int16_t *link = head_of(ids, ids->hash[slot]);
        while (*link != slot)
            link = &ids->next[*link];
        *link = ids->next[slot];
    } else {
        ids->count++;
    }
    int16_t *head = head_of(ids, hash);
    ids->hash[slot][0] = hash[0];
    ids->hash[slot][1] = hash[1];
    ids->next[slot] = *head;
    *head = slot;
    ids->at = (ids->at + 1) & (ids->room - 1);
    return 1;
}

void tb_count_message(tb_feed *feed, tb_stamp at)
{
    if (TB_UNLIKELY(feed->messages++ == 0)) {
        feed->first_receive_ns = at.receive_ns;
        feed->first_sequence = at.sequence;
    }
    feed->last_receive_ns = at.receive_ns;
}

void tb_good_frame(tb_feed *feed, const tb_frame *frame, tb_stamp at)
{
    feed->cross_sequence = frame->cross_sequence;
    feed->match_ms = frame->match_ms;
    feed->push_ms = frame->push_ms;
    feed->receive_ns = at.receive_ns;
    feed->sequence = at.sequence;
    feed->line = at.line;
}
