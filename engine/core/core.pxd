# The C core for Cython code: `from engine.core.core cimport tb_book, tb_book_level`. Headers: engine/core/src.

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "tb_types.h" nogil:
    ctypedef int tb_error
    enum:
        TB_NONE
        TB_OK
        TB_NO_MEMORY
        TB_DECIMAL
        TB_BAD_NUMBER
        TB_BAD_VALUE
        TB_DUPLICATE_LEVEL
        TB_ERROR_COUNT
        TB_KIND_BOOK
        TB_KIND_TRADES
        TB_KIND_TICKER
        TB_KIND_DRIVEN
        TB_KIND_RPI
        TB_FULL_DEPTH
        TB_CAUSE_COUNT


cdef extern from "tb_decimal.h" nogil:
    int TB_MAX_DECIMALS
    const uint8_t *tb_decimal64(const uint8_t *p, const uint8_t *end, int64_t *mantissa, unsigned *decimals,
                                tb_error *error)
    int tb_rescale(int64_t *value, unsigned by)


cdef extern from "tb_book.h" nogil:
    ctypedef struct tb_level:
        int64_t price
        int64_t size
    ctypedef struct tb_side:
        tb_level *levels
        int32_t count
        int32_t capacity
    ctypedef struct tb_book:
        tb_side sides[2]
        uint64_t digest
        uint8_t price_decimals
        uint8_t size_decimals
        uint8_t viewed
    ctypedef struct tb_changes:
        const int64_t *prices
        const int64_t *sizes
        int32_t count
    void tb_book_init(tb_book *book)
    void tb_book_free(tb_book *book)
    void tb_book_clear(tb_book *book)
    tb_error tb_book_load(tb_book *book, const tb_changes *changes)
    int tb_book_apply(tb_book *book, const tb_changes *changes, int64_t *changed)
    int tb_book_can_widen(const tb_book *book, unsigned price_decimals, unsigned size_decimals)
    void tb_book_widen(tb_book *book, unsigned price_decimals, unsigned size_decimals)
    uint64_t tb_book_digest(const tb_book *book)
    uint64_t tb_book_joint_digest(uint64_t sizes, uint64_t rpi_sizes)
    uint64_t tb_book_digest_recomputed(const tb_book *book)
    int tb_book_crossed(const tb_book *book)
    tb_level tb_book_level(const tb_book *book, int side, int32_t i)
    int tb_book_reserve(tb_book *book, int32_t bids, int32_t asks)
    int tb_is_sorted(const int64_t *prices, int32_t count, int side)
    int tb_sort_changes(int64_t *prices, int64_t *sizes, int32_t count, int side, tb_level *scratch)


cdef extern from "tb_frame.h" nogil:
    enum:
        TB_TICKER_FIELDS
        TB_TICKER_TEXTS
        TB_TEXT_BYTES
    ctypedef struct tb_text:
        uint8_t length
        char bytes[63]
    ctypedef struct tb_ticker:
        uint64_t keys
        uint64_t present
        int64_t values[48]  # __int128 in C: only take addresses
        tb_text texts[2]
    const char *tb_ticker_key(int field)
    char tb_ticker_type(int field)


cdef extern from "tb_rows.h" nogil:
    enum:
        TB_TABLE_BOOKS
        TB_TABLE_TRADES
        TB_TABLE_TICKERS
        TB_TABLE_RPI_BOOKS
        TB_TABLE_COUNT
        TB_TICKER_FIRST_FIELD
        TB_BID_PRICES
        TB_IDS_OF_TRADES
        TB_TEXTS_OF_TICKERS
        TB_RPI_BID_PRICES
        TB_BUFFER_COUNT
    ctypedef int tb_table_kind
    ctypedef struct tb_column:
        const char *name
        const char *numpy
        uint8_t width
    ctypedef struct tb_table:
        int64_t count
        void **columns
    ctypedef struct tb_buffer:
        uint8_t *bytes
        size_t used
    ctypedef struct tb_rows:
        tb_table tables[4]
        tb_buffer buffers[13]
    const tb_column *tb_columns_of(tb_table_kind table, int *count)
    size_t tb_table_block_bytes(const tb_table *table, tb_table_kind kind)
    void tb_table_forget(tb_table *table)
    void tb_buffer_forget(tb_buffer *buffer)
    size_t tb_pile_bytes(const tb_rows *rows, tb_table_kind kind)
    size_t tb_rows_bytes(const tb_rows *rows)


