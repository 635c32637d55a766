/* Reading everything there is and comparing it with what is said about it. Changes nothing. */

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/lsm/bloom.h"
#include "store/lsm/key.h"
#include "store/lsm/lsm.h"

enum {
    CHUNK_BYTES = 256 << 10
};

struct checking {
    struct sst_env env;
    struct manifest manifest;
    struct version *version;
    uint64_t seq; /* of the log's last batch */
    kv_fault_fn *fn;
    void *arg;
};

/* A fault is told and the check goes on; an error of the disk ends it. */
static enum err tell(struct checking *c, enum err e, struct note *note)
{
    if (e != ERR_CORRUPT) {
        return e;
    }
    c->fn(c->arg, note->text);
    return ERR_NONE;
}

static enum err check_file_crc(struct checking *c, const struct sst *sst,
                               const struct sst_meta *meta, struct note *note)
{
    uint8_t *chunk = mem_alloc(CHUNK_BYTES);
    uint64_t end = meta->bytes - SST_FOOTER;
    uint32_t crc = 0;
    enum err e = ERR_NONE;
    for (uint64_t at = 0; e == ERR_NONE && at < end;) {
        size_t n = end - at < CHUNK_BYTES ? (size_t)(end - at) : CHUNK_BYTES;
        e = sst_read_raw(&c->env, sst, at, chunk, &n, note);
        if (n == 0) {
            break;
        }
        crc = crc32c(crc, chunk, n);
        at += n;
    }
    mem_free(chunk);
    if (e == ERR_NONE && crc != meta->crc) {
        char path[SST_PATH_MAX];
        sst_path(&c->env, path, meta->number);
        e = note_set(note, ERR_CORRUPT, "%s: the checksum of the whole file is wrong", path);
    }
    return e;
}

struct walk {
    struct buf key;
    uint64_t tag;
    uint64_t entries, deletes;
};

static enum err check_entry(struct checking *c, const struct sst *sst, const struct run *run,
                            const struct sst_meta *meta, struct walk *walk, struct note *note)
{
    struct slice before = buf_slice(&walk->key);
    const char *what = NULL;
    if (walk->entries > 0 && lsm_compare(before, walk->tag, run->key, run->tag) >= 0) {
        what = "entries are out of order";
    } else if (walk->entries == 0 && !slice_eq(run->key, meta->smallest)) {
        what = "the first key is not the manifest's";
    } else if (lsm_tag_seq(run->tag) > c->manifest.flushed_seq) {
        what = "an entry is newer than the manifest says";
    } else if (!bloom_may_hold(sst_filter(sst), bloom_hash(run->key))) {
        what = "the filter does not know a key";
    }
    walk->entries++;
    walk->deletes += (uint64_t)lsm_tag_is_delete(run->tag);
    walk->tag = run->tag;
    walk->key.n = 0;
    buf_add_slice(&walk->key, run->key);
    return what == NULL ? ERR_NONE : note_set(note, ERR_CORRUPT, "%s", what);
}

static enum err walk_table(struct checking *c, const struct sst *sst, const struct sst_meta *meta,
                           struct note *note)
{
    struct walk walk = {0};
    struct run *run = sst_run(&c->env, &meta, 1, CHUNK_BYTES);
    enum err e = run->ops->first(run, note);
    while (e == ERR_NONE && run->valid) {
        e = check_entry(c, sst, run, meta, &walk, note);
        e = e ? e : run->ops->next(run, note);
    }
    run->ops->close(run);
    if (e == ERR_NONE && (walk.entries != meta->entries || walk.deletes != meta->deletes ||
                          !slice_eq(buf_slice(&walk.key), meta->largest))) {
        e = note_set(note, ERR_CORRUPT, "entries or last key are not the manifest's");
    }
    buf_free(&walk.key);
    if (e) {
        char path[SST_PATH_MAX];
        sst_path(&c->env, path, meta->number);
        return note_wrap(note, e, path);
    }
    return ERR_NONE;
}

