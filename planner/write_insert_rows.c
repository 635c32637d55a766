/*
 * INSERT whose rows are read first (PLAN_ROWS): from a SELECT over other shards, or from VALUES
 * that are evaluated once, because they decide where a row goes, or must be the same in every copy.
 *
 *     INSERT INTO users (id, name) SELECT user_id, 'x' FROM orders
 *     of     SELECT user_id, 'x' FROM orders
 *     step   INSERT INTO users (id, name) SELECT v.c1, 'x' FROM rows v
 *
 * Assignment casts are left to the step, for there the server knows the column. So are literals and
 * parameters whose type is open: they stand in the step as they stood in the statement. What the
 * shards could not make up by themselves (key, sequences; for copies every default that is no
 * constant) is named and put into the source.
 */

#include <string.h>

#include "planner/write_insert.h"

int insert_fail(struct insert *x, const char *hint, const char *why)
{
    x->err = note_set(x->note, ERR_UNSUPPORTED, "%s", why);
    note_hint(x->note, "%s", hint);
    return 0;
}

int insert_fail_syntax(struct insert *x, const char *why)
{
    x->err = note_set(x->note, ERR_SYNTAX, "%s", why);
    return 0;
}

PgQuery__SelectStmt *insert_select(const struct insert *x)
{
    return IS(x->q->select_stmt, SELECT_STMT) ? x->q->select_stmt->select_stmt : NULL;
}

int insert_is_copied(const struct insert *x)
{
    return x->rel->kind == REL_REFERENCE;
}

/* ---- what is behind the rows ------------------------------------------------------------------
 */

/* A relation of RETURNING or ON CONFLICT must be where the row is. */
static int tail_relations_fit(struct insert *x, const struct level *source)
{
    for (size_t i = 0; i < x->scope->rels_count; i++) {
        const struct rel *r = x->scope->rels[i];
        const struct level *l = r->level;
        while (l != NULL && l != source) {
            l = l->kind == LEVEL_CTE && l->as_rel != NULL ? l->as_rel->level : l->parent;
        }
        int home = x->rel->kind == REL_LOCAL && r->kind != REL_SHARDED;
        if (l == NULL && r->level->kind != LEVEL_CTE && r != x->rel && !home &&
            r->kind != REL_REFERENCE && r->kind != REL_VALUES) {
            return insert_fail(
                x, "Read those rows in a statement of their own.",
                "RETURNING and ON CONFLICT of this INSERT can only read reference tables");
        }
    }
    return 1;
}

static int tail_survey_fits(struct insert *x, const struct survey *v)
{
    if (v->bad_function != NULL || v->calls != NULL || v->unknown_functions || v->regcast ||
        (v->home && x->rel->kind != REL_LOCAL)) {
        return insert_fail(
            x, "Call it in a statement of its own.",
            "a function in RETURNING or ON CONFLICT of this INSERT cannot run on every "
            "shard");
    }
    return 1;
}

static int tail_fits(struct insert *x, const struct level *source)
{
    const PgQuery__InsertStmt *q = x->q;
    struct survey v;
    for (size_t i = 0; i < q->n_returning_list; i++) {
        survey_node(x->build, q->returning_list[i], &v);
        if (!tail_survey_fits(x, &v)) {
            return 0;
        }
    }
    if (q->on_conflict_clause != NULL) {
        survey_message(x->build, (const ProtobufCMessage *)q->on_conflict_clause, &v);
        if (!tail_survey_fits(x, &v)) {
            return 0;
        }
        if (insert_is_copied(x) && (!v.immutable || v.clock || v.system_columns)) {
            return insert_fail(x, "Give the values themselves: constants and parameters.",
                               "ON CONFLICT of a reference table must do the same on every shard");
        }
    }
    return tail_relations_fit(x, source);
}

int insert_loses_order(const PgQuery__InsertStmt *q, const struct catalog_table *t)
{
    const PgQuery__OnConflictClause *c = q->on_conflict_clause;
    return q->n_returning_list > 0 &&
           (t == NULL || t->has_triggers || t->has_rules ||
            (c != NULL && (c->action == PG_QUERY__ON_CONFLICT_ACTION__ONCONFLICT_NOTHING ||
                           (c->where_clause != NULL &&
                            c->where_clause->node_case != PG_QUERY__NODE__NODE__NOT_SET))));
}

/* ---- columns ----------------------------------------------------------------------------------
 */

