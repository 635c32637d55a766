/* Which type of a shard is which of the home shard. What is edited with it: typemap_edit.c. */

#include "planner/typemap.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "planner/typemap_inner.h"

/* An array is known by its element: its own name is made up by the server. */
const char *const typelist_query =
    "SELECT t.oid, n.nspname, CASE WHEN e.oid IS NULL THEN t.typname ELSE e.typname || '[]' END, "
    "CASE WHEN e.oid IS NULL THEN t.typtype ELSE 'a' END, "
    "coalesce(e.oid, r.rngsubtype, m.rngtypid, nullif(t.typbasetype, 0), 0), t.typrelid "
    "FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
    "LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND e.typarray = t.oid "
    "LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid "
    "LEFT JOIN (SELECT rngtypid, (pg_catalog.to_jsonb(x)->>'rngmultitypid')::pg_catalog.oid AS m "
    "FROM pg_catalog.pg_range x) m ON m.m = t.oid "
    "WHERE t.oid >= 16384 AND n.nspname !~ '^pg_(toast|temp)' ORDER BY t.oid";

enum {
    TYPELIST_COLUMNS = 6
};

struct typelist_item {
    uint32_t oid, inner, table;
    char kind;
    const char *schema, *name;
};

struct typelist {
    int refs;
    uint64_t digest[2];
    struct arena memory;
    struct typelist_item *items;
    size_t count, cap;
};

struct typelist *typelist_new(void)
{
    struct typelist *l = mem_zero(sizeof(*l));
    l->refs = 1;
    l->digest[1] = 1;
    return l;
}

struct typelist *typelist_ref(struct typelist *l)
{
    __atomic_add_fetch(&l->refs, 1, __ATOMIC_RELAXED);
    return l;
}

void typelist_unref(struct typelist *l)
{
    if (l != NULL && __atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        arena_free(&l->memory);
        mem_free(l->items);
        mem_free(l);
    }
}

int typelist_same(const struct typelist *a, const struct typelist *b)
{
    return a == b || (a != NULL && b != NULL && a->count == b->count &&
                      memcmp(a->digest, b->digest, sizeof(a->digest)) == 0);
}

static uint32_t oid_of(struct slice s)
{
    uint32_t v = 0;
    for (size_t i = 0; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
        v = v * 10 + (uint32_t)(s.p[i] - '0');
    }
    return v;
}

enum err typelist_row(struct typelist *l, const struct slice *values, size_t count,
                      struct note *note)
{
    if (count != TYPELIST_COLUMNS) {
        return note_set(note, ERR_SHARD_PROTOCOL, "the query for types gave %zu columns", count);
    }
    for (size_t d = 0; d < 2; d++) {
        for (size_t i = 0; i < count; i++) {
            l->digest[d] =
                hash_bytes(values[i].p, values[i].n, hash_u64(values[i].n, l->digest[d]));
        }
    }
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 64 : 2 * l->cap;
        l->items = mem_grow(l->items, l->cap * sizeof(*l->items));
    }
    l->items[l->count++] =
        (struct typelist_item){.oid = oid_of(values[0]),
                               .schema = arena_strndup(&l->memory, values[1].p, values[1].n),
                               .name = arena_strndup(&l->memory, values[2].p, values[2].n),
                               .kind = values[3].n > 0 ? (char)values[3].p[0] : 0,
                               .inner = oid_of(values[4]),
                               .table = oid_of(values[5])};
    return ERR_NONE;
}

