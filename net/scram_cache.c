/*
 * Keys of passwords that were stretched already. A set of four places per hash: what comes takes
 * the place that was filled longest ago. Used at logins only, so one lock for all threads will do.
 */

#include <pthread.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/rng.h"
#include "net/scram_in.h"

enum {
    SETS = 1024,
    WAYS = 4
};

struct place {
    int used;
    uint8_t from[SCRAM_KEY_BYTES];
    struct scram_keys keys;
};

static struct {
    struct place places[SETS][WAYS];
    uint8_t next[SETS];
    uint8_t
        secret[SCRAM_KEY_BYTES]; /* of the hash: a dump of the memory is no list to try against */
    int ready;
} cache;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void hash_of(const char *password, const uint8_t *salt, size_t salt_bytes,
                    uint32_t iterations, uint8_t out[SCRAM_KEY_BYTES])
{
    struct buf text = {0};
    buf_be32(&text, iterations);
    buf_be32(&text, (uint32_t)salt_bytes);
    buf_add(&text, salt, salt_bytes);
    buf_text(&text, password);
    scram_hmac(cache.secret, buf_slice(&text), out);
    OPENSSL_cleanse(text.p, text.n);
    buf_free(&text);
}

static void make_ready(void)
{
    (void)pthread_mutex_lock(&lock);
    if (!cache.ready) {
        rng_secure(cache.secret, sizeof(cache.secret));
        cache.ready = 1;
    }
    (void)pthread_mutex_unlock(&lock);
}

static struct place *find(const uint8_t from[SCRAM_KEY_BYTES], size_t *set)
{
    *set = (from[0] | (size_t)from[1] << 8) % SETS;
    for (size_t i = 0; i < WAYS; i++) {
        struct place *p = &cache.places[*set][i];
        if (p->used && secret_equal(p->from, from, SCRAM_KEY_BYTES)) {
            return p;
        }
    }
    return NULL;
}

int scram_cache_find(const char *password, const uint8_t *salt, size_t salt_bytes,
                     uint32_t iterations, struct scram_keys *out)
{
    uint8_t from[SCRAM_KEY_BYTES];
    size_t set = 0;
    make_ready();
    hash_of(password, salt, salt_bytes, iterations, from);
    (void)pthread_mutex_lock(&lock);
    const struct place *p = find(from, &set);
    if (p != NULL) {
        *out = p->keys;
    }
    (void)pthread_mutex_unlock(&lock);
    return p != NULL;
}

void scram_cache_add(const char *password, const uint8_t *salt, size_t salt_bytes,
                     uint32_t iterations, const struct scram_keys *keys)
{
    uint8_t from[SCRAM_KEY_BYTES];
    size_t set = 0;
    make_ready();
    hash_of(password, salt, salt_bytes, iterations, from);
    (void)pthread_mutex_lock(&lock);
    if (find(from, &set) == NULL) {
        struct place *p = &cache.places[set][cache.next[set]++ % WAYS];
        p->used = 1;
        memcpy(p->from, from, sizeof(from));
        p->keys = *keys;
    }
    (void)pthread_mutex_unlock(&lock);
}
