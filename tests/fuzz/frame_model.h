/* A second opinion on a frame: a plain reader of JSON into a tree, and what the tree says, written from the protocol
 * (sections 3.1, 3.4, 3.5) and the contract of the decoder, and sharing no code with it. Slow, and simple enough to believe. */
#ifndef TB_FUZZ_FRAME_MODEL_H
#define TB_FUZZ_FRAME_MODEL_H

#include "target.h"
#include "tb_frame.h"

#define FUZZ_MAX_LEVELS (FUZZ_MAX_FRAME / 8) /* of one side: no level is shorter than ["",""] with a comma */

typedef __int128 fuzz_wide;

/* The longest decimal at the beginning of a text, in any precision that can matter. */
typedef struct {
    enum { FUZZ_NOT_A_NUMBER, FUZZ_DECIMAL, FUZZ_HUGE } verdict; /* HUGE: more digits than are kept */
    int negative;
    size_t whole, places, length; /* digits before and behind the point, characters in all */
    fuzz_wide digits;             /* all digits, the point left out */
} fuzz_decimal;

fuzz_decimal fuzz_read_decimal(const uint8_t *text, size_t length);
/* ± digits × 10^(places − the decimal's own): 0 when it is within int64 and exact. */
int fuzz_mantissa(const fuzz_decimal *decimal, unsigned places, int64_t *mantissa);

typedef struct {
    fuzz_decimal price, size;
    tb_slice price_text, size_text; /* as in the frame, escapes and all */
} fuzz_level;

typedef struct {
    /* UNSURE: legal but for a limit of the decoder that the model doesn't know to the byte (nesting, length of a text). */
    enum { FUZZ_REFUSED, FUZZ_TAKEN, FUZZ_UNSURE } verdict;
    tb_frame_status status;
    int feed_kind; /* of a frame of ours */
    int is_json;
    int kind;
    int64_t push_ms, match_ms, cross_sequence, update_id;
    size_t topic_length;
    uint8_t topic[2 * TB_SYMBOL_BYTES];
    fuzz_level *levels[2];
    int32_t count[2];
} fuzz_frame_model;

/* Reads at most FUZZ_MAX_FRAME bytes. Of trades and tickers only the envelope is judged: TAKEN means that it is right. The
 * levels belong to the model, until the next frame. */
void fuzz_model_frame(fuzz_frame_model *model, const uint8_t *bytes, size_t length, tb_find find, void *context);

#endif
