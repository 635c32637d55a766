#ifndef REPLICATION_CDC_JUDGE_H
#define REPLICATION_CDC_JUDGE_H

/*
 * What the end of a stream means: to try again, or that the thread of changes is lost. Pure.
 *
 *     the server says that its log, or the publication, is gone             lost at once
 *     it cannot decode what comes next, or we cannot read it:
 *         CDC_SAME_FAILURES times in a row at one place, nothing between    lost
 *         fewer times                                                       try again
 *     anything else (stops, restarts, is full, no memory)                   try again
 *
 * PostgreSQL has transactions that it can never decode: one whose first change stands in a
 * sub-transaction that writes a table anew (TRUNCATE, ALTER TABLE), that was prepared and rolled
 * back before its slot came to it: "could not map filenode ... to relation OID". Without an end to
 * the tries the slot would keep the server's log until its disk is full.
 *
 * Source: PostgreSQL src/backend/replication/logical/reorderbuffer.c, ReorderBufferProcessTXN().
 */

#include <stdint.h>

#include "base/err.h"

enum {
    CDC_SAME_FAILURES = 6
};

/* The failures in a row at one place; all-zero: none. */
struct cdc_failures {
    char _sqlstate[6];
    uint32_t _epoch, _index;
    uint64_t _lsn;
    unsigned times;
};

struct cdc_failure {
    enum err err;
    const char *sqlstate; /* "" when the server did not say anything */
    const char *text;
    uint32_t epoch; /* where: what was given last */
    uint64_t lsn;
    uint32_t index;
};

/* 1: what comes next cannot be had from this slot. */
int cdc_judge(struct cdc_failures *f, const struct cdc_failure *failure);

#endif
