/* Reads a live book as fast as it can and holds each state against its own digest.
 *
 *   reader DIRECTORY TOPIC READS STARTS
 *
 * DIRECTORY is <data>/live/<collector>. Each read is of the whole book or, every fourth, of its best levels; it ends once so
 * many gave a state that may be believed, and it has seen so many starts of the writer. A writer in trouble is opened again until
 * another start takes its place. Prints one JSON object: how many reads gave such a state, how many were torn (levels that are not those of the digest, best levels that are not the first ones), and how
 * many went backward (an older update id, an older version of one start), and how many looks were thrown away because the
 * writer was at it meanwhile (conflicts). */
#include <inttypes.h>
#include <stdlib.h>

#include "tapebook_shared.h"
#include "tb_book.h"

#define DEPTH 50

static uint64_t digest_of(const tapebook_snapshot *got, tapebook_level *bids, tapebook_level *asks)
{
    tb_book book;
    tb_book_init(&book);
    book.sides[0] = (tb_side){(tb_level *)bids, got->count[0], DEPTH};
    book.sides[1] = (tb_side){(tb_level *)asks, got->count[1], DEPTH};
    book.price_decimals = (uint8_t)-got->price_exponent;
    book.size_decimals = (uint8_t)-got->size_exponent;
    return tb_book_digest_recomputed(&book);
}

int main(int count, char **arguments)
{
    static tapebook_level bids[DEPTH], asks[DEPTH];
    char why[512] = "";
    tapebook_open_book open = {0};
    int64_t reads = 0, good = 0, torn = 0, backward = 0, starts = 0, in_trouble = 0, states = 0, conflicts = 0, same = 0;
    int64_t newest = 0;
    uint64_t version = 0, token = 0;
    if (count != 5)
        return 2;
    const int64_t wanted = strtoll(arguments[3], NULL, 10), wanted_starts = strtoll(arguments[4], NULL, 10);
    while (good < wanted || starts < wanted_starts) {
        if (!open.book.file) {
            if (tapebook_open(&open, arguments[1], arguments[2], why, sizeof why) != 0) {
                usleep(1000);
                continue;
            }
            if (open.book.collector.token != token) {
                version = 0;
                starts++;
            }
            token = open.book.collector.token;
        }
        int trouble;
        if (reads % 4 == 3) {
            tapebook_quote quote;
            trouble = tapebook_best(&open.book, &quote);
            if (trouble == TAPEBOOK_FINE && quote.state == TAPEBOOK_LIVE) {
                good++;
                backward += quote.update_id < newest;
                newest = quote.update_id;
                /* all prices of bids are below those of asks, and sizes are never 0 */
                torn += (quote.flags & 3) != 3 ? 0 : quote.bid.price >= quote.ask.price || !quote.bid.size || !quote.ask.size;
            }
        } else {
            tapebook_snapshot got;
            int64_t until_ns = 0;
            int whole, waits = 1;
            while (!(whole = tapebook_copy(&open.book, &got, bids, asks, DEPTH)) && waits) {
                conflicts++;
                waits = tapebook_may_wait(&open.book, &until_ns);
            }
            trouble = tapebook_trouble(&open.book);
            trouble = !whole && !trouble ? TAPEBOOK_NOT_WHOLE : trouble;
            if (trouble == TAPEBOOK_FINE && got.state == TAPEBOOK_LIVE) {
                good++;
                if (got.update_id != newest)
                    states++;
                else if (++same % 16 == 0)
                    sched_yield(); /* the writer may wait for this processor */
                backward += got.update_id < newest || got.version < version;
                newest = got.update_id;
                version = got.version;
                torn += got.count[0] != got.held[0] || got.count[1] != got.held[1] || digest_of(&got, bids, asks) != got.digest;
            }
        }
        reads++;
        if (trouble != TAPEBOOK_FINE) {
            in_trouble++;
            usleep(1000);
            tapebook_close(&open);
        }
    }
    printf("{\"reads\": %" PRId64 ", \"good\": %" PRId64 ", \"states\": %" PRId64 ", \"torn\": %" PRId64 ", \"backward\": %" PRId64
           ", \"starts\": %" PRId64 ", \"in_trouble\": %" PRId64 ", \"conflicts\": %" PRId64 "}\n",
           reads, good, states, torn, backward, starts, in_trouble, conflicts);
    return 0;
}
