/*
 * Rows of sharded tables are on the shard of their key, and copies of reference tables are equal.
 * Each server is asked at a moment of its own, so a write that is being committed may look like a
 * difference: what differs is looked at once more.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/check/check.h"

enum {
    SHOWN_MAX = 20,            /* keys of one table on one shard */
    ROWS_COMPARED_MAX = 200000 /* of a reference table whose copies differ */
};

struct row {
    const char *key, *hash;
};

struct finding {
    uint64_t rows;
    int64_t sum;           /* lookup table of a global unique index: less that of its table */
    const char *hash;      /* reference: of all rows */
    const char *misplaced; /* how many */
    const char **keys;     /* of some of them */
    size_t keys_count;
    struct row *list; /* reference, when copies differ: sorted by key */
    size_t list_count, list_cap;
};

/* One pass over all shards. */
struct pass {
    const struct map *map;
    struct arena arena;
    struct finding *findings; /* [shard][table] */
    const char **queries;     /* of the shard at hand; the table of each */
    size_t *tables;
    size_t queries_count;
    size_t shard;
};

static struct pass *pass_now; /* the questions of catalog_load() have no argument; one thread */

static struct finding *finding_of(struct pass *p, size_t shard, size_t table)
{
    return &p->findings[shard * p->map->tables_count + table];
}

static void put_name(const char *name, struct buf *out)
{
    buf_u8(out, '"');
    for (; *name != 0; name++) {
        buf_text(out, *name == '"' ? "\"" : "");
        buf_u8(out, (uint8_t)*name);
    }
    buf_u8(out, '"');
}

static void put_table(const struct map_table *t, struct buf *out)
{
    put_name(t->schema, out);
    buf_u8(out, '.');
    put_name(t->name, out);
}

/* Whether the types of its key are known: it exists, and is not empty of meaning. */
static int exists(const struct map_table *t)
{
    for (size_t i = 0; i < t->keys_count; i++) {
        if (t->key_types[i] == 0) {
            return 0;
        }
    }
    return 1;
}

#define ROW_HASH "pg_catalog.md5(t::pg_catalog.text)"

static void add_query(struct pass *p, size_t table, struct buf *sql)
{
    p->queries = mem_grow(p->queries, (p->queries_count + 1) * sizeof(*p->queries));
    p->tables = mem_grow(p->tables, (p->queries_count + 1) * sizeof(*p->tables));
    p->queries[p->queries_count] = arena_strndup(&p->arena, sql->p, sql->n);
    p->tables[p->queries_count++] = table;
    sql->n = 0;
}

static void ask_sharded(struct pass *p, size_t index, struct buf *sql)
{
    const struct map_table *t = &p->map->tables[index];
    buf_text(sql, "SELECT 'm', pg_catalog.count(*) OVER (), pg_catalog.concat_ws(', '");
    for (size_t i = 0; i < t->keys_count; i++) {
        buf_text(sql, ", ");
        put_name(t->keys[i], sql);
    }
    buf_text(sql, ") FROM ");
    put_table(t, sql);
    buf_text(sql, " WHERE ");
    map_print_place(p->map, t, sql);
    buf_printf(sql, " IS DISTINCT FROM %zu LIMIT %d", p->shard, SHOWN_MAX);
    add_query(p, index, sql);
    buf_text(sql, "SELECT 'n', pg_catalog.count(*), '' FROM ");
    put_table(t, sql);
    add_query(p, index, sql);
}

static const char lookup_prefix[] = "unique_";

static int is_lookup(const struct map_table *t)
{
    return strcmp(t->schema, "braid") == 0 &&
           strncmp(t->name, lookup_prefix, sizeof(lookup_prefix) - 1) == 0;
}

/* It has what its table has, as sums of hashes; modulo a prime, so that they can be added. */
static void ask_lookup(struct pass *p, size_t index, struct buf *sql)
{
    const char *name = p->map->tables[index].name + sizeof(lookup_prefix) - 1;
    buf_text(sql, "SELECT 's', braid.unique_sum(E'");
    for (; *name != 0; name++) {
        buf_text(sql, *name == '\'' ? "'" : *name == '\\' ? "\\" : "");
        buf_u8(sql, (uint8_t)*name);
    }
    buf_text(sql, "'), ''");
    add_query(p, index, sql);
}

static int lookup_differs(struct pass *p, size_t shards, size_t table)
{
    int64_t sum = 0;
    for (size_t i = 0; i < shards; i++) {
        sum = (sum + finding_of(p, i, table)->sum) % INT64_C(2305843009213693951);
    }
    return sum != 0;
}

static void ask_reference(struct pass *p, size_t index, struct buf *sql)
{
    buf_text(sql, "SELECT 'r', pg_catalog.count(*), coalesce(pg_catalog.sum(('x' || "
                  "pg_catalog.substr(" ROW_HASH ", 1, 15))::pg_catalog.bit(60)::pg_catalog.int8), "
                  "0)::pg_catalog.text || coalesce(pg_catalog.bit_xor(('x' || "
                  "pg_catalog.substr(" ROW_HASH ", 16, 15))::pg_catalog.bit(60)::pg_catalog.int8), "
                  "0)::pg_catalog.text FROM ");
    put_table(&p->map->tables[index], sql);
    buf_text(sql, " t");
    add_query(p, index, sql);
}

