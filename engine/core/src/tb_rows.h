/* Rows on their way to the archive, one set per (table, symbol), column by column: what is handed over becomes an Arrow column
 * without another copy. The columns describe themselves (tb_column), so that nobody has to mirror a layout. */
#ifndef TB_ROWS_H
#define TB_ROWS_H

#include "tb_frame.h"
#include "tb_types.h"

/* RPI_BOOKS has the columns of BOOKS, and values of its own. */
typedef enum { TB_TABLE_BOOKS = 0, TB_TABLE_TRADES, TB_TABLE_TICKERS, TB_TABLE_RPI_BOOKS, TB_TABLE_COUNT } tb_table_kind;

/* COLUMN(C type, NumPy type, name). An `end` column says where a row's part of some values ends; it has one more entry in
 * front, 0, which makes it the offsets of an Arrow list or string. Times and ids are TB_NONE where there is none. */
#define TB_BOOK_COLUMNS(COLUMN)                                                                                   \
    COLUMN(int64_t, "i8", sequence)                                                                               \
    COLUMN(int64_t, "i8", receive_ns)                                                                             \
    COLUMN(int64_t, "i8", push_ms)                                                                                \
    COLUMN(int64_t, "i8", match_ms)                                                                               \
    COLUMN(int64_t, "i8", update_id)                                                                              \
    COLUMN(int64_t, "i8", cross_sequence)                                                                         \
    COLUMN(uint64_t, "u8", digest)                                                                                \
    COLUMN(int32_t, "i4", day) /* UTC day of the file that the row belongs in */                                  \
    COLUMN(int32_t, "i4", feed)                                                                                   \
    COLUMN(int32_t, "end", bid_end)                                                                               \
    COLUMN(int32_t, "end", ask_end)                                                                               \
    COLUMN(int16_t, "i2", depth)                                                                                  \
    COLUMN(uint16_t, "u2", line)                                                                                  \
    COLUMN(uint8_t, "u1", kind)                                                                                   \
    COLUMN(uint8_t, "u1", applied)                                                                                \
    COLUMN(uint8_t, "u1", has_digest)                                                                             \
    COLUMN(int8_t, "i1", price_exponent)                                                                          \
    COLUMN(int8_t, "i1", size_exponent)

#define TB_TRADE_COLUMNS(COLUMN)                                                                                  \
    COLUMN(int64_t, "i8", sequence)                                                                               \
    COLUMN(int64_t, "i8", receive_ns)                                                                             \
    COLUMN(int64_t, "i8", push_ms)                                                                                \
    COLUMN(int64_t, "i8", match_ms)                                                                               \
    COLUMN(int64_t, "i8", price)                                                                                  \
    COLUMN(int64_t, "i8", size)                                                                                   \
    COLUMN(int64_t, "i8", cross_sequence)                                                                         \
    COLUMN(int32_t, "i4", day)                                                                                    \
    COLUMN(int32_t, "end", id_end)                                                                                \
    COLUMN(uint16_t, "u2", line)                                                                                  \
    COLUMN(int8_t, "i1", price_exponent)                                                                          \
    COLUMN(int8_t, "i1", size_exponent)                                                                           \
    COLUMN(int8_t, "i1", side)                                                                                    \
    COLUMN(int8_t, "i1", source)                                                                                  \
    COLUMN(int8_t, "i1", tick_direction)                                                                          \
    COLUMN(int8_t, "i1", is_block)                                                                                \
    COLUMN(int8_t, "i1", is_rpi)                                                                                  \
    COLUMN(uint8_t, "u1", extras) /* bit i: extra i is there */                                                   \
    COLUMN(tb_int128, "d16", mark_price)                                                                          \
    COLUMN(tb_int128, "d16", index_price)                                                                         \
    COLUMN(tb_int128, "d16", mark_iv)                                                                             \
    COLUMN(tb_int128, "d16", trade_iv)

