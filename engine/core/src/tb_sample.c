#include "tb_sample.h"

#include <string.h>

#include "tb_decimal.h"

void tb_sampler_init(tb_sampler *sampler)
{
    memset(sampler, 0, sizeof *sampler);
    sampler->start_ns = INT64_MIN;
    sampler->end_ns = INT64_MAX;
    sampler->reached_ns = INT64_MIN;
}

static tb_row_error fail(tb_replay *replay, tb_row_error error, int64_t found)
{
    replay->error = error;
    replay->column = 0;
    replay->found = found;
    return error;
}

/* *value * 10^by, or nothing where 128 bits can't hold it. */
static int scale(tb_int128 *value, unsigned by)
{
    tb_int128 result;
    if (__builtin_mul_overflow(*value, (tb_int128)tb_powers[by], &result))
        return 0;
    *value = result;
    return 1;
}

TB_INLINE uint8_t larger(uint8_t a, uint8_t b)
{
    return a > b ? a : b;
}

/* ---- what adds up ---- */

static tb_touch touch_of(const tb_loose *loose)
{
    tb_touch touch = {{0, 0}, loose->book.price_decimals, loose->book.size_decimals, {{0, 0}, {0, 0}}};
    for (int s = 0; s < 2; s++) {
        const tb_level best = tb_loose_best(loose, s);
        touch.there[s] = best.size != 0;
        if (best.size)
            touch.best[s] = best;
    }
    return touch;
}

static int is_same(const tb_touch *a, const tb_touch *b)
{
    int same = a->price_decimals == b->price_decimals && a->size_decimals == b->size_decimals;
    for (int s = 0; s < 2; s++)
        same &= a->there[s] == b->there[s] && a->best[s].price == b->best[s].price && a->best[s].size == b->best[s].size;
    return same;
}

/* Sums are kept at the finest exponents of the interval so far. */
static int bring(tb_interval *interval, const tb_touch *touch)
{
    const uint8_t price_decimals = larger(interval->price_decimals, touch->price_decimals);
    const uint8_t size_decimals = larger(interval->size_decimals, touch->size_decimals);
    if (!scale(&interval->spread_time, price_decimals - interval->price_decimals) ||
        !scale(&interval->flow, size_decimals - interval->size_decimals))
        return 0;
    interval->price_decimals = price_decimals;
    interval->size_decimals = size_decimals;
    return 1;
}

/* What the change from one touch to the next says of demand less supply: e_n of Cont, Kukanov and Stoikov, "The Price Impact of
 * Order Book Events", Journal of Financial Econometrics 12 (2014). A side without levels is infinitely far away. */
static tb_int128 flow_between(const tb_touch *before, const tb_touch *now, const tb_int128 price_before[2],
                              const tb_int128 price_now[2], const tb_int128 size_before[2], const tb_int128 size_now[2])
{
    tb_int128 flow = 0;
    for (int s = 0; s < 2; s++) {
        const tb_int128 nearer = s ? price_before[s] - price_now[s] : price_now[s] - price_before[s];
        tb_int128 demand = 0;
        if (now->there[s] && (!before->there[s] || nearer >= 0))
            demand += size_now[s];
        if (before->there[s] && (!now->there[s] || nearer <= 0))
            demand -= size_before[s];
        flow += s ? -demand : demand;
    }
    return flow;
}

/* Adds the flow of one message. */
static int add_flow(tb_interval *interval, const tb_touch *before, const tb_touch *now)
{
    const tb_touch *touches[2] = {before, now};
    tb_int128 price[2][2], size[2][2];
    if (!bring(interval, before) || !bring(interval, now))
        return 0;
    for (int t = 0; t < 2; t++)
        for (int s = 0; s < 2; s++) {
            const tb_touch *touch = touches[t];
            price[t][s] = (tb_int128)touch->best[s].price * tb_powers[interval->price_decimals - touch->price_decimals];
            size[t][s] = (tb_int128)touch->best[s].size * tb_powers[interval->size_decimals - touch->size_decimals];
        }
    const tb_int128 flow = flow_between(before, now, price[0], price[1], size[0], size[1]);
    return !__builtin_add_overflow(interval->flow, flow, &interval->flow);
}

/* Adds the spread that has stood since the last settling, if it was to be trusted. */
static int settle(tb_sampler *s, const tb_replay *replay, int64_t at_ns)
{
    tb_interval *interval = &s->interval;
    const tb_touch *touch = &s->touch;
    const tb_int128 elapsed_ns = (tb_int128)at_ns - s->settled_ns;
    s->settled_ns = at_ns;
    if (!bring(interval, touch))
        return 0;
    if (!replay->trusted || !touch->there[0] || !touch->there[1])
        return 1;
    tb_int128 spread = (tb_int128)touch->best[1].price - touch->best[0].price, area;
    if (!scale(&spread, interval->price_decimals - touch->price_decimals))
        return 0;
    interval->spread_ns += elapsed_ns;
    return !__builtin_mul_overflow(spread, elapsed_ns, &area) &&
           !__builtin_add_overflow(interval->spread_time, area, &interval->spread_time);
}

