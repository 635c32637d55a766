/* What could let a user in, and what stands for one who does not exist. See auth.h. */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "proxy/auth/auth.h"

enum {
    TURNS = 4096
};

/* ---- the secret of this machine ---------------------------------------------------------------
 */

void auth_process_secret(uint8_t out[SCRAM_KEY_BYTES])
{
    static const uint8_t no_key[SCRAM_KEY_BYTES];
    char id[64] = "";
    FILE *f = fopen("/etc/machine-id", "re");
    if (f != NULL) {
        id[fread(id, 1, sizeof(id) - 1, f)] = '\0';
        (void)fclose(f);
    }
    if (strspn(id, "0123456789abcdef") >= 32) {
        scram_derive(no_key, "pgbraid who is nobody", id, out);
    } else {
        rng_secure(out, SCRAM_KEY_BYTES);
    }
}

/* ---- secrets --------------------------------------------------------------------------------- */

static void add_secret(struct auth_secrets *out, const char *text)
{
    enum secret_kind kind = secret_kind_of(text);
    if (kind != SECRET_NONE) {
        check(out->count < AUTH_SECRETS_MAX);
        out->s[out->count++] = (struct auth_secret){kind, mem_strdup(text)};
    }
}

static void wipe(struct auth_secret *s)
{
    explicit_bzero(s->text, strlen(s->text));
    mem_free(s->text);
    s->text = NULL;
}

void auth_secrets_wipe(struct auth_secrets *secrets)
{
    for (size_t i = 0; i < secrets->count; i++) {
        wipe(&secrets->s[i]);
    }
    secrets->count = 0;
}

enum err auth_secret_make(const char *password, const char *like, struct buf *out,
                          struct note *note)
{
    struct scram_verifier v = {.iterations = SCRAM_ITERATIONS};
    if (password[0] == '\0') {
        return note_set(note, ERR_BAD_SETTING, "the password is empty; write it on standard input");
    }
    enum err e = like == NULL ? ERR_NONE : scram_verifier_parse(like, &v, note);
    if (e) {
        return e;
    }
    struct scram_verifier made;
    scram_verifier_make(password, v.salt, v.salt_bytes, v.iterations, &made, NULL);
    scram_verifier_print(&made, out);
    return ERR_NONE;
}

/* ---- fake ones --------------------------------------------------------------------------------
 */

static void hex_of(const uint8_t bytes[SCRAM_KEY_BYTES], size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%02x", bytes[i]);
    }
}

/* A secret of this kind that nobody knows; `which` of the user's two. */
static void add_fake(struct auth_secrets *out, enum secret_kind kind, uint32_t iterations,
                     const uint8_t process_secret[32], const char *user, unsigned which)
{
    struct buf text = {0};
    uint8_t own[SCRAM_KEY_BYTES];
    scram_derive(process_secret, which == 0 ? "first" : "second", user, own);
    if (kind == SECRET_SCRAM) {
        struct scram_verifier v;
        scram_verifier_fake(user, own, &v);
        v.iterations = iterations;
        scram_verifier_print(&v, &text);
    } else if (kind == SECRET_MD5) {
        buf_text(&text, "md5");
        hex_of(own, 16, &text);
    } else {
        hex_of(own, SCRAM_KEY_BYTES, &text);
    }
    buf_u8(&text, 0);
    check(out->count < AUTH_SECRETS_MAX);
    out->s[out->count++] = (struct auth_secret){kind, (char *)text.p};
    out->fake = 1;
}

static uint32_t iterations_of(const char *secret)
{
    struct scram_verifier v;
    struct note note;
    if (secret_kind_of(secret) != SECRET_SCRAM || scram_verifier_parse(secret, &v, &note)) {
        return SCRAM_ITERATIONS;
    }
    return v.iterations;
}

/*
 * As a user of the file looks, chosen by the name: so that of those who exist and those who do not,
 * the same part has plain secrets, md5, so many iterations, or two secrets at once.
 */
static void add_imitation(const struct conf *conf, const uint8_t process_secret[32],
                          const char *user, struct auth_secrets *out)
{
    uint8_t chosen[SCRAM_KEY_BYTES];
    scram_derive(process_secret, "shape", user, chosen);
    size_t n = (size_t)chosen[0] | (size_t)chosen[1] << 8 | (size_t)chosen[2] << 16;
    const struct conf_user *like =
        conf->users_count == 0 ? NULL : &conf->users[n % conf->users_count];
    enum secret_kind kind = like == NULL ? SECRET_NONE : secret_kind_of(like->secret);
    if (kind == SECRET_NONE) {
        add_fake(out, SECRET_SCRAM, SCRAM_ITERATIONS, process_secret, user, 0);
        return;
    }
    add_fake(out, kind, iterations_of(like->secret), process_secret, user, 0);
    if (secret_kind_of(like->older) != SECRET_NONE) {
        add_fake(out, secret_kind_of(like->older), iterations_of(like->older), process_secret, user,
                 1);
    }
}

