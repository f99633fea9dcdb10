/* Events, and the gaps that they tell of. */
#include <stdlib.h>
#include <string.h>

#include "tb_internal.h"

#define MAX_PENDING_EVENTS 1000000

tb_event *tb_new_event(tb_engine *engine)
{
    static _Thread_local tb_event lost;
    if (engine->event_count == engine->event_capacity) {
        int32_t capacity = engine->event_capacity ? engine->event_capacity * 2 : 64;
        tb_event *events =
            capacity > MAX_PENDING_EVENTS ? NULL : realloc(engine->events, (size_t)capacity * sizeof *events);
        if (!events) {
            engine->events_lost++;
            return &lost;
        }
        engine->events = events;
        engine->event_capacity = capacity;
    }
    return &engine->events[engine->event_count++];
}

tb_event *tb_push_event(tb_engine *engine, int type, int32_t feed, tb_stamp at)
{
    tb_event *event = tb_new_event(engine);
    memset(event, 0, sizeof *event);
    event->type = type;
    event->feed = feed;
    event->symbol = feed >= 0 ? engine->feeds[feed]->symbol : -1;
    event->line = at.line;
    event->order = engine->order;
    event->sequence = at.sequence;
    event->receive_ns = at.receive_ns;
    event->match_ms = event->first_update_id = event->last_update_id = event->start_match_ms = event->update_id =
        TB_NONE;
    return event;
}

int tb_has_consecutive_ids(const tb_feed *feed)
{
    return feed->kind != TB_KIND_TRADES && feed->kind != TB_KIND_TICKER && feed->depth > 1;
}

static void tell_opened(tb_engine *engine, int32_t index, const tb_gap *gap, tb_stamp at)
{
    tb_event *event = tb_push_event(engine, TB_EVENT_GAP_OPENED, index, at);
    event->detail = gap->cause;
    event->first_update_id = gap->first_update_id;
    event->start_ns = gap->start_ns;
    event->start_match_ms = gap->start_match_ms;
}

/* A gap from the last good frame on; or, when there was none, from what could not be used. */
void tb_open_gap(tb_engine *engine, int32_t index, int cause, int64_t first_update_id, int64_t match_ms,
                     tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    if (feed->gap.open)
        return;
    int known = feed->state == TB_LIVE && feed->receive_ns != TB_NONE;
    feed->gap.open = 1;
    feed->gap.cause = cause;
    feed->gap.first_update_id = first_update_id;
    feed->gap.start_ns = known ? feed->receive_ns : at.receive_ns;
    feed->gap.start_match_ms = known ? feed->match_ms : match_ms;
    feed->gap.reach_ns = feed->gap.start_ns;
    feed->gap.reach_match_ms = feed->gap.start_match_ms;
    tell_opened(engine, index, &feed->gap, at);
    tb_touch(engine, index);
}

void tb_make_stale(tb_engine *engine, int32_t index, int cause, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    int known = tb_has_consecutive_ids(feed) && feed->update_id != TB_NONE && feed->update_id != INT64_MAX;
    tb_open_gap(engine, index, cause, known ? feed->update_id + 1 : TB_NONE, TB_NONE, at);
    feed->state = TB_STALE;
    feed->crossed = 0;
    tb_touch(engine, index);
}

void tb_make_stale_since(tb_engine *engine, int32_t index, int cause, int64_t start_ns, int64_t start_match_ms, tb_stamp at)
{
    tb_feed *feed = engine->feeds[index];
    const int64_t receive_ns = feed->receive_ns, match_ms = feed->match_ms;
    feed->receive_ns = start_ns;
    feed->match_ms = start_match_ms;
    tb_make_stale(engine, index, cause, at);
    feed->receive_ns = receive_ns;
    feed->match_ms = match_ms;
}

/* What was lost ahead of the gap that is open makes another one, up to it: where that began has been told and stays. */
void tb_lengthen_gap(tb_engine *engine, int32_t index, int cause, int64_t start_ns, int64_t start_match_ms, tb_stamp at)
{
    tb_gap *open = &engine->feeds[index]->gap;
    if (!open->open || start_ns >= open->reach_ns)
        return;
    tb_gap gap = {1, cause, TB_NONE, start_ns, start_match_ms, start_ns, start_match_ms};
    tell_opened(engine, index, &gap, at);
    const int64_t match_ms = open->reach_match_ms;
    at.receive_ns = open->reach_ns;
    open->reach_ns = start_ns;
    open->reach_match_ms = start_match_ms;
    tb_close_gap(engine, index, &gap, TB_BY_GAP, TB_NONE, match_ms, at);
}

void tb_close_gap(tb_engine *engine, int32_t index, tb_gap *gap, int healer, int64_t last_update_id,
                      int64_t match_ms, tb_stamp at)
{
    if (!gap->open)
        return;
    tb_event *event = tb_push_event(engine, TB_EVENT_GAP_CLOSED, index, at);
    event->detail = gap->cause;
    event->healer = healer;
    event->first_update_id = gap->first_update_id;
    event->last_update_id = last_update_id;
    event->start_ns = gap->start_ns;
    event->start_match_ms = gap->start_match_ms;
    event->match_ms = match_ms;
    gap->open = 0;
    tb_touch(engine, index);
}
