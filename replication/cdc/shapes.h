#ifndef REPLICATION_CDC_SHAPES_H
#define REPLICATION_CDC_SHAPES_H

/*
 * What tables looked like, as a shard announced them. A shape is made once and stays as long as the
 * set does: changes that wait for their commit point at the shape of the moment they were made.
 *
 *     shapes_find(said) -> the one shape equal to it        names_set(oid, shape) -> the newest
 *
 * Owner: the assembler of one shard; its thread.
 */

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hmap.h"
#include "replication/cdc/change.h"

enum {
    SHAPES_MAX = 1000000 /* announcements that differed, in one connection */
};

struct shape {
    struct hnode _node;
    struct change_relation relation; /* with its version */
    uint32_t number;                 /* from 1, in order of appearance */
    uint8_t is_ours;                 /* schema braid: pgbraid's own tables */
};

struct shapes {
    struct hmap _map;
    struct arena _memory;
    struct shape **_list;
    size_t _cap;
    uint32_t count;
};

/* The shape equal to what was said, a new one if need be. Errors: ERR_TOO_BIG. */
enum err shapes_find(struct shapes *s, const struct change_relation *said, const struct shape **out,
                     struct note *note) MUST_CHECK;
const struct shape *shapes_at(const struct shapes *s, uint32_t number); /* number is of a shape */
void shapes_free(struct shapes *s);

/* Which shape an oid has just now; in one transaction, or for all. All-zero is an empty one. */
struct names {
    struct hmap _map;
};
/* `seq` orders announcements: an older one never replaces a newer one. */
void names_set(struct names *n, const struct shape *shape, uint64_t seq);
const struct shape *names_find(const struct names *n, uint32_t oid); /* or NULL */
void names_pour(struct names *into, const struct names *from);
void names_free(struct names *n);

#endif
