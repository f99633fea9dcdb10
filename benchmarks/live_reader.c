/* Reads live books: the C side of `python -m benchmarks live`.
 *
 *   live_reader cost DIRECTORY TOPIC LOOKS           ns of a look at the best levels, alone, with a look at the writer's health
 *                                                    as tapebook_best takes it, and of a copy of the whole book
 *   live_reader follow DIRECTORY TOPIC UPDATES OUT   spins until it has seen the book change so often, and writes for each
 *                                                    change it saw: update id, when it saw it, when it was published, and how
 *                                                    long before it had begun to look the time before (ns)
 *   live_reader spin DIRECTORY TOPIC                 looks until it is killed
 *   live_reader paced FILE READERS                   so many processes look at a book's file a thousand times a second each,
 *                                                    until standard input ends
 *
 * DIRECTORY is <data>/live/<collector>. Prints one JSON object. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tapebook_shared.h"

#define DEPTH 1000
#define REPETITIONS 7

static int64_t least(const int64_t *times)
{
    int64_t out = times[0];
    for (int i = 1; i < REPETITIONS; i++)
        out = times[i] < out ? times[i] : out;
    return out;
}

static int cost(const tapebook_book *book, int64_t looks)
{
    static tapebook_level bids[DEPTH], asks[DEPTH];
    int64_t look[REPETITIONS], best[REPETITIONS], copy[REPETITIONS];
    tapebook_snapshot snapshot;
    tapebook_quote quote;
    int64_t sum = 0;
    memset(&snapshot, 0, sizeof snapshot);
    for (int i = 0; i < REPETITIONS; i++) {
        int64_t start = tapebook_now_ns();
        for (int64_t j = 0; j < looks; j++) {
            while (!tapebook_look(book, &quote))
                ;
            sum += quote.bid.price + quote.ask.size;
        }
        look[i] = tapebook_now_ns() - start;
        start = tapebook_now_ns();
        for (int64_t j = 0; j < looks; j++)
            sum += tapebook_best(book, &quote) + quote.bid.price + quote.ask.size;
        best[i] = tapebook_now_ns() - start;
        start = tapebook_now_ns();
        for (int64_t j = 0; j < looks / 10; j++)
            sum += tapebook_read(book, &snapshot, bids, asks, DEPTH) + bids[0].price;
        copy[i] = tapebook_now_ns() - start;
    }
    printf("{\"look_ns\": %.1f, \"best_ns\": %.1f, \"read_ns\": %.1f, \"levels\": [%" PRId32 ", %" PRId32 "], \"sum\": %" PRId64
           "}\n",
           (double)least(look) / (double)looks, (double)least(best) / (double)looks, (double)least(copy) / (double)(looks / 10),
           snapshot.count[0], snapshot.count[1], sum);
    return 0;
}

static int follow(const tapebook_book *book, int64_t updates, const char *path)
{
    int64_t (*seen)[4] = malloc((size_t)updates * sizeof *seen);
    FILE *out = fopen(path, "wb");
    int64_t count = 0, newest = TAPEBOOK_NONE;
    tapebook_quote quote;
    if (!seen || !out)
        return 1;
    memset(seen, 0, (size_t)updates * sizeof *seen);
    printf("ready\n");
    fflush(stdout);
    int64_t before_ns = tapebook_now_ns(), earlier_ns = before_ns; /* behind the last look, and ahead of it */
    while (count < updates) {
        const int whole = tapebook_look(book, &quote);
        const int64_t now_ns = tapebook_now_ns();
        if (whole && quote.update_id != newest) {
            newest = quote.update_id;
            seen[count][0] = newest;
            seen[count][1] = now_ns;
            seen[count][2] = quote.published_ns;
            seen[count++][3] = now_ns - earlier_ns;
        } else if (tapebook_writer(&book->collector, now_ns) == TAPEBOOK_WRITER_GONE) {
            break;
        }
        earlier_ns = before_ns;
        before_ns = now_ns;
    }
    const size_t written = fwrite(seen, sizeof *seen, (size_t)count, out);
    return fclose(out) != 0 || written != (size_t)count;
}

static _Noreturn void spin(const tapebook_book *book)
{
    tapebook_quote quote;
    printf("ready\n");
    fflush(stdout);
    for (;;)
        (void)tapebook_look(book, &quote);
}

static int paced(const char *path, int readers)
{
    const int descriptor = open(path, O_RDONLY);
    struct stat found;
    char byte;
    if (descriptor < 0 || fstat(descriptor, &found) != 0)
        return 1;
    tapebook_book book;
    memset(&book, 0, sizeof book);
    book.file = (const tapebook_book_file *)mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (book.file == MAP_FAILED)
        return 1;
    for (int i = 0; i < readers; i++)
        if (fork() == 0)
            for (tapebook_quote quote;;) {
                const struct timespec pause = {0, 1000000};
                (void)tapebook_look(&book, &quote);
                nanosleep(&pause, NULL);
            }
    printf("ready\n");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM); /* this process group is ours alone */
    while (wait(NULL) > 0)
        ;
    return 0;
}

int main(int count, char **arguments)
{
    char why[512] = "";
    tapebook_open_book open;
    if (count == 4 && strcmp(arguments[1], "paced") == 0)
        return paced(arguments[2], atoi(arguments[3]));
    if (count < 4 || tapebook_open(&open, arguments[2], arguments[3], why, sizeof why) != 0) {
        fprintf(stderr, "%s\n", why[0] ? why : "expected cost, follow, spin or paced with what each needs");
        return 2;
    }
    if (count == 5 && strcmp(arguments[1], "cost") == 0)
        return cost(&open.book, strtoll(arguments[4], NULL, 10));
    if (count == 6 && strcmp(arguments[1], "follow") == 0)
        return follow(&open.book, strtoll(arguments[4], NULL, 10), arguments[5]);
    spin(&open.book);
}
