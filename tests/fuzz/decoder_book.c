#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder.h"
#include "tb_decimal.h"
#include "tb_find.h"

static int same_book(const tb_book *book, const fuzz_book_model *model)
{
    for (int s = 0; s < 2; s++)
        if (book->sides[s].count != model->sides[s].count || book->sides[s].count > book->sides[s].capacity ||
            (book->sides[s].count && memcmp(book->sides[s].levels, model->sides[s].levels,
                                            (size_t)book->sides[s].count * sizeof(tb_level)) != 0))
            return 0;
    return tb_book_digest(book) == fuzz_model_digest(model) && tb_book_digest_recomputed(book) == tb_book_digest(book);
}

static int has_room(const tb_book *book, const tb_frame *f, int replace)
{
    for (int s = 0; s < 2; s++)
        if (book->fixed && (replace ? 0 : book->sides[s].count) + f->count[s] > book->sides[s].capacity)
            return 0;
    return 1;
}

int64_t fuzz_apply(fuzz_kept_book *kept, const tb_frame *f, int replace)
{
    static tb_level changes[2][FUZZ_MAX_LEVELS];
    const tb_changes message[2] = {{f->prices[0], f->sizes[0], f->count[0]}, {f->prices[1], f->sizes[1], f->count[1]}};
    fuzz_book_model *model = &kept->model;
    int64_t changed = 0, expected = 0;
    const int room = has_room(&kept->book, f, replace);
    (void)tb_find_narrowly(f->count[0] % 4 == 3); /* now with wide vectors, now without */
    tb_error error = replace ? tb_book_load(&kept->book, message) : tb_book_apply(&kept->book, message, &changed);
    (void)tb_find_narrowly(0);
    FUZZ_CHECK(error == (room ? TB_OK : TB_NO_MEMORY));
    if (!room) {
        FUZZ_CHECK(same_book(&kept->book, model));
        return -1;
    }
    if (replace)
        fuzz_empty_book(model);
    for (int s = 0; s < 2; s++) {
        for (int32_t i = 0; i < f->count[s]; i++)
            changes[s][i] = (tb_level){f->prices[s][i], f->sizes[s][i]};
        expected += fuzz_model_apply(model, s, changes[s], f->count[s]);
    }
    if ((replace || changed == expected) && same_book(&kept->book, model))
        return expected;
    for (int s = 0; s < 2; s++) {
        fuzz_print_side(s ? "asks before, best last" : "bids before, best last", model->before[s].levels,
                        model->before[s].count);
        fuzz_print_side("changes, best first", changes[s], f->count[s]);
    }
    fprintf(stderr, "replace=%d changed=%" PRId64 " expected=%" PRId64 "\n", replace, changed, expected);
    fuzz_fail(__FILE__, __LINE__, "the book is what its changes add up to");
}

int fuzz_widen(fuzz_kept_book *kept, unsigned by)
{
    tb_book *book = &kept->book;
    unsigned price = book->price_decimals + (by & 3), size = book->size_decimals + (by >> 2 & 3);
    if (price > TB_MAX_DECIMALS || size > TB_MAX_DECIMALS)
        return 0;
    int fits = fuzz_model_widen(&kept->model, price, size);
    FUZZ_CHECK((tb_book_can_widen(book, price, size) == TB_OK) == fits);
    if (fits)
        tb_book_widen(book, price, size);
    FUZZ_CHECK(same_book(book, &kept->model));
    return fits;
}

void fuzz_clear_book(fuzz_kept_book *kept)
{
    tb_book_clear(&kept->book);
    fuzz_empty_book(&kept->model);
    kept->book.price_decimals = kept->book.size_decimals = 0;
    kept->model.price_decimals = kept->model.size_decimals = 0;
}

void fuzz_new_book(fuzz_kept_book *kept, int32_t capacity)
{
    tb_book_free(&kept->book);
    free(kept->fixed);
    kept->fixed = NULL;
    if (capacity) {
        kept->fixed = calloc(2 * ((size_t)capacity + 1), sizeof *kept->fixed);
        FUZZ_CHECK(kept->fixed);
        tb_book_fix(&kept->book, kept->fixed, capacity);
    }
    fuzz_clear_book(kept);
}
