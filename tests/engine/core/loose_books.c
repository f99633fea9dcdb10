/* Holds the loose book of replay against the engine's book: the same loads and changes, good and bad, with prices that lie in many
 * ways, and the same best levels, order, levels and digest behind each. Prints how much it did. Run under sanitizers. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tb_loose.h"

#define MOST 400
#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "line %d, market %zu, step %d: %s\n", __LINE__, market, step, #condition);       \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

/* Where the prices lie: first + step * 0..span. 10946 and 6765 are what the hash scatters worst. */
static const struct {
    int64_t first, step;
    int span, most; /* changes of a side */
} markets[] = {
    {0, 1, 30, 6},
    {6500000, 10, 120, 12},
    {-40, 1, 90, 9},
    {1000, 6765, 300, 40},
    {1, 10946, 600, 8},
    {INT64_MAX - 60, 1, 61, 20},
    {-INT64_MAX, 1, 61, 20},
    {-INT64_MAX, INT64_C(1) << 58, 32, 20},
    {77, 1, 3000, MOST},
};

static uint64_t state = 88172645463325252u;
static size_t market;
static int step;
static uint64_t loads, changes, refused, looks, widened;

static uint64_t drawn(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % below;
}

static int rising(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

typedef struct {
    int64_t prices[2][MOST], sizes[2][MOST];
    tb_changes of[2];
} message;

/* Levels of a random message, best first, no price twice; at 10^-decimals. */
static void draw(message *m, int64_t scale)
{
    for (int s = 0; s < 2; s++) {
        int64_t *const prices = m->prices[s];
        const int wanted = (int)drawn((uint64_t)markets[market].most + 1);
        int n = 0;
        for (int i = 0; i < wanted; i++)
            prices[n++] = (markets[market].first + markets[market].step * (int64_t)drawn((uint64_t)markets[market].span)) * scale;
        qsort(prices, (size_t)n, sizeof *prices, rising);
        int kept = 0;
        for (int i = 0; i < n; i++)
            if (i == 0 || prices[i] != prices[i - 1])
                prices[kept++] = prices[i];
        for (int i = 0; !s && i < kept / 2; i++) {
            const int64_t other = prices[i];
            prices[i] = prices[kept - 1 - i];
            prices[kept - 1 - i] = other;
        }
        for (int i = 0; i < kept; i++)
            m->sizes[s][i] = drawn(3) ? (int64_t)drawn(1000) : 0;
        m->of[s] = (tb_changes){prices, m->sizes[s], kept};
    }
}

/* Makes a message one that must be refused; says whether it could. */
static int spoil(message *m)
{
    const int s = (int)drawn(2);
    const int32_t n = m->of[s].count;
    if (n == 0)
        return 0;
    const int32_t at = (int32_t)drawn((uint64_t)n);
    switch (drawn(4)) {
    case 0: m->sizes[s][at] = -1 - (int64_t)drawn(5); return 1;
    case 1: m->prices[s][at] = INT64_MIN; return 1;
    case 2: /* twice */
        if (at == 0)
            return 0;
        m->prices[s][at] = m->prices[s][at - 1];
        return 1;
    default:
        if (at == 0)
            return 0;
        m->prices[s][at - 1] ^= m->prices[s][at];
        m->prices[s][at] ^= m->prices[s][at - 1];
        m->prices[s][at - 1] ^= m->prices[s][at];
        return 1;
    }
}

static void check_best(const tb_loose *loose, const tb_book *book)
{
    for (int s = 0; s < 2; s++) {
        const tb_level best = tb_loose_best(loose, s);
        const tb_side *side = &book->sides[s];
        CHECK((best.size != 0) == (side->count > 0));
        CHECK(!side->count || (best.price == side->levels[side->count - 1].price && best.size == side->levels[side->count - 1].size));
    }
}

static void check_order(tb_loose *loose, const tb_book *book)
{
    for (int s = 0; s < 2; s++) {
        const tb_loose_side *side = tb_loose_sorted(loose, s);
        int32_t n = 0;
        CHECK(side->top == 0 || tb_loose_level(side, side->top - 1).size != 0);
        for (int32_t i = 0; i < side->top; i++) {
            const tb_level level = tb_loose_level(side, i);
            if (level.size == 0)
                continue;
            CHECK(n < book->sides[s].count);
            CHECK(level.price == book->sides[s].levels[n].price && level.size == book->sides[s].levels[n].size);
            n++;
        }
        CHECK(n == book->sides[s].count);
        looks++;
    }
}

static void check_settled(tb_loose *loose, const tb_book *book)
{
    tb_loose_settle(loose);
    for (int s = 0; s < 2; s++) {
        CHECK(loose->book.sides[s].count == book->sides[s].count);
        CHECK(book->sides[s].count == 0 || memcmp(loose->book.sides[s].levels, book->sides[s].levels,
                                                  (size_t)book->sides[s].count * sizeof(tb_level)) == 0);
    }
    CHECK(tb_book_digest(&loose->book) == tb_book_digest(book));
    CHECK(tb_book_digest(&loose->book) == tb_book_digest_recomputed(&loose->book));
    looks++;
}

int main(void)
{
    static message m;
    for (market = 0; market < sizeof markets / sizeof *markets; market++) {
        tb_loose loose;
        tb_book book;
        int64_t changed, scale = 1;
        tb_loose_init(&loose);
        tb_book_init(&book);
        for (step = 0; step < 4000; step++) {
            draw(&m, scale);
            if (step == 0 || drawn(500) == 0) {
                CHECK(tb_loose_load(&loose, m.of) == TB_OK);
                CHECK(tb_book_load(&book, m.of) == TB_OK);
                loads++;
            } else if (drawn(10) == 0 && spoil(&m)) {
                CHECK(tb_loose_apply(&loose, m.of) == TB_BAD_VALUE);
                refused++;
            } else {
                CHECK(tb_loose_apply(&loose, m.of) == TB_OK);
                CHECK(tb_book_apply(&book, m.of, &changed) == TB_OK);
                changes++;
            }
            check_best(&loose, &book);
            /* now often, now seldom: many or few levels are new since */
            if (drawn(step < 2000 ? 3 : 200) == 0)
                check_order(&loose, &book);
            if (drawn(step < 2000 ? 7 : 300) == 0)
                check_settled(&loose, &book);
            if (step % 1500 == 1499 && markets[market].first > -1000 && markets[market].first < INT64_MAX / 1000) {
                /* as a row with finer exponents does it */
                tb_loose_settle(&loose);
                CHECK(tb_loose_reserve(&loose, (int32_t)drawn(MOST), (int32_t)drawn(MOST)) == TB_OK);
                const unsigned price = loose.book.price_decimals + 1u, size = loose.book.size_decimals + 1u;
                CHECK(tb_book_can_widen(&loose.book, price, size) == TB_OK);
                tb_book_widen(&loose.book, price, size);
                tb_book_widen(&book, price, size);
                tb_loose_adopt(&loose);
                scale *= 10;
                check_settled(&loose, &book);
                check_best(&loose, &book);
                widened++;
            }
        }
        check_settled(&loose, &book);
        tb_loose_free(&loose);
        tb_book_free(&book);
    }
    printf("%" PRIu64 " loads, %" PRIu64 " changes, %" PRIu64 " refused, %" PRIu64 " looks, %" PRIu64 " widened\n", loads, changes,
           refused, looks, widened);
    return 0;
}
