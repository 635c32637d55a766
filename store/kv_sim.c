/* A store lives beside a model on a disk that fails; the rules stand in kv_sim.h. */

#include "store/kv_sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/kv_model.h"

enum {
    LIVES = 5,
    STEPS_MAX = 70,
    HELD_MAX = 4, /* snapshots, and cursors */
    WALK_MAX = 12
};

static const char folder[] = "d/kv";

struct held {
    struct kv_snapshot *snapshot;
    struct kv_cursor *cursor;
    size_t point;
    size_t at;      /* of the cursor; keys_count while it stands nowhere */
    int is_blurred; /* begun when a failed write may or may not have been seen */
};

struct run {
    const struct kv_sim *sim;
    struct kv_sim_result *out;
    struct sim_disk *disk;
    struct kv_model *m;
    struct rng rng;
    struct kv *kv;
    struct held snapshots[HELD_MAX];
    struct held cursors[HELD_MAX];
    struct buf value;
    int is_failed;      /* a write said ERR_IO in this life */
    uint64_t lazy_of_6; /* so many of six writes do not wait for the disk, in this life */
};

static void wrong(struct run *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void wrong(struct run *r, const char *fmt, ...)
{
    if (r->out->is_wrong) {
        return;
    }
    int n = snprintf(r->out->text, sizeof(r->out->text),
                     "seed %llu: ", (unsigned long long)r->sim->seed);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(r->out->text + n, sizeof(r->out->text) - (size_t)n, fmt, args);
    va_end(args);
    r->out->is_wrong = 1;
}

/* An error is fine when the disk has given one; any other is made up. */
static int is_excused(struct run *r, enum err e, const char *what, const struct note *note)
{
    int excused = e == ERR_IO && (sim_disk_has_failed(r->disk) || sim_disk_is_off(r->disk));
    if (!excused) {
        wrong(r, "%s says %s: %s", what, err_name(e), note->text);
    }
    return excused;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void expect_value(struct run *r, const char *what, size_t key, size_t point, uint32_t id)
{
    uint32_t wanted = r->m->points[point].ids[key];
    if (id != wanted) {
        wrong(r, "%s of key %zu at point %zu of %zu gives value %u instead of %u", what, key, point,
              r->m->newest, id, wanted);
    }
}

static void get_one(struct run *r, const struct held *at)
{
    struct note note = {0};
    size_t key = (size_t)rng_below(&r->rng, r->m->keys_count);
    size_t point = at != NULL ? at->point : r->m->newest;
    int is_blurred = at != NULL ? at->is_blurred : r->is_failed;
    int found = 0;
    enum err e =
        kv_get(r->kv, at != NULL ? at->snapshot : NULL, r->m->keys[key], &r->value, &found, &note);
    r->out->reads++;
    if (e) {
        (void)is_excused(r, e, "get", &note);
    } else if (!is_blurred) {
        uint32_t id = found ? kv_model_id(r->m, buf_slice(&r->value)) : KV_MODEL_ABSENT;
        if (found && id == KV_MODEL_ABSENT) {
            wrong(r, "get of key %zu gives %zu bytes that were never written", key, r->value.n);
        }
        expect_value(r, "get", key, point, id);
    }
}

/* The cursor stands somewhere: where the model says? */
static void compare_place(struct run *r, struct held *c, const char *what, int valid, size_t wanted)
{
    size_t none = r->m->keys_count;
    if (c->is_blurred) {
        c->at = valid ? kv_model_find(r->m, kv_cursor_key(c->cursor)) : none;
        return;
    }
    c->at = wanted;
    size_t found = valid ? kv_model_find(r->m, kv_cursor_key(c->cursor)) : none;
    if (valid && found == none) {
        wrong(r, "%s gives a key that was never written", what);
    } else if (found != wanted) {
        wrong(r, "%s goes to key %zu instead of %zu (of %zu) at point %zu of %zu", what, found,
              wanted, none, c->point, r->m->newest);
    } else if (valid) {
        expect_value(r, what, found, c->point, kv_model_id(r->m, kv_cursor_value(c->cursor)));
    }
}

static size_t first_key(const struct run *r, size_t point)
{
    return r->m->points[point].ids[0] != KV_MODEL_ABSENT ? 0 : kv_model_next(r->m, point, 0);
}

/* A key of the pool, or something near it. */
static size_t seek_place(struct run *r, struct held *c, int *valid, enum err *e, struct note *note)
{
    uint8_t bytes[KV_KEY_MAX + 8];
    struct slice key = r->m->keys[rng_below(&r->rng, r->m->keys_count)];
    size_t n = key.n;
    memcpy(bytes, key.p, n);
    switch (rng_below(&r->rng, 4)) {
    case 0: n = (size_t)rng_below(&r->rng, n); break;
    case 1: bytes[n++] = (uint8_t)rng_below(&r->rng, 256); break;
    case 2: bytes[n - 1] = (uint8_t)rng_below(&r->rng, 256); break;
    default: break;
    }
    size_t at = kv_model_seek(r->m, slice_bytes(bytes, n));
    int is_there = at < r->m->keys_count && r->m->points[c->point].ids[at] != KV_MODEL_ABSENT;
    *e = kv_cursor_seek(c->cursor, slice_bytes(bytes, n), valid, note);
    return at == r->m->keys_count || is_there ? at : kv_model_next(r->m, c->point, at);
}

static int step_cursor(struct run *r, struct held *c)
{
    struct note note = {0};
    int valid = 0;
    enum err e = ERR_NONE;
    size_t wanted = 0;
    const char *what = "";
    uint64_t luck = c->at == r->m->keys_count ? rng_below(&r->rng, 3) : rng_below(&r->rng, 12);
    if (luck == 0) {
        what = "first";
        wanted = first_key(r, c->point);
        e = kv_cursor_first(c->cursor, &valid, &note);
    } else if (luck == 1) {
        what = "last";
        wanted = kv_model_prev(r->m, c->point, r->m->keys_count);
        e = kv_cursor_last(c->cursor, &valid, &note);
    } else if (luck == 2) {
        what = "seek";
        wanted = seek_place(r, c, &valid, &e, &note);
    } else if (luck < 8) {
        what = "next";
        wanted = kv_model_next(r->m, c->point, c->at);
        e = kv_cursor_next(c->cursor, &valid, &note);
    } else {
        what = "prev";
        wanted = kv_model_prev(r->m, c->point, c->at);
        e = kv_cursor_prev(c->cursor, &valid, &note);
    }
    r->out->reads++;
    if (e) {
        c->at = r->m->keys_count;
        return is_excused(r, e, what, &note);
    }
    compare_place(r, c, what, valid, wanted);
    return 0;
}

static void use_cursor(struct run *r)
{
    struct held *c = &r->cursors[rng_below(&r->rng, HELD_MAX)];
    if (c->cursor == NULL) {
        struct held *s = &r->snapshots[rng_below(&r->rng, HELD_MAX)];
        int with = s->snapshot != NULL && rng_below(&r->rng, 2) == 0;
        *c = (struct held){.point = with ? s->point : r->m->newest,
                           .at = r->m->keys_count,
                           .is_blurred = with ? s->is_blurred : r->is_failed};
        c->cursor = kv_cursor_open(r->kv, with ? s->snapshot : NULL);
    } else if (rng_below(&r->rng, 6) == 0) {
        kv_cursor_close(c->cursor);
        c->cursor = NULL;
        return;
    }
    for (uint64_t i = rng_below(&r->rng, WALK_MAX); i > 0 && !r->out->is_wrong; i--) {
        if (step_cursor(r, c)) {
            return;
        }
    }
}

static void use_snapshot(struct run *r)
{
    struct held *s = &r->snapshots[rng_below(&r->rng, HELD_MAX)];
    if (s->snapshot == NULL) {
        *s = (struct held){.point = r->m->newest, .is_blurred = r->is_failed};
        s->snapshot = kv_snapshot_take(r->kv);
    } else if (rng_below(&r->rng, 4) == 0) {
        kv_snapshot_release(r->kv, s->snapshot);
        s->snapshot = NULL;
    } else {
        get_one(r, s);
    }
}

/* Everything there is, one way; 0 when it could not be read. */
static int scan(struct run *r, int backwards, struct kv_state *out)
{
    struct note note = {0};
    struct kv_cursor *cursor = kv_cursor_open(r->kv, NULL);
    size_t none = r->m->keys_count;
    size_t before = none;
    int valid = 0;
    memset(out, 0, sizeof(*out));
    enum err e =
        backwards ? kv_cursor_last(cursor, &valid, &note) : kv_cursor_first(cursor, &valid, &note);
    while (e == ERR_NONE && valid && !r->out->is_wrong) {
        size_t key = kv_model_find(r->m, kv_cursor_key(cursor));
        if (key == none) {
            wrong(r, "a scan gives a key that was never written");
            break;
        }
        if (before != none && (backwards ? key >= before : key <= before)) {
            wrong(r, "a scan gives key %zu behind key %zu", key, before);
        }
        before = key;
        out->ids[key] = kv_model_id(r->m, kv_cursor_value(cursor));
        if (out->ids[key] == KV_MODEL_ABSENT) {
            wrong(r, "a scan gives %zu bytes at key %zu that were never written",
                  kv_cursor_value(cursor).n, key);
        }
        e = backwards ? kv_cursor_prev(cursor, &valid, &note)
                      : kv_cursor_next(cursor, &valid, &note);
    }
    kv_cursor_close(cursor);
    return e ? !is_excused(r, e, "scan", &note) && 0 : 1;
}

static void say_difference(struct run *r, const struct kv_state *found)
{
    const struct kv_model *m = r->m;
    for (size_t i = 0; i < m->keys_count; i++) {
        uint32_t oldest = m->points[m->synced].ids[i];
        uint32_t newest = m->points[m->newest].ids[i];
        if (found->ids[i] != oldest && found->ids[i] != newest) {
            wrong(r, "after a start key %zu has value %u: acknowledged was %u, newest was %u", i,
                  found->ids[i], oldest, newest);
        }
    }
    wrong(r, "what a start found is no state from point %zu to %zu (%zu keys)", m->synced,
          m->newest, m->keys_count);
}

/* What is there must be one of the legal points; the history goes on from it. 0: not to be read. */
static int settle(struct run *r)
{
    struct kv_state forward;
    struct kv_state backward;
    if (!scan(r, 0, &forward) || !scan(r, 1, &backward)) {
        return 0;
    }
    if (memcmp(&forward, &backward, sizeof(forward)) != 0) {
        wrong(r, "a scan backwards gives something else than one forwards");
        return 0;
    }
    int point = kv_model_point_of(r->m, &forward);
    if (point < 0) {
        say_difference(r, &forward);
        return 0;
    }
    kv_model_restart(r->m, (size_t)point);
    return 1;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void fill_batch(struct run *r, struct kv_batch *batch, struct kv_state *state)
{
    uint64_t n = 1 + rng_below(&r->rng, rng_below(&r->rng, 12) == 0 ? 100 : 5);
    for (; n > 0; n--) {
        size_t key = (size_t)rng_below(&r->rng, r->m->keys_count);
        if (rng_below(&r->rng, 4) == 0) {
            kv_batch_delete(batch, r->m->keys[key]);
            state->ids[key] = KV_MODEL_ABSENT;
            continue;
        }
        uint32_t id = kv_model_new_id(r->m, &r->rng);
        struct slice value = kv_model_value(r->m, id);
        if (batch->bytes.n + value.n < KV_BATCH_MAX / 2) {
            kv_batch_put(batch, r->m->keys[key], value);
            state->ids[key] = id;
        }
    }
}

static void acknowledged(struct run *r, enum err e, enum kv_how how, const struct note *note)
{
    if (e) {
        (void)is_excused(r, e, "write", note);
        r->is_failed = 1;
    } else if (how == KV_SYNC) {
        r->m->synced = r->m->newest;
    }
}

static void write_some(struct run *r)
{
    struct note note = {0};
    struct kv_batch batch = {0};
    enum kv_how how = rng_below(&r->rng, 6) < r->lazy_of_6 ? KV_LAZY : KV_SYNC;
    struct kv_state before = r->m->points[r->m->newest];
    struct kv_state *state = kv_model_advance(r->m);
    fill_batch(r, &batch, state);
    int had_failed = r->is_failed;
    int is_empty = batch.count == 0;
    enum err e = kv_write(r->kv, &batch, how, &note);
    kv_batch_free(&batch);
    r->out->writes++;
    if (had_failed) {
        if (e == ERR_NONE && !is_empty) {
            wrong(r, "a write goes well in a store that has failed");
        }
        r->m->points[r->m->newest--] = before; /* refused, so nobody will ever see it */
        return;
    }
    acknowledged(r, e, how, &note);
}

static void sync_now(struct run *r)
{
    struct note note = {0};
    enum err e = kv_sync(r->kv, &note);
    if (e == ERR_NONE && r->is_failed) {
        wrong(r, "a sync goes well in a store that has failed");
    }
    acknowledged(r, e, KV_SYNC, &note);
}

static void ignore_stat(void *arg, const char *name, double value)
{
    (void)arg;
    check(name != NULL);
    check(value >= 0);
}

static void live(struct run *r)
{
    static const uint64_t lazy[] = {4, 4, 1, 0};
    uint64_t steps = 5 + rng_below(&r->rng, STEPS_MAX);
    r->lazy_of_6 = lazy[rng_below(&r->rng, sizeof(lazy) / sizeof(lazy[0]))];
    for (; steps > 0 && !r->out->is_wrong; steps--) {
        uint64_t luck = rng_below(&r->rng, 32);
        if (luck < 14) {
            write_some(r);
        } else if (luck < 15) {
            sync_now(r);
        } else if (luck < 20) {
            get_one(r, NULL);
        } else if (luck < 23) {
            use_snapshot(r);
        } else if (luck < 27) {
            use_cursor(r);
        } else if (luck < 31) {
            for (uint64_t turns = 1 + rng_below(&r->rng, 8); turns > 0 && kv_turn(r->kv); turns--) {
            }
        } else {
            kv_stats(r->kv, ignore_stat, NULL);
        }
    }
}

/* ---- lives ----------------------------------------------------------------------------------- */

static enum err open_store(struct run *r, struct note *note)
{
    static const size_t sizes[] = {4096, 4096, 4096, 16384, 65536, 1 << 20};
    static const size_t count = sizeof(sizes) / sizeof(sizes[0]);
    struct kv_options options = {
        .fs = sim_disk_fs(r->disk),
        .path = folder,
        .kind = r->sim->kind,
        .cache_bytes = sizes[rng_below(&r->rng, count)],
        .memtable_bytes = sizes[rng_below(&r->rng, count)],
        .manual = 1,
    };
    r->is_failed = 0;
    r->out->starts++;
    return kv_open(&options, &r->kv, note);
}

static void close_store(struct run *r)
{
    for (size_t i = 0; i < HELD_MAX; i++) {
        kv_cursor_close(r->cursors[i].cursor);
        r->cursors[i].cursor = NULL;
    }
    for (size_t i = 0; i < HELD_MAX; i++) {
        kv_snapshot_release(r->kv, r->snapshots[i].snapshot);
        r->snapshots[i].snapshot = NULL;
    }
    kv_close(r->kv);
    r->kv = NULL;
}

static void set_fault(struct run *r)
{
    uint64_t kind = rng_below(&r->rng, 8);
    uint64_t n = 1 + rng_below(&r->rng, rng_below(&r->rng, 2) ? 12 : 150);
    sim_disk_fault(r->disk, kind < 5 ? SIM_POWER_OFF : kind < 7 ? SIM_EIO : SIM_ENOSPC, n);
}

/* The end of a life: in good order, or killed, and then maybe the power goes too. */
static void end_life(struct run *r, int in_order)
{
    if (in_order) {
        int was_failed = r->is_failed;
        close_store(r);
        if (!was_failed && !sim_disk_has_failed(r->disk) && !sim_disk_is_off(r->disk)) {
            r->m->synced = r->m->newest;
        }
    }
    int off = sim_disk_is_off(r->disk) || rng_below(&r->rng, 2) == 0;
    sim_disk_unplug(r->disk);
    if (!in_order) {
        close_store(r);
    }
    sim_disk_restart(r->disk, off);
}

static void live_once(struct run *r)
{
    struct note note = {0};
    if (r->sim->fault_at != 0) {
        sim_disk_fault(r->disk, SIM_POWER_OFF, r->sim->fault_at);
    } else if (rng_below(&r->rng, 4) == 0) {
        set_fault(r); /* the open itself may meet it */
    }
    enum err e = open_store(r, &note);
    if (e) {
        if (is_excused(r, e, "open", &note)) {
            int off = sim_disk_is_off(r->disk) || rng_below(&r->rng, 2) == 0;
            sim_disk_restart(r->disk, off);
        }
        return;
    }
    if (settle(r)) {
        if (r->sim->fault_at == 0 && rng_below(&r->rng, 5) != 0) {
            set_fault(r);
        }
        live(r);
    }
    end_life(r, rng_below(&r->rng, 4) == 0);
}

static void say_fault(void *arg, const char *what)
{
    wrong(arg, "the check of a whole store says: %s", what);
}

/* At the end the disk is honest and well: the store opens, is right, and checks as whole. */
static void end_well(struct run *r)
{
    struct note note = {0};
    enum err e = open_store(r, &note);
    if (e) {
        wrong(r, "the last open says %s: %s", err_name(e), note.text);
        return;
    }
    if (settle(r)) {
        live(r);
    }
    end_life(r, 1);
    e = kv_check(sim_disk_fs(r->disk), folder, say_fault, r, &note);
    if (e) {
        wrong(r, "the check of a whole store says %s: %s", err_name(e), note.text);
    }
}

static void start_run(struct run *r, const struct kv_sim *sim, struct kv_sim_result *out)
{
    *out = (struct kv_sim_result){0};
    *r = (struct run){.sim = sim, .out = out, .rng = rng_seeded(sim->fault_at ? 11 : sim->seed)};
    r->disk = sim_disk_new(sim->seed);
    r->m = kv_model_new(sim->fault_at != 0 ? 11 : sim->seed);
    sim_disk_lie(r->disk, sim->lie);
}

static void end_run(struct run *r)
{
    buf_free(&r->value);
    kv_model_free(r->m);
    sim_disk_free(r->disk);
}

void kv_sim_run(const struct kv_sim *sim, struct kv_sim_result *out)
{
    struct run r;
    start_run(&r, sim, out);
    for (int life = 0; life < (sim->fault_at != 0 ? 1 : LIVES) && !out->is_wrong; life++) {
        live_once(&r);
        out->ops = life == 0 ? sim_disk_ops(r.disk) : out->ops;
    }
    if (!out->is_wrong) {
        end_well(&r);
    }
    end_run(&r);
}

/* ---- flipped bits ---------------------------------------------------------------------------- */

struct file_pick {
    struct rng *rng;
    uint64_t bytes;
    char path[128];
};

/* Each byte of all files is as likely as any other; the lock says nothing. */
static void pick_file(void *arg, const char *path, size_t bytes)
{
    struct file_pick *pick = arg;
    if (bytes == 0 || strstr(path, "/LOCK") != NULL) {
        return;
    }
    pick->bytes += bytes;
    if (rng_below(pick->rng, pick->bytes) < bytes) {
        (void)snprintf(pick->path, sizeof(pick->path), "%s", path);
    }
}

static void write_many(struct run *r, int steps)
{
    for (; steps > 0 && !r->out->is_wrong; steps--) {
        struct note note = {0};
        struct kv_batch batch = {0};
        enum kv_how how = rng_below(&r->rng, 3) == 0 ? KV_LAZY : KV_SYNC;
        fill_batch(r, &batch, kv_model_advance(r->m));
        enum err e = kv_write(r->kv, &batch, how, &note);
        kv_batch_free(&batch);
        acknowledged(r, e, how, &note);
        if (rng_below(&r->rng, 4) == 0) {
            (void)kv_turn(r->kv);
        }
    }
}

/* All keys that can be read are as the last write left them: the store was closed. */
static void read_damaged(struct run *r, int *refused)
{
    const struct kv_state *newest = &r->m->points[r->m->newest];
    for (size_t key = 0; key < r->m->keys_count; key++) {
        int found = 0;
        struct note note = {0};
        enum err e = kv_get(r->kv, NULL, r->m->keys[key], &r->value, &found, &note);
        if (e == ERR_CORRUPT) {
            *refused = 1;
            continue;
        }
        if (e) {
            wrong(r, "get after a flipped bit says %s: %s", err_name(e), note.text);
            return;
        }
        uint32_t id = found ? kv_model_id(r->m, buf_slice(&r->value)) : KV_MODEL_ABSENT;
        if (newest->ids[key] != id || (found && id == KV_MODEL_ABSENT)) {
            wrong(r, "after a flipped bit it reads what is not so any more, or never was");
            return;
        }
    }
}

static void count_fault(void *arg, const char *what)
{
    (void)what;
    ++*(int *)arg;
}

static void judge_damaged(struct run *r, const char *path)
{
    struct note note = {0};
    int refused = 0;
    int faults = 0;
    enum err e = open_store(r, &note);
    if (e == ERR_NONE) {
        read_damaged(r, &refused);
        close_store(r);
    } else if (e != ERR_CORRUPT && e != ERR_BAD_SETTING) {
        wrong(r, "open after a flipped bit in %s says %s: %s", path, err_name(e), note.text);
    }
    if (refused) {
        e = kv_check(sim_disk_fs(r->disk), folder, count_fault, &faults, &note);
        if (e == ERR_NONE && faults == 0) {
            wrong(r, "the check finds nothing where a read was refused (bit flipped in %s)", path);
        }
    }
}

void kv_sim_flip(const struct kv_sim *sim, struct kv_sim_result *out)
{
    struct run r;
    struct note note = {0};
    start_run(&r, sim, out);
    enum err e = open_store(&r, &note);
    if (e) {
        wrong(&r, "open says %s: %s", err_name(e), note.text);
    } else {
        write_many(&r, 10 + (int)rng_below(&r.rng, 60));
        close_store(&r);
        struct file_pick pick = {.rng = &r.rng};
        sim_disk_each(r.disk, pick_file, &pick);
        size_t n = 0;
        (void)sim_disk_bytes(r.disk, pick.path, &n);
        check(
            sim_disk_flip(r.disk, pick.path, rng_below(&r.rng, n), (unsigned)rng_below(&r.rng, 8)));
        judge_damaged(&r, pick.path);
        if (out->is_wrong) {
            size_t at = strlen(out->text);
            (void)snprintf(out->text + at, sizeof(out->text) - at, " [bit in %s]", pick.path);
        }
    }
    end_run(&r);
}
