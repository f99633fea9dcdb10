/* Where the prices of a message belong among the levels of a side. */
#ifndef TB_FIND_H
#define TB_FIND_H

#include "tb_book.h"

#define TB_NO_PRICE INT64_MIN /* no mantissa is this small */

/* Is price a farther from the best than price b? */
TB_INLINE int tb_worse(int64_t a, int64_t b, int side)
{
    return side ? a > b : a < b;
}

/* places[j]: how many levels are worse than prices[j], best price first. The level behind the last one is overwritten, and has no
 * price afterwards. */
void tb_find_places(tb_side *side, int s, const int64_t *prices, int32_t count, int32_t *places);

/* This machine has AVX-512, and it is used; and what to compile for it. */
#if defined(__x86_64__)
extern int tb_is_wide;
#define TB_WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,bmi")))
#else
#define tb_is_wide 0
#endif

/* For tests: without wide vectors, or with them again where there are any. Says whether it is without. */
int tb_find_narrowly(int narrowly);

#endif
