#ifndef PLANNER_COMBINE_INNER_H
#define PLANNER_COMBINE_INNER_H

/*
 * What the files of combine share. Private to combine*.c.
 *
 *     combine.c           front door: formats, columns, which mode
 *     combine_limit.c     LIMIT and OFFSET
 *     combine_concat.c    rows as they come
 *     combine_sort.c      merge of sorted shards, and DISTINCT on top of it
 *     combine_agg.c       groups by hash
 *     combine_having.c    which groups stay
 *     combine_distinct.c  values that an aggregate of a group has already seen
 *     combine_state.c     one partial state: add, finish, order, print
 *     combine_bits.c      bit_and, bit_or, bit_xor
 *     combine_moments.c   the states of variance, correlation and regression
 *     combine_interval.c  sums and averages of intervals
 *     combine_compare.c   order of two values of a column
 *     combine_order.c     ... in binary, of the types that are more than a number or bytes
 *     combine_collate.c   ... of texts under a collation of the C library
 *     combine_group.c     bytes that are equal exactly when the values are
 */

#include "planner/combine_spec.h"
#include "planner/planner.h"
#include "wire/numeric.h"
#include "wire/types.h"
#include "wire/value.h"

/* A column of the shards' rows. */
struct combine_column {
    uint32_t type_oid;
    int16_t format;   /* as asked for by combine_formats() */
    uint8_t as_bytes; /* equal when the bytes are: the planner knows that it is an enum */
};

struct combine_merge;
struct combine_groups;

/* Owner: the session that runs the statement. */
struct combine {
    const struct combine_spec *spec;
    size_t shards_count;
    size_t window_bytes, memory_max;
    uint64_t ended; /* bit per shard */
    uint8_t described, done;
    uint8_t fewer_digits; /* see plan_args */
    uint64_t skip;        /* rows still to be dropped for OFFSET */
    uint64_t left;        /* rows still to be given for LIMIT; UINT64_MAX: no limit */
    uint64_t rows;        /* given */
    int16_t *out_formats; /* per visible output, as the client wants them */
    struct combine_column *columns;
    struct slice *values; /* of the row at hand; columns_count */
    struct buf row;       /* a row as a message, MERGE and DISTINCT */
    struct combine_merge *merge;
    struct combine_groups *groups;
};

/* ---- combine.c ------------------------------------------------------------------------------- */

/* Values of a row into c->values; *visible_end is where the first spec->visible values end. */
enum err combine_split_row(struct combine *c, struct slice body, size_t *visible_end,
                           struct note *note) MUST_CHECK;
/* Append a DataRow of the first spec->visible values of a row; `values` are the bytes behind the
 * count. */
void combine_put_raw(struct combine *c, struct slice values, struct buf *out);
enum err combine_no_memory(const struct combine *c, struct note *note);

/* ---- combine_limit.c ------------------------------------------------------------------------- */

enum err combine_limit_open(struct combine *c, const struct plan_args *args,
                            struct note *note) MUST_CHECK;
/* Whether the next row of the answer is given; counts it. Sets c->done behind the last one. */
int combine_limit_take(struct combine *c);

/* ---- combine_concat.c ------------------------------------------------------------------------ */

enum err combine_concat_row(struct combine *c, struct slice body, struct buf *out,
                            struct note *note) MUST_CHECK;

/* ---- combine_compare.c ----------------------------------------------------------------------- */

/* "jsonb", "text[]"; for types that are not known here, "number 12345". */
enum {
    COMBINE_TYPE_NAME_BYTES = 32
};
const char *combine_type_name(uint32_t type, char out[COMBINE_TYPE_NAME_BYTES]);

/* How two values of one column compare. */
struct combine_order {
    uint32_t type_oid;
    int16_t format;
    uint8_t kind;                    /* private to combine_compare.c */
    const struct combine_sort *sort; /* its labels or locale; else not looked at */
    struct combine_collator *collator;
};
/* ERR_UNSUPPORTED when values of this type and format cannot be put in order. `what` names the
 * place for the note: "ORDER BY". */
enum err combine_order_open(struct combine_order *order, const struct combine_column *column,
                            int bytewise, const char *what, struct note *note) MUST_CHECK;
/* The same for a sort key, which may be an enum, or text of another collation. */
enum err combine_order_open_sort(struct combine_order *order, const struct combine_column *column,
                                 const struct combine_sort *sort, const char *what,
                                 struct note *note) MUST_CHECK;
void combine_order_close(struct combine_order *order);
/* A number that orders as the values do, but may be equal where they are not, unless *exact. 0:
 * there is none for values of this kind, or not for this one. */
int combine_order_prefix(const struct combine_order *order, struct slice value, uint64_t *out,
                         int *exact);