/* Behind these comes one column for each field that is no text, in their order: "d16" decimals, "i8" times. */
#define TB_TICKER_COLUMNS(COLUMN)                                                                                 \
    COLUMN(int64_t, "i8", sequence)                                                                               \
    COLUMN(int64_t, "i8", receive_ns)                                                                             \
    COLUMN(int64_t, "i8", push_ms)                                                                                \
    COLUMN(int64_t, "i8", cross_sequence)                                                                         \
    COLUMN(uint64_t, "u8", keys)                                                                                  \
    COLUMN(uint64_t, "u8", present)                                                                               \
    COLUMN(int32_t, "i4", day)                                                                                    \
    COLUMN(int32_t, "end", text_0_end)                                                                            \
    COLUMN(int32_t, "end", text_1_end)                                                                            \
    COLUMN(uint16_t, "u2", line)                                                                                  \
    COLUMN(uint8_t, "u1", kind)                                                                                   \
    COLUMN(uint8_t, "u1", applied)

#define TB_ENUMERATE_BOOK(type, numpy, name) TB_BOOK_##name,
#define TB_ENUMERATE_TRADE(type, numpy, name) TB_TRADE_##name,
#define TB_ENUMERATE_TICKER(type, numpy, name) TB_TICKER_##name,
enum { TB_BOOK_COLUMNS(TB_ENUMERATE_BOOK) TB_BOOK_COLUMN_COUNT };
enum { TB_TRADE_COLUMNS(TB_ENUMERATE_TRADE) TB_TRADE_COLUMN_COUNT };
enum { TB_TICKER_COLUMNS(TB_ENUMERATE_TICKER) TB_TICKER_FIRST_FIELD };
#define TB_TICKER_COLUMN_COUNT (TB_TICKER_FIRST_FIELD + TB_TICKER_FIELDS)
#define TB_MOST_COLUMNS TB_TICKER_COLUMN_COUNT

typedef struct {
    const char *name;  /* of a ticker's field: NULL */
    const char *numpy; /* i8, u8, i4, end, i2, u2, i1, u1, d16 (128 bits); NULL: no such column */
    uint8_t width;     /* in bytes */
} tb_column;

/* The columns of a table, and how many there are. */
const tb_column *tb_columns_of(tb_table_kind table, int *count);

typedef struct {
    int64_t count, capacity;
    void **columns; /* capacity + 1 entries each, all in the one block that begins here; NULL before the first row */
} tb_table;

/* Values that a row may have any number of. */
typedef struct {
    uint8_t *bytes;
    size_t used, capacity;
} tb_buffer;

enum {
    TB_BID_PRICES, /* int64 */
    TB_BID_SIZES,
    TB_ASK_PRICES,
    TB_ASK_SIZES,
    TB_IDS_OF_TRADES, /* text */
    TB_TEXTS_OF_TICKERS,
    TB_RPI_BID_PRICES = TB_TEXTS_OF_TICKERS + TB_TICKER_TEXTS, /* in the order of the first four */
    TB_RPI_BID_SIZES,
    TB_RPI_ASK_PRICES,
    TB_RPI_ASK_SIZES,
    TB_RPI_BID_RPI_SIZES,
    TB_RPI_ASK_RPI_SIZES,
    TB_BUFFER_COUNT
};

/* Everything that a symbol has to hand over. */
typedef struct {
    tb_table tables[TB_TABLE_COUNT];
    tb_buffer buffers[TB_BUFFER_COUNT];
} tb_rows;

/* An entry of a column in row `row`. */
#define TB_AT(table, type, column, row) (((type *)(table)->columns[column])[row])

/* Room for one more row; 0 when memory is out. The caller writes it into entry `count` of each column and counts it. */
int tb_table_reserve(tb_table *table, tb_table_kind kind);
/* Room for `bytes` more; NULL when memory is out, or when no int32 could say where they end. The caller adds to `used` what it
 * has written. */
void *tb_buffer_reserve(tb_buffer *buffer, size_t bytes);

/* Bytes of the block that the columns are in. */
size_t tb_table_block_bytes(const tb_table *table, tb_table_kind kind);

/* Whoever takes the columns' block and the values frees them; what stays behind is empty and knows how much was needed. */
void tb_table_forget(tb_table *table);
void tb_buffer_forget(tb_buffer *buffer);

void tb_rows_free(tb_rows *rows);
void tb_rows_clear(tb_rows *rows); /* keeps the memory */
/* Bytes that the rows of one table use, and those of all. */
size_t tb_pile_bytes(const tb_rows *rows, tb_table_kind kind);
size_t tb_rows_bytes(const tb_rows *rows);

#endif
