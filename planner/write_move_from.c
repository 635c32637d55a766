/* RETURNING of a row that goes to another shard, when it names columns of FROM: see write_move.c.
 */

#include <string.h>

#include "planner/write_inner.h"

#define ROWS     "braid_r" /* WITH queries of the step: the rows that came, */
#define INSERTED "braid_i" /* what was inserted of them, */
#define NUMBERED "braid_j" /* ... with a number, */
#define NUMBER   "braid_n" /* which pairs them: INSERT returns rows in the order it gets them */
#define VALUES   "braid_v" /* as rows_item() calls it */

static tnode *named(struct arena *a, const char *table, const char *alias)
{
    tnode *n = tree_range_var(a, "", table);
    PgQuery__Alias *as = arena_alloc(a, sizeof(*as));
    pg_query__alias__init(as);
    as->aliasname = arena_strdup(a, alias);
    n->range_var->alias = as;
    return n;
}

static int see_long_name(const ProtobufCMessage *m, void *arg)
{
    int *found = arg;
    *found |= MESSAGE_IS(m, column_ref) && ((const PgQuery__ColumnRef *)m)->n_fields > 2;
    return 1;
}

static int may_be_joined(const struct rows *r, tnode *const *items, size_t count, struct note *note)
{
    const struct catalog_table *t = r->target->known;
    int odd = 0;
    tree_walk_nodes(items, count, see_long_name, &odd);
    for (size_t i = 0; i < t->columns_count; i++) {
        odd |= strncmp(t->columns[i].name, "braid_", strlen("braid_")) == 0;
    }
    if (odd) {
        return rows_fail(note, "Use an alias, or leave out RETURNING.",
                         "UPDATE ... FROM of the sharding key cannot have RETURNING with names of "
                         "schemas, nor of a table with columns named braid_...");
    }
    return (rows_triggers(t, ROWS_TRIGGERS_BEFORE) & TRIGGER_INSERT) == 0 ||
           rows_fail(note, "Leave out RETURNING, or FROM.",
                     "UPDATE ... FROM of the sharding key cannot have RETURNING with columns of "
                     "FROM when the table has BEFORE INSERT triggers, which may leave rows out");
}

/* The client's list; the star of the target would hold the number. */
static size_t spell_out(const struct rows *r, tnode *const *items, size_t count, tnode ***out)
{
    struct arena *a = &r->build->scratch;
    const struct catalog_table *t = r->target->known;
    size_t n = 0;
    *out = arena_alloc(a, (count * (t->columns_count + 1) + 1) * sizeof(tnode *));
    for (size_t i = 0; i < count; i++) {
        const tnode *val = items[i]->res_target->val;
        if (!IS(val, COLUMN_REF) ||
            !IS(val->column_ref->fields[val->column_ref->n_fields - 1], A_STAR)) {
            (*out)[n++] = items[i];
            continue;
        }
        for (size_t k = 0; k < t->columns_count; k++) {
            (*out)[n++] =
                tree_target(a, tree_column(a, r->target->alias, t->columns[k].name), NULL);
        }
    }
    return n;
}

static int select_text(const struct rows *r, tnode *const *items, size_t count, const char **out,
                       struct note *note)
{
    struct arena *a = &r->build->scratch;
    const char *alias = r->target->alias;
    tnode **list;
    size_t n = spell_out(r, items, count, &list);
    tnode *q = tree_select(
        a, list, n, named(a, NUMBERED, alias),
        tree_compare(a, tree_column(a, alias, NUMBER), "=", tree_column(a, VALUES, NUMBER)));
    PgQuery__SelectStmt *s = q->select_stmt;
    tnode *first = s->from_clause[0];
    s->from_clause = arena_alloc(a, 2 * sizeof(*s->from_clause));
    s->from_clause[0] = first;
    s->from_clause[1] = named(a, ROWS, VALUES);
    s->n_from_clause = 2;
    return tree_deparse(q, a, out, note) == ERR_NONE;
}

static int insert_text(const struct rows *r, PgQuery__InsertStmt *q, const char **out,
                       struct note *note)
{
    struct arena *a = &r->build->scratch;
    const struct catalog_table *t = r->target->known;
    PgQuery__SelectStmt *s = q->select_stmt->select_stmt;
    s->from_clause[0] = named(a, ROWS, VALUES);
    s->sort_clause = arena_alloc(a, sizeof(*s->sort_clause));
    s->sort_clause[0] = tree_sort(a, tree_column(a, VALUES, NUMBER));
    s->n_sort_clause = 1;
    q->returning_list = arena_alloc(a, (t->columns_count + 1) * sizeof(*q->returning_list));
    q->n_returning_list = 0;
    for (size_t i = 0; i < t->columns_count; i++) {
        q->returning_list[q->n_returning_list++] =
            tree_target(a, tree_column(a, NULL, t->columns[i].name), NULL);
    }
    return tree_deparse(tree_new(a, NODE(INSERT_STMT), q), a, out, note) == ERR_NONE;
}

int rows_insert_returning(const struct rows *r, PgQuery__InsertStmt *q, struct plan_rows_step *out,
                          struct note *note)
{
    struct build *b = r->build;
    struct arena *a = &b->scratch;
    const char *select = NULL, *insert = NULL;
    tnode **items = q->returning_list;
    size_t count = q->n_returning_list;
    /* "SELECT braid_v.braid_1 FROM " rows " braid_v(...)": how the relation stands in a text. */
    tnode *one = tree_target(a, rows_item(r, 0), NULL);
    tnode *rows = tree_select(a, &one, 1, rows_table(r), NULL);
    if (!may_be_joined(r, items, count, note) || !select_text(r, items, count, &select, note) ||
        !insert_text(r, q, &insert, note) || !rows_step(b, rows, out, note)) {
        return 0;
    }
    out->head = slice_of(arena_strdup(
        b->out, "WITH " ROWS " AS (SELECT *, pg_catalog.row_number() OVER () AS " NUMBER " FROM "));
    out->tail =
        slice_of(arena_printf(b->out,
                              SLICE_FMT "), " INSERTED " AS (%s), " NUMBERED
                                        " AS (SELECT *, pg_catalog.row_number() OVER () AS " NUMBER
                                        " FROM " INSERTED ") %s",
                              SLICE_ARG(out->tail), insert, select));
    out->whole = r->target->known->has_triggers != 0;
    return 1;
}
