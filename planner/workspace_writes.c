/*
 * WITH queries that write, in a statement that shards cannot do by themselves: each is done as a
 * statement of its own, and the rows that it returns are moved as those of any table.
 *
 *     WITH d AS (DELETE FROM orders WHERE amount > 3 RETURNING id) SELECT * FROM d JOIN docs ON ...
 *     moves   braid_w2  the rows of docs
 *             braid_w1  DELETE FROM orders WHERE amount > 3 RETURNING id
 *     rest    WITH d AS (SELECT id FROM pg_temp.braid_w1) SELECT * FROM d JOIN ...
 *
 * The moves that write are the last ones, and all tables of the rest are moved: nothing in the
 * statement sees what they do but through RETURNING. They may not read other WITH queries, nor what
 * another of them writes: then it makes no difference that they run one after the other. Foreign
 * keys, which PostgreSQL looks at when all is done, decide in which order.
 */

#include <string.h>

#include "planner/workspace_inner.h"
#include "planner/write_inner.h"

static int fail(struct note *note, const char *why)
{
    return workspace_fail(note, "Write it as statements of their own.", why);
}

/* ---- which queries ----------------------------------------------------------------------------
 */

enum {
    WRITES_MAX = 16
};

struct write {
    PgQuery__CommonTableExpr *query;
    const struct scope *scope;
    const struct rel *target;
    unsigned id;
    uint32_t reads;    /* ids of those whose rows it reads */
    const char *table; /* of its move */
};

struct writes {
    struct write items[WRITES_MAX];
    size_t count;
};

struct names {
    struct build *build;
    const PgQuery__WithClause *with;
    const struct writes *writes;
    uint32_t reads;
    int others, defaults;
};

static const struct write *write_named(const struct writes *all, const PgQuery__RangeVar *v)
{
    for (size_t i = 0; v->schemaname[0] == 0 && i < all->count; i++) {
        if (strcmp(all->items[i].query->ctename, v->relname) == 0) {
            return &all->items[i];
        }
    }
    return NULL;
}

static int see_name(const ProtobufCMessage *m, void *arg)
{
    struct names *n = arg;
    const PgQuery__RangeVar *v = MESSAGE_IS(m, range_var) ? (const PgQuery__RangeVar *)m : NULL;
    const struct write *other = v == NULL ? NULL : write_named(n->writes, v);
    n->reads |= other == NULL ? 0 : 1U << other->id;
    for (size_t i = 0; other == NULL && v != NULL && v->schemaname[0] == 0 && i < n->with->n_ctes;
         i++) {
        n->others |= strcmp(n->with->ctes[i]->common_table_expr->ctename, v->relname) == 0;
    }
    n->defaults |= MESSAGE_IS(m, set_to_default);
    return 1;
}

/* INSERT ... SELECT of what other WITH queries have written, and of nothing else. */
static int reads_only_writes(const struct build *b, const struct writes *all, const struct write *w)
{
    const PgQuery__InsertStmt *q =
        IS(w->query->ctequery, INSERT_STMT) ? w->query->ctequery->insert_stmt : NULL;
    if (q == NULL || q->on_conflict_clause != NULL || q->with_clause != NULL ||
        b->env->workspace < ENV_WRITES_ROWS) {
        return 0;
    }
    for (size_t i = 0; i < w->scope->rels_count; i++) {
        const struct rel *r = w->scope->rels[i];
        const struct write *other = r->var == NULL ? NULL : write_named(all, r->var);
        if (r != w->target && (r->var != NULL ? other == NULL || other->query->n_aliascolnames > 0
                                              : r->kind != REL_VALUES && r->kind != REL_QUERY)) {
            return 0;
        }
    }
    return 1;
}

/* 0: its rows could show more than one server would; the note says why. */
static int is_apart(struct build *b, const PgQuery__WithClause *with, const struct writes *all,
                    struct write *w, struct note *note)
{
    struct names names = {.with = with, .writes = all};
    tree_walk_node(w->query->ctequery, see_name, &names);
    w->reads = names.reads;
    w->scope = scope_build(b, tree_copy(&b->scratch, w->query->ctequery));
    w->target = w->scope->err ? NULL : write_target(w->scope);
    if (w->target == NULL) {
        return fail(note, "this WITH query cannot run over several shards");
    }
    if (names.others || (names.reads >> w->id & 1) != 0 ||
        (names.reads != 0 && !reads_only_writes(b, all, w))) {
        return fail(note, "a WITH query that changes rows over several shards cannot read another");
    }
    if (b->survey.clock || clock_words_in((const ProtobufCMessage *)w->query->ctequery) ||
        (names.defaults && IS(w->query->ctequery, UPDATE_STMT))) {
        return workspace_fail(note, "Pass the time as a parameter.", "each shard has its clock");
    }
    return 1;
}

