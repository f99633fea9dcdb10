/* Live books of a tapebook collector, read by any other process: layout of the shared memory, and readers in C.
 *
 * Nothing here takes a lock, writes, or can slow the writer. One directory belongs to one start of one collector:
 *
 *     <data directory>/live/<collector> -> the directory (a symbolic link)
 *         control        who writes, whether it is alive, and the topics by feed number
 *         <number>.book  one book, guarded by a sequence lock
 *         tape           book changes, trades and changes of state, one after the other, in a ring
 *
 * All numbers are in the machine's own byte order; prices and sizes are mantissas: value = mantissa * 10^exponent.
 * docs/live-books.md tells more, and has an example. C11 or C++11 with gcc or clang on a POSIX system (with -std=c11 define
 * _POSIX_C_SOURCE=200809L); nothing to link with. */
#ifndef TAPEBOOK_SHARED_H
#define TAPEBOOK_SHARED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TAPEBOOK_VERSION 1
#define TAPEBOOK_CONTROL_MAGIC "TBCTRL\r\n"
#define TAPEBOOK_BOOK_MAGIC "TBBOOK\r\n"
#define TAPEBOOK_TAPE_MAGIC "TBTAPE\r\n"
#define TAPEBOOK_MAX_TOPICS 65536
#define TAPEBOOK_NONE (-1) /* "no such value" for ids and times */

/* What a feed is worth. Only LIVE may be read as truth. */
enum { TAPEBOOK_EMPTY = 0, TAPEBOOK_SYNCING, TAPEBOOK_LIVE, TAPEBOOK_STALE };

/* Of the collector, in its control file. */
enum { TAPEBOOK_RUNNING = 1, TAPEBOOK_PAUSED, TAPEBOOK_STOPPED, TAPEBOOK_REPLACED };

/* Why a book can't be believed though its state says LIVE; 0: it can. */
enum {
    TAPEBOOK_FINE = 0,
    TAPEBOOK_WRITER_DEAD,    /* its heartbeat is too old */
    TAPEBOOK_WRITER_GONE,    /* it ended, on purpose */
    TAPEBOOK_WRITER_REPLACED,/* another start took its place: open again */
    TAPEBOOK_READING_PAUSED, /* its disk is behind, and nothing is read meanwhile */
    TAPEBOOK_FEED_ENDED,     /* it isn't recorded any more: delisted */
    TAPEBOOK_NOT_WHOLE       /* the writer stopped in the midst of a change */
};

enum { TAPEBOOK_KIND_BOOK = 0, TAPEBOOK_KIND_TRADES, TAPEBOOK_KIND_TICKER, TAPEBOOK_KIND_OTHER, TAPEBOOK_KIND_RPI };

typedef struct {
    char magic[8];
    uint32_t version;
    uint32_t header_bytes; /* where the topics begin */
    uint64_t file_bytes;
    uint64_t token; /* of this start: the same in all its files */
    int64_t writer_pid;
    int64_t started_ns; /* wall clock */
    int64_t interval_ns; /* between two heartbeats */
    int64_t timeout_ns;  /* a heartbeat older than that: the writer is dead */
    uint32_t topic_bytes;
    uint32_t topic_capacity;
    char collector[64];
    char category[16];
    char environment[16];
    char reserved[88];
    /* 256 */
    int64_t heartbeat_ns; /* CLOCK_MONOTONIC */
    uint32_t status;
    uint32_t topic_count;
    int64_t heard_ns; /* CLOCK_MONOTONIC: since then every connection that is up has brought something; 0: unknown */
    char unused[40];
} tapebook_control; /* 320 bytes */

typedef struct {
    char topic[88]; /* ends with NUL */
    char symbol[72];
    uint8_t kind;
    uint8_t has_book; /* there is a file <number>.book */
    uint8_t reserved[6];
    int32_t depth;    /* of the topic; 32767 stands for all */
    uint32_t capacity; /* levels a side in the book's file */
    uint8_t unused[16];
} tapebook_topic; /* 192 bytes */

typedef struct {
    int64_t price;
    int64_t size;
} tapebook_level;

enum { TAPEBOOK_HAS_BID = 1, TAPEBOOK_HAS_ASK = 2, TAPEBOOK_CROSSED = 4, TAPEBOOK_ENDED = 8 };

