/*
 * UPDATE, DELETE, MERGE. On a sharded table: to the one shard of the key, or shard by shard. What
 * all writes share is here as well; INSERT is in write_insert.c, reference tables in
 * write_reference.c.
 */

#include <string.h>

#include "planner/unique.h"
#include "planner/write_inner.h"

struct rel *write_target(const struct scope *s)
{
    for (size_t i = 0; i < s->top->rels_count; i++) {
        if (s->top->rels[i]->target) {
            return s->top->rels[i];
        }
    }
    return NULL;
}

int write_is_key(const struct map_table *t, const char *column)
{
    for (size_t i = 0; i < t->keys_count; i++) {
        if (strcmp(t->keys[i], column) == 0) {
            return 1;
        }
    }
    return 0;
}

int write_refuses_key_change(struct plan *p, const struct rel *r, tnode *const *targets,
                             size_t count)
{
    for (size_t i = 0; r->kind == REL_SHARDED && i < count; i++) {
        if (IS(targets[i], RES_TARGET) && write_is_key(r->table, targets[i]->res_target->name)) {
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
        if (IS(stmt, UPDATE_STMT) &&
            write_refuses_own_values(s->build, p, r, stmt->update_stmt->target_list,
                                     stmt->update_stmt->n_target_list)) {
            return 1;
        }
        if (r->kind == REL_REFERENCE || !(IS(stmt, UPDATE_STMT) || IS(stmt, DELETE_STMT))) {
            refuse(p, "Write it as a statement of its own.",
                   "WITH queries cannot insert into sharded tables or change reference tables");
            return 1;
        }
        if (IS(stmt, UPDATE_STMT) && write_refuses_key_change(p, r, stmt->update_stmt->target_list,
                                                              stmt->update_stmt->n_target_list)) {
            return 1;
        }
    }
    return 0;
}

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
    unique_look_up(s, p);
    return 1;
}

static void spread_or_rows(struct build *b, struct scope *s, const tnode *stmt, struct plan *p)
{
    struct note note;
    if (!spread_write(b, s, p, &note) && !write_by_rows(b, s, stmt, p, &note)) {
        refuse_note(p, ERR_UNSUPPORTED, &note);
    }
}

static void write_sharded(struct build *b, struct scope *s, const tnode *stmt, struct plan *p)
{
    route(b, s, p);
    if (p->kind == PLAN_MANY) {
        spread_or_rows(b, s, stmt, p);
    } else if (route_needs_otherwise(p)) {
        p->otherwise = plan_new(b, p->text);
        p->otherwise->returns_rows = p->returns_rows;
        p->otherwise->any_params = p->any_params;
        spread_or_rows(b, s, stmt, p->otherwise);
    } else if (p->kind == PLAN_REFUSE && route_mixes(b, s)) {
        struct note note = p->note;
        if (!write_by_rows(b, s, stmt, p, &note)) {
            refuse_note(p, ERR_UNSUPPORTED, &note);
        }
    }
}

/* The key that it has already, as mappers write all columns: then nothing moves. The values must be
 * the same in every execution. */
static int keeps_key(struct build *b, const struct scope *s, const struct rel *r,
                     const PgQuery__UpdateStmt *q)
{
    for (size_t i = 0; i < q->n_target_list; i++) {
        const PgQuery__ResTarget *t = q->target_list[i]->res_target;
        struct value v;
        for (size_t k = 0; k < r->table->keys_count; k++) {
            int column = keys_column(r, k);
            if (strcmp(r->table->keys[k], t->name) != 0) {
                continue;
            }
            const struct value_list *is = column < 0 ? NULL : keys_values(s, r, (uint16_t)column);
            if (is == NULL || is->count != 1 || is->items[0].kind != VALUE_PARAM ||
                !value_of(b, t->val, r->known->columns[column].type, &v) || v.kind != VALUE_PARAM ||
                v.param != is->items[0].param) {
                return 0;
            }
        }
    }
    return 1;
}

static void change_key(struct build *b, struct scope *s, const tnode *stmt, struct plan *p,
                       const struct rel *r)
{
    struct note note;
    if (r->known != NULL && keeps_key(b, s, r, stmt->update_stmt)) {
        write_sharded(b, s, stmt, p);
        return;
    }
    write_refuses_key_change(p, r, stmt->update_stmt->target_list,
                             stmt->update_stmt->n_target_list);
    note = p->note;
    if (!write_by_rows(b, s, stmt, p, &note)) {
        refuse_note(p, ERR_UNSUPPORTED, &note);
    }
}

static void write_any(struct build *b, tnode *stmt, struct plan *p)
{
    struct scope *s = scope_build(b, stmt);
    struct rel *r = write_target(s);
    if (s->err) {
        refuse_note(p, s->err, &s->note);
        return;
    }
    if (IS(stmt, UPDATE_STMT) && write_refuses_own_values(b, p, r, stmt->update_stmt->target_list,
                                                          stmt->update_stmt->n_target_list)) {
        return;
    }
    if (refuse_inner_writes(s, p)) {
        struct note note = p->note;
        if (p->err == ERR_UNSUPPORTED && !write_by_rows(b, s, stmt, p, &note)) {
            refuse_note(p, ERR_UNSUPPORTED, &note);
        }
        return;
    }
    if (b->survey.current_of && r->kind == REL_SHARDED) {
        write_current(b, s, stmt, p, r);
        return;
    }
    if (IS(stmt, UPDATE_STMT) &&
        write_changes_key(r, stmt->update_stmt->target_list, stmt->update_stmt->n_target_list)) {
        change_key(b, s, stmt, p, r);
        return;
    }
    if (r->kind == REL_REFERENCE) {
        write_reference(b, s, stmt, p, r);
    } else if (b->survey.current_of && s->sharded_count > 0) {
        refuse(p, "Name the rows by their key.",
               "WHERE CURRENT OF cannot be used on a sharded table");
    } else {
        write_sharded(b, s, stmt, p);
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

/* 1: refused. */
static int merge_own_values(struct build *b, struct plan *p, const struct rel *r,
                            const PgQuery__MergeStmt *q)
{
    for (size_t i = 0; i < q->n_merge_when_clauses; i++) {
        const PgQuery__MergeWhenClause *w = q->merge_when_clauses[i]->merge_when_clause;
        if (w->command_type == PG_QUERY__CMD_TYPE__CMD_UPDATE &&
            write_refuses_own_values(b, p, r, w->target_list, w->n_target_list)) {
            return 1;
        }
    }
    return 0;
}

void plan_merge(struct build *b, tnode *stmt, struct plan *p)
{
    struct scope *s = scope_build(b, stmt);
    struct rel *r = write_target(s);
    if (s->err) {
        refuse_note(p, s->err, &s->note);
    } else if (s->sharded_count > 0 || r->kind == REL_REFERENCE) {
        struct note note = {0};
        if (merge_own_values(b, p, r, stmt->merge_stmt)) {
            return;
        }
        if (!write_merge(b, s, stmt, p, &note) && note.text[0] != 0) {
            refuse_note(p, ERR_UNSUPPORTED, &note);
        } else if (p->kind != PLAN_ONE && p->kind != PLAN_WRITE && p->kind != PLAN_ROWS) {
            refuse(p, "Use INSERT ... ON CONFLICT, UPDATE or DELETE.",
                   "MERGE cannot be used with sharded or reference tables");
        }
    } else if (!refuse_inner_writes(s, p)) {
        route(b, s, p);
    }
}
