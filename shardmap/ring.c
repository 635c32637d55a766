/*
 * The ring: which shard holds which bucket.
 *
 * Every shard owns points on a circle of 64-bit numbers, hashed from its name; a bucket has one
 * position and belongs to the next point clockwise whose shard still has room. Room is exact: how
 * many buckets a shard gets follows from the weights by the divisor method of Sainte-Laguë (hand
 * out buckets one by one, each to the shard with the greatest weight / (2 * has + 1)). That method
 * is chosen for two properties. Loads per unit of weight differ by at most one bucket. And it is
 * coherent: when a shard joins, no other shard's number grows, and when one leaves, no other
 * shrinks; so all moves are to the new shard, or from the lost one, and no move is spared by
 * any other rule. Ties go to who holds the bucket already, then by name.
 *
 *     0 --- b17 --- shard2#4 --- b3 --- shard0#9 (full) --- shard1#2 --- ... --- 2^64
 *                                 b3 belongs to shard1
 *
 * Rebalancing takes from a shard with too many those buckets that stand nearest before a point of a
 * shard with room, so that they land where the ring would have put them.
 *
 * Computed once per map, in milliseconds; routing only looks at the table that comes out.
 */

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/mem.h"
#include "shardmap/shardmap.h"

enum {
    POINTS_PER_WEIGHT = 64,
    WEIGHT_POINTS_MAX = 16, /* more weight than this adds buckets but no points */
    NOWHERE = 0xFF
};

static_assert((int)SHARDS_MAX < (int)NOWHERE, "a shard's index is a byte that is not NOWHERE");

struct point {
    uint64_t at;
    uint32_t number;
    uint32_t shard;
};

struct ring {
    const struct ring_shard *shards;
    size_t count;
    uint32_t rank[SHARDS_MAX]; /* place of the shard's name among all names */
    uint32_t room[SHARDS_MAX]; /* buckets it still wants */
    struct point *points;      /* ascending */
    size_t points_count;
};

static uint64_t weight_of(const struct ring_shard *shard)
{
    return shard->weight == 0 ? 1 : shard->weight;
}

static uint64_t bucket_position(uint32_t bucket)
{
    uint8_t bytes[4] = {(uint8_t)bucket, (uint8_t)(bucket >> 8), 0, 0};
    return XXH3_64bits_withSeed(bytes, sizeof(bytes), 1);
}

static int compare_points(const void *left, const void *right)
{
    const struct point *a = left, *b = right;
    if (a->at != b->at) {
        return a->at < b->at ? -1 : 1;
    }
    return (a->number > b->number) - (a->number < b->number);
}

static void ring_open(struct ring *r, const struct ring_shard *shards, size_t count)
{
    check(count >= 1 && count <= SHARDS_MAX);
    *r = (struct ring){.shards = shards, .count = count};
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            int order = strcmp(shards[j].name, shards[i].name);
            r->rank[i] += order < 0 || (order == 0 && j < i);
        }
        uint64_t w = weight_of(&shards[i]);
        r->points_count += (w < WEIGHT_POINTS_MAX ? w : WEIGHT_POINTS_MAX) * POINTS_PER_WEIGHT;
    }
    r->points = mem_alloc(r->points_count * sizeof(r->points[0]));
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t w = weight_of(&shards[i]);
        size_t mine = (w < WEIGHT_POINTS_MAX ? w : WEIGHT_POINTS_MAX) * POINTS_PER_WEIGHT;
        for (size_t k = 0; k < mine; k++) {
            /* Equal positions are told apart by the name's rank, never by the order given. */
            r->points[n++] = (struct point){
                .at = XXH3_64bits_withSeed(shards[i].name, strlen(shards[i].name), 2 + k),
                .number = r->rank[i],
                .shard = (uint32_t)i,
            };
        }
    }
    check(n == r->points_count);
    qsort(r->points, n, sizeof(r->points[0]), compare_points);
}

