/* The feeds of one category: routing, the per-feed state machine (design, "When a book may be believed"), books, merged
 * tickers, and, when asked for, archive rows. Bytes and time in; events and rows out; no clock, no I/O, no Python. */
#ifndef TB_ENGINE_H
#define TB_ENGINE_H

#include "tb_book.h"
#include "tb_delays.h"
#include "tb_frame.h"
#include "tb_index.h"
#include "tb_merge.h"
#include "tb_room.h"
#include "tb_rows.h"
#include "tb_types.h"

#define TB_TOPIC_BYTES 80
#define TB_MAX_FEEDS 65536
#define TB_MAX_SYMBOLS 65536
#define TB_TRADE_IDS 1024      /* remembered per feed: as many as one message may carry (protocol 3.4) */
#define TB_MOST_TRADE_IDS 8192 /* where lines bring them in bursts, one after the other */
#define TB_SEEN_RANGES 8      /* spans of update ids remembered behind a break */
#define TB_DIGEST_EVERY 64     /* updates between two live digests */
#define TB_KEYFRAME_MS 10000   /* push time before a busy feed's next keyframe */
#define TB_KEYFRAME_QUIET_MS 300000
#define TB_NO_DAY INT32_MIN

typedef struct {
    int64_t low, high;
} tb_range;

typedef struct {
    int open;
    int cause;
    int64_t first_update_id; /* or TB_NONE */
    int64_t start_ns, start_match_ms;
    int64_t reach_ns, reach_match_ms; /* what was lost ahead of it and shows only now is told from here on */
} tb_gap;

/* The last trade ids of a feed, as 128-bit hashes: a ring and a chained table over it, in one piece of memory. */
typedef struct {
    int32_t count, at, room; /* room: a power of two */
    uint64_t (*hash)[2];
    int16_t *next, *heads; /* twice as many heads */
} tb_trade_ids;

/* What every frame needs comes first, so that it lies in few cache lines; behind the struct lie a book's levels. */
typedef struct {
    int kind;       /* tb_feed_kind */
    int32_t depth;  /* books; tickers: 1 where every message is a whole snapshot (spot, options) */
    int32_t symbol; /* index, or -1 where rows name their own */
    int state;      /* tb_state */
    const char *symbol_name;
    uint32_t symbol_length, topic_length;
    char topic[TB_TOPIC_BYTES];
    uint16_t line;
    uint8_t crossed : 1;
    uint8_t ended : 1; /* not ours any more: its frames are as unknown as those of any other topic */
    uint8_t subscribed; /* 2: not any more, on purpose */
    uint8_t carried; /* by `line`; where there is a merge, its carriers tell */
    int16_t since_digest;
    tb_merge *merge; /* NULL until a second line carries the feed */
    tb_book book;
    /* of the last good frame */
    int64_t update_id, cross_sequence, match_ms, push_ms, receive_ns, sequence;
    /* counters */
    int64_t messages, rows, repeats, unapplied;
    int64_t last_receive_ns; /* of any decoded frame */
    int64_t changed;         /* levels, since the last keyframe */
    int32_t seen_count;
    int32_t next_of_symbol;
    tb_range seen[TB_SEEN_RANGES];
    int64_t first_receive_ns, first_sequence; /* of the first one that this engine saw */
    tb_gap gap;
    uint8_t quiet; /* the acknowledgement may be all that comes: it makes the feed good */
    /* roll */
    int64_t keyframe_push_ms;
    int32_t file_day;
    int32_t delay_class; /* from 1 on; 0: not looked up yet */
    int64_t last_row; /* index of the feed's newest book row, or -1 */
    tb_ticker *ticker;
    tb_trade_ids *trade_ids;
    tb_book *rpi; /* RPI books: the second size of each level; a level is there while one of the two sizes is */
    _Alignas(16) tb_level levels[]; /* of the book: fixed room for twice its depth a side, none for orderbook.full */
} tb_feed;

