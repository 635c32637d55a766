#ifndef PROXY_CHECK_H
#define PROXY_CHECK_H

/*
 * `braidctl schema check` and `braidctl verify`: whether the shards of a database are what they
 * should be. Both only read, each server in one REPEATABLE READ transaction, and block.
 */

#include "base/arena.h"
#include "replication/replication.h"
#include "shardmap/shardmap.h"

struct check_place {
    struct pg_target target;
    const char *shard;
};

/* Both: the first place is the home shard; *differences is how many there are, told in `out`. */
enum err schema_check(const struct check_place *places, size_t count, const struct map *map,
                      struct buf *out, size_t *differences, struct note *note) MUST_CHECK;
enum err verify_rows(const struct check_place *places, size_t count, const struct map *map,
                     struct buf *out, size_t *differences, struct note *note) MUST_CHECK;

/* For tests. What differs between two definitions, as lines of a diff: those they begin and end
 * with alike are left out. */
void check_put_diff(const char *home, const char *other, struct buf *out);

#endif
