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

#define QUARTER (TB_BLOCK_DELTAS / 4)

static uint8_t *put_signed(uint8_t *p, int64_t value)
{
    return put_length(p, (uint64_t)value << 1 ^ (uint64_t)(value >> 63));
}

static uint8_t *put_little(uint8_t *p, uint64_t value, int bytes)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(p, &value, (size_t)bytes);
#else
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> 8 * i);
#endif
    return p + bytes;
}

/* Numbers of so many bits (1 to 64) one behind the other, the lowest bits first; together they are a multiple of 32. */
static uint8_t *put_bits(uint8_t *p, const uint64_t *numbers, int count, int bits)
{
    uint64_t word = 0;
    int used = 0;
    for (int i = 0; i < count; i++) {
        word |= numbers[i] << used;
        used += bits;
        if (used >= 64) {
            p = put_little(p, word, 8);
            used -= 64;
            word = used ? numbers[i] >> (bits - used) : 0;
        }
    }
    return used ? put_little(p, word, used / 8) : p;
}

/* A quarter of a block. As long as they fit, neighbours are put together first, all pairs at once. */
static inline uint8_t *put_quarter(uint8_t *p, const uint64_t *numbers, int bits)
{
    uint64_t pairs[QUARTER / 2], fours[QUARTER / 4];
    if (bits > 32)
        return put_bits(p, numbers, QUARTER, bits);
    for (int i = 0; i < QUARTER / 2; i++)
        pairs[i] = numbers[2 * i] | numbers[2 * i + 1] << bits;
    if (bits > 16)
        return put_bits(p, pairs, QUARTER / 2, 2 * bits);
    for (int i = 0; i < QUARTER / 4; i++)
        fours[i] = pairs[2 * i] | pairs[2 * i + 1] << 2 * bits;
    return put_bits(p, fours, QUARTER / 4, 4 * bits);
}

TB_VECTORS static void put_block(tb_deltas *to)
{
    uint64_t *deltas = to->deltas;
    const int held = to->held;
    int64_t least = INT64_MAX;
    uint64_t used[4];
    for (int i = 0; i < held; i++)
        least = (int64_t)deltas[i] < least ? (int64_t)deltas[i] : least;
    for (int i = 0; i < TB_BLOCK_DELTAS; i++)
        deltas[i] = i < held ? deltas[i] - (uint64_t)least : 0;
    for (int quarter = 0; quarter < 4; quarter++) {
        used[quarter] = 0;
        for (int i = 0; i < QUARTER; i++)
            used[quarter] |= deltas[quarter * QUARTER + i];
    }
    uint8_t *p = put_signed(to->out, least);
    for (int quarter = 0; quarter < 4; quarter++)
        p[quarter] = used[quarter] ? (uint8_t)(64 - __builtin_clzll(used[quarter])) : 0;
    const uint8_t *bits = p;
    p += 4;
    for (int quarter = 0; quarter < 4; quarter++)
        if (bits[quarter])
            p = put_quarter(p, deltas + quarter * QUARTER, bits[quarter]);
    to->out = p;
    to->held = 0;
}

void tb_deltas_begin(tb_deltas *to, int64_t left, uint8_t *out)
{
    uint8_t *p = put_length(out, TB_BLOCK_DELTAS);
    p = put_length(p, 4);
    p = put_length(p, (uint64_t)left);
    if (!left)
        p = put_length(p, 0); /* a first value that is none */
    to->out = p;
    to->last = 0;
    to->left = left;
    to->held = to->begun = 0;
}

void tb_deltas_add(tb_deltas *to, const int64_t *values, int64_t count)
{
    if (count > to->left)
        count = to->left;
    to->left -= count;
    if (count && !to->begun) {
        to->begun = 1;
        to->last = *values++;
        to->out = put_signed(to->out, to->last);
        count--;
    }
    while (count) {
        const int room = TB_BLOCK_DELTAS - to->held, taken = count < room ? (int)count : room;
        uint64_t *deltas = to->deltas + to->held;
        deltas[0] = (uint64_t)values[0] - (uint64_t)to->last;
        for (int i = 1; i < taken; i++)
            deltas[i] = (uint64_t)values[i] - (uint64_t)values[i - 1];
        to->last = values[taken - 1];
        values += taken;
        count -= taken;
        to->held += taken;
        if (to->held == TB_BLOCK_DELTAS)
            put_block(to);
    }
}

uint8_t *tb_deltas_end(tb_deltas *to)
{
    if (to->held)
        put_block(to);
    return to->out;
}