static enum err check_table(struct checking *c, const struct sst_meta *meta, struct note *note)
{
    struct sst *sst = NULL;
    struct cache_entry *pin = NULL;
    enum err e = sst_acquire(&c->env, meta, &sst, &pin, note);
    if (e) {
        return e;
    }
    e = tell(c, check_file_crc(c, sst, meta, note), note);
    if (e == ERR_NONE) {
        e = walk_table(c, sst, meta, note);
    }
    sst_release(&c->env, pin);
    return e;
}

struct names {
    uint64_t *numbers;
    size_t n, cap;
};

static void see_name(void *arg, const char *name)
{
    struct names *names = arg;
    uint64_t number = sst_number_in(name);
    if (number == 0) {
        return;
    }
    if (names->n == names->cap) {
        names->cap = names->cap == 0 ? 64 : names->cap * 2;
        names->numbers = mem_grow(names->numbers, names->cap * sizeof(*names->numbers));
    }
    names->numbers[names->n++] = number;
}

static int is_there(const struct names *names, uint64_t number)
{
    for (size_t i = 0; i < names->n; i++) {
        if (names->numbers[i] == number) {
            return 1;
        }
    }
    return 0;
}

static enum err check_tables(struct checking *c, struct note *note)
{
    struct names names = {0};
    enum err e = c->env.fs->list(c->env.fs, c->env.dir, see_name, &names, note);
    for (int i = 0; e == ERR_NONE && i < LSM_LEVELS; i++) {
        for (size_t k = 0; e == ERR_NONE && k < c->version->levels[i].n; k++) {
            const struct sst_meta *meta = c->version->levels[i].metas[k];
            if (is_there(&names, meta->number)) {
                e = tell(c, check_table(c, meta, note), note);
            } else {
                char path[SST_PATH_MAX];
                sst_path(&c->env, path, meta->number);
                e = tell(c, note_set(note, ERR_CORRUPT, "%s is missing", path), note);
            }
        }
    }
    mem_free(names.numbers);
    return e;
}

static enum err check_batch(void *arg, uint64_t seq, const struct kv_batch *batch,
                            struct note *note)
{
    struct checking *c = arg;
    uint64_t last = seq + batch->count - 1;
    if (last <= c->manifest.flushed_seq) {
        return ERR_NONE;
    }
    if (seq != c->seq + 1) {
        return note_set(note, ERR_CORRUPT,
                        "the log goes on with entry %" PRIu64 " behind entry %" PRIu64, seq,
                        c->seq);
    }
    c->seq = last;
    return ERR_NONE;
}

static enum err check_all(struct checking *c, struct note *note)
{
    int found = 0;
    enum err e = manifest_load(&c->env, &c->manifest, &c->version, &found, note);
    if (e) {
        return tell(c, e, note);
    }
    if (!found) {
        (void)note_set(note, ERR_CORRUPT, "%s/manifest is missing", c->env.dir);
        return tell(c, ERR_CORRUPT, note);
    }
    e = check_tables(c, note);
    if (e) {
        return e;
    }
    struct kv_log_options options = {
        .fs = c->env.fs, .dir = c->env.dir, .replay = check_batch, .replay_arg = c};
    c->seq = c->manifest.flushed_seq;
    e = lsm_log_is_there(c->env.fs, c->env.dir, &c->manifest, note);
    return tell(c, e ? e : kv_log_look(&options, note), note);
}

enum err lsm_verify(struct fs *fs, const char *path, kv_fault_fn *fn, void *arg, struct note *note)
{
    struct note own = {0};
    struct checking c = {.fn = fn, .arg = arg};
    c.env.fs = fs;
    c.env.dir = path;
    c.env.blocks = cache_new(0);
    c.env.readers = cache_new(0);
    enum err e = check_all(&c, note != NULL ? note : &own);
    version_unref(c.version);
    cache_free(c.env.readers);
    cache_free(c.env.blocks);
    return e;
}