/* ---- matching -------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const struct typelist_item *x = *(const struct typelist_item *const *)a;
    const struct typelist_item *y = *(const struct typelist_item *const *)b;
    int c = strcmp(x->name, y->name);
    return c != 0 ? c : strcmp(x->schema, y->schema);
}

static int by_from(const void *a, const void *b)
{
    uint32_t x = ((const struct typemap_pair *)a)->from;
    uint32_t y = ((const struct typemap_pair *)b)->from;
    return x < y ? -1 : x > y;
}

static const struct typelist_item **sorted(const struct typelist *l)
{
    const struct typelist_item **out = mem_alloc((l->count + 1) * sizeof(*out));
    for (size_t i = 0; i < l->count; i++) {
        out[i] = &l->items[i];
    }
    qsort(out, l->count, sizeof(*out), by_name);
    return out;
}

static void add(struct typemap_pairs *p, uint32_t from, uint32_t to)
{
    p->items[p->count++] = (struct typemap_pair){from, to};
}

static void pairs_open(struct typemap_pairs *p, size_t most)
{
    p->items = mem_zero((most + 1) * sizeof(*p->items));
}

static void match(struct typemap_shard *s, const struct typelist *home, const struct typelist *list)
{
    const struct typelist_item **a = sorted(home), **b = sorted(list);
    size_t most = home->count < list->count ? home->count : list->count;
    size_t k = 0;
    struct typemap_pairs *all[] = {&s->to_home, &s->to_shard, &s->tables_home, &s->tables_shard};
    for (size_t i = 0; i < 4; i++) {
        pairs_open(all[i], most);
    }
    for (size_t i = 0; i < home->count; i++) {
        while (k < list->count && by_name(&b[k], &a[i]) < 0) {
            k++;
        }
        if (k == list->count || by_name(&b[k], &a[i]) != 0) {
            continue;
        }
        s->differs |= a[i]->oid != b[k]->oid || a[i]->table != b[k]->table;
        add(&s->to_home, b[k]->oid, a[i]->oid);
        add(&s->to_shard, a[i]->oid, b[k]->oid);
        if (a[i]->table != 0 && b[k]->table != 0) {
            add(&s->tables_home, b[k]->table, a[i]->table);
            add(&s->tables_shard, a[i]->table, b[k]->table);
        }
        k++;
    }
    for (size_t i = 0; i < 4; i++) {
        qsort(all[i]->items, all[i]->count, sizeof(*all[i]->items), by_from);
    }
    /* A type that only one of the two has may have the number of another one at the other. */
    s->differs |= s->to_home.count != home->count || s->to_home.count != list->count;
    mem_free(a);
    mem_free(b);
}

struct typemap *typemap_new(struct typelist *const *lists, size_t count)
{
    struct typemap *m = mem_zero(sizeof(*m));
    m->refs = 1;
    m->count = count;
    m->shards = mem_zero((count + 1) * sizeof(*m->shards));
    for (size_t i = 0; i < count; i++) {
        m->shards[i].list = lists[i] == NULL ? NULL : typelist_ref(lists[i]);
        if (i > 0 && lists[0] != NULL && lists[i] != NULL) {
            match(&m->shards[i], lists[0], lists[i]);
        } else {
            m->shards[i].differs = i > 0; /* who knows */
        }
    }
    size_t kinds = count == 0 || lists[0] == NULL ? 0 : lists[0]->count;
    m->kinds = mem_zero((kinds + 1) * sizeof(*m->kinds));
    for (size_t i = 0; i < kinds; i++) { /* the query orders them */
        const struct typelist_item *t = &lists[0]->items[i];
        m->kinds[m->kinds_count++] = (struct typemap_kind){t->oid, t->inner, t->kind};
    }
    return m;
}

struct typemap *typemap_ref(struct typemap *m)
{
    __atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
    return m;
}

void typemap_unref(struct typemap *m)
{
    if (m == NULL || __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) != 0) {
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        struct typemap_shard *s = &m->shards[i];
        typelist_unref(s->list);
        mem_free(s->to_home.items);
        mem_free(s->to_shard.items);
        mem_free(s->tables_home.items);
        mem_free(s->tables_shard.items);
    }
    mem_free(m->shards);
    mem_free(m->kinds);
    mem_free(m);
}

