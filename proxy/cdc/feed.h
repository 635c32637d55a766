#ifndef PROXY_CDC_FEED_H
#define PROXY_CDC_FEED_H

/*
 * Reading the change log from outside: SQL on the proxy port, and HTTP.
 *
 *     SELECT * FROM braid.changes('users', group => 'g', limit => 100)
 *
 * is not PostgreSQL's grammar (group and limit are reserved words), so it never reaches the
 * planner: feed_wants() knows it by its first words, feed_read() reads it, a Parse of it gets a
 * PLAN_CHANGES. A job of the control thread reads the log, because that blocks, and its answer
 * comes back to the session by mail.
 */

#include "base/arena.h"
#include "proxy/session/session.h"
#include "replication/cdc/consumer.h"
#include "wire/wire.h"

enum {
    FEED_HOLES_MAX = 16,
    FEED_COLUMNS = 7
};

/* What is asked for, in words. Texts are the arena's. */
struct feed_call {
    const char *topic; /* as given: table, schema.table */
    const char *group, *member;
    const char *from; /* NULL: earliest */
    int64_t limit, wait_ms;
    int64_t partition, offset; /* -1: not given */
    enum cdc_ack ack;
    int has_ack;
    unsigned given; /* names that were, a bit each */
    /* arguments whose value is a parameter of the extended protocol */
    struct feed_hole {
        const char *name;
        uint16_t parameter; /* from 1 on */
    } holes[FEED_HOLES_MAX];
    size_t holes_count;
};

enum {
    FEED_LIMIT = 100, /* when none is given */
    FEED_LIMIT_MAX = 100000,
    FEED_WAIT_MS_MAX = 60000,
    FEED_BYTES_MAX = 16 << 20 /* of an answer; one event may be longer */
};

/* Is the text a call of braid.changes()? Cheap: most texts differ in their first bytes. */
int feed_wants(struct slice text);
/* Values may be parameters: then the call is not whole before feed_fill().
 * Errors: ERR_SYNTAX, ERR_BAD_SETTING. */
enum err feed_read(struct slice text, struct arena *arena, struct feed_call *out,
                   struct note *note) MUST_CHECK;
/*
 * Types of the parameters $1 to $`max`.
 *   given   what the client says, 0 or missing: what the argument takes
 * Errors: ERR_UNSUPPORTED (a type that the argument cannot have), ERR_NO_PARAMETER ($n that is
 * not used).
 */
enum err feed_types(const struct feed_call *call, const uint32_t *given, size_t given_count,
                    struct arena *arena, uint32_t **out, size_t *count,
                    struct note *note) MUST_CHECK;
/* The values of the parameters; NULL is an argument that is not given.
 * Errors: ERR_BAD_SETTING, ERR_NO_PARAMETER, ERR_PROTOCOL. */
enum err feed_fill(struct feed_call *call, const struct front_bind *bind, const uint32_t *types,
                   struct arena *arena, struct note *note) MUST_CHECK;
/*
 * An argument's name, before its value; for HTTP's queries too.
 *   more   names that the caller knows besides, for the error: "" or ", id"
 * Errors: ERR_BAD_SETTING (it is none), ERR_SYNTAX (it was given before).
 */
enum err feed_name(struct feed_call *call, const char *name, const char *more,
                   struct note *note) MUST_CHECK;
/* One argument by its name, which is one; value in plain text. */
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

/* ---- a session's calls: the answer comes later ------------------------------------------------
 */

/* It shows rows of every user. */
int feed_may_read(const struct session *s);
/* By a simple query. */
enum step feed_start(struct session *s, struct slice text);
/* A plan for the text of a Parse; *out is borrowed, its owner is the worker. Errors: as above. */
enum err feed_plan(struct session *s, struct slice text, const uint32_t *types, size_t types_count,
                   struct plan_batch **out, struct note *note) MUST_CHECK;
/* What a Describe of it tells; bind NULL: of the statement. */
enum step feed_describe(struct session *s, const struct plan *plan, uint8_t kind,
                        const struct front_bind *bind);
enum step feed_run(struct session *s, const struct plan *plan, const struct front_bind *bind);
void feed_answered(struct session *s, struct worker_mail *mail);
/* The client gives up waiting. 1: it was for us. */
int feed_cancel(struct session *s);

/* The session ends: it is no member any more. */
void feed_gone(struct session *s);

/* RowDescription; formats NULL: all text. */
void feed_put_columns(struct buf *out, const int16_t *formats);
/* From a Bind; out has FEED_COLUMNS. */
void feed_formats(const struct front_bind *bind, int16_t *out);

#endif
