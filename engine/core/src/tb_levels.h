/* The levels of a book message in the exchange's own spelling: `["61809.40","0.105"],["61809.30","0"]…]`. */
#ifndef TB_LEVELS_H
#define TB_LEVELS_H

#include "tb_frame.h"

/* Reads both sides, from behind the bracket that opens the bids to behind the one that closes the asks, into the frame's
 * levels, at the pair that the frame expects. Returns NULL when the complete decoder has to look: another spelling, a number that is longer than 16
 * characters or has more decimals than the pair, prices that don't come best first, no room. Nothing at or behind `end` is
 * read. */
typedef const uint8_t *(*tb_levels_reader)(tb_frame *frame, const uint8_t *p, const uint8_t *end);

/* The fastest that this machine can run: AVX2, or plain 64-bit arithmetic. */
extern tb_levels_reader tb_read_levels;

/* For tests: take the portable one, or the fastest again. Says whether the one in use is the portable one. */
int tb_read_levels_portably(int portably);

#endif
