#ifndef PLANNER_COPY_RUN_H
#define PLANNER_COPY_RUN_H

/*
 * A COPY ... FROM STDIN while its data comes: shared by copy_split.c (rows go on as they come) and
 * copy_drawn.c (rows wait for the values that the client leaves open). Private to the room.
 */

#include "planner/copy_lines.h"
#include "planner/copy_plan.h"
#include "planner/planner.h"
#include "wire/copytext.h"

/* A row that waits; its bytes are in `held_bytes`. */
struct copy_held_row {
    uint64_t number, lines; /* its first line as the client counts, and how many */
    size_t at, bytes, line; /* where it begins; with and without its line end */
};

struct plan_copy_run {
    const struct plan_copy *copy;
    struct map *map;
    uint64_t all; /* shards of the table */
    struct copy_split split;
    struct arena arena; /* fields that had to be decoded; of one row */
    struct slice run;   /* rows not emitted yet, all for `run_shards`; a view of the splitter */
    uint64_t run_shards;
    uint64_t run_line, run_lines; /* its first line as the client counts, and how many */
    struct copy_lines lines[SHARDS_MAX];
    uint8_t begun; /* binary: our header was emitted */
    /* copy_drawn.c */
    struct copy_held_row *held;
    size_t held_count, held_cap;
    struct buf held_bytes;
    struct buf header; /* the client's line of names, for HEADER MATCH */
};

/* Shards of a row; `drawn`: values of the columns that are no fields of it, or NULL. */
enum err copy_route(struct plan_copy_run *c, const struct copy_row *row, const struct slice *drawn,
                    uint64_t *shards, struct note *note) MUST_CHECK;
/* How many lines the servers of `shards` count in the row; `first`: it is their first. */
uint64_t copy_server_lines(const struct plan_copy_run *c, const struct copy_row *row,
                           uint64_t lines, int first);
void copy_hold(struct plan_copy_run *c, const struct copy_row *row);
void copy_held_free(struct plan_copy_run *c);

#endif
