/*
 * Goal: a key-value store on the real disk, with its threads, loses nothing it was told is durable
 * when its process is killed, and batches stay whole. Method: a child writes batches that follow
 * from their number and says through a pipe which are durable; it is killed somewhere, the store
 * is opened here and must be exactly the first so many batches; then the next child goes on.
 *
 *     KV_KILL_RUNS=n   kills for each engine
 *     KV_KILL_SEED=n
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "base/rng.h"
#include "store/dir_testing.h"
#include "store/file.h"
#include "store/kv.h"

enum {
    KEYS = 3000,
    OPS_MAX = 6,
    KILLS = 6,
    KEY_BYTES = 24,
    VALUE_MAX = 9000
};

static const enum kv_kind kinds[] = {KV_LSM, KV_BTREE, 0};

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

/* ---- batch number i -------------------------------------------------------------------------- */

struct op {
    unsigned key;
    int is_delete;
};

static size_t ops_of(uint64_t i, struct op out[OPS_MAX])
{
    struct rng rng = rng_seeded(i);
    size_t n = 1 + (size_t)rng_below(&rng, OPS_MAX);
    for (size_t op = 0; op < n; op++) {
        out[op].key = (unsigned)rng_below(&rng, KEYS);
        out[op].is_delete = rng_below(&rng, 5) == 0;
    }
    return n;
}

static struct slice key_of(unsigned key, char out[KEY_BYTES])
{
    return slice_bytes(out, (size_t)snprintf(out, KEY_BYTES, "key %05u", key));
}

/* What batch i writes there, if it does. */
static struct slice value_of(uint64_t i, unsigned key, uint8_t out[VALUE_MAX])
{
    struct rng rng = rng_seeded(i * KEYS + key);
    size_t n = 8 + (size_t)rng_below(&rng, rng_below(&rng, 50) == 0 ? VALUE_MAX - 8 : 300);
    uint8_t byte = (uint8_t)rng_next(&rng);
    for (size_t at = 0; at < n; at++) {
        out[at] = (uint8_t)(byte + at * at);
    }
    return slice_bytes(out, n);
}

/* Which batch wrote each key last, + 1; 0: it is not there. */
struct expected {
    uint64_t by[KEYS];
    uint64_t next; /* the first batch that is not in it */
};

static void apply(struct expected *x, uint64_t until)
{
    for (; x->next < until; x->next++) {
        struct op ops[OPS_MAX];
        size_t n = ops_of(x->next, ops);
        for (size_t op = 0; op < n; op++) {
            x->by[ops[op].key] = ops[op].is_delete ? 0 : x->next + 1;
        }
    }
}

/* ---- the child ------------------------------------------------------------------------------- */

static struct kv *open_store(const char *dir, enum kv_kind kind)
{
    struct note note = {0};
    struct kv *kv = NULL;
    struct kv_options options = {.fs = fs_disk(),
                                 .path = dir,
                                 .kind = kind,
                                 .cache_bytes = 1 << 18,
                                 .memtable_bytes = 1 << 16};
    cr_assert_eq(kv_open(&options, &kv, &note), ERR_NONE, "%s", note.text);
    return kv;
}

static void child(const char *dir, enum kv_kind kind, int pipe_fd, uint64_t from)
{
    static uint8_t value[VALUE_MAX];
    char key[KEY_BYTES];
    struct kv_batch batch = {0};
    struct kv *kv = open_store(dir, kind);
    uint64_t each = from % 2 == 0 ? 1 : 4; /* a B+tree has a log only where all wait */
    for (uint64_t i = from;; i++) {
        struct op ops[OPS_MAX];
        size_t n = ops_of(i, ops);
        enum kv_how how = i % each == 0 ? KV_SYNC : KV_LAZY;
        kv_batch_clear(&batch);
        for (size_t op = 0; op < n; op++) {
            if (ops[op].is_delete) {
                kv_batch_delete(&batch, key_of(ops[op].key, key));
            } else {
                kv_batch_put(&batch, key_of(ops[op].key, key), value_of(i, ops[op].key, value));
            }
        }
        kv_batch_put(&batch, SLICE("next"), slice_bytes(&(uint64_t){i + 1}, sizeof(i)));
        if (kv_write(kv, &batch, how, NULL) != ERR_NONE) {
            _exit(1);
        }
        if (how == KV_SYNC && write(pipe_fd, &i, sizeof(i)) != sizeof(i)) {
            _exit(1);
        }
    }
}

