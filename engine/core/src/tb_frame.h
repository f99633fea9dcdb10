/* One frame of the public streams, decoded into scratch memory: nothing outside the scratch changes, so that a frame
 * can be refused as a whole (protocol sections 3.1, 3.4, 3.5). Prices and sizes keep the decimals they were written
 * with; whoever applies the frame brings them to the symbol's exponent pair. */
#ifndef TB_FRAME_H
#define TB_FRAME_H

#include "tb_book.h"
#include "tb_scan.h"
#include "tb_types.h"

#define TB_TICKER_FIELDS 48
#define TB_TICKER_TEXTS 2
#define TB_TEXT_BYTES 63
#define TB_TRADE_ID_BYTES 64
#define TB_SYMBOL_BYTES 64
#define TB_LAST_MS INT64_C(253402300799999) /* 9999-12-31, the last date that calendars agree on */

typedef struct {
    uint8_t length;
    char bytes[TB_TEXT_BYTES];
} tb_text;

typedef struct {
    int64_t match_ms;
    int64_t price, size;
    int64_t cross_sequence; /* or TB_NONE */
    tb_slice symbol, id;
    uint8_t price_decimals, size_decimals;
    uint8_t side;           /* 0 buy, 1 sell */
    int8_t tick_direction;  /* index, or -1 */
    int8_t is_block, is_rpi; /* 0, 1, or -1 where not sent */
    uint8_t extras;         /* bit i: extra i is there */
    uint8_t fresh;          /* the feed had not seen it before */
    int32_t owner;          /* its symbol's index, once that is known */
    tb_int128 extra[4];     /* options: mark price, index price, mark iv, trade iv */
} tb_trade;

typedef struct {
    uint64_t keys;    /* bit i: the message had field i */
    uint64_t present; /* bit i: and it was not "" */
    tb_int128 values[TB_TICKER_FIELDS];
    tb_text texts[TB_TICKER_TEXTS];
} tb_ticker;

typedef struct {
    /* envelope */
    tb_slice topic;
    int kind;       /* tb_row_kind, or -1 where not sent */
    int64_t push_ms, match_ms, cross_sequence; /* match: cts; cross_sequence: data.seq or cs; TB_NONE where not sent */
    /* books */
    int64_t update_id;
    int64_t *prices[2], *sizes[2];
    uint8_t *decimals[2]; /* two bytes a level: of its price, of its size */
    int32_t count[2], capacity[2];
    int64_t *rpi_sizes[2]; /* of RPI books */
    uint8_t *rpi_decimals[2];
    int32_t rpi_capacity[2];
    uint8_t price_decimals, size_decimals; /* widest of the frame */
    uint8_t expected_price, expected_size; /* the pair in force */
    uint8_t ready; /* the levels come best first, and are at the pair in force already */
    uint8_t exact; /* where it is ready: every number has just the decimals of the pair, but sizes of 0, which are `0` */
    uint8_t layout; /* where it is ready: 1 type first, 2 clock first; then these and what was read tell every byte */
    /* trades */
    tb_trade *trades;
    int32_t trade_count, trade_capacity;
    /* tickers */
    tb_ticker ticker;
    /* text whose escapes had to be resolved lives here until the next frame */
    uint8_t topic_text[2 * TB_SYMBOL_BYTES];
    uint8_t *text;
    size_t text_used, text_capacity;
    int32_t drift; /* unknown enum values met */
} tb_frame;

void tb_frame_free(tb_frame *frame);

/* What a topic leads to: its symbol (empty where rows name their own) and the pair in force. */
typedef struct {
    tb_slice symbol;
    uint8_t price_decimals, size_decimals;
} tb_route;

/* Envelope and payload in one pass. `find` says what a topic is: it returns a tb_feed_kind and fills in the route, or
 * returns -1 for a topic that is not ours. Returns TB_OK, or the cause; *status tells what the bytes turned out to be. Of a
 * driven feed's frame no more is read than its topic, and that it is UTF-8. */
typedef enum { TB_FRAME_DATA = 0, TB_FRAME_CONTROL, TB_FRAME_UNKNOWN_TOPIC, TB_FRAME_DRIVEN } tb_frame_status;
typedef int (*tb_find)(void *context, const tb_slice *topic, tb_route *route);

tb_error tb_frame_decode(tb_frame *frame, const uint8_t *bytes, size_t length, tb_find find, void *context,
                         tb_frame_status *status);
/* The same without the fast path: takes any spelling, and says what is wrong. */
tb_error tb_frame_decode_completely(tb_frame *frame, const uint8_t *bytes, size_t length, tb_find find, void *context,
                                    tb_frame_status *status);

/* The tickers' key of a field, in bit order; NULL behind the last. */
const char *tb_ticker_key(int field);
/* 'd' decimal, 't' time, 's' text */
char tb_ticker_type(int field);

#endif
