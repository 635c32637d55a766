#ifndef BASE_METRIC_H
#define BASE_METRIC_H

/*
 * Counters, one set per thread: the owner adds without a lock, anyone reads (relaxed atomics with
 * a single writer), and readers add the sets up. No set is ever freed before the process ends.
 */

#include <stdatomic.h>
#include <stdint.h>

enum metric {
#define METRIC(name, unit, text) METRIC_##name,
#include "base/metric.def"
    METRIC_COUNT
};

struct metrics {
    _Atomic uint64_t _v[METRIC_COUNT];
};

const char *metric_name(enum metric m);
const char *metric_unit(enum metric m);
const char *metric_help(enum metric m);

/* Owner thread only. */
static inline void metric_add(struct metrics *set, enum metric m, uint64_t n)
{
    uint64_t old = atomic_load_explicit(&set->_v[m], memory_order_relaxed);
    atomic_store_explicit(&set->_v[m], old + n, memory_order_relaxed);
}

/* Any thread. */
static inline uint64_t metric_get(const struct metrics *set, enum metric m)
{
    return atomic_load_explicit(&set->_v[m], memory_order_relaxed);
}

#endif
