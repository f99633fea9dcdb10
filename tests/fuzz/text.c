#include "text.h"

#include <string.h>

int fuzz_is_full(const fuzz_text *out)
{
    return out->length + FUZZ_ROOM_AT_THE_END > FUZZ_MAX_FRAME;
}

void fuzz_put(fuzz_text *out, const char *text)
{
    fuzz_put_bytes(out, text, strlen(text));
}

void fuzz_put_bytes(fuzz_text *out, const void *bytes, size_t n)
{
    if (out->length + n <= FUZZ_MAX_FRAME) {
        memcpy(out->bytes + out->length, bytes, n);
        out->length += n;
    }
}

void fuzz_put_digits(fuzz_text *out, uint64_t value, unsigned least)
{
    char text[24];
    size_t at = sizeof text;
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value || sizeof text - at < least);
    fuzz_put_bytes(out, text + at, sizeof text - at);
}

void fuzz_put_number(fuzz_text *out, int64_t value)
{
    if (value < 0)
        fuzz_put(out, "-");
    fuzz_put_digits(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1);
}
