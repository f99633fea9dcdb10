/* The levels of a book message in the exchange's own spelling: `["61809.40","0.105"],["61809.30","0"]…]`. */
#ifndef TB_LEVELS_H
#define TB_LEVELS_H

#include "tb_frame.h"

/* Reads both sides, from behind the bracket that opens the bids to behind the one that closes the asks, into the frame's
 * levels, at the pair that the frame expects. Returns NULL when the complete decoder has to look: another spelling, a number that is longer than 16
 * characters or has more decimals than the pair, prices that don't come best first, no room. Nothing at or behind `end` is
 * read. */
typedef const uint8_t *(*tb_levels_reader)(tb_frame *frame, const uint8_t *p, const uint8_t *end);

/* The fastest that this machine can run. */
extern tb_levels_reader tb_read_levels;

typedef enum { TB_LEVELS_PORTABLE = 0, TB_LEVELS_AVX2, TB_LEVELS_AVX512 } tb_levels_way;

/* For tests: take the fastest of those up to `most`. Says which one that is. */
tb_levels_way tb_choose_levels_reader(tb_levels_way most);

/* ---- among the readers ---- */

#define TB_TEXT2(a, b) ((uint64_t)(a) | (uint64_t)(b) << 8)
#define TB_TEXT4(a, b, c, d) (TB_TEXT2(a, b) | TB_TEXT2(c, d) << 16)
#define TB_BYTES(n) ((UINT64_C(1) << (8 * (n))) - 1)
#define TB_BETWEEN_SIDES (TB_TEXT4(',', '"', 'a', '"') | TB_TEXT2(':', '[') << 32)

#if defined(__x86_64__)

/* AVX2 (tb_levels.c): both sides; and the rest of one, from the first digit of a level on, behind `n` that have been read. */
const uint8_t *tb_read_levels_singly(tb_frame *frame, const uint8_t *p, const uint8_t *end);
const uint8_t *tb_read_other_levels(tb_frame *frame, int side, const uint8_t *p, const uint8_t *end, int64_t n);

/* AVX-512 (tb_levels_wide.c), and whether this machine has it. */
const uint8_t *tb_read_levels_in_pairs(tb_frame *frame, const uint8_t *p, const uint8_t *end);
int tb_can_read_pairs(void);

#endif

#endif
