#include "frame_model.h"

#include <string.h>

#include "json_model.h"

/* ---- decimals ---------------------------------------------------------------------------------------------- */

#define KEPT_DIGITS 38 /* what a fuzz_wide holds */
#define FEW_DIGITS 19  /* what 64 bits hold */

fuzz_decimal fuzz_read_decimal(const uint8_t *text, size_t length)
{
    fuzz_decimal out = {FUZZ_NOT_A_NUMBER, 0, 0, 0, 0, 0};
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
    out.verdict = significant > KEPT_DIGITS ? FUZZ_HUGE : FUZZ_DECIMAL;
    return out;
}

int fuzz_mantissa(const fuzz_decimal *decimal, unsigned places, int64_t *mantissa)
{
    fuzz_wide value = decimal->digits;
    if (decimal->verdict != FUZZ_DECIMAL || decimal->places > places || value > INT64_MAX)
        return -1;
    for (size_t i = decimal->places; i < places && value; i++) {
        value *= 10;
        if (value > INT64_MAX)
            return -1;
    }
    *mantissa = (int64_t)(decimal->negative ? -value : value);
    return 0;
}

/* ---- frames ------------------------------------------------------------------------------------------------- */

static int integer(const fuzz_tree *t, const fuzz_node *n, int64_t limit, int64_t *out)
{
    fuzz_wide total = 0;
    if (n->type != FUZZ_NUMBER || n->to - n->from > 19)
        return 0;
    for (uint32_t at = n->from; at < n->to; at++) {
        if (t->text[at] < '0' || t->text[at] > '9')
            return 0;
        total = total * 10 + (t->text[at] - '0');
    }
    *out = (int64_t)total;
    return total <= limit;
}

static int decimal(const fuzz_tree *t, const fuzz_node *n, fuzz_decimal *out, tb_slice *slice)
{
    uint8_t resolved[128];
    int64_t ignored;
    const uint8_t *text = t->text + n->from;
    long length = (long)(n->to - n->from);
    if (!fuzz_is_string(n))
        return 0;
    *slice = (tb_slice){text, n->to - n->from, 0};
    if (n->type == FUZZ_ESCAPED_STRING) {
        text = resolved;
        length = fuzz_resolve(t, n, resolved, sizeof resolved);
        slice->escaped = 1;
    }
    if (length < 0)
        return 0;
    *out = fuzz_read_decimal(text, (size_t)length);
    return out->verdict != FUZZ_NOT_A_NUMBER && out->length == (size_t)length && out->places <= 18 &&
           fuzz_mantissa(out, (unsigned)out->places, &ignored) == 0;
}

static int levels(fuzz_frame_model *model, const fuzz_tree *t, const fuzz_node *array, int side)
{
    const fuzz_node *end = &t->nodes[array->next], *level = array + 1;
    if (array->type != FUZZ_ARRAY)
        return 0;
    model->count[side] = 0;
    for (; level < end; level = &t->nodes[level->next]) {
        fuzz_level *out = &model->levels[side][model->count[side]++];
        /* two members, and no third */
        if (level->type != FUZZ_ARRAY || level->next < level + 3 - t->nodes || level[1].next != level + 2 - t->nodes ||
            level->next != level[2].next)
            return 0;
        if (!decimal(t, level + 1, &out->price, &out->price_text) || !decimal(t, level + 2, &out->size, &out->size_text))
            return 0;
        if (out->size.negative && out->size.digits)
            return 0;
    }
    return 1;
}

static int book(fuzz_frame_model *model, const fuzz_tree *t, const fuzz_node *data, const tb_slice *symbol)
{
    static const char *const names[5] = {"s", "b", "a", "u", "seq"};
    const fuzz_node *values[5];
    uint8_t text[256];
    if (data->type != FUZZ_OBJECT || !fuzz_members(t, (uint32_t)(data - t->nodes), names, 5, values) || !values[0] || !values[1] ||
        !values[2] || !values[3] || !fuzz_is_string(values[0]))
        return 0;
    long length = fuzz_resolve(t, values[0], text, sizeof text);
    if (length < 0 || (size_t)length != symbol->length || memcmp(text, symbol->at, symbol->length) != 0)
        return 0;
    return levels(model, t, values[1], 0) && levels(model, t, values[2], 1) &&
           integer(t, values[3], INT64_MAX, &model->update_id) &&
           (!values[4] || integer(t, values[4], INT64_MAX, &model->cross_sequence));
}

static int frame(fuzz_frame_model *model, const fuzz_tree *t, tb_find find, void *context)
{
    static const char *const names[6] = {"topic", "type", "ts", "cts", "cs", "data"};
    const fuzz_node *values[6];
    int64_t cs = TB_NONE;
    if (t->nodes[0].type != FUZZ_OBJECT || !fuzz_members(t, 0, names, 6, values))
        return 0;
    const fuzz_node *topic = values[0], *type = values[1], *ts = values[2], *cts = values[3], *data = values[5];
    if (!topic) {
        model->status = TB_FRAME_CONTROL;
        return 1;
    }
    if (!fuzz_is_string(topic))
        return 0;
    long length = fuzz_resolve(t, topic, model->topic, sizeof model->topic);
    if (length < 0 || (topic->type == FUZZ_ESCAPED_STRING && (size_t)length + 4 > sizeof model->topic)) {
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
    model->kind = fuzz_says(t, type, "snapshot") ? TB_SNAPSHOT : fuzz_says(t, type, "delta") ? TB_DELTA : -1;
    if (model->kind < 0 || !integer(t, ts, TB_LAST_MS, &model->push_ms) ||
        (cts && !integer(t, cts, TB_LAST_MS, &model->match_ms)) || (values[4] && !integer(t, values[4], INT64_MAX, &cs)))
        return 0;
    if (model->feed_kind == TB_KIND_BOOK)
        return book(model, t, data, &route.symbol);
    if (model->feed_kind == TB_KIND_TICKER)
        model->cross_sequence = cs;
    return model->feed_kind == TB_KIND_TICKER ? data->type == FUZZ_OBJECT
                                              : data->type == FUZZ_ARRAY && model->kind == TB_SNAPSHOT;
}

void fuzz_model_frame(fuzz_frame_model *model, const uint8_t *bytes, size_t length, tb_find find, void *context)
{
    static fuzz_tree t;
    static fuzz_level room[2][FUZZ_MAX_LEVELS];
    model->verdict = FUZZ_REFUSED;
    model->status = TB_FRAME_DATA;
    model->feed_kind = -1;
    model->kind = -1;
    model->push_ms = model->match_ms = model->cross_sequence = model->update_id = TB_NONE;
    model->topic_length = 0;
    model->count[0] = model->count[1] = 0;
    model->levels[0] = room[0];
    model->levels[1] = room[1];
    model->is_json = fuzz_read_json(&t, bytes, length);
    if (!model->is_json)
        return;
    if (frame(model, &t, find, context))
        model->verdict = FUZZ_TAKEN;
    if (t.deepest > FUZZ_SURELY_SHALLOW)
        model->verdict = FUZZ_UNSURE;
}
