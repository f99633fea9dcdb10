#include "tb_pages.h"

#include <string.h>

int64_t tb_count_levels(const int32_t *offsets, int64_t lists)
{
    int64_t empty = 0;
    for (int64_t i = 0; i < lists; i++) {
        if (offsets[i + 1] < offsets[i])
            return -1;
        empty += offsets[i + 1] == offsets[i];
    }
    return (int64_t)offsets[lists] - offsets[0] + empty;
}

static void all_ones(uint8_t *bits, int64_t count)
{
    memset(bits, 0xFF, (size_t)(count / 8));
    if (count % 8)
        bits[count / 8] = (uint8_t)((1u << count % 8) - 1);
}

void tb_list_levels(const int32_t *offsets, int64_t lists, int64_t levels, uint8_t *repetition, uint8_t *definition)
{
    all_ones(repetition, levels);
    all_ones(definition, levels);
    int64_t at = 0;
    for (int64_t i = 0; i < lists; i++) {
        const int32_t length = offsets[i + 1] - offsets[i];
        const uint8_t bit = (uint8_t)(1u << at % 8);
        repetition[at / 8] &= (uint8_t)~bit;
        if (length == 0)
            definition[at / 8] &= (uint8_t)~bit;
        at += length ? length : 1;
    }
}

static uint8_t *put_length(uint8_t *p, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *p++ = (uint8_t)(value | 0x80);
    *p++ = (uint8_t)value;
    return p;
}

static int is_even(uint8_t eight)
{
    return eight == 0 || eight == 0xFF;
}

/* Runs of at least 16 are told by their length: of 8, a run would save nothing. */
size_t tb_bit_runs(const uint8_t *bits, int64_t count, uint8_t *out)
{
    const int64_t whole = count / 8, groups = (count + 7) / 8;
    uint8_t *p = out;
    int64_t from = 0; /* of groups that are to be packed */
    for (int64_t i = 0; i < groups;) {
        int64_t next = i + 1;
        if (i < whole && is_even(bits[i]))
            while (next < whole && bits[next] == bits[i])
                next++;
        if (next - i >= 2 || next == groups) {
            const int64_t stop = next - i >= 2 ? i : groups;
            if (stop > from) {
                p = put_length(p, (uint64_t)(stop - from) << 1 | 1);
                memcpy(p, bits + from, (size_t)(stop - from));
                p += stop - from;
            }
            if (next - i >= 2) {
                p = put_length(p, (uint64_t)(next - i) * 8 << 1);
                *p++ = bits[i] & 1;
            }
            from = next;
        }
        i = next;
    }
    return (size_t)(p - out);
}

/* Eight bytes of each of eight values, turned around: swapped by halves, then by quarters, then one by one. */
#define SWAP(a, b, shift, mask)                                 \
    do {                                                        \
        const uint64_t t = ((a) >> (shift) ^ (b)) & (mask);     \
        (b) ^= t;                                               \
        (a) ^= t << (shift);                                    \
    } while (0)

TB_VECTORS void tb_split_bytes(const int64_t *values, int64_t count, uint8_t *out, int64_t all)
{
    int64_t i = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; i + 8 <= count; i += 8) {
        uint64_t x[8];
        memcpy(x, values + i, sizeof x);
        for (int k = 0; k < 4; k++)
            SWAP(x[k], x[k + 4], 32, UINT64_C(0x00000000FFFFFFFF));
        for (int k = 0; k < 8; k += 4)
            for (int j = k; j < k + 2; j++)
                SWAP(x[j], x[j + 2], 16, UINT64_C(0x0000FFFF0000FFFF));
        for (int k = 0; k < 8; k += 2)
            SWAP(x[k], x[k + 1], 8, UINT64_C(0x00FF00FF00FF00FF));
        for (int k = 0; k < 8; k++)
            memcpy(out + k * all + i, &x[k], 8);
    }
#endif
    for (; i < count; i++)
        for (int k = 0; k < 8; k++)
            out[k * all + i] = (uint8_t)((uint64_t)values[i] >> 8 * k);
}
