/*
 * An UPDATE of the sharding key takes a row from one shard and gives it to another one. A statement
 * over both that writes or locks rows would leave it out, when it finds it gone here and not yet
 * there, where one PostgreSQL would wait for the row and find it. So such statements and those that
 * send rows on their way keep each other out, by locks of the tables (proxy/exec/transit.h):
 *
 *     plan.sends_rows   has the locks alone; so does EXPLAIN ANALYZE of a write
 *     writes or locks   has them with others; when it runs over one shard: none
 *
 * A DELETE and an INSERT are no such way: who does not find the new row would not find it in one
 * PostgreSQL either. Nor is SKIP LOCKED concerned, which leaves out rows that others write. The
 * number of a table is made of the name of that at the root, for partitions and children share
 * their rows (table_lock_number()).
 */

#include "planner/transit.h"

#include <string.h>

#include "planner/copies.h"

struct transit {
    struct build *build;
    uint32_t *roots;
    size_t count;
};

static void add(struct transit *t, uint32_t root)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->roots[i] == root) {
            return;
        }
    }
    if ((t->count & (t->count - 1)) == 0) { /* full */
        uint32_t *more = arena_alloc(t->build->out, (t->count + 1) * 2 * sizeof(*more));
        if (t->count != 0) {
            memcpy(more, t->roots, t->count * sizeof(*more));
        }
        t->roots = more;
    }
    t->roots[t->count++] = root;
}

static void add_roots(struct transit *t, const struct catalog_table *of)
{
    for (size_t i = 0; i < of->parents_count; i++) {
        add_roots(t, of->parents[i]);
    }
    if (of->parents_count == 0) {
        add(t, table_lock_number(of));
    }
}

static void see_table(struct transit *t, const PgQuery__RangeVar *v)
{
    struct relation r = {0};
    if (v == NULL) {
        return;
    }
    relation_of(t->build, v, &r);
    if (r.known != NULL && r.table != NULL && r.table->kind != MAP_REFERENCE) {
        add_roots(t, r.known);
    }
    for (size_t i = 0; r.known != NULL && i < r.known->under_count; i++) { /* a view */
        const struct catalog_table *under = r.known->under[i];
        const struct map_table *m = map_find(t->build->env->map, under->schema, under->name);
        if (m != NULL && m->kind != MAP_REFERENCE) {
            add_roots(t, under);
        }
    }
}

static int see_locked(const ProtobufCMessage *m, void *arg)
{
    if (MESSAGE_IS(m, range_var)) {
        see_table(arg, (const PgQuery__RangeVar *)(const void *)m);
    }
    return 1;
}

static int waits_for_locks(const PgQuery__SelectStmt *q)
{
    for (size_t i = 0; i < q->n_locking_clause; i++) {
        if (q->locking_clause[i]->locking_clause->wait_policy !=
            PG_QUERY__LOCK_WAIT_POLICY__LockWaitSkip) {
            return 1;
        }
    }
    return 0;
}

static int see(const ProtobufCMessage *m, void *arg)
{
    if (MESSAGE_IS(m, update_stmt)) {
        see_table(arg, ((const PgQuery__UpdateStmt *)(const void *)m)->relation);
    } else if (MESSAGE_IS(m, delete_stmt)) {
        see_table(arg, ((const PgQuery__DeleteStmt *)(const void *)m)->relation);
    } else if (MESSAGE_IS(m, select_stmt) &&
               waits_for_locks((const PgQuery__SelectStmt *)(const void *)m)) {
        tree_walk(m, see_locked, arg);
    }
    return 1;
}

static int sends_rows(const struct plan *p);

static int a_move_sends_rows(const struct plan_move *moves, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (sends_rows(moves[i].source)) {
            return 1;
        }
    }
    return 0;
}

static int sends_rows(const struct plan *p)
{
    for (size_t i = 0; p->rows != NULL && i < p->rows->steps_count; i++) {
        if (p->rows->steps[i].only == ROWS_LEAVE) {
            return 1;
        }
    }
    return (p->rows != NULL && sends_rows(p->rows->source)) ||
           (p->copy_out != NULL && p->copy_out->rows != NULL && sends_rows(p->copy_out->rows)) ||
           a_move_sends_rows(p->moves, p->moves_count) ||
           a_move_sends_rows(p->moves_apart, p->moves_apart_count);
}

/* It may write on several shards, or lock rows there. */
static int may_meet_them(const struct plan *p)
{
    if (p->kind == PLAN_EXPLAIN) {
        return p->explain_analyze && p->explained != NULL && may_meet_them(p->explained);
    }
    return p->kind != PLAN_REFUSE && p->kind != PLAN_DDL &&
           (p->kind != PLAN_ONE || p->otherwise != NULL);
}

void transit_of_statement(struct build *b, const tnode *stmt, struct plan *p)
{
    struct transit t = {.build = b};
    if (b->env->catalog == NULL || b->env->map->shards_count < 2 || !may_meet_them(p)) {
        return;
    }
    tree_walk_node(stmt, see, &t);
    for (; p != NULL && t.count != 0; p = p->otherwise) {
        p->transit = t.roots;
        p->transit_count = t.count;
        p->sends_rows = sends_rows(p) || p->kind == PLAN_EXPLAIN;
    }
}
