/*
 * MERGE into sharded, reference and local tables.
 *
 * ON must equate every column of the target's key with something of the source, in AND with the
 * rest, and an INSERT must give the key just that: then the row that a source row meets, and the
 * one that it becomes, are on the shard of that value. One value: the whole text goes there. The
 * key of a colocated table, or a reference table and no INSERT: each shard runs it over its own
 * rows. Else the source is read first, and its rows go to their shards:
 *
 *     MERGE INTO users u USING changes c ON u.id = c.user_id WHEN MATCHED THEN UPDATE SET name =
 *     c.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (c.user_id, c.name)
 *     source  SELECT c.user_id AS braid_1, c.name AS braid_2, c.user_id::int8 AS braid_3 FROM
 * changes c step    MERGE INTO users u USING rows c(user_id, name, braid_3) ON u.id = c.user_id
 * WHEN ...
 *
 * Clauses stand as the client wrote them, so they must mention nothing but the two relations.
 */

#include <string.h>

#include "planner/write_inner.h"

struct merge {
    struct build *build;
    struct scope *scope;
    PgQuery__MergeStmt *q;
    const struct rel *target, *source;
    tnode *keys[KEY_COLUMNS_MAX]; /* what ON equates the key with */
    struct note *note;
};

static int fail(struct merge *m, const char *hint, const char *why)
{
    return rows_fail(m->note, hint, why);
}

/* ---- the key ----------------------------------------------------------------------------------
 */

struct sides {
    const struct merge *merge;
    int target, source, queries;
};

static int see_side(const ProtobufCMessage *m, void *arg)
{
    struct sides *s = arg;
    struct term t;
    const struct level *top = s->merge->scope->top;
    if (MESSAGE_IS(m, sub_link)) {
        s->queries = 1;
        return 0;
    }
    if (MESSAGE_IS(m, column_ref)) {
        int found = scope_resolve(top, (const PgQuery__ColumnRef *)m, top->mask, &t) && !t.outer;
        s->target |= !found || t.via == s->merge->target->id;
        s->source |= !found || t.via == s->merge->source->id;
    }
    return 1;
}

static struct sides sides_of(const struct merge *m, const tnode *n)
{
    struct sides s = {.merge = m};
    tree_walk_node(n, see_side, &s);
    return s;
}

/* The key column of the target that the node is; -1: none. */
static int key_of_node(const struct merge *m, const tnode *n)
{
    struct term t;
    const struct level *top = m->scope->top;
    if (!IS(n, COLUMN_REF) || !scope_resolve(top, n->column_ref, top->mask, &t) || t.outer ||
        t.via != m->target->id) {
        return -1;
    }
    for (size_t i = 0; i < m->target->table->keys_count; i++) {
        if (keys_column(m->target, i) == (int)t.column) {
            return (int)i;
        }
    }
    return -1;
}

/* 0: a key column is equated twice. */
static int see_condition(struct merge *m, tnode *n)
{
    if (IS(n, BOOL_EXPR) && n->bool_expr->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR) {
        for (size_t i = 0; i < n->bool_expr->n_args; i++) {
            if (!see_condition(m, n->bool_expr->args[i])) {
                return 0;
            }
        }
        return 1;
    }
    if (!IS(n, A_EXPR) || n->a_expr->kind != PG_QUERY__A__EXPR__KIND__AEXPR_OP ||
        strcmp(tree_operator(n->a_expr), "=") != 0) {
        return 1;
    }
    for (int side = 0; side < 2; side++) {
        tnode *mine = side == 0 ? n->a_expr->lexpr : n->a_expr->rexpr;
        tnode *other = side == 0 ? n->a_expr->rexpr : n->a_expr->lexpr;
        int key = key_of_node(m, mine);
        struct sides s = sides_of(m, other);
        if (key >= 0 && !s.target && !s.queries) {
            if (m->keys[key] != NULL) {
                return 0;
            }
            m->keys[key] = other;
            return 1;
        }
    }
    return 1;
}

