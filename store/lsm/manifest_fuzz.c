/*
 * Goal: a manifest of any bytes is refused or read inside of its bounds, and what is accepted is
 * what would be written again. Method: the input, with its checksum and length put right on wish.
 */

#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "store/lsm/manifest.h"

static void put_be32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (24 - 8 * i));
    }
}

static enum err take(void *arg, int level, const struct sst_meta *meta, struct note *note)
{
    (void)note;
    struct slice *bytes = arg;
    check(level >= 0 && level < LSM_LEVELS);
    check(meta->smallest.n > 0 && meta->smallest.n <= KV_KEY_MAX);
    check(meta->largest.n > 0 && meta->largest.n <= KV_KEY_MAX);
    check(meta->smallest.p >= bytes->p && meta->largest.p > meta->smallest.p);
    check(meta->largest.p + meta->largest.n <= bytes->p + bytes->n);
    return ERR_NONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    size_t n = size - 1;
    uint8_t *p = malloc(n + 1);
    check(p != NULL);
    memcpy(p, data + 1, n);
    if ((data[0] & 1) && n >= 36) {
        memcpy(p, "PGBLSM01", 8);
        put_be32(p + 32, (uint32_t)n);
        put_be32(p + 8, crc32c(0, p + 12, n - 12));
    }
    struct manifest m = {0};
    struct note note = {0};
    struct slice bytes = slice_bytes(p, n);
    enum err e = manifest_read(bytes, &m, take, &bytes, &note);
    check(e == ERR_NONE || e == ERR_CORRUPT);
    check(e != ERR_NONE || m.next_number > 0);
    free(p);
    return 0;
}