/* The exponent pair in force, by feed: beside each other, because the decoder needs it before the feed is at hand. */
typedef struct {
    uint8_t price_decimals, size_decimals;
    int16_t depth; /* of a book in fixed memory; else 0 */
    uint16_t used; /* when it had a frame: tb_engine.use at that time, in steps */
} tb_pair;

/* Whose frames came of late, where there are many feeds: what tells which of them the nearest caches still hold. */
typedef struct {
    uint32_t frames; /* counted */
    int32_t far;     /* of the last few, those whose feed had had none for a while: 0..TB_ALL_FAR */
} tb_use;

#define TB_ALL_FAR 4096

typedef struct {
    char name[TB_SYMBOL_BYTES];
    uint32_t name_length;
    int32_t first_feed;
    uint8_t price_decimals, size_decimals;
    uint8_t pending_price, pending_size;
    tb_rows *rows; /* NULL where none are made */
} tb_symbol;

typedef struct {
    int64_t damage_sequence; /* of the last undecodable frame that no feed could be blamed for */
    int64_t good_ns;
    int64_t good_order;      /* of the frame that this was, in its batch; TB_NONE: there was none */
    tb_gap gap;
} tb_line;

typedef enum {
    TB_EVENT_GAP_OPENED = 0,
    TB_EVENT_GAP_CLOSED,
    TB_EVENT_DIGEST,
    TB_EVENT_WIDENED,
    TB_EVENT_UNDECODABLE,
} tb_event_type;

typedef struct {
    int type;
    int32_t feed;    /* -1: a frame that no feed could be blamed for */
    int32_t symbol;
    int32_t detail;  /* gap: cause; undecodable: tb_error */
    int32_t healer;
    int32_t line;
    int64_t sequence, receive_ns, match_ms;
    int64_t first_update_id, last_update_id;
    int64_t start_ns, start_match_ms;
    int64_t update_id;
    uint64_t digest;
    int64_t order;   /* of the frame that it came of, in its batch: brings the events of several threads in order */
    uint8_t price_decimals, size_decimals;
} tb_event;

#define TB_DELAY_CLASSES 24

typedef struct {
    char text[TB_TOPIC_BYTES];
    uint32_t length;
} tb_class_name;

/* What is measured live, by class of topic. */
typedef struct {
    int32_t count;
    tb_class_name names[TB_DELAY_CLASSES];
    tb_delays match[TB_DELAY_CLASSES], push[TB_DELAY_CLASSES];
} tb_class_delays;

/* What came of a record, for the check whether the archive can hand it back (tb_wire.h). */
typedef struct {
    int32_t feed;   /* or -1: no frame, or none that was taken */
    int32_t symbol; /* whose tables the rows are in; -1: of several */
    int32_t row;    /* the first one */
    int32_t rows;   /* how many; -1: a driver's, which keeps its own; or TB_MADE_MET */
    int32_t layout; /* of a book's frame whose every byte its row tells: as in tb_frame; else 0 */
} tb_made;

#define TB_MADE_MET (-2) /* a digest note that agrees with its book: all that there is to do is done */

typedef struct {
    tb_feed **feeds;
    tb_pair *pairs;
    tb_use use;
    int32_t feed_count, feed_capacity;
    tb_room room; /* of the feeds */
    tb_symbol **symbols;
    int32_t symbol_count, symbol_capacity;
    tb_index feed_index, symbol_index;
    tb_line *lines;
    int32_t line_count;
    tb_event *events;
    int32_t event_count, event_capacity;
    int64_t events_lost;
    tb_frame frame;
    tb_book aside; /* the last good book of a feed whose next frame may have to be refused */
    tb_book aside_rpi; /* and of an RPI book its second one */
    int restating; /* a REST answer is being applied: one digest behind it is enough */
    int32_t found; /* feed of the frame being decoded, or -1 */
    int32_t expected; /* whose it seems to be, and what was fetched ahead; or -1 */
    int64_t order; /* of that frame in its batch */
    const uint8_t *bytes; /* of that frame */
    size_t length;
    int columns;   /* make rows and keyframes; otherwise live digests */
    int64_t undecodable[TB_ERROR_COUNT];
    int64_t unattributed, controls, unknown_topics, drift;
    int64_t rows_lost; /* for want of memory */
    int64_t digests_met;
    tb_made *made;     /* where the batch is told of the frame at hand; NULL: nowhere */
    tb_class_delays *delays; /* NULL: not measured */
    struct tb_shared *shared; /* tb_shared.h; NULL: no other process reads the books */
} tb_engine;

