#ifndef PLANNER_SPREAD_TIES_H
#define PLANNER_SPREAD_TIES_H

/* Shared by spread.c, spread_ties.c and spread_set.c. */

#include "planner/build.h"

enum {
    TERMS_MAX = 512
};

enum item_class {
    CLASS_NONE, /* not safe; the note says why */
    CLASS_SAME,
    CLASS_PARTED,
    CLASS_TIED
};

struct ties {
    struct scope *scope;
    struct note *note;
    uint8_t repeats; /* a UNION at the top: equal rows of several shards are one row */
    size_t count;
    struct {
        const struct rel *rel;
        uint16_t column;
        uint16_t up; /* union-find */
    } terms[TERMS_MAX];
};

#define HINT_KEY  "Compare the sharding key with a constant, or join on it."
#define HINT_JOIN "Join colocated tables on their sharding keys, or use reference tables."

/* Leave the reason; returns CLASS_NONE. */
enum item_class ties_unsafe(struct ties *t, const char *hint, const char *why);
void ties_collect(struct ties *t);
int ties_same_term(struct ties *t, const struct rel *a, int a_column, const struct rel *b,
                   int b_column);
int ties_colocated(const struct rel *x, const struct rel *y);
/* Some sharded relation of the one side lies with one of the other in every row. `on`: of an outer
 * join; `full`: of a FULL JOIN. */
int ties_masks(struct ties *t, uint64_t left, uint64_t right, const PgQuery__JoinExpr *on,
               int full);
/* Whether a level is `q` or is inside of it. */
int ties_within(const struct level *l, const struct level *q);
/* Whether rows of `x`, inside of sub-selects or not, are rows of the level that no outer join made.
 */
int ties_rows_of(const struct rel *x, const struct level *l);

/* spread.c */
enum item_class spread_level_class(struct ties *t, struct level *q);
enum item_class spread_same_level(struct ties *t, struct level *q);
/* spread_set.c: of a set operation inside the statement, and of one that is the statement. */
enum item_class spread_set_class(struct ties *t, struct level *q);
enum item_class spread_set_top(struct ties *t, struct level *q);

#endif
