#ifndef REPLICATION_CDC_OUTLET_H
#define REPLICATION_CDC_OUTLET_H

/*
 * Sinks: where the change log flows to by itself. Each has a thread, a kind that knows how to write
 * a batch, and a consumer group of its own ("sink:NAME"), so that it goes on where it was.
 *
 *     read a batch -> the kind keeps it durably -> commit offsets        at least once
 *                     fails: forget, wait (100 ms, doubled up to 30 s), read the same again
 *
 * The wait is each topic's own; as long as nothing works, it is everybody's.
 *
 * What cannot be kept for a reason that will not go away (a value that the table does not take) is
 * written to dead-NAME.jsonl beside the change log, with the reason, and counted (outlet_dead.h).
 *
 * An end: what is under way gets a second, then every wait of the kind is cut short; a thread that
 * hangs all the same (in the system's resolver) is left behind after five more.
 */

#include "replication/cdc/consumer.h"
#include "replication/cdc/outlet_dead.h"
#include "replication/cdc/web.h"
#include "replication/replication.h"

struct fs;
struct cdc_outlet;

/* What a kind works with; the outlet's own, for as long as it is. */
struct cdc_pour {
    struct pg_stop stop;    /* every wait looks at it */
    int timeout_ms;         /* for each answer of the other side */
    struct cdc_dead *dead;  /* what cannot be kept goes here */
    int64_t retry_after_us; /* out, with an error: the other side wants so long a pause */
};

/* How to write. `self` is what make() gave. Only the sink's thread calls. */
struct cdc_outlet_kind {
    const char *name; /* "file" */
    /* One event of the batch; borrowed. Errors: the batch has failed. */
    enum err (*event)(void *self, const struct cdc_event *event, struct note *note);
    /* The batch is whole: make it durable. Errors: it has failed, none of it counts. */
    enum err (*flush)(void *self, struct cdc_pour *pour, struct note *note);
    void (*forget)(void *self); /* the batch has failed: drop what was gathered */
    void (*free)(void *self);   /* the last call of the thread */
};

struct cdc_outlet_options {
    struct cdc_log *log;             /* borrowed until free */
    struct cdc_consumers *consumers; /* likewise */
    const struct cdc_outlet_kind *kind;
    void *self;              /* taken over */
    const char *topics;      /* comma separated, "database.schema.table" or "database.*"; NULL: all
                                tables, not the log's own topics */
    uint32_t batch;          /* events; 0: 500 */
    uint32_t bytes;          /* of values in a batch that has more than one event; 0: 4 MiB */
    int timeout_ms;          /* of struct cdc_pour; 0: 30 s */
    int retry_ms;            /* pause behind the first failure, then twice as long; 0: 100 ms */
    int retry_max_ms;        /* the longest pause; 0: 30 s */
    struct fs *fs;           /* for dead letters; NULL: the real disk */
    const char *dead;        /* their file; NULL: the kind has none */
    uint64_t dead_bytes_max; /* 0: no limit */
};

/* Errors: none that would not stop the process: it begins to work, and says what is wrong. */
struct cdc_outlet *cdc_outlet_start(const struct cdc_outlet_options *options);
void cdc_outlet_stop(struct cdc_outlet *outlet); /* returns at once */
void cdc_outlet_free(struct cdc_outlet *outlet); /* stops and waits, see above; NULL is fine */

struct cdc_outlet_stats {
    const char *kind;
    uint64_t events, batches, failures, dead;
    uint64_t lag;     /* records */
    int64_t retry_us; /* between two tries of what fails now; 0: it works */
    char error[256];  /* of the last failure, while a topic fails; or "" */
};
void cdc_outlet_stats(struct cdc_outlet *outlet, struct cdc_outlet_stats *out);

/* ---- kinds ----------------------------------------------------------------------------------- */

/* JSON lines in files changes-NUMBER.jsonl of `dir`, made when it is missing; a file is ended when
 * it has so many bytes. Owner of what all make: the caller, for cdc_outlet_start(). */
extern const struct cdc_outlet_kind cdc_outlet_file;
void *cdc_outlet_file_make(struct fs *fs, const char *dir, uint64_t bytes_max);

/* Rows of the same tables in a PostgreSQL server: upserts by key, tables made when missing.
 * conninfo: of libpq; a password in it is refused. */
extern const struct cdc_outlet_kind cdc_outlet_pg;
void *cdc_outlet_pg_make(const char *conninfo);
/* Pure. Errors: ERR_BAD_SETTING. */
enum err cdc_pg_check(const char *conninfo, struct note *note) MUST_CHECK;

/* A batch is one POST of {"events":[...]}. */
extern const struct cdc_outlet_kind cdc_outlet_webhook;
void *cdc_outlet_webhook_make(const struct cdc_web_options *options);

/* Documents of Elasticsearch or OpenSearch, an index per table. prefix: of the indexes' names, or
 * NULL. */
extern const struct cdc_outlet_kind cdc_outlet_elastic;
void *cdc_outlet_elastic_make(const struct cdc_web_options *web, const char *prefix);

/* Entries of a Redis stream per table. */
struct cdc_redis_options {
    const char *where;   /* host:port, host:port/database or unix:/path */
    const char *secret;  /* file: "password" or "user password"; NULL: none */
    const char *prefix;  /* of the streams' names; NULL: none */
    uint64_t length_max; /* entries, about; 0: no limit */
};
extern const struct cdc_outlet_kind cdc_outlet_redis;
void *cdc_outlet_redis_make(const struct cdc_redis_options *options);

struct cdc_redis_place {
    char host[256]; /* or the socket's path */
    int port, database, is_unix;
};
/* Pure. Errors: ERR_BAD_SETTING. */
enum err cdc_redis_parse(const char *text, struct cdc_redis_place *out,
                         struct note *note) MUST_CHECK;

/* Messages of a Kafka topic per table. */
struct cdc_kafka_options {
    const char *brokers;    /* "host:port,host:port" */
    const char *properties; /* file with librdkafka's, a "name=value" per line; NULL: none */
    const char *prefix;     /* of the topics' names; NULL: none */
};
extern const struct cdc_outlet_kind cdc_outlet_kafka;
void *cdc_outlet_kafka_make(const struct cdc_kafka_options *options);

/* ---- for kinds ------------------------------------------------------------------------------- */

/* An event as an object: {"topic":...,"partition":...,"offset":...,"key":...,"value":...}. */
void cdc_outlet_object(struct buf *out, const struct cdc_event *event);
/* The same of one that is kept in parts. */
struct cdc_outlet_place {
    const char *topic; /* of cdc_event: lives as long as the log */
    uint16_t partition;
    uint64_t offset;
};
void cdc_outlet_object_of(struct buf *out, const struct cdc_outlet_place *place, struct slice key,
                          struct slice value);

/* Do its rows have a key: can what is written be found again? */
int cdc_outlet_has_key(const struct change_relation *r);

/* Wait until one of *events of poll(2) has come (*events: which), the stop or the clock.
 * Errors: ERR_SHARD_DOWN (until_us has passed), ERR_SHUTDOWN. */
enum err cdc_pour_wait(struct cdc_pour *pour, int fd, short *events, int64_t until_us,
                       struct note *note) MUST_CHECK;

#endif