static int find_keys(struct merge *m)
{
    int ok = m->target->known != NULL && !m->build->env->catalog->odd_operators &&
             see_condition(m, m->q->join_condition);
    for (size_t i = 0; ok && i < m->target->table->keys_count; i++) {
        ok = m->keys[i] != NULL && keys_column(m->target, i) >= 0;
        struct survey v;
        survey_node(m->build, m->keys[i], &v);
        ok = ok && v.immutable && !v.unknown_functions;
    }
    return ok ||
           fail(m, "Equate each column of the sharding key with one expression over the source.",
                "MERGE into a sharded table must have its sharding key in ON, as key = "
                "expression over the source, joined by AND");
}

/* ---- clauses ----------------------------------------------------------------------------------
 */

static int key_at(const struct rel *t, const char *name)
{
    for (size_t i = 0; i < t->table->keys_count; i++) {
        if (strcmp(t->table->keys[i], name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* The column that value `i` of an INSERT is for. */
static const char *column_of_value(const struct rel *t, const PgQuery__MergeWhenClause *w, size_t i)
{
    return w->n_target_list > i && IS(w->target_list[i], RES_TARGET)
               ? w->target_list[i]->res_target->name
           : w->n_target_list == 0 && i < t->known->columns_count ? t->known->columns[i].name
                                                                  : "";
}

static int gives_column(const struct rel *t, const PgQuery__MergeWhenClause *w, const char *name)
{
    for (size_t i = 0; i < w->n_values; i++) {
        if (strcmp(column_of_value(t, w, i), name) == 0) {
            return !IS(w->values[i], SET_TO_DEFAULT);
        }
    }
    return 0;
}

/* The value counts, and may be given: only the home shard knows of the identity. */
static int keeps_identity(const struct catalog_column *c, const PgQuery__MergeWhenClause *w)
{
    return w->override == PG_QUERY__OVERRIDING_KIND__OVERRIDING_SYSTEM_VALUE ||
           (c->identity == 'd' && w->override != PG_QUERY__OVERRIDING_KIND__OVERRIDING_USER_VALUE);
}

/* An INSERT gives every key column what ON compares it with. */
static int insert_fits(struct merge *m, const PgQuery__MergeWhenClause *w)
{
    const struct rel *t = m->target;
    size_t found = 0;
    for (size_t i = 0; i < w->n_values; i++) {
        int key = key_at(t, column_of_value(t, w, i));
        if (key >= 0) {
            found += tree_equal(w->values[i], m->keys[key]);
        }
    }
    for (size_t i = 0; i < t->known->columns_count; i++) {
        const struct catalog_column *c = &t->known->columns[i];
        if (c->identity != 0 && gives_column(t, w, c->name) && !keeps_identity(c, w)) {
            return fail(m, "Use OVERRIDING SYSTEM VALUE.",
                        "INSERT in a MERGE into a sharded table cannot give an identity column "
                        "its value");
        }
        if (c->default_kind == DEFAULT_SEQUENCE && !gives_column(t, w, c->name)) {
            return fail(m, "Give the column a value, or use INSERT ... ON CONFLICT.",
                        "INSERT in a MERGE into a sharded table cannot draw from a sequence");
        }
    }
    return found == t->table->keys_count ||
           fail(m, "Insert the very expression that ON compares the sharding key with.",
                "INSERT in a MERGE must give the sharding key what ON compares it with");
}

static int update_fits(struct merge *m, const PgQuery__MergeWhenClause *w)
{
    return !write_changes_key(m->target, w->target_list, w->n_target_list) ||
           fail(m, "Delete the row and insert it with the new key.",
                "MERGE cannot change the sharding key");
}

static int clauses_fit(struct merge *m)
{
    for (size_t i = 0; i < m->q->n_merge_when_clauses; i++) {
        const PgQuery__MergeWhenClause *w = m->q->merge_when_clauses[i]->merge_when_clause;
        int ok = w->command_type == PG_QUERY__CMD_TYPE__CMD_INSERT   ? insert_fits(m, w)
                 : w->command_type == PG_QUERY__CMD_TYPE__CMD_UPDATE ? update_fits(m, w)
                                                                     : 1;
        if (!ok) {
            return 0;
        }
    }
    return 1;
}

/* Run elsewhere, clauses must need nothing but the row of each side. */
static int clauses_stand_alone(struct merge *m)
{
    struct sides s = sides_of(m, m->q->join_condition);
    struct survey v;
    int home = 0, moves = 0;
    survey_node(m->build, m->q->join_condition, &v);
    home |= v.home;
    moves |= !v.immutable || v.unknown_functions;
    for (size_t i = 0; i < m->q->n_merge_when_clauses; i++) {
        struct sides more = sides_of(m, m->q->merge_when_clauses[i]);
        survey_node(m->build, m->q->merge_when_clauses[i], &v);
        s.queries |= more.queries;
        home |= v.home;
        moves |= !v.immutable || v.unknown_functions || v.clock;
    }
    if (s.queries || home) {
        return fail(m, "Put it into the source, as a column.",
                    "ON and WHEN of a MERGE over several shards cannot have sub-selects or "
                    "functions that work on the home shard only");
    }
    return !moves || m->target->kind != REL_REFERENCE ||
           fail(m, "Put it into the source, as a column.",
                "a MERGE into a reference table must do the same on every shard: it calls a "
                "function that may give another value on every shard");
}

static int inserts(const struct merge *m)
{
    for (size_t i = 0; i < m->q->n_merge_when_clauses; i++) {
        if (m->q->merge_when_clauses[i]->merge_when_clause->command_type ==
            PG_QUERY__CMD_TYPE__CMD_INSERT) {
            return 1;
        }
    }
    return 0;
}

/* ---- one shard --------------------------------------------------------------------------------
 */

/* What a column of the source is when it gives one row of values, else the node itself. */
static const tnode *looked_up(const struct merge *m, const tnode *n)
{
    const struct rel *s = m->source;
    const PgQuery__SelectStmt *q =
        s->kind == REL_QUERY && s->query != NULL ? s->query->select : NULL;
    struct term t;
    const struct level *top = m->scope->top;
    if (q == NULL || q->n_from_clause > 0 || q->n_values_lists > 1 || s->query->set_operation ||
        !IS(n, COLUMN_REF) || !scope_resolve(top, n->column_ref, top->mask, &t) || t.rel != s ||
        t.column >= s->query->outputs_count) {
        return n;
    }
    if (q->n_values_lists == 1) {
        const tnode *row = q->values_lists[0];
        return IS(row, LIST) && t.column < row->list->n_items ? row->list->items[t.column] : n;
    }
    const tnode *value = s->query->outputs[t.column].expr;
    return value != NULL ? value : n;
}

/* The target is bound by ON, and the only sharded relation. 0: not so. */
static int bind_target(struct merge *m, struct plan *p)
{
    struct build *b = m->build;
    const struct rel *t = m->target;
    if (m->scope->sharded_count != 1 || m->scope->local_count > 0 || m->scope->calls_count > 0 ||
        b->survey.home) {
        return 0;
    }
    struct binding mine = {.table = t->table, .relation = arena_strdup(b->out, t->alias)};
    mine.written = (uint8_t)inserts(m); /* NULL or a value without a shard is an error then */
    for (size_t k = 0; k < t->table->keys_count; k++) {
        const struct catalog_column *c = &t->known->columns[keys_column(t, k)];
        const tnode *n = looked_up(m, m->keys[k]);
        struct value *v = arena_alloc(&b->scratch, sizeof(*v));
        if (c->typmod >= 0 || !value_of(b, n, c->type, v) || v->kind == VALUE_NULL ||
            (IS(n, PARAM_REF) && n != m->keys[k] && value_declared_type(b, v->param) == 0) ||
            (v->kind == VALUE_PARAM && !value_is_certain(b, v))) {
            return 0;
        }
        struct value_list one = {1, v};
        mine.keys[k] = keys_keep(b, &one);
    }
    struct binding *list = arena_alloc(b->out, sizeof(*list));
    *list = mine;
    p->kind = PLAN_ONE;
    p->rung = "route";
    p->touches_sharded = 1;
    p->_where = arena_zero(b->out, sizeof(*p->_where));
    p->_where->one = 1;
    p->_where->bindings = list;
    p->_where->bindings_count = 1;
    return 1;
}

/* ---- shard by shard ---------------------------------------------------------------------------
 */

/* The shards of the source's rows (NULL: all); what parameters say is not used: clauses mention
 * them, too. */
static void take_where(struct merge *m, const struct plan *read, struct plan *p)
{
    struct arena *a = m->build->out;
    if (read != NULL && m->build->survey.params_max == 0) {
        p->_where = read->_where;
        p->rung = read->rung;
        return;
    }
    struct plan_where *w = arena_zero(a, sizeof(*w));
    struct binding *all = arena_zero(a, sizeof(*all));
    all->table = m->target->table;
    all->relation = arena_strdup(a, m->target->alias);
    w->bindings = all;
    w->bindings_count = 1;
    p->_where = w;
    p->rung = "spread";
}

/* 0: not so, or the clauses cannot. */
static int merge_pushed(struct merge *m, struct plan *p)
{
    struct build *b = m->build;
    const struct rel *t = m->target;
    struct scope *inner = NULL;
    struct ties *ties = NULL;
    tnode *items[KEY_COLUMNS_MAX];
    int at[KEY_COLUMNS_MAX];
    struct note ignored = {0};
    struct merge quiet = *m;
    quiet.note = &ignored;
    if (t->kind != REL_SHARDED || m->q->with_clause != NULL || b->survey.home ||
        b->survey.unknown_functions || b->survey.system_columns || m->scope->calls_count > 0 ||
        m->scope->top->rels_count != 2 || m->scope->top->odd || !clauses_stand_alone(&quiet)) {
        return 0;
    }
    for (size_t k = 0; k < t->table->keys_count; k++) {
        items[k] = tree_target(&b->scratch, m->keys[k], NULL);
        at[k] = (int)k;
    }
    tnode *select =
        tree_select(&b->scratch, items, t->table->keys_count, m->q->source_relation, NULL);
    struct plan *read = plan_new(b, p->text);
    if (m->source->kind == REL_REFERENCE && !inserts(m)) { /* who meets no row does nothing */
        take_where(m, NULL, p);
    } else if (!pushed_read(b, tree_copy(&b->scratch, select), &inner, &ties, read) ||
               !pushed_keeps_keys(t, ties, inner->top, at)) {
        return 0;
    } else {
        take_where(m, read, p);
    }
    p->kind = PLAN_WRITE;
    p->err = ERR_NONE;
    p->note = (struct note){0};
    p->touches_sharded = 1;
    p->shard_sql = (const char *)p->text.p;
    return 1;
}

/* ---- rows -------------------------------------------------------------------------------------
 */

static tnode *key_cast(struct build *b, const struct catalog_column *c, tnode *val)
{
    enum {
        VARCHAR_HEADER = 4
    };
    const char *word = rows_key_type(c->type);
    if (word == NULL || (c->typmod >= 0 && c->type != OID_VARCHAR)) {
        return NULL;
    }
    tnode *n = tree_cast(&b->scratch, tree_copy(&b->scratch, val), word);
    if (c->typmod >= 0) { /* a longer value meets no row, and cannot be inserted */
        PgQuery__TypeName *type = n->type_cast->type_name;
        type->typmods = arena_alloc(&b->scratch, sizeof(*type->typmods));
        type->typmods[0] = tree_int(&b->scratch, c->typmod - VARCHAR_HEADER);
        type->n_typmods = 1;
    }
    return n;
}

/* Columns of the source by their own names, then the key. */
static int take_columns(struct merge *m, struct rows *r, tnode **where)
{
    struct arena *a = &m->build->scratch;
    const struct rel *s = m->source;
    for (size_t i = 0; i < s->columns_count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(s->columns[i], s->columns[k]) == 0) {
                return fail(m, "Give the columns of the source different names.",
                            "two columns of the source of this MERGE have the same name");
            }
        }
        size_t at = rows_add(r, tree_column(a, s->alias, s->columns[i]));
        r->items[at]->res_target->name = arena_strdup(a, s->columns[i]);
    }
    for (size_t k = 0; m->target->kind == REL_SHARDED && k < m->target->table->keys_count; k++) {
        tnode *key =
            key_cast(m->build, &m->target->known->columns[keys_column(m->target, k)], m->keys[k]);
        if (key == NULL) {
            return fail(m, "Use INSERT ... ON CONFLICT.",
                        "the sharding key has a type that MERGE cannot send rows by");
        }
        r->keys[r->keys_count++] = (uint16_t)rows_add(r, key);
        if (!inserts(m)) { /* it meets no row */
            PgQuery__NullTest *test = arena_alloc(a, sizeof(*test));
            pg_query__null_test__init(test);
            test->arg = tree_copy(a, m->keys[k]);
            test->nulltesttype = PG_QUERY__NULL_TEST_TYPE__IS_NOT_NULL;
            *where = tree_and(a, *where, tree_new(a, NODE(NULL_TEST), test));
        }
    }
    return !r->too_many || fail(m, "Name fewer columns.", "too many columns");
}

static int default_may_differ(const struct merge *m)
{
    const struct catalog_table *t = m->target->known;
    for (size_t i = 0; i < t->columns_count; i++) {
        if (!t->columns[i].generated && (t->columns[i].default_kind == DEFAULT_EXPRESSION ||
                                         t->columns[i].default_kind == DEFAULT_SEQUENCE)) {
            return 1;
        }
    }
    return t->has_triggers || t->has_rules;
}

static int merge_rows(struct merge *m, struct plan *p)
{
    struct build *b = m->build;
    struct rows *r = arena_zero(&b->scratch, sizeof(*r));
    tnode *where = NULL;
    struct plan_rows_step step = {0};
    r->build = b;
    r->scope = m->scope;
    r->target = m->target;
    if (b->env->workspace < 5 || b->survey.system_columns || b->survey.changing_ctes ||
        m->scope->calls_count > 0) {
        return 0;
    }
    if (!m->source->columns_known || m->scope->top->rels_count != 2 || m->scope->top->odd) {
        return fail(m, "Make the source one sub-select with named columns.",
                    "the source of a MERGE over several shards must be one table or sub-select");
    }
    if (m->target->kind == REL_REFERENCE && default_may_differ(m)) {
        return fail(m, "Use INSERT ... ON CONFLICT.",
                    "a MERGE into a reference table must do the same on every shard: it has "
                    "defaults that are no constants, triggers or rules");
    }
    if (!clauses_stand_alone(m) || !take_columns(m, r, &where)) {
        return 0;
    }
    tnode *select = tree_select(&b->scratch, r->items, r->count, m->q->source_relation, where);
    select->select_stmt->with_clause = m->q->with_clause;
    struct plan *read = rows_source(b, tree_copy(&b->scratch, select), NULL, m->note);
    m->q->with_clause = NULL;
    m->q->source_relation = rows_table(r);
    m->q->source_relation->range_var->alias->aliasname =
        arena_strdup(&b->scratch, m->source->alias);
    tnode *stmt = tree_new(&b->scratch, NODE(MERGE_STMT), m->q);
    if (read == NULL || !rows_step(b, stmt, &step, m->note)) {
        return 0;
    }
    rows_address(r, p, &step);
    step.exact = 0;
    rows_finish(b, p, read, &step, 1);
    return 1;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* The source, when it is one relation; NULL: it is a join. */
static const struct rel *source_of(const struct scope *s)
{
    const struct rel *source = NULL;
    for (size_t i = 0; i < s->top->rels_count; i++) {
        if (!s->top->rels[i]->target) {
            source = source == NULL ? s->top->rels[i] : NULL;
        }
    }
    return s->top->rels_count == 2 ? source : NULL;
}

int write_merge(struct build *b, struct scope *s, const tnode *stmt, struct plan *p,
                struct note *note)
{
    struct merge m = {.build = b, .scope = s, .target = write_target(s), .note = note};
    m.q = tree_copy(&b->scratch, stmt)->merge_stmt;
    m.source = source_of(s);
    b->batch->shape_ok = 0; /* that constants are equal is true of this text only */
    if (b->env->catalog == NULL || b->survey.bad_function != NULL || b->survey.session_change ||
        b->survey.changing_ctes) {
        return 0;
    }
    if (m.source == NULL || m.target->known == NULL) {
        return fail(&m, "Make the source one sub-select with named columns.",
                    "the source of a MERGE over several shards must be one table or sub-select");
    }
    if (m.target->kind == REL_SHARDED) {
        if (!find_keys(&m) || !clauses_fit(&m)) {
            return 0;
        }
        if (bind_target(&m, p) || merge_pushed(&m, p)) {
            return 1;
        }
    }
    return merge_rows(&m, p);
}
