/*
 * What clients proved, for the server connections of their users. One table for the process:
 * looked at when a client or a server connection logs in, so a lock costs no statement anything.
 */

#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/mem.h"
#include "proxy/auth/auth.h"
#include "proxy/control/handover.h"

struct known {
    char *secret;
    int has_key;
    uint8_t client_key[SCRAM_KEY_BYTES];
};

/* A user of one source. */
struct cred {
    struct hnode node;
    struct list lru; /* most recently used first */
    char *source, *user;
    struct known known[AUTH_SECRETS_MAX]; /* the last one learnt first */
    size_t count;
};

static struct hmap creds;
static struct list lru;
static size_t creds_number;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t hash_cred(const char *source, const char *user)
{
    return hash_bytes(user, strlen(user), hash_bytes(source, strlen(source), hash_process_seed()));
}

static struct cred *find(const char *source, const char *user)
{
    for (struct hnode *n = hmap_find(&creds, hash_cred(source, user)); n != NULL;
         n = hmap_more(n)) {
        struct cred *c = container_of(n, struct cred, node);
        if (strcmp(c->user, user) == 0 && strcmp(c->source, source) == 0) {
            list_remove(&c->lru);
            list_push_front(&lru, &c->lru);
            return c;
        }
    }
    return NULL;
}

static void forget_known(struct known *k)
{
    explicit_bzero(k->secret, strlen(k->secret));
    mem_free(k->secret);
    explicit_bzero(k, sizeof(*k));
}

static void drop(struct cred *c)
{
    for (size_t i = 0; i < c->count; i++) {
        forget_known(&c->known[i]);
    }
    hmap_remove(&creds, &c->node);
    list_remove(&c->lru);
    mem_free(c->source);
    mem_free(c->user);
    mem_free(c);
    creds_number--;
}

static struct cred *add(const char *source, const char *user)
{
    if (creds_number == 0) {
        list_init(&lru);
    }
    if (creds_number == CREDS_MAX) {
        drop(container_of(lru.prev, struct cred, lru));
    }
    struct cred *c = mem_zero(sizeof(*c));
    c->source = mem_strdup(source);
    c->user = mem_strdup(user);
    hmap_add(&creds, &c->node, hash_cred(source, user));
    list_push_front(&lru, &c->lru);
    creds_number++;
    return c;
}

/* The place of this secret, which becomes the first one. */
static struct known *place_of(struct cred *c, const char *secret, int only)
{
    size_t at = 0;
    while (at < c->count && strcmp(c->known[at].secret, secret) != 0) {
        at++;
    }
    struct known k = {0};
    if (at < c->count) {
        k = c->known[at];
    } else {
        k.secret = mem_strdup(secret);
        if (c->count == AUTH_SECRETS_MAX) {
            forget_known(&c->known[--c->count]);
        }
        at = c->count++;
    }
    memmove(&c->known[1], &c->known[0], at * sizeof(k));
    c->known[0] = k;
    while (only && c->count > 1) {
        forget_known(&c->known[--c->count]);
    }
    return &c->known[0];
}

void creds_learn(const char *source, const char *user, const char *secret,
                 const uint8_t *client_key, int only)
{
    (void)pthread_mutex_lock(&lock);
    struct cred *c = creds_number == 0 ? NULL : find(source, user);
    struct known *k = place_of(c == NULL ? add(source, user) : c, secret, only);
    if (client_key != NULL) {
        memcpy(k->client_key, client_key, SCRAM_KEY_BYTES);
        k->has_key = 1;
    }
    (void)pthread_mutex_unlock(&lock);
}

int creds_key(const char *source, const char *user, const char *secret,
              uint8_t client_key[SCRAM_KEY_BYTES])
{
    int found = 0;
    (void)pthread_mutex_lock(&lock);
    const struct cred *c = creds_number == 0 ? NULL : find(source, user);
    for (size_t i = 0; c != NULL && i < c->count; i++) {
        if (c->known[i].has_key && strcmp(c->known[i].secret, secret) == 0) {
            memcpy(client_key, c->known[i].client_key, SCRAM_KEY_BYTES);
            found = 1;
        }
    }
    (void)pthread_mutex_unlock(&lock);
    return found;
}

char *creds_secret(const char *source, const char *user)
{
    (void)pthread_mutex_lock(&lock);
    const struct cred *c = creds_number == 0 ? NULL : find(source, user);
    char *secret = c == NULL || c->count == 0 ? NULL : mem_strdup(c->known[0].secret);
    (void)pthread_mutex_unlock(&lock);
    return secret;
}

static int still_good(const struct conf_user *user, const struct known *k)
{
    return user != NULL && (strcmp(user->secret, k->secret) == 0 ||
                            (user->older != NULL && strcmp(user->older, k->secret) == 0));
}

void creds_keep(const struct conf *conf)
{
    (void)pthread_mutex_lock(&lock);
    struct hnode *n = hmap_each(&creds, NULL);
    while (n != NULL) {
        struct cred *c = container_of(n, struct cred, node);
        const struct conf_user *user = conf_find_user(conf, c->user);
        n = hmap_each(&creds, n);
        size_t kept = 0;
        for (size_t i = 0; c->source[0] == '\0' && i < c->count; i++) {
            if (still_good(user, &c->known[i])) {
                c->known[kept++] = c->known[i];
            } else {
                forget_known(&c->known[i]);
            }
        }
        c->count = c->source[0] == '\0' ? kept : c->count;
        if (c->count == 0) {
            drop(c);
        }
    }
    (void)pthread_mutex_unlock(&lock);
}

size_t creds_count(void)
{
    (void)pthread_mutex_lock(&lock);
    size_t count = creds_number;
    (void)pthread_mutex_unlock(&lock);
    return count;
}

void creds_free(void)
{
    (void)pthread_mutex_lock(&lock);
    struct hnode *n = hmap_each(&creds, NULL);
    while (n != NULL) {
        drop(container_of(n, struct cred, node));
        n = hmap_each(&creds, NULL);
    }
    hmap_free(&creds);
    (void)pthread_mutex_unlock(&lock);
}

static void put_known(struct buf *out, const struct cred *c, const struct known *k)
{
    size_t at = handover_begin(out, HANDOVER_SECRET);
    handover_field(out, FIELD_SOURCE, slice_of(c->source));
    handover_field(out, FIELD_USER, slice_of(c->user));
    handover_field(out, FIELD_SECRET, slice_of(k->secret));
    if (k->has_key) {
        handover_field(out, FIELD_CLIENT_KEY, slice_bytes(k->client_key, SCRAM_KEY_BYTES));
    }
    handover_end(out, at);
}

void creds_put(struct buf *out)
{
    check(pthread_mutex_lock(&lock) == 0);
    for (struct hnode *n = hmap_each(&creds, NULL); n != NULL; n = hmap_each(&creds, n)) {
        const struct cred *c = container_of(n, struct cred, node);
        for (size_t i = c->count; i > 0; i--) { /* the last one learnt comes last */
            put_known(out, c, &c->known[i - 1]);
        }
    }
    check(pthread_mutex_unlock(&lock) == 0);
}