/* ---- several of them ---------------------------------------------------------------------------
 */

static int descends(const struct catalog_table *t, const struct catalog_table *from)
{
    int found = t->oid == from->oid;
    for (size_t i = 0; i < t->parents_count && !found; i++) {
        found = descends(t->parents[i], from);
    }
    return found;
}

int tables_share_rows(const struct catalog_table *a, const struct catalog_table *b)
{
    return descends(a, b) || descends(b, a);
}

static int refers(const struct catalog_table *t, const struct catalog_table *to, unsigned depth)
{
    int found = 0;
    for (size_t i = 0; i < t->foreigns_count && !found && depth > 0; i++) {
        const struct catalog_table *target = t->foreigns[i].target;
        found = target == NULL || tables_share_rows(target, to) ||
                (target->oid != t->oid && refers(target, to, depth - 1));
    }
    return found || depth == 0;
}

int table_refers(const struct catalog_table *t, const struct catalog_table *to)
{
    enum {
        BETWEEN_MAX = 20
    };
    return refers(t, to, BETWEEN_MAX);
}

static int plain_insert(const struct write *w)
{
    const tnode *n = w->query->ctequery;
    return IS(n, INSERT_STMT) && n->insert_stmt->on_conflict_clause == NULL;
}

/* Rows are deleted, and inserted again into the same table: they go before they come. */
static int brings_back(const struct write *insert, const struct write *delete)
{
    return plain_insert(insert) && IS(delete->query->ctequery, DELETE_STMT) &&
           (insert->reads >> delete->id & 1) != 0;
}

/* Whether `w` could meet rows that `other` writes. */
static int meets(const struct writes *all, const struct write *w, const struct write *other)
{
    const struct catalog_table *written = other->target->known;
    if (brings_back(w, other) || brings_back(other, w)) {
        return 0;
    }
    for (size_t i = 0; i < w->scope->rels_count; i++) {
        const struct rel *r = w->scope->rels[i];
        int table = r->kind == REL_SHARDED || r->kind == REL_REFERENCE || r->kind == REL_LOCAL;
        int adds = r == w->target && plain_insert(w) && plain_insert(other);
        if (r != w->target && r->var != NULL && write_named(all, r->var) != NULL) {
            continue;
        }
        if (table && !adds && (r->known == NULL || tables_share_rows(r->known, written))) {
            return 1;
        }
    }
    return 0;
}

static int is_alone(const struct write *w, const struct writes *all, struct note *note)
{
    const struct catalog_table *t = w->target->known;
    if (t == NULL || t->has_triggers || t->has_rules || t->kind == 'v') {
        return fail(note, "WITH queries that change rows over several shards, beside others that "
                          "do, need tables without triggers and rules");
    }
    for (size_t i = 0; i < all->count; i++) {
        if (&all->items[i] != w && all->items[i].target->known != NULL &&
            meets(all, w, &all->items[i])) {
            return fail(note, "a WITH query that changes rows over several shards cannot read or "
                              "write what another one writes");
        }
    }
    return 1;
}

enum order {
    ORDER_ANY,
    ORDER_FIRST,
    ORDER_LAST,
    ORDER_NONE /* neither would do as PostgreSQL does */
};

/* What refers to a row comes behind its INSERT and in front of its DELETE. */
static enum order order_of_keys(const struct write *a, const struct write *b)
{
    const struct catalog_table *ta = a->target->known;
    const struct catalog_table *tb = b->target->known;
    int a_refers = table_refers(ta, tb);
    int b_refers = table_refers(tb, ta);
    const struct write *parent = a_refers ? b : a;
    const struct write *child = a_refers ? a : b;
    if (!a_refers && !b_refers) {
        return ORDER_ANY;
    }
    int adds = IS(parent->query->ctequery, INSERT_STMT) != 0;
    if ((a_refers && b_refers) || (!adds && !IS(child->query->ctequery, DELETE_STMT))) {
        return ORDER_NONE;
    }
    return adds == (parent == a) ? ORDER_FIRST : ORDER_LAST;
}

