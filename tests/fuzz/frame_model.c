#include "frame_model.h"

#include <string.h>

/* ---- decimals ---------------------------------------------------------------------------------------------- */

#define KEPT_DIGITS 38 /* what a fuzz_wide holds */
#define FEW_DIGITS 19  /* what 64 bits hold */

fuzz_decimal fuzz_read_decimal(const uint8_t *text, size_t length)
{
    fuzz_decimal out = {FUZZ_NO_NUMBER, 0, 0, 0, 0, 0};
    size_t at = 0, significant = 0;
    uint64_t few = 0; /* the digits while they are few: wide arithmetic is slow */
    int behind_point = 0;
    if (at < length && text[at] == '-') {
        out.negative = 1;
        at++;
    }
    size_t first = at;
    for (; at < length; at++) {
        if (text[at] == '.' && !behind_point) {
            behind_point = 1;
            continue;
        }
        if (text[at] < '0' || text[at] > '9')
            break;
        significant += significant > 0 || text[at] != '0';
        if (significant <= FEW_DIGITS)
            out.digits = few = few * 10 + (uint64_t)(text[at] - '0');
        else if (significant <= KEPT_DIGITS)
            out.digits = out.digits * 10 + (text[at] - '0');
        if (behind_point)
            out.places++;
        else
            out.whole++;
    }
    out.length = at;
    if (out.whole == 0 || (out.whole > 1 && text[first] == '0') || (behind_point && out.places == 0))
        return out;
    out.verdict = significant > KEPT_DIGITS ? FUZZ_HUGE : FUZZ_NUMBER;
    return out;
}

int fuzz_mantissa(const fuzz_decimal *decimal, unsigned places, int64_t *mantissa)
{
    fuzz_wide value = decimal->digits;
    if (decimal->verdict != FUZZ_NUMBER || decimal->places > places || value > INT64_MAX)
        return -1;
    for (size_t i = decimal->places; i < places && value; i++) {
        value *= 10;
        if (value > INT64_MAX)
            return -1;
    }
    *mantissa = (int64_t)(decimal->negative ? -value : value);
    return 0;
}

/* ---- JSON --------------------------------------------------------------------------------------------------- */

#define DEEPEST 80      /* beyond this nothing is JSON for us */
#define SURELY_SHALLOW 60 /* the decoder's own limit is somewhere between the two */

typedef struct {
    enum { OBJECT, ARRAY, STRING, ESCAPED_STRING, NUMBER, LITERAL } type;
    uint32_t from, to; /* of a string: what is between the quotes */
    uint32_t next;     /* the node behind this one and all within it; members are key, value, key, value… */
} node;

typedef struct {
    const uint8_t *text;
    uint32_t length, at;
    uint32_t count;
    int deepest;
    node nodes[FUZZ_MAX_FRAME + 1]; /* every value is a byte at least, and most are more */
} tree;

static void space(tree *t)
{
    for (; t->at < t->length; t->at++) {
        uint8_t byte = t->text[t->at];
        if (byte != ' ' && byte != '\t' && byte != '\r' && byte != '\n')
            return;
    }
}

static int next_is(const tree *t, char byte)
{
    return t->at < t->length && t->text[t->at] == byte;
}

static int digits(tree *t)
{
    uint32_t from = t->at;
    while (t->at < t->length && t->text[t->at] >= '0' && t->text[t->at] <= '9')
        t->at++;
    return t->at > from;
}

static int number(tree *t)
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