typedef struct {
    char magic[8];
    uint32_t version;
    uint32_t header_bytes; /* where the bids begin, best first; the asks begin `capacity` levels behind */
    uint64_t file_bytes;
    uint64_t token;
    int64_t writer_pid;
    uint32_t capacity; /* levels a side */
    int32_t depth;     /* of the topic */
    uint32_t feed;     /* number of the topic */
    uint32_t reserved;
    char category[16];
    char symbol[72];
    char topic[88];
    char unused[24];
    /* 256: one cache line tells the best levels */
    uint64_t lock; /* odd while the writer is at it */
    uint8_t state;
    uint8_t flags;
    int8_t price_exponent;
    int8_t size_exponent;
    uint8_t cause; /* of the gap that is open: 1 + its place in the list of causes; 0: none */
    uint8_t spare[3];
    tapebook_level best[2]; /* bid, ask; zeros where there is none (flags) */
    int64_t update_id;
    int64_t published_ns; /* CLOCK_MONOTONIC */
    /* 320 */
    int64_t cross_sequence;
    int64_t match_ms;
    int64_t push_ms;
    int64_t receive_ns;
    int64_t record;    /* sequence of the frame in the collector's journal */
    int32_t count[2];  /* levels that are here, bids and asks */
    int32_t held[2];   /* levels that the writer holds */
    uint64_t digest;   /* of all that it holds (docs/verify.md) */
    /* 384 */
    char more[128];
} tapebook_book_file; /* 512 bytes */

#define TAPEBOOK_MARKS 64
#define TAPEBOOK_LEAST_RING 65536
#define TAPEBOOK_MOST_RING (UINT64_C(1) << 32)

typedef struct {
    char magic[8];
    uint32_t version;
    uint32_t header_bytes; /* where the ring begins */
    uint64_t file_bytes;
    uint64_t token;
    int64_t writer_pid;
    uint64_t ring_bytes; /* a power of two */
    char unused[80];
    /* 128: positions are bytes since the start, and never go back */
    uint64_t reserved; /* what is more than ring_bytes behind this is gone, or going */
    char apart[56];
    /* 192 */
    uint64_t written; /* entries end here */
    uint64_t entries; /* how many there were */
    char apart_too[48];
    /* 256 */
    uint64_t marks[TAPEBOOK_MARKS]; /* where the first entry begins in each 64th of the ring */
} tapebook_tape_file; /* 768 bytes */

enum { TAPEBOOK_PADDING = 0, TAPEBOOK_BOOK_CHANGE, TAPEBOOK_TRADES, TAPEBOOK_STATE_CHANGE };
enum { TAPEBOOK_IS_SNAPSHOT = 1, TAPEBOOK_LEVELS_OMITTED = 2, TAPEBOOK_NAMES_SYMBOLS = 4, TAPEBOOK_FEED_IS_ENDED = 8 };

typedef struct {
    uint32_t bytes; /* of the whole entry, a multiple of 8 */
    uint8_t type;
    uint8_t flags;
    uint8_t state; /* of the feed, behind it */
    uint8_t cause; /* as in the book */
    uint64_t ordinal; /* of the entry, from 1 on: what is missing between two was lost */
    int32_t feed;
    int8_t price_exponent;
    int8_t size_exponent;
    uint16_t spare;
    int64_t update_id;
    int64_t cross_sequence;
    int64_t match_ms;
    int64_t push_ms;
    int64_t receive_ns;
    int64_t record;
    int64_t published_ns;
    uint32_t count[2]; /* levels of bids and asks, which follow as the message had them; or trades */
} tapebook_entry; /* 88 bytes; then tapebook_level[], or tapebook_trade[] */

enum { TAPEBOOK_SELL = 1, TAPEBOOK_BLOCK = 2, TAPEBOOK_RPI = 4 };

typedef struct {
    int64_t price;
    int64_t size;
    int64_t match_ms;
    int64_t cross_sequence;
    int8_t price_exponent;
    int8_t size_exponent;
    uint8_t flags; /* the taker's side; not a sell: a buy */
    uint8_t spare[5];
} tapebook_trade; /* 40 bytes; where the entry names symbols, 72 bytes of text follow each, ending with NUL */

#define TAPEBOOK_SYMBOL_BYTES 72