static enum order order_of(const struct write *a, const struct write *b)
{
    enum order by_keys = order_of_keys(a, b);
    int behind = (a->reads >> b->id & 1) != 0;
    int before = (b->reads >> a->id & 1) != 0;
    if (!behind && !before) {
        return by_keys;
    }
    enum order by_rows = behind ? ORDER_LAST : ORDER_FIRST;
    return by_keys == ORDER_ANY || by_keys == by_rows ? by_rows : ORDER_NONE;
}

/* Behind those in front of it that must be first. */
static int put_in_order(struct writes *all, struct note *note)
{
    for (size_t done = 0; done < all->count; done++) {
        size_t next = all->count;
        for (size_t i = done; i < all->count && next == all->count; i++) {
            int free = 1;
            for (size_t k = done; k < all->count; k++) {
                enum order o = k == i ? ORDER_ANY : order_of(&all->items[i], &all->items[k]);
                free = free && o != ORDER_LAST && o != ORDER_NONE;
            }
            next = free ? i : next;
        }
        if (next == all->count) {
            return fail(note, "foreign keys between the tables of WITH queries that change rows "
                              "leave no order to run them in");
        }
        struct write w = all->items[next];
        memmove(&all->items[done + 1], &all->items[done], (next - done) * sizeof(w));
        all->items[done] = w;
    }
    return 1;
}

static int find_writes(struct build *b, const PgQuery__SelectStmt *q, struct writes *out,
                       struct note *note)
{
    for (size_t i = 0; i < q->with_clause->n_ctes; i++) {
        PgQuery__CommonTableExpr *c = q->with_clause->ctes[i]->common_table_expr;
        if (IS(c->ctequery, SELECT_STMT)) {
            continue;
        }
        if (out->count == WRITES_MAX) {
            return fail(note, "too many WITH queries that change rows");
        }
        out->items[out->count] = (struct write){.query = c, .id = (unsigned)out->count};
        out->count++;
    }
    for (size_t i = 0; i < out->count; i++) {
        if (!is_apart(b, q->with_clause, out, &out->items[i], note)) {
            return 0;
        }
    }
    for (size_t i = 0; i < out->count && out->count > 1; i++) {
        if (!is_alone(&out->items[i], out, note)) {
            return 0;
        }
    }
    return out->count < 2 || put_in_order(out, note);
}

/* ---- the move
 * -------------------------------------------------------------------------------- */

static PgQuery__Node ***returning_of(tnode *n, size_t **count)
{
    if (IS(n, INSERT_STMT)) {
        *count = &n->insert_stmt->n_returning_list;
        return &n->insert_stmt->returning_list;
    }
    if (IS(n, UPDATE_STMT)) {
        *count = &n->update_stmt->n_returning_list;
        return &n->update_stmt->returning_list;
    }
    if (IS(n, DELETE_STMT)) {
        *count = &n->delete_stmt->n_returning_list;
        return &n->delete_stmt->returning_list;
    }
    return NULL;
}

/* A table has columns: a write that returns nothing gives a number for each row. */
static int returns_something(struct build *b, tnode *n)
{
    struct arena *a = &b->scratch;
    size_t *count = NULL;
    tnode ***list = returning_of(n, &count);
    if (list == NULL) {
        return 0;
    }
    if (*count == 0) {
        *list = arena_alloc(a, sizeof(tnode *));
        (*list)[0] = tree_target(a, tree_int(a, 1), "braid_row");
        *count = 1;
    }
    return 1;
}

static int names_are_plain(const struct level *l)
{
    for (size_t i = 0; i < l->outputs_count; i++) {
        const char *name = l->outputs[i].name;
        if (name[0] == 0 || strcmp(name, "?column?") == 0 || strlen(name) > 63) {
            return 0;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(l->outputs[k].name, name) == 0) {
                return 0;
            }
        }
    }
    return l->outputs_known && l->outputs_count > 0;
}

/* SELECT a, b FROM pg_temp.braid_w1 */
static tnode *select_all(struct workspace *w, const struct level *l, const char *table)
{
    struct arena *a = &w->build->scratch;
    tnode **targets = arena_alloc(a, (l->outputs_count + 1) * sizeof(*targets));
    for (size_t i = 0; i < l->outputs_count; i++) {
        targets[i] = tree_target(a, tree_column(a, NULL, l->outputs[i].name), NULL);
    }
    return tree_select(a, targets, l->outputs_count, workspace_table(w, table, NULL), NULL);
}

