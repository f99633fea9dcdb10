/* What a fuzz target is to whoever drives it (driver.c, libFuzzer): bytes in, an abort when a check fails. */
#ifndef TB_FUZZ_TARGET_H
#define TB_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ_MAX_INPUT 16384
#define FUZZ_MAX_FRAME 65536

/* Runs one input; aborts with a message when a check fails. */
void fuzz_run(const uint8_t *data, size_t size);

/* Over all inputs so far. Work is in units of a frame, so that a driver can tell small inputs from large ones. */
uint64_t fuzz_executions(void);
uint64_t fuzz_work(void);
/* One line of name=count: shows that a run was about something. */
void fuzz_print_counts(void);

/* Pieces of an input end with this byte: a mutation moves them whole. */
extern const uint8_t fuzz_separator;
/* Other options for an input that begins with this byte. */
uint8_t fuzz_other_options(uint8_t options, uint64_t random);

_Noreturn void fuzz_fail(const char *file, int line, const char *what);
#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))

#endif
