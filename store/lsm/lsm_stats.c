/* Live figures of a tree; their names are part of the interface (docs/FORMATS.md). */

#include <stdio.h>

#include "store/lsm/lsm.h"

static double get(_Atomic uint64_t *counter)
{
    return (double)atomic_load_explicit(counter, memory_order_relaxed);
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static void level_stats(const struct version *v, kv_stat_fn *fn, void *arg)
{
    char name[64];
    double deepest = 0;
    for (int i = 0; i < LSM_LEVELS; i++) {
        if (v->levels[i].n == 0 && i > 1) {
            continue;
        }
        (void)snprintf(name, sizeof(name), "level%d_tables", i);
        fn(arg, name, (double)v->levels[i].n);
        (void)snprintf(name, sizeof(name), "level%d_bytes", i);
        fn(arg, name, (double)v->levels[i].bytes);
        deepest = v->levels[i].bytes > 0 ? (double)v->levels[i].bytes : deepest;
    }
    fn(arg, "table_bytes", (double)version_bytes(v));
    fn(arg, "space_amplification", ratio((double)version_bytes(v), deepest));
}

static void read_stats(struct lsm *lsm, kv_stat_fn *fn, void *arg)
{
    struct sst_env *env = &lsm->env;
    struct cache_stats blocks;
    struct cache_stats readers;
    cache_stats(env->blocks, &blocks);
    cache_stats(env->readers, &readers);
    fn(arg, "gets", get(&lsm->counters.gets));
    fn(arg, "read_amplification", ratio(get(&lsm->counters.probes), get(&lsm->counters.gets)));
    fn(arg, "filter_checks", get(&env->filter_checks));
    fn(arg, "filter_refusals", get(&env->filter_refusals));
    fn(arg, "filter_false_positives", get(&env->filter_mistakes));
    fn(arg, "cache_hits", (double)blocks.hits);
    fn(arg, "cache_misses", (double)blocks.misses);
    fn(arg, "cache_bytes", (double)blocks.bytes);
    fn(arg, "open_table_bytes", (double)readers.bytes);
    fn(arg, "block_reads", get(&env->block_reads));
    fn(arg, "block_read_bytes", get(&env->block_bytes));
}

static void write_stats(struct lsm *lsm, kv_stat_fn *fn, void *arg)
{
    struct lsm_counters *n = &lsm->counters;
    struct kv_log_stats log;
    kv_log_stats(lsm->log, &log);
    double user = get(&n->user_bytes);
    double written = (double)log.bytes + get(&n->flush_bytes) + get(&n->compact_bytes);
    fn(arg, "user_bytes", user);
    fn(arg, "log_bytes", (double)log.bytes);
    fn(arg, "log_syncs", (double)log.syncs);
    fn(arg, "flushes", get(&n->flushes));
    fn(arg, "flush_bytes", get(&n->flush_bytes));
    fn(arg, "compactions", get(&n->compactions));
    fn(arg, "compaction_read_bytes", get(&n->compact_read_bytes));
    fn(arg, "compaction_bytes", get(&n->compact_bytes));
    fn(arg, "tables_moved", get(&n->moves));
    fn(arg, "write_amplification", ratio(written, user));
    fn(arg, "stalls", get(&n->stalls));
    fn(arg, "stall_us", get(&n->stall_us));
}

void lsm_stats(struct kv *kv, kv_stat_fn *fn, void *arg)
{
    struct lsm *lsm = lsm_of(kv);
    uint64_t seq = 0;
    struct lsm_view *view = lsm_view_take(lsm, &seq);
    level_stats(view->version, fn, arg);
    lsm_view_release(view);
    fn(arg, "newest_entry", (double)seq);
    write_stats(lsm, fn, arg);
    read_stats(lsm, fn, arg);
}
