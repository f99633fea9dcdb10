#include "tb_scan.h"

static int hex4(const uint8_t *p)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t b = p[i];
        int digit = b <= '9' ? b - '0' : (b | 0x20) - 'a' + 10;
        value = value * 16 + digit;
    }
    return value;
}

int tb_unescape(tb_cursor *c, tb_slice *slice, uint8_t *buffer, size_t capacity)
{
    const uint8_t *p = slice->at, *end = p + slice->length;
    size_t n = 0;
    if (!slice->escaped)
        return 1;
    while (p < end) {
        uint32_t code = *p++;
        if (code == '\\') { /* tb_string has checked that the escape is whole */
            switch (*p++) {
            case 'b': code = '\b'; break;
            case 'f': code = '\f'; break;
            case 'n': code = '\n'; break;
            case 'r': code = '\r'; break;
            case 't': code = '\t'; break;
            case 'u':
                code = (uint32_t)hex4(p);
                p += 4;
                if (code >= 0xD800 && code < 0xE000) {
                    if (code >= 0xDC00 || end - p < 6 || p[0] != '\\' || p[1] != 'u')
                        return tb_fail(c, TB_BAD_VALUE);
                    uint32_t low = (uint32_t)hex4(p + 2);
                    if (low < 0xDC00 || low > 0xDFFF)
                        return tb_fail(c, TB_BAD_VALUE);
                    p += 6;
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                }
                break;
            default: code = p[-1]; break;
            }
        } else if (code >= 0x80) { /* already UTF-8: copy the byte */
            if (n + 1 > capacity)
                return tb_fail(c, TB_BAD_VALUE);
            buffer[n++] = (uint8_t)code;
            continue;
        }
        if (n + 4 > capacity)
            return tb_fail(c, TB_BAD_VALUE);
        if (code < 0x80) {
            buffer[n++] = (uint8_t)code;
        } else if (code < 0x800) {
            buffer[n++] = (uint8_t)(0xC0 | code >> 6);
            buffer[n++] = (uint8_t)(0x80 | (code & 0x3F));
        } else if (code < 0x10000) {
            buffer[n++] = (uint8_t)(0xE0 | code >> 12);
            buffer[n++] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
            buffer[n++] = (uint8_t)(0x80 | (code & 0x3F));
        } else {
            buffer[n++] = (uint8_t)(0xF0 | code >> 18);
            buffer[n++] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
            buffer[n++] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
            buffer[n++] = (uint8_t)(0x80 | (code & 0x3F));
        }
    }
    slice->at = buffer;
    slice->length = (uint32_t)n;
    slice->escaped = 0;
    return 1;
}

int tb_number(tb_cursor *c, tb_slice *out)
{
    tb_space(c);
    const uint8_t *p = c->p, *end = c->end;
    out->at = p;
    out->escaped = 0;
    if (p < end && *p == '-')
        p++;
    if (p >= end || *p < '0' || *p > '9')
        return tb_fail(c, TB_NOT_JSON);
    if (*p == '0')
        p++;
    else
        while (p < end && *p >= '0' && *p <= '9')
            p++;
    if (p < end && *p == '.') {
        const uint8_t *point = ++p;
        while (p < end && *p >= '0' && *p <= '9')
            p++;
        if (p == point)
            return tb_fail(c, TB_NOT_JSON);
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        const uint8_t *power = p;
        while (p < end && *p >= '0' && *p <= '9')
            p++;
        if (p == power)
            return tb_fail(c, TB_NOT_JSON);
    }
    out->length = (uint32_t)(p - out->at);
    c->p = p;
    return 1;
}

static int literal(tb_cursor *c, const char *text, size_t length)
{
    if ((size_t)(c->end - c->p) < length || memcmp(c->p, text, length) != 0)
        return tb_fail(c, TB_NOT_JSON);
    c->p += length;
    return 1;
}

int tb_boolean(tb_cursor *c, int *out)
{
    int byte = tb_peek(c);
    *out = byte == 't';
    if (byte == 't')
        return literal(c, "true", 4);
    if (byte == 'f')
        return literal(c, "false", 5);
    return tb_fail(c, TB_WRONG_TYPE);
}

