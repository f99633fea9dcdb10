/* Rows on their way to the archive, one set per (table, symbol): fixed structs, with lists and texts beside them.
 * The layouts are mirrored as NumPy dtypes in feeds.pyx, which a test holds together. */
#ifndef TB_ROWS_H
#define TB_ROWS_H

#include "tb_frame.h"
#include "tb_types.h"

typedef struct {
    uint8_t *bytes;
    size_t used, capacity;
} tb_buffer;

typedef struct {
    int64_t sequence, receive_ns, push_ms, match_ms, update_id, cross_sequence;
    uint64_t digest;
    int32_t day; /* UTC day of the file that the row belongs in */
    int32_t bids, asks;
    int32_t feed;
    int16_t depth;
    uint16_t line;
    uint8_t kind, applied, has_digest;
    int8_t price_exponent, size_exponent;
    uint8_t padding[7];
} tb_book_row;

typedef struct {
    int64_t sequence, receive_ns, push_ms, match_ms, price, size, cross_sequence;
    int32_t day;
    int32_t id_bytes;
    uint16_t line;
    int8_t price_exponent, size_exponent;
    int8_t side, tick_direction, is_block, is_rpi;
    uint8_t extras;
    uint8_t padding[7];
    tb_int128 extra[4];
} tb_trade_row;

typedef struct {
    int64_t sequence, receive_ns, push_ms, cross_sequence;
    uint64_t keys, present;
    int32_t day;
    uint16_t line;
    uint8_t kind, applied;
    tb_text texts[TB_TICKER_TEXTS];
    uint8_t padding[8];
    tb_int128 values[TB_TICKER_FIELDS];
} tb_ticker_row;

/* Everything that a symbol has to hand over. */
typedef struct {
    tb_buffer books;
    tb_buffer levels[4]; /* int64: bid prices, bid sizes, ask prices, ask sizes */
    tb_buffer trades;
    tb_buffer trade_ids;
    tb_buffer tickers;
} tb_rows;

/* Room for `bytes` more; NULL when memory is out. The caller adds to `used` what it has written. */
void *tb_buffer_reserve(tb_buffer *buffer, size_t bytes);
void tb_rows_free(tb_rows *rows);
void tb_rows_clear(tb_rows *rows); /* keeps the memory */
size_t tb_rows_bytes(const tb_rows *rows);

#endif
