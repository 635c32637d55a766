/*
 * A map as lines that people read and that can be compared: equal lines and rings are equal maps.
 *
 *     shard s0 weight 1
 *     table public.days RANGE (day date), declared in the file
 *     piece public.days 1 below '2026-01-01': s0
 *     table public.users HASH (id bigint), ring 1, declared in SQL
 *     ring 1: s0 1366 buckets, s1 1365, s2 1365
 *
 * Which buckets they are is in the rings: BUCKETS numbers of shards for each.
 */

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "shardmap/map.h"

/* The rings of a map: groups that are placed alike share one. */
struct rings {
    const struct map_group **rows;
    size_t n;
};

static size_t find_ring(const struct rings *rings, const struct map_group *group)
{
    size_t i = 0;
    while (i < rings->n && memcmp(rings->rows[i]->buckets, group->buckets, BUCKETS) != 0) {
        i++;
    }
    return i;
}

static void collect_rings(const struct map *map, struct rings *out)
{
    *out = (struct rings){0};
    out->rows = mem_zero((map->tables_count + 1) * sizeof(const struct map_group *));
    for (size_t i = 0; i < map->tables_count; i++) {
        const struct map_group *group = map->tables[i]._group;
        if (map->tables[i].kind == MAP_HASH && find_ring(out, group) == out->n) {
            out->rows[out->n++] = group;
        }
    }
}

static void free_rings(struct rings *rings)
{
    mem_free((void *)rings->rows);
}

static void print_table_name(const struct map_table *t, struct buf *out)
{
    map_print_name(t->schema, out);
    buf_u8(out, '.');
    map_print_name(t->name, out);
}

static void print_types(const struct map_table *t, struct buf *out)
{
    for (size_t i = 0; i < t->keys_count; i++) {
        buf_text(out, i == 0 ? " (" : ", ");
        map_print_name(t->keys[i], out);
        buf_printf(out, " %s",
                   t->key_types[i] == 0 ? "of no type yet" : key_type_name(t->key_types[i]));
    }
    buf_text(out, t->keys_count > 0 ? ")" : "");
}

static void print_table(const struct map_table *t, const struct rings *rings, struct buf *out)
{
    static const char *const kinds[] = {
        [MAP_HASH] = "HASH",
        [MAP_RANGE] = "RANGE",
        [MAP_LIST] = "LIST",
        [MAP_REFERENCE] = "REFERENCE",
    };
    buf_text(out, "table ");
    print_table_name(t, out);
    buf_printf(out, " %s", kinds[t->kind]);
    print_types(t, out);
    if (t->kind == MAP_HASH) {
        buf_printf(out, ", ring %zu", find_ring(rings, t->_group) + 1);
    }
    buf_printf(out, ", declared in %s\n", t->from_sql ? "SQL" : "the file");
}

static void print_piece(const struct map *map, const struct map_table *t, size_t i, struct buf *out)
{
    const struct map_split *s = &t->_splits[i];
    buf_text(out, "piece ");
    print_table_name(t, out);
    buf_printf(out, " %zu ", i + 1);
    for (size_t k = 0; k < s->values_count; k++) {
        buf_text(out, k == 0 ? "" : ", ");
        map_print_literal(slice_of(s->values[k]), out);
    }
    if (s->below != NULL) {
        buf_text(out, "below ");
        map_print_literal(slice_of(s->below), out);
    } else if (s->values_count == 0) {
        buf_text(out, "the rest");
    }
    buf_text(out, ": ");
    map_print_name(map->shard_names[s->shard], out);
    buf_u8(out, '\n');
}

static void print_ring(const struct map *map, const struct rings *rings, size_t i, struct buf *out)
{
    uint32_t counts[SHARDS_MAX] = {0};
    for (size_t b = 0; b < BUCKETS; b++) {
        counts[rings->rows[i]->buckets[b]]++;
    }
    buf_printf(out, "ring %zu:", i + 1);
    for (size_t s = 0; s < map->shards_count; s++) {
        buf_text(out, s == 0 ? " " : ", ");
        map_print_name(map->shard_names[s], out);
        buf_printf(out, " %u%s", counts[s], s == 0 ? " buckets" : "");
    }
    buf_u8(out, '\n');
}

void map_print_lines(const struct map *map, struct buf *out)
{
    struct rings rings;
    collect_rings(map, &rings);
    for (size_t i = 0; i < map->shards_count; i++) {
        buf_text(out, "shard ");
        map_print_name(map->shard_names[i], out);
        buf_printf(out, " weight %u\n", map->shard_weights[i]);
    }
    for (size_t i = 0; i < map->tables_count; i++) {
        const struct map_table *t = &map->tables[i];
        print_table(t, &rings, out);
        for (size_t k = 0; (t->kind == MAP_RANGE || t->kind == MAP_LIST) && k < t->_splits_count;
             k++) {
            print_piece(map, t, k, out);
        }
    }
    for (size_t i = 0; i < rings.n; i++) {
        print_ring(map, &rings, i, out);
    }
    free_rings(&rings);
}

