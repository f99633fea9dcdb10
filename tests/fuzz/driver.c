/* Runs the target without any fuzzing engine: every file of the corpus once, then seeded mutations of them.
 *
 *     driver [--executions N] [--seed S] [--crash FILE] [--dictionary FILE] CORPUS_FILE...
 *
 * The same seed, corpus and count take the same steps on every machine. What fails is left in the crash file. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target.h"

#define MAX_TOKENS 512
#define SECONDS_BEFORE_A_HANG 60
#define ALARM_EVERY 256
#define MUCH_WORK 200

typedef struct {
    uint8_t *bytes;
    size_t length;
    uint64_t work;
} input;

static input *seeds;
static size_t seed_count;
static input tokens[MAX_TOKENS];
static size_t token_count;
static const char *crash_path = "fuzz-crash";

/* the input being run, for the handler that writes it down */
static uint8_t current[FUZZ_MAX_INPUT];
static size_t current_length;

static uint64_t random_state;

static uint64_t random64(void)
{
    uint64_t x = random_state += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static size_t below(size_t limit)
{
    return limit ? (size_t)(random64() % limit) : 0;
}

/* ---- a crash keeps its input -------------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__)
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "abort_on_error=1:quarantine_size_mb=4:malloc_context_size=8";
}
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1";
}
#endif

static void on_signal(int number)
{
    int file = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file >= 0) {
        ssize_t written = write(file, current, current_length);
        (void)written;
        (void)close(file);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void watch_signals(void)
{
    static const int numbers[] = {SIGABRT, SIGALRM,
#if !defined(__SANITIZE_ADDRESS__)
                                  SIGSEGV, SIGBUS, SIGFPE, SIGILL
#endif
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        signal(numbers[i], on_signal);
}

static void run(void)
{
    static unsigned since;
    if (since++ % ALARM_EVERY == 0)
        alarm(SECONDS_BEFORE_A_HANG);
    fuzz_run(current, current_length);
}

/* ---- mutations ---------------------------------------------------------------------------------------------- */

static void insert(size_t at, const uint8_t *bytes, size_t length)
{
    if (length > FUZZ_MAX_INPUT - current_length)
        length = FUZZ_MAX_INPUT - current_length;
    memmove(current + at + length, current + at, current_length - at);
    memcpy(current + at, bytes, length);
    current_length += length;
}

static void erase(size_t at, size_t length)
{
    memmove(current + at, current + at + length, current_length - at - length);
    current_length -= length;
}

/* The piece around a random place: from its first byte to behind its separator. */
static size_t some_piece(const uint8_t *bytes, size_t size, size_t *length)
{
    size_t at = below(size), end;
    while (at > 0 && bytes[at - 1] != fuzz_separator)
        at--;
    for (end = at; end < size && bytes[end] != fuzz_separator; end++)
        ;
    *length = end - at + (end < size);
    return at;
}

static void copy_piece(const uint8_t *bytes, size_t size)
{
    static uint8_t piece[FUZZ_MAX_INPUT + 1];
    size_t length, ignored, from = some_piece(bytes, size, &length);
    memcpy(piece, bytes + from, length);
    if (length && piece[length - 1] != fuzz_separator)
        piece[length++] = fuzz_separator;
    size_t to = current_length ? some_piece(current, current_length, &ignored) : 0;
    insert(to, piece, length);
}

/* Numbers at the edges of types and grammars, in place of a number that is there. */
static void change_number(void)
{
    static const char *const numbers[] = {
        "0", "1", "-1", "2", "00", "9223372036854775807", "9223372036854775808", "9223372036854775806", "0.1",
        "0.000000000000000001", "0.0000000000000000001", "99999999", "999999999", "9999999999999999",
        "99999999999999999", "12345678.12345678", "123456789.1", "1.", ".5", "1e5", "253402300799999",
        "253402300800000", "18446744073709551616", "-0", "1.00000000", "100000000000000000000",
    };
    size_t at = below(current_length), end;
    for (end = at; end < current_length && (current[end] < '0' || current[end] > '9'); end++)
        ;
    for (at = end; end < current_length && current[end] >= '0' && current[end] <= '9'; end++)
        ;
    if (at == end)
        return;
    if (random64() & 1) { /* up or down by one */
        current[end - 1] = (uint8_t)('0' + (current[end - 1] - '0' + (random64() & 2 ? 1 : 9)) % 10);
        return;
    }
    const char *number = numbers[below(sizeof numbers / sizeof numbers[0])];
    erase(at, end - at);
    insert(at, (const uint8_t *)number, strlen(number));
}

/* Small seeds reach corners of the decoder, longer ones deep states: every other time the one of four with the most to do
 * is taken. Where a seed is very much work it is taken less often, so that time goes into many programs. */
static const input *some_seed(void)
{
    const input *seed = &seeds[below(seed_count)];
    if (random64() & 1)
        for (int i = 0; i < 3; i++) {
            const input *other = &seeds[below(seed_count)];
            if (other->work > seed->work)
                seed = other;
        }
    return seed->work > MUCH_WORK && below(16) ? &seeds[below(seed_count)] : seed;
}

static void mutate_once(void)
{
    size_t at = below(current_length + 1);
    uint8_t byte = (uint8_t)random64();
    const input *other = some_seed();
    switch (below(14)) {
    case 0:
        if (at < current_length)
            current[at] ^= (uint8_t)(1u << (byte & 7));
        break;
    case 1:
        if (at < current_length)
            current[at] = byte;
        break;
    case 2: insert(at, &byte, 1); break;
    case 3:
        if (at < current_length)
            erase(at, 1 + below(current_length - at < 16 ? current_length - at : 16));
        break;
    case 4:
        if (token_count) {
            const input *token = &tokens[below(token_count)];
            insert(at, token->bytes, token->length);
        }
        break;
    case 5:
    case 6:
        if (current_length)
            change_number();
        break;
    case 7:
        if (current_length)
            copy_piece(current, current_length);
        break;
    case 8:
    case 9: copy_piece(other->bytes, other->length); break;
    case 10: { /* a piece less */
        size_t length;
        if (current_length) {
            at = some_piece(current, current_length, &length);
            erase(at, length);
        }
        break;
    }
    case 11: { /* a piece cut short */
        size_t length;
        if (current_length) {
            size_t from = some_piece(current, current_length, &length);
            if (at >= from && at + 1 < from + length)
                erase(at, from + length - 1 - at);
        }
        break;
    }
    case 12: { /* some bytes twice */
        uint8_t some[32];
        size_t length = 1 + below(sizeof some);
        if (at + length <= current_length) {
            memcpy(some, current + at, length);
            insert(at, some, length);
        }
        break;
    }
    default: /* everything behind cut off */
        if (at < current_length && byte < 64)
            current_length = at;
        break;
    }
}

static void mutate(void)
{
    const input *seed = some_seed();
    memcpy(current, seed->bytes, seed->length);
    current_length = seed->length;
    if (current_length)
        current[0] = fuzz_other_options(current[0], random64());
    for (size_t rounds = 1 + below(1 + below(8)); rounds > 0; rounds--)
        mutate_once();
}

/* ---- files -------------------------------------------------------------------------------------------------- */

static input read_file(const char *path, size_t limit)
{
    input in = {malloc(limit + 1), 0, 0};
    FILE *file = fopen(path, "rb");
    if (!file || !in.bytes) {
        fprintf(stderr, "%s: can't be read\n", path);
        exit(2);
    }
    in.length = fread(in.bytes, 1, limit + 1, file);
    fclose(file);
    if (in.length > limit) {
        fprintf(stderr, "%s: found more than %zu bytes\n", path, limit);
        exit(2);
    }
    return in;
}

static int hex_digit(uint8_t c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* libFuzzer's format: one "token" a line, with \" \\ and \xNN; # begins a comment. */
static void read_dictionary(const char *path)
{
    input in = read_file(path, 65536);
    for (size_t i = 0; i < in.length && token_count < MAX_TOKENS; i++) {
        if (in.bytes[i] == '#')
            while (i < in.length && in.bytes[i] != '\n')
                i++;
        if (i >= in.length || in.bytes[i] != '"')
            continue;
        uint8_t *out = in.bytes + i, *begin = out;
        for (i++; i < in.length && in.bytes[i] != '"'; i++) {
            uint8_t byte = in.bytes[i];
            if (byte == '\\' && i + 1 < in.length) {
                byte = in.bytes[++i];
                if (byte == 'x' && i + 2 < in.length) {
                    byte = (uint8_t)(hex_digit(in.bytes[i + 1]) * 16 + hex_digit(in.bytes[i + 2]));
                    i += 2;
                }
            }
            *out++ = byte;
        }
        tokens[token_count++] = (input){begin, (size_t)(out - begin), 0};
    }
    /* the tokens live in the file's memory, which is kept */
}

int main(int argc, char **argv)
{
    uint64_t executions = 0, seed = 1;
    seeds = calloc((size_t)argc, sizeof *seeds);
    if (!seeds)
        return 2;
    for (int i = 1; i < argc; i++) {
        int more = i + 1 < argc;
        if (strcmp(argv[i], "--executions") == 0 && more)
            executions = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && more)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--crash") == 0 && more)
            crash_path = argv[++i];
        else if (strcmp(argv[i], "--dictionary") == 0 && more)
            read_dictionary(argv[++i]);
        else
            seeds[seed_count++] = read_file(argv[i], FUZZ_MAX_INPUT);
    }
    if (seed_count == 0) {
        fprintf(stderr, "found no corpus files; expected driver [--executions N] [--seed S] FILE...\n");
        return 2;
    }
    watch_signals();
    for (size_t i = 0; i < seed_count; i++) {
        memcpy(current, seeds[i].bytes, seeds[i].length);
        current_length = seeds[i].length;
        seeds[i].work = 0 - fuzz_work();
        run();
        seeds[i].work += fuzz_work();
    }
    random_state = seed;
    while (fuzz_executions() < executions) {
        mutate();
        run();
    }
    fuzz_print_counts();
    for (size_t i = 0; i < seed_count; i++)
        free(seeds[i].bytes);
    free(seeds);
    return 0;
}
