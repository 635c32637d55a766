/* Which tables to merge next. Pure: looks at a version and at nothing else. */

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/lsm/compact.h"
#include "store/lsm/key.h"

static uint64_t level_limit(const struct compact_limits *limits, int level)
{
    uint64_t bytes = limits->level1_bytes;
    for (int i = 1; i < level; i++) {
        bytes *= limits->growth;
    }
    return bytes;
}

double compact_score(const struct version *v, int level, const struct compact_limits *limits)
{
    if (level == 0) {
        return (double)v->levels[0].n / (double)limits->level0_tables;
    }
    return (double)v->levels[level].bytes / (double)level_limit(limits, level);
}

/* ---- what is chosen -------------------------------------------------------------------------- */

struct range {
    struct slice smallest, largest;
};

static void widen(struct range *range, const struct sst_meta *meta)
{
    if (range->smallest.p == NULL || lsm_compare_keys(meta->smallest, range->smallest) < 0) {
        range->smallest = meta->smallest;
    }
    if (range->largest.p == NULL || lsm_compare_keys(meta->largest, range->largest) > 0) {
        range->largest = meta->largest;
    }
}

static int meets(const struct range *range, const struct sst_meta *meta)
{
    return lsm_compare_keys(meta->smallest, range->largest) <= 0 &&
           lsm_compare_keys(range->smallest, meta->largest) <= 0;
}

/* The oldest table of level 0 and all that overlap it or each other: none of them may stay above
 * an entry of theirs that goes down, nor below. */
static struct range choose_level0(const struct level *level, struct compact_pick *out)
{
    struct range range = {0};
    unsigned char *chosen = mem_zero(level->n);
    size_t count = 1;
    chosen[level->n - 1] = 1;
    widen(&range, &level->tables[level->n - 1]->meta);
    for (size_t i = 0; i < level->n; i++) {
        if (!chosen[i] && meets(&range, &level->tables[i]->meta)) {
            chosen[i] = 1;
            count++;
            widen(&range, &level->tables[i]->meta);
            i = (size_t)-1; /* the range is wider: look at all again */
        }
    }
    out->inputs[0] = mem_alloc(count * sizeof(*out->inputs[0]));
    for (size_t i = 0; i < level->n; i++) {
        if (chosen[i]) {
            out->inputs[0][out->counts[0]++] = level->tables[i];
        }
    }
    mem_free(chosen);
    return range;
}

/* The table that drags along the fewest bytes of the next level for each of its own. */
static struct range choose_cheapest(const struct level *level, const struct level *next,
                                    struct compact_pick *out)
{
    struct range range = {0};
    size_t best = 0;
    double best_cost = 0;
    for (size_t i = 0; i < level->n; i++) {
        const struct sst_meta *meta = &level->tables[i]->meta;
        size_t first = 0;
        size_t n = level_overlap(next, meta->smallest, meta->largest, &first);
        uint64_t bytes = 0;
        for (size_t k = first; k < first + n; k++) {
            bytes += next->tables[k]->meta.bytes;
        }
        double cost = (double)bytes / (double)meta->bytes;
        if (i == 0 || cost < best_cost) {
            best = i;
            best_cost = cost;
        }
    }
    out->inputs[0] = mem_alloc(sizeof(*out->inputs[0]));
    out->inputs[0][out->counts[0]++] = level->tables[best];
    widen(&range, &level->tables[best]->meta);
    return range;
}

/* A table of mostly deletions: they cost reads and space until they meet what they delete. */
static int choose_deletions(const struct version *v, struct compact_pick *out, struct range *range)
{
    for (int i = 1; i + 1 < LSM_LEVELS; i++) {
        for (size_t k = 0; k < v->levels[i].n; k++) {
            struct table *t = v->levels[i].tables[k];
            if (t->meta.deletes > t->meta.entries / 2) {
                *out = (struct compact_pick){.level = i};
                out->inputs[0] = mem_alloc(sizeof(*out->inputs[0]));
                out->inputs[0][out->counts[0]++] = t;
                widen(range, &t->meta);
                return 1;
            }
        }
    }
    return 0;
}

static int choose_by_score(const struct version *v, const struct compact_limits *limits,
                           struct compact_pick *out, struct range *range)
{
    int level = -1;
    double most = 1.0;
    for (int i = 0; i + 1 < LSM_LEVELS; i++) { /* the last level has no limit */
        double score = compact_score(v, i, limits);
        if (v->levels[i].n > 0 && score >= most) {
            level = i;
            most = score;
        }
    }
    if (level < 0) {
        return 0;
    }
    *out = (struct compact_pick){.level = level};
    *range = level == 0 ? choose_level0(&v->levels[0], out)
                        : choose_cheapest(&v->levels[level], &v->levels[level + 1], out);
    return 1;
}

int compact_choose(const struct version *v, const struct compact_limits *limits,
                   struct compact_pick *out)
{
    struct range range = {0};
    int is_full = choose_by_score(v, limits, out, &range);
    if (!is_full && !choose_deletions(v, out, &range)) {
        return 0;
    }
    const struct level *next = &v->levels[out->level + 1];
    size_t first = 0;
    size_t n = level_overlap(next, range.smallest, range.largest, &first);
    out->counts[1] = n;
    out->inputs[1] = mem_alloc((n + 1) * sizeof(*out->inputs[1]));
    for (size_t i = 0; i < n; i++) {
        out->inputs[1][i] = next->tables[first + i];
    }
    /* Deletions would not go by being moved. */
    out->is_move = is_full && out->counts[0] == 1 && n == 0;
    return 1;
}

void compact_pick_free(struct compact_pick *pick)
{
    mem_free(pick->inputs[0]);
    mem_free(pick->inputs[1]);
    *pick = (struct compact_pick){0};
}
