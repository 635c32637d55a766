/*
 * INSERT, UPDATE, DELETE, MERGE. On a sharded table: to the one shard of the key, or (UPDATE and
 * DELETE only) shard by shard. On a reference table: the same text on every shard, and only when it
 * is certain to do the same everywhere.
 */

#include <string.h>

#include "planner/build.h"

static struct rel *target_of(const struct scope *s)
{
    for (size_t i = 0; i < s->top->rels_count; i++) {
        if (s->top->rels[i]->target) {
            return s->top->rels[i];
        }
    }
    return NULL;
}

static int is_key(const struct map_table *t, const char *column)
{
    for (size_t i = 0; i < t->keys_count; i++) {
        if (strcmp(t->keys[i], column) == 0) {
            return 1;
        }
    }
    return 0;
}

/* 1: refused, because the assignment list names a key column. */
static int refuse_key_change(struct plan *p, const struct rel *r, tnode *const *targets,
                             size_t count)
{
    for (size_t i = 0; r->kind == REL_SHARDED && i < count; i++) {
        if (IS(targets[i], RES_TARGET) && is_key(r->table, targets[i]->res_target->name)) {
            refuse(p, "Delete the row and insert it with the new key.",
                   "column \"%s\" of \"%s\" is the sharding key and cannot be changed",
                   targets[i]->res_target->name, r->name);
            return 1;
        }
    }
    return 0;
}

/* Changing WITH queries: their tables must be bound like all others, and what needs more care than
 * that is refused. 1: refused. */
int refuse_inner_writes(struct scope *s, struct plan *p)
{
    for (size_t i = 0; i < s->rels_count; i++) {
        const struct rel *r = s->rels[i];
        if (!r->target || r->level == s->top || r->kind == REL_LOCAL) {
            continue;
        }
        const tnode *stmt = r->level->statement;
        if (r->kind == REL_REFERENCE || !(IS(stmt, UPDATE_STMT) || IS(stmt, DELETE_STMT))) {
            refuse(p, "Write it as a statement of its own.",
                   "WITH queries cannot insert into sharded tables or change reference tables");
            return 1;
        }
        if (IS(stmt, UPDATE_STMT) && refuse_key_change(p, r, stmt->update_stmt->target_list,
                                                       stmt->update_stmt->n_target_list)) {
            return 1;
        }
    }
    return 0;
}

/* ---- reference tables -------------------------------------------------------------------------
 */

static int see_default(const ProtobufCMessage *m, void *arg)
{
    if (MESSAGE_IS(m, set_to_default)) {
        *(int *)arg = 1;
    }
    return 1;
}

