#ifndef PLANNER_COPY_LINES_H
#define PLANNER_COPY_LINES_H

/*
 * Which line of the client's COPY data a line of one shard's part was: stretches, the newest ones
 * in a ring, because what a server complains of came to it not long ago. Private to the room.
 */

#include <stddef.h>
#include <stdint.h>

enum {
    COPY_STRETCHES_MAX = 65536 /* of one shard: 1 MB */
};

struct copy_stretch {
    uint64_t line, client; /* its first line: the shard's number, and the client's */
};

struct copy_lines {
    struct copy_stretch *ring; /* `cap` places, a power of two; NULL: none yet */
    size_t cap;
    uint64_t made; /* stretches ever begun; number i is at i % cap */
    uint64_t lines;
};

/* `count` lines more for the shard, the first of which is the client's line `client`. */
void copy_lines_add(struct copy_lines *l, uint64_t client, uint64_t count);
/* The client's number of the shard's line; 0: too long ago, or there was no such line. */
uint64_t copy_lines_find(const struct copy_lines *l, uint64_t line);
void copy_lines_free(struct copy_lines *l);

#endif
