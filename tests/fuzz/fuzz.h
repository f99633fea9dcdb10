/* A fuzz target over the C core: bytes are a little program over two engines that have to agree. README.md has the
 * format of the programs and what is checked. */
#ifndef TB_FUZZ_H
#define TB_FUZZ_H

#include "tb_engine.h"
#include "tb_shared.h"
#include "text.h"

#define FUZZ_FEEDS 6
#define FUZZ_BOOKS 3   /* feeds 0, 1 and 2 are books */
#define FUZZ_SYMBOL 0  /* the symbol of all feeds but the options' trades */
#define FUZZ_MAX_STEPS 128
#define FUZZ_MAX_SYMBOLS 512 /* no input has room to name more */

/* What was done, over all programs: shows that a run was about something. */
typedef struct {
    uint64_t executions, frames, applied, unapplied, undecodable, fast, portable, widened, keyframes, trades, tickers;
} fuzz_counts;
extern fuzz_counts fuzz_total;

/* ---- compose.c: well-formed frames from a few bytes ---- */

/* An order-book frame of feed 0..2: `shape` is flags, decimals and groups of levels. */
void fuzz_compose_book(fuzz_text *out, const tb_feed *feed, int64_t update_id, int64_t push_ms, const uint8_t *shape,
                       size_t size);
/* A message of trades; the options' feed names a contract in each. */
void fuzz_compose_trades(fuzz_text *out, const tb_feed *feed, int64_t push_ms, const uint8_t *shape, size_t size);
/* `text` with each `~` and the digit behind it replaced by the next update id of that feed, and `\r` by a newline. */
void fuzz_fill_template(fuzz_text *out, const tb_engine *engine, const uint8_t *text, size_t size);
int64_t fuzz_next_update_id(const tb_feed *feed);

/* ---- shared.c: live books of an engine, and their reader ---- */

typedef struct {
    tb_shared writer;
    tapebook_book books[FUZZ_BOOKS];
    tapebook_tape tape;
    uint64_t entries;
    uint8_t states[FUZZ_FEEDS];
} fuzz_shared;

void fuzz_share(fuzz_shared *shared, tb_engine *engine);
/* `result`: the feed of the step's frame, or below 0. */
void fuzz_check_shared(fuzz_shared *shared, const tb_engine *engine, int32_t result);
void fuzz_unshare(fuzz_shared *shared, tb_engine *engine);

/* ---- checks.c ---- */

/* The book that an engine's rows add up to, kept by other code than the core's. Both sides by rising price. */
typedef struct {
    tb_level *levels[2];
    int32_t count[2], capacity[2];
    unsigned price_decimals, size_decimals;
} fuzz_model;

/* The ids of a trade feed's newest rows. Fewer than an engine remembers, because the rows of one message stand by symbol
 * and not in its order. */
#define FUZZ_TRADE_IDS 512
typedef struct {
    uint64_t hashes[FUZZ_TRADE_IDS];
    size_t count;
} fuzz_trade_ids;

/* How far the rows of a symbol have been read. */
typedef struct {
    size_t books, levels[2], trades, trade_ids, tickers; /* rows; bytes of values */
} fuzz_cursor;

typedef struct {
    tb_engine engine;
    fuzz_model models[FUZZ_BOOKS];
    fuzz_cursor cursors[FUZZ_MAX_SYMBOLS];
    fuzz_trade_ids trade_ids[FUZZ_FEEDS];
} fuzz_side;

/* What a frame that is refused must leave alone. */
typedef struct {
    uint64_t digest[FUZZ_FEEDS];
    int32_t symbol_count;
    int64_t update_id[FUZZ_FEEDS], messages[FUZZ_FEEDS], rows[FUZZ_FEEDS], unapplied[FUZZ_FEEDS],
        repeats[FUZZ_FEEDS];
    int state[FUZZ_FEEDS];
    size_t row_bytes;
    uint8_t price_decimals, size_decimals;
} fuzz_before;

void fuzz_remember(fuzz_before *before, const tb_engine *engine);
/* Holds the engine after a frame with this result against the state before. */
void fuzz_check_result(const fuzz_before *before, const tb_engine *engine, int32_t result);
/* What is true of an engine at any time. */
void fuzz_check_engine(const tb_engine *engine);
/* Everything observable of two engines that took the same steps, events included, but for what is in the rows.
 * `rows`: both make rows, or none does. */
void fuzz_check_equal(const tb_engine *a, const tb_engine *b, int rows);
void fuzz_check_equal_rows(const tb_engine *a, const tb_engine *b);
/* Reads the rows of a step and holds the books against them (engines with columns). `result`: of the step's frame. */
void fuzz_check_rows(fuzz_side *side, int32_t result);
/* The rows are handed over: forget them, as the extension does. */
void fuzz_take_rows(fuzz_side *side);
/* Empty books for the next program; their memory is kept. */
void fuzz_forget_models(fuzz_side *side);

#endif