#if defined(__cplusplus)
#define TAPEBOOK_ASSERT(condition, text) static_assert(condition, text)
#else
#define TAPEBOOK_ASSERT(condition, text) _Static_assert(condition, text)
#endif
TAPEBOOK_ASSERT(sizeof(tapebook_control) == 320 && offsetof(tapebook_control, heartbeat_ns) == 256, "layout");
TAPEBOOK_ASSERT(sizeof(tapebook_topic) == 192, "layout");
TAPEBOOK_ASSERT(sizeof(tapebook_book_file) == 512 && offsetof(tapebook_book_file, lock) == 256 &&
                    offsetof(tapebook_book_file, cross_sequence) == 320,
                "layout");
TAPEBOOK_ASSERT(sizeof(tapebook_tape_file) == 768 && offsetof(tapebook_tape_file, written) == 192, "layout");
TAPEBOOK_ASSERT(sizeof(tapebook_entry) == 88 && sizeof(tapebook_trade) == 40, "layout");

/* ---- the sequence lock ----
 *
 * Writer: lock odd (relaxed), release fence, the data (relaxed), lock even (release).
 * Reader: lock (acquire), the data (relaxed), acquire fence, lock again (relaxed): unchanged and even, or it was no state.
 * A reader whose data came from a later write sees that write's odd lock behind its fence, so nothing torn passes. */

#define TAPEBOOK_GET(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define TAPEBOOK_SPINS 200 /* looks at a lock that is odd, before others get the processor */

static inline void tapebook_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* ---- what is mapped ----
 *
 * The sizes in a header are looked at once, against what is mapped; from then on a reader goes by its own copy of them. */

enum {
    TAPEBOOK_GOOD = 0,
    TAPEBOOK_OTHER_KIND,    /* no such file */
    TAPEBOOK_OTHER_VERSION, /* of the layout */
    TAPEBOOK_CUT,           /* shorter than its header says */
    TAPEBOOK_DAMAGED,       /* sizes that don't agree */
    TAPEBOOK_OTHER_START    /* of the collector than the control file */
};

typedef struct {
    const tapebook_control *control;
    const tapebook_topic *topics;
    uint32_t topic_capacity;
    int64_t timeout_ns;
    uint64_t token;
} tapebook_collector;

typedef struct {
    const tapebook_book_file *file;
    const tapebook_level *sides[2]; /* bids, asks */
    uint32_t capacity;
    tapebook_collector collector;
} tapebook_book;

typedef struct {
    const tapebook_tape_file *file;
    const char *ring;
    uint64_t ring_bytes;
    uint64_t position;
    uint64_t next; /* ordinal that is due; 0: not known */
    uint64_t lost; /* entries that were overwritten before they were read */
    tapebook_collector collector;
} tapebook_tape;

/* All files begin alike: magic, version, where the header ends, the file's length, the token. */
static inline int tapebook_check(const void *memory, size_t bytes, const char *magic, size_t header)
{
    const tapebook_control *head = (const tapebook_control *)memory;
    if (bytes < 32 || memcmp(head->magic, magic, 8) != 0)
        return TAPEBOOK_OTHER_KIND;
    if (head->version != TAPEBOOK_VERSION)
        return TAPEBOOK_OTHER_VERSION;
    if (bytes < header || head->file_bytes > bytes)
        return TAPEBOOK_CUT;
    return head->header_bytes < header || head->header_bytes % 8 || head->header_bytes > bytes ? TAPEBOOK_DAMAGED : TAPEBOOK_GOOD;
}

static inline int tapebook_attach_collector(tapebook_collector *collector, const void *memory, size_t bytes)
{
    const int found = tapebook_check(memory, bytes, TAPEBOOK_CONTROL_MAGIC, sizeof(tapebook_control));
    if (found != TAPEBOOK_GOOD)
        return found;
    const tapebook_control *control = (const tapebook_control *)memory;
    const uint64_t header = control->header_bytes;
    collector->control = control;
    collector->topics = (const tapebook_topic *)(const void *)((const char *)memory + header);
    collector->topic_capacity = control->topic_capacity;
    collector->timeout_ns = control->timeout_ns;
    collector->token = control->token;
    return control->topic_bytes != sizeof(tapebook_topic) || collector->topic_capacity > TAPEBOOK_MAX_TOPICS ||
                   header + (uint64_t)collector->topic_capacity * sizeof(tapebook_topic) > bytes ||
                   collector->timeout_ns <= 0 || collector->timeout_ns > INT64_C(3600000000000)
               ? TAPEBOOK_DAMAGED
               : TAPEBOOK_GOOD;
}

