#ifndef PLANNER_COMBINE_SPEC_H
#define PLANNER_COMBINE_SPEC_H

/*
 * How rows of several shards become one answer: written by the planner (spread.c, write.c), read by
 * combine*.c. Private to the room. Lives in the arena of its batch, immutable.
 *
 *     shard columns    what each row of a shard holds, in order
 *     outputs          the values of a row of the answer: the first `visible` ones go to the
 * client, the rest are only sorted by
 *
 * The planner does not know the type of every expression: types come from the shards'
 * RowDescription, and combine refuses (ERR_UNSUPPORTED) at combine_columns() what it cannot
 * compare, group or add up. What a type does not tell, collation, the planner has settled:
 * `bytewise` says that text may be compared with memcmp; without it a text type is refused for
 * sorting, min and max. Grouping needs equality only; the planner lets no nondeterministic
 * collation through.
 */

#include <stdint.h>

enum combine_mode {
    COMBINE_CONCAT,   /* rows as they come, then OFFSET and LIMIT; no sort keys */
    COMBINE_MERGE,    /* every shard sends its rows sorted by `sorts` */
    COMBINE_DISTINCT, /* as COMBINE_MERGE, and of rows equal in the first `unique_sorts` sorts only
                         the first one; 0: in all of them */
    COMBINE_AGGREGATE /* rows are partial groups: group by `groups` (hash), finish the outputs, sort
                         by `sorts`, OFFSET, LIMIT. groups_count == 0 and `one_row`: exactly one row
                         always; groups_count == 0 without one_row never happens. No aggregate
                         outputs at all: plain DISTINCT by hash */
};

enum combine_kind {
    COMBINE_AS_IS, /* the shard column `column`, unchanged (group key, or any column) */
    COMBINE_COUNT, /* sum of int8 partial counts, never NULL: 0 without rows */
    COMBINE_SUM,   /* sum of partial sums of `column`, in the type of that column: int8, numeric,
                      float4, float8; NULL when all partials are NULL */
    COMBINE_MIN,
    COMBINE_MAX,
    COMBINE_AVG, /* `column` (partial sum) divided by `count_column` (partial count, int8); NULL
                    when the count is 0. Sum int8 or numeric: numeric, as PostgreSQL's int8_avg and
                    numeric_avg round; sum float8: float8; interval: interval; others are refused
                    at run time */
    COMBINE_BOOL_AND, /* bool_and, every */
    COMBINE_BOOL_OR,
    COMBINE_BIT_AND, /* of int2, int4, int8, bit */
    COMBINE_BIT_OR,
    COMBINE_BIT_XOR,
    COMBINE_VARIANCE, /* `detail` is an enum numeric_spread; from `column` on: sum, count, sum of
                         squares (int8 or numeric: exact), or avg, count, var_pop (float8) */
    COMBINE_MOMENTS /* corr, covar_*, regr_*: `detail` is an enum combine_moment; from `column` on:
                       count, averages of X and Y, sxx, syy, sxy (regr_sxx() and so on) */
};

enum combine_moment {
    MOMENT_COUNT,
    MOMENT_AVGX,
    MOMENT_AVGY,
    MOMENT_SXX,
    MOMENT_SYY,
    MOMENT_SXY,
    MOMENT_COVAR_POP,
    MOMENT_COVAR_SAMP,
    MOMENT_CORR,
    MOMENT_R2,
    MOMENT_SLOPE,
    MOMENT_INTERCEPT
};

struct combine_sort;

struct combine_output {
    enum combine_kind kind;
    uint16_t column;       /* shard column */
    uint16_t count_column; /* COMBINE_AVG */
    uint16_t set;          /* COUNT, SUM, AVG of DISTINCT values: 1 + index into `sets`; else 0. The
                              values themselves are then in `column` */
    uint16_t key_column;   /* COMBINE_MIN, COMBINE_MAX: 1 + the column that has the same in binary,
                              where the client's text does not tell the order; else 0 */
    uint32_t sum_type;     /* COMBINE_VARIANCE: what its first column must be: int8 or numeric, a
                              sum; float8, an average */
    uint8_t detail;
    uint8_t bytewise;                 /* COMBINE_MIN, COMBINE_MAX: text compares with memcmp */
    const struct combine_sort *order; /* ... and how else; NULL: `bytewise` says it */
};

