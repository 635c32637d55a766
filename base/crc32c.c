/*
 * Table form for every machine, SSE 4.2 form where the processor has it (chosen once).
 *
 * The instruction takes three cycles until the next can use its result, so longer inputs are three
 * lanes side by side. Their sums are put together by "what would the register be after LANE zero
 * bytes", which is linear in its bits: four look-ups by its bytes.
 */

#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

enum {
    LANE = 512 /* bytes */
};

static uint32_t table[256];
static uint32_t behind_lane[4][256];
static uint32_t (*update)(uint32_t, const uint8_t *, size_t);
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t update_table(uint32_t crc, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc = table[(crc ^ p[i]) & 0xFF] ^ crc >> 8;
    }
    return crc;
}

static uint32_t shift_lane(uint32_t crc)
{
    return behind_lane[0][crc & 0xFF] ^ behind_lane[1][crc >> 8 & 0xFF] ^
           behind_lane[2][crc >> 16 & 0xFF] ^ behind_lane[3][crc >> 24];
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t lanes_sse42(uint32_t crc, const uint8_t *p)
{
    uint64_t lane[3] = {crc, 0, 0};
    for (size_t at = 0; at < LANE; at += 8) {
        uint64_t word[3];
        memcpy(&word[0], p + at, 8);
        memcpy(&word[1], p + LANE + at, 8);
        memcpy(&word[2], p + 2 * LANE + at, 8);
        lane[0] = __builtin_ia32_crc32di(lane[0], word[0]);
        lane[1] = __builtin_ia32_crc32di(lane[1], word[1]);
        lane[2] = __builtin_ia32_crc32di(lane[2], word[2]);
    }
    crc = shift_lane((uint32_t)lane[0]) ^ (uint32_t)lane[1];
    return shift_lane(crc) ^ (uint32_t)lane[2];
}

__attribute__((target("sse4.2"))) static uint32_t update_sse42(uint32_t crc, const uint8_t *p,
                                                               size_t n)
{
    for (; n >= 3 * (size_t)LANE; n -= 3 * (size_t)LANE, p += 3 * (size_t)LANE) {
        crc = lanes_sse42(crc, p);
    }
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

/* From what becomes of each single bit. */
static void make_behind_lane(void)
{
    static const uint8_t zeros[LANE];
    for (unsigned byte = 0; byte < 4; byte++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint32_t after = update_table(1U << (8 * byte + bit), zeros, LANE);
            for (unsigned i = 0; i < 256; i++) {
                behind_lane[byte][i] ^= i & 1U << bit ? after : 0;
            }
        }
    }
}

static void choose(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78U : 0);
        }
        table[i] = crc;
    }
    make_behind_lane();
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
