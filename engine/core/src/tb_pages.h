/* What Parquet keeps of a column of lists that are there, of values that are there: how levels and values are written. */
#ifndef TB_PAGES_H
#define TB_PAGES_H

#include "tb_types.h"

/* How many levels so many lists have; `offsets` has one entry more. -1 where they don't rise. */
int64_t tb_count_levels(const int32_t *offsets, int64_t lists);

/* Room for the bits of so many levels, and for runs of them. */
#define TB_BITS_ROOM(levels) ((size_t)((levels) + 7) / 8 + 8)
#define TB_RUNS_ROOM(levels) (2 * TB_BITS_ROOM(levels) + 16)

/* A bit a level: whether it goes on with its list (repetition), and whether it has a value (definition: an empty list hasn't). */
void tb_list_levels(const int32_t *offsets, int64_t lists, int64_t levels, uint8_t *repetition, uint8_t *definition);

/* The same bits as Parquet's hybrid of run lengths and packed bits, of width 1. Returns how many bytes. */
size_t tb_bit_runs(const uint8_t *bits, int64_t count, uint8_t *out);

/* Parquet's DELTA_BINARY_PACKED: differences in blocks, less the least of their block, as many bits of each as the largest
 * of a quarter needs. Begin with `left` values to come, add them in as many parts as they lie in, and end. */
#define TB_BLOCK_DELTAS 128
typedef struct {
    uint8_t *out; /* where the next byte goes */
    int64_t last; /* value */
    int64_t left; /* values to come */
    int held;     /* differences of a block that is not full */
    int begun;
    uint64_t deltas[TB_BLOCK_DELTAS];
} tb_deltas;

/* Room for so many values: a block takes 15 bytes at most beside its bits, the beginning 25. */
#define TB_DELTAS_ROOM(count) ((size_t)((count) + TB_BLOCK_DELTAS) * 8 + (size_t)((count) / TB_BLOCK_DELTAS + 1) * 16 + 32)

void tb_deltas_begin(tb_deltas *to, int64_t left, uint8_t *out);
void tb_deltas_add(tb_deltas *to, const int64_t *values, int64_t count); /* `left` of them at most */
uint8_t *tb_deltas_end(tb_deltas *to);                                   /* where the bytes end */

#endif
