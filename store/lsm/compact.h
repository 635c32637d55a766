#ifndef STORE_LSM_COMPACT_H
#define STORE_LSM_COMPACT_H

/*
 * Compactions: which tables to merge next, and the merging, step by step.
 *
 *     level n      [..] [d......k] [..]        the table(s) chosen: `inputs[0]`
 *     level n+1    [a..e] [f..h] [i..m]        what they meet there: `inputs[1]`
 *               --> [a..c][d..g][h..m]         written anew on level n+1
 *
 * Of each key only what some reader may still see is kept: entries that a newer one hides from
 * every snapshot are dropped, and so are deletes once no deeper level may hold the key. A single
 * table that meets nothing on the next level is only moved there. When no level is over its limit,
 * tables that are mostly deletions go down, until they have met what they delete.
 */

#include <stdint.h>

#include "store/lsm/version.h"

struct compact_limits {
    uint64_t level1_bytes; /* each next level may have growth times more */
    uint64_t table_bytes;  /* a table is ended when it has grown past this */
    size_t level0_tables;
    uint64_t growth;
};

/* What to merge. Tables are borrowed from the version it was picked from. */
struct compact_pick {
    int level;
    struct table **inputs[2]; /* of `level`, newest first for level 0; of the next one, by key */
    size_t counts[2];
    int is_move;
};

/* How much a level is over its limit: at least 1.0 asks for a compaction. */
double compact_score(const struct version *v, int level, const struct compact_limits *limits);
/* 0: nothing to do. compact_pick_free() when 1. */
int compact_choose(const struct version *v, const struct compact_limits *limits,
                   struct compact_pick *out);
void compact_pick_free(struct compact_pick *pick);

struct compaction;

/* Holds references to what it reads. Takes the pick. oldest_seq: the oldest moment anybody reads.
 */
struct compaction *compaction_new(struct sst_env *env, struct version *version,
                                  struct compact_pick *pick, const struct compact_limits *limits,
                                  uint64_t oldest_seq);
/* Merge about a megabyte. *done 1: all tables are written and synced. Numbers for new tables are
 * taken from *next_number. Errors: ERR_IO, ERR_CORRUPT. */
enum err compaction_step(struct compaction *c, uint64_t *next_number, int *done,
                         struct note *note) MUST_CHECK;
/* What it has done, once done; arrays live as long as it. */
void compaction_edit(const struct compaction *c, struct version_edit *edit);
uint64_t compaction_read_bytes(const struct compaction *c);
uint64_t compaction_written_bytes(const struct compaction *c);
void compaction_free(struct compaction *c); /* NULL is fine; unfinished files stay, as orphans */

#endif