static void add_target(struct insert *x, const struct catalog_column *known, tnode *node)
{
    struct target *t = &x->targets[x->count++];
    *t = (struct target){.known = known, .node = node};
    t->key = x->rel->kind == REL_SHARDED && known != NULL &&
             (write_is_key(x->rel->table, known->name) || insert_decides(x, known->name));
}

/* The columns that the source has values for, in its order. */
int insert_name_targets(struct insert *x, size_t values)
{
    const struct catalog_table *t = x->rel->known;
    const PgQuery__InsertStmt *q = x->q;
    size_t known = t == NULL ? 0 : t->columns_count;
    x->targets = arena_zero(&x->build->scratch, (values + known + 1) * sizeof(*x->targets));
    if (q->n_cols > 0 ? values > q->n_cols : t != NULL && values > known) {
        return insert_fail_syntax(x, "INSERT has more expressions than target columns");
    }
    if (q->n_cols > values) {
        return insert_fail_syntax(x, "INSERT has more target columns than expressions");
    }
    for (size_t i = 0; i < values; i++) {
        tnode *node = q->n_cols > 0 ? q->cols[i] : NULL;
        const struct catalog_column *c = t == NULL      ? NULL
                                         : node == NULL ? &t->columns[i]
                                         : IS(node, RES_TARGET)
                                             ? catalog_column(t, node->res_target->name)
                                             : NULL;
        if (t != NULL && c == NULL) {
            x->err =
                note_set(x->note, ERR_NO_COLUMN, "column \"%s\" of relation \"%s\" does not exist",
                         IS(node, RES_TARGET) ? node->res_target->name : "", t->name);
            return 0;
        }
        add_target(x, c, node);
        if (node != NULL && node->res_target->n_indirection > 0 && x->targets[i].key) {
            return insert_fail(x, "Give the sharding key as a whole.",
                               "the sharding key cannot be given in parts");
        }
    }
    x->named = values;
    return 1;
}

static struct target *target_named(struct insert *x, const char *name)
{
    for (size_t i = 0; i < x->count; i++) {
        if (x->targets[i].known != NULL && strcmp(x->targets[i].known->name, name) == 0) {
            return &x->targets[i];
        }
    }
    return NULL;
}

int insert_overrides(const struct insert *x, PgQuery__OverridingKind kind)
{
    return x->q->override == kind;
}

/* A value that the client gives for an identity column. 0: it may not. */
int insert_see_identity(struct insert *x, struct target *t)
{
    if (t->known == NULL || t->known->identity == 0 || x->rel->kind == REL_LOCAL) {
        return 1;
    }
    if (insert_overrides(x, PG_QUERY__OVERRIDING_KIND__OVERRIDING_USER_VALUE)) {
        t->left_out = 1; /* its default comes instead, as for a column that is not named */
        return 1;
    }
    if (t->known->identity == 'a' &&
        !insert_overrides(x, PG_QUERY__OVERRIDING_KIND__OVERRIDING_SYSTEM_VALUE)) {
        x->err = note_set(x->note, ERR_GENERATED,
                          "cannot insert a non-DEFAULT value into column \"%s\"", t->known->name);
        note_hint(x->note, "Use OVERRIDING SYSTEM VALUE to override.");
        return 0;
    }
    return 1;
}

/* Whether the shards must not make this column's value up themselves. */
static int wants_default(const struct insert *x, const struct catalog_column *c)
{
    if (c->generated || x->rel->kind == REL_LOCAL) {
        return 0;
    }
    if (c->default_kind == DEFAULT_SEQUENCE) {
        return 1;
    }
    return insert_is_copied(x)
               ? c->default_kind == DEFAULT_EXPRESSION
               : write_is_key(x->rel->table, c->name) ||
                     (c->default_kind != DEFAULT_NONE && insert_decides(x, c->name));
}

/* Defaults of columns that the statement leaves open, behind those that it names. */
int insert_add_extras(struct insert *x)
{
    const struct catalog_table *t = x->rel->known;
    x->extras =
        arena_zero(&x->build->scratch, (t == NULL ? 1 : t->columns_count + 1) * sizeof(*x->extras));
    for (size_t i = 0; t != NULL && i < t->columns_count; i++) {
        const struct catalog_column *c = &t->columns[i];
        const struct target *named = target_named(x, c->name);
        if ((named != NULL && !named->left_out) || !wants_default(x, c)) {
            continue;
        }
        if (c->default_kind == DEFAULT_NONE) { /* of the key */
            x->err = note_set(x->note, ERR_UNSUPPORTED,
                              "INSERT into \"%s\" must give its sharding key \"%s\" a value",
                              x->rel->name, c->name);
            note_hint(x->note, "Name the column, or give it a default.");
            return 0;
        }
        tnode *value = column_default(x->build, c);
        if (value == NULL) {
            return insert_fail(x, "Give the column a value.",
                               "the default of a column cannot be read");
        }
        x->computed |= c->identity != 0;
        x->extras[x->extras_count++] = value;
        add_target(x, c, NULL);
    }
    x->names |= x->extras_count > 0;
    return 1;
}