static inline int tapebook_attach_book(tapebook_book *book, const void *memory, size_t bytes, const tapebook_collector *collector)
{
    const int found = tapebook_check(memory, bytes, TAPEBOOK_BOOK_MAGIC, sizeof(tapebook_book_file));
    if (found != TAPEBOOK_GOOD)
        return found;
    const tapebook_book_file *file = (const tapebook_book_file *)memory;
    const uint64_t header = file->header_bytes;
    book->file = file;
    book->capacity = file->capacity;
    book->sides[0] = (const tapebook_level *)(const void *)((const char *)memory + header);
    book->sides[1] = book->sides[0] + book->capacity;
    book->collector = *collector;
    if (book->capacity == 0 || book->capacity > 32767 || header + 2 * (uint64_t)book->capacity * sizeof(tapebook_level) > bytes)
        return TAPEBOOK_DAMAGED;
    return file->token == collector->token ? TAPEBOOK_GOOD : TAPEBOOK_OTHER_START;
}

/* ---- whether it may be believed ---- */

/* How many topics there are now; the rows below are whole. */
static inline uint32_t tapebook_topic_count(const tapebook_collector *collector)
{
    const uint32_t count = __atomic_load_n(&collector->control->topic_count, __ATOMIC_ACQUIRE);
    return count < collector->topic_capacity ? count : collector->topic_capacity;
}

/* What the control file says of the writer at a moment of CLOCK_MONOTONIC. */
static inline int tapebook_writer(const tapebook_collector *collector, int64_t now_ns)
{
    const uint32_t status = __atomic_load_n(&collector->control->status, __ATOMIC_ACQUIRE);
    if (status == TAPEBOOK_STOPPED)
        return TAPEBOOK_WRITER_GONE;
    if (status == TAPEBOOK_REPLACED)
        return TAPEBOOK_WRITER_REPLACED;
    const int64_t beat_ns = TAPEBOOK_GET(collector->control->heartbeat_ns);
    if (now_ns > beat_ns ? (uint64_t)now_ns - (uint64_t)beat_ns > (uint64_t)collector->timeout_ns
                         : (uint64_t)beat_ns - (uint64_t)now_ns > (uint64_t)collector->timeout_ns) /* of another boot */
        return TAPEBOOK_WRITER_DEAD;
    if (status == TAPEBOOK_PAUSED)
        return TAPEBOOK_READING_PAUSED;
    return status == TAPEBOOK_RUNNING ? TAPEBOOK_FINE : TAPEBOOK_WRITER_DEAD;
}

/* The same for one of its books. */
static inline int tapebook_trouble_at(const tapebook_book *book, int64_t now_ns)
{
    const int trouble = tapebook_writer(&book->collector, now_ns);
    return trouble == TAPEBOOK_FINE && (TAPEBOOK_GET(book->file->flags) & TAPEBOOK_ENDED) ? TAPEBOOK_FEED_ENDED : trouble;
}

/* ---- one look at a book ---- */

/* The version that may be read now; an odd one: after many looks the writer was still at it, or has died there. */
static inline uint64_t tapebook_begin(const tapebook_book *book)
{
    uint64_t version = 1;
    for (int i = 0; i < TAPEBOOK_SPINS; i++) {
        version = __atomic_load_n(&book->file->lock, __ATOMIC_ACQUIRE);
        if (!(version & 1))
            break;
        tapebook_pause();
    }
    return version;
}

/* Whether all that was read since then is of that one version. */
static inline int tapebook_unchanged(const tapebook_book *book, uint64_t version)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return !(version & 1) && __atomic_load_n(&book->file->lock, __ATOMIC_RELAXED) == version;
}

typedef struct {
    tapebook_level bid, ask;
    int64_t update_id, published_ns;
    uint8_t state, flags;
    int8_t price_exponent, size_exponent;
} tapebook_quote;

