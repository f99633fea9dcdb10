#include "json_model.h"

#include <string.h>

static void space(fuzz_tree *t)
{
    for (; t->at < t->length; t->at++) {
        uint8_t byte = t->text[t->at];
        if (byte != ' ' && byte != '\t' && byte != '\r' && byte != '\n')
            return;
    }
}

static int next_is(const fuzz_tree *t, char byte)
{
    return t->at < t->length && t->text[t->at] == byte;
}

static int digits(fuzz_tree *t)
{
    uint32_t from = t->at;
    while (t->at < t->length && t->text[t->at] >= '0' && t->text[t->at] <= '9')
        t->at++;
    return t->at > from;
}

static int number(fuzz_tree *t)
{
    t->at += next_is(t, '-');
    uint32_t from = t->at;
    if (!digits(t))
        return 0;
    if (t->text[from] == '0')
        t->at = from + 1; /* a digit behind it is one too many, which whoever comes next will find */
    if (next_is(t, '.')) {
        t->at++;
        if (!digits(t))
            return 0;
    }
    if (next_is(t, 'e') || next_is(t, 'E')) {
        t->at++;
        t->at += next_is(t, '+') || next_is(t, '-');
        return digits(t);
    }
    return 1;
}

static int hex_value(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

static int string(fuzz_tree *t, fuzz_node *out)
{
    if (!next_is(t, '"'))
        return 0;
    out->type = FUZZ_STRING;
    out->from = ++t->at;
    for (; t->at < t->length && t->text[t->at] != '"'; t->at++) {
        if (t->text[t->at] < ' ')
            return 0;
        if (t->text[t->at] != '\\')
            continue;
        out->type = FUZZ_ESCAPED_STRING;
        if (++t->at >= t->length || !memchr("\"\\/bfnrtu", t->text[t->at], 9))
            return 0;
        if (t->text[t->at] != 'u')
            continue;
        for (int i = 0; i < 4; i++)
            if (++t->at >= t->length || hex_value(t->text[t->at]) < 0)
                return 0;
    }
    if (t->at >= t->length)
        return 0;
    out->to = t->at++;
    return 1;
}

static int value(fuzz_tree *t, int depth)
{
    uint32_t index = t->count++;
    fuzz_node *out = &t->nodes[index];
    space(t);
    if (t->at >= t->length || depth > FUZZ_DEEPEST)
        return 0;
    uint8_t byte = t->text[t->at];
    out->from = t->at;
    if (byte == '"') {
        if (!string(t, out))
            return 0;
    } else if (byte == '{' || byte == '[') {
        char close = byte == '{' ? '}' : ']';
        out->type = byte == '{' ? FUZZ_OBJECT : FUZZ_ARRAY;
        if (depth + 1 > t->deepest)
            t->deepest = depth + 1;
        t->at++;
        space(t);
        if (!next_is(t, close))
            for (;;) {
                if (out->type == FUZZ_OBJECT) {
                    fuzz_node *key = &t->nodes[t->count++];
                    space(t);
                    if (!string(t, key))
                        return 0;
                    key->next = t->count;
                    space(t);
                    if (!next_is(t, ':'))
                        return 0;
                    t->at++;
                }
                if (!value(t, depth + 1))
                    return 0;
                space(t);
                if (!next_is(t, ','))
                    break;
                t->at++;
            }
        if (!next_is(t, close))
            return 0;
        t->at++;
        out->to = t->at;
    } else if (byte == '-' || (byte >= '0' && byte <= '9')) {
        out->type = FUZZ_NUMBER;
        if (!number(t))
            return 0;
        out->to = t->at;
    } else {
        static const char *const words[3] = {"true", "false", "null"};
        out->type = FUZZ_LITERAL;
        for (int i = 0; i < 3; i++) {
            size_t n = strlen(words[i]);
            if (t->length - t->at >= n && memcmp(t->text + t->at, words[i], n) == 0) {
                t->at += (uint32_t)n;
                out->to = t->at;
                out->next = t->count;
                return 1;
            }
        }
        return 0;
    }
    out->next = t->count;
    return 1;
}

static int is_utf8(const uint8_t *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        uint32_t byte = text[at++];
        if (byte < 0x80)
            continue;
        int more = byte >> 5 == 6 ? 1 : byte >> 4 == 14 ? 2 : byte >> 3 == 30 ? 3 : 0;
        uint32_t code = byte & (0x3Fu >> more);
        if (more == 0)
            return 0;
        for (int i = 0; i < more; i++) {
            if (at >= length || text[at] >> 6 != 2)
                return 0;
            code = code << 6 | (text[at++] & 0x3F);
        }
        static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
        if (code < least[more] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
            return 0;
    }
    return 1;
}

int fuzz_read_json(fuzz_tree *t, const uint8_t *text, size_t length)
{
    t->text = text;
    t->length = (uint32_t)length;
    t->at = t->count = 0;
    t->deepest = 0;
    if (!value(t, 0))
        return 0;
    space(t);
    return t->at == t->length && is_utf8(text, length);
}

/* ---- texts -------------------------------------------------------------------------------------------------- */

static long code_unit(const uint8_t *text)
{
    long code = 0;
    for (int i = 0; i < 4; i++)
        code = code * 16 + hex_value(text[i]);
    return code;
}

/* Reads the \u escape whose `u` is at `at`, and its other half. Returns how many bytes came behind the `u`, 0 for half a pair. */
static uint32_t escaped_code(const fuzz_tree *t, const fuzz_node *string, uint32_t at, long *code)
{
    *code = code_unit(t->text + at + 1);
    if (*code < 0xD800 || *code > 0xDFFF)
        return 4;
    if (*code > 0xDBFF || string->to - at < 11 || t->text[at + 5] != '\\' || t->text[at + 6] != 'u')
        return 0;
    long low = code_unit(t->text + at + 7);
    if (low < 0xDC00 || low > 0xDFFF)
        return 0;
    *code = 0x10000 + (*code - 0xD800) * 0x400 + (low - 0xDC00);
    return 10;
}

long fuzz_resolve(const fuzz_tree *t, const fuzz_node *string, uint8_t *out, size_t room)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    static const uint8_t marks[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    size_t n = 0;
    for (uint32_t at = string->from; at < string->to; at++) {
        uint8_t bytes[4] = {t->text[at]};
        size_t length = 1;
        if (t->text[at] == '\\' && t->text[++at] != 'u') {
            bytes[0] = (uint8_t)values[strchr(names, t->text[at]) - names];
        } else if (bytes[0] == '\\') {
            long code;
            uint32_t more = escaped_code(t, string, at, &code);
            if (!more)
                return -1;
            at += more;
            length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
            for (size_t i = length; i-- > 0; code >>= 6)
                bytes[i] = (uint8_t)(i ? 0x80 | (code & 0x3F) : marks[length] | code);
        }
        if (n + length > room)
            return -1;
        memcpy(out + n, bytes, length);
        n += length;
    }
    return (long)n;
}

int fuzz_is_string(const fuzz_node *n)
{
    return n->type == FUZZ_STRING || n->type == FUZZ_ESCAPED_STRING;
}

int fuzz_says(const fuzz_tree *t, const fuzz_node *string, const char *text)
{
    uint8_t resolved[64];
    const uint8_t *bytes = t->text + string->from;
    long n = string->to - string->from;
    if (!fuzz_is_string(string))
        return 0;
    if (string->type == FUZZ_ESCAPED_STRING) {
        bytes = resolved;
        n = fuzz_resolve(t, string, resolved, sizeof resolved);
    }
    return n == (long)strlen(text) && memcmp(bytes, text, (size_t)n) == 0;
}

int fuzz_members(const fuzz_tree *t, uint32_t object, const char *const *names, int count, const fuzz_node **values)
{
    for (int i = 0; i < count; i++)
        values[i] = NULL;
    for (uint32_t at = object + 1; at < t->nodes[object].next; at = t->nodes[at + 1].next)
        for (int i = 0; i < count; i++)
            if (fuzz_says(t, &t->nodes[at], names[i])) {
                if (values[i])
                    return 0;
                values[i] = &t->nodes[at + 1];
            }
    return 1;
}
