/* The payload of a publicTrade frame (protocol section 3.4). */
#include "tb_read.h"

#include <stdlib.h>
#include <string.h>

static const char *const tick_directions[4] = {"PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick"};

static int read_trade(tb_frame *f, tb_cursor *c, tb_trade *t)
{
    enum { T = 1, SYMBOL = 2, SIDE = 4, V = 8, P = 16, I = 32, L = 64, BT = 128, RPI = 256, SEQ = 512, EXTRA = 1024 };
    static const char *const extra_keys[4] = {"mP", "iP", "mIv", "iv"};
    unsigned seen = 0;
    t->cross_sequence = TB_NONE;
    t->tick_direction = t->is_block = t->is_rpi = -1;
    t->extras = 0;
    memset(t->extra, 0, sizeof t->extra);
    TB_EACH_MEMBER(c, 2)
    tb_slice text;
    int flag;
    if (key.length == 1) {
        switch (key.at[0]) {
        case 'T':
            TB_ONCE(c, seen, T);
            if (!tb_integer(c, TB_LAST_MS, &t->match_ms))
                return 0;
            continue;
        case 's':
            TB_ONCE(c, seen, SYMBOL);
            if (!tb_read_text(f, c, &t->symbol))
                return 0;
            if (t->symbol.length == 0 || t->symbol.length > TB_SYMBOL_BYTES)
                return tb_fail(c, TB_BAD_VALUE);
            continue;
        case 'S':
            TB_ONCE(c, seen, SIDE);
            if (!tb_read_text(f, c, &text))
                return 0;
            if (TB_IS(&text, "Buy"))
                t->side = 0;
            else if (TB_IS(&text, "Sell"))
                t->side = 1;
            else
                return tb_fail(c, TB_BAD_VALUE);
            continue;
        case 'v':
            TB_ONCE(c, seen, V);
            tb_space(c);
            if (!tb_read_decimal(f, c, &t->size, &t->size_decimals))
                return 0;
            if (t->size < 0)
                return tb_fail(c, TB_BAD_NUMBER);
            continue;
        case 'p':
            TB_ONCE(c, seen, P);
            tb_space(c);
            if (!tb_read_decimal(f, c, &t->price, &t->price_decimals))
                return 0;
            continue;
        case 'i':
            TB_ONCE(c, seen, I);
            if (!tb_read_text(f, c, &t->id))
                return 0;
            if (t->id.length == 0 || t->id.length > TB_TRADE_ID_BYTES)
                return tb_fail(c, TB_BAD_VALUE);
            continue;
        case 'L':
            TB_ONCE(c, seen, L);
            if (!tb_read_text(f, c, &text))
                return 0;
            for (int i = 0; i < 4; i++)
                if (tb_is(&text, tick_directions[i], strlen(tick_directions[i])))
                    t->tick_direction = (int8_t)i;
            f->drift += t->tick_direction < 0;
            continue;
        default:
            break;
        }
    } else if (TB_IS(&key, "BT")) {
        TB_ONCE(c, seen, BT);
        if (!tb_boolean(c, &flag))
            return 0;
        t->is_block = (int8_t)flag;
        continue;
    } else if (TB_IS(&key, "RPI")) {
        TB_ONCE(c, seen, RPI);
        if (!tb_boolean(c, &flag))
            return 0;
        t->is_rpi = (int8_t)flag;
        continue;
    } else if (TB_IS(&key, "seq")) {
        TB_ONCE(c, seen, SEQ);
        if (!tb_integer(c, INT64_MAX, &t->cross_sequence))
            return 0;
        continue;
    } else if (key.length <= 3) {
        int extra = 0;
        while (extra < 4 && !tb_is(&key, extra_keys[extra], strlen(extra_keys[extra])))
            extra++;
        if (extra < 4) {
            int present;
            TB_ONCE(c, seen, (unsigned)EXTRA << extra);
            if (!tb_read_wide(f, c, &t->extra[extra], &present))
                return 0;
            t->extras |= (uint8_t)(present << extra);
            continue;
        }
    }
    if (!tb_skip(c, 3))
        return 0;
    TB_END_MEMBERS(c)
    unsigned needed = T | SYMBOL | SIDE | V | P | I;
    return (seen & needed) == needed ? 1 : tb_fail(c, TB_MISSING_KEY);
}

int tb_read_trades(tb_frame *f, tb_cursor *c, const tb_slice *symbol)
{
    f->trade_count = 0;
    if (tb_peek(c) != '[') {
        if (tb_skip(c, 1))
            c->error = TB_WRONG_TYPE;
        return 0;
    }
    c->p++;
    if (tb_accept(c, ']'))
        return 1;
    do {
        if (f->trade_count == f->trade_capacity) {
            int32_t capacity = f->trade_capacity ? f->trade_capacity * 2 : 64;
            tb_trade *trades = realloc(f->trades, (size_t)capacity * sizeof *trades);
            if (!trades)
                return tb_fail(c, TB_NO_MEMORY);
            f->trades = trades;
            f->trade_capacity = capacity;
        }
        tb_trade *trade = &f->trades[f->trade_count];
        if (!read_trade(f, c, trade))
            return 0;
        if (symbol->length && !tb_same_text(&trade->symbol, symbol))
            return tb_fail(c, TB_WRONG_SYMBOL);
        f->trade_count++;
    } while (tb_accept(c, ','));
    return tb_expect(c, ']');
}
