from engine.core.core cimport tb_delays

cdef object histogram_of(const tb_delays *delays)
