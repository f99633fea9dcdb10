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

/* Parquet's BYTE_STREAM_SPLIT: the first bytes of all values, then their second ones, and so on, `all` of each. These are
 * `count` of the values, and `out` is where the first byte of the first of them goes. */
void tb_split_bytes(const int64_t *values, int64_t count, uint8_t *out, int64_t all);

#endif