/* The best levels; 0: the writer was at it meanwhile, so look again. */
static inline int tapebook_look(const tapebook_book *book, tapebook_quote *quote)
{
    const tapebook_book_file *file = book->file;
    const uint64_t version = tapebook_begin(book);
    quote->bid.price = TAPEBOOK_GET(file->best[0].price);
    quote->bid.size = TAPEBOOK_GET(file->best[0].size);
    quote->ask.price = TAPEBOOK_GET(file->best[1].price);
    quote->ask.size = TAPEBOOK_GET(file->best[1].size);
    quote->update_id = TAPEBOOK_GET(file->update_id);
    quote->published_ns = TAPEBOOK_GET(file->published_ns);
    quote->state = TAPEBOOK_GET(file->state);
    quote->flags = TAPEBOOK_GET(file->flags);
    quote->price_exponent = TAPEBOOK_GET(file->price_exponent);
    quote->size_exponent = TAPEBOOK_GET(file->size_exponent);
    return tapebook_unchanged(book, version);
}

typedef struct {
    int64_t update_id, cross_sequence, match_ms, push_ms, receive_ns, published_ns, record;
    uint64_t digest, version;
    int32_t count[2]; /* levels that were copied, bids and asks */
    int32_t held[2];
    uint8_t state, flags, cause;
    int8_t price_exponent, size_exponent;
} tapebook_snapshot;

/* The whole book, up to `depth` levels a side; 0: look again. */
static inline int tapebook_copy(const tapebook_book *book, tapebook_snapshot *snapshot, tapebook_level *bids,
                                tapebook_level *asks, uint32_t depth)
{
    const tapebook_book_file *file = book->file;
    const uint32_t most = depth < book->capacity ? depth : book->capacity;
    const uint64_t version = tapebook_begin(book);
    snapshot->version = version;
    snapshot->update_id = TAPEBOOK_GET(file->update_id);
    snapshot->cross_sequence = TAPEBOOK_GET(file->cross_sequence);
    snapshot->match_ms = TAPEBOOK_GET(file->match_ms);
    snapshot->push_ms = TAPEBOOK_GET(file->push_ms);
    snapshot->receive_ns = TAPEBOOK_GET(file->receive_ns);
    snapshot->published_ns = TAPEBOOK_GET(file->published_ns);
    snapshot->record = TAPEBOOK_GET(file->record);
    snapshot->digest = TAPEBOOK_GET(file->digest);
    snapshot->state = TAPEBOOK_GET(file->state);
    snapshot->flags = TAPEBOOK_GET(file->flags);
    snapshot->cause = TAPEBOOK_GET(file->cause);
    snapshot->price_exponent = TAPEBOOK_GET(file->price_exponent);
    snapshot->size_exponent = TAPEBOOK_GET(file->size_exponent);
    for (int side = 0; side < 2; side++) {
        const tapebook_level *from = book->sides[side];
        tapebook_level *to = side ? asks : bids;
        int32_t count = TAPEBOOK_GET(file->count[side]);
        if (count < 0 || (uint32_t)count > most) /* torn, perhaps: never beyond what was asked for */
            count = (int32_t)most;
        snapshot->count[side] = count;
        snapshot->held[side] = TAPEBOOK_GET(file->held[side]);
        for (int32_t i = 0; i < count; i++) {
            to[i].price = TAPEBOOK_GET(from[i].price);
            to[i].size = TAPEBOOK_GET(from[i].size);
        }
    }
    return tapebook_unchanged(book, version);
}

/* ---- the tape ---- */

static inline void tapebook_tape_end(tapebook_tape *tape);

/* At its end. */
static inline int tapebook_attach_tape(tapebook_tape *tape, const void *memory, size_t bytes, const tapebook_collector *collector)
{
    const int found = tapebook_check(memory, bytes, TAPEBOOK_TAPE_MAGIC, sizeof(tapebook_tape_file));
    if (found != TAPEBOOK_GOOD)
        return found;
    const tapebook_tape_file *file = (const tapebook_tape_file *)memory;
    const uint64_t header = file->header_bytes, ring = file->ring_bytes;
    memset(tape, 0, sizeof *tape);
    tape->file = file;
    tape->ring = (const char *)memory + header;
    tape->ring_bytes = ring;
    tape->collector = *collector;
    if (ring < TAPEBOOK_LEAST_RING || ring > TAPEBOOK_MOST_RING || (ring & (ring - 1)) || header + ring > bytes)
        return TAPEBOOK_DAMAGED;
    tapebook_tape_end(tape);
    return file->token == collector->token ? TAPEBOOK_GOOD : TAPEBOOK_OTHER_START;
}

