/* The layouts that the exchange really sends, byte for byte. Anything else is left to the complete decoder. */
#ifndef TB_FAST_H
#define TB_FAST_H

#include "tb_frame.h"

/* Decodes an order-book frame in one of the known layouts (protocol section 3.1). Returns 1 when the frame is decoded,
 * 0 when the complete decoder has to look; then nothing that it relies on has changed. */
int tb_fast_book(tb_frame *frame, const uint8_t *bytes, size_t length, tb_find find, void *context);

#endif
