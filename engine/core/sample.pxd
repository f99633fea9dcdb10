# Samples of a replayed book, for Cython code. Header: src/tb_sample.h.

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint64_t

from engine.core.replay cimport tb_replay_columns, tb_replay


cdef extern from "tb_sample.h" nogil:
    enum:
        TB_SAMPLE_LEVELS
        TB_SAMPLE_FLOW
        TB_SAMPLE_BANDS
        TB_SAMPLE_FILL
        TB_MAX_BANDS
        TB_SAMPLE_TRUSTED
        TB_SAMPLE_AGED
        TB_SAMPLE_TWO_SIDED
        TB_SAMPLE_FILLED
    ctypedef struct tb_sampler:
        int kind
        int64_t every_ns
        int64_t origin_ns
        int64_t every_messages
        int64_t start_ns
        int64_t end_ns
        int32_t levels
        int32_t bands
        int64_t band[64]
        int64_t fill_size
        uint8_t fill_side
        uint8_t fill_decimals
        uint8_t over
    ctypedef struct tb_samples:
        int64_t capacity
        int64_t used
        int64_t *time_ns
        int64_t *age_ns
        int64_t *update_id
        int64_t *sequence
        int64_t *rows
        int8_t *price_exponent
        int8_t *size_exponent
        uint8_t *flags
        int32_t *offsets[2]
        int64_t *levels[4]
        int64_t *messages
        int64_t *breaks
        int64_t *flow
        int64_t *spread
        int64_t *twice_mid
        uint64_t *spread_time
        uint64_t *spread_ns
        int8_t *spread_decimals
        int64_t *band_sizes[2]
        int8_t *covered[2]
        uint64_t *filled
        uint64_t *notional
        int8_t *filled_decimals
        int64_t *worst_price
        int32_t *touched
    void tb_sampler_init(tb_sampler *sampler)
    void tb_sampler_begin_at(tb_sampler *sampler, int64_t ns)
    int64_t tb_sample_rows(tb_sampler *sampler, tb_replay *replay, const tb_replay_columns *columns, int64_t start,
                           tb_samples *out)
    int tb_sample_rest(tb_sampler *sampler, tb_replay *replay, tb_samples *out)
