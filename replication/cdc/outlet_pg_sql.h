#ifndef REPLICATION_CDC_OUTLET_PG_SQL_H
#define REPLICATION_CDC_OUTLET_PG_SQL_H

/* What the PostgreSQL sink says to the server: the statements of a batch of events. */

#include "replication/cdc/envelope.h"

/* Kept, because it may have to be done a second time. */
struct pg_statement {
    char *sql;
    char **values; /* NULL: NULL */
    int count;
    char *line;      /* the event, for a dead letter */
    char *ddl;       /* makes its table; NULL: known */
    int must_hit;    /* no row there is a dead letter */
    int has_unknown; /* a value is not known: a dead letter beside the row */
};

/* All-zero: empty. */
struct pg_batch {
    struct pg_statement *all;
    size_t count, cap;
    char **made; /* tables that this connection knows are there */
    size_t made_count;
};

void pg_batch_add(struct pg_batch *batch, const struct cdc_event *event);
void pg_batch_drop(struct pg_batch *batch);   /* the statements */
void pg_batch_forget(struct pg_batch *batch); /* the tables too */
void pg_batch_free(struct pg_batch *batch);

#endif
