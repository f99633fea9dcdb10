/* The decoder's fuzz target: one frame, decoded every way, and the book it leads to. README.md has the format of its inputs. */
#ifndef TB_FUZZ_DECODER_H
#define TB_FUZZ_DECODER_H

#include "book_model.h"
#include "frame_model.h"
#include "text.h"

/* ---- decoder_compose.c: a well-formed frame, nearly, of many levels from a few bytes ---- */

/* Says whether nothing odd was asked for: the exchange could have sent it. */
int fuzz_compose_frame(fuzz_text *out, const uint8_t *shape, size_t size);

/* ---- decoder_checks.c ---- */

typedef struct {
    tb_frame frame;
    tb_error error;
    tb_frame_status status;
} fuzz_decoded;

/* Both came from the complete decoder. */
void fuzz_check_same(const fuzz_decoded *a, const fuzz_decoded *b, int feed_kind);
/* `fast` was taken by a fast path, at this pair: it has to say what the complete decoder says, levels apart. */
void fuzz_check_fast(const fuzz_decoded *fast, const fuzz_decoded *complete, unsigned price_decimals,
                     unsigned size_decimals);
void fuzz_check_model(const fuzz_decoded *complete, const fuzz_frame_model *model);
/* Every reader of numbers on the text from p to end; `by`: how far a mantissa is to be rescaled. */
void fuzz_check_number(const uint8_t *p, const uint8_t *end, unsigned by);

/* ---- decoder_book.c: a book that outlives the inputs, and its model ---- */

typedef struct {
    tb_book book;
    fuzz_book_model model;
    tb_level *fixed; /* the book's memory, where it may not grow */
} fuzz_kept_book;

/* An empty book in the same memory; or in new memory: for `capacity` levels a side and no more, or as it grows (0). */
void fuzz_clear_book(fuzz_kept_book *kept);
void fuzz_new_book(fuzz_kept_book *kept, int32_t capacity);
/* A frame's levels, best first, at any pair: a book doesn't ask. Returns how many levels differ afterwards, or -1 when there
 * was no room for them, with nothing changed. */
int64_t fuzz_apply(fuzz_kept_book *kept, const tb_frame *f, int replace);
/* More decimals, by the low bits of `by`, unless they are too many. Says whether it was done. */
int fuzz_widen(fuzz_kept_book *kept, unsigned by);

#endif
