/* One batch in several threads. Symbols share nothing but what this file takes apart and puts together again: each thread
 * works on a view of the engine, which has the feeds, symbols and indexes in common with it, and of its own what a frame is
 * decoded in, the events, the counters, and the lines. A feed's rows, books and exponents are its symbol's, and a symbol is
 * one thread's for a run.
 *
 * A run is a stretch of frames whose topic stands at their very beginning and names a feed with a symbol of its own. No such
 * frame can touch anything else: what it lacks, breaks or repeats is put down to its feed. Everything between runs (control
 * frames, other topics, options' trades, frames too damaged to say whose they are) is done in the engine itself, and so is
 * everything while a line has an open gap, which any good frame closes. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tb_internal.h"

#define MAX_THREADS 64

typedef struct {
    tb_engine view;
    const tb_batch *batch;
    const int32_t *owners; /* of the run's records: their symbols */
    const uint8_t *shares; /* of the symbols: whose they are */
    int64_t from, to;
    int share;
} tb_worker;

/* The symbol of a frame that begins `{"topic":"…"`, or -1. */
static int32_t owner_of(const tb_engine *engine, const uint8_t *bytes, size_t length)
{
    static const char head[] = "{\"topic\":\"";
    const size_t before = sizeof head - 1;
    if (length <= before || memcmp(bytes, head, before) != 0)
        return -1;
    const size_t most = length - before < TB_TOPIC_BYTES + 1 ? length - before : TB_TOPIC_BYTES + 1;
    const uint8_t *quote = memchr(bytes + before, '"', most);
    int32_t feed = quote ? tb_engine_find_feed(engine, bytes + before, (size_t)(quote - bytes) - before) : -1;
    if (feed < 0 || engine->feeds[feed]->ended) /* then damage is nobody's, and the line's */
        return -1;
    return engine->feeds[feed]->kind == TB_KIND_DRIVEN ? -1 : engine->feeds[feed]->symbol;
}

/* Where the run that begins at `from` ends. */
static int64_t end_of_run(const tb_engine *engine, const tb_batch *batch, int64_t from, int64_t to, int32_t *owners)
{
    for (int32_t i = 0; i < engine->line_count; i++)
        if (engine->lines[i].gap.open)
            return from;
    int64_t i = from;
    for (; i < to && batch->kinds[i] == 0; i++) {
        owners[i - from] = owner_of(engine, batch->payloads + batch->offsets[i],
                                    (size_t)(batch->offsets[i + 1] - batch->offsets[i]));
        if (owners[i - from] < 0)
            break;
    }
    return i;
}

/* Deals the symbols out, the one with the most bytes first, each to the thread that has the least so far. */
typedef struct {
    int64_t bytes;
    int32_t symbol;
} tb_load;

