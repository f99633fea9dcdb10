# Frames back from rows: src/tb_wire.h.

from engine.core.core cimport (
    int8_t, int32_t, int64_t, tb_batch, tb_engine, tb_table_kind, uint8_t, uint32_t,
)


cdef extern from "tb_wire.h" nogil:
    enum:
        TB_WIRE_LITERAL
        TB_WIRE_SYMBOL
        TB_WIRE_KIND
        TB_WIRE_PUSH
        TB_WIRE_MATCH
        TB_WIRE_UPDATE
        TB_WIRE_CROSS
        TB_WIRE_OPEN
        TB_WIRE_BIDS
        TB_WIRE_ASKS
        TB_WIRE_VALUES
        TB_WIRE_TRADES
        TB_WIRE_TRADE_MATCH
        TB_WIRE_TRADE_CROSS
        TB_WIRE_TRADE_SIDE
        TB_WIRE_TRADE_PRICE
        TB_WIRE_TRADE_SIZE
        TB_WIRE_TRADE_TICK
        TB_WIRE_TRADE_ID
        TB_WIRE_TRADE_BLOCK
        TB_WIRE_TRADE_RPI
        TB_WIRE_TRADE_EXTRA
        TB_WIRE_TRIMMED
        TB_WIRE_FULL
        TB_WIRE_ISO
        TB_WIRE_MS
        TB_WIRE_TEXT
        TB_WIRE_UNKNOWN
        TB_WIRE_PRICE
        TB_WIRE_SIZE
        TB_WIRE_RPI_SIZE
        TB_WIRE_EXTRA
        TB_WIRE_SLACK
        TB_WIRE_PIECE
    ctypedef struct tb_wire_step:
        int32_t kind
        uint32_t at
        uint32_t length
    ctypedef struct tb_wire_member:
        char key[48]
        uint8_t length
        uint8_t field
    ctypedef struct tb_wire_form:
        uint8_t *text
        tb_wire_step *steps
        int32_t step_count
        int32_t each_count
        tb_table_kind table
        int32_t is_rpi
        int32_t layout
        tb_wire_member *members
        int32_t member_count
        int8_t styles[48]
    ctypedef struct tb_wire_open:
        const uint8_t *text
        const uint8_t *actual
        int64_t length
        int64_t actual_length
    ctypedef struct tb_wire_source:
        void **columns
        const uint8_t *values[6]
        tb_wire_open *open
        const char *symbol
        uint32_t symbol_length
    int64_t tb_wire_render(const tb_wire_form *form, const tb_wire_source *source, int64_t row, int64_t rows, uint8_t *out,
                           int64_t most)
    void tb_wire_free_form(tb_wire_form *form)
    enum:
        TB_WIRE_RECENT
    ctypedef struct tb_wire_recent:
        uint32_t capacity
    ctypedef struct tb_wire_feed:
        tb_wire_form *form
        tb_wire_recent *recent
    ctypedef struct tb_wire:
        tb_wire_feed *feeds
        int32_t feed_count
        int64_t *repeats
        int64_t repeat_count
        int64_t *opens
        int64_t open_count
        int64_t *met
        int64_t met_count
    void tb_wire_free(tb_wire *wire)
    int tb_wire_reserve(tb_wire *wire, int32_t feeds)
    int64_t tb_wire_check(tb_wire *wire, const tb_engine *engine, const tb_batch *batch, int64_t first, int64_t last)
    int tb_wire_remember(tb_wire *wire, const tb_batch *batch, int64_t i)


cdef extern from "tb_rows.h" nogil:
    enum:
        TB_BOOK_COLUMN_COUNT
        TB_BOOK_push_ms
        TB_BOOK_match_ms
        TB_BOOK_update_id
        TB_BOOK_cross_sequence
        TB_BOOK_kind
        TB_BOOK_bid_end
        TB_BOOK_ask_end
        TB_BOOK_price_exponent
        TB_BOOK_size_exponent
        TB_TRADE_COLUMN_COUNT
        TB_TRADE_push_ms
        TB_TRADE_match_ms
        TB_TRADE_price
        TB_TRADE_size
        TB_TRADE_cross_sequence
        TB_TRADE_id_end
        TB_TRADE_price_exponent
        TB_TRADE_size_exponent
        TB_TRADE_side
        TB_TRADE_tick_direction
        TB_TRADE_is_block
        TB_TRADE_is_rpi
        TB_TRADE_extras
        TB_TRADE_mark_price
        TB_TICKER_push_ms
        TB_TICKER_cross_sequence
        TB_TICKER_keys
        TB_TICKER_present
        TB_TICKER_text_0_end
        TB_TICKER_text_1_end
        TB_TICKER_kind
        TB_TICKER_FIRST_FIELD