/* The rows by their primary key, or as they are. */
static void ask_rows(struct pass *p, size_t index, struct buf *sql)
{
    const struct map_table *t = &p->map->tables[index];
    buf_text(sql, "SELECT 'l', coalesce((SELECT pg_catalog.string_agg(pg_catalog.to_jsonb(t)->>"
                  "a.attname, ', ' ORDER BY a.attnum) FROM pg_catalog.pg_index i JOIN "
                  "pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY "
                  "(i.indkey) WHERE i.indisprimary AND i.indrelid = t.tableoid), "
                  "t::pg_catalog.text), " ROW_HASH " FROM ");
    put_table(t, sql);
    buf_printf(sql, " t LIMIT %d", ROWS_COMPARED_MAX + 1);
    add_query(p, index, sql);
}

static const char *question(size_t index)
{
    return pass_now->queries[index];
}

static void add_row(struct pass *p, struct finding *f, const char *key, const char *hash)
{
    (void)p;
    if (f->list_count == f->list_cap) {
        f->list_cap = f->list_cap == 0 ? 256 : 2 * f->list_cap;
        f->list = mem_grow(f->list, f->list_cap * sizeof(*f->list));
    }
    f->list[f->list_count++] = (struct row){key, hash};
}

static enum err take_row(void *arg, size_t query, const struct slice *v, size_t count,
                         struct note *note)
{
    struct pass *p = arg;
    (void)note;
    check(count == 3);
    struct finding *f = finding_of(p, p->shard, p->tables[query]);
    const char *texts[3];
    for (size_t i = 0; i < 3; i++) {
        texts[i] = v[i].p == NULL ? "" : arena_strndup(&p->arena, v[i].p, v[i].n);
    }
    switch (texts[0][0]) {
    case 'n': f->rows = strtoull(texts[1], NULL, 10); break;
    case 's': f->sum = strtoll(texts[1], NULL, 10); break;
    case 'r':
        f->rows = strtoull(texts[1], NULL, 10);
        f->hash = texts[2];
        break;
    case 'm':
        if (f->keys == NULL) {
            f->keys = arena_zero(&p->arena, SHOWN_MAX * sizeof(*f->keys));
        }
        f->misplaced = texts[1];
        f->keys[f->keys_count++] = texts[2];
        break;
    default: add_row(p, f, texts[1], texts[2]); break;
    }
    return ERR_NONE;
}

static enum err run_queries(struct pass *p, const struct check_place *place, struct note *note)
{
    struct note unused;
    struct catalog_source source = {
        .queries_count = p->queries_count, .query = question, .row = take_row, .arg = p};
    pass_now = p;
    enum err e = catalog_load(&place->target, NULL, &source, NULL, &unused, note);
    p->queries_count = 0;
    return e ? note_wrap(note, e, place->shard) : ERR_NONE;
}

static void pass_free(struct pass *p, size_t shards)
{
    for (size_t i = 0; i < shards * p->map->tables_count; i++) {
        mem_free(p->findings[i].list);
    }
    mem_free(p->findings);
    mem_free(p->queries);
    mem_free(p->tables);
    arena_free(&p->arena);
}

static int copies_differ(struct pass *p, size_t shards, size_t table)
{
    const struct finding *home = finding_of(p, 0, table);
    for (size_t i = 1; i < shards; i++) {
        const struct finding *f = finding_of(p, i, table);
        if (f->rows != home->rows ||
            strcmp(f->hash == NULL ? "" : f->hash, home->hash == NULL ? "" : home->hash) != 0) {
            return 1;
        }
    }
    return 0;
}

/* Tables first, then the rows of reference tables whose copies differ. Returns whether anything
 * does, in *differs. */
static enum err look(struct pass *p, const struct check_place *places, size_t shards, int rows,
                     int *differs, struct note *note)
{
    enum err e = ERR_NONE;
    struct buf sql = {0};
    for (p->shard = 0; p->shard < shards && !e; p->shard++) {
        for (size_t i = 0; i < p->map->tables_count; i++) {
            const struct map_table *t = &p->map->tables[i];
            if (t->kind == MAP_REFERENCE && rows && copies_differ(p, shards, i)) {
                ask_rows(p, i, &sql);
            } else if (t->kind == MAP_REFERENCE && !rows) {
                ask_reference(p, i, &sql);
            } else if (!rows && exists(t)) {
                ask_sharded(p, i, &sql);
                if (is_lookup(t)) {
                    ask_lookup(p, i, &sql);
                }
            }
        }
        e = p->queries_count == 0 ? ERR_NONE : run_queries(p, &places[p->shard], note);
    }
    *differs = 0;
    for (size_t i = 0; i < p->map->tables_count && !e; i++) {
        *differs |= p->map->tables[i].kind == MAP_REFERENCE && copies_differ(p, shards, i);
        *differs |= is_lookup(&p->map->tables[i]) && lookup_differs(p, shards, i);
        for (size_t k = 0; k < shards; k++) {
            *differs |= finding_of(p, k, i)->keys_count > 0;
        }
    }
    buf_free(&sql);
    return e;
}

