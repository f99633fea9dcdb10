/* Frames back from rows: the bytes that the exchange sent, made again from what the archive keeps of them and from the
 * feed's wire form (docs/capture.md). engine/reference/wire.py does the same in plain Python. */
#ifndef TB_WIRE_H
#define TB_WIRE_H

#include "tb_engine.h"

/* Steps of a form: what comes next in the text. */
typedef enum {
    TB_WIRE_LITERAL = 0,
    TB_WIRE_SYMBOL, /* whose rows these are */
    TB_WIRE_KIND,   /* snapshot or delta */
    TB_WIRE_PUSH,   /* integers of the frame */
    TB_WIRE_MATCH,
    TB_WIRE_UPDATE,
    TB_WIRE_CROSS,
    TB_WIRE_OPEN,   /* digits that stand in no column: `tb_wire_open` */
    TB_WIRE_BIDS,   /* levels, without the brackets around them */
    TB_WIRE_ASKS,
    TB_WIRE_VALUES, /* members of a ticker, each with its comma before it */
    TB_WIRE_TRADES, /* each as `each` says, with commas between */
    TB_WIRE_TRADE_MATCH, /* of a trade */
    TB_WIRE_TRADE_CROSS,
    TB_WIRE_TRADE_SIDE,
    TB_WIRE_TRADE_PRICE,
    TB_WIRE_TRADE_SIZE,
    TB_WIRE_TRADE_TICK,
    TB_WIRE_TRADE_ID,
    TB_WIRE_TRADE_BLOCK,
    TB_WIRE_TRADE_RPI,
    TB_WIRE_TRADE_EXTRA, /* and the three behind it */
    TB_WIRE_STEP_COUNT = TB_WIRE_TRADE_EXTRA + 4
} tb_wire_step_kind;

typedef struct {
    int32_t kind;
    uint32_t at, length; /* a literal, in the form's text */
} tb_wire_step;

/* How numbers are written. 0 to 18: with so many decimals, zero as `0`. TB_WIRE_FULL more: zero with its decimals too. */
#define TB_WIRE_TRIMMED (-1)
#define TB_WIRE_FULL 32
#define TB_WIRE_ISO 64      /* a time as 2025-12-26T08:00:00Z, */
#define TB_WIRE_MS 65       /* or as milliseconds */
#define TB_WIRE_TEXT 66     /* and 67: the texts of tickers */
#define TB_WIRE_UNKNOWN 127 /* never seen: can't be written */

/* Places in `styles`. Tickers have one for each field. */
enum { TB_WIRE_PRICE = 0, TB_WIRE_SIZE, TB_WIRE_RPI_SIZE, TB_WIRE_EXTRA };

/* So many bytes are readable behind a form's text. */
#define TB_WIRE_PIECE 16

typedef struct {
    char key[48]; /* `,"lastPrice":"`, 32 at most, and a piece */
    uint8_t length, field;
} tb_wire_member;

typedef struct {
    uint8_t *text; /* and a piece of room */
    tb_wire_step *steps; /* of the frame, then those of each trade */
    int32_t step_count, each_count;
    tb_table_kind table; /* whose rows it writes */
    int32_t is_rpi;
    int32_t layout; /* of a book: as in tb_frame, where it is one of these; else 0 */
    tb_wire_member *members; /* of tickers, in the order of the wire */
    int32_t member_count;
    int8_t styles[TB_TICKER_FIELDS];
} tb_wire_form;

/* Digits that a form leaves open, 20 at most. `text` is what to write; NULL: it is taken from `actual`, the frame that came, at
 * the same place, and told there. */
typedef struct {
    const uint8_t *text, *actual;
    int64_t length, actual_length;
} tb_wire_open;

/* Where rows lie: columns as tb_rows.h numbers them, and the values behind their `end` columns (of books six at most, in the
 * order of the tables' columns; of trades the ids; of tickers their texts). */
typedef struct {
    void *const *columns;
    const uint8_t *values[6];
    tb_wire_open *open; /* or NULL: nothing can be left open */
    const char *symbol; /* whose rows they are */
    uint32_t symbol_length;
} tb_wire_source;

/* Writes the frame whose rows begin at `row` (more than one: trades) to `out`, which has room for `most` bytes and
 * TB_WIRE_SLACK more. Returns its length; -1 where the form can't write it, or where it would be longer than `most`. */
#define TB_WIRE_SLACK 256
int64_t tb_wire_render(const tb_wire_form *form, const tb_wire_source *source, int64_t row, int64_t rows, uint8_t *out,
                       int64_t most);

void tb_wire_free_form(tb_wire_form *form);

/* The last frames of a feed that some line brings more than once. */
#define TB_WIRE_RECENT 32
#define TB_WIRE_RECENT_BYTES 8192 /* longer ones aren't kept */

typedef struct {
    int64_t sequence;
    uint32_t length, capacity;
    uint8_t *bytes;
} tb_wire_recent;

typedef struct {
    tb_wire_form *form;      /* or NULL */
    tb_wire_recent *recent;  /* TB_WIRE_RECENT of them, once there was a frame without rows */
    int32_t next;
} tb_wire_feed;

/* What a check of a segment's records knows. */
typedef struct {
    tb_wire_feed *feeds;
    int32_t feed_count;
    uint8_t *scratch;
    int64_t scratch_bytes;
    int64_t *repeats; /* pairs: index in the batch, sequence of the frame with the same bytes */
    int64_t repeat_count, repeat_capacity;
    int64_t *opens;   /* triples: index in the batch, where the digits that its form leaves open begin in the payloads, how many */
    int64_t open_count, open_capacity;
    int64_t *met;     /* indices of the digest notes that the engine has met in passing */
    int64_t met_count, met_capacity;
} tb_wire;

void tb_wire_free(tb_wire *wire);
/* Room for so many feeds; 0 when memory is out. */
int tb_wire_reserve(tb_wire *wire, int32_t feeds);

/* Holds the records [from, to) of a batch that was just applied against what its rows and forms can write. Frames that
 * repeat another one's bytes go to `repeats`, digest notes that were met to `met`. Returns the index of the first record that the archive can't hand back: no
 * frame, without rows, or written otherwise than its form says; or `to`. -1: out of memory. */
int64_t tb_wire_check(tb_wire *wire, const tb_engine *engine, const tb_batch *batch, int64_t from, int64_t to);
/* A frame that tb_wire_check stopped at, behind its decision. 0: out of memory. */
int tb_wire_remember(tb_wire *wire, const tb_batch *batch, int64_t i);

#endif
