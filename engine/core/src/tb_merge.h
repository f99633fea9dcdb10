/* One feed over several lines (design, "When a book may be believed", Lines). Every line's frames come here first; what the
 * feed's own machine then sees is one stream, as if one line had carried it.
 *
 * Books with consecutive ids: whoever brings the next id is followed. A line that is ahead is not followed while another may
 * still bring what is missing. Trades: their ids say it. Level 1 and tickers have no ids: copies are known by a hash of their
 * bytes. While the lines prove to carry the same bytes, whoever is first is followed; until then only the elected line is. */
#ifndef TB_MERGE_H
#define TB_MERGE_H

#include "tb_types.h"

#define TB_CARRIERS 8 /* lines of one feed, those of a moment ago too */
#define TB_COPIES 128 /* frames that are remembered, to know their copies */
#define TB_WAIT_NS INT64_C(1000000000)     /* for what another line may still bring */
#define TB_OVERLAP_NS INT64_C(500000000)   /* a line that has carried a feed for so long has all of it */
#define TB_HURT_NS INT64_C(2000000000)     /* damage on two lines this close may have hit the same frame */
#define TB_SILENCE_NS INT64_C(10000000000) /* of the elected line, while another delivers */
#define TB_UNANSWERED 3                    /* so many frames */
#define TB_ALIKE 8      /* copies without a miss until lines count as carrying the same bytes */
#define TB_MOST_ALIKE 32
#define TB_MISS 4       /* what a miss takes from that */

typedef struct {
    uint16_t line;
    uint8_t up;
    uint8_t opened; /* it has delivered since it was subscribed */
    uint8_t met;    /* and has brought what another did, or has led */
    int64_t position;      /* books: the last update id it brought, or TB_NONE */
    int64_t place;         /* copies: the ordinal of the last frame by which it was compared, or TB_NONE */
    int64_t untold;        /* copies: what it brought from this ordinal on came behind all by which it was compared */
    int64_t said_ms;       /* copies: push time of its last frame, or TB_NONE */
    int64_t missed_ms;     /* copies: of the newest that was followed, and forgotten before it brought it, or TB_NONE */
    int64_t since_ns;      /* of its subscription; 0: from the beginning */
    int64_t heard_ns;      /* of its last frame, or TB_NONE */
    int64_t hurt_ns, hurt_sequence; /* of its last damaged frame, or TB_NONE */
    /* counters, which no checkpoint keeps; and the position with which it left, to count by */
    int64_t left;
    int64_t frames, taken, repeats, ahead, saved;
} tb_carrier;

typedef struct {
    int64_t push_ms, match_ms, receive_ns;
    uint8_t lines;   /* bit i: carrier i brought it */
    uint8_t taken;   /* the feed followed it */
    uint8_t opening; /* it was its line's first */
    uint8_t exempt;  /* its line had met nobody, or a gap holds it: that others lack it says nothing */
    uint8_t again;   /* its line had brought the same before */
} tb_copy;

typedef struct tb_merge {
    int32_t count, elected, alike;
    int32_t unanswered;  /* frames of others since the elected line's last */
    int32_t burst;       /* trades since burst_ns, a second at most */
    int64_t burst_ns;
    int64_t waiting_ns;  /* since when a frame waits for another line, or TB_NONE */
    int64_t head_ms;     /* copies: push time of the newest frame that was followed */
    int64_t chain_ms;    /* copies: push time of the snapshot that the state began with, or TB_NONE */
    int64_t first_copy, next_copy; /* ordinals; a copy lies at its ordinal modulo TB_COPIES */
    tb_carrier carriers[TB_CARRIERS];
    uint64_t hashes[TB_COPIES];
    tb_copy copies[TB_COPIES];
} tb_merge;

typedef enum {
    TB_TAKE = 0, /* it is the feed's next frame */
    TB_COPY,     /* another line has brought it, or will: nothing happens */
    TB_LATE,     /* what was followed lacks it: it can't be put where it belongs any more */
} tb_verdict;

tb_carrier *tb_find_carrier(tb_merge *merge, uint16_t line);
/* The carrier of a line that delivers or is subscribed anew; NULL where there are too many. */
tb_carrier *tb_join(tb_merge *merge, uint16_t line, int64_t receive_ns);
/* Whether to go on waiting for another line. */
int tb_wait(tb_merge *merge, int64_t receive_ns);

#endif
