#ifndef TXN_WAITS_H
#define TXN_WAITS_H

/*
 * Who waits for whom over several servers, and who must give way. Pure; one thread.
 *
 * A cycle of waits within one server is that server's own affair: PostgreSQL finds it. One that
 * goes over two servers or more is seen by none of them. Its edges are asked for one server after
 * the other, so what is read is no picture of one moment: a cycle counts only when the same edges
 * are seen twice, and every transaction in it has run the same statement all the while. A
 * transaction that waits releases nothing, so such a cycle was there at one moment, and stays.
 *
 * Source: Obermarck, "Distributed deadlock detection algorithm", ACM TODS 7(2), 1982 (phantoms).
 */

#include <stddef.h>
#include <stdint.h>

/* `from` waits on this shard for `to`. */
struct wait_edge {
    uint64_t from, to;
    uint32_t shard;
};

/* A transaction of ours. Those that only edges name are strangers, who cannot be stopped. */
struct wait_node {
    uint64_t id;
    uint64_t stamp;   /* changes whenever it gets an answer or runs another statement */
    int64_t began_us; /* of the transaction */
    int may_stop;     /* 0: it commits */
};

enum {
    WAITS_STEPS_MAX = 200000 /* of one search; past it nothing is found */
};

/* Keep of `edges` those that `other` has, too. Returns how many. */
size_t waits_both(struct wait_edge *edges, size_t count, const struct wait_edge *other,
                  size_t other_count);

/*
 * The youngest transaction on a cycle over two shards or more; NULL: there is none.
 *   cycle  the edges of that cycle, from the victim on; room for `cycle_max`
 *   *length  how many there are; a longer cycle is cut short
 */
const struct wait_node *waits_victim(const struct wait_node *nodes, size_t nodes_count,
                                     const struct wait_edge *edges, size_t edges_count,
                                     struct wait_edge *cycle, size_t cycle_max, size_t *length);

#endif