/* ---- the report --------------------------------------------------------------------------------
 */

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : strcmp(x->hash, y->hash);
}

static void tell_rows(struct finding *home, struct finding *f, const char *shard, struct buf *out)
{
    size_t i = 0, k = 0, shown = 0, more = 0;
    if (home->list_count > ROWS_COMPARED_MAX || f->list_count > ROWS_COMPARED_MAX) {
        buf_printf(out, "    (too many rows to compare one by one)\n");
        return;
    }
    if (home->list_count > 0) {
        qsort(home->list, home->list_count, sizeof(*home->list), compare_rows);
    }
    if (f->list_count > 0) {
        qsort(f->list, f->list_count, sizeof(*f->list), compare_rows);
    }
    while (i < home->list_count || k < f->list_count) {
        const struct row *a = i < home->list_count ? &home->list[i] : NULL;
        const struct row *b = k < f->list_count ? &f->list[k] : NULL;
        int keys = a == NULL ? 1 : b == NULL ? -1 : strcmp(a->key, b->key);
        i += keys <= 0;
        k += keys >= 0;
        if (keys == 0 && strcmp(a->hash, b->hash) == 0) {
            continue;
        }
        if (shown++ >= SHOWN_MAX) {
            more++;
            continue;
        }
        buf_printf(out, "    %s: %s\n", (keys <= 0 ? a : b)->key,
                   keys < 0   ? "missing there"
                   : keys > 0 ? "only there"
                              : "other values");
    }
    if (more > 0) {
        buf_printf(out, "    and %zu more\n", more);
    }
    (void)shard;
}

static size_t tell_reference(struct pass *p, const struct check_place *places, size_t shards,
                             size_t table, struct buf *out)
{
    const struct map_table *t = &p->map->tables[table];
    struct finding *home = finding_of(p, 0, table);
    size_t count = 0;
    for (size_t i = 1; i < shards; i++) {
        struct finding *f = finding_of(p, i, table);
        if (f->rows == home->rows && f->hash != NULL && strcmp(f->hash, home->hash) == 0) {
            continue;
        }
        count++;
        buf_printf(out, "%s.%s: the copy on %s (%llu rows) is not that on %s (%llu rows)\n",
                   t->schema, t->name, places[i].shard, (unsigned long long)f->rows,
                   places[0].shard, (unsigned long long)home->rows);
        tell_rows(home, f, places[i].shard, out);
    }
    if (count == 0) {
        buf_printf(out, "%s.%s: %zu equal copies of %llu rows\n", t->schema, t->name, shards,
                   (unsigned long long)home->rows);
    }
    return count;
}

static size_t tell_sharded(struct pass *p, const struct check_place *places, size_t shards,
                           size_t table, struct buf *out)
{
    const struct map_table *t = &p->map->tables[table];
    unsigned long long rows = 0;
    size_t count = 0;
    for (size_t i = 0; i < shards; i++) {
        const struct finding *f = finding_of(p, i, table);
        rows += f->rows;
        if (f->keys_count == 0) {
            continue;
        }
        count++;
        buf_printf(out, "%s.%s: %s rows on %s belong elsewhere:", t->schema, t->name, f->misplaced,
                   places[i].shard);
        for (size_t k = 0; k < f->keys_count; k++) {
            buf_printf(out, "%s (%s)", k == 0 ? "" : ",", f->keys[k]);
        }
        buf_text(out, strtoull(f->misplaced, NULL, 10) > f->keys_count ? ", ...\n" : "\n");
    }
    if (is_lookup(t) && lookup_differs(p, shards, table)) {
        count++;
        buf_printf(out,
                   "%s.%s: has not the values and keys that its table has: drop the index, and "
                   "create it again\n",
                   t->schema, t->name);
    }
    if (count == 0 && exists(t)) {
        buf_printf(out, "%s.%s: %llu rows, each on its shard\n", t->schema, t->name, rows);
    }
    return count;
}

enum err verify_rows(const struct check_place *places, size_t count, const struct map *map,
                     struct buf *out, size_t *differences, struct note *note)
{
    enum err e = ERR_NONE;
    int differs = 1;
    *differences = 0;
    for (int turn = 0; turn < 2 && differs && !e; turn++) {
        struct pass p = {.map = map};
        p.findings = mem_zero((count * map->tables_count + 1) * sizeof(*p.findings));
        if (turn > 0) {
            (void)sleep(1);
        }
        e = look(&p, places, count, 0, &differs, note);
        if (!e && (!differs || turn > 0)) {
            int unused;
            e = look(&p, places, count, 1, &unused, note);
            for (size_t i = 0; i < map->tables_count && !e; i++) {
                *differences += map->tables[i].kind == MAP_REFERENCE
                                    ? tell_reference(&p, places, count, i, out)
                                    : tell_sharded(&p, places, count, i, out);
            }
        }
        pass_free(&p, count);
    }
    return e;
}
