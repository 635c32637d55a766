#ifndef PROXY_HANDOVER_H
#define PROXY_HANDOVER_H

/*
 * What the old and the new process say to each other in an online restart. Bytes only, no I/O; any
 * thread. docs/FORMATS.md has the bytes.
 *
 *     frame    length (be32, of the whole frame) | kind (1 byte) | body
 *     body     fields: tag (1 byte) | length (be32) | bytes
 *
 *     new                                   old
 *     HELLO version -->                     accepts clients as before
 *                       <-- SOCKETS version, with the listening sockets
 *     (reads catalogs)
 *     READY -->                             lets transactions over several shards end
 *                       <-- FREE            the ledger is closed; nobody is accepted
 *     (opens the ledger)
 *     SERVING -->                           accepts again no more
 *                       <-- SECRET          what clients proved, for server connections
 *                       <-- CLIENT ...      each with its socket
 *
 * A connection that ends before SERVING: the old process goes on as if nothing had been, the new
 * one ends; or, when it is the old one that died, the new one goes on alone.
 */

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum {
    HANDOVER_VERSION = 1,
    HANDOVER_FRAME_MAX = 16 << 20,
    HANDOVER_HEADER_BYTES = 5
};

enum handover_kind {
    HANDOVER_HELLO = 'H',
    HANDOVER_SOCKETS = 'L',
    HANDOVER_READY = 'R',
    HANDOVER_FREE = 'F',
    HANDOVER_SERVING = 'S',
    HANDOVER_SECRET = 'K',
    HANDOVER_CLIENT = 'C'
};

enum handover_tag {
    FIELD_VERSION = 'V',     /* be32 */
    FIELD_COUNT = 'n',       /* be32: how many sockets come along */
    FIELD_USER = 'u',        /* of a CLIENT, once */
    FIELD_DATABASE = 'd',    /* once */
    FIELD_APPLICATION = 'a', /* at most once */
    FIELD_NUMBERS = '#', /* once: pid be32, protocol be32, connect time be64, entrance 4 bytes */
    FIELD_KEY = 'k',     /* once: the cancel key, 4 to 32 bytes */
    FIELD_PEER = 'p',    /* once: a sockaddr, as are the local address */
    FIELD_LOCAL = 'l',
    FIELD_VAR = 'v',         /* name, 0 byte, SQL text, 0 byte */
    FIELD_STARTUP_VAR = 's', /* the same, what RESET goes back to */
    FIELD_STATEMENT = 'q',   /* name, 0 byte, count of types be32, types be32 each, text */
    FIELD_WROTE = 'b',       /* be64: shards written, whose replicas may not show it yet */
    FIELD_INPUT = 'i',       /* bytes of the client that nobody has taken yet */
    FIELD_SOURCE = 'o',      /* of a SECRET: "" or the database that was asked */
    FIELD_SECRET = 'w',      /* the secret that was proved */
    FIELD_CLIENT_KEY = 'c'   /* 32 bytes, when it is known */
};

/* Begin a frame; returns what handover_end() wants. */
size_t handover_begin(struct buf *out, enum handover_kind kind);
void handover_end(struct buf *out, size_t at);
void handover_field(struct buf *out, enum handover_tag tag, struct slice value);

/* The length of the frame in its header, 0 when no frame begins so. */
size_t handover_length(const uint8_t header[HANDOVER_HEADER_BYTES]);
/* The next field of a body. 1: there is one; 0: the end; -1: broken. */
int handover_next(struct slice *body, enum handover_tag *tag, struct slice *value);
/* The value of the first such field; p is NULL when there is none. */
struct slice handover_find(struct slice body, enum handover_tag tag);

struct handover_numbers {
    uint32_t pid, protocol;
    int64_t connect_wall_us;
    uint8_t entrance[4];
};
void handover_put_numbers(struct buf *out, const struct handover_numbers *n);
void handover_get_numbers(struct slice value, struct handover_numbers *out); /* of a checked body */

struct handover_statement {
    const char *name;
    uint32_t types_count;
    const uint8_t *types; /* be32 each */
    struct slice text;
};
/* 1, or 0 when it is broken. */
int handover_statement(struct slice value, struct handover_statement *out);

/* Whether a body is whole and right: ERR_PROTOCOL otherwise. A field that is not known makes it
 * wrong, for a client that lost part of its state would be silently wrong. */
enum err handover_check(enum handover_kind kind, struct slice body, struct note *note) MUST_CHECK;

#endif