/* Run it until it is killed. Returns the number of the last batch it called durable. */
static uint64_t live_and_die(const char *dir, enum kv_kind kind, uint64_t from, struct rng *rng)
{
    int fds[2];
    uint64_t got = 0;
    uint64_t last = 0;
    uint64_t wanted = 1 + rng_below(rng, 150);
    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        (void)close(fds[0]);
        child(dir, kind, fds[1], from);
    }
    (void)close(fds[1]);
    while (got < wanted && read(fds[0], &last, sizeof(last)) == sizeof(last)) {
        got++;
    }
    (void)usleep((useconds_t)rng_below(rng, 2000)); /* somewhere in the next write */
    (void)kill(pid, SIGKILL);
    while (read(fds[0], &last, sizeof(last)) == sizeof(last)) {
        got++;
    }
    (void)close(fds[0]);
    (void)waitpid(pid, NULL, 0);
    cr_assert_geq(got, wanted, "the child ended by itself");
    return last;
}

/* ---- the parent ------------------------------------------------------------------------------ */

static uint64_t next_of(struct kv *kv)
{
    struct buf value = {0};
    struct note note = {0};
    uint64_t next = 0;
    int found = 0;
    cr_assert_eq(kv_get(kv, NULL, SLICE("next"), &value, &found, &note), ERR_NONE, "%s", note.text);
    if (found) {
        cr_assert_eq(value.n, sizeof(next));
        memcpy(&next, value.p, sizeof(next));
    }
    buf_free(&value);
    return next;
}

/* Every key by a scan: those of `x` and no others. */
static void compare(struct kv *kv, const struct expected *x)
{
    static uint8_t value[VALUE_MAX];
    char key[KEY_BYTES];
    struct note note = {0};
    struct kv_cursor *cursor = kv_cursor_open(kv, NULL);
    int valid = 0;
    enum err e = kv_cursor_first(cursor, &valid, &note);
    for (unsigned i = 0; i < KEYS; i++) {
        if (x->by[i] == 0) {
            continue;
        }
        cr_assert_eq(e, ERR_NONE, "%s", note.text);
        cr_assert(valid);
        cr_assert(slice_eq(kv_cursor_key(cursor), key_of(i, key)), "key %u: there is " SLICE_FMT, i,
                  SLICE_ARG(kv_cursor_key(cursor)));
        cr_assert(slice_eq(kv_cursor_value(cursor), value_of(x->by[i] - 1, i, value)),
                  "key %u is not as batch %llu wrote it", i, (unsigned long long)x->by[i] - 1);
        e = kv_cursor_next(cursor, &valid, &note);
    }
    cr_assert_eq(e, ERR_NONE, "%s", note.text);
    cr_assert(valid && slice_is(kv_cursor_key(cursor), "next"));
    cr_assert_eq(kv_cursor_next(cursor, &valid, &note), ERR_NONE);
    cr_assert_not(valid);
    kv_cursor_close(cursor);
}

static void say_fault(void *arg, const char *what)
{
    (void)arg;
    cr_assert(0, "%s", what);
}

static void kill_many(enum kv_kind kind)
{
    char dir[TEST_DIR_BYTES];
    char path[TEST_DIR_BYTES + 8];
    struct expected *x = mem_zero(sizeof(*x));
    struct rng rng = rng_seeded(setting("KV_KILL_SEED", 1));
    struct note note = {0};
    test_dir_make(dir, "kill");
    (void)snprintf(path, sizeof(path), "%s/kv", dir);
    for (uint64_t kills = setting("KV_KILL_RUNS", KILLS); kills > 0; kills--) {
        uint64_t last = live_and_die(path, kind, x->next, &rng);
        struct kv *kv = open_store(path, kind);
        uint64_t next = next_of(kv);
        cr_assert_gt(next, last, "%s: batch %llu was durable, and the store ends before %llu",
                     kv_kind_name(kind), (unsigned long long)last, (unsigned long long)next);
        apply(x, next);
        compare(kv, x);
        kv_close(kv);
        cr_assert_eq(kv_check(fs_disk(), path, say_fault, NULL, &note), ERR_NONE, "%s", note.text);
    }
    test_dir_remove(dir);
    mem_free(x);
}

Test(kv_kill, what_was_durable_survives_the_end_of_its_process)
{
    for (const enum kv_kind *kind = kinds; *kind != 0; kind++) {
        kill_many(*kind);
    }
}
