/* The manifest; what it is for is in manifest.h. */

#include "store/lsm/manifest.h"

#include <stdio.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "store/file.h"

enum {
    HEADER = 36,
    TABLE_FIXED = 1 + 8 + 8 + 8 + 8 + 4 + 2 + 2
};

static const char magic[8] = {'P', 'G', 'B', 'L', 'S', 'M', '0', '1'};

/* ---- the bytes ------------------------------------------------------------------------------- */

static void add_table(struct buf *out, int level, const struct sst_meta *meta)
{
    buf_u8(out, (uint8_t)level);
    buf_be64(out, meta->number);
    buf_be64(out, meta->bytes);
    buf_be64(out, meta->entries);
    buf_be64(out, meta->deletes);
    buf_be32(out, meta->crc);
    buf_be16(out, (uint16_t)meta->smallest.n);
    buf_add_slice(out, meta->smallest);
    buf_be16(out, (uint16_t)meta->largest.n);
    buf_add_slice(out, meta->largest);
}

void manifest_make(struct buf *out, const struct manifest *m, const struct version *v)
{
    uint32_t count = 0;
    out->n = 0;
    buf_add(out, magic, sizeof(magic));
    buf_be32(out, 0);
    buf_be64(out, m->next_number);
    buf_be64(out, m->flushed_seq);
    buf_be32(out, 0);
    buf_be32(out, 0);
    check(out->n == HEADER);
    for (int i = 0; i < LSM_LEVELS; i++) {
        for (size_t k = 0; k < v->levels[i].n; k++) {
            add_table(out, i, &v->levels[i].tables[k]->meta);
            count++;
        }
    }
    check(count <= MANIFEST_TABLES_MAX);
    buf_set_be32(out, 28, count);
    buf_set_be32(out, 32, (uint32_t)out->n);
    buf_set_be32(out, 8, crc32c(0, out->p + 12, out->n - 12));
}

static int read_key(struct slice *bytes, struct slice *out)
{
    if (bytes->n < 2) {
        return 0;
    }
    out->n = be16_at(bytes->p);
    out->p = bytes->p + 2;
    if (out->n == 0 || out->n > KV_KEY_MAX || out->n > bytes->n - 2) {
        return 0;
    }
    *bytes = slice_from(*bytes, 2 + out->n);
    return 1;
}

static int read_table(struct slice *bytes, int *level, struct sst_meta *meta)
{
    if (bytes->n < TABLE_FIXED) {
        return 0;
    }
    const uint8_t *p = bytes->p;
    *level = p[0];
    *meta = (struct sst_meta){
        .number = be64_at(p + 1),
        .bytes = be64_at(p + 9),
        .entries = be64_at(p + 17),
        .deletes = be64_at(p + 25),
        .crc = be32_at(p + 33),
    };
    *bytes = slice_from(*bytes, TABLE_FIXED - 4);
    return *level < LSM_LEVELS && meta->number != 0 && meta->entries != 0 &&
           meta->deletes <= meta->entries && read_key(bytes, &meta->smallest) &&
           read_key(bytes, &meta->largest);
}

enum err manifest_read(struct slice bytes, struct manifest *out, manifest_table_fn *fn, void *arg,
                       struct note *note)
{
    if (bytes.n < HEADER || memcmp(bytes.p, magic, sizeof(magic)) != 0) {
        return note_set(note, ERR_CORRUPT, "not a manifest of this version");
    }
    if (bytes.n != be32_at(bytes.p + 32) ||
        be32_at(bytes.p + 8) != crc32c(0, bytes.p + 12, bytes.n - 12)) {
        return note_set(note, ERR_CORRUPT, "bad checksum at offset 8");
    }
    struct manifest m = {be64_at(bytes.p + 12), be64_at(bytes.p + 20)};
    uint32_t count = be32_at(bytes.p + 28);
    struct slice rest = slice_from(bytes, HEADER);
    if (count > MANIFEST_TABLES_MAX || m.next_number == 0) {
        return note_set(note, ERR_CORRUPT, "impossible values at offset 12");
    }
    for (uint32_t i = 0; i < count; i++) {
        struct sst_meta meta;
        int level = 0;
        size_t at = bytes.n - rest.n;
        if (!read_table(&rest, &level, &meta) || meta.number >= m.next_number) {
            return note_set(note, ERR_CORRUPT, "impossible table at offset %zu", at);
        }
        enum err e = fn(arg, level, &meta, note);
        if (e) {
            return e;
        }
    }
    if (rest.n != 0) {
        return note_set(note, ERR_CORRUPT, "%zu bytes too many", rest.n);
    }
    *out = m;
    return ERR_NONE;
}