cdef extern from "tb_delays.h" nogil:
    enum:
        TB_DELAY_FIRST_BIT
        TB_DELAY_OCTAVES
        TB_DELAY_PARTS_BITS
        TB_DELAY_BUCKETS
    ctypedef struct tb_delays:
        int64_t count
        int64_t min_ns
        int64_t max_ns
        int64_t buckets[548]
    void tb_add_delay(tb_delays *delays, int64_t ns, int64_t times)


cdef extern from "tb_merge.h" nogil:
    enum:
        TB_CARRIERS
        TB_COPIES
    ctypedef struct tb_carrier:
        uint16_t line
        uint8_t up
        uint8_t opened
        uint8_t met
        int64_t position
        int64_t place
        int64_t untold
        int64_t said_ms
        int64_t missed_ms
        int64_t since_ns
        int64_t heard_ns
        int64_t hurt_ns
        int64_t hurt_sequence
        int64_t frames
        int64_t taken
        int64_t repeats
        int64_t ahead
        int64_t saved
    ctypedef struct tb_copy:
        int64_t push_ms
        int64_t match_ms
        int64_t receive_ns
        uint8_t lines
        uint8_t taken
        uint8_t opening
        uint8_t exempt
        uint8_t again
    ctypedef struct tb_merge:
        int32_t count
        int32_t elected
        int32_t alike
        int32_t unanswered
        int32_t burst
        int64_t burst_ns
        int64_t waiting_ns
        int64_t head_ms
        int64_t chain_ms
        int64_t first_copy
        int64_t next_copy
        tb_carrier carriers[8]
        uint64_t hashes[128]
        tb_copy copies[128]


cdef extern from "tb_frame.h" nogil:
    ctypedef struct tb_trade:
        int64_t match_ms
        int64_t price
        int64_t size
        uint8_t side
    ctypedef struct tb_frame:
        int kind
        int64_t push_ms
        int64_t match_ms
        int64_t update_id
        int64_t *prices[2]
        int64_t *sizes[2]
        int32_t count[2]
        tb_trade *trades
        int32_t trade_count


