/*
 * UPDATE of the sharding key: the row goes to the shard of its new key. The source gives the row as
 * it will be, with its old key and its new one; where both are on the same shard the row is updated
 * in its place, else it is deleted here and inserted there:
 *
 *     UPDATE users SET id = id + 1 WHERE name = 'x'
 *     source  SELECT users.id AS braid_1, users.ctid AS braid_2, users.xmin AS braid_3,
 *             (id + 1)::int8 AS braid_4, users.name AS braid_5, ... FROM users WHERE name = 'x'
 *     leave   DELETE FROM users USING rows braid_v(...) WHERE users.ctid = braid_v.braid_2 AND ...
 *     stay    UPDATE users SET id = braid_v.braid_4 FROM rows braid_v(...) WHERE ...
 *     leave   INSERT INTO users (id, name, ...) OVERRIDING SYSTEM VALUE SELECT braid_v.braid_4, ...
 *
 * PostgreSQL does the same between partitions: DELETE and INSERT, with their triggers of rows. What
 * it does beyond that, and nobody can do here, is refused: see may_go(). A foreign key to the row
 * says at the DELETE what it would say of the UPDATE.
 *
 * RETURNING of an INSERT does not see FROM. When it must, the rows that were inserted are joined
 * with those they came from, by their order:
 *
 *     WITH braid_r AS (SELECT *, row_number() OVER () AS braid_n FROM rows braid_v(...)),
 *          braid_i AS (INSERT INTO users AS u (id, name, ...) OVERRIDING SYSTEM VALUE
 *                      SELECT braid_v.braid_4, ... FROM braid_r braid_v ORDER BY braid_v.braid_n
 *                      RETURNING u.id, u.name, ...),
 *          braid_j AS (SELECT *, row_number() OVER () AS braid_n FROM braid_i)
 *     SELECT u.id, braid_v.braid_7 AS day FROM braid_j u, braid_r braid_v
 *     WHERE u.braid_n = braid_v.braid_n
 */

#include <string.h>

#include "planner/write_inner.h"

int write_changes_key(const struct rel *r, tnode *const *targets, size_t count)
{
    for (size_t i = 0; r->kind == REL_SHARDED && i < count; i++) {
        if (IS(targets[i], RES_TARGET) && write_is_key(r->table, targets[i]->res_target->name)) {
            return 1;
        }
    }
    return 0;
}

/* ---- may the row go? --------------------------------------------------------------------------
 */

static int keys_refer(const struct catalog_table *t)
{
    int acts = t->referred_acts;
    for (size_t i = 0; i < t->children_count; i++) {
        acts |= keys_refer(t->children[i]);
    }
    return acts;
}

/* DELETE and INSERT fire their triggers of rows, and those of UPDATE do not, as between partitions.
 * What PostgreSQL fires there, and nobody can fire here: */
static const char *why_triggers_mind(const struct catalog_table *t)
{
    if ((rows_triggers(t, ROWS_TRIGGERS_BEFORE) & TRIGGER_UPDATE) != 0) {
        return "the sharding key of a table with BEFORE UPDATE triggers of rows cannot be changed: "
               "they would not see the row that is deleted here and inserted there";
    }
    if (rows_triggers(t, ROWS_TRIGGERS_STATEMENT) != 0) {
        return "the sharding key of a table with triggers of statements cannot be changed: those "
               "of DELETE and INSERT would run, and those of UPDATE not";
    }
    return NULL;
}

static int may_go(const struct rel *t, struct note *note)
{
    const struct catalog_table *known = t->known;
    const char *hint = "Delete the row and insert it with the new key.";
    const char *why = why_triggers_mind(known);
    if (why != NULL) {
        return rows_fail(note, hint, why);
    }
    if (known->row_security && known->policies_differ) {
        return rows_fail(note, hint,
                         "the sharding key of a table with row security cannot be changed when its "
                         "policies are not for all commands: those of DELETE and INSERT would "
                         "count, instead of those of UPDATE");
    }
    if (keys_refer(known)) {
        return rows_fail(note, hint,
                         "the sharding key of a table that foreign keys refer to with CASCADE, SET "
                         "NULL or SET DEFAULT cannot be changed: what refers to the row would have "
                         "to change with it");
    }
    if (known->kind == 'r' && known->children_count > 0 && t->var->inh) {
        return rows_fail(note, "Name the table that holds the row, with ONLY.",
                         "the sharding key of a table with children cannot be changed");
    }
    return 1;
}

/* ---- values -----------------------------------------------------------------------------------
 */

const char *rows_key_type(uint32_t type)
{
    switch (type) {
    case OID_INT2: return "int2";
    case OID_INT4: return "int4";
    case OID_INT8: return "int8";
    case OID_TEXT: return "text";
    case OID_VARCHAR: return "varchar";
    case OID_UUID: return "uuid";
    case OID_DATE: return "date";
    case OID_TIMESTAMP: return "timestamp";
    case OID_TIMESTAMPTZ: return "timestamptz";
    default: return NULL;
    }
}