/* ---- the file -------------------------------------------------------------------------------- */

static void path_of(char out[SST_PATH_MAX], const char *dir, const char *name)
{
    (void)snprintf(out, SST_PATH_MAX, "%s/%s", dir, name);
}

enum err manifest_store(struct fs *fs, const char *dir, struct slice bytes, struct note *note)
{
    char fresh[SST_PATH_MAX];
    char path[SST_PATH_MAX];
    int fd = -1;
    path_of(fresh, dir, "manifest.new");
    path_of(path, dir, "manifest");
    enum err e = fs->open(fs, fresh, FS_CREATE, &fd, note);
    if (e) {
        return e;
    }
    e = fs->write(fs, fd, 0, bytes.p, bytes.n, note);
    if (e == ERR_NONE) {
        e = fs->sync(fs, fd, note);
    }
    fs->close(fs, fd);
    if (e) {
        return note_wrap(note, e, fresh);
    }
    /* Names of new tables first: the manifest must not be durable before them. */
    e = fs->sync_dir(fs, dir, note);
    if (e == ERR_NONE) {
        e = fs->rename(fs, fresh, path, note);
    }
    return e ? e : fs->sync_dir(fs, dir, note);
}

struct loading {
    struct sst_env *env;
    struct table **tables;
    int *levels;
    size_t n, cap;
};

static enum err keep_table(void *arg, int level, const struct sst_meta *meta, struct note *note)
{
    struct loading *l = arg;
    (void)note;
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 64 : l->cap * 2;
        l->tables = mem_grow(l->tables, l->cap * sizeof(*l->tables));
        l->levels = mem_grow(l->levels, l->cap * sizeof(*l->levels));
    }
    l->tables[l->n] = table_new(l->env, meta);
    l->levels[l->n++] = level;
    return ERR_NONE;
}

static enum err build(struct slice bytes, struct sst_env *env, struct manifest *out,
                      struct version **v, struct note *note)
{
    struct loading l = {.env = env};
    enum err e = manifest_read(bytes, out, keep_table, &l, note);
    if (e == ERR_NONE) {
        struct version *empty = version_new();
        struct version_edit edit = {
            .added = l.tables, .added_levels = l.levels, .added_count = l.n};
        *v = version_apply(empty, &edit);
        version_unref(empty);
        e = version_check(*v, note);
        if (e) {
            version_unref(*v);
        }
    }
    for (size_t i = 0; i < l.n; i++) {
        table_unref(l.tables[i]);
    }
    mem_free(l.tables);
    mem_free(l.levels);
    return e;
}

static void see_name(void *arg, const char *name)
{
    int *found = arg;
    *found |= strcmp(name, "manifest") == 0;
}

static enum err read_whole(struct fs *fs, const char *path, struct buf *out, struct note *note)
{
    int fd = -1;
    uint64_t size = 0;
    enum err e = fs->open(fs, path, FS_READ, &fd, note);
    if (e) {
        return e;
    }
    e = fs->size(fs, fd, &size, note);
    if (e == ERR_NONE && size > MANIFEST_BYTES_MAX) {
        e = note_set(note, ERR_CORRUPT, "%llu bytes are too many", (unsigned long long)size);
    }
    if (e == ERR_NONE) {
        size_t n = (size_t)size;
        buf_reserve(out, n + 1);
        e = fs->read(fs, fd, 0, out->p, &n, note);
        out->n = n;
    }
    fs->close(fs, fd);
    return e ? note_wrap(note, e, path) : ERR_NONE;
}

enum err manifest_load(struct sst_env *env, struct manifest *out, struct version **v, int *found,
                       struct note *note)
{
    char path[SST_PATH_MAX];
    struct buf bytes = {0};
    path_of(path, env->dir, "manifest");
    *found = 0;
    enum err e = env->fs->list(env->fs, env->dir, see_name, found, note);
    if (e) {
        return e;
    }
    if (!*found) {
        *out = (struct manifest){.next_number = 1};
        *v = version_new();
        return ERR_NONE;
    }
    e = read_whole(env->fs, path, &bytes, note);
    if (e == ERR_NONE) {
        e = build(buf_slice(&bytes), env, out, v, note);
        e = e ? note_wrap(note, e, path) : ERR_NONE;
    }
    buf_free(&bytes);
    return e;
}
