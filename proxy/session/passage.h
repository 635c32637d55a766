#ifndef PROXY_PASSAGE_H
#define PROXY_PASSAGE_H

/*
 * Replication connections: a client that asked for `replication` gets a server connection of its
 * own, opened with the client's startup parameters, and from then on bytes go both ways unread.
 * Each side is read only while the other keeps up. No pool ever sees that connection, and it does
 * not count for pool.size.
 *
 * In a database of several shards the client names the one it means: options='-c braid.shard=NAME'.
 * Programs of physical replication cannot name a database (theirs is "replication"): it is the only
 * one of the configuration, or that of options='-c braid.database=NAME'.
 */

#include "proxy/session/session.h"

enum passage_kind {
    PASSAGE_NONE,
    PASSAGE_PHYSICAL, /* replication=true */
    PASSAGE_LOGICAL   /* replication=database */
};

struct passage {
    enum passage_kind kind;
    char *shard;       /* that was asked for; NULL: the only one */
    char *database;    /* braid.database; NULL: as in the startup packet */
    struct buf params; /* for the server: name, 0, value, 0, ... */
    struct backend *backend;
};

/* The startup parameter `replication`: makes session->passage when it asks for one. */
enum err passage_asked(struct session *s, struct slice value, struct note *note) MUST_CHECK;
/* Any other startup parameter, also of `options`. */
enum err passage_param(struct session *s, const char *name, struct slice value,
                       struct note *note) MUST_CHECK;
/* The database of the configuration that a physical connection means, or NULL. */
const char *passage_database(const struct session *s, const struct world *world);
enum err passage_connect(struct session *s, struct note *note) MUST_CHECK;
void passage_startup(const struct backend *b, struct buf *out); /* the packet for the server */
enum step passage_pump(struct session *s);                      /* bytes of the client */
void passage_data(struct backend *b);                           /* bytes of the server */
/* Called by the pool: logged in; refused (frees b). */
void passage_ready(struct backend *b);
void passage_failed(struct backend *b, enum err e, const struct note *note);
void passage_free(struct session *s); /* also while it connects */

#endif
