/* Archive rows back to a book: columns of `book_updates` rows of one feed, as Arrow lays them out, applied row by row.
 *
 * The columns are somebody else's memory and may hold anything: the caller has checked that the buffers are as long as the
 * counts here say, everything else is checked here, row by row. A row is taken whole or not at all. */
#ifndef TB_REPLAY_H
#define TB_REPLAY_H

#include "tb_loose.h"

/* Bits of a bitmap from bit `first` on; without bytes every one of them is set. */
typedef struct {
    const uint8_t *bytes;
    int64_t first;
} tb_bits;

TB_INLINE int tb_bit(tb_bits bits, int64_t i)
{
    uint64_t at = (uint64_t)(bits.first + i);
    return !bits.bytes || (bits.bytes[at >> 3] >> (at & 7) & 1);
}

/* A column of lists: row i has the values from offsets[i] up to offsets[i + 1]. */
typedef struct {
    const int32_t *offsets;
    const int64_t *values;
    int64_t length; /* of values */
    tb_bits values_there;
} tb_lists;

/* What of a row can be missing, and what errors name. */
typedef enum {
    TB_COLUMN_SEQUENCE = 0,
    TB_COLUMN_DEPTH,
    TB_COLUMN_KIND,
    TB_COLUMN_APPLIED,
    TB_COLUMN_UPDATE_ID,
    TB_COLUMN_LISTS, /* bid prices, bid sizes, ask prices, ask sizes */
    TB_COLUMN_PRICE_EXPONENT = TB_COLUMN_LISTS + 4,
    TB_COLUMN_SIZE_EXPONENT,
    TB_COLUMN_COUNT
} tb_replay_column;

typedef struct {
    int64_t count;
    const int64_t *sequence, *update_id;
    const int16_t *depth;
    const uint8_t *kind;       /* indices into the column's own dictionary */
    const uint8_t *kind_names; /* for each of the 256 a tb_row_kind, or TB_NO_KIND */
    tb_bits applied;
    tb_lists lists[4];
    const int8_t *price_exponent, *size_exponent;
    uint8_t nulls;                  /* a column has nulls: its bitmap is in `there` */
    tb_bits there[TB_COLUMN_COUNT];
    const uint64_t *digest;         /* for tb_replay_verify */
    tb_bits digest_there;
    const int64_t *clock;           /* for tb_sample.h; in units of clock_ns nanoseconds */
    tb_bits clock_there;
    int64_t clock_ns;
} tb_replay_columns;

#define TB_NO_KIND 255

/* Why a row can't be taken. */
typedef enum {
    TB_ROW_OK = 0,
    TB_ROW_NULL,       /* nothing where something has to be; column */
    TB_ROW_NULL_LEVEL, /* nothing where a level's number has to be; column */
    TB_ROW_KIND,       /* found: the index into the dictionary */
    TB_ROW_DEPTH,      /* found, expected */
    TB_ROW_SEQUENCE,   /* found, expected at least */
    TB_ROW_EXPONENT,   /* column, found */
    TB_ROW_OFFSETS,    /* column; found: first offset, expected: the one behind it */
    TB_ROW_COUNTS,     /* column of the prices; found: prices, expected: sizes */
    TB_ROW_SIZE,       /* column, found */
    TB_ROW_DUPLICATE,  /* column */
    TB_ROW_DECIMAL,    /* column, found: does not fit the exponents in force */
    TB_ROW_WIDER,      /* the book does not fit the row's exponents */
    TB_ROW_BREAK,      /* an applied delta that does not follow; found, expected: update ids */
    TB_ROW_NO_MEMORY,
    TB_ROW_NO_BOOK,    /* found by verify: an applied delta before any book; found: update id */
    TB_ROW_KEYFRAME,   /* found by verify: another book than the rows before it make; found: update id */
    TB_ROW_DIGEST,     /* found by verify: another digest than the live book's */
    TB_ROW_CLOCK,      /* found by samplers: a moment beyond what int64 nanoseconds can hold; found */
    TB_ROW_SUM         /* found by samplers: a sum that int64 can't hold */
} tb_row_error;

/* What the last row was to the book. */
typedef enum { TB_TOOK_NOTHING = 0, TB_TOOK_MESSAGE, TB_TOOK_KEYFRAME } tb_took;

typedef struct {
    tb_loose loose; /* the book */
    tb_book aside;  /* a keyframe that is held against it */
    int32_t depth;
    uint8_t held;    /* there is a book */
    uint8_t trusted; /* and it is what the live book was */
    uint8_t took;    /* tb_took, of the last row */
    uint8_t follows; /* the last row went on from the state before it, nothing was missed in between */
    int64_t update_id, sequence; /* of the row that made the state */
    int64_t last_sequence;       /* of the last row, taken or not */
    int64_t rows, books, keyframes, digests; /* counts, of rows taken */
    int64_t *scratch;
    size_t scratch_count;
    /* the error */
    tb_row_error error;
    int32_t column;
    int64_t found, expected;
} tb_replay;

/* Best prices after each row; at least as many places as there are rows. 0 where there is no such level. */
typedef struct {
    int64_t *bid_price, *bid_size, *ask_price, *ask_size;
    int8_t *price_exponent, *size_exponent;
    uint8_t *flags;
} tb_best;

#define TB_HAS_BID 1
#define TB_HAS_ASK 2
#define TB_IS_TRUSTED 4

void tb_replay_init(tb_replay *replay, int32_t depth);
void tb_replay_free(tb_replay *replay);

/* Takes row `i`, which there must be. Anything but TB_ROW_OK is in `error` too, with what was found, and the row has changed
 * nothing. */
tb_row_error tb_replay_row(tb_replay *replay, const tb_replay_columns *columns, int64_t i);

/* Take the rows from the first on, up to the first that can't be taken; return how many were. */
int64_t tb_replay_best(tb_replay *replay, const tb_replay_columns *columns, tb_best *out);
/* The same, holding digests, keyframes and ids against the book. A row whose digest differs counts as not taken, and the book
 * is the one behind it. */
int64_t tb_replay_verify(tb_replay *replay, const tb_replay_columns *columns);

/* Gathers one flag of many rows into a bitmap, which must have room for 8 bits more than there are rows. Returns how many rows
 * have it. */
int64_t tb_flag_bits(const uint8_t *flags, int64_t count, uint8_t flag, uint8_t *bits);

#endif
