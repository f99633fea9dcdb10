#define _DEFAULT_SOURCE
#include "exact.h"

#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)

#include <sanitizer/asan_interface.h>

#define GUARD_BYTES 4096

const uint8_t *fuzz_expose(const uint8_t *bytes, size_t length)
{
    static _Alignas(64) uint8_t memory[GUARD_BYTES + FUZZ_MAX_FRAME + GUARD_BYTES];
    static size_t exposed;
    static int guarded;
    uint8_t *at = memory + GUARD_BYTES;
    FUZZ_CHECK(length <= FUZZ_MAX_FRAME);
    if (!guarded)
        __asan_poison_memory_region(memory, sizeof memory);
    guarded = 1;
    __asan_unpoison_memory_region(at, length);
    if (exposed > length)
        __asan_poison_memory_region(at + length, exposed - length);
    exposed = length;
    if (length)
        memcpy(at, bytes, length);
    return at;
}

#else

#include <sys/mman.h>
#include <unistd.h>

const uint8_t *fuzz_expose(const uint8_t *bytes, size_t length)
{
    static uint8_t *end;
    FUZZ_CHECK(length <= FUZZ_MAX_FRAME);
    if (!end) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (FUZZ_MAX_FRAME + page - 1) / page * page;
        void *memory = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        FUZZ_CHECK(memory != MAP_FAILED);
        end = (uint8_t *)memory + room;
        FUZZ_CHECK(mprotect(end, page, PROT_NONE) == 0);
    }
    if (length)
        memcpy(end - length, bytes, length);
    return end - length;
}

#endif
