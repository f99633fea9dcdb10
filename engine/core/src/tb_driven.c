/* Driven feeds: the core routes their frames and keeps their counters, states and gaps; a driver reads what they say. */
#include "tb_internal.h"

void tb_engine_heard(tb_engine *engine, int32_t index, tb_stamp at)
{
    tb_count_message(engine->feeds[index], at);
    tb_line_is_good(engine, at);
}

int tb_engine_is_copy(tb_engine *engine, int32_t index, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    if (!tb_is_merged(feed, at))
        return 0;
    /* Its rows stand for themselves, so that one may come late; and the core doesn't know what time they tell. */
    engine->frame.push_ms = engine->frame.match_ms = TB_NONE;
    engine->frame.kind = TB_DELTA;
    if (tb_admit(engine, index, &engine->frame, at) != TB_COPY)
        return 0;
    tb_engine_heard(engine, index, at);
    tb_tell(engine);
    return 1;
}

void tb_engine_good(tb_engine *engine, int32_t index, int64_t push_ms, int64_t match_ms, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    if (engine->delays != NULL && feed->state == TB_LIVE)
        tb_observe_times(engine, feed, push_ms, match_ms, at);
    tb_close_gap(engine, index, &feed->gap, TB_BY_MESSAGE, TB_NONE, match_ms, at);
    feed->state = TB_LIVE;
    feed->match_ms = match_ms;
    feed->push_ms = push_ms;
    feed->receive_ns = at.receive_ns;
    feed->sequence = at.sequence;
    feed->line = at.line;
    tb_touch(engine, index);
    tb_tell(engine);
}

void tb_engine_refuse(tb_engine *engine, int32_t index, tb_error error, tb_stamp at)
{
    (void)tb_undecodable(engine, index, error, at);
    tb_tell(engine);
}