void map_rings(const struct map *map, struct buf *out)
{
    struct rings rings;
    collect_rings(map, &rings);
    for (size_t i = 0; i < rings.n; i++) {
        buf_add(out, rings.rows[i]->buckets, BUCKETS);
    }
    free_rings(&rings);
}

/* ---- what is different ----------------------------------------------------------------------- */

static int by_line(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The lines of a copy of `text`, sorted. */
static size_t sort_lines(struct slice text, char **copy, const char ***out)
{
    *copy = mem_alloc(text.n + 1);
    if (text.n > 0) {
        memcpy(*copy, text.p, text.n);
    }
    (*copy)[text.n] = '\0';
    size_t count = 0;
    for (size_t i = 0; i < text.n; i++) {
        count += text.p[i] == '\n';
    }
    *out = mem_zero((count + 1) * sizeof(const char *));
    char *rest = *copy;
    for (size_t i = 0; i < count; i++) {
        (*out)[i] = strsep(&rest, "\n");
    }
    qsort((void *)*out, count, sizeof(const char *), by_line);
    return count;
}

void map_print_difference(struct slice before, struct slice now, struct buf *out)
{
    char *copies[2];
    const char **lines[2];
    size_t counts[2] = {sort_lines(before, &copies[0], &lines[0]),
                        sort_lines(now, &copies[1], &lines[1])};
    for (size_t i = 0, k = 0; i < counts[0] || k < counts[1];) {
        int order = i == counts[0] ? 1 : k == counts[1] ? -1 : strcmp(lines[0][i], lines[1][k]);
        if (order == 0) {
            i++;
            k++;
        } else if (order < 0) {
            buf_printf(out, "- %s\n", lines[0][i++]);
        } else {
            buf_printf(out, "+ %s\n", lines[1][k++]);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        mem_free(copies[i]);
        mem_free((void *)lines[i]);
    }
}

static const char *name_at(const struct map_shard_names *names, const uint8_t *ring, size_t bucket)
{
    return ring[bucket] < names->count ? names->names[ring[bucket]] : "?";
}

/* "s0 -> s2" of the buckets that move there, for each pair that there is. */
static void print_pairs(const struct map_shard_names *before, const uint8_t *was,
                        const struct map_shard_names *now, const uint8_t *is, struct buf *out)
{
    const char *text = " move:";
    for (size_t from = 0; from < before->count; from++) {
        for (size_t to = 0; to < now->count; to++) {
            size_t moved = 0;
            for (size_t b = 0; b < BUCKETS; b++) {
                moved += was[b] == from && is[b] == to;
            }
            if (moved > 0 && strcmp(before->names[from], now->names[to]) != 0) {
                buf_printf(out, "%s %zu ", text, moved);
                map_print_name(before->names[from], out);
                buf_text(out, " -> ");
                map_print_name(now->names[to], out);
                text = ",";
            }
        }
    }
    buf_u8(out, '\n');
}

void map_print_moves(const struct map_shard_names *before, struct slice rings_before,
                     const struct map_shard_names *now, struct slice rings_now, struct buf *out)
{
    size_t count = (rings_before.n < rings_now.n ? rings_before.n : rings_now.n) / BUCKETS;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *was = rings_before.p + i * BUCKETS;
        const uint8_t *is = rings_now.p + i * BUCKETS;
        size_t moved = 0;
        for (size_t b = 0; b < BUCKETS; b++) {
            moved += strcmp(name_at(before, was, b), name_at(now, is, b)) != 0;
        }
        if (moved > 0) {
            buf_printf(out, "! ring %zu: %zu buckets", i + 1, moved);
            print_pairs(before, was, now, is, out);
        }
    }
}

void map_print_ring_buckets(const struct map_shard_names *names, struct slice rings,
                            struct buf *out)
{
    for (size_t i = 0; i < rings.n / BUCKETS; i++) {
        const uint8_t *ring = rings.p + i * BUCKETS;
        for (size_t s = 0; s < names->count; s++) {
            buf_printf(out, "buckets of ring %zu on ", i + 1);
            map_print_name(names->names[s], out);
            buf_u8(out, ':');
            for (size_t b = 0; b < BUCKETS; b++) {
                size_t end = b;
                while (ring[b] == s && end + 1 < BUCKETS && ring[end + 1] == s) {
                    end++;
                }
                if (ring[b] == s) {
                    buf_printf(out, end > b ? " %zu-%zu" : " %zu", b, end);
                    b = end;
                }
            }
            buf_u8(out, '\n');
        }
    }
}