struct put {
    struct arena *arena;
    const struct writes *all;
};

/* Names of other WITH queries become those of their moves' tables. */
static int see_put(const ProtobufCMessage *m, void *arg)
{
    const struct put *p = arg;
    union {
        const ProtobufCMessage *m;
        PgQuery__RangeVar *v;
    } u = {.m = m};
    const struct write *other = MESSAGE_IS(m, range_var) ? write_named(p->all, u.v) : NULL;
    if (other == NULL || other->table == NULL) {
        return 1;
    }
    if (u.v->alias == NULL) {
        u.v->alias = arena_alloc(p->arena, sizeof(*u.v->alias));
        pg_query__alias__init(u.v->alias);
        u.v->alias->aliasname = arena_strdup(p->arena, u.v->relname);
    }
    u.v->schemaname = arena_strdup(p->arena, "pg_temp");
    u.v->relname = arena_strdup(p->arena, other->table);
    return 1;
}

/* Does the query as a move, and puts its rows in its place. */
static int move_query(struct workspace *w, const struct writes *all, struct write *item,
                      struct note *note)
{
    struct build *b = w->build;
    PgQuery__CommonTableExpr *c = item->query;
    tnode *write = tree_copy(&b->scratch, c->ctequery);
    struct put put = {&b->scratch, all};
    tnode *source = item->reads == 0 ? NULL : write->insert_stmt->select_stmt;
    tree_walk_node(source, see_put, &put);
    if (!returns_something(b, write)) {
        return fail(note, "this WITH query cannot run over several shards");
    }
    tnode *read = write_as_read(b, tree_copy(&b->scratch, write));
    const struct scope *s = scope_build(b, tree_copy(&b->scratch, read));
    if (s->err || !names_are_plain(s->top)) {
        return workspace_fail(note, "Name each column of its RETURNING, differently.",
                              "the columns that a WITH query returns are not known");
    }
    struct plan *plan = workspace_plan_write(w, write, read, item->reads != 0, note);
    if (plan == NULL) {
        return 0;
    }
    size_t i = w->moves_count++;
    w->moves[i] = (struct plan_move){.table = arena_printf(b->out, WORKSPACE_PREFIX "%zu", i + 1),
                                     .source = plan,
                                     .to = MOVE_TO_ONE,
                                     .over = item->reads != 0,
                                     .writes = 1,
                                     .why = "what a WITH query writes, to one server"};
    w->moving[i] = (struct moving){(const char *)plan->text.p, read, 0};
    item->table = w->moves[i].table;
    workspace_virtual(w, &w->moves[i], workspace_virtual_columns(s));
    c->ctequery = select_all(w, s->top, w->moves[i].table);
    return 1;
}

/* What they do comes behind all that is read. */
static void write_last(struct workspace *w, size_t writes)
{
    struct plan_move first[WRITES_MAX];
    memcpy(first, w->moves, writes * sizeof(*first));
    memmove(w->moves, w->moves + writes, (w->moves_count - writes) * sizeof(*first));
    memcpy(w->moves + w->moves_count - writes, first, writes * sizeof(*first));
}

int workspace_writes(struct build *b, tnode *stmt, struct plan *p, struct note *note)
{
    struct note why_not = *note;
    struct writes writes = {.count = 0};
    if (!IS(stmt, SELECT_STMT) || stmt->select_stmt->with_clause == NULL) {
        return 0;
    }
    stmt =
        tree_copy(&b->scratch, stmt); /* who looks at the statement later still sees its writes */
    const PgQuery__SelectStmt *q = stmt->select_stmt;
    if (q->with_clause->recursive) {
        return fail(note, "WITH RECURSIVE beside a WITH query that changes rows cannot run over "
                          "several shards");
    }
    if (!find_writes(b, q, &writes, note) || writes.count == 0) {
        return 0;
    }
    struct workspace *w = workspace_begin(b, p);
    for (size_t i = 0; i < writes.count; i++) {
        if (!move_query(w, &writes, &writes.items[i], note)) {
            return 0;
        }
    }
    if (!workspace_gather(w, stmt, 0, note)) {
        return 0;
    }
    write_last(w, writes.count);
    workspace_finish(w, NULL, why_not.text);
    return 1;
}
