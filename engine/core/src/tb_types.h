/* Shared vocabulary of the C core: causes, states, kinds. Values are mirrored in schemas/names.py where they
 * reach a file; the order here is the order there. Nothing in this directory knows Python. */
#ifndef TB_TYPES_H
#define TB_TYPES_H

#include <stddef.h>
#include <stdint.h>

#if !defined(__GNUC__)
#error "the core needs __int128 and the overflow builtins of gcc or clang"
#endif

#define TB_LIKELY(x) __builtin_expect(!!(x), 1)
#define TB_INLINE static inline __attribute__((always_inline))
#define TB_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* On a function whose loops gain from wider vectors: it is compiled for several machines, and the best is chosen once, when
 * the library is loaded. Only gcc with glibc can; and sanitizers must be running before anything is chosen. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__clang__)
#define TB_VECTORS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TB_VECTORS
#endif

typedef __int128 tb_int128;

/* "No such value" for times and ids; the decoder only lets non-negative ones in. */
#define TB_NONE (-1)

/* Why a frame could not be decoded. 0 is fine. */
typedef enum {
    TB_OK = 0,
    TB_NOT_JSON,        /* not one JSON object, invalid UTF-8, nested too deep */
    TB_MISSING_KEY,     /* a key that the topic needs is not there */
    TB_DUPLICATE_KEY,   /* a known key twice in one object */
    TB_WRONG_TYPE,      /* a value of another JSON type than documented */
    TB_BAD_NUMBER,      /* a decimal text or an integer outside the grammar or the range */
    TB_DECIMAL,         /* a number that int64 or DECIMAL(38,18) can't hold exactly */
    TB_BAD_VALUE,       /* an enum value, id or text that can't be stored */
    TB_WRONG_SYMBOL,    /* data names another symbol than the topic */
    TB_DUPLICATE_LEVEL, /* one price twice on one side of one frame */
    TB_NO_MEMORY,
    TB_ERROR_COUNT
} tb_error;

typedef enum { TB_EMPTY = 0, TB_SYNCING, TB_LIVE, TB_STALE } tb_state;

typedef enum {
    TB_CAUSE_LOST = 0,
    TB_CAUSE_UNDECODABLE,
    TB_CAUSE_DISCONNECT,
    TB_CAUSE_SILENCE,
    TB_CAUSE_NO_SNAPSHOT,
    TB_CAUSE_CRASH,
    TB_CAUSE_CROSSED,
    TB_CAUSE_OVERFLOW,
    TB_CAUSE_RESET,
    TB_CAUSE_DISAGREEMENT,
    TB_CAUSE_COUNT
} tb_cause;

typedef enum { TB_BY_SNAPSHOT = 0, TB_BY_MESSAGE, TB_BY_SUBSCRIBED, TB_BY_END, TB_BY_GAP } tb_healer;

/* A driven feed's frames are routed here and read elsewhere: by a driver (tb_driven.c). RPI: a book whose levels have two sizes,
 * [price, size, size of retail-price-improvement orders] (protocol section 3.2). */
typedef enum { TB_KIND_BOOK = 0, TB_KIND_TRADES, TB_KIND_TICKER, TB_KIND_DRIVEN, TB_KIND_RPI } tb_feed_kind;

/* Stands for "all of it" where a depth is asked for: of orderbook.full (protocol section 3.3). */
#define TB_FULL_DEPTH 32767

typedef enum { TB_SNAPSHOT = 0, TB_DELTA, TB_KEYFRAME } tb_row_kind;

typedef struct {
    const uint8_t *at;
    uint32_t length;
    uint32_t escaped; /* the text holds backslash escapes */
} tb_slice;

#endif