cdef extern from "tb_engine.h" nogil:
    enum:
        TB_TRADE_IDS
        TB_MOST_TRADE_IDS
        TB_SEEN_RANGES
        TB_EMPTY
        TB_SYNCING
        TB_LIVE
        TB_STALE
        TB_RESULT_UNDECODABLE
        TB_RESULT_DRIVEN
    ctypedef struct tb_range:
        int64_t low
        int64_t high
    ctypedef struct tb_gap:
        int open
        int cause
        int64_t first_update_id
        int64_t start_ns
        int64_t start_match_ms
        int64_t reach_ns
        int64_t reach_match_ms
    ctypedef struct tb_trade_ids:
        uint64_t (*hash)[2]
        int32_t count
        int32_t at
        int32_t room
    ctypedef struct tb_feed:
        int kind
        int32_t depth
        int32_t symbol
        int state
        uint32_t topic_length
        char topic[80]
        uint16_t line
        uint8_t crossed
        uint8_t ended
        uint8_t subscribed
        uint8_t carried
        int16_t since_digest
        tb_merge *merge
        tb_book book
        int64_t update_id
        int64_t cross_sequence
        int64_t match_ms
        int64_t push_ms
        int64_t receive_ns
        int64_t sequence
        int64_t messages
        int64_t rows
        int64_t repeats
        int64_t unapplied
        int64_t last_receive_ns
        int64_t changed
        int32_t seen_count
        tb_range seen[8]
        int64_t first_receive_ns
        int64_t first_sequence
        tb_gap gap
        uint8_t quiet
        int64_t keyframe_push_ms
        int32_t file_day
        int64_t last_row
        tb_ticker *ticker
        tb_trade_ids *trade_ids
        tb_book *rpi
    ctypedef struct tb_symbol:
        char name[64]
        uint32_t name_length
        uint8_t price_decimals
        uint8_t size_decimals
        tb_rows *rows
    ctypedef struct tb_line:
        int64_t damage_sequence
        int64_t good_ns
        tb_gap gap
    ctypedef struct tb_event:
        int type
        int32_t feed
        int32_t symbol
        int32_t detail
        int32_t healer
        int32_t line
        int64_t sequence
        int64_t receive_ns
        int64_t match_ms
        int64_t first_update_id
        int64_t last_update_id
        int64_t start_ns
        int64_t start_match_ms
        int64_t update_id
        uint64_t digest
        uint8_t price_decimals
        uint8_t size_decimals
    ctypedef struct tb_class_name:
        char text[80]
        uint32_t length
    ctypedef struct tb_class_delays:
        int32_t count
        tb_class_name names[24]
        tb_delays match[24]
        tb_delays push[24]
    ctypedef struct tb_shared
    ctypedef struct tb_engine:
        tb_shared *shared
        tb_frame frame
        int32_t found
        tb_feed **feeds
        int32_t feed_count
        tb_symbol **symbols
        int32_t symbol_count
        tb_line *lines
        int32_t line_count
        tb_event *events
        int32_t event_count
        int64_t events_lost
        int columns
        int64_t undecodable[16]
        int64_t unattributed
        int64_t controls
        int64_t unknown_topics
        int64_t drift
        int64_t rows_lost
        int64_t digests_met
        tb_class_delays *delays
    void tb_engine_init(tb_engine *engine, int columns)
    void tb_engine_free(tb_engine *engine)
    int tb_engine_measure(tb_engine *engine)
    int32_t tb_engine_add_feed(tb_engine *engine, const char *topic, size_t topic_length, int kind, int32_t depth,
                               const char *symbol, size_t symbol_length)
    int32_t tb_engine_find_feed(const tb_engine *engine, const uint8_t *topic, size_t length)
    int32_t tb_engine_symbol(tb_engine *engine, const uint8_t *name, size_t length)
    tb_line *tb_engine_line(tb_engine *engine, uint16_t line)
    void tb_fetch_frame(const uint8_t *bytes, size_t length) nogil
    int32_t tb_engine_apply(tb_engine *engine, const uint8_t *bytes, size_t length, int64_t receive_ns,
                            int64_t sequence, uint16_t line)
    ctypedef struct tb_made:
        int32_t feed
        int32_t symbol
        int32_t row
        int32_t rows
        int32_t layout
    ctypedef struct tb_batch:
        const uint8_t *payloads
        const int32_t *offsets
        const int64_t *receive_ns
        const int64_t *sequences
        const uint16_t *lines
        const uint8_t *kinds
        tb_made *made
    int64_t tb_engine_apply_batch(tb_engine *engine, const tb_batch *batch, int64_t first, int64_t last)
    int64_t tb_engine_apply_batch_in_threads(tb_engine *engine, const tb_batch *batch, int64_t first, int64_t last,
                                             int threads, int64_t least_run)
    void tb_engine_subscribed(tb_engine *engine, int32_t feed, uint16_t line, int64_t receive_ns, int64_t sequence)
    void tb_engine_disconnect(tb_engine *engine, uint16_t line, int64_t receive_ns, int64_t sequence)
    void tb_engine_unsubscribed(tb_engine *engine, int32_t feed, uint16_t line, int64_t receive_ns, int64_t sequence)
    void tb_engine_stale(tb_engine *engine, int32_t feed, int cause, int64_t receive_ns, int64_t sequence)
    void tb_engine_end_feed(tb_engine *engine, int32_t feed, int64_t receive_ns, int64_t sequence)
    int tb_engine_widen(tb_engine *engine, int32_t symbol, unsigned price_decimals, unsigned size_decimals,
                        int64_t sequence, int64_t receive_ns)
    void tb_engine_keyframe(tb_engine *engine, int32_t feed)
    int32_t tb_engine_restate(tb_engine *engine, int32_t feed, const uint8_t *const *frames, const size_t *lengths,
                              int32_t count, int64_t receive_ns, int64_t sequence)
    uint64_t tb_feed_digest(const tb_feed *feed)
    uint64_t tb_feed_digest_recomputed(const tb_feed *feed)
    int32_t tb_rpi_levels(const tb_feed *feed, int side, int64_t *prices, int64_t *sizes, int64_t *rpi_sizes)
    int tb_engine_set_digest(tb_engine *engine, int32_t feed, int64_t update_id, uint64_t digest)
    ctypedef enum tb_trade_source:
        TB_FROM_BACKFILL
        TB_FROM_IMPORT
    int tb_engine_backfill(tb_engine *engine, const uint8_t *bytes, size_t length, int64_t receive_ns, int64_t sequence,
                           tb_trade_source source) nogil
    ctypedef struct tb_stamp:
        int64_t sequence
        int64_t receive_ns
        uint16_t line
    int tb_engine_is_copy(tb_engine *engine, int32_t feed, tb_stamp at)
    void tb_engine_heard(tb_engine *engine, int32_t feed, tb_stamp at)
    void tb_engine_good(tb_engine *engine, int32_t feed, int64_t push_ms, int64_t match_ms, tb_stamp at)
    void tb_engine_refuse(tb_engine *engine, int32_t feed, tb_error error, tb_stamp at)
    tb_trade_ids *tb_copy_trades(const tb_trade_ids *ids, int32_t room)
    int tb_remember_trade(tb_trade_ids *ids, const uint64_t *hash)


