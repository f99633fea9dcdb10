/* What the readers of the payloads share: members, texts and numbers of a frame. */
#ifndef TB_READ_H
#define TB_READ_H

#include "tb_frame.h"

/* Keys are short; one with escapes is resolved into `buffer`, and one that can't be is nobody's key. */
#define TB_KEY_BYTES 64
int tb_read_key(tb_cursor *c, tb_slice *key, uint8_t buffer[TB_KEY_BYTES]);

/* A string value; another type is TB_WRONG_TYPE. Escapes are resolved into the frame's own memory. */
int tb_read_text(tb_frame *f, tb_cursor *c, tb_slice *out);

/* A decimal in a string, for prices and sizes of books and trades. */
int tb_read_decimal(tb_frame *f, tb_cursor *c, int64_t *mantissa, uint8_t *decimals);

/* DECIMAL(38,18) from a string, or from a bare number of the same grammar. *present is 0 for "". */
int tb_read_wide(tb_frame *f, tb_cursor *c, tb_int128 *value, int *present);

/* The payload of each kind of topic. An empty symbol means that the rows name their own. */
int tb_read_ticker(tb_frame *f, tb_cursor *c, const tb_slice *symbol);
int tb_read_trades(tb_frame *f, tb_cursor *c, const tb_slice *symbol);

static inline int tb_same_text(const tb_slice *a, const tb_slice *b)
{
    return a->length == b->length && memcmp(a->at, b->at, a->length) == 0;
}

/* Walks the members of the object that comes next. The body reads the value of `key` or leaves it to tb_skip. */
#define TB_EACH_MEMBER(c, nesting)                                                                            \
    if (tb_peek(c) != '{') {                                                                                      \
        if (tb_skip(c, nesting))                                                                                  \
            (c)->error = TB_WRONG_TYPE;                                                                           \
        return 0;                                                                                                 \
    }                                                                                                             \
    (c)->p++;                                                                                                     \
    if (!tb_accept(c, '}')) {                                                                                     \
        do {                                                                                                      \
            tb_slice key;                                                                                         \
            uint8_t key_buffer[TB_KEY_BYTES];                                                                        \
            if (!tb_read_key(c, &key, key_buffer))                                                                   \
                return 0;
#define TB_END_MEMBERS(c)                                                                                        \
        } while (tb_accept(c, ','));                                                                              \
        if (!tb_expect(c, '}'))                                                                                   \
            return 0;                                                                                             \
    }

#define TB_ONCE(c, seen, bit)                                                                                        \
    do {                                                                                                          \
        if (TB_UNLIKELY((seen) & (bit)))                                                                          \
            return tb_fail(c, TB_DUPLICATE_KEY);                                                                  \
        (seen) |= (bit);                                                                                          \
    } while (0)

#endif
