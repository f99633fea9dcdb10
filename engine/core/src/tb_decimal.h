/* Exact decimals: text to mantissa and count of decimals, and rescaling.
 *
 * Grammar (design, "Numbers and time"): -?(0|[1-9][0-9]*)(\.[0-9]+)?  Nothing else is a number here. */
#ifndef TB_DECIMAL_H
#define TB_DECIMAL_H

#include "tb_types.h"

#define TB_MAX_DECIMALS 18

static const int64_t tb_powers[TB_MAX_DECIMALS + 1] = {
    INT64_C(1), INT64_C(10), INT64_C(100), INT64_C(1000), INT64_C(10000), INT64_C(100000), INT64_C(1000000),
    INT64_C(10000000), INT64_C(100000000), INT64_C(1000000000), INT64_C(10000000000), INT64_C(100000000000),
    INT64_C(1000000000000), INT64_C(10000000000000), INT64_C(100000000000000), INT64_C(1000000000000000),
    INT64_C(10000000000000000), INT64_C(100000000000000000), INT64_C(1000000000000000000)};

/* Reads a decimal that begins at p. Returns the first byte behind it, or NULL with *error set.
 * |mantissa| <= INT64_MAX, so that it can be negated. */
static inline const uint8_t *tb_decimal64(const uint8_t *p, const uint8_t *end, int64_t *mantissa,
                                          unsigned *decimals, tb_error *error)
{
    int negative = 0;
    unsigned digit;
    uint64_t value = 0;
    if (TB_UNLIKELY(p < end && *p == '-')) {
        negative = 1;
        p++;
    }
    const uint8_t *first = p;
    while (p < end && (digit = (unsigned)*p - '0') < 10) {
        value = value * 10 + digit;
        p++;
    }
    size_t whole = (size_t)(p - first), fraction = 0;
    if (TB_UNLIKELY(whole == 0 || (whole > 1 && *first == '0'))) {
        *error = TB_BAD_NUMBER;
        return NULL;
    }
    if (p < end && *p == '.') {
        const uint8_t *point = ++p;
        while (p < end && (digit = (unsigned)*p - '0') < 10) {
            value = value * 10 + digit;
            p++;
        }
        fraction = (size_t)(p - point);
        if (TB_UNLIKELY(fraction == 0)) {
            *error = TB_BAD_NUMBER;
            return NULL;
        }
    }
    /* Up to 19 digits fit in 64 unsigned bits. With at most 18 decimals, more than 19 digits means at least two
     * before the point, the first of them not 0: too large in any case. */
    if (TB_UNLIKELY(fraction > TB_MAX_DECIMALS || whole + fraction > 19 || value > (uint64_t)INT64_MAX)) {
        *error = TB_DECIMAL;
        return NULL;
    }
    *mantissa = negative ? -(int64_t)value : (int64_t)value;
    *decimals = (unsigned)fraction;
    return p;
}

/* The same for DECIMAL(38,18): *value is the number times 10^18. */
static inline const uint8_t *tb_decimal128(const uint8_t *p, const uint8_t *end, tb_int128 *value, tb_error *error)
{
    int negative = 0;
    unsigned digit;
    unsigned __int128 total = 0;
    if (p < end && *p == '-') {
        negative = 1;
        p++;
    }
    const uint8_t *first = p;
    while (p < end && (digit = (unsigned)*p - '0') < 10) {
        if (p - first < 20)
            total = total * 10 + digit;
        p++;
    }
    size_t whole = (size_t)(p - first), fraction = 0;
    if (whole == 0 || (whole > 1 && *first == '0')) {
        *error = TB_BAD_NUMBER;
        return NULL;
    }
    if (p < end && *p == '.') {
        const uint8_t *point = ++p;
        while (p < end && (digit = (unsigned)*p - '0') < 10) {
            if (p - point < TB_MAX_DECIMALS)
                total = total * 10 + digit;
            p++;
        }
        fraction = (size_t)(p - point);
        if (fraction == 0) {
            *error = TB_BAD_NUMBER;
            return NULL;
        }
    }
    if (whole > 20 || fraction > TB_MAX_DECIMALS) {
        *error = TB_DECIMAL;
        return NULL;
    }
    total *= (uint64_t)tb_powers[TB_MAX_DECIMALS - fraction];
    *value = negative ? -(tb_int128)total : (tb_int128)total;
    return p;
}

/* value * 10^by, or TB_DECIMAL if |result| > INT64_MAX. */
static inline tb_error tb_rescale(int64_t *value, unsigned by)
{
    int64_t result;
    if (by > TB_MAX_DECIMALS)
        return *value == 0 ? TB_OK : TB_DECIMAL;
    if (TB_UNLIKELY(__builtin_mul_overflow(*value, tb_powers[by], &result) || result == INT64_MIN))
        return TB_DECIMAL;
    *value = result;
    return TB_OK;
}

#endif
