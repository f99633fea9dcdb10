/* The payload of a tickers frame (protocol section 3.5). */
#include "tb_read.h"

#include <string.h>

/* The order is the bit order of schemas.tables.TICKER_FIELDS (a test holds them together). */
static const struct {
    const char *key;
    uint8_t length;
    char type;
} ticker_fields[TB_TICKER_FIELDS] = {
#define FIELD(key, type) {key, sizeof(key) - 1, type}
    FIELD("tickDirection", 's'), FIELD("price24hPcnt", 'd'), FIELD("lastPrice", 'd'), FIELD("prevPrice24h", 'd'),
    FIELD("highPrice24h", 'd'), FIELD("lowPrice24h", 'd'), FIELD("prevPrice1h", 'd'), FIELD("markPrice", 'd'),
    FIELD("indexPrice", 'd'), FIELD("openInterest", 'd'), FIELD("openInterestValue", 'd'),
    FIELD("singleOpenInterest", 'd'), FIELD("singleOpenInterestValue", 'd'), FIELD("turnover24h", 'd'),
    FIELD("volume24h", 'd'), FIELD("nextFundingTime", 't'), FIELD("fundingRate", 'd'), FIELD("bid1Price", 'd'),
    FIELD("bid1Size", 'd'), FIELD("ask1Price", 'd'), FIELD("ask1Size", 'd'), FIELD("fundingIntervalHour", 'd'),
    FIELD("fundingCap", 'd'), FIELD("deliveryTime", 't'), FIELD("basis", 'd'), FIELD("basisRate", 'd'),
    FIELD("basisRateYear", 'd'), FIELD("deliveryFeeRate", 'd'), FIELD("predictedDeliveryPrice", 'd'),
    FIELD("preOpenPrice", 'd'), FIELD("preQty", 'd'), FIELD("curPreListingPhase", 's'), FIELD("usdIndexPrice", 'd'),
    FIELD("bidPrice", 'd'), FIELD("bidSize", 'd'), FIELD("bidIv", 'd'), FIELD("askPrice", 'd'), FIELD("askSize", 'd'),
    FIELD("askIv", 'd'), FIELD("markPriceIv", 'd'), FIELD("underlyingPrice", 'd'), FIELD("totalVolume", 'd'),
    FIELD("totalTurnover", 'd'), FIELD("delta", 'd'), FIELD("gamma", 'd'), FIELD("vega", 'd'), FIELD("theta", 'd'),
    FIELD("change24h", 'd'),
#undef FIELD
};

const char *tb_ticker_key(int field)
{
    return field >= 0 && field < TB_TICKER_FIELDS ? ticker_fields[field].key : NULL;
}

char tb_ticker_type(int field)
{
    return ticker_fields[field].type;
}

static int two_digits(const uint8_t *p)
{
    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
        return -1;
    return (p[0] - '0') * 10 + (p[1] - '0');
}

/* `2025-12-26T08:00:00Z`, with up to three decimals of a second, to ms since the epoch, or -1. */
static int64_t iso_to_ms(const uint8_t *p, size_t n)
{
    static const int month_days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (n < 20 || n > 24 || p[4] != '-' || p[7] != '-' || p[10] != 'T' || p[13] != ':' || p[16] != ':' ||
        p[n - 1] != 'Z' || n == 21 || (n > 21 && p[19] != '.'))
        return -1;
    int milliseconds = 0;
    for (size_t i = 20; i < 23; i++) {
        int digit = i < n - 1 ? p[i] - '0' : 0;
        if (digit < 0 || digit > 9)
            return -1;
        milliseconds = milliseconds * 10 + digit;
    }
    int century = two_digits(p), year = two_digits(p + 2), month = two_digits(p + 5), day = two_digits(p + 8);
    int hour = two_digits(p + 11), minute = two_digits(p + 14), second = two_digits(p + 17);
    if (century < 0 || year < 0 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 59)
        return -1;
    year += century * 100;
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1970 || day > month_days[month - 1] + (month == 2 && leap))
        return -1;
    int64_t before = year - 1;
    int64_t days = before * 365 + before / 4 - before / 100 + before / 400 - 719162; /* since 1970-01-01 */
    for (int m = 1; m < month; m++)
        days += month_days[m - 1] + (m == 2 && leap);
    days += day - 1;
    return ((days * 24 + hour) * 60 + minute) * 60000 + second * 1000 + milliseconds;
}

static int read_time(tb_frame *f, tb_cursor *c, tb_int128 *value, int *present)
{
    tb_slice text;
    if (tb_peek(c) == '"') {
        if (!tb_read_text(f, c, &text))
            return 0;
    } else if (!tb_number(c, &text)) {
        c->error = TB_OK;
        if (tb_skip(c, 0))
            c->error = TB_WRONG_TYPE;
        return 0;
    }
    *present = text.length != 0;
    if (!*present)
        return 1;
    tb_cursor inner = {text.at, text.at + text.length, TB_OK};
    int64_t ms;
    if (text.at[0] >= '0' && text.at[0] <= '9' && tb_integer(&inner, TB_LAST_MS, &ms) && inner.p == inner.end) {
        *value = ms;
        return 1;
    }
    ms = iso_to_ms(text.at, text.length);
    if (ms < 0)
        return tb_fail(c, TB_BAD_NUMBER);
    *value = ms;
    return 1;
}

static int ticker_field(const tb_slice *key)
{
    for (int i = 0; i < TB_TICKER_FIELDS; i++)
        if (key->length == ticker_fields[i].length && memcmp(key->at, ticker_fields[i].key, key->length) == 0)
            return i;
    return -1;
}

int tb_read_ticker(tb_frame *f, tb_cursor *c, const tb_slice *symbol)
{
    tb_ticker *t = &f->ticker;
    int named = 0, hint = 0;
    t->keys = t->present = 0;
    TB_EACH_MEMBER(c, 1)
    if (TB_IS(&key, "symbol")) {
        tb_slice text;
        if (named)
            return tb_fail(c, TB_DUPLICATE_KEY);
        named = 1;
        if (!tb_read_text(f, c, &text))
            return 0;
        if (!tb_same_text(&text, symbol))
            return tb_fail(c, TB_WRONG_SYMBOL);
        continue;
    }
    /* keys mostly come in table order: look at the next one first */
    int field = hint < TB_TICKER_FIELDS && tb_is(&key, ticker_fields[hint].key, ticker_fields[hint].length)
                    ? hint
                    : ticker_field(&key);
    if (field < 0) {
        if (!tb_skip(c, 2))
            return 0;
        continue;
    }
    hint = field + 1;
    uint64_t bit = UINT64_C(1) << field;
    int present = 1;
    TB_ONCE(c, t->keys, bit);
    if (ticker_fields[field].type == 'd') {
        if (!tb_read_wide(f, c, &t->values[field], &present))
            return 0;
    } else if (ticker_fields[field].type == 't') {
        if (!read_time(f, c, &t->values[field], &present))
            return 0;
    } else {
        tb_slice text;
        if (!tb_read_text(f, c, &text))
            return 0;
        if (text.length > TB_TEXT_BYTES)
            return tb_fail(c, TB_BAD_VALUE);
        tb_text *target = &t->texts[field == 0 ? 0 : 1];
        target->length = (uint8_t)text.length;
        memcpy(target->bytes, text.at, text.length);
        present = text.length != 0;
    }
    if (present)
        t->present |= bit;
    TB_END_MEMBERS(c)
    return named ? 1 : tb_fail(c, TB_MISSING_KEY);
}