/* Behind what is written: what comes from now on. */
static inline void tapebook_tape_end(tapebook_tape *tape)
{
    const tapebook_tape_file *file = tape->file;
    tape->next = 0;
    for (int i = 0; i < TAPEBOOK_SPINS && !tape->next; i++) {
        tape->position = __atomic_load_n(&file->written, __ATOMIC_ACQUIRE);
        const uint64_t entries = TAPEBOOK_GET(file->entries);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (TAPEBOOK_GET(file->reserved) == tape->position) /* so the two belong together */
            tape->next = entries + 1;
    }
}

/* To an entry as far back as half the ring. */
static inline void tapebook_tape_back(tapebook_tape *tape)
{
    const tapebook_tape_file *file = tape->file;
    const uint64_t ring = tape->ring_bytes, sector = ring / TAPEBOOK_MARKS;
    const uint64_t written = __atomic_load_n(&file->written, __ATOMIC_ACQUIRE);
    uint64_t at = written > ring / 2 ? (written - ring / 2) / sector : 0;
    for (int i = 0; i < TAPEBOOK_MARKS && at * sector < written; i++, at++) {
        const uint64_t mark = TAPEBOOK_GET(file->marks[at % TAPEBOOK_MARKS]);
        if (mark / sector == at && mark < written && mark % 8 == 0) {
            tape->position = mark;
            return;
        }
    }
    tape->position = written;
}

/* Copies the next entry, whole, into `out` (aligned as an entry is). Returns its bytes; 0: there is none now; -1: it is larger
 * than `room`: *out has as much of its first 88 bytes as fits, and it is passed by. What was overwritten is counted in `lost`. */
static inline int64_t tapebook_tape_read(tapebook_tape *tape, void *out, size_t room)
{
    const tapebook_tape_file *file = tape->file;
    const uint64_t ring = tape->ring_bytes;
    const char *data = tape->ring;
    for (int tries = 0; tries < 64; tries++) {
        const uint64_t written = __atomic_load_n(&file->written, __ATOMIC_ACQUIRE);
        if (tape->position == written)
            return 0;
        if (tape->position > written || written - tape->position > ring || tape->position % 8) {
            tapebook_tape_back(tape);
            continue;
        }
        const uint64_t *from = (const uint64_t *)(const void *)(data + (tape->position & (ring - 1)));
        const uint64_t first = TAPEBOOK_GET(from[0]);
        uint32_t bytes;
        uint8_t type;
        uint64_t whole[sizeof(tapebook_entry) / 8];
        uint64_t *to = (uint64_t *)out;
        memcpy(&bytes, &first, sizeof bytes);
        memcpy(&type, (const char *)&first + 4, 1);
        /* torn, perhaps: judged before anything is believed */
        const int sound = bytes >= 8 && bytes % 8 == 0 && bytes <= ring - (tape->position & (ring - 1));
        const int fits = sound && bytes <= room && bytes >= sizeof(tapebook_entry);
        if (fits && type != TAPEBOOK_PADDING)
            for (uint32_t i = 0; i < bytes / 8; i++) {
                const uint64_t word = TAPEBOOK_GET(from[i]);
                memcpy(to + i, &word, 8);
            }
        else if (sound && bytes >= sizeof(tapebook_entry))
            for (uint32_t i = 0; i < sizeof(tapebook_entry) / 8; i++)
                whole[i] = TAPEBOOK_GET(from[i]);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (TAPEBOOK_GET(file->reserved) - tape->position > ring || !sound) {
            tapebook_tape_back(tape);
            continue;
        }
        if (type == TAPEBOOK_PADDING) {
            tape->position += bytes;
            continue;
        }
        uint64_t ordinal;
        memcpy(&ordinal, (fits ? (const char *)out : (const char *)whole) + offsetof(tapebook_entry, ordinal), 8);
        if (tape->next && ordinal > tape->next)
            tape->lost += ordinal - tape->next;
        tape->next = ordinal + 1;
        tape->position += bytes;
        if (!fits) {
            memcpy(out, whole, room < sizeof whole ? room : sizeof whole);
            return -1;
        }
        return (int64_t)bytes;
    }
    return 0;
}

