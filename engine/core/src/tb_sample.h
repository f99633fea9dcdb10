/* Samples of a book while its rows are replayed: at moments of a clock or every so many messages, as columns.
 *
 * The state at T is the one behind the longest run of rows, from the first on, whose running maximum of the clock is at most T
 * (design section 6, "As of T"). */
#ifndef TB_SAMPLE_H
#define TB_SAMPLE_H

#include "tb_replay.h"

typedef enum { TB_SAMPLE_LEVELS = 0, TB_SAMPLE_FLOW, TB_SAMPLE_BANDS, TB_SAMPLE_FILL } tb_sample_kind;

/* Bands are given in thousandths of a basis point. */
#define TB_BANDS_TO_ONE 10000000
#define TB_MAX_BANDS 64

/* The best levels of both sides. */
typedef struct {
    uint8_t there[2], price_decimals, size_decimals;
    tb_level best[2];
} tb_touch;

/* What adds up between two samples. */
typedef struct {
    tb_int128 flow;        /* at size_decimals */
    tb_int128 spread_time; /* spread at price_decimals x nanoseconds */
    tb_int128 spread_ns;   /* for how long there was a spread to trust */
    int64_t messages, breaks;
    uint8_t price_decimals, size_decimals;
} tb_interval;

typedef struct {
    /* what is asked for */
    tb_sample_kind kind;
    int64_t every_ns, origin_ns;   /* every_ns 0: by messages */
    int64_t every_messages;
    int64_t start_ns, end_ns;      /* no samples outside of these */
    int32_t levels;                /* a side */
    int32_t bands;
    int64_t band[TB_MAX_BANDS];    /* rising */
    int64_t fill_size;             /* what is taken from a side, at 10^-fill_decimals */
    uint8_t fill_side, fill_decimals;
    /* how far it is */
    uint8_t started, over;         /* there was a reading of the clock; there is no next moment */
    uint8_t led;                   /* rows up to reached_ns are there for the book they make, and part of no interval */
    uint8_t timed;                 /* the row that made the state had a reading: state_ns */
    int64_t reached_ns, next_ns, state_ns, settled_ns;
    int64_t messages;              /* since the last sample by messages */
    tb_touch touch;
    tb_interval interval;
} tb_sampler;

/* Columns of samples; those that the kind does not have may be NULL. */
typedef struct {
    int64_t capacity, used;
    int64_t *time_ns, *age_ns, *update_id, *sequence;
    int64_t *rows; /* how many rows lie before the sample, of all that were taken */
    int8_t *price_exponent, *size_exponent;
    uint8_t *flags;
    int32_t *offsets[2]; /* levels: one more than there are samples, from 0 */
    int64_t *levels[4];  /* bid prices, bid sizes, ask prices, ask sizes: `levels` a sample */
    int64_t *messages, *breaks, *flow;
    int64_t *spread, *twice_mid;
    uint64_t *spread_time; /* at 10^-spread_decimals x nanoseconds: 128 bits, the lower half first */
    uint64_t *spread_ns;
    int8_t *spread_decimals; /* no fewer than the book's */
    int64_t *band_sizes[2]; /* `bands` a sample */
    int8_t *covered[2];
    /* fill: sums of 128 bits, the lower half first; the size filled at 10^-filled_decimals, no fewer than the book's, the
     * notional at that times the price exponent */
    uint64_t *filled, *notional;
    int8_t *filled_decimals;
    int64_t *worst_price;
    int32_t *touched;
} tb_samples;

#define TB_SAMPLE_TRUSTED 1
#define TB_SAMPLE_AGED 2
#define TB_SAMPLE_TWO_SIDED 4
#define TB_SAMPLE_FILLED 8 /* what was to be taken was there */

void tb_sampler_init(tb_sampler *sampler);

/* Before the first row: the clock stands at `ns`, as if an earlier row had read it there. For rows that begin behind others;
 * those up to `ns` make the book, and are part of no interval. */
void tb_sampler_begin_at(tb_sampler *sampler, int64_t ns);

/* Takes rows from row `from` on, up to the one before which `out` is full, or that can't be taken: then `replay` has the error,
 * which is TB_ROW_OK otherwise. Returns the row to go on with, or the count. */
int64_t tb_sample_rows(tb_sampler *sampler, tb_replay *replay, const tb_replay_columns *columns, int64_t from, tb_samples *out);

/* Behind the last row: the samples up to the end that was asked for, or the last reading. Says whether these are all. */
int tb_sample_rest(tb_sampler *sampler, tb_replay *replay, tb_samples *out);

#endif
