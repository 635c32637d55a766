#ifndef PROXY_ROWS_H
#define PROXY_ROWS_H

/*
 * A write whose rows come out of a read (planner.h: PLAN_ROWS).
 *
 *     first time   a server is asked what the client's statement and the source's columns look like
 *                                                                        rows_describe.c
 *     before       CREATE TABLE AS makes its table                           rows_around.c
 *     source       read to its end over the session's own connections as any gather, or by a
 *                  workspace; its rows are kept as they came, and each step notes for each shard
 *                  which of them are its own                             rows.c, rows_store.c
 *     shards       those that have rows become part of the transaction: the operation is put aside
 *                  while the session waits for their connections         rows.c
 *     each step    the same statement on each of its shards, with arrays of at most ROWS_BATCH rows
 *                  or ROWS_BATCH_BYTES, one batch behind the other; a connection that does not keep
 *                  up waits for its next batch                           rows_step.c
 *     end          rows of RETURNING, which were kept, the tag; a statement of its own is
 * committed, in two phases when several shards were written         rows_end.c
 *
 * What fails before the client was told anything is begun again when it is a transaction of its
 * own and the servers say that somebody else was faster (40001, 40P01, rows of an `exact` step
 * that are not there any more).
 *
 * A source that does not fit into memory is read and written piece by piece: rows_portions.c.
 *
 * Memory: the rows, eight bytes for each mention of a row in a step, and what RETURNING gave; all
 * of it within limits.gather_memory_bytes. Owner: the session, on its worker's thread.
 */

#include "base/hmap.h"
#include "proxy/exec/copy_sink.h"
#include "proxy/exec/workspace.h"

enum {
    ROWS_BATCH = 1000,
    ROWS_BATCH_BYTES = 1024 * 1024,
    ROWS_NOWHERE = 0xFFFF
};

/* ---- rows_store.c: rows, and what becomes of them ------------------------------------------- */

/* How a column of the source travels. In the memory of the plan's batch. */
struct rows_column {
    const char *array; /* its array type, schema-qualified: "pg_catalog.int8[]" */
    const char *cast;  /* behind its name in the relation: "::s.mood", or "" */
    uint32_t array_oid, element_oid;
    uint32_t type;          /* home's OID of the source's column */
    uint8_t as_text;        /* asked for as text, sent as text[] */
    uint8_t copies_as_text; /* COPY in binary would not bring it over either */
    uint8_t by_settings;    /* settings of the session change its text */
};

struct rows_known {
    const struct rows_column *columns;
    size_t columns_count;
    const char *const *sql;   /* of each step */
    const int16_t *formats;   /* that the source is asked for */
    unsigned by_settings : 1; /* some text is changed by settings of the session */
};

/* Rows of one step for one shard: where they begin in the store. */
struct rows_part {
    uint64_t *at;
    size_t count, cap;
    struct buf returned; /* RETURNING: DataRow messages */
};

struct rows_store {
    struct buf bytes; /* bodies of DataRow messages, each behind its length in four bytes */
    size_t rows;
    uint64_t mentions;
};

/* The relation that a step's statement reads, "(SELECT c1 FROM ROWS FROM (unnest($3::..)) AS _
 * (c1))"; its first array is parameter `first` + 1. */
void rows_put_relation(const struct rows_column *columns, size_t count, size_t first,
                       struct buf *out);
/* Keep a row; returns where. */
uint64_t rows_keep(struct rows_store *store, struct slice body);
struct slice rows_at(const struct rows_store *store, uint64_t at);
void rows_mention(struct rows_store *store, struct rows_part *part, uint64_t at);
/* The fields of a row: *count of them on success. NULL fields have no p. */
enum err rows_fields(struct slice body, struct slice *fields, size_t count,
                     struct note *note) MUST_CHECK;
/*
 * Shards of a row in a step; 0: it is none of the step's.
 * Errors: as map_route().
 */
enum err rows_shards(const struct plan_rows_step *step, const struct map *map,
                     const struct rows_column *columns, const struct slice *fields,
                     uint64_t *shards, struct note *note) MUST_CHECK;
/* How many rows of `part` from `from` on make a batch; `whole`: all. */
size_t rows_batch(const struct rows_store *store, const struct rows_part *part, size_t from,
                  int whole);
/* Column `column` of a batch as a binary array with its length in front, as Bind takes it. */
void rows_put_array(const struct slice *fields, size_t rows, size_t columns_count, size_t column,
                    uint32_t element_oid, struct buf *out);

/* ---- rows_follow.c: rows that must meet ------------------------------------------------------ */

struct rows_followed {
    struct hmap seen; /* values, and where the first row with them goes */
    struct buf key;
    uint64_t bytes;
};

/* All-zero is a valid beginning. Changes *shards, where rows_shards() says that the row goes. */
enum err rows_follow(struct rows_followed *f, const struct plan_rows_step *step,
                     const struct slice *fields, uint64_t *shards, struct note *note) MUST_CHECK;
void rows_followed_free(struct rows_followed *f);

/* ---- the operation --------------------------------------------------------------------------- */

