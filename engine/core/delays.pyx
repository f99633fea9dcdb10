"""A histogram of delays that is cheap to feed: counts of fixed size in C (src/tb_delays.h), read through engine.latency."""

from libc.string cimport memset

from engine.core.core cimport *
from engine.core.whole cimport *

from engine.latency import Histogram

BUCKETS = TB_DELAY_BUCKETS
FIRST_BIT = TB_DELAY_FIRST_BIT
OCTAVES = TB_DELAY_OCTAVES
PARTS = 1 << TB_DELAY_PARTS_BITS


cdef extern from *:
    """
    #include "tb_delays.h"
    static inline int64_t tb_high_of_sum(const tb_delays *d) { return (int64_t)(d->sum_ns >> 62); }
    static inline int64_t tb_low_of_sum(const tb_delays *d)
    {
        return (int64_t)(d->sum_ns & ((((tb_int128)1) << 62) - 1));
    }
    """
    int64_t tb_high_of_sum(const tb_delays *delays) nogil
    int64_t tb_low_of_sum(const tb_delays *delays) nogil


cdef object histogram_of(const tb_delays *delays):
    """The counts as they are now."""
    cdef dict buckets = {}
    for i in range(2 * TB_DELAY_BUCKETS):
        if delays.buckets[i]:
            buckets[i - TB_DELAY_BUCKETS] = delays.buckets[i]
    sum_ns = ((<object>tb_high_of_sum(delays)) << 62) + tb_low_of_sum(delays)
    if not delays.count:
        return Histogram()
    return Histogram(delays.count, sum_ns, delays.min_ns, delays.max_ns, buckets)


cdef class Delays:
    """Counts delays; any thread may add or read while it holds the GIL."""

    cdef tb_delays delays

    def __cinit__(self):
        memset(&self.delays, 0, sizeof(tb_delays))

    def add(self, int64_t ns, int64_t times=1):
        """Count a delay, ``times`` over."""
        if times > 0:
            tb_add_delay(&self.delays, ns, times)

    def add_since(self, list records not None, int64_t now_ns):
        """Count the delay from each record's stamp, its first item, to ``now_ns``."""
        cdef tuple record
        for record in records:
            tb_add_delay(&self.delays, now_ns - <int64_t>record[0], 1)

    def histogram(self):
        """What was counted so far, as ``engine.latency.Histogram``."""
        return histogram_of(&self.delays)
