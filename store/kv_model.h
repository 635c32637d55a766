#ifndef STORE_KV_MODEL_H
#define STORE_KV_MODEL_H

/*
 * What a key-value store should hold: an ordered map, remembered at every point of its history.
 * For tests and simulations of the engines.
 *
 * Keys come from a pool made by the seed, sorted, so an index stands for a key and their order is
 * that of the keys. A value is known by its id, from which its bytes are made; so a state is an id
 * per key, and every state there ever was is kept: a snapshot is the number of a point.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rng.h"
#include "base/slice.h"

enum {
    KV_MODEL_KEYS_MAX = 120,
    KV_MODEL_POINTS_MAX = 700,
    KV_MODEL_ABSENT = 0,
    KV_MODEL_EMPTY = 1 /* the id of the empty value */
};

struct kv_state {
    uint32_t ids[KV_MODEL_KEYS_MAX];
};

struct kv_model {
    struct buf key_bytes;
    struct slice keys[KV_MODEL_KEYS_MAX];
    size_t keys_count;
    struct kv_state points[KV_MODEL_POINTS_MAX]; /* 0: at the last start */
    size_t newest;                               /* of all writes that were tried */
    size_t synced;                               /* of those that must survive */
    uint32_t next_id;
    struct buf value; /* of the last kv_model_value() */
};

/* Owner: the caller; a few hundred KiB, so not on a stack. */
struct kv_model *kv_model_new(uint64_t seed);
void kv_model_free(struct kv_model *model);

/* Index of the key, or keys_count. */
size_t kv_model_find(const struct kv_model *model, struct slice key);
/* First index that is not less than `key`; keys_count when there is none. */
size_t kv_model_seek(const struct kv_model *model, struct slice key);

/* The bytes of a value; good until the next call. */
struct slice kv_model_value(struct kv_model *model, uint32_t id);
/* The id of bytes that a store gave, KV_MODEL_ABSENT when they were never a value. */
uint32_t kv_model_id(struct kv_model *model, struct slice value);
uint32_t kv_model_new_id(struct kv_model *model, struct rng *rng);

/* A new point, equal to the newest: the write that is tried now changes it. */
struct kv_state *kv_model_advance(struct kv_model *model);
/* After a start that found this state: the point it is, at least `synced`; -1 when it is none. */
int kv_model_point_of(const struct kv_model *model, const struct kv_state *found);
/* From now on that point is all there was. */
void kv_model_restart(struct kv_model *model, size_t point);

/* The next key that is there, behind or before `at`; keys_count when there is none. */
size_t kv_model_next(const struct kv_model *model, size_t point, size_t at);
size_t kv_model_prev(const struct kv_model *model, size_t point, size_t at);

#endif
