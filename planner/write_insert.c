/*
 * INSERT. Into a sharded table: to the one shard of the key; rows of several shards are split
 * (split.c).
 */

#include <string.h>

#include "planner/unique.h"
#include "planner/write_inner.h"

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
    if (q->on_conflict_clause != NULL &&
        write_refuses_key_change(p, r, q->on_conflict_clause->target_list,
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
    if (rows + before > 1 || b->splits_all) {
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

static int names_column(const PgQuery__InsertStmt *q, const char *name)
{
    for (size_t i = 0; i < q->n_cols; i++) {
        if (IS(q->cols[i], RES_TARGET) && strcmp(q->cols[i]->res_target->name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

static int see_default(const ProtobufCMessage *m, void *arg)
{
    if (MESSAGE_IS(m, set_to_default)) {
        *(int *)arg = 1;
    }
    return 1;
}

int insert_wants_sequence(const PgQuery__InsertStmt *q, const struct catalog_table *t)
{
    int defaults = q->select_stmt == NULL;
    size_t given = t->columns_count;
    if (IS(q->select_stmt, SELECT_STMT) && q->select_stmt->select_stmt->n_values_lists > 0) {
        const PgQuery__SelectStmt *rows = q->select_stmt->select_stmt;
        tree_walk_node(q->select_stmt, see_default, &defaults);
        given = IS(rows->values_lists[0], LIST) ? rows->values_lists[0]->list->n_items : 0;
    } else if (q->n_cols == 0) {
        given = 0; /* of a select; it may give fewer than there are */
    }
    for (size_t i = 0; i < t->columns_count; i++) {
        const struct catalog_column *c = &t->columns[i];
        if (c->default_kind != DEFAULT_SEQUENCE) {
            continue;
        }
        int named = q->n_cols > 0 ? names_column(q, c->name) : i < given;
        if (!named || defaults ||
            (c->identity != 0 &&
             q->override != PG_QUERY__OVERRIDING_KIND__OVERRIDING_SYSTEM_VALUE)) {
            return 1;
        }
    }
    return 0;
}

/* What one shard cannot do by itself: by all of them, or by rows that are read first. */
static void over_shards(struct build *b, const tnode *stmt, struct plan *p, const struct rel *r)
{
    struct note note;
    const PgQuery__OnConflictClause *c = stmt->insert_stmt->on_conflict_clause;
    if (c != NULL && write_refuses_key_change(p, r, c->target_list, c->n_target_list)) {
        return;
    }
    if (insert_pushed(b, tree_copy(&b->scratch, stmt), p)) {
        return;
    }
    enum err e = insert_rows(b, tree_copy(&b->scratch, stmt), p, &note);
    if (p->kind == PLAN_ROWS && r->kind == REL_SHARDED) {
        struct plan_rows *rows = arena_alloc(b->out, sizeof(*rows));
        *rows = *p->rows;
        rows->drawn = insert_drawn(b, stmt, r);
        p->rows = rows;
    }
    if (e != ERR_NONE && note.text[0] != 0) {
        refuse_note(p, e, &note);
    }
}

static struct plan *otherwise_of(struct build *b, const struct plan *p)
{
    struct plan *like = plan_new(b, p->text);
    like->tag = p->tag;
    like->returns_rows = p->returns_rows;
    like->any_params = p->any_params;
    like->touches_sharded = 1;
    refuse_note(like, p->otherwise->err, &p->otherwise->note);
    return like;
}

static void insert_anywhere(struct build *b, struct scope *s, tnode *stmt, struct plan *p,
                            const struct rel *r)
{
    const PgQuery__InsertStmt *q = stmt->insert_stmt;
    tnode *untouched = tree_copy(&b->scratch, stmt);
    if (r->kind == REL_SHARDED && r->known != NULL && insert_wants_sequence(q, r->known)) {
        refuse(p, "Give the column a value.",
               "INSERT into \"%s\" leaves a column to a sequence of the home shard", r->name);
    } else if (r->kind == REL_SHARDED) {
        insert_sharded(b, s, stmt, p, r);
    } else if (r->kind == REL_REFERENCE) {
        write_reference(b, s, stmt, p, r);
    } else {
        route(b, s, p);
    }
    if (p->kind == PLAN_REFUSE && p->err == ERR_UNSUPPORTED) {
        over_shards(b, untouched, p, r);
    } else if (p->otherwise != NULL && p->otherwise->kind == PLAN_REFUSE) {
        p->otherwise = otherwise_of(b, p);
        over_shards(b, untouched, p->otherwise, r);
    }
}

static void insert_by_rows(struct build *b, tnode *stmt, struct plan *p, const struct rel *r)
{
    struct note note;
    const PgQuery__OnConflictClause *c = stmt->insert_stmt->on_conflict_clause;
    if (c != NULL && write_refuses_key_change(p, r, c->target_list, c->n_target_list)) {
        return;
    }
    enum err e = insert_rows(b, tree_copy(&b->scratch, stmt), p, &note);
    if (e != ERR_NONE && note.text[0] != 0) {
        refuse_note(p, e, &note);
    }
}

/* Refused, because of a WITH query that no shard can run by itself: it may be in the source. */
static void insert_behind_writes(struct build *b, tnode *stmt, struct plan *p, const struct rel *r)
{
    if (p->err == ERR_UNSUPPORTED) {
        insert_by_rows(b, stmt, p, r);
    }
}

void plan_insert(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__InsertStmt *q = stmt->insert_stmt;
    p->returns_rows = q->n_returning_list > 0;
    struct scope *s = scope_build(b, stmt);
    const struct rel *r = write_target(s);
    if (s->err) {
        refuse_note(p, s->err, &s->note);
    } else if (q->on_conflict_clause != NULL &&
               write_refuses_own_values(b, p, r, q->on_conflict_clause->target_list,
                                        q->on_conflict_clause->n_target_list)) {
        return;
    } else if (refuse_inner_writes(s, p)) {
        insert_behind_writes(b, stmt, p, r);
    } else if (unique_arbiters(r->table, r->known, q->on_conflict_clause, NULL) > 0) {
        insert_by_rows(b, stmt, p, r);
    } else {
        insert_anywhere(b, s, stmt, p, r);
    }
}
