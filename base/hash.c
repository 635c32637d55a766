/*
 * Eight bytes a step: 64x64->128 multiply and fold, the construction of wyhash and of the
 * "mum" hashes. Quality is enough for chained tables; the seed keeps collisions unguessable.
 */

#include "base/hash.h"

#include <pthread.h>
#include <string.h>

#include "base/rng.h"

#define K0 UINT64_C(0x9E3779B97F4A7C15)
#define K1 UINT64_C(0xD6E8FEB86659FD93)

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    memcpy(&v, p, n);
    return v;
}

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
    const uint8_t *at = p;
    uint64_t h = seed ^ fold(n ^ K0, K1);
    size_t left = n;
    for (; left > 8; left -= 8, at += 8) {
        h = fold(h ^ load(at, 8), K0);
    }
    if (left > 0) {
        h = fold(h ^ load(at, left), K1);
    }
    return fold(h ^ K1, K0);
}

uint64_t hash_u64(uint64_t v, uint64_t seed)
{
    return fold(v ^ seed ^ K0, K1);
}

static uint64_t process_seed;
static pthread_once_t process_seed_once = PTHREAD_ONCE_INIT;

static void choose_seed(void)
{
    rng_secure(&process_seed, sizeof(process_seed));
}

uint64_t hash_process_seed(void)
{
    (void)pthread_once(&process_seed_once, choose_seed);
    return process_seed;
}