static int names_column(tnode *const *cols, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (IS(cols[i], RES_TARGET) && strcmp(cols[i]->res_target->name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The first column whose default would be evaluated and is no constant; NULL: none. */
static const char *moving_default(const struct rel *r, tnode *stmt)
{
    int defaults = 0;
    tree_walk_node(stmt, see_default, &defaults);
    const PgQuery__InsertStmt *q = IS(stmt, INSERT_STMT) ? stmt->insert_stmt : NULL;
    for (size_t i = 0; i < r->known->columns_count; i++) {
        const struct catalog_column *c = &r->known->columns[i];
        int evaluated = defaults;
        if (q != NULL) {
            evaluated |= q->select_stmt == NULL ||
                         (q->n_cols > 0 && !names_column(q->cols, q->n_cols, c->name));
        }
        if (q != NULL && q->n_cols == 0 && q->select_stmt != NULL) {
            evaluated = 1; /* fewer values than columns: the rest are defaults */
            if (IS(q->select_stmt, SELECT_STMT) &&
                q->select_stmt->select_stmt->n_values_lists > 0 &&
                IS(q->select_stmt->select_stmt->values_lists[0], LIST)) {
                evaluated =
                    defaults || i >= q->select_stmt->select_stmt->values_lists[0]->list->n_items;
            }
        }
        if (evaluated && !c->generated &&
            (c->default_kind == DEFAULT_EXPRESSION || c->default_kind == DEFAULT_SEQUENCE)) {
            return c->name;
        }
    }
    return NULL;
}

static int levels_differ(const struct scope *s)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (l->limited || l->windows || l->distinct_on) {
            return 1;
        }
    }
    return 0;
}

struct agg_order {
    const struct build *build;
    int adds;   /* sum() or avg(): exact but for floats */
    int floats; /* a cast to one */
    int bad;
};

static int see_ordered_aggregate(const ProtobufCMessage *m, void *arg)
{
    static const char *const free_of_order[] = {"count",    "min",     "max",
                                                "bool_and", "bool_or", "every"};
    struct agg_order *a = arg;
    if (MESSAGE_IS(m, type_name)) {
        const PgQuery__TypeName *t = (const PgQuery__TypeName *)m;
        a->floats |= strncmp(tree_name(t->names, t->n_names, NULL), "float", 5) == 0;
    }
    const PgQuery__FuncCall *f = MESSAGE_IS(m, func_call) ? (const PgQuery__FuncCall *)m : NULL;
    if (f == NULL || function_class_of(a->build, f) != FUNCTION_AGGREGATE) {
        return 1;
    }
    const char *name = tree_name(f->funcname, f->n_funcname, NULL);
    if (strcmp(name, "sum") == 0 || strcmp(name, "avg") == 0) {
        a->adds = 1;
        return 1;
    }
    for (size_t i = 0; i < sizeof(free_of_order) / sizeof(free_of_order[0]); i++) {
        if (strcmp(name, free_of_order[i]) == 0) {
            return 1;
        }
    }
    a->bad = 1;
    return 1;
}

/* Whether an aggregate may come out otherwise when it sees the same rows in another order. */
static int aggregates_follow_order(struct build *b, const struct scope *s, const tnode *stmt)
{
    struct agg_order a = {.build = b};
    tree_walk_node(stmt, see_ordered_aggregate, &a);
    for (size_t i = 0; a.adds && i < s->rels_count; i++) {
        const struct catalog_table *t = s->rels[i]->known;
        for (size_t k = 0; t != NULL && k < t->columns_count; k++) {
            a.floats |= t->columns[k].type == OID_FLOAT4 || t->columns[k].type == OID_FLOAT8;
        }
    }
    return a.bad || (a.adds && a.floats);
}

static const char *same_everywhere(struct build *b, struct scope *s, tnode *stmt,
                                   const struct rel *r)
{
    const struct survey *v = &b->survey;
    if (!v->immutable || v->clock || v->unknown_functions || v->home) {
        return "it calls a function that may give another value on every shard";
    }
    if (s->sharded_count > 0 || s->local_count > 0) {
        return "it reads tables that are not on every shard";
    }
    if (v->system_columns || v->current_of || v->regcast || v->changing_ctes) {
        return "it uses what differs between shards";
    }
    if (v->aggregates && aggregates_follow_order(b, s, stmt)) {
        return "an aggregate may see the rows in another order on every shard";
    }
    if (levels_differ(s)) {
        return "LIMIT, DISTINCT ON and window functions may pick other rows on every shard";
    }
    if (IS(stmt, UPDATE_STMT) && stmt->update_stmt->n_from_clause > 0) {
        return "UPDATE ... FROM may pick other rows on every shard";
    }
    if (IS(stmt, INSERT_STMT) && stmt->insert_stmt->on_conflict_clause != NULL &&
        IS(stmt->insert_stmt->select_stmt, SELECT_STMT) &&
        stmt->insert_stmt->select_stmt->select_stmt->n_values_lists == 0) {
        return "INSERT ... SELECT ... ON CONFLICT may keep other rows on every shard";
    }
    if (r->known->has_triggers || r->known->has_rules) {
        return "the table has triggers or rules";
    }
    return moving_default(r, stmt) != NULL ? "a column default is not a constant" : NULL;
}

static void write_reference(struct build *b, struct scope *s, tnode *stmt, struct plan *p,
                            const struct rel *r)
{
    if (r->known == NULL) {
        refuse(p, "", "relation \"%s\" does not exist", r->name);
        p->err = ERR_NO_TABLE;
        return;
    }
    const char *why = same_everywhere(b, s, stmt, r);
    if (why != NULL) {
        refuse(p, "Give the values themselves: constants and parameters.",
               "a write to reference table \"%s\" must do the same on every shard: %s", r->name,
               why);
        return;
    }
    p->kind = PLAN_WRITE;
    p->rung = "spread";
    p->same_counts = 1;
    p->touches_sharded = 1;
    p->shard_sql = (const char *)p->text.p;
    plan_set_fixed(b, p, map_table_shards(b->env->map, r->table));
    if (p->returns_rows) {
        p->combine = arena_zero(b->out, sizeof(*p->combine));
    }
}

/* ---- INSERT -----------------------------------------------------------------------------------
 */

static int column_place(const PgQuery__InsertStmt *q, const struct rel *r, const char *key)
{
    if (q->n_cols == 0) {
        for (size_t i = 0; i < r->columns_count; i++) {
            if (strcmp(r->known->columns[i].name, key) == 0) {
                return (int)i;
            }
        }
    }
    for (size_t i = 0; i < q->n_cols; i++) {
        if (IS(q->cols[i], RES_TARGET) && strcmp(q->cols[i]->res_target->name, key) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static int refuse_missing_key(struct plan *p, const struct rel *r, const char *key)
{
    refuse(p, "Give the sharding key as a constant or a parameter of the column's type.",
           "INSERT into \"%s\" must give its sharding key \"%s\" a value that is known beforehand",
           r->name, key);
    return 0;
}

/* What changes the value between the statement and the row. */
static int key_is_plain(struct plan *p, const struct rel *r, int column, struct binding *out,
                        size_t key)
{
    const struct catalog_column *c = &r->known->columns[column];
    if (c->typmod >= 0 && c->type == OID_VARCHAR) {
        out->chars_max[key] = c->typmod - 4;
    } else if (c->typmod >= 0) {
        refuse(p, "Use the type without it.",
               "sharding key \"%s\" has a precision that may change values", c->name);
        return 0;
    }
    return 1;
}

static int take_value(struct build *b, struct plan *p, const struct rel *r, size_t key,
                      const tnode *expr, struct binding *out)
{
    int column = keys_column(r, key);
    struct value *v = arena_alloc(&b->scratch, sizeof(*v));
    if (column < 0 || expr == NULL || !value_of(b, expr, r->known->columns[column].type, v)) {
        return refuse_missing_key(p, r, r->table->keys[key]);
    }
    out->keys[key] = (struct value_list){1, v};
    return key_is_plain(p, r, column, out, key);
}

/* Values were read before it is known which parameters are certain. */
static int keep_certain(struct build *b, struct plan *p, const struct rel *r, struct binding *list,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < r->table->keys_count; k++) {
            if (!value_is_certain(b, &list[i].keys[k].items[0])) {
                refuse(p, "Cast it where it is the key, as in $1::bigint.",
                       "the type of parameter $%u is not certain",
                       list[i].keys[k].items[0].param + 1u);
                return 0;
            }
            list[i].keys[k] = keys_keep(b, &list[i].keys[k]);
        }
    }
    return 1;
}

static int bind_values(struct build *b, struct plan *p, const struct rel *r,
                       const PgQuery__InsertStmt *q, const PgQuery__SelectStmt *source,
                       struct binding *list)
{
    for (size_t row = 0; row < source->n_values_lists; row++) {
        const tnode *items = source->values_lists[row];
        list[row] = (struct binding){.table = r->table, .relation = r->table->name, .written = 1};
        for (size_t k = 0; k < r->table->keys_count; k++) {
            int at = column_place(q, r, r->table->keys[k]);
            if (at < 0 || !IS(items, LIST) || (size_t)at >= items->list->n_items) {
                return refuse_missing_key(p, r, r->table->keys[k]);
            }
            if (!take_value(b, p, r, k, items->list->items[at], &list[row])) {
                return 0;
            }
        }
    }
    return keep_certain(b, p, r, list, source->n_values_lists);
}

/* The key of INSERT ... SELECT: a constant, or a column that has one value in every row. */
static int take_output(struct scope *s, struct plan *p, const struct rel *r, size_t key,
                       const struct output *o, struct binding *out)
{
    if (o->expr != NULL && !IS(o->expr, COLUMN_REF)) {
        return take_value(s->build, p, r, key, o->expr, out);
    }
    const struct term *t = &o->term;
    const struct value_list *values = t->rel == NULL || t->rel->nullable ||
                                              t->rel->level->kind != LEVEL_FROM ||
                                              t->rel->level->parent != s->top
                                          ? NULL
                                          : keys_values(s, t->rel, t->column);
    int column = keys_column(r, key);
    if (values == NULL || values->count != 1 || values->items[0].kind == VALUE_ARRAY_PARAM ||
        values->items[0].kind == VALUE_ARRAY_TEXT || values->items[0].kind == VALUE_NULL ||
        column < 0 || !key_types_agree(r->known->columns[column].type, scope_type(t))) {
        return refuse_missing_key(p, r, r->table->keys[key]);
    }
    out->keys[key] = *values;
    return key_is_plain(p, r, column, out, key);
}

static int bind_select(struct build *b, struct scope *s, struct plan *p, const struct rel *r,
                       const PgQuery__InsertStmt *q, struct binding *list)
{
    const struct level *source = NULL;
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (l->kind == LEVEL_FROM && l->parent == s->top && l->statement == q->select_stmt) {
            source = l;
        }
    }
    list[0] = (struct binding){.table = r->table, .relation = r->table->name, .written = 1};
    for (size_t k = 0; k < r->table->keys_count; k++) {
        int at = column_place(q, r, r->table->keys[k]);
        if (at < 0 || source == NULL || !source->outputs_known || source->set_operation ||
            (size_t)at >= source->outputs_count) {
            return refuse_missing_key(p, r, r->table->keys[k]);
        }
        if (!take_output(s, p, r, k, &source->outputs[at], &list[0])) {
            return 0;
        }
    }
    return keep_certain(b, p, r, list, 1);
}

static void insert_sharded(struct build *b, struct scope *s, tnode *stmt, struct plan *p,
                           const struct rel *r)
{
    const PgQuery__InsertStmt *q = stmt->insert_stmt;
    if (r->known == NULL) {
        refuse(p, "", "relation \"%s\" does not exist", r->name);
        p->err = ERR_NO_TABLE;
        return;
    }
    if (q->select_stmt == NULL || !IS(q->select_stmt, SELECT_STMT)) {
        refuse_missing_key(p, r, r->table->keys[0]);
        return;
    }
    if (q->on_conflict_clause != NULL && refuse_key_change(p, r, q->on_conflict_clause->target_list,
                                                           q->on_conflict_clause->n_target_list)) {
        return;
    }
    route(b, s, p);
    if (p->kind != PLAN_ONE) {
        if (p->kind != PLAN_REFUSE) {
            refuse(p, "Read the rows first, then insert them by key.",
                   "INSERT ... SELECT from sharded tables must read one sharding key");
        }
        return;
    }
    const PgQuery__SelectStmt *source = q->select_stmt->select_stmt;
    size_t rows = source->n_values_lists > 0 ? source->n_values_lists : 1;
    size_t before = p->_where->bindings_count;
    struct binding *list = arena_zero(b->out, (rows + before) * sizeof(*list));
    memcpy(list, p->_where->bindings, before * sizeof(*list));
    struct plan saved = *p;
    int ok = source->n_values_lists > 0 ? bind_values(b, p, r, q, source, list + before)
                                        : bind_select(b, s, p, r, q, list + before);
    if (!ok) {
        return;
    }
    *p = saved;
    p->_where->bindings = list;
    p->_where->bindings_count = rows + before;
    p->_where->any = 0;
    if (rows + before > 1) {
        p->otherwise = plan_new(b, p->text);
        p->otherwise->_where = p->_where;
        if (before == 0 && split_insert(b, stmt, r->known, p->otherwise)) {
            struct plan_where *each = arena_zero(b->out, sizeof(*each));
            *each = *p->_where;
            each->one = 0;
            p->otherwise->_where = each;
            p->otherwise->tag = p->tag;
            p->otherwise->rung = "split";
            p->otherwise->returns_rows = p->returns_rows;
            p->otherwise->any_params = p->any_params;
            p->otherwise->touches_sharded = 1;
            return;
        }
        p->otherwise->_where = NULL;
        refuse(p->otherwise, "Insert the rows of each sharding key in a statement of their own.",
               "the rows of this INSERT belong to different shards");
    }
}

void plan_insert(struct build *b, tnode *stmt, struct plan *p)
{
    p->returns_rows = stmt->insert_stmt->n_returning_list > 0;
    struct scope *s = scope_build(b, stmt);
    struct rel *r = target_of(s);
    if (s->err) {
        refuse_note(p, s->err, &s->note);
    } else if (refuse_inner_writes(s, p)) {
        return;
    } else if (r->kind == REL_SHARDED) {
        insert_sharded(b, s, stmt, p, r);
    } else if (r->kind == REL_REFERENCE) {
        write_reference(b, s, stmt, p, r);
    } else {
        route(b, s, p);
    }
}

/* ---- UPDATE, DELETE ---------------------------------------------------------------------------
 */

static int spread_write(struct build *b, struct scope *s, struct plan *p, struct note *note)
{
    struct ties *ties;
    if (!spread_safe(s, &ties, note)) {
        return 0;
    }
    p->kind = PLAN_WRITE;
    p->touches_sharded = 1;
    p->shard_sql = (const char *)p->text.p;
    spread_where(s, p);
    if (p->returns_rows) {
        p->combine = arena_zero(b->out, sizeof(*p->combine));
    }
    return 1;
}

static void write_sharded(struct build *b, struct scope *s, struct plan *p)
{
    struct note note;
    route(b, s, p);
    if (p->kind == PLAN_MANY) {
        if (!spread_write(b, s, p, &note)) {
            refuse_note(p, ERR_UNSUPPORTED, &note);
        }
    } else if (route_needs_otherwise(p)) {
        p->otherwise = plan_new(b, p->text);
        p->otherwise->returns_rows = p->returns_rows;
        if (!spread_write(b, s, p->otherwise, &note)) {
            refuse_note(p->otherwise, ERR_UNSUPPORTED, &note);
        }
    }
}

static void write_any(struct build *b, tnode *stmt, struct plan *p)
{
    struct scope *s = scope_build(b, stmt);
    struct rel *r = target_of(s);
    if (s->err) {
        refuse_note(p, s->err, &s->note);
        return;
    }
    if (refuse_inner_writes(s, p)) {
        return;
    }
    if (IS(stmt, UPDATE_STMT) &&
        refuse_key_change(p, r, stmt->update_stmt->target_list, stmt->update_stmt->n_target_list)) {
        return;
    }
    if (r->kind == REL_REFERENCE) {
        write_reference(b, s, stmt, p, r);
    } else if (b->survey.current_of && s->sharded_count > 0) {
        refuse(p, "Name the rows by their key.",
               "WHERE CURRENT OF cannot be used on a sharded table");
    } else {
        write_sharded(b, s, p);
    }
}

void plan_update(struct build *b, tnode *stmt, struct plan *p)
{
    p->returns_rows = stmt->update_stmt->n_returning_list > 0;
    write_any(b, stmt, p);
}

void plan_delete(struct build *b, tnode *stmt, struct plan *p)
{
    p->returns_rows = stmt->delete_stmt->n_returning_list > 0;
    write_any(b, stmt, p);
}

void plan_merge(struct build *b, tnode *stmt, struct plan *p)
{
    struct scope *s = scope_build(b, stmt);
    struct rel *r = target_of(s);
    if (s->err) {
        refuse_note(p, s->err, &s->note);
    } else if (s->sharded_count > 0 || r->kind == REL_REFERENCE) {
        refuse(p, "Use INSERT ... ON CONFLICT, UPDATE or DELETE.",
               "MERGE cannot be used with sharded or reference tables");
    } else if (!refuse_inner_writes(s, p)) {
        route(b, s, p);
    }
}
