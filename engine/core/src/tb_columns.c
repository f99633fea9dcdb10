#include "tb_columns.h"

#include <string.h>

#define EACH UINT64_C(0x0101010101010101)

static inline uint64_t load_little(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Four bytes of eight digits, a byte of `wrong` not 0 where one is none: the digit's value is right if it makes the digit again. */
static inline uint32_t four_bytes(uint64_t digits, uint64_t *wrong)
{
    const uint64_t values = (digits & 0x0F * EACH) + 9 * (digits >> 6 & EACH);
    const uint64_t letters = (values + 6 * EACH) >> 4 & EACH;
    *wrong |= (values & 0xF0 * EACH) | ((values + '0' * EACH + ('a' - '9' - 1) * letters) ^ digits);
    uint64_t bytes = (values << 4 | values >> 8) & UINT64_C(0x00FF00FF00FF00FF);
    bytes = (bytes | bytes >> 8) & UINT64_C(0x0000FFFF0000FFFF);
    return (uint32_t)(bytes | bytes >> 16);
}

static inline void store_little(uint8_t *p, uint32_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    memcpy(p, &word, 4);
}

int tb_uuid_bytes(const uint8_t *texts, int64_t count, uint8_t *out)
{
    const uint64_t low = UINT64_C(0xFFFFFFFF);
    uint64_t wrong = 0;
    for (int64_t i = 0; i < count; i++, texts += 36, out += 16) {
        wrong |= (uint64_t)((texts[8] ^ '-') | (texts[13] ^ '-') | (texts[18] ^ '-') | (texts[23] ^ '-'));
        store_little(out, four_bytes(load_little(texts), &wrong));
        store_little(out + 4, four_bytes((load_little(texts + 9) & low) | load_little(texts + 14) << 32, &wrong));
        store_little(out + 8, four_bytes((load_little(texts + 19) & low) | load_little(texts + 24) << 32, &wrong));
        store_little(out + 12, four_bytes(load_little(texts + 28), &wrong));
    }
    return !wrong;
}

static inline int is_there(const uint8_t *valid, int64_t at)
{
    return !valid || valid[at / 8] >> at % 8 & 1;
}

uint64_t tb_low_words(const uint64_t *words, const uint8_t *valid, int64_t from, int64_t count)
{
    uint64_t together = 0;
    for (int64_t i = 0; i < count; i++)
        together |= is_there(valid, from + i) ? words[2 * i] : 0;
    return together;
}

int tb_divide(const uint64_t *words, const uint8_t *valid, int64_t from, int64_t count, unsigned places, uint64_t *out)
{
    uint64_t five = 1, inverse = 1;
    for (unsigned i = 0; i < places; i++) {
        five *= 5;
        inverse *= UINT64_C(0xCCCCCCCCCCCCCCCD); /* of 5, modulo 2^64 */
    }
    const uint64_t even = (UINT64_C(1) << places) - 1;
    for (int64_t i = 0; i < count; i++) {
        const int there = is_there(valid, from + i);
        const uint64_t low = there ? words[2 * i] : 0, high = there ? words[2 * i + 1] : 0;
        const tb_int128 halved = (tb_int128)((unsigned __int128)high << 64 | low) >> places;
        /* if 5^places divides it, this is how often, modulo 2^64 */
        const int64_t found = (int64_t)((uint64_t)halved * inverse);
        if (TB_UNLIKELY(low & even || (tb_int128)found * (int64_t)five != halved))
            return 0;
        out[2 * i] = (uint64_t)found;
        out[2 * i + 1] = (uint64_t)(found >> 63);
    }
    return 1;
}
