#ifndef PLANNER_SPREAD_INNER_H
#define PLANNER_SPREAD_INNER_H

/* Shared by spread_select.c (rows), spread_sort.c, spread_limit.c, spread_agg.c (groups) and
 * spread_call.c (aggregates). */

#include "planner/build.h"

enum {
    SPREAD_COLUMNS_MAX = 400, /* visible and hidden ones of a SELECT over several shards */
    SPREAD_HAVING_MAX = 32,
    SPREAD_DISTINCTS_MAX = 16 /* different agg(DISTINCT x) FILTER (...) */
};

struct spread_distinct { /* agg(DISTINCT expr) FILTER (WHERE filter) */
    tnode *expr, *filter;
    struct combine_set set;
};

struct spread {
    struct build *build;
    struct scope *scope;
    struct ties *ties;
    struct level *level;
    PgQuery__SelectStmt *q; /* changed in place into what the shards get */
    struct plan *plan;
    struct note *note;
    struct combine_spec *spec;
    struct combine_output outputs[SPREAD_COLUMNS_MAX];
    size_t outputs_count;
    struct combine_sort sorts[SPREAD_COLUMNS_MAX];
    size_t sorts_count;
    uint16_t groups[SPREAD_COLUMNS_MAX];
    size_t groups_count;
    tnode *targets[SPREAD_COLUMNS_MAX]; /* what the shards select, when it differs */
    size_t targets_count;
    struct spread_distinct distincts[SPREAD_DISTINCTS_MAX];
    size_t distincts_count;
    struct combine_having having[SPREAD_HAVING_MAX];
    size_t having_count;
    tnode *having_left;     /* HAVING that the shards decide */
    uint8_t keyed_distinct; /* an agg(DISTINCT key) was left to the shards, */
    uint8_t all_distinct;   /* which none may be: the shards group by other values, too */
    uint8_t binary;         /* every value of the answer will be asked for in binary */
    uint8_t changed;        /* q is no longer what the client wrote */
    uint8_t all_bytewise;
    const char *locale; /* else: every collation in sight is this one of the C library; or NULL */
};

/* Leave the reason; returns 0. */
int spread_fail(struct spread *s, const char *hint, const char *why);
/* Sets all_bytewise and locale. */
void spread_find_collation(struct spread *s);
/* ORDER BY into `sorts`, with hidden columns as `targets`; DISTINCT ON, in front of it. */
int spread_take_sorts(struct spread *s);
int spread_distinct_on(struct spread *s);
/* LIMIT and OFFSET of rows that come out of the shards as they shall be. */
int spread_take_limit(struct spread *s);
/* Type of a select item when it is plain to see (all exact numbers being one), else 0. */
uint32_t spread_type_output(struct spread *s, size_t at);
/* Whether a visible column surely can be put in order. */
int spread_orderable(struct spread *s, size_t at);
/* Whether ORDER BY has this visible column. */
int spread_sorted_by(struct spread *s, size_t at);
/* The column, it or a hidden one, whose bytes tell whether values of a visible one are equal; -1:
 * failed. */
int spread_equal_column(struct spread *s, size_t at);
/* Same expression, or the same column. */
int spread_same(struct spread *s, const tnode *a, const tnode *b);
int spread_no_odd_collations(struct spread *s);
/* The client's text of the type tells the order, whatever its settings. */
int spread_text_tells(uint32_t type);
/* Collation and labels that values of the expression are put in order by. */
void spread_order_of(struct spread *s, const tnode *expr, struct combine_sort *out);
int spread_sort_flags(struct spread *s, const PgQuery__SortBy *by, struct combine_sort *out);
/* The select item that an ORDER BY item names by number or name: its index, -1: neither, -2: failed
 */
int spread_sort_output(struct spread *s, const tnode *n);
/* OFFSET 0 that mentions the parameters of LIMIT and OFFSET taken away from the shards. */
void spread_keep_params(struct spread *s, tnode *limit, tnode *offset);
/* LIMIT or OFFSET as the combiner needs it, of the spec's `limit` or `offset`. */
int spread_limit(struct spread *s, const tnode *n, struct combine_limit *out);
/* Column that the shards select besides; -1: too many. */
int spread_add_target(struct spread *s, tnode *value);
int spread_is_aggregate(struct spread *s, const tnode *n);
/* An aggregate alone: its partial states as targets, and how they become its value. */
int spread_aggregate(struct spread *s, tnode *call, struct combine_output *out);
/* The output that is this aggregate, added when there is none; -1: failed. */
int spread_find_output(struct spread *s, tnode *aggregate);
/* HAVING into `having` and `having_left` (spread_having.c). */
int spread_take_having(struct spread *s);
/* GROUP BY item -> expression: a number is a select item, a name is a column of FROM before it is a
 * select item's name. NULL: failed. */
tnode *spread_group_expr(struct spread *s, tnode *n);
/* Fails for expressions that read the clock: each shard has its own. */
int spread_no_clock(struct spread *s, const tnode *expr);
/* Whether values of the expression can be told apart here, as far as its type is known. */
int spread_groupable(struct spread *s, const tnode *expr);
int spread_groups(struct spread *s); /* fills spec for COMBINE_AGGREGATE */

#endif