/* Whether shard a comes before shard b for the next bucket, having so many already. */
static int comes_first(const struct ring *r, const uint32_t *has, const uint32_t *held, size_t a,
                       size_t b)
{
    uint64_t left = weight_of(&r->shards[a]) * (2 * has[b] + 1);
    uint64_t right = weight_of(&r->shards[b]) * (2 * has[a] + 1);
    if (left != right) {
        return left > right;
    }
    int a_holds = has[a] < held[a], b_holds = has[b] < held[b];
    return a_holds != b_holds ? a_holds : r->rank[a] < r->rank[b];
}

/* How many buckets each shard is to have. */
static void share_out(const struct ring *r, const uint32_t *held, uint32_t *has)
{
    memset(has, 0, r->count * sizeof(has[0]));
    for (size_t n = 0; n < BUCKETS; n++) {
        size_t best = 0;
        for (size_t i = 1; i < r->count; i++) {
            if (comes_first(r, has, held, i, best)) {
                best = i;
            }
        }
        has[best]++;
    }
}

/* The first point clockwise whose shard has room; some shard has. */
static const struct point *next_with_room(const struct ring *r, uint64_t position)
{
    size_t low = 0, high = r->points_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->points[middle].at < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (size_t n = 0; n < r->points_count; n++) {
        const struct point *p = &r->points[(low + n) % r->points_count];
        if (r->room[p->shard] > 0) {
            return p;
        }
    }
    check(0 && "a bucket without room for it");
    return NULL;
}

struct candidate {
    uint64_t distance; /* to the nearest point with room */
    uint32_t bucket;
};

static int compare_candidates(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if (a->distance != b->distance) {
        return a->distance < b->distance ? -1 : 1;
    }
    return (a->bucket > b->bucket) - (a->bucket < b->bucket);
}

/* Take from every shard what it has too many. */
static void release(const struct ring *r, uint32_t *excess, uint8_t *out)
{
    struct candidate *list = mem_alloc(BUCKETS * sizeof(list[0]));
    size_t n = 0;
    for (uint32_t b = 0; b < BUCKETS; b++) {
        if (out[b] != NOWHERE && excess[out[b]] > 0) {
            uint64_t at = bucket_position(b);
            list[n++] = (struct candidate){next_with_room(r, at)->at - at, b};
        }
    }
    qsort(list, n, sizeof(list[0]), compare_candidates);
    for (size_t i = 0; i < n; i++) {
        uint8_t *shard = &out[list[i].bucket];
        if (excess[*shard] > 0) {
            excess[*shard]--;
            *shard = NOWHERE;
        }
    }
    mem_free(list);
}

void ring_reassign(const struct ring_shard *shards, size_t count, const uint8_t *before,
                   uint8_t *out)
{
    struct ring r;
    uint32_t held[SHARDS_MAX] = {0}, wanted[SHARDS_MAX], excess[SHARDS_MAX];
    ring_open(&r, shards, count);
    for (size_t b = 0; b < BUCKETS; b++) {
        out[b] = before[b] < count ? before[b] : NOWHERE;
        if (out[b] != NOWHERE) {
            held[out[b]]++;
        }
    }
    share_out(&r, held, wanted);
    int too_many = 0;
    for (size_t i = 0; i < count; i++) {
        r.room[i] = wanted[i] > held[i] ? wanted[i] - held[i] : 0;
        excess[i] = held[i] > wanted[i] ? held[i] - wanted[i] : 0;
        too_many |= excess[i] > 0;
    }
    if (too_many) {
        release(&r, excess, out);
    }
    for (uint32_t b = 0; b < BUCKETS; b++) {
        if (out[b] == NOWHERE) {
            const struct point *p = next_with_room(&r, bucket_position(b));
            r.room[p->shard]--;
            out[b] = (uint8_t)p->shard;
        }
    }
    mem_free(r.points);
}

void ring_assign(const struct ring_shard *shards, size_t count, uint8_t *out)
{
    uint8_t nothing[BUCKETS];
    memset(nothing, NOWHERE, sizeof(nothing));
    ring_reassign(shards, count, nothing, out);
}
