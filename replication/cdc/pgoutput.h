#ifndef REPLICATION_CDC_PGOUTPUT_H
#define REPLICATION_CDC_PGOUTPUT_H

/*
 * One message of PostgreSQL's output plugin pgoutput, protocol versions 1 to 4: bytes -> struct.
 * No connection, no state but "are we inside a streamed block", which decides whether messages
 * begin with a transaction id. What belongs together (transactions, relations) is assemble.h's.
 *
 *     version  server  adds
 *     1        10      B C O R Y I U D T, M (14)
 *     2        14      S E c A: transactions in progress, in blocks; R Y I U D T M get an xid there
 *     3        15      b P K r, p: two-phase commit
 *     4        16      A may carry position and time
 *
 * Any thread. Source: PostgreSQL documentation, "Logical Replication Message Formats";
 * src/backend/replication/logical/proto.c.
 */

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "replication/cdc/change.h"

enum {
    PGOUTPUT_COLUMNS_MAX = 1664 /* PostgreSQL's MaxTupleAttributeNumber */
};

/* Message types, as they are sent. */
enum pgoutput_type {
    PGOUTPUT_BEGIN = 'B',
    PGOUTPUT_COMMIT = 'C',
    PGOUTPUT_ORIGIN = 'O',
    PGOUTPUT_RELATION = 'R',
    PGOUTPUT_TYPE = 'Y',
    PGOUTPUT_INSERT = 'I',
    PGOUTPUT_UPDATE = 'U',
    PGOUTPUT_DELETE = 'D',
    PGOUTPUT_TRUNCATE = 'T',
    PGOUTPUT_MESSAGE = 'M',
    PGOUTPUT_STREAM_START = 'S',
    PGOUTPUT_STREAM_STOP = 'E',
    PGOUTPUT_STREAM_COMMIT = 'c',
    PGOUTPUT_STREAM_ABORT = 'A',
    PGOUTPUT_STREAM_PREPARE = 'p',
    PGOUTPUT_BEGIN_PREPARE = 'b',
    PGOUTPUT_PREPARE = 'P',
    PGOUTPUT_COMMIT_PREPARED = 'K',
    PGOUTPUT_ROLLBACK_PREPARED = 'r'
};

enum {
    PGOUTPUT_MESSAGE_TRANSACTIONAL = 1, /* flags of M */
    PGOUTPUT_TRUNCATE_CASCADE = 1,      /* flags of T */
    PGOUTPUT_TRUNCATE_RESTART = 2
};

/* The columns of a row, as they came; which of them are unknown depends on the relation. */
struct pgoutput_tuple {
    struct change_column *columns; /* in the arena; NULL: no such tuple in the message */
    uint16_t n_columns;
};

struct pgoutput_message {
    uint8_t type;     /* enum pgoutput_type */
    uint8_t flags;    /* M, T; S: 1 when it is the first block of the transaction */
    uint8_t old_kind; /* U, D: 'K' key, 'O' whole row, 0 none */
    uint32_t xid;     /* B S c A b P K r p; in a streamed block also of the change's own
                         (sub)transaction; 0: not said */
    uint32_t subxid;  /* A: what is aborted; equal to xid: all of it */
    uint64_t lsn; /* start of the record of commit, prepare, rollback; end of that of M; of O at the
                         origin */
    uint64_t end_lsn; /* end of that record */
    int64_t time_us;  /* of it, since 1970 */
    struct slice gid;
    struct slice name;   /* O, Y; M: prefix */
    struct slice schema; /* Y */
    struct slice content;
    uint32_t oid;         /* R Y I U D */
    const uint32_t *oids; /* T */
    size_t oids_count;    /* T */
    struct pgoutput_tuple old_tuple, new_tuple;
    struct change_relation relation; /* R; version 0 */
};

/*
 * Read one message, the payload of one XLogData.
 *   in_stream  it stands between S and E
 *   arena      for the arrays of *out; texts are views into `bytes`
 * Errors: ERR_SHARD_PROTOCOL; the note names message, field and offset. *out is undefined then.
 */
enum err pgoutput_read(struct slice bytes, int in_stream, struct arena *arena,
                       struct pgoutput_message *out, struct note *note) MUST_CHECK;

/* Microseconds since 1970 of PostgreSQL's, which count from 2000. Saturates. */
int64_t pgoutput_time(uint64_t since_2000);

#endif
