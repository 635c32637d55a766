/*
 * UPDATE and DELETE ... WHERE CURRENT OF a cursor over sharded tables. The session knows on which
 * row the cursor stands (cursor.c has the columns added that say so): its shard, ctid and tableoid.
 * The row is read there, and then written as any other that was found first:
 *
 *     DECLARE c CURSOR FOR SELECT name FROM users WHERE age > 40 FOR UPDATE
 *     UPDATE users SET age = age + 1 WHERE CURRENT OF c
 *     source  SELECT users.id AS braid_1, users.ctid AS braid_2, users.xmin AS braid_3 FROM users
 *             WHERE "users".ctid = ...                              the proxy adds the last line
 *     step    UPDATE users SET age = age + 1 FROM rows braid_v(...) WHERE ...
 *
 * Nothing else may be read by such a statement: its source runs on the row's shard, whatever else
 * is there.
 */

#include "planner/write_inner.h"

const char *write_cursor(const tnode *stmt)
{
    const tnode *where = IS(stmt, UPDATE_STMT)   ? stmt->update_stmt->where_clause
                         : IS(stmt, DELETE_STMT) ? stmt->delete_stmt->where_clause
                                                 : NULL;
    return IS(where, CURRENT_OF_EXPR) ? where->current_of_expr->cursor_name : NULL;
}

static const char *why_not(const struct build *b, const struct scope *s, const tnode *stmt)
{
    const struct survey *v = &b->survey;
    if (s->rels_count > 1 || v->changing_ctes) {
        return "WHERE CURRENT OF a cursor over several shards cannot read other tables";
    }
    if (write_cursor(stmt) == NULL) {
        return "WHERE CURRENT OF stands in a WITH query";
    }
    if (v->home || v->unknown_functions || v->bodies_read || v->bodies_write) {
        return "WHERE CURRENT OF a cursor over several shards cannot call functions that use tables "
               "or sequences";
    }
    return NULL;
}

void write_current(struct build *b, struct scope *s, const tnode *stmt, struct plan *p,
                   const struct rel *target)
{
    struct note note = {0};
    const char *why = why_not(b, s, stmt);
    if (why != NULL) {
        refuse(p, "Name the row by its key.", "%s", why);
    } else if (target->known == NULL || !write_by_rows(b, s, stmt, p, &note)) {
        if (note.text[0] == 0) {
            (void)rows_fail(&note, "Name the row by its key.",
                            "WHERE CURRENT OF cannot be used here");
        }
        refuse_note(p, ERR_UNSUPPORTED, &note);
    } else {
        p->why_not = "the session knows where the row of the cursor is";
    }
}

struct plan *current_source(const struct rows *r, tnode *select, struct note *note)
{
    struct build *b = r->build;
    const char *text = NULL;
    select->select_stmt->where_clause = NULL; /* the proxy's */
    if (tree_deparse(select, &b->scratch, &text, note)) {
        return NULL;
    }
    struct plan *p = plan_new(b, slice_of(text));
    p->kind = PLAN_ONE;
    p->tag = "SELECT";
    p->rung = "route";
    p->returns_rows = 1;
    p->reads_only = 1;
    p->touches_sharded = 1;
    p->any_params = b->survey.params_max > 0;
    return p;
}

void current_finish(const struct rows *r, struct plan_rows *rows)
{
    struct arena *a = r->build->out;
    if (r->cursor == NULL) {
        return;
    }
    struct plan_current *c = arena_zero(a, sizeof(*c));
    struct buf alias = {0};
    sql_put_quoted(&alias, '"', r->target->alias);
    c->alias = arena_strndup(a, alias.p, alias.n);
    buf_free(&alias);
    c->cursor = arena_strdup(a, r->cursor);
    c->name = arena_strdup(a, r->target->name);
    c->relation = r->target->known->oid;
    rows->current = c;
}