static void begin_interval(tb_sampler *s)
{
    memset(&s->interval, 0, sizeof s->interval);
    s->interval.price_decimals = s->touch.price_decimals;
    s->interval.size_decimals = s->touch.size_decimals;
}

/* ---- samples ---- */

/* The best levels that are there, as `limit` readers see of them. Returns how many. */
static int32_t visible(const tb_loose_side *side, int32_t limit, int64_t *prices, int64_t *sizes)
{
    int32_t n = 0;
    for (int32_t i = side->top; i-- > 0 && n < limit;) {
        const tb_level level = tb_loose_level(side, i);
        prices[n] = level.price;
        sizes[n] = level.size;
        n += level.size != 0;
    }
    return n;
}

static void put_levels(const tb_sampler *s, tb_replay *replay, tb_samples *out, int64_t row)
{
    const int32_t limit = s->levels < replay->depth ? s->levels : replay->depth;
    for (int side = 0; side < 2; side++) {
        const int32_t at = row ? out->offsets[side][row] : 0;
        out->offsets[side][0] = 0;
        out->offsets[side][row + 1] = at + visible(tb_loose_sorted(&replay->loose, side), limit, out->levels[2 * side] + at,
                                                   out->levels[2 * side + 1] + at);
    }
}

static int put_flow(tb_sampler *s, tb_samples *out, int64_t row)
{
    const tb_interval *interval = &s->interval;
    const tb_level *best = s->touch.best;
    out->messages[row] = interval->messages;
    out->breaks[row] = interval->breaks;
    out->flow[row] = (int64_t)interval->flow;
    out->size_exponent[row] = (int8_t)-interval->size_decimals;
    if (interval->flow != out->flow[row])
        return 0;
    out->spread_time[2 * row] = (uint64_t)interval->spread_time;
    out->spread_time[2 * row + 1] = (uint64_t)(interval->spread_time >> 64);
    out->spread_ns[row] = (uint64_t)interval->spread_ns;
    out->spread_decimals[row] = (int8_t)interval->price_decimals;
    out->spread[row] = out->twice_mid[row] = 0;
    return !(out->flags[row] & TB_SAMPLE_TWO_SIDED) ||
           (!__builtin_sub_overflow(best[1].price, best[0].price, &out->spread[row]) &&
            !__builtin_add_overflow(best[0].price, best[1].price, &out->twice_mid[row]));
}

/* Sizes of one side no farther from the middle than each band. */
static int put_bands(const tb_sampler *s, tb_replay *replay, tb_samples *out, int64_t row, int side)
{
    const tb_loose_side *levels = tb_loose_sorted(&replay->loose, side);
    const tb_int128 twice_mid = (tb_int128)s->touch.best[0].price + s->touch.best[1].price;
    const tb_int128 size_of_mid = twice_mid < 0 ? -twice_mid : twice_mid;
    int64_t *const sizes = out->band_sizes[side] + row * s->bands;
    tb_int128 sum = 0;
    int32_t band = 0, seen = 0;
    for (int32_t i = levels->top; i-- > 0 && seen < replay->depth;) {
        const tb_level level = tb_loose_level(levels, i);
        const tb_int128 twice = 2 * (tb_int128)level.price;
        const tb_int128 distance = (side ? twice - twice_mid : twice_mid - twice) * TB_BANDS_TO_ONE;
        if (level.size == 0)
            continue;
        seen++;
        for (; band < s->bands && distance > s->band[band] * size_of_mid; band++)
            sizes[band] = (int64_t)sum;
        if (band == s->bands)
            break;
        sum += level.size;
        if (sum > INT64_MAX)
            return 0;
    }
    out->covered[side][row] = (int8_t)band;
    for (; band < s->bands; band++)
        sizes[band] = (int64_t)sum;
    return 1;
}