/* How the secret looked that auth.query gave last: kind and iterations. */
static _Atomic uint64_t answer_shape = (uint64_t)SECRET_SCRAM << 32 | SCRAM_ITERATIONS;

void auth_secrets_find(const struct conf *conf, const uint8_t process_secret[32], const char *user,
                       struct auth_secrets *out)
{
    *out = (struct auth_secrets){0};
    const struct conf_user *found = conf_find_user(conf, user);
    if (found != NULL) {
        add_secret(out, found->secret);
        add_secret(out, found->older);
    }
    if (out->count == 0) {
        add_imitation(conf, process_secret, user, out);
    }
}

void auth_secrets_of_answer(const uint8_t process_secret[32], const char *user, const char *answer,
                            struct auth_secrets *out)
{
    *out = (struct auth_secrets){0};
    add_secret(out, answer);
    if (out->count != 0) {
        atomic_store_explicit(&answer_shape, (uint64_t)out->s[0].kind << 32 | iterations_of(answer),
                              memory_order_relaxed);
        return;
    }
    uint64_t shape = atomic_load_explicit(&answer_shape, memory_order_relaxed);
    add_fake(out, (enum secret_kind)(shape >> 32), (uint32_t)shape, process_secret, user, 0);
}

int auth_secrets_keep(struct auth_secrets *secrets, int scram, const uint8_t process_secret[32],
                      const char *user)
{
    size_t kept = 0;
    for (size_t i = 0; i < secrets->count; i++) {
        struct scram_verifier v;
        struct note note;
        struct auth_secret *s = &secrets->s[i];
        int broken =
            s->kind == SECRET_SCRAM && scram_verifier_parse(s->text, &v, &note) != ERR_NONE;
        if (!broken && s->kind != (scram ? SECRET_MD5 : SECRET_SCRAM)) {
            secrets->s[kept++] = *s;
        } else {
            wipe(s);
        }
    }
    int dropped = kept != secrets->count;
    secrets->count = kept;
    if (kept == 0) {
        add_fake(secrets, scram ? SECRET_SCRAM : SECRET_MD5, SCRAM_ITERATIONS, process_secret, user,
                 0);
    }
    return dropped;
}

/* ---- what one exchange checks ---------------------------------------------------------------- */

static int same_salt(const struct scram_verifier *a, const struct scram_verifier *b)
{
    return a->iterations == b->iterations && a->salt_bytes == b->salt_bytes &&
           memcmp(a->salt, b->salt, a->salt_bytes) == 0;
}

static void parse(const struct auth_secret *s, struct scram_verifier *out)
{
    struct note note;
    enum err e = scram_verifier_parse(s->text, out, &note);
    check(e == ERR_NONE); /* auth_secrets_keep() left out what is broken */
}

int auth_checks_alternate(const struct auth_secrets *secrets)
{
    if (secrets->count < 2 || secrets->s[0].kind != SECRET_SCRAM ||
        secrets->s[1].kind != SECRET_SCRAM) {
        return 0;
    }
    struct scram_verifier a;
    struct scram_verifier b;
    parse(&secrets->s[0], &a);
    parse(&secrets->s[1], &b);
    return !same_salt(&a, &b);
}

/* The salt of the exchange: a verifier's own, else one made of the name. */
static void choose_salt(const struct auth_secrets *secrets, const uint8_t process_secret[32],
                        const char *user, unsigned turn, struct scram_verifier *out)
{
    size_t first = auth_checks_alternate(secrets) ? turn % 2 : 0;
    for (size_t i = 0; i < secrets->count; i++) {
        const struct auth_secret *s = &secrets->s[(first + i) % secrets->count];
        if (s->kind == SECRET_SCRAM) {
            parse(s, out);
            return;
        }
    }
    scram_verifier_fake(user, process_secret, out);
}

size_t auth_checks_make(const struct auth_secrets *secrets, const uint8_t process_secret[32],
                        const char *user, unsigned turn, struct auth_check out[AUTH_SECRETS_MAX])
{
    struct scram_verifier salted;
    choose_salt(secrets, process_secret, user, turn, &salted);
    size_t count = 0;
    for (size_t i = 0; i < secrets->count; i++) {
        const struct auth_secret *s = &secrets->s[i];
        struct auth_check c = {.verifier = salted, .index = i};
        if (s->kind == SECRET_SCRAM) {
            parse(s, &c.verifier);
            if (!same_salt(&c.verifier, &salted)) {
                continue;
            }
        } else {
            c.plain = s->text;
        }
        out[count++] = c;
    }
    check(count > 0);
    return count;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static _Atomic uint8_t turns[TURNS];

static _Atomic uint8_t *turn_of(const char *user, const char *where)
{
    uint64_t h = hash_bytes(where, strlen(where), hash_process_seed());
    return &turns[hash_bytes(user, strlen(user), h) % TURNS];
}

unsigned auth_turn(const char *user, const char *where)
{
    return atomic_load_explicit(turn_of(user, where), memory_order_relaxed) & 1;
}

void auth_turn_over(const char *user, const char *where)
{
    atomic_fetch_xor_explicit(turn_of(user, where), 1, memory_order_relaxed);
}