/* Values that count once per group: agg(DISTINCT x) FILTER (WHERE ...). */
struct combine_set {
    uint16_t column; /* x: the shards grouped by it, too */
    uint16_t filter; /* 1 + column with the number of rows that pass the FILTER; 0: it has none */
};

struct combine_sort {
    uint16_t output; /* index into `outputs` */
    uint8_t desc;
    uint8_t nulls_first; /* resolved: DESC without a word means NULLS FIRST */
    uint8_t bytewise;
    /* Text that is not bytewise: the C library's locale, which is that of the servers; or NULL */
    const char *locale;
    /* An enum: its labels in order; else NULL */
    const char *const *labels;
    uint32_t labels_count;
};

enum combine_having_op {
    HAVING_EQUAL,
    HAVING_UNEQUAL,
    HAVING_LESS,
    HAVING_LESS_EQUAL,
    HAVING_GREATER,
    HAVING_GREATER_EQUAL,
    HAVING_NULL,
    HAVING_NOT_NULL,
    HAVING_TRUE /* bool_and, bool_or */
};

/* A condition on whole groups: an output beside a number. Outputs: COUNT, SUM, AVG, VARIANCE,
 * MOMENTS, and MIN and MAX of integers and numerics; others are refused at run time. */
struct combine_having {
    uint16_t output;
    enum combine_having_op op;
    const char *number; /* as SQL has it: 5, -2.50, 1e3 */
};

enum combine_limit_kind {
    COMBINE_LIMIT_NONE,
    COMBINE_LIMIT_CONST,
    COMBINE_LIMIT_PARAM /* $param as bigint, text or binary (int2, int4, int8 by size); NULL: none;
                           negative: ERR_BAD_SETTING "LIMIT must not be negative" */
};

struct combine_limit {
    enum combine_limit_kind kind;
    uint16_t param; /* index, from 0 */
    uint64_t value;
};

struct combine_spec {
    enum combine_mode mode;
    /*
     * Columns that each shard row has; 0: any number, rows pass through as they are (COMBINE_CONCAT
     * only, `outputs` is then empty). Another number in RowDescription is ERR_STALE.
     */
    uint16_t columns_count;
    uint16_t outputs_count;
    uint16_t
        visible; /* the first outputs; in CONCAT, MERGE and DISTINCT output i is shard column i */
    const struct combine_output *outputs;
    uint16_t groups_count;
    const uint16_t *groups; /* shard columns; a group column may be hidden (in no output) */
    uint16_t sets_count;
    const struct combine_set *sets;
    const uint8_t *enums; /* per shard column: 1, an enum; NULL: none is */
    uint16_t having_count;
    const struct combine_having *having; /* COMBINE_AGGREGATE: all must hold */
    uint16_t sorts_count;
    const struct combine_sort *sorts;
    uint16_t unique_sorts; /* COMBINE_DISTINCT */
    struct combine_limit limit, offset;
    uint8_t with_ties; /* COMBINE_MERGE, COMBINE_DISTINCT: and the rows that are equal to the last
                          one of LIMIT in all sorts */
    uint8_t one_row;
};

/*
 * What combine can do with values of a type, for the planner to ask before: `binary` says that the
 * columns will be asked for in binary; else it must be possible in either format.
 */
int combine_orders_type(uint32_t type, const struct combine_sort *how,
                        int binary);                /* ORDER BY, min, max */
int combine_adds_type(uint32_t type, int binary);   /* sum and avg of such values */
int combine_hashes_type(uint32_t type, int binary); /* GROUP BY, DISTINCT */

#endif
