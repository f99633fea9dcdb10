/* Live digests met in passing. A digest note that agrees with its book changes nothing but the book's newest row, and there is
 * one for every 64 updates of a book: too many for each to end the run of frames that the core takes in one go. */
#include <string.h>

#include "tb_internal.h"

#define NOTE 3 /* schemas.names.RecordKind */
#define DIGITS 16

static int take(const uint8_t **p, const uint8_t *end, const char *text, size_t length)
{
    if ((size_t)(end - *p) < length || memcmp(*p, text, length) != 0)
        return 0;
    *p += length;
    return 1;
}

#define TAKE(p, end, text) take(p, end, text, sizeof text - 1)

/* A whole number without a sign, below 10^18; -1 for anything else. */
static int64_t take_number(const uint8_t **p, const uint8_t *end)
{
    const uint8_t *start = *p;
    int64_t value = 0;
    while (*p < end && (unsigned)**p - '0' < 10 && *p - start < 18)
        value = 10 * value + (*(*p)++ - '0');
    return *p > start && (*start != '0' || *p == start + 1) ? value : -1;
}

/* 16 hexadecimal digits, lower case; 0 for anything else. */
static int take_digest(const uint8_t **p, const uint8_t *end, uint64_t *digest)
{
    if (end - *p < DIGITS)
        return 0;
    *digest = 0;
    for (int i = 0; i < DIGITS; i++) {
        const unsigned digit = (unsigned)*(*p)++;
        if (digit - '0' < 10)
            *digest = *digest << 4 | (digit - '0');
        else if (digit - 'a' < 6)
            *digest = *digest << 4 | (digit - 'a' + 10);
        else
            return 0;
    }
    return 1;
}

int tb_meet_digest(tb_engine *engine, const tb_batch *batch, int64_t i)
{
    const uint8_t *p = batch->payloads + batch->offsets[i], *end = batch->payloads + batch->offsets[i + 1];
    if (batch->kinds[i] != NOTE || !TAKE(&p, end, "{\"note\":\"digest\",\"topic\":\""))
        return 0;
    const uint8_t *quote = memchr(p, '"', (size_t)(end - p));
    const int32_t index = quote ? tb_engine_find_feed(engine, p, (size_t)(quote - p)) : -1;
    if (index < 0)
        return 0;
    const tb_feed *feed = engine->feeds[index];
    p = quote;
    uint64_t digest;
    int64_t update_id;
    if (feed->ended || (feed->kind != TB_KIND_BOOK && feed->kind != TB_KIND_RPI) || !TAKE(&p, end, "\",\"update_id\":") ||
        (update_id = take_number(&p, end)) < 0 || !TAKE(&p, end, ",\"digest\":\"") || !take_digest(&p, end, &digest) ||
        !TAKE(&p, end, "\"}") || p != end)
        return 0;
    if (update_id != feed->update_id || digest != tb_feed_digest(feed))
        return 0;
    tb_engine_set_digest(engine, index, update_id, digest);
    engine->digests_met++;
    batch->made[i] = (tb_made){-1, -1, 0, TB_MADE_MET, 0};
    return 1;
}
