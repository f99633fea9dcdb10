/* How late live frames are, by class of topic: from the matching engine's and the push gateway's stamp to ours. */
#include <stdlib.h>
#include <string.h>

#include "tb_internal.h"

int tb_engine_measure(tb_engine *engine)
{
    if (!engine->delays)
        engine->delays = calloc(1, sizeof *engine->delays);
    return engine->delays != NULL;
}

static uint32_t until_dot(const tb_feed *feed, uint32_t from)
{
    while (from < feed->topic_length && feed->topic[from] != '.')
        from++;
    return from;
}

/* What a topic says before its symbol, which may hold dots itself (`XRP-30OCT26-0.4-P-USDT`): `orderbook.50`, `publicTrade`. */
static uint32_t class_length(const tb_feed *feed)
{
    const uint32_t first = until_dot(feed, 0);
    const int has_two = (first == 9 && memcmp(feed->topic, "orderbook", 9) == 0) ||
                        (first == 5 && memcmp(feed->topic, "kline", 5) == 0);
    return has_two && first < feed->topic_length ? until_dot(feed, first + 1) : first;
}

/* What finds no room shares the last class. */
static int32_t class_of(tb_class_delays *delays, const tb_feed *feed)
{
    const uint32_t length = class_length(feed);
    for (int32_t i = 0; i < delays->count; i++)
        if (delays->names[i].length == length && memcmp(delays->names[i].text, feed->topic, length) == 0)
            return i;
    if (delays->count == TB_DELAY_CLASSES)
        return TB_DELAY_CLASSES - 1;
    tb_class_name *name = &delays->names[delays->count];
    name->length = length;
    memcpy(name->text, feed->topic, length);
    if (delays->count == TB_DELAY_CLASSES - 1) {
        name->length = 5;
        memcpy(name->text, "other", 5);
    }
    return delays->count++;
}

void tb_observe(tb_engine *engine, tb_feed *feed, const tb_frame *frame, int64_t last_update_id, tb_stamp at)
{
    /* A keep-alive of level 1 says the same again (protocol 3.1): it is as old as what it repeats. */
    const int book = feed->kind == TB_KIND_BOOK || feed->kind == TB_KIND_RPI, snapshot = book && frame->kind == TB_SNAPSHOT;
    if (feed->sequence != at.sequence || (snapshot && frame->update_id == last_update_id))
        return;
    /* And a snapshot of an idle book is as old as the book's last change. */
    tb_observe_times(engine, feed, frame->push_ms, snapshot && feed->depth > 1 ? TB_NONE : frame->match_ms, at);
}

void tb_observe_times(tb_engine *engine, tb_feed *feed, int64_t push_ms, int64_t match_ms, tb_stamp at)
{
    if (feed->delay_class == 0)
        feed->delay_class = 1 + class_of(engine->delays, feed);
    const int32_t class = feed->delay_class - 1;
    if (push_ms != TB_NONE)
        tb_add_delay(&engine->delays->push[class], at.receive_ns - push_ms * INT64_C(1000000), 1);
    if (match_ms != TB_NONE)
        tb_add_delay(&engine->delays->match[class], at.receive_ns - match_ms * INT64_C(1000000), 1);
}
