#ifndef PLANNER_COPY_PLAN_H
#define PLANNER_COPY_PLAN_H

/*
 * What copy_split*.c must know of a COPY ... FROM STDIN to find the key in each row: written by
 * utility_copy.c, read by copy_split*.c. Private to the room; lives in the arena of its batch.
 */

#include <stdint.h>

#include "shardmap/shardmap.h"

struct copy_plan {
    uint16_t keys_count;                 /* 0: reference table, every row goes everywhere */
    uint16_t keys[KEY_COLUMNS_MAX];      /* field of the row that holds each key column, from 0 */
    uint32_t key_types[KEY_COLUMNS_MAX]; /* of the columns */
    int32_t chars_max[KEY_COLUMNS_MAX];  /* varchar(n): of the column; else 0 */
    uint8_t drawn[KEY_COLUMNS_MAX];      /* key column is no field but the n-th drawn one, from 1 */
    uint8_t header;                      /* the first line is no row: it goes to every shard */
    char delimiter;
    char quote, escape;    /* CSV only */
    const char *null_text; /* "\\N" for text and "" for CSV unless given */
    /* CSV, bit per key column (its place in `keys`): FORCE_NULL, FORCE_NOT_NULL */
    uint8_t force_null, force_not_null;
};

/* varchar(n) cuts blanks behind n characters when a row is written; the hash is of what is kept. */
void key_cut_blanks(struct slice *s, int32_t chars_max);

#endif