/* What walking a side from the best level on would bring. */
static int put_fill(const tb_sampler *s, tb_replay *replay, tb_samples *out, int64_t row)
{
    const tb_book *book = &replay->loose.book;
    const tb_loose_side *levels = tb_loose_sorted(&replay->loose, s->fill_side);
    const uint8_t decimals = larger(s->fill_decimals, book->size_decimals);
    const tb_int128 finer = tb_powers[decimals - book->size_decimals];
    tb_int128 left = (tb_int128)s->fill_size * tb_powers[decimals - s->fill_decimals], filled = 0, notional = 0;
    int32_t seen = 0;
    out->worst_price[row] = 0;
    for (int32_t i = levels->top; left > 0 && i-- > 0 && seen < replay->depth;) {
        const tb_level level = tb_loose_level(levels, i);
        if (level.size == 0)
            continue;
        const tb_int128 there = level.size * finer, taken = there < left ? there : left;
        tb_int128 cost;
        if (__builtin_mul_overflow(taken, (tb_int128)level.price, &cost) || __builtin_add_overflow(notional, cost, &notional))
            return 0;
        left -= taken;
        filled += taken;
        out->worst_price[row] = level.price;
        seen++;
    }
    out->touched[row] = seen;
    out->filled[2 * row] = (uint64_t)filled;
    out->filled[2 * row + 1] = (uint64_t)(filled >> 64);
    out->notional[2 * row] = (uint64_t)notional;
    out->notional[2 * row + 1] = (uint64_t)(notional >> 64);
    out->filled_decimals[row] = (int8_t)decimals;
    out->flags[row] |= left == 0 ? TB_SAMPLE_FILLED : 0;
    return 1;
}

static int put(tb_sampler *s, tb_replay *replay, tb_samples *out, int64_t at_ns)
{
    const tb_book *book = &replay->loose.book;
    const int64_t row = out->used;
    int64_t age_ns = 0;
    const int aged = s->timed && !__builtin_sub_overflow(at_ns, s->state_ns, &age_ns);
    int fine = 1;
    s->touch = touch_of(&replay->loose);
    const int two_sided = s->touch.there[0] && s->touch.there[1];
    out->time_ns[row] = at_ns;
    out->age_ns[row] = aged ? age_ns : 0;
    out->update_id[row] = replay->update_id;
    out->sequence[row] = replay->sequence;
    out->rows[row] = replay->rows;
    out->price_exponent[row] = (int8_t)-book->price_decimals;
    out->size_exponent[row] = (int8_t)-book->size_decimals;
    out->flags[row] = (uint8_t)((replay->trusted ? TB_SAMPLE_TRUSTED : 0) | (aged ? TB_SAMPLE_AGED : 0) |
                                (two_sided ? TB_SAMPLE_TWO_SIDED : 0));
    if (s->kind == TB_SAMPLE_LEVELS) {
        put_levels(s, replay, out, row);
    } else if (s->kind == TB_SAMPLE_FLOW) {
        fine = settle(s, replay, at_ns) && put_flow(s, out, row);
        begin_interval(s);
    } else {
        out->twice_mid[row] = 0;
        if (two_sided)
            fine = !__builtin_add_overflow(s->touch.best[0].price, s->touch.best[1].price, &out->twice_mid[row]);
        if (s->kind == TB_SAMPLE_FILL)
            fine = fine && put_fill(s, replay, out, row);
        for (int side = 0; side < 2 && s->kind == TB_SAMPLE_BANDS; side++) {
            memset(out->band_sizes[side] + row * s->bands, 0, (size_t)s->bands * sizeof(int64_t));
            out->covered[side][row] = 0;
            fine = fine && (!two_sided || put_bands(s, replay, out, row, side));
        }
    }
    if (!fine) {
        (void)fail(replay, TB_ROW_SUM, 0);
        return 0;
    }
    out->used++;
    return 1;
}

/* ---- moments ---- */

/* The first moment of the grid that is not before `at_ns`; there may be none. */
static void aim(tb_sampler *s, int64_t at_ns)
{
    const tb_int128 since = (tb_int128)at_ns - s->origin_ns, every = s->every_ns;
    tb_int128 steps = since / every;
    steps += steps * every < since;
    const tb_int128 moment = s->origin_ns + steps * every;
    s->over = moment > INT64_MAX;
    s->next_ns = s->over ? INT64_MAX : (int64_t)moment;
}

void tb_sampler_begin_at(tb_sampler *sampler, int64_t ns)
{
    sampler->settled_ns = sampler->reached_ns = ns;
    if (sampler->every_ns)
        aim(sampler, ns);
    sampler->started = sampler->led = 1;
}

static void advance(tb_sampler *s)
{
    s->over = __builtin_add_overflow(s->next_ns, s->every_ns, &s->next_ns) || s->next_ns > s->end_ns;
}

