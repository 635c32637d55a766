/* The merging of a compaction, step by step; what it may drop is in compact.h. */

#include "store/lsm/compact.h"

#include <stdatomic.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/lsm/key.h"
#include "store/lsm/merge.h"

enum {
    STEP_BYTES = 256 << 10, /* of keys and values: how long a flush may have to wait */
    AHEAD_BYTES = 256 << 10 /* of each input, read at once */
};

struct compaction {
    struct sst_env *env;
    struct version *version;
    struct compact_pick pick;
    struct compact_limits limits;
    uint64_t oldest_seq;

    struct run *run; /* over all inputs */
    int is_started;
    struct sst_writer *writer;     /* of the table being written, or NULL */
    const struct sst_meta **metas; /* of the inputs, for their runs */

    struct buf key; /* the last one seen */
    int has_key;
    int is_hidden; /* older entries of it are seen by nobody */

    struct table **removed;
    size_t removed_count;
    struct table **added;
    int *added_levels;
    size_t added_count, added_cap;
    uint64_t read_bytes, written_bytes;
};

/* ---- inputs ---------------------------------------------------------------------------------- */

/* Level 0's tables are runs of their own, the others' are one after another. */
static void open_inputs(struct compaction *c)
{
    const struct compact_pick *pick = &c->pick;
    size_t n = 0;
    size_t total = pick->counts[0] + pick->counts[1];
    struct run **runs = mem_alloc((pick->counts[0] + 1) * sizeof(*runs));
    c->metas = mem_alloc(total * sizeof(*c->metas));
    c->removed = mem_alloc(total * sizeof(*c->removed));
    for (size_t side = 0; side < 2; side++) {
        for (size_t i = 0; i < pick->counts[side]; i++) {
            c->metas[c->removed_count] = &pick->inputs[side][i]->meta;
            c->removed[c->removed_count++] = pick->inputs[side][i];
            c->read_bytes += pick->inputs[side][i]->meta.bytes;
        }
    }
    for (size_t i = 0; i < pick->counts[0]; i++) {
        runs[n++] = sst_run(c->env, c->metas + i, 1, AHEAD_BYTES);
    }
    if (pick->counts[1] > 0) {
        runs[n++] = sst_run(c->env, c->metas + pick->counts[0], pick->counts[1], AHEAD_BYTES);
    }
    c->run = merge_run(runs, n);
    mem_free(runs);
}

struct compaction *compaction_new(struct sst_env *env, struct version *version,
                                  struct compact_pick *pick, const struct compact_limits *limits,
                                  uint64_t oldest_seq)
{
    struct compaction *c = mem_zero(sizeof(*c));
    c->env = env;
    c->version = version_ref(version);
    c->pick = *pick;
    c->limits = *limits;
    c->oldest_seq = oldest_seq;
    *pick = (struct compact_pick){0};
    open_inputs(c);
    return c;
}

void compaction_free(struct compaction *c)
{
    if (c == NULL) {
        return;
    }
    c->run->ops->close(c->run);
    sst_writer_close(c->writer);
    for (size_t i = 0; i < c->added_count; i++) {
        table_unref(c->added[i]);
    }
    mem_free(c->added);
    mem_free(c->added_levels);
    mem_free(c->removed);
    mem_free(c->metas);
    buf_free(&c->key);
    compact_pick_free(&c->pick);
    version_unref(c->version);
    mem_free(c);
}

/* ---- outputs --------------------------------------------------------------------------------- */

static enum err end_table(struct compaction *c, struct note *note)
{
    struct sst_meta meta;
    enum err e = sst_writer_finish(c->writer, &meta, note);
    if (e == ERR_NONE) {
        if (c->added_count == c->added_cap) {
            c->added_cap = c->added_cap == 0 ? 16 : c->added_cap * 2;
            c->added = mem_grow(c->added, c->added_cap * sizeof(*c->added));
            c->added_levels = mem_grow(c->added_levels, c->added_cap * sizeof(*c->added_levels));
        }
        c->added_levels[c->added_count] = c->pick.level + 1;
        c->added[c->added_count++] = table_new(c->env, &meta);
        c->written_bytes += meta.bytes;
    }
    sst_writer_close(c->writer);
    c->writer = NULL;
    return e;
}

/* A table may end before this entry only when it is the first of its key: no two have one. */
static enum err write_entry(struct compaction *c, int is_new_key, uint64_t *next_number,
                            struct note *note)
{
    enum err e = ERR_NONE;
    if (c->writer != NULL && is_new_key && sst_writer_bytes(c->writer) >= c->limits.table_bytes) {
        e = end_table(c, note);
    }
    if (e == ERR_NONE && c->writer == NULL) {
        e = sst_writer_open(c->env, (*next_number)++, &c->writer, note);
    }
    return e ? e : sst_writer_add(c->writer, c->run->key, c->run->tag, c->run->value, note);
}

/* ---- the merging ----------------------------------------------------------------------------- */

/* May the entry the run stands on be forgotten? Notes what it hides. */
static int is_dropped(struct compaction *c, int *is_new_key)
{
    const struct run *run = c->run;
    *is_new_key = !c->has_key || !slice_eq(buf_slice(&c->key), run->key);
    if (*is_new_key) {
        c->has_key = 1;
        c->is_hidden = 0;
        c->key.n = 0;
        buf_add_slice(&c->key, run->key);
    }
    int drop = c->is_hidden;
    if (lsm_tag_seq(run->tag) <= c->oldest_seq) {
        drop |= lsm_tag_is_delete(run->tag) &&
                !version_has_below(c->version, c->pick.level + 1, run->key);
        c->is_hidden = 1;
    }
    return drop;
}

enum err compaction_step(struct compaction *c, uint64_t *next_number, int *done, struct note *note)
{
    struct run *run = c->run;
    size_t bytes = 0;
    enum err e = c->is_started ? ERR_NONE : run->ops->first(run, note);
    c->is_started = 1;
    *done = 0;
    while (e == ERR_NONE && run->valid && bytes < STEP_BYTES) {
        int is_new_key = 0;
        bytes += run->key.n + run->value.n + 16;
        if (!is_dropped(c, &is_new_key)) {
            e = write_entry(c, is_new_key, next_number, note);
        }
        e = e ? e : run->ops->next(run, note);
    }
    if (e == ERR_NONE && !run->valid) {
        e = c->writer != NULL ? end_table(c, note) : ERR_NONE;
        *done = 1;
    }
    return e;
}

void compaction_edit(const struct compaction *c, struct version_edit *edit)
{
    *edit = (struct version_edit){
        .removed = c->removed,
        .removed_count = c->removed_count,
        .added = c->added,
        .added_levels = c->added_levels,
        .added_count = c->added_count,
    };
}

uint64_t compaction_read_bytes(const struct compaction *c)
{
    return c->read_bytes;
}

uint64_t compaction_written_bytes(const struct compaction *c)
{
    return c->written_bytes;
}
