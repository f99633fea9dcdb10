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
 * docs/live-books.md tells more. C11 or C++11 with gcc or clang; nothing to link with. */
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
    char unused[48];
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
#define TAPEBOOK_SPINS 2000

static inline void tapebook_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* The version that may be read now; an odd one: after many looks the writer was still at it, or has died there. */
static inline uint64_t tapebook_begin(const tapebook_book_file *book)
{
    uint64_t version = 1;
    for (int i = 0; i < TAPEBOOK_SPINS; i++) {
        version = __atomic_load_n(&book->lock, __ATOMIC_ACQUIRE);
        if (!(version & 1))
            break;
        tapebook_pause();
    }
    return version;
}

/* Whether all that was read since then is of that one version. */
static inline int tapebook_unchanged(const tapebook_book_file *book, uint64_t version)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return !(version & 1) && __atomic_load_n(&book->lock, __ATOMIC_RELAXED) == version;
}

static inline const tapebook_level *tapebook_side(const tapebook_book_file *book, int side)
{
    return (const tapebook_level *)((const char *)book + book->header_bytes) + (side ? book->capacity : 0);
}

/* What the control file says of the writer at a moment of CLOCK_MONOTONIC. */
static inline int tapebook_writer(const tapebook_control *control, int64_t now_ns)
{
    const uint32_t status = __atomic_load_n(&control->status, __ATOMIC_ACQUIRE);
    if (status == TAPEBOOK_STOPPED)
        return TAPEBOOK_WRITER_GONE;
    if (status == TAPEBOOK_REPLACED)
        return TAPEBOOK_WRITER_REPLACED;
    const int64_t age_ns = now_ns - TAPEBOOK_GET(control->heartbeat_ns);
    if (age_ns > control->timeout_ns || age_ns < -control->timeout_ns) /* or of another boot */
        return TAPEBOOK_WRITER_DEAD;
    if (status == TAPEBOOK_PAUSED)
        return TAPEBOOK_READING_PAUSED;
    return status == TAPEBOOK_RUNNING ? TAPEBOOK_FINE : TAPEBOOK_WRITER_DEAD;
}

typedef struct {
    tapebook_level bid, ask;
    int64_t update_id, published_ns;
    uint8_t state, flags;
    int8_t price_exponent, size_exponent;
} tapebook_quote;

/* One look at the best levels; 0: the writer was at it meanwhile, so look again. */
static inline int tapebook_look(const tapebook_book_file *book, uint64_t version, tapebook_quote *quote)
{
    quote->bid.price = TAPEBOOK_GET(book->best[0].price);
    quote->bid.size = TAPEBOOK_GET(book->best[0].size);
    quote->ask.price = TAPEBOOK_GET(book->best[1].price);
    quote->ask.size = TAPEBOOK_GET(book->best[1].size);
    quote->update_id = TAPEBOOK_GET(book->update_id);
    quote->published_ns = TAPEBOOK_GET(book->published_ns);
    quote->state = TAPEBOOK_GET(book->state);
    quote->flags = TAPEBOOK_GET(book->flags);
    quote->price_exponent = TAPEBOOK_GET(book->price_exponent);
    quote->size_exponent = TAPEBOOK_GET(book->size_exponent);
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

/* One look at the whole book, up to `depth` levels a side; 0: look again. */
static inline int tapebook_copy(const tapebook_book_file *book, uint64_t version, tapebook_snapshot *snapshot,
                                tapebook_level *bids, tapebook_level *asks, uint32_t depth)
{
    const uint32_t most = depth < book->capacity ? depth : book->capacity;
    snapshot->version = version;
    snapshot->update_id = TAPEBOOK_GET(book->update_id);
    snapshot->cross_sequence = TAPEBOOK_GET(book->cross_sequence);
    snapshot->match_ms = TAPEBOOK_GET(book->match_ms);
    snapshot->push_ms = TAPEBOOK_GET(book->push_ms);
    snapshot->receive_ns = TAPEBOOK_GET(book->receive_ns);
    snapshot->published_ns = TAPEBOOK_GET(book->published_ns);
    snapshot->record = TAPEBOOK_GET(book->record);
    snapshot->digest = TAPEBOOK_GET(book->digest);
    snapshot->state = TAPEBOOK_GET(book->state);
    snapshot->flags = TAPEBOOK_GET(book->flags);
    snapshot->cause = TAPEBOOK_GET(book->cause);
    snapshot->price_exponent = TAPEBOOK_GET(book->price_exponent);
    snapshot->size_exponent = TAPEBOOK_GET(book->size_exponent);
    for (int side = 0; side < 2; side++) {
        const tapebook_level *from = tapebook_side(book, side);
        tapebook_level *to = side ? asks : bids;
        int32_t count = TAPEBOOK_GET(book->count[side]);
        if (count < 0 || (uint32_t)count > most) /* torn, perhaps: never beyond what was asked for */
            count = (int32_t)most;
        snapshot->count[side] = count;
        snapshot->held[side] = TAPEBOOK_GET(book->held[side]);
        for (int32_t i = 0; i < count; i++) {
            to[i].price = TAPEBOOK_GET(from[i].price);
            to[i].size = TAPEBOOK_GET(from[i].size);
        }
    }
    return tapebook_unchanged(book, version);
}

/* ---- the tape ---- */

typedef struct {
    const tapebook_tape_file *file;
    uint64_t position;
    uint64_t next;  /* ordinal that is due; 0: not known yet */
    uint64_t lost;  /* entries that were overwritten before they were read */
} tapebook_tape;

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
    const uint64_t sector = file->ring_bytes / TAPEBOOK_MARKS;
    const uint64_t written = __atomic_load_n(&file->written, __ATOMIC_ACQUIRE);
    uint64_t at = written > file->ring_bytes / 2 ? (written - file->ring_bytes / 2) / sector : 0;
    for (; at * sector < written; at++) {
        const uint64_t mark = TAPEBOOK_GET(file->marks[at % TAPEBOOK_MARKS]);
        if (mark / sector == at && mark < written) {
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
    const uint64_t ring = file->ring_bytes;
    const char *data = (const char *)file + file->header_bytes;
    for (int tries = 0; tries < 64; tries++) {
        const uint64_t written = __atomic_load_n(&file->written, __ATOMIC_ACQUIRE);
        if (tape->position == written)
            return 0;
        if (tape->position > written || written - tape->position > ring) {
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

#endif
