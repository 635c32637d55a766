/* Table form for every machine, SSE 4.2 form where the processor has it (chosen once). */

#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

static uint32_t table[256];
static uint32_t (*update)(uint32_t, const uint8_t *, size_t);
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t update_table(uint32_t crc, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc = table[(crc ^ p[i]) & 0xFF] ^ crc >> 8;
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t update_sse42(uint32_t crc, const uint8_t *p,
                                                               size_t n)
{
    uint64_t wide = crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; n > 0; n--, p++) {
        crc = __builtin_ia32_crc32qi(crc, *p);
    }
    return crc;
}
#endif

static void choose(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78U : 0);
        }
        table[i] = crc;
    }
    update = update_table;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        update = update_sse42;
    }
#endif
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    (void)pthread_once(&once, choose);
    return ~update(~crc, p, n);
}
