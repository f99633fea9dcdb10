/* Memory of exactly a frame's length, without an allocation a frame: a byte read in front of it or behind it is a crash, under
 * the address sanitizer on both sides, without it behind the end. */
#ifndef TB_FUZZ_EXACT_H
#define TB_FUZZ_EXACT_H

#include "target.h"

/* At most FUZZ_MAX_FRAME bytes; the ones before are gone. */
const uint8_t *fuzz_expose(const uint8_t *bytes, size_t length);

#endif