struct rows {
    struct workspace w; /* first, also for sources that need none: it begins with the gather */
    struct plan *plan;
    struct workspace *outer; /* it is a move of this one, which waits; NULL: a client's statement */
    struct plan *source;     /* plan->rows->source, or its `otherwise` */
    const struct rows_known *known;
    uint64_t source_shards;
    unsigned over : 1; /* ... are connections of the outer workspace, whose tables it reads */
    size_t around;     /* of plan_rows.before, then of `after`: those that have run */
    struct rows_store store;
    struct rows_followed followed;
    struct rows_part *parts; /* of step * SHARDS_MAX + shard */
    uint16_t *places;        /* of each row of the source: its part in a step that returns, or
                                ROWS_NOWHERE; NULL: nothing is returned in order */
    size_t places_cap;
    uint64_t *step_shards; /* of each step: shards with rows of it */
    uint64_t shards;       /* all of them */
    uint64_t counted;      /* rows touched, for the tag */
    uint64_t left;         /* rows that the step before did not touch */
    uint64_t returned_bytes;
    size_t params;        /* of the client's statement: they come first */
    struct slice *fields; /* room for those of fields_rows rows: a batch */
    size_t fields_rows;
    /* the step that runs, rows_step.c */
    size_t step;
    struct stmt *stmt; /* its statement as the servers keep it; NULL: it is sent */
    uint32_t *types;   /* of its parameters */
    uint64_t ended;    /* shards that have all of their rows, and Sync */
    struct buf chunk;  /* CopyData */
    size_t sent[SHARDS_MAX];
    uint64_t touched[SHARDS_MAX];
    /* the end */
    size_t given;          /* rows of RETURNING that were taken: by source row, or part */
    size_t *taken;         /* bytes of each part's `returned` */
    unsigned portions : 1; /* the source is read and written piece by piece, see rows_portions.c */
    unsigned more : 1;     /* ... what was read so far is being written, more is to come */
    unsigned wrote : 1;    /* ... some was written */
    unsigned own_tx : 1;   /* it has begun its transaction, and nothing else is in it */
    unsigned told : 1;     /* the client has got something */
    unsigned stopping : 1;
    unsigned step_runs : 1;
    /* Ids that the last row drew, of plan->seen */
    int64_t drawn[PLAN_SEEN_MAX];
    unsigned drew : 1, drew_else : 1; /* some row did; its ids cannot be read */
    unsigned source_whole : 1;        /* all rows came */
    unsigned moves_described : 1;
    uint8_t tries;
    /* rows_describe.c */
    struct buf described; /* RowDescription of the source */
    struct rows_column *asked;
    size_t asked_count, asked_cap;
    unsigned any_text : 1;
};

/* rows.c; rows_start(), rows_copy() are declared in op.h. rows_inside.c: as a move that writes, in
 * workspace.h; what it needs of rows.c: */
void rows_free(struct op *op);
struct rows *rows_make(struct session *s, struct plan *plan, struct plan *copy,
                       const struct front_bind *bind);
/* A transaction that nothing else is in may be begun again. */
void rows_begin_tx(struct session *s);
enum err rows_find_source(struct session *s, const struct plan *plan, const struct plan_args *args,
                          struct plan **source, uint64_t *shards, struct note *note) MUST_CHECK;
/* Some more rows of RETURNING; 0: there are none. */
size_t rows_parts_count(const struct rows *r); /* a step's on a shard */
int rows_give_more(struct rows *r, struct buf *out, size_t from);
/* ... how such a one's rows are wanted, and its ends. */
int rows_inside_as_text(const struct rows *r);
void rows_inside_done(struct rows *r);
void rows_inside_failed(struct rows *r, enum err e, const struct note *note);
/* It failed: by e and note, or (ERR_NONE) by the server's error in the operation. */
void rows_failed(struct rows *r, enum err e, const struct note *note);
void rows_answer(struct rows *r);
/* rows_around.c: what stands in front of the source, then rows_described(); behind the steps, then
 * rows_answer(). The shards that take part. */
uint64_t rows_around(const struct plan_rows *rows);
int rows_before_is_due(const struct rows *r);
void rows_run_before(struct rows *r);
void rows_run_after(struct rows *r);
/* The session runs the statement anew, or goes on with it. */
void rows_run_again(struct rows *r);
void rows_described(struct rows *r); /* all is known: go on */
void rows_done(struct rows *r);      /* all steps are */

/* rows_portions.c */
int rows_in_portions(const struct rows *r);
uint32_t rows_portion(const struct rows *r);         /* rows to ask of a shard */
void rows_portion_came(struct gather *g);            /* hooks->portion */
void rows_read_on(struct rows *r);                   /* what was read is written */
void rows_take(struct gather *g, struct slice body); /* rows.c: one row of the source */
void rows_source_over(struct rows *r);               /* rows.c */

/* rows_describe.c */
int rows_is_described(const struct session *s, const struct plan *plan);
void rows_describe(struct rows *r);

/* rows_step.c */
void rows_run_steps(struct rows *r);
void rows_drained(struct rows *r); /* a server has room again */

#endif