/* Puts the moments up to and including `last_ns`. Returns 0 when `out` is full, or with an error. */
static int fill(tb_sampler *s, tb_replay *replay, int64_t last_ns, tb_samples *out)
{
    while (!s->over && s->next_ns <= last_ns) {
        if (s->next_ns > s->end_ns) {
            s->over = 1;
        } else if (!replay->held || s->next_ns < s->start_ns) { /* pass over all at once, whatever their number */
            const int64_t before = replay->held && s->start_ns <= last_ns ? s->start_ns : last_ns + (last_ns < INT64_MAX);
            const int64_t steps = (int64_t)(((tb_int128)before - 1 - s->next_ns) / s->every_ns);
            s->next_ns += steps * s->every_ns;
            if (s->kind == TB_SAMPLE_FLOW) {
                if (!settle(s, replay, s->next_ns)) {
                    (void)fail(replay, TB_ROW_SUM, 0);
                    return 0;
                }
                begin_interval(s);
            }
            advance(s);
        } else {
            if (out->used == out->capacity || !put(s, replay, out, s->next_ns))
                return 0;
            advance(s);
        }
    }
    return 1;
}

/* The row's reading of the clock, where it has one. */
TB_INLINE int reading(tb_replay *replay, const tb_replay_columns *columns, int64_t i, int64_t *ns)
{
    if (TB_UNLIKELY(!tb_bit(columns->clock_there, i)))
        return 0;
    if (TB_UNLIKELY(__builtin_mul_overflow(columns->clock[i], columns->clock_ns, ns)))
        (void)fail(replay, TB_ROW_CLOCK, columns->clock[i]);
    return 1;
}

/* The clock moves on: moments before `ns` show the state as it is. */
static int reach(tb_sampler *s, tb_replay *replay, int64_t ns, tb_samples *out)
{
    if (!s->started) {
        tb_sampler_begin_at(s, ns);
        s->led = 0;
    } else if (s->every_ns && !fill(s, replay, ns - 1, out)) {
        return 0;
    }
    if (s->kind == TB_SAMPLE_FLOW && !settle(s, replay, ns)) {
        (void)fail(replay, TB_ROW_SUM, 0);
        return 0;
    }
    s->reached_ns = ns;
    s->led = 0;
    return 1;
}

/* A row was taken, and is part of the interval. */
TB_INLINE int note(tb_sampler *s, tb_replay *replay, int was_held)
{
    const tb_touch now = touch_of(&replay->loose);
    int fine = 1;
    if (!was_held) {
        s->touch = now;
        begin_interval(s);
    } else if (!replay->follows) {
        s->interval.breaks++;
        fine = bring(&s->interval, &now);
    } else if (!is_same(&now, &s->touch)) {
        fine = add_flow(&s->interval, &s->touch, &now);
    }
    s->interval.messages += replay->took == TB_TOOK_MESSAGE;
    s->touch = now;
    if (!fine)
        (void)fail(replay, TB_ROW_SUM, 0);
    return fine;
}

/* A sample by messages is due: behind this row. */
static int put_due(tb_sampler *s, tb_replay *replay, tb_samples *out)
{
    s->messages = 0;
    if (!s->started)
        return 1;
    if (s->reached_ns >= s->start_ns && s->reached_ns <= s->end_ns)
        return put(s, replay, out, s->reached_ns);
    if (s->kind == TB_SAMPLE_FLOW)
        begin_interval(s);
    return 1;
}

int64_t tb_sample_rows(tb_sampler *sampler, tb_replay *replay, const tb_replay_columns *columns, int64_t from, tb_samples *out)
{
    tb_sampler *const s = sampler;
    replay->error = TB_ROW_OK;
    for (int64_t i = from; i < columns->count; i++) {
        int64_t ns = 0;
        const int timed = reading(replay, columns, i, &ns), was_held = replay->held;
        if (TB_UNLIKELY(replay->error != TB_ROW_OK))
            return i;
        if (timed && (ns > s->reached_ns || !s->started) && !reach(s, replay, ns, out))
            return i;
        if (!s->every_ns && out->used == out->capacity)
            return i;
        if (TB_UNLIKELY(tb_replay_row(replay, columns, i) != TB_ROW_OK))
            return i;
        if (TB_UNLIKELY(replay->took == TB_TOOK_NOTHING))
            continue;
        s->timed = (uint8_t)timed;
        s->state_ns = ns;
        if (s->kind == TB_SAMPLE_FLOW) {
            if (!note(s, replay, was_held))
                return i;
            if (TB_UNLIKELY(s->led))
                begin_interval(s);
        }
        if (!s->every_ns && replay->took == TB_TOOK_MESSAGE && ++s->messages >= s->every_messages &&
            !put_due(s, replay, out))
            return i;
    }
    return columns->count;
}

int tb_sample_rest(tb_sampler *sampler, tb_replay *replay, tb_samples *out)
{
    tb_sampler *const s = sampler;
    replay->error = TB_ROW_OK;
    if (!s->started || !s->every_ns)
        return 1;
    return fill(s, replay, s->end_ns == INT64_MAX ? s->reached_ns : s->end_ns, out);
}
