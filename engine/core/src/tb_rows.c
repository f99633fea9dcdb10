#include "tb_rows.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROWS 16
#define FIRST_BYTES 1024
#define LARGE_ROWS 4096
#define LARGE_BYTES (256 << 10)
#define ALIGNED 16 /* what 128 bits need */

#define DESCRIBE(type, numpy, name) {#name, numpy, sizeof(type)},
static const tb_column book_columns[] = {TB_BOOK_COLUMNS(DESCRIBE)};
static const tb_column trade_columns[] = {TB_TRADE_COLUMNS(DESCRIBE)};
static tb_column ticker_columns[TB_TICKER_COLUMN_COUNT] = {TB_TICKER_COLUMNS(DESCRIBE)};
static size_t row_bytes[TB_TABLE_COUNT]; /* of a row's columns, without its values */

__attribute__((constructor)) static void describe_tables(void)
{
    static const tb_column decimal = {NULL, "d16", sizeof(tb_int128)}, time = {NULL, "i8", sizeof(int64_t)},
                           none = {NULL, NULL, 0};
    for (int i = 0; i < TB_TICKER_FIELDS; i++) {
        char type = tb_ticker_type(i);
        ticker_columns[TB_TICKER_FIRST_FIELD + i] = type == 'd' ? decimal : type == 't' ? time : none;
    }
    for (int kind = 0; kind < TB_TABLE_COUNT; kind++) {
        int count;
        const tb_column *columns = tb_columns_of((tb_table_kind)kind, &count);
        for (int i = 0; i < count; i++)
            row_bytes[kind] += columns[i].width;
    }
}

const tb_column *tb_columns_of(tb_table_kind table, int *count)
{
    switch (table) {
    case TB_TABLE_BOOKS:
    case TB_TABLE_RPI_BOOKS: *count = TB_BOOK_COLUMN_COUNT; return book_columns;
    case TB_TABLE_TRADES: *count = TB_TRADE_COLUMN_COUNT; return trade_columns;
    default: *count = TB_TICKER_COLUMN_COUNT; return ticker_columns;
    }
}

/* A column's bytes in a block, so that each begins where its entries may. */
static size_t column_bytes(const tb_column *column, int64_t capacity)
{
    return (((size_t)capacity + 1) * column->width + ALIGNED - 1) / ALIGNED * ALIGNED;
}

size_t tb_table_block_bytes(const tb_table *table, tb_table_kind kind)
{
    int count;
    const tb_column *columns = tb_columns_of(kind, &count);
    size_t total = ((size_t)count * sizeof(void *) + ALIGNED - 1) / ALIGNED * ALIGNED;
    for (int i = 0; i < count; i++)
        total += column_bytes(&columns[i], table->capacity);
    return total;
}

/* Where there are thousands of piles, what they have in reserve counts: small ones begin small again. */
static int64_t grown_by_half(int64_t capacity)
{
    return capacity + capacity / 2;
}

/* All columns are one piece of memory: hundreds of symbols with dozens of columns each would leave the heap in crumbs. */
static int grow(tb_table *table, tb_table_kind kind)
{
    int count;
    const tb_column *columns = tb_columns_of(kind, &count);
    /* the first time: what was needed the last time, or a part of it */
    tb_table grown = {table->count, table->columns ? grown_by_half(table->capacity) : table->capacity, NULL};
    if (grown.capacity < FIRST_ROWS)
        grown.capacity = FIRST_ROWS;
    if (grown.capacity > INT32_MAX || !(grown.columns = malloc(tb_table_block_bytes(&grown, kind))))
        return 0;
    uint8_t *at = (uint8_t *)grown.columns + ((size_t)count * sizeof(void *) + ALIGNED - 1) / ALIGNED * ALIGNED;
    for (int i = 0; i < count; i++) {
        grown.columns[i] = at;
        if (table->columns)
            memcpy(at, table->columns[i], ((size_t)table->count + 1) * columns[i].width);
        else
            memset(at, 0, columns[i].width);
        at += column_bytes(&columns[i], grown.capacity);
    }
    free(table->columns);
    *table = grown;
    return 1;
}

int tb_table_reserve(tb_table *table, tb_table_kind kind)
{
    return TB_LIKELY(table->columns && table->count < table->capacity) || grow(table, kind);
}

void tb_table_forget(tb_table *table)
{
    table->columns = NULL;
    table->capacity = table->capacity > LARGE_ROWS ? table->count : table->count / 4;
    table->count = 0;
}

void *tb_buffer_reserve(tb_buffer *buffer, size_t bytes)
{
    if (TB_UNLIKELY(!buffer->bytes || buffer->used + bytes > buffer->capacity)) { /* even for nothing: NULL would mean failure */
        size_t capacity = !buffer->bytes ? buffer->capacity : (size_t)grown_by_half((int64_t)buffer->capacity);
        if (capacity < FIRST_BYTES)
            capacity = FIRST_BYTES;
        while (capacity < buffer->used + bytes)
            capacity = (size_t)grown_by_half((int64_t)capacity);
        if (capacity > INT32_MAX)
            return NULL;
        uint8_t *grown = realloc(buffer->bytes, capacity);
        if (!grown)
            return NULL;
        buffer->bytes = grown;
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->used;
}

void tb_buffer_forget(tb_buffer *buffer)
{
    buffer->bytes = NULL;
    buffer->capacity = buffer->capacity > LARGE_BYTES ? buffer->used : buffer->used / 4;
    buffer->used = 0;
}

void tb_rows_free(tb_rows *rows)
{
    if (!rows)
        return;
    for (int t = 0; t < TB_TABLE_COUNT; t++)
        free(rows->tables[t].columns);
    for (int i = 0; i < TB_BUFFER_COUNT; i++)
        free(rows->buffers[i].bytes);
    memset(rows, 0, sizeof *rows);
}

void tb_rows_clear(tb_rows *rows)
{
    if (!rows)
        return;
    for (int t = 0; t < TB_TABLE_COUNT; t++)
        rows->tables[t].count = 0;
    for (int i = 0; i < TB_BUFFER_COUNT; i++)
        rows->buffers[i].used = 0;
}

size_t tb_pile_bytes(const tb_rows *rows, tb_table_kind kind)
{
    /* by kind: where its values are, and how many buffers of them */
    static const uint8_t first[TB_TABLE_COUNT] = {TB_BID_PRICES, TB_IDS_OF_TRADES, TB_TEXTS_OF_TICKERS, TB_RPI_BID_PRICES};
    static const uint8_t used[TB_TABLE_COUNT] = {4, 1, TB_TICKER_TEXTS, 6};
    if (!rows)
        return 0;
    size_t total = (size_t)rows->tables[kind].count * row_bytes[kind];
    for (int i = 0; i < used[kind]; i++)
        total += rows->buffers[first[kind] + i].used;
    return total;
}

size_t tb_rows_bytes(const tb_rows *rows)
{
    size_t total = 0;
    for (int kind = 0; kind < TB_TABLE_COUNT; kind++)
        total += tb_pile_bytes(rows, (tb_table_kind)kind);
    return total;
}