/* Which column of the source each target is, when all are in it. */
void insert_number_sources(struct insert *x)
{
    x->source_count = 0;
    for (size_t i = 0; i < x->count; i++) {
        if (!x->targets[i].left_out && x->targets[i].value == NULL) {
            x->targets[i].source = x->source_count++;
        }
    }
}

/* ---- the plan ---------------------------------------------------------------------------------
 */

/* The client's statement over the rows. */
static int step_text(struct insert *x, struct plan_rows_step *step)
{
    struct arena *a = &x->build->scratch;
    PgQuery__InsertStmt *q = x->q;
    tnode **targets = arena_alloc(a, (x->count + 1) * sizeof(*targets));
    tnode **cols = arena_alloc(a, (x->count + 1) * sizeof(*cols));
    size_t count = 0;
    for (size_t i = 0; i < x->count; i++) {
        const struct target *t = &x->targets[i];
        if (t->left_out) {
            continue;
        }
        tnode *value = t->value != NULL ? t->value : rows_unnamed_item(x->build, t->source);
        cols[count] = t->node != NULL    ? t->node
                      : t->known == NULL ? NULL
                                         : tree_target(a, NULL, t->known->name);
        targets[count++] = tree_target(a, value, NULL);
    }
    if (x->names || q->n_cols > 0) {
        q->cols = cols;
        q->n_cols = count;
    }
    if (x->computed) {
        q->override = PG_QUERY__OVERRIDING_KIND__OVERRIDING_SYSTEM_VALUE;
    }
    q->with_clause = NULL;
    q->select_stmt = tree_select(a, targets, count, rows_unnamed(x->build), NULL);
    return rows_step(x->build, x->stmt, step, x->note);
}

static void step_keys(struct insert *x, struct plan_rows_step *step)
{
    const struct map_table *t = x->rel->table;
    uint16_t *keys = arena_zero(x->build->out, t->keys_count * sizeof(*keys));
    for (size_t k = 0; k < t->keys_count; k++) {
        for (size_t i = 0; i < x->count; i++) {
            const struct target *target = &x->targets[i];
            if (!target->left_out && target->known != NULL &&
                strcmp(target->known->name, t->keys[k]) == 0) {
                keys[k] = (uint16_t)target->source;
            }
        }
    }
    step->keys = keys;
}

static int check_keys(struct insert *x)
{
    for (size_t i = 0; i < x->count; i++) {
        struct target *t = &x->targets[i];
        if (t->key && !t->left_out &&
            (i >= x->named || insert_select(x) == NULL || insert_select(x)->n_values_lists > 0) &&
            !insert_key_stays(x, t, NULL)) {
            return 0;
        }
    }
    return 1;
}

/* PLAN_WRITE: WITH x AS (DELETE ... RETURNING ...), shard by shard. */
static int source_gives_rows(const struct plan *p)
{
    return p->kind == PLAN_ONE || p->kind == PLAN_MANY || p->kind == PLAN_WRITE ||
           p->kind == PLAN_WORKSPACE;
}

struct leaves {
    const struct build *build;
    int tables, effects;
};

/* Of the volatile functions only those that leave nothing behind but an id that is drawn. */
static int see_leaves(const ProtobufCMessage *m, void *arg)
{
    static const char *const known[] = {"nextval",         "setval",    "random",
                                        "clock_timestamp", "timeofday", "gen_random_uuid"};
    struct leaves *w = arg;
    w->tables |= MESSAGE_IS(m, range_var) || MESSAGE_IS(m, locking_clause) ||
                 MESSAGE_IS(m, range_function); /* it may give many rows */
    const PgQuery__FuncCall *f = MESSAGE_IS(m, func_call) ? (const PgQuery__FuncCall *)m : NULL;
    enum function_class class = f == NULL ? FUNCTION_IMMUTABLE : function_class_of(w->build, f);
    if (class != FUNCTION_VOLATILE && class != FUNCTION_UNKNOWN) {
        return 1;
    }
    const char *schema;
    const char *name = tree_name(f->funcname, f->n_funcname, &schema);
    int is_known = 0;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        is_known |= strcmp(known[i], name) == 0;
    }
    int is_id = schema != NULL && strcmp(schema, "braid") == 0 && strcmp(name, "next_id") == 0;
    w->effects |= !is_id && (!is_known || (schema != NULL && strcmp(schema, "pg_catalog") != 0) ||
                             catalog_function(w->build->env->catalog, name) != NULL);
    return 1;
}

