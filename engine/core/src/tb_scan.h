/* JSON primitives over a bounded buffer. A cursor never reads at or behind `end`.
 *
 * The whole frame is checked to be UTF-8 once (tb_valid_utf8) before it is scanned, so strings need no second look. */
#ifndef TB_SCAN_H
#define TB_SCAN_H

#include <string.h>

#include "tb_types.h"

#define TB_MAX_NESTING 64

typedef struct {
    const uint8_t *p;
    const uint8_t *end;
    tb_error error;
} tb_cursor;

static inline int tb_fail(tb_cursor *c, tb_error error)
{
    c->error = error;
    return 0;
}

static inline void tb_space(tb_cursor *c)
{
    while (c->p < c->end && *c->p <= ' ' && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r'))
        c->p++;
}

/* The next byte that is not white space must be `byte`; it is consumed. */
static inline int tb_expect(tb_cursor *c, uint8_t byte)
{
    if (TB_LIKELY(c->p < c->end && *c->p == byte)) {
        c->p++;
        return 1;
    }
    tb_space(c);
    if (c->p < c->end && *c->p == byte) {
        c->p++;
        return 1;
    }
    return tb_fail(c, TB_NOT_JSON);
}

/* As tb_expect, but says no quietly. */
static inline int tb_accept(tb_cursor *c, uint8_t byte)
{
    if (TB_LIKELY(c->p < c->end && *c->p == byte)) {
        c->p++;
        return 1;
    }
    tb_space(c);
    if (c->p < c->end && *c->p == byte) {
        c->p++;
        return 1;
    }
    return 0;
}

static inline int tb_peek(tb_cursor *c)
{
    tb_space(c);
    return c->p < c->end ? *c->p : -1;
}

/* A string whose opening quote comes next (after white space). The slice excludes the quotes. */
static inline int tb_string(tb_cursor *c, tb_slice *out)
{
    if (!tb_expect(c, '"'))
        return 0;
    const uint8_t *p = c->p, *end = c->end;
    out->at = p;
    out->escaped = 0;
    while (p < end) {
        uint8_t byte = *p;
        if (byte == '"') {
            out->length = (uint32_t)(p - out->at);
            c->p = p + 1;
            return 1;
        }
        if (TB_UNLIKELY(byte < 0x20))
            return tb_fail(c, TB_NOT_JSON);
        if (TB_UNLIKELY(byte == '\\')) {
            out->escaped = 1;
            if (++p >= end)
                break;
            switch (*p) {
            case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
                break;
            case 'u':
                for (int i = 0; i < 4; i++) {
                    uint8_t h;
                    if (++p >= end)
                        return tb_fail(c, TB_NOT_JSON);
                    h = *p | 0x20;
                    if (!((*p >= '0' && *p <= '9') || (h >= 'a' && h <= 'f')))
                        return tb_fail(c, TB_NOT_JSON);
                }
                break;
            default:
                return tb_fail(c, TB_NOT_JSON);
            }
        }
        p++;
    }
    return tb_fail(c, TB_NOT_JSON);
}

static inline int tb_is(const tb_slice *s, const char *text, size_t length)
{
    return s->length == length && memcmp(s->at, text, length) == 0;
}
#define TB_IS(slice, literal) tb_is((slice), (literal), sizeof(literal) - 1)

/* Resolves escapes. Returns the slice to use: the original, or one over `buffer`. A text longer than `capacity`
 * or with a lone surrogate has no use here and fails with TB_BAD_VALUE. */
int tb_unescape(tb_cursor *c, tb_slice *slice, uint8_t *buffer, size_t capacity);

/* Any JSON value; `nesting` containers are open already. */
int tb_skip(tb_cursor *c, int nesting);

/* A JSON integer in 0..limit. */
int tb_integer(tb_cursor *c, int64_t limit, int64_t *out);

/* A JSON number token (any legal one); the slice covers it. */
int tb_number(tb_cursor *c, tb_slice *out);

/* true or false */
int tb_boolean(tb_cursor *c, int *out);

/* How many bytes are valid UTF-8 from the beginning on. */
size_t tb_valid_utf8(const uint8_t *p, size_t n);

#endif