/* Results of tb_engine_apply: a feed's index, or one of these. TB_RESULT_DRIVEN - i: the frame is of driven feed i, and nothing
 * has been done with it yet. */
enum { TB_RESULT_CONTROL = -1, TB_RESULT_UNKNOWN_TOPIC = -2, TB_RESULT_UNDECODABLE = -3, TB_RESULT_DRIVEN = -4 };

/* A row was made. */
static inline void tb_made_row(tb_engine *engine, int32_t symbol, int64_t row)
{
    tb_made *made = engine->made;
    if (!made)
        return;
    if (made->rows == 0) {
        made->symbol = symbol;
        made->row = (int32_t)row;
    } else if (made->symbol != symbol) {
        made->symbol = -1;
    }
    made->rows++;
}

void tb_engine_init(tb_engine *engine, int columns);
void tb_engine_free(tb_engine *engine);
/* Measure how late frames are from here on. 0 when memory is out. */
int tb_engine_measure(tb_engine *engine);

/* -1 when memory or a limit is out */
int32_t tb_engine_add_feed(tb_engine *engine, const char *topic, size_t topic_length, int kind, int32_t depth,
                           const char *symbol, size_t symbol_length);
int32_t tb_engine_find_feed(const tb_engine *engine, const uint8_t *topic, size_t length);
/* The same without a look at the feed itself, which may be far away: now and then the wrong one. */
int32_t tb_engine_guess_feed(const tb_engine *engine, const uint8_t *topic, size_t length);
/* Finds or makes. */
int32_t tb_engine_symbol(tb_engine *engine, const uint8_t *name, size_t length);

/* Finds or makes; NULL when memory is out. */
tb_line *tb_engine_line(tb_engine *engine, uint16_t line);

/* Asks for the lines of a frame that may be far away: else each would be waited for when its turn comes. */
static inline void tb_fetch_frame(const uint8_t *bytes, size_t length)
{
    const size_t most = length < 1024 ? length : 1024;
    for (size_t i = 64; i < most; i += 64)
        __builtin_prefetch(bytes + i);
}

int32_t tb_engine_apply(tb_engine *engine, const uint8_t *bytes, size_t length, int64_t receive_ns,
                        int64_t sequence, uint16_t line);

/* The records of one journal batch, column by column. `offsets` has one entry more than the others. */
typedef struct {
    const uint8_t *payloads;
    const int32_t *offsets;
    const int64_t *receive_ns;
    const int64_t *sequences;
    const uint16_t *lines;
    const uint8_t *kinds;
    tb_made *made; /* what came of each is told here; or NULL */
} tb_batch;

/* Applies records [from, to) of a batch while they are frames that no driver has to read, or, where rows are made and it is told
 * what of, digest notes that agree with their books; returns the index where it stopped. */
int64_t tb_engine_apply_batch(tb_engine *engine, const tb_batch *batch, int64_t from, int64_t to);

/* The same with several threads, each of which takes the frames of some symbols. What comes out is what one thread would have
 * made, to the last bit. Stretches of fewer frames than `least_run` are left to one, and all where threads can't be had. */
int64_t tb_engine_apply_batch_in_threads(tb_engine *engine, const tb_batch *batch, int64_t from, int64_t to, int threads,
                                         int64_t least_run);

