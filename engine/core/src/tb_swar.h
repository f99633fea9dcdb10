/* Runs of digits eight bytes at a time, in plain 64-bit arithmetic: as fast here as vector instructions, because the
 * runs are short, and the same on every machine. Callers see to it that eight bytes may be read. */
#ifndef TB_SWAR_H
#define TB_SWAR_H

#include <string.h>

#include "tb_types.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define TB_HAS_SWAR 1
#else
#define TB_HAS_SWAR 0
#endif

/* Up to eight bytes of text as one number; little-endian where that matters. */
TB_INLINE uint64_t tb_load8(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

TB_INLINE uint64_t tb_load4(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, 4);
    return word;
}

#if TB_HAS_SWAR

/* A byte of 0x80 where p's byte is not a digit; *digits gets the bytes with digits as 0..9. */
TB_INLINE uint64_t tb_not_digits(const uint8_t *p, uint64_t *digits)
{
    uint64_t x;
    memcpy(&x, p, 8);
    x ^= UINT64_C(0x3030303030303030);
    *digits = x;
    return (((x & UINT64_C(0x7F7F7F7F7F7F7F7F)) + UINT64_C(0x7676767676767676)) | x) & UINT64_C(0x8080808080808080);
}

/* The number that eight bytes of 0..9 make, the first byte being the highest digit. */
TB_INLINE uint64_t tb_eight(uint64_t x)
{
    x = (x * 10) + (x >> 8);
    return (((x & UINT64_C(0x000000FF000000FF)) * UINT64_C(0x000F424000000064)) +
            (((x >> 16) & UINT64_C(0x000000FF000000FF)) * UINT64_C(0x0000271000000001))) >> 32;
}

/* How many digits begin the eight bytes at p (0..8), and their value. */
TB_INLINE unsigned tb_digits8(const uint8_t *p, uint64_t *value)
{
    uint64_t x, other = tb_not_digits(p, &x);
    unsigned count = other ? (unsigned)__builtin_ctzll(other) >> 3 : 8;
    if (count == 0)
        return 0;
    /* what is not a digit leaves at the top; zeros come before the first digit */
    *value = tb_eight(x << (8 * (8 - count)));
    return count;
}

#endif
#endif