static void see_source(struct insert *x)
{
    struct leaves w = {.build = x->build};
    struct survey v;
    tree_walk_node(x->source, see_leaves, &w);
    survey_node(x->build, x->source, &v);
    x->draws = v.home;
    x->alone = !w.tables && !w.effects && !v.server && !v.bodies_read && !v.bodies_write &&
               v.calls == NULL && v.pins == 0;
}

static void step_of_target(struct insert *x, struct plan_rows_step *step)
{
    *step = (struct plan_rows_step){.counts = 1};
    step->to = x->rel->kind == REL_SHARDED     ? ROWS_BY_KEY
               : x->rel->kind == REL_REFERENCE ? ROWS_TO_ALL
                                               : ROWS_TO_HOME;
    step->table = x->rel->table;
    step->returns = x->q->n_returning_list > 0;
    if (step->to == ROWS_BY_KEY) {
        step_keys(x, step);
    }
}

static int finish(struct insert *x, struct plan *p, int in_order)
{
    struct plan_rows_step steps[INSERT_ARBITERS_MAX + 1];
    if (x->conflicts && !insert_locks(x, steps)) {
        return 0;
    }
    struct plan_rows_step *step = &steps[x->arbiters_count];
    step_of_target(x, step);
    see_source(x);
    struct plan *source = rows_source(x->build, x->source, NULL, x->note);
    if (source == NULL || !step_text(x, step)) {
        x->err = ERR_UNSUPPORTED;
        return 0;
    }
    if (!source_gives_rows(source)) {
        return insert_fail(x, "Read the rows first, then write them.",
                           "rows to be written cannot come out of this statement");
    }
    insert_goes(x, step);
    struct plan_rows *rows = rows_finish(x->build, p, source, steps, x->arbiters_count + 1);
    rows->in_order = in_order != 0;
    rows->alone = source->kind == PLAN_ONE && x->alone;
    rows->draws = source->kind == PLAN_WORKSPACE && x->draws;
    if (x->conflicts) {
        insert_tells(x, rows);
    }
    for (size_t i = 0; i < x->count; i++) {
        if (x->targets[i].known != NULL && !x->targets[i].left_out && x->targets[i].value == NULL) {
            draws_come_from(x->build, x->targets[i].known->number, x->targets[i].source);
        }
    }
    return 1;
}

static const struct level *source_level(const struct scope *s, const tnode *select)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (l->kind == LEVEL_FROM && l->parent == s->top && l->statement == select) {
            return l;
        }
    }
    return NULL;
}

enum err insert_rows(struct build *b, tnode *stmt, struct plan *p, struct note *note)
{
    struct insert x = {.build = b, .note = note, .stmt = stmt, .q = stmt->insert_stmt};
    note->text[0] = note->hint[0] = 0;
    if (b->env->workspace < ENV_ROWS) {
        return ERR_UNSUPPORTED;
    }
    x.scope = scope_build(b, stmt);
    x.rel = write_target(x.scope);
    if (x.scope->err || (x.rel->known == NULL && x.rel->kind != REL_LOCAL)) {
        return ERR_UNSUPPORTED;
    }
    const struct level *level = source_level(x.scope, x.q->select_stmt);
    const PgQuery__SelectStmt *q = insert_select(&x);
    int in_order = x.q->n_returning_list > 0 && !insert_loses_order(x.q, x.rel->known);
    int ok = 0;
    if (insert_is_copied(&x) && (x.rel->known->has_triggers || x.rel->known->has_rules)) {
        insert_fail(&x, "Drop them, or give constants and parameters only.",
                    "the reference table has triggers or rules");
    } else if (q != NULL && q->n_values_lists > 0 && x.q->with_clause != NULL) {
        insert_fail(&x, "Write INSERT ... SELECT.",
                    "a WITH in front of INSERT ... VALUES cannot be used over several shards");
    } else if (insert_may_conflict(&x) && tail_fits(&x, level)) {
        ok = q == NULL               ? insert_defaults(&x)
             : q->n_values_lists > 0 ? insert_values(&x)
                                     : insert_selected(&x, level);
        ok = ok && check_keys(&x) && finish(&x, p, in_order);
    }
    return ok ? ERR_NONE : x.err != ERR_NONE ? x.err : ERR_UNSUPPORTED;
}
