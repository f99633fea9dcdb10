from engine.core.core cimport tb_book, tb_engine, tb_feed, tb_gap

cdef object state_of(const tb_feed *feed)
cdef int number_of_state(object state) except -1
cdef list events_of(const tb_engine *engine)
cdef object gap_of(const tb_gap *gap)
cdef list levels_of(const tb_book *book, int side, object most)
cdef dict counters_of_feed(const tb_feed *feed)
cdef dict counters_of(const tb_engine *engine)
cdef dict delays_of(const tb_engine *engine)