struct typelist *typemap_list(const struct typemap *m, size_t shard)
{
    return m == NULL || shard >= m->count ? NULL : m->shards[shard].list;
}

int typemap_same(const struct typemap *a, const struct typemap *b)
{
    if (a == NULL || b == NULL || a->count != b->count) {
        return a == b;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!typelist_same(a->shards[i].list, b->shards[i].list)) {
            return 0;
        }
    }
    return 1;
}

/* ---- asking ---------------------------------------------------------------------------------- */

int typemap_differs(const struct typemap *m, size_t shard)
{
    return m != NULL && shard < m->count && m->shards[shard].differs;
}

static uint32_t find(const struct typemap_pairs *p, uint32_t from, uint32_t otherwise)
{
    const struct typemap_pair key = {.from = from};
    const struct typemap_pair *hit =
        p->count == 0 ? NULL : bsearch(&key, p->items, p->count, sizeof(*p->items), by_from);
    return hit == NULL ? otherwise : hit->to;
}

uint32_t typemap_to_home(const struct typemap *m, size_t shard, uint32_t type)
{
    return type < TYPEMAP_USER_OID || !typemap_differs(m, shard)
               ? type
               : find(&m->shards[shard].to_home, type, TYPEMAP_UNKNOWN);
}

uint32_t typemap_to_shard(const struct typemap *m, size_t shard, uint32_t type)
{
    return type < TYPEMAP_USER_OID || !typemap_differs(m, shard)
               ? type
               : find(&m->shards[shard].to_shard, type, 0);
}

uint32_t typemap_table_to_home(const struct typemap *m, size_t shard, uint32_t table)
{
    return table < TYPEMAP_USER_OID || !typemap_differs(m, shard)
               ? table
               : find(&m->shards[shard].tables_home, table, 0);
}

uint32_t typemap_table_to_shard(const struct typemap *m, size_t shard, uint32_t table)
{
    return table < TYPEMAP_USER_OID || !typemap_differs(m, shard)
               ? table
               : find(&m->shards[shard].tables_shard, table, 0);
}

static int by_oid(const void *a, const void *b)
{
    uint32_t x = ((const struct typemap_kind *)a)->oid;
    uint32_t y = ((const struct typemap_kind *)b)->oid;
    return x < y ? -1 : x > y;
}

struct typemap_kind typemap_kind_of(const struct typemap *m, uint32_t type)
{
    static const struct typemap_kind known[] = {
        {2205, 0, TYPEMAP_REGCLASS}, {2206, 0, TYPEMAP_REGTYPE}, {2210, 2205, TYPEMAP_ARRAY},
        {2211, 2206, TYPEMAP_ARRAY}, {2249, 0, TYPEMAP_ROW},     {2287, 2249, TYPEMAP_ARRAY}};
    const struct typemap_kind key = {.oid = type};
    const struct typemap_kind *hit = NULL;
    if (type < TYPEMAP_USER_OID) {
        hit = bsearch(&key, known, sizeof(known) / sizeof(known[0]), sizeof(known[0]), by_oid);
    } else if (m->kinds_count > 0) {
        hit = bsearch(&key, m->kinds, m->kinds_count, sizeof(*m->kinds), by_oid);
    }
    return hit == NULL ? key : *hit;
}

int typemap_holds_oids(const struct typemap *m, uint32_t type)
{
    for (int depth = 0; depth < TYPEMAP_DEPTH_MAX; depth++) {
        struct typemap_kind kind = typemap_kind_of(m, type);
        switch (kind.kind) {
        case TYPEMAP_ARRAY:
        case TYPEMAP_ROW:
        case TYPEMAP_REGCLASS:
        case TYPEMAP_REGTYPE: return 1;
        case TYPEMAP_DOMAIN:
        case TYPEMAP_RANGE:
        case TYPEMAP_MULTIRANGE: type = kind.inner; break;
        default: return 0;
        }
    }
    return 1;
}
