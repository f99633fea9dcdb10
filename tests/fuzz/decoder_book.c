#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "decoder.h"
#include "tb_decimal.h"

static int same_book(const tb_book *book, const fuzz_book_model *model)
{
    for (int s = 0; s < 2; s++)
        if (book->sides[s].count != model->sides[s].count || book->sides[s].count > book->sides[s].capacity ||
            (book->sides[s].count && memcmp(book->sides[s].levels, model->sides[s].levels,
                                            (size_t)book->sides[s].count * sizeof(tb_level)) != 0))
            return 0;
    return tb_book_digest(book) == fuzz_model_digest(model) && tb_book_digest_recomputed(book) == tb_book_digest(book);
}

int64_t fuzz_apply(fuzz_kept_book *kept, const tb_frame *f, int replace)
{
    static tb_level changes[2][FUZZ_MAX_LEVELS];
    const tb_changes message[2] = {{f->prices[0], f->sizes[0], f->count[0]}, {f->prices[1], f->sizes[1], f->count[1]}};
    fuzz_book_model *model = &kept->model;
    int64_t changed = 0, expected = 0;
    if (replace)
        fuzz_empty_book(model);
    for (int s = 0; s < 2; s++) {
        for (int32_t i = 0; i < f->count[s]; i++)
            changes[s][i] = (tb_level){f->prices[s][i], f->sizes[s][i]};
        expected += fuzz_model_apply(model, s, changes[s], f->count[s]);
    }
    tb_error error = replace ? tb_book_load(&kept->book, message) : tb_book_apply(&kept->book, message, &changed);
    FUZZ_CHECK(error == TB_OK);
    if ((!replace && changed != expected) || !same_book(&kept->book, model)) {
        for (int s = 0; s < 2; s++) {
            fuzz_print_side(s ? "asks before, best last" : "bids before, best last", model->before[s].levels,
                            model->before[s].count);
            fuzz_print_side("changes, best first", changes[s], f->count[s]);
        }
        fprintf(stderr, "replace=%d changed=%" PRId64 " expected=%" PRId64 "\n", replace, changed, expected);
        FUZZ_CHECK(!"the book is what its changes add up to");
    }
    return expected;
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

void fuzz_new_book(fuzz_kept_book *kept, int with_its_memory)
{
    if (with_its_memory)
        tb_book_free(&kept->book);
    tb_book_clear(&kept->book);
    kept->book.price_decimals = kept->book.size_decimals = 0;
    fuzz_empty_book(&kept->model);
    kept->model.price_decimals = kept->model.size_decimals = 0;
}
