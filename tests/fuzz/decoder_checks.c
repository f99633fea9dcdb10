#include <string.h>

#include "decoder.h"
#include "tb_decimal.h"

/* ---- one decoder against another ---------------------------------------------------------------------------- */

static int same_text(const tb_slice *a, const tb_slice *b)
{
    return a->length == b->length && (a->length == 0 || memcmp(a->at, b->at, a->length) == 0);
}

static int same_int64s(const int64_t *a, const int64_t *b, int32_t count)
{
    return count == 0 || memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

static void check_same_envelopes(const tb_frame *a, const tb_frame *b)
{
    FUZZ_CHECK(same_text(&a->topic, &b->topic));
    FUZZ_CHECK(a->kind == b->kind);
    FUZZ_CHECK(a->push_ms == b->push_ms);
    FUZZ_CHECK(a->match_ms == b->match_ms);
    FUZZ_CHECK(a->cross_sequence == b->cross_sequence);
    FUZZ_CHECK(a->update_id == b->update_id);
}

static void check_same_books(const tb_frame *a, const tb_frame *b)
{
    FUZZ_CHECK(a->price_decimals == b->price_decimals && a->size_decimals == b->size_decimals);
    for (int s = 0; s < 2; s++) {
        FUZZ_CHECK(a->count[s] == b->count[s]);
        FUZZ_CHECK(same_int64s(a->prices[s], b->prices[s], a->count[s]));
        FUZZ_CHECK(same_int64s(a->sizes[s], b->sizes[s], a->count[s]));
        FUZZ_CHECK(a->count[s] == 0 || memcmp(a->decimals[s], b->decimals[s], 2 * (size_t)a->count[s]) == 0);
    }
}

static void check_same_trades(const tb_frame *a, const tb_frame *b)
{
    FUZZ_CHECK(a->trade_count == b->trade_count);
    for (int32_t i = 0; i < a->trade_count; i++) {
        const tb_trade *x = &a->trades[i], *y = &b->trades[i];
        FUZZ_CHECK(x->match_ms == y->match_ms && x->cross_sequence == y->cross_sequence);
        FUZZ_CHECK(x->price == y->price && x->size == y->size);
        FUZZ_CHECK(x->price_decimals == y->price_decimals && x->size_decimals == y->size_decimals);
        FUZZ_CHECK(same_text(&x->symbol, &y->symbol) && same_text(&x->id, &y->id));
        FUZZ_CHECK(x->side == y->side && x->tick_direction == y->tick_direction);
        FUZZ_CHECK(x->is_block == y->is_block && x->is_rpi == y->is_rpi && x->extras == y->extras);
        for (int k = 0; k < 4; k++)
            FUZZ_CHECK(!(x->extras >> k & 1) || x->extra[k] == y->extra[k]);
    }
}

static void check_same_tickers(const tb_ticker *a, const tb_ticker *b)
{
    FUZZ_CHECK(a->keys == b->keys && a->present == b->present);
    for (int i = 0; tb_ticker_key(i); i++) {
        if (!(a->present >> i & 1))
            continue;
        if (tb_ticker_type(i) != 's') {
            FUZZ_CHECK(a->values[i] == b->values[i]);
            continue;
        }
        const tb_text *x = &a->texts[i != 0], *y = &b->texts[i != 0];
        FUZZ_CHECK(x->length == y->length && memcmp(x->bytes, y->bytes, x->length) == 0);
    }
}

void fuzz_check_same(const fuzz_decoded *a, const fuzz_decoded *b, int feed_kind)
{
    FUZZ_CHECK(a->error == b->error);
    FUZZ_CHECK(!a->frame.ready && !b->frame.ready);
    check_same_envelopes(&a->frame, &b->frame);
    if (a->error != TB_OK)
        return;
    FUZZ_CHECK(a->status == b->status);
    if (a->status != TB_FRAME_DATA)
        return;
    FUZZ_CHECK(a->frame.drift == b->frame.drift);
    if (feed_kind == TB_KIND_BOOK)
        check_same_books(&a->frame, &b->frame);
    else if (feed_kind == TB_KIND_TRADES)
        check_same_trades(&a->frame, &b->frame);
    else
        check_same_tickers(&a->frame.ticker, &b->frame.ticker);
}

void fuzz_check_fast(const fuzz_decoded *fast, const fuzz_decoded *complete, unsigned price_decimals,
                     unsigned size_decimals)
{
    FUZZ_CHECK(fast->error == TB_OK && fast->status == TB_FRAME_DATA);
    FUZZ_CHECK(complete->error == TB_OK && complete->status == TB_FRAME_DATA);
    check_same_envelopes(&fast->frame, &complete->frame);
    FUZZ_CHECK(fast->frame.drift == 0 && complete->frame.drift == 0);
    FUZZ_CHECK(fast->frame.price_decimals == price_decimals && fast->frame.size_decimals == size_decimals);
    FUZZ_CHECK(complete->frame.price_decimals <= price_decimals && complete->frame.size_decimals <= size_decimals);
    int exact = 1; /* no number is written with other decimals than those of the pair, but sizes of 0, which are `0` */
    for (int s = 0; s < 2; s++) {
        FUZZ_CHECK(fast->frame.count[s] == complete->frame.count[s]);
        for (int32_t i = 0; i < complete->frame.count[s]; i++) {
            const uint8_t *decimals = complete->frame.decimals[s] + 2 * i;
            exact &= decimals[0] == price_decimals && decimals[1] == (complete->frame.sizes[s][i] ? size_decimals : 0);
        }
    }
    FUZZ_CHECK(fast->frame.exact == exact);
}

/* ---- the decoder against the model -------------------------------------------------------------------------- */

static void check_levels(const tb_frame *f, const fuzz_frame_model *model)
{
    size_t price_widest = 0, size_widest = 0;
    for (int s = 0; s < 2; s++) {
        FUZZ_CHECK(f->count[s] == model->count[s]);
        for (int32_t i = 0; i < f->count[s]; i++) {
            const fuzz_decimal *price = &model->levels[s][i].price, *size = &model->levels[s][i].size;
            int64_t price_mantissa = 0, size_mantissa = 0;
            FUZZ_CHECK(fuzz_mantissa(price, (unsigned)price->places, &price_mantissa) == 0);
            FUZZ_CHECK(fuzz_mantissa(size, (unsigned)size->places, &size_mantissa) == 0);
            FUZZ_CHECK(f->prices[s][i] == price_mantissa && f->decimals[s][2 * i] == price->places);
            FUZZ_CHECK(f->sizes[s][i] == size_mantissa && f->decimals[s][2 * i + 1] == size->places);
            if (price->places > price_widest)
                price_widest = price->places;
            if (size_mantissa && size->places > size_widest)
                size_widest = size->places;
        }
    }
    FUZZ_CHECK(f->price_decimals == price_widest && f->size_decimals == size_widest);
}

void fuzz_check_model(const fuzz_decoded *complete, const fuzz_frame_model *model)
{
    const tb_frame *f = &complete->frame;
    int is_ok = complete->error == TB_OK;
    FUZZ_CHECK(complete->error >= TB_OK && complete->error < TB_ERROR_COUNT && complete->error != TB_NO_MEMORY);
    FUZZ_CHECK(!is_ok || model->is_json);
    if (model->verdict == FUZZ_UNSURE)
        return;
    FUZZ_CHECK(!is_ok || model->verdict == FUZZ_TAKEN);
    /* what a trade or a ticker says is not judged by the model */
    int judged = model->status != TB_FRAME_DATA || model->feed_kind == TB_KIND_BOOK;
    FUZZ_CHECK(is_ok || model->verdict == FUZZ_REFUSED || !judged);
    if (!is_ok)
        return;
    FUZZ_CHECK(complete->status == model->status);
    FUZZ_CHECK(model->status == TB_FRAME_CONTROL || (f->topic.length == model->topic_length &&
                                                     memcmp(f->topic.at, model->topic, model->topic_length) == 0));
    if (model->status != TB_FRAME_DATA)
        return;
    FUZZ_CHECK(f->kind == model->kind && f->push_ms == model->push_ms && f->match_ms == model->match_ms);
    FUZZ_CHECK(f->cross_sequence == model->cross_sequence);
    if (model->feed_kind == TB_KIND_BOOK) {
        FUZZ_CHECK(f->update_id == model->update_id);
        check_levels(f, model);
    }
}

/* ---- numbers ------------------------------------------------------------------------------------------------ */

static void check_integer(const uint8_t *p, const uint8_t *end, int64_t limit)
{
    tb_cursor cursor = {p, end, TB_OK};
    int64_t out = 0;
    fuzz_wide total = 0;
    const uint8_t *first = p, *at;
    while (first < end && (*first == ' ' || *first == '\t' || *first == '\n' || *first == '\r'))
        first++;
    for (at = first; at < end && *at >= '0' && *at <= '9'; at++)
        total = at - first < 20 ? total * 10 + (*at - '0') : total;
    int good = at > first && at - first < 20 && total <= limit && !(*first == '0' && at - first > 1) &&
               !(at < end && (*at == '.' || *at == 'e' || *at == 'E'));
    FUZZ_CHECK(tb_integer(&cursor, limit, &out) == good);
    FUZZ_CHECK(good ? cursor.error == TB_OK && cursor.p == at && out == (int64_t)total : cursor.error != TB_OK);
}

void fuzz_check_number(const uint8_t *p, const uint8_t *end, unsigned by)
{
    const fuzz_decimal model = fuzz_read_decimal(p, (size_t)(end - p));
    int64_t mantissa = 0, expected = 0;
    unsigned decimals = 0;
    tb_error error = TB_OK;
    const uint8_t *behind = tb_decimal64(p, end, &mantissa, &decimals, &error);
    if (model.verdict == FUZZ_NOT_A_NUMBER) {
        FUZZ_CHECK(!behind && error == TB_BAD_NUMBER);
    } else if (model.places > TB_MAX_DECIMALS || fuzz_mantissa(&model, (unsigned)model.places, &expected) != 0) {
        FUZZ_CHECK(!behind && error == TB_DECIMAL);
    } else {
        FUZZ_CHECK(behind == p + model.length && mantissa == expected && decimals == model.places);
        int64_t rescaled = mantissa;
        int fits = fuzz_mantissa(&model, (unsigned)model.places + by, &expected) == 0 &&
                   (by <= TB_MAX_DECIMALS || mantissa == 0);
        FUZZ_CHECK(tb_rescale(&rescaled, by) == (fits ? TB_OK : TB_DECIMAL));
        FUZZ_CHECK(rescaled == (fits ? expected : mantissa));
    }
    tb_int128 wide = 0;
    error = TB_OK;
    behind = tb_decimal128(p, end, &wide, &error);
    if (model.verdict == FUZZ_NOT_A_NUMBER) {
        FUZZ_CHECK(!behind && error == TB_BAD_NUMBER);
    } else if (model.whole > 20 || model.places > TB_MAX_DECIMALS) {
        FUZZ_CHECK(!behind && error == TB_DECIMAL);
    } else {
        fuzz_wide scaled = model.digits;
        for (size_t i = model.places; i < TB_MAX_DECIMALS; i++)
            scaled *= 10;
        FUZZ_CHECK(behind == p + model.length && wide == (model.negative ? -scaled : scaled));
    }
    check_integer(p, end, INT64_MAX);
    check_integer(p, end, TB_LAST_MS);
}
