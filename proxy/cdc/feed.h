#ifndef PROXY_CDC_FEED_H
#define PROXY_CDC_FEED_H

/*
 * Reading the change log from outside: SQL on the proxy port, and HTTP.
 *
 *     SELECT * FROM braid.changes('users', group => 'g', limit => 100)
 *
 * is not PostgreSQL's grammar (group and limit are reserved words), so it never reaches the
 * planner: feed_wants() knows it by its first words, feed_read() reads it. A job of the control
 * thread reads the log, because that blocks, and its answer comes back to the session as that of
 * the console does.
 */

#include "base/arena.h"
#include "proxy/session/session.h"
#include "replication/cdc/consumer.h"

/* What is asked for, in words. Texts are the arena's. */
struct feed_call {
    const char *topic; /* as given: table, schema.table */
    const char *group, *member;
    const char *from; /* NULL: earliest */
    int64_t limit, wait_ms;
    int64_t partition, offset; /* -1: not given */
    enum cdc_ack ack;
};

enum {
    FEED_LIMIT = 100, /* when none is given */
    FEED_LIMIT_MAX = 100000,
    FEED_WAIT_MS_MAX = 60000,
    FEED_BYTES_MAX = 16 << 20 /* of an answer; one event may be longer */
};

/* Is the text a call of braid.changes()? Cheap: most texts differ in their first bytes. */
int feed_wants(struct slice text);
/* Errors: ERR_SYNTAX, ERR_BAD_SETTING. */
enum err feed_read(struct slice text, struct arena *arena, struct feed_call *out,
                   struct note *note) MUST_CHECK;
/* One argument by its name; value in plain text. For HTTP's queries too. */
enum err feed_set(struct feed_call *call, const char *name, const char *value,
                  struct note *note) MUST_CHECK;
/* "earliest", "latest", "time:<ms since 1970>", "lsn:<shard>:<hex>/<hex>".
 * Errors: ERR_BAD_SETTING. */
enum err feed_place(struct cdc_log *log, const char *database, const char *text,
                    struct cdc_seek_to *out, struct note *note) MUST_CHECK;
/* The call as the consumer takes it; texts are those of `call`.
 *   full   the topic has its database in front
 * Errors: ERR_NO_TABLE, ERR_BAD_SETTING. */
enum err feed_resolve(struct cdc_log *log, const char *database, int full,
                      const struct feed_call *call, struct cdc_consume *out,
                      struct note *note) MUST_CHECK;

/* A session's call: answered later. */
enum step feed_start(struct session *s, struct slice text);

#endif
