#include "tb_rows.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROWS 16
#define FIRST_BYTES 1024

#define DESCRIBE(type, numpy, name) {#name, numpy, sizeof(type)},
static const tb_column book_columns[] = {TB_BOOK_COLUMNS(DESCRIBE)};
static const tb_column trade_columns[] = {TB_TRADE_COLUMNS(DESCRIBE)};
static tb_column ticker_columns[TB_TICKER_COLUMN_COUNT] = {TB_TICKER_COLUMNS(DESCRIBE)};

__attribute__((constructor)) static void describe_ticker_fields(void)
{
    static const tb_column decimal = {NULL, "d16", sizeof(tb_int128)}, time = {NULL, "i8", sizeof(int64_t)},
                           none = {NULL, NULL, 0};
    for (int i = 0; i < TB_TICKER_FIELDS; i++) {
        char type = tb_ticker_type(i);
        ticker_columns[TB_TICKER_FIRST_FIELD + i] = type == 'd' ? decimal : type == 't' ? time : none;
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

static int grow(tb_table *table, tb_table_kind kind)
{
    int count;
    const tb_column *columns = tb_columns_of(kind, &count);
    if (!table->columns && !(table->columns = calloc((size_t)count, sizeof *table->columns)))
        return 0;
    /* the first time: what was needed the last time */
    int first = table->columns[0] == NULL;
    int64_t capacity = first ? table->capacity : table->capacity * 2;
    if (capacity < FIRST_ROWS)
        capacity = FIRST_ROWS;
    if (capacity > INT32_MAX)
        return 0;
    for (int i = 0; i < count; i++) {
        if (!columns[i].width)
            continue;
        void *grown = realloc(table->columns[i], ((size_t)capacity + 1) * columns[i].width);
        if (!grown)
            return 0;
        if (first)
            memset(grown, 0, columns[i].width);
        table->columns[i] = grown;
    }
    table->capacity = capacity;
    return 1;
}

int tb_table_reserve(tb_table *table, tb_table_kind kind)
{
    return TB_LIKELY(table->columns && table->columns[0] && table->count < table->capacity) || grow(table, kind);
}

void tb_table_forget(tb_table *table)
{
    free(table->columns);
    table->columns = NULL;
    table->capacity = table->count;
    table->count = 0;
}

void *tb_buffer_reserve(tb_buffer *buffer, size_t bytes)
{
    if (TB_UNLIKELY(!buffer->bytes || buffer->used + bytes > buffer->capacity)) { /* even for nothing: NULL would mean failure */
        size_t capacity = !buffer->bytes ? buffer->capacity : buffer->capacity * 2;
        if (capacity < FIRST_BYTES)
            capacity = FIRST_BYTES;
        while (capacity < buffer->used + bytes)
            capacity *= 2;
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
    buffer->capacity = buffer->used;
    buffer->used = 0;
}

void tb_rows_free(tb_rows *rows)
{
    if (!rows)
        return;
    for (int t = 0; t < TB_TABLE_COUNT; t++) {
        int count;
        (void)tb_columns_of((tb_table_kind)t, &count);
        for (int i = 0; rows->tables[t].columns && i < count; i++)
            free(rows->tables[t].columns[i]);
        free(rows->tables[t].columns);
    }
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

size_t tb_rows_bytes(const tb_rows *rows)
{
    size_t total = 0;
    if (!rows)
        return 0;
    for (int t = 0; t < TB_TABLE_COUNT; t++) {
        int count;
        const tb_column *columns = tb_columns_of((tb_table_kind)t, &count);
        if (rows->tables[t].count)
            for (int i = 0; i < count; i++)
                total += (size_t)rows->tables[t].count * columns[i].width;
    }
    for (int i = 0; i < TB_BUFFER_COUNT; i++)
        total += rows->buffers[i].used;
    return total;
}
