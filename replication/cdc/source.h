#ifndef REPLICATION_CDC_SOURCE_H
#define REPLICATION_CDC_SOURCE_H

/*
 * The source of changes of one shard: a thread that keeps a slot and a publication on the primary,
 * reads the slot and gives what committed to the sink.
 *
 *     cdc_source_start() -> attach: publication, slot, copy -> stream -> (lost) attach again ...
 *
 * The slot is acknowledged only behind the sink's durable mark. Whatever breaks the thread of
 * changes (slot gone, invalidated or moved by somebody else, another system, a failover behind
 * which the slot is missing or we were ahead) becomes a CHANGE_GAP record and a new copy.
 *
 * Any thread may call; all calls but cdc_source_free() return at once.
 */

#include <stdint.h>

#include "replication/cdc/assemble.h"
#include "replication/cdc/beat.h"
#include "replication/replication.h"

enum cdc_copy {
    CDC_COPY_INITIAL, /* tables are copied when a slot is made */
    CDC_COPY_NEVER    /* changes only */
};

struct cdc_source_options {
    struct cdc_shard shard;      /* texts are copied, here and below */
    struct pg_target target;     /* the primary; copied */
    const struct cdc_sink *sink; /* borrowed */
    struct fs *fs;               /* borrowed */
    const char *dir;             /* for transactions that are too large; made when missing */
    const char *publication, *slot_prefix;
    const char *tables; /* "schema.table, ..."; NULL: all */
    const char *fill;   /* tables whose unchanged large values are looked up; NULL: none */
    enum cdc_copy copy;
    int full_identity; /* tables without a key get REPLICA IDENTITY FULL, instead of a refusal */
    int copy_connections;
    uint32_t copy_pages;            /* of a table, in one piece; 0: 1024 */
    int heartbeat_ms, watermark_ms; /* 0: none */
    struct cdc_beat *beat;          /* of the database's watermarks; borrowed; NULL: none, and
                                       those of anybody count */
    size_t memory_max;
    uint64_t retained_max;   /* bytes of the server's log that the slot holds: warn; 0: never */
    uint64_t retained_limit; /* then it is given up: a gap; 0: never */
    int watch_ms;            /* between two looks at that; 0: 5000 */
    int snapshot_ms; /* a copy beside the stream waits for other transactions so long, then the
                        stream goes on for as long, then twice as long, and so on; 0: 5000 */
};

struct cdc_source;

/* Errors: ERR_IO (no thread). */
enum err cdc_source_start(const struct cdc_source_options *options, struct cdc_source **out,
                          struct note *note) MUST_CHECK;
void cdc_source_stop(struct cdc_source *s);
void cdc_source_free(struct cdc_source *s); /* stops and waits: as long as a call to the sink */
/* Where the primary is, from the next attachment on; now: there is another one, leave this one. */
void cdc_source_move(struct cdc_source *s, const struct pg_target *target, int now);
/* Copy a table again ("schema.table"; "" for all) without stopping. */
void cdc_source_recopy(struct cdc_source *s, const char *table);

enum cdc_doing {
    CDC_STARTING,
    CDC_WAITING,     /* between two tries: `error` says why */
    CDC_MAKING_SLOT, /* waits for transactions that run on the server */
    CDC_COPYING_TABLES,
    CDC_CATCHING_UP, /* reading what came before the copy that is asked for */
    CDC_READING,
    CDC_PAUSED, /* the sink is full */
    CDC_DOINGS
};
const char *cdc_doing_word(enum cdc_doing doing);

/* What it does just now, for SHOW CDC and metrics. */
struct cdc_look {
    enum cdc_doing doing;
    char slot[64];
    char wal_status[16]; /* as in pg_replication_slots; "" before PostgreSQL 13, or not known */
    char error[512];     /* of the last failure since it worked; or "" */
    uint32_t epoch, timeline;
    uint64_t received, durable; /* positions: read, acknowledged */
    uint64_t server_lsn;        /* end of the server's log when it was looked at */
    uint64_t retained_bytes;    /* of the server's log, for this slot: from restart_lsn */
    uint64_t unconfirmed_bytes; /* from confirmed_flush_lsn, as the server has it */
    int64_t safe_bytes;         /* until the server drops the slot; -1: no limit */
    int is_alarm;               /* that is too much */
    int64_t level_us; /* monotonic: all that the server had then is durable; 0: never yet */
    uint64_t rows_copied, tables_copied, tables_to_copy;
    uint64_t gaps, attaches, bytes;
    const struct cdc_counts *counts; /* as long as the source lives */
};
void cdc_source_look(struct cdc_source *s, struct cdc_look *out);

#endif