static int is_number(uint32_t type)
{
    return type == OID_INT2 || type == OID_INT4 || type == OID_INT8 || type == OID_NUMERIC ||
           type == OID_FLOAT4 || type == OID_FLOAT8;
}

/* The new value as the column will hold it, so that its shard is known. NULL: it cannot be told. */
static tnode *new_key(const struct rows *r, const struct catalog_column *c, tnode *val)
{
    struct build *b = r->build;
    const char *word = rows_key_type(c->type);
    uint32_t type = expr_type(b, r->scope->top, val);
    if (word == NULL || IS(val, SET_TO_DEFAULT) ||
        (type != 0 && type != OID_UNKNOWN && is_number(type) != is_number(c->type))) {
        return NULL;
    }
    if (column_is_cut(c)) {
        return column_as_stored(b, c, val);
    }
    return type == c->type ? val : tree_cast(&b->scratch, val, word);
}

enum {
    MOVE_STEPS_MAX = 4 /* delete, (what was left,) update, insert */
};

/* One column of the row as it will be. */
struct column {
    const struct catalog_column *is;
    PgQuery__ResTarget *assigned; /* NULL: it keeps its value */
    int at;                       /* of the source; -1: the steps say it themselves */
};

struct going {
    struct rows *rows;
    PgQuery__UpdateStmt *q;
    struct column *columns;
    size_t count;
    uint16_t keys[KEY_COLUMNS_MAX]; /* the new key */
    int returns_from;               /* RETURNING names columns of FROM */
};

static PgQuery__ResTarget *assigned_to(const PgQuery__UpdateStmt *q, const char *name)
{
    for (size_t i = 0; i < q->n_target_list; i++) {
        if (IS(q->target_list[i], RES_TARGET) &&
            strcmp(q->target_list[i]->res_target->name, name) == 0) {
            return q->target_list[i]->res_target;
        }
    }
    return NULL;
}

static int take_column(struct going *g, struct column *c, struct note *note)
{
    struct rows *r = g->rows;
    PgQuery__ResTarget *t = c->assigned;
    c->at = -1;
    if (t == NULL) {
        c->at = (int)rows_add_column(r, c->is->name);
        return 1;
    }
    tnode *val = t->n_indirection > 0 ? NULL : rows_value(r->build, t->val);
    int key = write_is_key(r->target->table, c->is->name);
    val = val != NULL && key ? new_key(r, c->is, val) : val;
    if (val == NULL || IS(val, ROW_EXPR)) {
        return rows_fail(note, "Delete the row and insert it with the new key.",
                         "what this UPDATE gives to the sharding key or with it cannot be told "
                         "beforehand");
    }
    t->val = val;
    if (IS(val, SET_TO_DEFAULT) || (!key && rows_stays(r, val, 1))) {
        return 1;
    }
    c->at = (int)rows_add(r, val);
    return 1;
}

static int take_columns(struct going *g, struct note *note)
{
    struct rows *r = g->rows;
    const struct catalog_table *t = r->target->known;
    g->columns = arena_zero(&r->build->scratch, (t->columns_count + 1) * sizeof(*g->columns));
    for (size_t i = 0; i < t->columns_count; i++) {
        if (t->columns[i].generated) {
            continue;
        }
        struct column *c = &g->columns[g->count++];
        c->is = &t->columns[i];
        c->assigned = assigned_to(g->q, c->is->name);
        if (!take_column(g, c, note)) {
            return 0;
        }
    }
    for (size_t k = 0; k < r->target->table->keys_count; k++) {
        const char *key = r->target->table->keys[k];
        for (size_t i = 0; i < g->count; i++) {
            if (strcmp(g->columns[i].is->name, key) == 0) {
                g->keys[k] = (uint16_t)g->columns[i].at;
            }
        }
    }
    return 1;
}

