#ifndef STORE_KV_SIM_H
#define STORE_KV_SIM_H

/*
 * A key-value store lives several lives on a disk that fails (file_sim.h), beside a model
 * (kv_model.h) that knows every write and what was said about it. For any engine.
 *
 * After each start what the store holds must be the model at one legal point: everything that was
 * acknowledged with KV_SYNC, or found by an earlier start, is there; of what was written behind it
 * there is a beginning; batches are whole. While it lives every read, snapshot and cursor, both
 * ways, must give what the model had at its moment.
 */

#include <stdint.h>

#include "store/file_sim.h"
#include "store/kv.h"

struct kv_sim {
    enum kv_kind kind;
    uint64_t seed;
    enum sim_lie lie;  /* a fault planted into the disk: the model has to find it */
    uint64_t fault_at; /* not 0: one life, and the power goes off at this operation */
};

struct kv_sim_result {
    int is_wrong;
    char text[640]; /* what was found wrong, with the seed */
    uint64_t ops;   /* mutating operations of the disk in the first life */
    uint64_t writes, reads, starts;
};

void kv_sim_run(const struct kv_sim *sim, struct kv_sim_result *out);

/* A store is written and closed; then one bit of one of its files is flipped. Whatever is read
 * afterwards must have been true at some point, or be refused. */
void kv_sim_flip(const struct kv_sim *sim, struct kv_sim_result *out);

#endif