cdef extern from "tb_types.h" nogil:
    ctypedef long long tb_int128  # 128 bits in C; conversions to and from Python's int are exact


cdef extern from "tb_book.h" nogil:
    int tb_book_copy(tb_book *copy, const tb_book *book)


cdef extern from "tb_measure.h" nogil:
    enum:
        TB_BIDS
        TB_ASKS
    const int64_t TB_MICRO_BPS
    ctypedef struct tb_fill:
        tb_int128 notional
        double average_price
        int64_t filled
        int64_t worst_price
        int32_t touched
        int complete
    ctypedef struct tb_change:
        int64_t price
        int64_t before
        int64_t after
        int32_t place
        int32_t side
    int tb_has_both_sides(const tb_book *book)
    tb_level tb_level_at(const tb_book *book, int side, int32_t i)
    tb_int128 tb_mid_doubled(const tb_book *book)
    tb_int128 tb_spread(const tb_book *book)
    double tb_mid(const tb_book *book)
    double tb_microprice(const tb_book *book)
    tb_int128 tb_depth_of(const tb_book *book, int side, int32_t levels)
    double tb_imbalance(const tb_book *book, int32_t levels)
    tb_int128 tb_depth_within(const tb_book *book, int side, int32_t levels, int64_t width_micro_bps)
    int tb_depth_profile(const tb_book *book, int side, int32_t levels, int64_t width_micro_bps, int32_t buckets,
                         tb_int128 *out)
    tb_fill tb_fill_size(const tb_book *book, int side, int32_t levels, int64_t size)
    tb_fill tb_fill_notional(const tb_book *book, int side, int32_t levels, tb_int128 notional)
    int64_t tb_book_changes(const tb_book *book, const tb_changes *changes, int replace, tb_change *out,
                            int64_t capacity)
