#ifndef STORE_LSM_VERSION_H
#define STORE_LSM_VERSION_H

/*
 * Which tables there are, at one moment.
 *
 *     level 0   [newest] [..] [oldest]     memtables as they were written: ranges overlap
 *     level 1   [a..c][d..k][m..p]         sorted, disjoint, not even a key in common; 10 times
 *     level 2   [a..b][c..c][d..j]...      larger each
 *
 * A version never changes: a flush or a compaction makes a new one out of it. Versions and tables
 * have counted references; a table that the manifest does not name any more is removed from the
 * disk with its last one.
 */

#include <stdint.h>

#include "store/lsm/sst.h"

enum {
    LSM_LEVELS = 7
};

struct table {
    struct sst_meta meta;
    struct sst_env *env;
    _Atomic uint32_t refs;
    _Atomic int is_obsolete; /* no manifest names it */
};

struct level {
    struct table **tables;         /* level 0: newest first; others: by key */
    const struct sst_meta **metas; /* the same, as sst_run() wants them */
    size_t n;
    uint64_t bytes;
};

struct version {
    _Atomic uint32_t refs;
    struct level levels[LSM_LEVELS];
};

/* Copies the keys of meta. One reference. */
struct table *table_new(struct sst_env *env, const struct sst_meta *meta);
struct table *table_ref(struct table *t);
void table_unref(struct table *t);

struct version *version_new(void); /* empty; one reference */
struct version *version_ref(struct version *v);
void version_unref(struct version *v); /* NULL is fine */

/* What becomes of a version. Owner of the arrays: the caller. */
struct version_edit {
    struct table **removed; /* each is in the version */
    size_t removed_count;
    struct table **added;
    const int *added_levels;
    size_t added_count;
};

/* A new version; references to the added tables are taken. */
struct version *version_apply(const struct version *v, const struct version_edit *edit);

/* Are levels 1 and up sorted and disjoint, level 0 by number? Names the fault. */
enum err version_check(const struct version *v, struct note *note) MUST_CHECK;

/* The first table of a sorted level whose last key is not before `key`; n when there is none. */
size_t level_find(const struct level *level, struct slice key);
/* Tables of a sorted level that meet smallest..largest: from *first, how many. */
size_t level_overlap(const struct level *level, struct slice smallest, struct slice largest,
                     size_t *first);
/* May a level deeper than `level` hold the key? */
int version_has_below(const struct version *v, int level, struct slice key);

/* What the moment of lookup->tag sees of its key; lookup->found_tag says whether it is a delete.
 * *probes is raised by the tables that were asked. */
enum err version_get(const struct version *v, struct sst_lookup *lookup, uint64_t *probes,
                     struct note *note) MUST_CHECK;

uint64_t version_bytes(const struct version *v);

#endif
