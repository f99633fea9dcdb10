/* Columns of the tables as whole numbers and bytes, which is how their files hold them. */
#ifndef TB_COLUMNS_H
#define TB_COLUMNS_H

#include "tb_types.h"

/* Of texts of 36 bytes each, one behind the other, the 16 bytes that each means as a UUID in lower case with hyphens. 0 where one
 * is none. */
int tb_uuid_bytes(const uint8_t *texts, int64_t count, uint8_t *out);

/* Numbers of 128 bits, low word first; those whose bit in `valid` is not set are null and mean nothing. `valid` may be
 * NULL, where none is; the first number's bit is the one `from` behind its beginning. */

/* The low words, one bit over the other. */
uint64_t tb_low_words(const uint64_t *words, const uint8_t *valid, int64_t from, int64_t count);

/* The numbers over 10^places (1 to 18), nulls as 0. Returns 0 unless each is an int64 times that. */
int tb_divide(const uint64_t *words, const uint8_t *valid, int64_t from, int64_t count, unsigned places, uint64_t *out);

#endif
