#include "tb_rows.h"

#include <stdlib.h>
#include <string.h>

void *tb_buffer_reserve(tb_buffer *buffer, size_t bytes)
{
    if (!buffer->bytes || buffer->used + bytes > buffer->capacity) { /* even for nothing: NULL would mean failure */
        size_t capacity = buffer->capacity ? buffer->capacity * 2 : 1024;
        while (capacity < buffer->used + bytes)
            capacity *= 2;
        uint8_t *grown = realloc(buffer->bytes, capacity);
        if (!grown)
            return NULL;
        buffer->bytes = grown;
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->used;
}

/* tb_rows is nothing but tb_buffers */
#define BUFFERS(rows) ((tb_buffer *)(rows))
#define BUFFER_COUNT (sizeof(tb_rows) / sizeof(tb_buffer))

void tb_rows_free(tb_rows *rows)
{
    for (size_t i = 0; i < BUFFER_COUNT; i++)
        free(BUFFERS(rows)[i].bytes);
    memset(rows, 0, sizeof *rows);
}

void tb_rows_clear(tb_rows *rows)
{
    for (size_t i = 0; i < BUFFER_COUNT; i++)
        BUFFERS(rows)[i].used = 0;
}

size_t tb_rows_bytes(const tb_rows *rows)
{
    size_t total = 0;
    for (size_t i = 0; i < BUFFER_COUNT; i++)
        total += ((const tb_buffer *)rows)[i].used;
    return total;
}
