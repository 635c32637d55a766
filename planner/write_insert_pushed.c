/*
 * INSERT ... SELECT that every shard does by itself: the rows that a shard reads are those whose
 * new rows belong there, because the target's key is the source's. MERGE (write_merge.c) asks the
 * same of its source.
 */

#include <string.h>

#include "planner/spread_ties.h"
#include "planner/write_inner.h"

/* Nothing but the select reads tables. */
static int tail_is_plain(const struct scope *s, const PgQuery__InsertStmt *q)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (l->kind == LEVEL_SUBLINK && l->parent == s->top) {
            return 0;
        }
    }
    return q->with_clause == NULL;
}

/* The assignment leaves the value as it is. */
static int key_is_kept(const struct catalog_column *to, const struct term *from)
{
    const struct catalog_column *c = scope_column(from);
    return key_types_agree(to->type, scope_type(from)) &&
           (to->typmod < 0 || (c != NULL && c->type == to->type && c->typmod == to->typmod));
}

/* The sharded relation whose i-th key column this output is. */
static int is_key_of(struct ties *ties, const struct rel *x, size_t i, const struct term *t)
{
    int column = keys_column(x, i);
    return column >= 0 && t->rel != NULL && !t->outer &&
           ties_same_term(ties, t->rel, t->column, x, column);
}

static int target_place(const PgQuery__InsertStmt *q, const struct rel *r, const char *key)
{
    for (size_t i = 0; i < (q->n_cols > 0 ? q->n_cols : r->known->columns_count); i++) {
        const char *name = q->n_cols == 0               ? r->known->columns[i].name
                           : IS(q->cols[i], RES_TARGET) ? q->cols[i]->res_target->name
                                                        : "";
        if (strcmp(name, key) == 0) {
            return (int)i;
        }
    }
    return -1;
}

int pushed_keeps_keys(const struct rel *target, struct ties *ties, const struct level *l,
                      const int *at)
{
    for (size_t n = 0; l->outputs_known && n < ties->scope->rels_count; n++) {
        const struct rel *x = ties->scope->rels[n];
        if (x->kind != REL_SHARDED || !ties_rows_of(x, l) || !ties_colocated(target, x)) {
            continue;
        }
        size_t i = 0;
        for (; i < target->table->keys_count; i++) {
            int column = keys_column(target, i);
            if (at[i] < 0 || column < 0 || (size_t)at[i] >= l->outputs_count ||
                !is_key_of(ties, x, i, &l->outputs[at[i]].term) ||
                !key_is_kept(&target->known->columns[column], &l->outputs[at[i]].term)) {
                break;
            }
        }
        if (i == target->table->keys_count) {
            return 1;
        }
    }
    return 0;
}

/* Rows of one shard are as good as those of another: no order, no limit, nothing to put together.
 */
static int is_concat(const struct plan *p)
{
    const struct combine_spec *c = p->combine;
    return p->kind == PLAN_MANY && p->shard_sql == (const char *)p->text.p &&
           (c->mode == COMBINE_CONCAT || c->mode == COMBINE_MERGE) &&
           c->limit.kind == COMBINE_LIMIT_NONE && c->offset.kind == COMBINE_LIMIT_NONE;
}

int pushed_read(struct build *b, tnode *select, struct scope **scope, struct ties **ties,
                struct plan *read)
{
    struct note ignored;
    struct survey saved = b->survey;
    survey_node(b, select, &b->survey);
    *scope = scope_build(b, select);
    int ok = (*scope)->err == ERR_NONE && !b->survey.home && b->survey.bad_function == NULL &&
             (*scope)->local_count == 0 && spread_safe(*scope, ties, &ignored) &&
             spread_select(b, *scope, select, read, &ignored) && is_concat(read);
    b->survey = saved;
    return ok;
}

int insert_pushed(struct build *b, tnode *stmt, struct plan *p)
{
    PgQuery__InsertStmt *q = stmt->insert_stmt;
    struct scope *s = scope_build(b, stmt);
    const struct rel *target = write_target(s);
    struct scope *inner = NULL;
    struct ties *ties = NULL;
    if (s->err || target->kind != REL_SHARDED || target->known == NULL ||
        !IS(q->select_stmt, SELECT_STMT) || q->select_stmt->select_stmt->n_values_lists > 0 ||
        !tail_is_plain(s, q) || b->survey.home || b->survey.bad_function != NULL ||
        b->survey.unknown_functions || insert_wants_sequence(q, target->known)) {
        return 0;
    }
    struct plan *read = plan_new(b, p->text);
    int at[KEY_COLUMNS_MAX];
    for (size_t i = 0; i < target->table->keys_count; i++) {
        at[i] = target_place(q, target, target->table->keys[i]);
    }
    if (!pushed_read(b, q->select_stmt, &inner, &ties, read) ||
        (read->combine->mode == COMBINE_MERGE && p->returns_rows) ||
        !pushed_keeps_keys(target, ties, inner->top, at)) {
        return 0;
    }
    p->kind = PLAN_WRITE;
    p->err = ERR_NONE;
    p->note = (struct note){0};
    p->rung = read->rung;
    p->touches_sharded = 1;
    p->shard_sql = (const char *)p->text.p;
    p->_where = read->_where;
    if (p->returns_rows) {
        p->combine = arena_zero(b->out, sizeof(*p->combine));
    }
    return 1;
}
