# What the core's structs hold, as Python has it. Inline: no module stands behind this.

from libc.stdint cimport int64_t

from engine.core.core cimport tb_feed, tb_symbol


cdef inline object optional(int64_t value):
    # the core's "none" is -1
    return None if value < 0 else value


cdef inline int64_t required(object value) except? -1:
    return -1 if value is None else value


cdef inline str topic_of(const tb_feed *feed):
    return feed.topic[:feed.topic_length].decode()


cdef inline str name_of(const tb_symbol *symbol):
    return symbol.name[:symbol.name_length].decode()
