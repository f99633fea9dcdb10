from engine.core.core cimport tb_feed

cdef object merge_of(const tb_feed *feed)
cdef int restore_merge(tb_feed *feed, object note) except -1
cdef list lines_of(const tb_feed *feed)