/* ---- files ---- */

#if !defined(TAPEBOOK_WITHOUT_FILES)

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TAPEBOOK_PATH_BYTES 4096

/* The clock that heartbeats and published_ns are on. */
static inline int64_t tapebook_now_ns(void)
{
    struct timespec now;
#if defined(__APPLE__)
    clock_gettime(CLOCK_UPTIME_RAW, &now);
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return (int64_t)now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* What is open, and what it takes to close it. */
typedef struct {
    tapebook_book book;
    size_t control_bytes, file_bytes;
} tapebook_open_book;

static inline const char *tapebook_words(int found)
{
    static const char *const words[] = {
        "", "is another kind of file", "is of another version: build this program with the recorder's header", "was cut",
        "is damaged", "is of another start of the collector: open it again"};
    return words[found];
}

/* Puts three pieces of text together, as far as there is room. */
static inline void tapebook_say(char *why, size_t room, const char *path, const char *name, const char *words)
{
    const char *const pieces[] = {path, name[0] ? "/" : "", name, ": ", words};
    size_t used = 0;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        for (const char *p = pieces[i]; *p && used + 1 < room; p++)
            why[used++] = *p;
    if (room)
        why[used] = 0;
}

/* Maps a file, whole; NULL, with words in `why`, where it can't be. */
static inline const void *tapebook_map(const char *directory, const char *name, size_t *bytes, char *why, size_t room)
{
    char path[TAPEBOOK_PATH_BYTES];
    struct stat found;
    const void *at = MAP_FAILED;
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path) {
        tapebook_say(why, room, directory, name, "the path is too long");
        return NULL;
    }
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0 || fstat(descriptor, &found) != 0) {
        tapebook_say(why, room, directory, name, errno == ENOENT ? "nobody publishes it" : strerror(errno));
    } else if (!S_ISREG(found.st_mode) || found.st_size <= 0) {
        tapebook_say(why, room, directory, name, "is empty, or no regular file");
    } else {
        *bytes = (size_t)found.st_size;
        at = mmap(NULL, *bytes, PROT_READ, MAP_SHARED, descriptor, 0);
        if (at == MAP_FAILED)
            tapebook_say(why, room, directory, name, strerror(errno));
    }
    if (descriptor >= 0)
        close(descriptor);
    return at == MAP_FAILED ? NULL : at;
}

static inline void tapebook_unmap(const void *memory, size_t bytes)
{
    if (memory)
        munmap((void *)(uintptr_t)memory, bytes);
}

/* Opens what a collector says of itself, in its directory: <data directory>/live/<collector>. 0, or -1 with words in `why`. */
static inline int tapebook_open_collector(tapebook_collector *collector, size_t *bytes, const char *directory, char *why,
                                          size_t room)
{
    memset(collector, 0, sizeof *collector);
    const void *memory = tapebook_map(directory, "control", bytes, why, room);
    const int found = memory ? tapebook_attach_collector(collector, memory, *bytes) : TAPEBOOK_GOOD;
    if (memory && found == TAPEBOOK_GOOD)
        return 0;
    if (memory)
        tapebook_say(why, room, directory, "control", tapebook_words(found));
    tapebook_unmap(memory, *bytes);
    memset(collector, 0, sizeof *collector);
    return -1;
}

static inline void tapebook_close(tapebook_open_book *open)
{
    tapebook_unmap(open->book.file, open->file_bytes);
    tapebook_unmap(open->book.collector.control, open->control_bytes);
    memset(open, 0, sizeof *open);
}