static int string(tree *t, node *out)
{
    if (!next_is(t, '"'))
        return 0;
    out->type = STRING;
    out->from = ++t->at;
    for (; t->at < t->length && t->text[t->at] != '"'; t->at++) {
        if (t->text[t->at] < ' ')
            return 0;
        if (t->text[t->at] != '\\')
            continue;
        out->type = ESCAPED_STRING;
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

static int value(tree *t, int depth)
{
    uint32_t index = t->count++;
    node *out = &t->nodes[index];
    space(t);
    if (t->at >= t->length || depth > DEEPEST)
        return 0;
    uint8_t byte = t->text[t->at];
    out->from = t->at;
    if (byte == '"') {
        if (!string(t, out))
            return 0;
    } else if (byte == '{' || byte == '[') {
        char close = byte == '{' ? '}' : ']';
        out->type = byte == '{' ? OBJECT : ARRAY;
        if (depth + 1 > t->deepest)
            t->deepest = depth + 1;
        t->at++;
        space(t);
        if (!next_is(t, close))
            for (;;) {
                if (out->type == OBJECT) {
                    node *key = &t->nodes[t->count++];
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
        out->type = NUMBER;
        if (!number(t))
            return 0;
        out->to = t->at;
    } else {
        static const char *const words[3] = {"true", "false", "null"};
        out->type = LITERAL;
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

/* ---- texts -------------------------------------------------------------------------------------------------- */

static long code_unit(const uint8_t *text)
{
    long code = 0;
    for (int i = 0; i < 4; i++)
        code = code * 16 + hex_value(text[i]);
    return code;
}

/* Reads the \u escape whose `u` is at `at`, and its other half. Returns how many bytes came behind the `u`, 0 for half a pair. */
static uint32_t escaped_code(const tree *t, const node *string, uint32_t at, long *code)
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

/* What a string says, or -1 for half a surrogate pair, or when there is no room. */
static long resolve(const tree *t, const node *string, uint8_t *out, size_t room)
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

static int is_string(const node *n)
{
    return n->type == STRING || n->type == ESCAPED_STRING;
}

static int says(const tree *t, const node *string, const char *text)
{
    uint8_t resolved[64];
    const uint8_t *bytes = t->text + string->from;
    long n = string->to - string->from;
    if (!is_string(string))
        return 0;
    if (string->type == ESCAPED_STRING) {
        bytes = resolved;
        n = resolve(t, string, resolved, sizeof resolved);
    }
    return n == (long)strlen(text) && memcmp(bytes, text, (size_t)n) == 0;
}

/* The values of an object's known members. 0 when one is there twice. */
static int members(const tree *t, uint32_t object, const char *const *names, int count, const node **values)
{
    for (int i = 0; i < count; i++)
        values[i] = NULL;
    for (uint32_t at = object + 1; at < t->nodes[object].next; at = t->nodes[at + 1].next)
        for (int i = 0; i < count; i++)
            if (says(t, &t->nodes[at], names[i])) {
                if (values[i])
                    return 0;
                values[i] = &t->nodes[at + 1];
            }
    return 1;
}

/* ---- frames ------------------------------------------------------------------------------------------------- */

static int integer(const tree *t, const node *n, int64_t limit, int64_t *out)
{
    fuzz_wide total = 0;
    if (n->type != NUMBER || n->to - n->from > 19)
        return 0;
    for (uint32_t at = n->from; at < n->to; at++) {
        if (t->text[at] < '0' || t->text[at] > '9')
            return 0;
        total = total * 10 + (t->text[at] - '0');
    }
    *out = (int64_t)total;
    return total <= limit;
}

static int decimal(const tree *t, const node *n, fuzz_decimal *out, tb_slice *slice)
{
    uint8_t resolved[128];
    int64_t ignored;
    const uint8_t *text = t->text + n->from;
    long length = (long)(n->to - n->from);
    if (!is_string(n))
        return 0;
    *slice = (tb_slice){text, n->to - n->from, 0};
    if (n->type == ESCAPED_STRING) {
        text = resolved;
        length = resolve(t, n, resolved, sizeof resolved);
        slice->escaped = 1;
    }
    if (length < 0)
        return 0;
    *out = fuzz_read_decimal(text, (size_t)length);
    return out->verdict != FUZZ_NO_NUMBER && out->length == (size_t)length && out->places <= 18 &&
           fuzz_mantissa(out, (unsigned)out->places, &ignored) == 0;
}

static int levels(fuzz_frame_model *model, const tree *t, const node *array, int side)
{
    const node *end = &t->nodes[array->next], *level = array + 1;
    if (array->type != ARRAY)
        return 0;
    model->count[side] = 0;
    for (; level < end; level = &t->nodes[level->next]) {
        fuzz_level *out = &model->levels[side][model->count[side]++];
        /* two members, and no third */
        if (level->type != ARRAY || level->next < level + 3 - t->nodes || level[1].next != level + 2 - t->nodes ||
            level->next != level[2].next)
            return 0;
        if (!decimal(t, level + 1, &out->price, &out->price_text) || !decimal(t, level + 2, &out->size, &out->size_text))
            return 0;
        if (out->size.negative && out->size.digits)
            return 0;
    }
    return 1;
}

static int book(fuzz_frame_model *model, const tree *t, const node *data, const tb_slice *symbol)
{
    static const char *const names[5] = {"s", "b", "a", "u", "seq"};
    const node *values[5];
    uint8_t text[256];
    if (data->type != OBJECT || !members(t, (uint32_t)(data - t->nodes), names, 5, values) || !values[0] || !values[1] ||
        !values[2] || !values[3] || !is_string(values[0]))
        return 0;
    long length = resolve(t, values[0], text, sizeof text);
    if (length < 0 || (size_t)length != symbol->length || memcmp(text, symbol->at, symbol->length) != 0)
        return 0;
    return levels(model, t, values[1], 0) && levels(model, t, values[2], 1) &&
           integer(t, values[3], INT64_MAX, &model->update_id) &&
           (!values[4] || integer(t, values[4], INT64_MAX, &model->cross_sequence));
}

static int frame(fuzz_frame_model *model, const tree *t, tb_find find, void *context)
{
    static const char *const names[6] = {"topic", "type", "ts", "cts", "cs", "data"};
    const node *values[6];
    int64_t cs = TB_NONE;
    if (t->nodes[0].type != OBJECT || !members(t, 0, names, 6, values))
        return 0;
    const node *topic = values[0], *type = values[1], *ts = values[2], *cts = values[3], *data = values[5];
    if (!topic) {
        model->status = TB_FRAME_CONTROL;
        return 1;
    }
    if (!is_string(topic))
        return 0;
    long length = resolve(t, topic, model->topic, sizeof model->topic);
    if (length < 0 || (topic->type == ESCAPED_STRING && (size_t)length + 4 > sizeof model->topic)) {
        /* too long for us, or half a pair */
        model->verdict = length < 0 && topic->to - topic->from < sizeof model->topic ? FUZZ_REFUSED : FUZZ_UNSURE;
        return 0;
    }
    model->topic_length = (size_t)length;
    tb_route route = {{NULL, 0, 0}, 0, 0};
    tb_slice name = {model->topic, (uint32_t)length, 0};
    model->feed_kind = find(context, &name, &route);
    if (model->feed_kind < 0) {
        model->status = TB_FRAME_UNKNOWN_TOPIC;
        return 1;
    }
    model->status = TB_FRAME_DATA;
    if (!type || !ts || !data)
        return 0;
    model->kind = says(t, type, "snapshot") ? TB_SNAPSHOT : says(t, type, "delta") ? TB_DELTA : -1;
    if (model->kind < 0 || !integer(t, ts, TB_LAST_MS, &model->push_ms) ||
        (cts && !integer(t, cts, TB_LAST_MS, &model->match_ms)) || (values[4] && !integer(t, values[4], INT64_MAX, &cs)))
        return 0;
    if (model->feed_kind == TB_KIND_BOOK)
        return book(model, t, data, &route.symbol);
    if (model->feed_kind == TB_KIND_TICKER)
        model->cross_sequence = cs;
    return model->feed_kind == TB_KIND_TICKER ? data->type == OBJECT
                                              : data->type == ARRAY && model->kind == TB_SNAPSHOT;
}

void fuzz_model_frame(fuzz_frame_model *model, const uint8_t *bytes, size_t length, tb_find find, void *context)
{
    static tree t;
    static fuzz_level room[2][FUZZ_MAX_LEVELS];
    t.text = bytes;
    t.length = (uint32_t)length;
    t.at = t.count = 0;
    t.deepest = 0;
    model->verdict = FUZZ_REFUSED;
    model->status = TB_FRAME_DATA;
    model->feed_kind = -1;
    model->kind = -1;
    model->push_ms = model->match_ms = model->cross_sequence = model->update_id = TB_NONE;
    model->topic_length = 0;
    model->count[0] = model->count[1] = 0;
    model->levels[0] = room[0];
    model->levels[1] = room[1];
    model->is_json = value(&t, 0);
    space(&t);
    model->is_json = model->is_json && t.at == t.length && is_utf8(bytes, length);
    if (!model->is_json)
        return;
    if (frame(model, &t, find, context))
        model->verdict = FUZZ_TAKEN;
    if (t.deepest > SURELY_SHALLOW)
        model->verdict = FUZZ_UNSURE;
}
