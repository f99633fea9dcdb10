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
    if (feed->depth > 1 || !tb_is_merged(feed, at))
        return 0;
    /* Its rows stand for themselves, so that one may come late; and the core doesn't know what time they tell. */
    engine->frame.push_ms = 0;
    engine->frame.match_ms = TB_NONE;
    engine->frame.kind = TB_DELTA;
    if (tb_admit(engine, index, &engine->frame, at) != TB_COPY)
        return 0;
    tb_engine_heard(engine, index, at);
    return 1;
}

void tb_engine_good(tb_engine *engine, int32_t index, tb_news news, int healer, int64_t last_update_id, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    if (engine->delays != NULL && feed->state == TB_LIVE)
        tb_observe_times(engine, feed, news.push_ms, news.match_ms, at);
    tb_close_gap(engine, index, &feed->gap, healer, last_update_id, news.match_ms, at);
    feed->state = TB_LIVE;
    feed->update_id = news.update_id;
    feed->cross_sequence = news.cross_sequence;
    feed->match_ms = news.match_ms;
    feed->push_ms = news.push_ms;
    feed->receive_ns = at.receive_ns;
    feed->sequence = at.sequence;
    feed->line = at.line;
}

void tb_engine_broken(tb_engine *engine, int32_t index, int cause, int64_t first_update_id, int64_t match_ms, tb_stamp at)
{
    if (engine->feeds[index]->state == TB_LIVE)
        tb_make_stale(engine, index, cause, at);
    else
        tb_open_gap(engine, index, cause, first_update_id, match_ms, at);
}

void tb_engine_refuse(tb_engine *engine, int32_t index, tb_error error, tb_stamp at)
{
    (void)tb_undecodable(engine, index, error, at);
}

void tb_engine_note_digest(tb_engine *engine, int32_t index, uint64_t digest, tb_stamp at)
{
    tb_event *event = tb_push_event(engine, TB_EVENT_DIGEST, index, at);
    event->update_id = engine->feeds[index]->update_id;
    event->digest = digest;
}

int tb_engine_damaged(const tb_engine *engine, int32_t index, uint16_t line)
{
    return line < engine->line_count && engine->lines[line].damage_sequence > engine->feeds[index]->sequence;
}