/* Iterative, so that hostile nesting costs no stack: one bit per open container says whether it is an object. */
int tb_skip(tb_cursor *c, int nesting)
{
    uint64_t objects = 0;
    int depth = 0;
    tb_slice ignored;
    for (;;) {
        int byte = tb_peek(c);
        int opened = 0;
        switch (byte) {
        case '"':
            if (!tb_string(c, &ignored))
                return 0;
            break;
        case '{':
        case '[':
            if (++depth + nesting > TB_MAX_NESTING)
                return tb_fail(c, TB_NOT_JSON);
            objects = objects << 1 | (byte == '{');
            c->p++;
            opened = 1;
            break;
        case 't':
            if (!literal(c, "true", 4))
                return 0;
            break;
        case 'f':
            if (!literal(c, "false", 5))
                return 0;
            break;
        case 'n':
            if (!literal(c, "null", 4))
                return 0;
            break;
        default:
            if (!tb_number(c, &ignored))
                return 0;
        }
        /* Behind a value, or inside a container that was just opened. */
        for (;;) {
            if (depth == 0)
                return 1;
            int object = (int)(objects & 1);
            if (tb_accept(c, object ? '}' : ']')) {
                objects >>= 1;
                depth--;
                opened = 0;
                continue;
            }
            if (!opened && !tb_expect(c, ','))
                return 0;
            if (object && !(tb_string(c, &ignored) && tb_expect(c, ':')))
                return 0;
            break;
        }
    }
}

int tb_integer(tb_cursor *c, int64_t limit, int64_t *out)
{
    tb_space(c);
    const uint8_t *p = c->p, *end = c->end;
    uint64_t value = 0;
    unsigned digit;
    while (p < end && (digit = (unsigned)*p - '0') < 10) {
        value = value * 10 + digit;
        p++;
    }
    size_t digits = (size_t)(p - c->p);
    if (TB_UNLIKELY(digits == 0 || digits > 19 || (digits > 1 && *c->p == '0') ||
                    (p < end && (*p == '.' || *p == 'e' || *p == 'E')) || value > (uint64_t)limit)) {
        /* Find out whether it is JSON at all, so that the cause is right. */
        if (tb_skip(c, 0))
            c->error = digits ? TB_BAD_NUMBER : TB_WRONG_TYPE;
        return 0;
    }
    c->p = p;
    *out = (int64_t)value;
    return 1;
}

size_t tb_valid_utf8(const uint8_t *p, size_t n)
{
    const uint8_t *start = p, *end = p + n;
    while (end - p >= 32) { /* nearly every frame is ASCII from end to end */
        uint64_t a, b, d, e;
        memcpy(&a, p, 8);
        memcpy(&b, p + 8, 8);
        memcpy(&d, p + 16, 8);
        memcpy(&e, p + 24, 8);
        if (TB_UNLIKELY((a | b | d | e) & UINT64_C(0x8080808080808080)))
            break;
        p += 32;
    }
    while (p < end) {
        uint8_t lead = *p;
        size_t more;
        uint32_t code, least;
        if (lead < 0x80) {
            p++;
            continue;
        }
        if (lead >= 0xC2 && lead < 0xE0) {
            more = 1;
            code = lead & 0x1F;
            least = 0x80;
        } else if (lead >= 0xE0 && lead < 0xF0) {
            more = 2;
            code = lead & 0x0F;
            least = 0x800;
        } else if (lead >= 0xF0 && lead < 0xF5) {
            more = 3;
            code = lead & 0x07;
            least = 0x10000;
        } else {
            return (size_t)(p - start);
        }
        if ((size_t)(end - p) <= more)
            return (size_t)(p - start);
        for (size_t i = 1; i <= more; i++) {
            if ((p[i] & 0xC0) != 0x80)
                return (size_t)(p - start);
            code = code << 6 | (p[i] & 0x3F);
        }
        if (code < least || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
            return (size_t)(p - start);
        p += more + 1;
    }
    return n;
}