static tnode *value_of_column(const struct going *g, const struct column *c)
{
    return c->at >= 0 ? rows_item(g->rows, (size_t)c->at) : c->assigned->val;
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static void address(const struct going *g, struct plan_rows_step *step, enum plan_rows_only only,
                    int there)
{
    const struct rows *r = g->rows;
    uint16_t *keys = arena_alloc(r->build->out, 2 * sizeof(r->keys));
    memcpy(keys, r->keys, sizeof(r->keys));
    memcpy(keys + KEY_COLUMNS_MAX, g->keys, sizeof(g->keys));
    step->to = ROWS_BY_KEY;
    step->only = only;
    step->table = r->target->table;
    step->keys = there ? keys + KEY_COLUMNS_MAX : keys;
    step->other_keys = there ? keys : keys + KEY_COLUMNS_MAX;
    step->exact = !there;
}

static tnode **one(struct arena *a, tnode *n)
{
    tnode **list = arena_alloc(a, sizeof(*list));
    list[0] = n;
    return list;
}

static int step_delete(const struct going *g, struct plan_rows_step *out, struct note *note)
{
    struct arena *a = &g->rows->build->scratch;
    PgQuery__DeleteStmt *q = arena_alloc(a, sizeof(*q));
    pg_query__delete_stmt__init(q);
    q->relation = g->q->relation;
    q->using_clause = one(a, rows_table(g->rows));
    q->n_using_clause = 1;
    q->where_clause = rows_found(g->rows);
    address(g, out, ROWS_LEAVE, 0);
    return rows_step(g->rows->build, tree_new(a, NODE(DELETE_STMT), q), out, note);
}

static int step_insert(const struct going *g, struct plan_rows_step *out, struct note *note)
{
    struct arena *a = &g->rows->build->scratch;
    PgQuery__InsertStmt *q = arena_alloc(a, sizeof(*q));
    const char *key = g->rows->target->table->keys[0];
    tnode **values = arena_alloc(a, (g->count + 1) * sizeof(*values));
    pg_query__insert_stmt__init(q);
    q->relation = g->q->relation;
    q->cols = arena_alloc(a, (g->count + 1) * sizeof(*q->cols));
    for (size_t i = 0; i < g->count; i++) {
        const struct column *c = &g->columns[i];
        if (c->at >= 0 || !IS(c->assigned->val, SET_TO_DEFAULT)) {
            values[q->n_cols] = tree_target(a, value_of_column(g, c), NULL);
            q->cols[q->n_cols++] = tree_target(a, NULL, c->is->name);
        }
    }
    q->select_stmt = tree_select(a, values, q->n_cols, rows_table(g->rows), NULL);
    q->returning_list = g->q->returning_list;
    q->n_returning_list = g->q->n_returning_list;
    q->override = PG_QUERY__OVERRIDING_KIND__OVERRIDING_SYSTEM_VALUE;
    address(g, out, ROWS_LEAVE, 1);
    out->counts = 1;
    out->returns = q->n_returning_list > 0;
    if (g->rows->target->known->row_security && !out->returns) {
        /* So that policies of SELECT count for the new row as they do in an UPDATE that reads. */
        q->returning_list = one(a, tree_target(a, tree_column(a, NULL, key), NULL));
        q->n_returning_list = 1;
    }
    return g->returns_from
               ? rows_insert_returning(g->rows, q, out, note)
               : rows_step(g->rows->build, tree_new(a, NODE(INSERT_STMT), q), out, note);
}

static int step_update(const struct going *g, struct plan_rows_step *out, struct note *note)
{
    struct arena *a = &g->rows->build->scratch;
    PgQuery__UpdateStmt *q = g->q;
    for (size_t i = 0; i < g->count; i++) {
        if (g->columns[i].assigned != NULL) {
            g->columns[i].assigned->val = value_of_column(g, &g->columns[i]);
        }
    }
    q->with_clause = NULL;
    q->from_clause = one(a, rows_table(g->rows));
    q->n_from_clause = 1;
    q->where_clause = rows_found(g->rows);
    address(g, out, ROWS_STAY, 0);
    out->counts = 1;
    out->returns = q->n_returning_list > 0;
    return rows_step(g->rows->build, tree_new(a, NODE(UPDATE_STMT), q), out, note);
}

int rows_move(struct rows *r, tnode *stmt, struct plan *p, struct note *note)
{
    struct build *b = r->build;
    struct going g = {.rows = r, .q = stmt->update_stmt};
    struct plan_rows_step steps[MOVE_STEPS_MAX] = {{.when = -1}};
    if (!may_go(r->target, note) || !take_columns(&g, note)) {
        return 0;
    }
    size_t columns = r->count;
    if (!rows_returning(r, &g.q->returning_list, &g.q->n_returning_list, note)) {
        return 0;
    }
    g.returns_from = r->count > columns;
    if (r->too_many) {
        return rows_fail(note, "Split it into smaller statements.", "too many columns");
    }
    tnode *source =
        rows_select(r, g.q->with_clause, g.q->from_clause, g.q->n_from_clause, g.q->where_clause);
    /* A copy: the steps below find the rows by the columns that a workspace gives other names. */
    source = tree_copy(&b->scratch, source);
    struct plan *read = r->cursor != NULL ? current_source(r, source, note)
                                          : rows_source(b, source, r->target->alias, note);
    size_t count = rows_may_leave(r, TRIGGER_DELETE) ? MOVE_STEPS_MAX : MOVE_STEPS_MAX - 1;
    /* Who leaves makes room first, who comes needs it. */
    if (read == NULL || !step_delete(&g, &steps[0], note) ||
        (count == MOVE_STEPS_MAX && !rows_step_left(r, &steps[0], &steps[1], note)) ||
        !step_insert(&g, &steps[count - 1], note) || !step_update(&g, &steps[count - 2], note)) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) { /* rows of one statement may refer to each other */
        steps[i].whole |= r->target->known->referred != 0 || r->target->known->row_security != 0;
    }
    current_finish(r, rows_finish(b, p, read, steps, count));
    return 1;
}
