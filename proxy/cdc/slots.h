#ifndef PROXY_CDC_SLOTS_H
#define PROXY_CDC_SLOTS_H

/*
 * Replication commands on the proxy port: all shards of a database as one stream.
 *
 *     client (replication=database)         worker              job's thread (slots_job.c)
 *       CREATE_REPLICATION_SLOT ... ------>  mail  ------------>  commits the group's offset
 *       START_REPLICATION SLOT ...  ------>  op    ------------>  tx_reader.h, output.h
 *       <-- CopyData 'w', 'k'  ----------- a batch by mail <----  a batch, when there is room
 *       CopyData 'r' (flushed up to) ---->  kept  ------------->  commits the group's offset
 *
 * The connection is an ordinary session otherwise: statements of SQL run. A slot is the group
 * "slot:NAME:PLUGIN" of the topic DATABASE.braid.transactions; a position is the transaction's
 * place there, counted from 1: what is before a transaction's END has the position of its BEGIN, so
 * a position that was confirmed says which transactions came whole.
 *
 * One batch is on its way at a time, and the next is read when the client's queue has room. Owner
 * of a stream: the session's op and the job, both by count; the job outlives the op by one look.
 */

#include "base/arena.h"
#include "proxy/control/control.h"
#include "proxy/session/session.h"

enum slots_command {
    SLOTS_IDENTIFY,
    SLOTS_CREATE,
    SLOTS_DROP,
    SLOTS_START
};

enum {
    SLOT_NAME_MAX = 40,    /* as a part of a group's name */
    SLOTS_TEXT_MAX = 16384 /* of a command */
};

/* Texts are the arena's. */
struct slots_call {
    enum slots_command command;
    const char *slot, *plugin;
    uint64_t lsn;      /* START: where from; 0: where it stands */
    int no_boundaries; /* START, braid_json: neither BEGIN nor END */
};

/* Is the text a replication command? By its first word. */
int slots_wants(struct slice text);
/* Errors: ERR_SYNTAX, ERR_UNSUPPORTED, ERR_BAD_SETTING. */
enum err slots_read(struct slice text, struct arena *arena, struct slots_call *out,
                    struct note *note) MUST_CHECK;

/* Is the change log of the session's database kept? */
int slots_has_log(const struct session *s);
/* Run one. */
enum step slots_start(struct session *s, struct slice text);
void slots_answered(struct session *s, struct worker_mail *mail);
/* 0: the session runs no such command. */
int slots_cancel(struct session *s);

/* ---- between slots.c and slots_job.c -----------------------------------------------------------
 */

struct cdc_tx_reader;

enum slots_word { /* worker_mail.count */
    SLOTS_GO_ON,  /* bytes for the client, and then more */
    SLOTS_DONE,   /* the command is over: bytes, or the body of an ErrorResponse */
    SLOTS_FATAL   /* ... and the connection with it */
};

struct slots_job {
    struct job job; /* first */
    struct control_mail mail;
    struct list node; /* in control.slots, of a slot and while it runs; or in another's waiting */
    struct list waiting; /* jobs that want the slot, which is about to be free; control thread */
    _Atomic int refs;
    /* fixed */
    struct arena arena;
    struct slots_call call;
    char *database;
    size_t worker;
    uint64_t session, ticket;
    int64_t timeout_us; /* 0: never */

    pthread_mutex_t lock; /* what the session says: */
    pthread_cond_t wake;
    int wants;        /* there is room */
    int stops;        /* the session is gone, or the client has ended the stream */
    uint64_t given;   /* `sent` of the last batch: no more than this can be confirmed */
    uint64_t flushed; /* what the client has confirmed */
    int64_t heard_us;

    /* the job's own */
    uint32_t topic;
    char group[64];
    uint64_t generation;
    uint64_t committed; /* position that is durable */
    uint64_t sent;      /* ... of what was given whole */
    struct cdc_tx_reader *reader;
    struct buf message, held; /* held: one that waits for the position it gets */
    int64_t said_us;
    int asked; /* for an answer, since heard_us */
    int is_fatal;
    enum err err;
    struct buf out;
};

void slots_unref(struct slots_job *j);
void slots_send(struct slots_job *j); /* hand it to the control thread */
/* XLogData's and keepalive's bodies; positions, microseconds since 1970. */
void slots_put_data(struct buf *out, uint64_t at, uint64_t end, int64_t wall_us, struct slice data);
void slots_put_keepalive(struct buf *out, uint64_t end, int64_t wall_us, int wants_answer);

#endif