/* Neither is NULL. */
enum err combine_order_compare(const struct combine_order *order, struct slice a, struct slice b,
                               int *out, struct note *note) MUST_CHECK;

/* ---- combine_order.c ------------------------------------------------------------------------- */

/* Types that combine_order_binary() takes and value_compare() does not. */
int combine_order_has_binary(uint32_t type);
/* Texts may be inside: then texts are compared as memcmp does. */
int combine_order_holds_text(uint32_t type);
enum err combine_order_binary(uint32_t type, struct slice a, struct slice b, int *out,
                              struct note *note) MUST_CHECK;

/* ---- combine_collate.c ----------------------------------------------------------------------- */

/* Owner: a combine_order. NULL: this library has no such locale. */
struct combine_collator *combine_collator_new(const char *locale);
void combine_collator_free(struct combine_collator *c);
/* As varstr_cmp() of PostgreSQL: the library's order, and bytes where that is equal. */
int combine_collator_compare(struct combine_collator *c, struct slice a, struct slice b);

/* ---- combine_group.c ------------------------------------------------------------------------- */

enum err combine_group_check(const struct combine_column *column, struct note *note) MUST_CHECK;
/* Append the value (p == NULL: NULL) so that two values append the same bytes exactly when they
 * are equal to PostgreSQL, and no list of values looks like another one. */
enum err combine_group_put(const struct combine_column *column, struct slice value,
                           struct numeric *scratch, struct arena *arena, struct buf *out,
                           struct note *note) MUST_CHECK;

/* ---- combine_sort.c -------------------------------------------------------------------------- */

enum err combine_merge_columns(struct combine *c, struct note *note) MUST_CHECK;
enum err combine_merge_row(struct combine *c, size_t shard, struct slice body, struct buf *out,
                           enum combine_next *next, struct note *note) MUST_CHECK;
/* Whole DataRow messages. */
enum err combine_merge_rows(struct combine *c, size_t shard, struct slice rows, struct buf *out,
                            enum combine_next *next, struct note *note) MUST_CHECK;
enum err combine_merge_end(struct combine *c, size_t shard, struct buf *out,
                           struct note *note) MUST_CHECK;
uint64_t combine_merge_starved(const struct combine *c); /* shards without a waiting row */
int combine_merge_wants(const struct combine *c, size_t shard);
void combine_merge_free(struct combine *c);

/* ---- combine_state.c: partial states of one output ------------------------------------------- */

enum combine_number {
    COMBINE_NOT_A_NUMBER,
    COMBINE_INT,
    COMBINE_NUMERIC,
    COMBINE_FLOAT4,
    COMBINE_FLOAT8,
    COMBINE_INTERVAL
};

/* What is the same for all groups. */
struct combine_agg {
    enum combine_kind kind;
    uint8_t detail;
    uint16_t column, count_column;
    uint16_t set;               /* 1 + index, or 0 */
    uint16_t key_column;        /* 1 + index, or 0: then `best` is the length of the key, 4 bytes,
                                   the key, and the value that is shown */
    enum combine_number number; /* of the column that is added up, COMBINE_VARIANCE: and how */
    uint32_t type_oid;          /* of that column */
    struct combine_order order; /* COMBINE_MIN, COMBINE_MAX; AS_IS and those when sorted by */
    uint32_t result_oid;
    int16_t out_format;
    uint8_t fewer_digits;          /* of floats in text */
    struct numeric term, quotient; /* scratch */
};

/* As interval_send() of the server has it. */
struct combine_interval {
    int64_t micros;
    int32_t days, months;
};

struct combine_state {
    uint8_t seen; /* not NULL */
    uint8_t truth;
    uint32_t cap; /* of best */
    int64_t count;
    union {
        __int128 whole;
        double real;
        struct {
            uint8_t *p;
            size_t n;
        } best;                 /* AS_IS, MIN, MAX, bit strings; in the arena of the groups */
        struct numeric *number; /* there too; averages and variances of integers from
                                   combine_state_finish() on */
        struct combine_interval interval;
        struct combine_moments *moments; /* there too, as the next */
        struct combine_squares *squares;
    };
};

/* Decide types; `sorted`: the output is a sort key. */
enum err combine_agg_open(struct combine_agg *agg, const struct combine_output *output,
                          const struct combine_column *columns, struct note *note) MUST_CHECK;
enum err combine_agg_sorted(struct combine_agg *agg, const struct combine_column *columns,
                            const struct combine_sort *sort, struct note *note) MUST_CHECK;
enum err combine_state_add(struct combine_agg *agg, struct combine_state *state,
                           const struct combine_column *columns, const struct slice *values,
                           struct arena *arena, struct note *note) MUST_CHECK;
/* Copy `value` into the state; its room is used again when it is large enough. */
enum err combine_keep_bytes(struct combine_state *s, struct slice value, struct arena *arena,
                            struct note *note) MUST_CHECK;
