from engine.core.core cimport tb_buffer, tb_column, tb_engine, tb_rows, tb_table, tb_table_kind


# What the core does with rows, handed over by the engine that made them: linked to this module too, it would bring along
# all that reads frames.
cdef struct row_functions:
    const tb_column *(*columns_of)(tb_table_kind kind, int *count) noexcept nogil
    size_t (*block_bytes)(const tb_table *table, tb_table_kind kind) noexcept nogil
    size_t (*pile_bytes)(const tb_rows *rows, tb_table_kind kind) noexcept nogil
    void (*forget_table)(tb_table *table) noexcept nogil
    void (*forget_buffer)(tb_buffer *buffer) noexcept nogil


cdef size_t bytes_of_rows(const tb_engine *engine, const row_functions *core)
cdef dict rows_taken(tb_engine *engine, const row_functions *core, str collector, size_t keep_bytes)
