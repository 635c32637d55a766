#ifndef REPLICATION_CDC_SOURCE_IMPL_H
#define REPLICATION_CDC_SOURCE_IMPL_H

/*
 * Inside of the source of one shard. All fields but those under `lock` and atomics belong to its
 * thread.
 *
 *     source.c    the thread, tries and pauses, what others see
 *     attach.c    connections, slot; is the thread of changes whole
 *     publication.c  kept, and looked at: has somebody else changed it
 *     stream.c    reading, acknowledging, heartbeats
 *     copy.c      first copies
 *     watch.c     what the slot holds of the server's log
 *     fill.c      large values that an update left alone, looked up
 *     rolled_back.c  sub-transactions that do not count, looked up
 */

#include <pthread.h>

#include "replication/cdc/judge.h"
#include "replication/cdc/keep.h"
#include "replication/cdc/source.h"
#include "replication/cdc/state.h"
#include "replication/pq.h"

enum {
    CDC_STATUS_MS = 1000,       /* between two acknowledgements */
    CDC_WATCH_MS = 5000,        /* between two looks at the slot */
    CDC_SIDE_TIMEOUT_MS = 5000, /* of statements beside the stream */
    CDC_NAME_BYTES = 64
};

/* A copy that is to be made where the stream passes `lsn`. */
struct cdc_barrier {
    int wanted;   /* a snapshot has been taken, the stream is on its way to it */
    uint64_t lsn; /* commits from here on are not in the snapshot */
    char snapshot[CDC_NAME_BYTES];
    PGconn *holder; /* keeps the snapshot; NULL: the stream's own connection did */
};

struct cdc_source {
    struct cdc_source_options o; /* texts in `memory`, but those of the target */
    struct arena memory;
    pthread_t thread;
    struct pg_stop stop;      /* of the thread */
    struct pg_stop interrupt; /* ends the attachment; set with `stop` and by others */

    pthread_mutex_t lock;
    struct pg_target target; /* in target_memory */
    struct arena target_memory;
    struct buf recopy; /* asked for: names, each with a 0 byte */
    struct cdc_look look;

    struct pg_target here; /* where this attachment is; in here_memory */
    struct arena here_memory;
    PGconn *side, *stream;
    int version;           /* of the server: 150000 and so on */
    int is_streaming;      /* `stream` is in COPY */
    struct cdc_mark place; /* given last; in epoch, lsn and index */
    struct cdc_state state;
    struct assembler *assembler;
    struct cdc_barrier barrier;
    uint64_t received;
    int64_t status_us, show_us, watch_us, heartbeat_us, idle_us; /* next time */
    int64_t watermark;                                           /* number of the last one */
    int want_reply;
    uint64_t asked_at; /* wal_end of the last keepalive that wanted an answer */
    int64_t asked_us;
    unsigned asked;    /* times in a row */
    int64_t looked_us; /* look.server_lsn is of then */
    struct cdc_failures failures;
    struct cdc_keeping keeping;
    int try_ms;             /* a snapshot is waited for so long; 0: there was none yet */
    int64_t snapshot_us;    /* not before */
    int64_t making_us;      /* since then a slot is being made, and nobody was told yet; or 0 */
    int is_over;            /* the slot is to be given up */
    int said_others;        /* slots that nobody reads were looked for */
    int is_changed;         /* the publication is another one than when the stream began */
    struct buf publication; /* what it was then: see publication.c */
    char said[512];         /* the error logged last */
    PGresult *filled;       /* of the last look for values, whose bytes are in use; see fill.c */
    uint32_t not_visible;   /* a transaction that was waited for in vain */
    struct cdc_counts counts;
};

void cdc_doing(struct cdc_source *s, enum cdc_doing doing);
struct pq_wait cdc_wait(struct cdc_source *s, int timeout_ms);
/* attach.c: the same for other connections than the stream and `side`, which are used meanwhile. */
struct pq_wait cdc_wait_beside(struct cdc_source *s, int timeout_ms);
/* Give `state` to the sink with the place as it is; sync: and wait until it is durable. */
enum err cdc_remember(struct cdc_source *s, int sync, struct note *note) MUST_CHECK;
enum err cdc_side(struct cdc_source *s, const char *sql, PGresult **out,
                  struct note *note) MUST_CHECK;
/* A quoted identifier, a quoted literal. */
void source_put_name(struct buf *b, const char *name);
void source_put_text(struct buf *b, const char *text);
uint64_t cdc_read_lsn(const char *text); /* "0/16B3748"; 0: none */
struct pg_target cdc_target(const struct cdc_source *s, int replication);

/* attach.c: everything up to START_REPLICATION; the barrier is set when tables are to be copied. */
enum err cdc_attach(struct cdc_source *s, struct note *note) MUST_CHECK;
/* A snapshot beside the stream, and the barrier for it. */
enum err cdc_take_snapshot(struct cdc_source *s, struct note *note) MUST_CHECK;
/* The thread of changes is lost; the next attachment begins anew. */
enum err cdc_gap(struct cdc_source *s, const char *why, struct note *note) MUST_CHECK;
void cdc_drop_barrier(struct cdc_source *s);

/* publication.c: it is there, as it should be, and tables that it lost are forgotten; or a gap. */
enum err cdc_keep_publication(struct cdc_source *s, struct note *note) MUST_CHECK;
/* Sets is_changed. */
void cdc_watch_publication(struct cdc_source *s);

/* stream.c */
enum err cdc_stream(struct cdc_source *s, struct note *note) MUST_CHECK;
/* Acknowledge what is durable, when it is time or `now`. */
enum err cdc_status(struct cdc_source *s, int now, struct note *note) MUST_CHECK;

/* watch.c: a look at the slot when it is time; then is_over may say cdc_give_up(), a gap. */
void cdc_watch(struct cdc_source *s);
enum err cdc_give_up(struct cdc_source *s, struct note *note) MUST_CHECK;

/* fill.c: assemble_options.fill, with the source as its argument. */
uint64_t cdc_fill(void *arg, const struct change_relation *relation, struct change_column *columns,
                  const uint32_t xids[2]);

/* rolled_back.c: assemble_options.rolled_back, likewise. */
enum err cdc_rolled_back(void *arg, uint32_t *xids, size_t *count, struct note *note);

/* copy.c: tables that the publication has and that are not in the state yet; then the copy. */
enum err cdc_list_tables(struct cdc_source *s, struct note *note) MUST_CHECK;
enum err cdc_copy_tables(struct cdc_source *s, struct note *note) MUST_CHECK;

#endif