/* After the last row: averages are divided, what does not fit its type is found. */
enum err combine_state_finish(struct combine_agg *agg, struct combine_state *state,
                              struct arena *arena, struct note *note) MUST_CHECK;
/* Neither is NULL, both are finished. */
enum err combine_state_compare(const struct combine_agg *agg, const struct combine_state *a,
                               const struct combine_state *b, int *out,
                               struct note *note) MUST_CHECK;
/* Append the value with its length. */
enum err combine_state_put(const struct combine_agg *agg, const struct combine_state *state,
                           struct buf *out, struct note *note) MUST_CHECK;

/* ---- combine_bits.c -------------------------------------------------------------------------- */

enum err combine_bits_add(const struct combine_agg *agg, struct combine_state *s,
                          const struct combine_column *column, struct slice value,
                          struct arena *arena, struct note *note) MUST_CHECK;
/* Order and text of bit strings. */
int combine_bits_compare(struct slice a, struct slice b);
void combine_bits_put(const struct combine_agg *agg, struct slice bits, struct buf *out);

/* ---- combine_moments.c ----------------------------------------------------------------------- */

enum err combine_variance_open(struct combine_agg *agg, const struct combine_output *output,
                               const struct combine_column *columns, struct note *note) MUST_CHECK;
enum err combine_variance_add(struct combine_agg *agg, struct combine_state *s,
                              const struct combine_column *columns, const struct slice *values,
                              struct arena *arena, struct note *note) MUST_CHECK;
/* Leaves `number` or `real`, or NULL. */
enum err combine_variance_finish(struct combine_agg *agg, struct combine_state *s,
                                 struct arena *arena, struct note *note) MUST_CHECK;
enum err combine_moments_open(struct combine_agg *agg, const struct combine_column *columns,
                              struct note *note) MUST_CHECK;
enum err combine_moments_add(struct combine_agg *agg, struct combine_state *s,
                             const struct combine_column *columns, const struct slice *values,
                             struct arena *arena, struct note *note) MUST_CHECK;
/* Leaves `real` (MOMENT_COUNT: `whole`), or NULL. */
void combine_moments_finish(const struct combine_agg *agg, struct combine_state *s);

/* ---- combine_interval.c ---------------------------------------------------------------------- */

enum err combine_interval_read(struct slice in, struct combine_interval *out,
                               struct note *note) MUST_CHECK;
/* As interval_pl() of the server. Errors: ERR_NUMERIC_RANGE. */
enum err combine_interval_add(struct combine_interval *sum, const struct combine_interval *v,
                              struct note *note) MUST_CHECK;
/* As interval_div() of the server. */
void combine_interval_divide(struct combine_interval *v, int64_t count);
/* What it is compared by: microseconds, a month being 30 days and a day 24 hours. */
__int128 combine_interval_span(const struct combine_interval *v);
int combine_interval_compare(const struct combine_interval *a, const struct combine_interval *b);
void combine_interval_put(const struct combine_interval *v, struct buf *out); /* binary */

/* ---- combine_having.c ------------------------------------------------------------------------ */

struct combine_conditions;

/* NULL without error: the spec has none. */
enum err combine_having_open(const struct combine_spec *spec, const struct combine_agg *aggs,
                             struct combine_conditions **out, struct note *note) MUST_CHECK;
void combine_having_free(struct combine_conditions *h);
/* Whether a group with these finished states stays; memory comes from `arena`. */
enum err combine_having_holds(struct combine_conditions *h, const struct combine_agg *aggs,
                              const struct combine_state *states, struct arena *arena, int *out,
                              struct note *note) MUST_CHECK;

/* ---- combine_distinct.c ---------------------------------------------------------------------- */

struct combine_sets;

struct combine_sets *combine_sets_new(const struct combine_spec *spec);
void combine_sets_free(struct combine_sets *s);
size_t combine_sets_bytes(const struct combine_sets *s);
/*
 * See one row of group number `group`. *news gets a bit per set whose value is new to the group and
 * counts.
 */
enum err combine_sets_see(struct combine_sets *s, const struct combine *c, size_t group,
                          uint64_t *news, struct note *note) MUST_CHECK;

/* ---- combine_agg.c --------------------------------------------------------------------------- */

enum err combine_groups_columns(struct combine *c, struct note *note) MUST_CHECK;
enum err combine_groups_row(struct combine *c, struct slice body, struct buf *out,
                            struct note *note) MUST_CHECK;
enum err combine_groups_finish(struct combine *c, size_t bytes_max, struct buf *out, int *more,
                               struct note *note) MUST_CHECK;
uint32_t combine_groups_type(const struct combine *c, size_t output);
void combine_groups_free(struct combine *c);

#endif
