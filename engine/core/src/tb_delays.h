/* Histograms of delays in nanoseconds: eight buckets an octave from 64 ns to 18 minutes, mirrored below zero, because clocks
 * that disagree make delays negative. A bucket is at most an eighth of its lower edge wide. engine/latency.py reads them. */
#ifndef TB_DELAYS_H
#define TB_DELAYS_H

#include "tb_types.h"

#define TB_DELAY_FIRST_BIT 6 /* below 2^6 ns there is one bucket */
#define TB_DELAY_OCTAVES 34  /* from 2^40 ns on, too */
#define TB_DELAY_PARTS_BITS 3
#define TB_DELAY_BUCKETS ((TB_DELAY_OCTAVES << TB_DELAY_PARTS_BITS) + 2) /* of each sign */

typedef struct {
    tb_int128 sum_ns;
    int64_t count, min_ns, max_ns;
    int64_t buckets[2 * TB_DELAY_BUCKETS]; /* [TB_DELAY_BUCKETS + i] of i or more, [TB_DELAY_BUCKETS - 1 - i] of less than 0 */
} tb_delays;

/* Bucket of a delay that is not negative. */
TB_INLINE int tb_delay_bucket(uint64_t ns)
{
    if (ns < UINT64_C(1) << TB_DELAY_FIRST_BIT)
        return 0;
    const int octave = 63 - __builtin_clzll(ns);
    if (octave >= TB_DELAY_FIRST_BIT + TB_DELAY_OCTAVES)
        return TB_DELAY_BUCKETS - 1;
    const int part = (int)(ns >> (octave - TB_DELAY_PARTS_BITS)) & ((1 << TB_DELAY_PARTS_BITS) - 1);
    return 1 + ((octave - TB_DELAY_FIRST_BIT) << TB_DELAY_PARTS_BITS) + part;
}

static inline void tb_add_delay(tb_delays *delays, int64_t ns, int64_t times)
{
    if (delays->count == 0 || ns < delays->min_ns)
        delays->min_ns = ns;
    if (delays->count == 0 || ns > delays->max_ns)
        delays->max_ns = ns;
    delays->count += times;
    delays->sum_ns += (tb_int128)ns * times;
    const int bucket = tb_delay_bucket(ns < 0 ? -(uint64_t)ns : (uint64_t)ns);
    delays->buckets[ns < 0 ? TB_DELAY_BUCKETS - 1 - bucket : TB_DELAY_BUCKETS + bucket] += times;
}

#endif
