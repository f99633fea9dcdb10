/* Text of frames that are composed. What has no room is left out. */
#ifndef TB_FUZZ_TEXT_H
#define TB_FUZZ_TEXT_H

#include "target.h"

#define FUZZ_ROOM_AT_THE_END 512 /* a frame is closed while there is room for its tail */

typedef struct {
    uint8_t *bytes; /* FUZZ_MAX_FRAME of them */
    size_t length;
} fuzz_text;

int fuzz_is_full(const fuzz_text *out);
void fuzz_put(fuzz_text *out, const char *text);
void fuzz_put_bytes(fuzz_text *out, const void *bytes, size_t n);
/* `least` digits at least */
void fuzz_put_digits(fuzz_text *out, uint64_t value, unsigned least);
void fuzz_put_number(fuzz_text *out, int64_t value);

#endif