static int heavier(const void *a, const void *b)
{
    const tb_load *x = a, *y = b;
    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static void deal(const tb_batch *batch, const int32_t *owners, int64_t from, int64_t to, int threads, int32_t symbols,
                 tb_load *loads, uint8_t *shares)
{
    int64_t held[MAX_THREADS] = {0};
    for (int32_t i = 0; i < symbols; i++)
        loads[i] = (tb_load){0, i};
    for (int64_t i = from; i < to; i++)
        loads[owners[i - from]].bytes += batch->offsets[i + 1] - batch->offsets[i] + 64;
    qsort(loads, (size_t)symbols, sizeof *loads, heavier);
    for (int32_t i = 0; i < symbols; i++) {
        int least = 0;
        for (int t = 1; t < threads; t++)
            if (held[t] < held[least])
                least = t;
        held[least] += loads[i].bytes;
        shares[loads[i].symbol] = (uint8_t)least;
    }
}

static int open_view(tb_engine *view, const tb_engine *engine)
{
    *view = *engine;
    memset(&view->frame, 0, sizeof view->frame);
    tb_book_init(&view->aside);
    tb_book_init(&view->aside_rpi);
    view->events = NULL;
    view->delays = NULL; /* the whole engine's, and only measured live */
    view->event_count = view->event_capacity = 0;
    view->events_lost = view->rows_lost = 0;
    memset(view->undecodable, 0, sizeof view->undecodable);
    view->unattributed = view->controls = view->unknown_topics = view->drift = 0;
    view->lines = malloc(((size_t)engine->line_count + 1) * sizeof *view->lines);
    if (!view->lines)
        return 0;
    if (engine->line_count)
        memcpy(view->lines, engine->lines, (size_t)engine->line_count * sizeof *view->lines);
    for (int32_t i = 0; i < view->line_count; i++)
        view->lines[i].good_order = -1;
    return 1;
}

static void close_view(tb_engine *view)
{
    tb_frame_free(&view->frame);
    tb_book_free(&view->aside);
    tb_book_free(&view->aside_rpi);
    free(view->events);
    free(view->lines);
}

static void *work(void *argument)
{
    tb_worker *worker = argument;
    for (int64_t i = worker->from; i < worker->to; i++)
        if (worker->shares[worker->owners[i - worker->from]] == worker->share) {
            worker->view.order = i;
            (void)tb_apply_record(&worker->view, worker->batch, i);
        }
    return NULL;
}

/* Events in the order of their frames; a frame's events are all of one thread. */
static void merge_events(tb_engine *engine, tb_worker *workers, int threads)
{
    int32_t next[MAX_THREADS] = {0};
    for (;;) {
        int first = -1;
        for (int t = 0; t < threads; t++)
            if (next[t] < workers[t].view.event_count &&
                (first < 0 || workers[t].view.events[next[t]].order < workers[first].view.events[next[first]].order))
                first = t;
        if (first < 0)
            return;
        *tb_new_event(engine) = workers[first].view.events[next[first]++];
    }
}

/* The last good frame of a line is the last of any thread. */
static void merge_lines(tb_engine *engine, const tb_worker *workers, int threads)
{
    for (int t = 0; t < threads; t++)
        for (int32_t i = 0; i < workers[t].view.line_count; i++) {
            const tb_line *theirs = &workers[t].view.lines[i];
            tb_line *ours = tb_engine_line(engine, (uint16_t)i);
            if (!ours || theirs->good_order < 0)
                continue;
            int later = 1;
            for (int other = 0; other < threads; other++)
                later &= i >= workers[other].view.line_count || workers[other].view.lines[i].good_order <= theirs->good_order;
            if (later)
                *ours = *theirs;
        }
}

static void merge_counters(tb_engine *engine, const tb_engine *view)
{
    for (int i = 0; i < TB_ERROR_COUNT; i++)
        engine->undecodable[i] += view->undecodable[i];
    engine->unattributed += view->unattributed;
    engine->controls += view->controls;
    engine->unknown_topics += view->unknown_topics;
    engine->drift += view->drift;
    engine->events_lost += view->events_lost;
    engine->rows_lost += view->rows_lost;
    engine->use = view->use; /* a guide, and no count: whichever thread's is right enough */
}

/* What a run needs, made once for all runs of a batch, as long as no symbols come. */
typedef struct {
    tb_worker *workers;
    int32_t *owners;
    tb_load *loads;
    uint8_t *shares;
    int32_t symbols;
} tb_crew;

static void dismiss(tb_crew *crew)
{
    free(crew->workers);
    free(crew->owners);
    free(crew->loads);
    free(crew->shares);
    *crew = (tb_crew){NULL, NULL, NULL, NULL, -1};
}

static int hire(tb_crew *crew, int32_t symbols, int64_t records, int threads)
{
    dismiss(crew);
    crew->workers = calloc((size_t)threads, sizeof *crew->workers);
    crew->owners = malloc((size_t)records * sizeof *crew->owners);
    crew->loads = malloc(((size_t)symbols + 1) * sizeof *crew->loads);
    crew->shares = malloc((size_t)symbols + 1);
    crew->symbols = symbols;
    return crew->workers && crew->owners && crew->loads && crew->shares;
}

/* 0 when there was no memory for it, with nothing done. */
static int run_in_threads(tb_engine *engine, const tb_batch *batch, const tb_crew *crew, int64_t from, int64_t to, int threads)
{
    pthread_t ids[MAX_THREADS];
    int opened = 0, started = 0;
    deal(batch, crew->owners, from, to, threads, engine->symbol_count, crew->loads, crew->shares);
    for (; opened < threads; opened++) {
        tb_worker *worker = &crew->workers[opened];
        worker->batch = batch;
        worker->owners = crew->owners;
        worker->shares = crew->shares;
        worker->from = from;
        worker->to = to;
        worker->share = opened;
        if (!open_view(&worker->view, engine))
            break;
    }
    if (opened == threads) {
        for (started = 1; started < threads; started++)
            if (pthread_create(&ids[started], NULL, work, &crew->workers[started]) != 0)
                break;
        work(&crew->workers[0]);
        for (int t = started; t < threads; t++) /* no thread to be had: then this one */
            work(&crew->workers[t]);
        for (int t = 1; t < started; t++)
            pthread_join(ids[t], NULL);
        merge_events(engine, crew->workers, threads);
        merge_lines(engine, crew->workers, threads);
        for (int t = 0; t < threads; t++)
            merge_counters(engine, &crew->workers[t].view);
        engine->order = to - 1;
    }
    for (int t = 0; t < opened; t++)
        close_view(&crew->workers[t].view);
    return opened == threads;
}

int64_t tb_engine_apply_batch_in_threads(tb_engine *engine, const tb_batch *batch, int64_t from, int64_t to, int threads,
                                         int64_t least_run)
{
    tb_crew crew = {NULL, NULL, NULL, NULL, -1};
    threads = threads < MAX_THREADS ? threads : MAX_THREADS;
    while (threads > 1 && !engine->shared && to - from >= least_run && batch->kinds[from] == 0) {
        if (crew.symbols != engine->symbol_count && !hire(&crew, engine->symbol_count, to - from, threads))
            break;
        int64_t stop = end_of_run(engine, batch, from, to, crew.owners);
        if (stop - from < least_run || !run_in_threads(engine, batch, &crew, from, stop, threads))
            tb_engine_apply_batch(engine, batch, from, stop);
        /* what ended the run, if it is a frame that no driver has to read */
        from = stop < to ? tb_engine_apply_batch(engine, batch, stop, stop + 1) : stop;
        if (from == stop)
            break;
    }
    dismiss(&crew);
    return tb_engine_apply_batch(engine, batch, from, to);
}