/* Opens the book of a topic. 0, or -1 with words in `why`. */
static inline int tapebook_open(tapebook_open_book *open, const char *directory, const char *topic, char *why, size_t room)
{
    char name[32];
    tapebook_collector collector;
    memset(open, 0, sizeof *open);
    if (tapebook_open_collector(&collector, &open->control_bytes, directory, why, room) != 0)
        return -1;
    const uint32_t count = tapebook_topic_count(&collector);
    uint32_t feed = 0;
    while (feed < count && (strncmp(collector.topics[feed].topic, topic, sizeof collector.topics[feed].topic) != 0 ||
                            !collector.topics[feed].has_book))
        feed++;
    if (feed < count) {
        snprintf(name, sizeof name, "%u.book", feed);
        const void *memory = tapebook_map(directory, name, &open->file_bytes, why, room);
        const int found = memory ? tapebook_attach_book(&open->book, memory, open->file_bytes, &collector) : TAPEBOOK_GOOD;
        if (memory && found == TAPEBOOK_GOOD)
            return 0;
        if (memory)
            tapebook_say(why, room, directory, name, tapebook_words(found));
        open->book.file = (const tapebook_book_file *)memory;
    } else {
        tapebook_say(why, room, directory, topic, "no such book is published there");
    }
    open->book.collector = collector;
    tapebook_close(open);
    return -1;
}

/* Opens a collector's tape at its end. 0, or -1 with words in `why`. */
static inline int tapebook_open_tape(tapebook_tape *tape, const tapebook_collector *collector, const char *directory, char *why,
                                     size_t room)
{
    size_t bytes = 0;
    const void *memory = tapebook_map(directory, "tape", &bytes, why, room);
    const int found = memory ? tapebook_attach_tape(tape, memory, bytes, collector) : TAPEBOOK_GOOD;
    if (memory && found == TAPEBOOK_GOOD)
        return 0;
    if (memory)
        tapebook_say(why, room, directory, "tape", tapebook_words(found));
    tapebook_unmap(memory, bytes);
    memset(tape, 0, sizeof *tape);
    return -1;
}

/* Else a program that opens a tape again with each start of the collector holds the memory of them all. */
static inline void tapebook_close_tape(tapebook_tape *tape)
{
    if (tape->file)
        tapebook_unmap(tape->file, (size_t)(tape->ring - (const char *)tape->file) + (size_t)tape->ring_bytes);
    memset(tape, 0, sizeof *tape);
}

/* Why the book can't be believed now, though it may say LIVE; TAPEBOOK_FINE where there is no such reason. */
static inline int tapebook_trouble(const tapebook_book *book)
{
    return tapebook_trouble_at(book, tapebook_now_ns());
}

/* Whether to look again: the writer may have lost its processor in the midst of a change, or its life. */
static inline int tapebook_may_wait(const tapebook_book *book, int64_t *until_ns)
{
    const int64_t now_ns = tapebook_now_ns();
    const int trouble = tapebook_writer(&book->collector, now_ns);
    if (!*until_ns)
        *until_ns = now_ns + book->collector.timeout_ns;
    sched_yield();
    return now_ns < *until_ns && (trouble == TAPEBOOK_FINE || trouble == TAPEBOOK_READING_PAUSED);
}

/* The best levels, all of one state. Returns TAPEBOOK_FINE, or why nothing of it may be believed; and even then the state
 * has to be TAPEBOOK_LIVE. Waits for a writer in the midst of a change, a heartbeat's timeout at most. */
static inline int tapebook_best(const tapebook_book *book, tapebook_quote *quote)
{
    int64_t until_ns = 0;
    while (!tapebook_look(book, quote))
        if (!tapebook_may_wait(book, &until_ns)) {
            memset(quote, 0, sizeof *quote);
            quote->state = TAPEBOOK_STALE;
            const int trouble = tapebook_trouble(book);
            return trouble ? trouble : TAPEBOOK_NOT_WHOLE;
        }
    return tapebook_trouble(book);
}

/* The same for up to `depth` levels a side, for which there has to be room in both arrays. */
static inline int tapebook_read(const tapebook_book *book, tapebook_snapshot *snapshot, tapebook_level *bids,
                                tapebook_level *asks, uint32_t depth)
{
    int64_t until_ns = 0;
    while (!tapebook_copy(book, snapshot, bids, asks, depth))
        if (!tapebook_may_wait(book, &until_ns)) {
            memset(snapshot, 0, sizeof *snapshot);
            snapshot->state = TAPEBOOK_STALE;
            const int trouble = tapebook_trouble(book);
            return trouble ? trouble : TAPEBOOK_NOT_WHOLE;
        }
    return tapebook_trouble(book);
}

#endif /* TAPEBOOK_WITHOUT_FILES */

#endif