/* What the bytes don't say. */
void tb_engine_subscribed(tb_engine *engine, int32_t feed, uint16_t line, int64_t receive_ns, int64_t sequence);
/* What a line carried is stale, unless another line carries it too. */
void tb_engine_disconnect(tb_engine *engine, uint16_t line, int64_t receive_ns, int64_t sequence);
/* A line carries a feed no longer, on purpose: no gap, if another line carries it, or if nobody is to carry it any more. */
void tb_engine_unsubscribed(tb_engine *engine, int32_t feed, uint16_t line, int64_t receive_ns, int64_t sequence);
void tb_engine_stale(tb_engine *engine, int32_t feed, int cause, int64_t receive_ns, int64_t sequence);
/* The feed is not ours any more, and no gap: its coverage ends, with a gap that was open. Adding it again begins it anew. */
void tb_engine_end_feed(tb_engine *engine, int32_t feed, int64_t receive_ns, int64_t sequence);
/* Widen a symbol's pair to at least these decimals. TB_DECIMAL and no change if a level would not fit. */
tb_error tb_engine_widen(tb_engine *engine, int32_t symbol, unsigned price_decimals, unsigned size_decimals,
                         int64_t sequence, int64_t receive_ns);

/* A keyframe of a LIVE book with deltas, as it stands: what a segment begins with, even if the feed stays quiet in it. */
void tb_engine_keyframe(tb_engine *engine, int32_t feed);

/* Bring an orderbook.full feed to the state that a REST answer and the deltas behind it tell (protocol section 3.3), given as
 * frames of the feed: a snapshot, then deltas whose ids go on from it. They make rows, and count for no message. Returns how
 * many were taken: what comes after the first that is no such frame is left out. */
int32_t tb_engine_restate(tb_engine *engine, int32_t feed, const uint8_t *const *frames, const size_t *lengths, int32_t count,
                          int64_t receive_ns, int64_t sequence);

/* The digest of a book feed's whole state, kept or recomputed. */
uint64_t tb_feed_digest(const tb_feed *feed);
uint64_t tb_feed_digest_recomputed(const tb_feed *feed);

/* The levels of one side of an RPI book, best first, those with either size; at most what both sizes hold together. Returns
 * how many. */
int32_t tb_rpi_levels(const tb_feed *feed, int side, int64_t *prices, int64_t *sizes, int64_t *rpi_sizes);

/* Note a live digest in the feed's newest row. 0 when there is no such row. */
int tb_engine_set_digest(tb_engine *engine, int32_t feed, int64_t update_id, uint64_t digest);

typedef enum { TB_FROM_STREAM = 0, TB_FROM_BACKFILL, TB_FROM_IMPORT } tb_trade_source; /* `source` of `trades` */

/* Trades that were fetched back, or read from a file, in the shape of a frame of their topic, oldest first and no more than TB_TRADE_IDS: rows
 * of those that the stream has not brought. Nothing else about the feed changes. Anything but TB_OK: nothing at all. */
tb_error tb_engine_backfill(tb_engine *engine, const uint8_t *bytes, size_t length, int64_t receive_ns, int64_t sequence,
                            tb_trade_source from);

tb_trade_ids *tb_new_trades(int32_t room); /* NULL when memory is out; freed as one piece */
/* The same ids with more room. */
tb_trade_ids *tb_copy_trades(const tb_trade_ids *ids, int32_t room);
int tb_knows_trade(const tb_trade_ids *ids, const uint64_t hash[2]);
int tb_remember_trade(tb_trade_ids *ids, const uint64_t hash[2]); /* 0: it was known */

/* What a driver has to say of its feed; all of a record with this stamp (tb_driven.c). */
typedef struct {
    int64_t sequence, receive_ns;
    uint16_t line;
} tb_stamp;

/* Before a driver reads the frame that was routed last: whether another line has brought it, or will. */
int tb_engine_is_copy(tb_engine *engine, int32_t index, tb_stamp at);
/* The frame could be read: the feed and its line are alive. */
void tb_engine_heard(tb_engine *engine, int32_t feed, tb_stamp at);
/* And it was good: the feed is LIVE, and an open gap is closed. match_ms: or TB_NONE. */
void tb_engine_good(tb_engine *engine, int32_t feed, int64_t push_ms, int64_t match_ms, tb_stamp at);
/* The frame could not be read. */
void tb_engine_refuse(tb_engine *engine, int32_t feed, tb_error error, tb_stamp at);

#endif
