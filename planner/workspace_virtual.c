/*
 * Tables of the workspace as the planner sees them while it plans the rest: one that is on all
 * shards is a reference table, one whose rows were placed as those of a sharded table is sharded
 * alike. So route, spread and all they stand on need no word about workspaces.
 */

#include "planner/workspace_inner.h"

static void copy_column(const struct scope *s, const struct output *o, size_t at,
                        struct catalog_column *out)
{
    struct build *b = s->build;
    const struct catalog_column *c = o->term.rel == NULL ? NULL : scope_column(&o->term);
    *out = (struct catalog_column){.name = arena_strdup(b->out, o->name),
                                   .typmod = -1,
                                   .number = (int16_t)(at + 1),
                                   .deterministic = 1};
    if (c != NULL) {
        out->type = c->type;
        out->typmod = c->typmod;
        out->bytewise = c->bytewise;
        out->deterministic = c->deterministic;
    } else if (o->expr != NULL) {
        out->type = expr_type(b, s->top, o->expr);
    }
}

/* Whether text may come out with a collation that calls different bytes equal. */
static int any_odd_collation(const struct scope *s)
{
    for (size_t i = 0; i < s->rels_count; i++) {
        const struct catalog_table *t = s->rels[i]->known;
        for (size_t k = 0; t != NULL && k < t->columns_count; k++) {
            if (!t->columns[k].deterministic) {
                return 1;
            }
        }
    }
    return s->build->survey.collate;
}

const struct catalog_table *workspace_virtual_columns(const struct scope *s)
{
    struct build *b = s->build;
    const struct level *l = s->top;
    struct catalog_table *t = arena_zero(b->out, sizeof(*t));
    t->schema = "pg_temp";
    t->kind = 'r';
    if (!l->outputs_known) {
        return t;
    }
    int odd = any_odd_collation(s);
    t->columns = arena_zero(b->out, (l->outputs_count + 1) * sizeof(*t->columns));
    t->columns_count = l->outputs_count;
    for (size_t i = 0; i < l->outputs_count; i++) {
        copy_column(s, &l->outputs[i], i, &t->columns[i]);
        if (odd && l->outputs[i].term.rel == NULL) {
            t->columns[i].deterministic = 0;
        }
    }
    return t;
}

/* Kept in the plan: bindings of the rest point to it. */
static const struct map_table *table_of(struct build *b, const struct plan_move *m,
                                        const struct catalog_table *columns, uint32_t group)
{
    struct map_table *t = arena_zero(b->out, sizeof(*t));
    if (m->to == MOVE_TO_SHARDS) {
        *t = *m->like;
        const char **keys = arena_zero(b->out, (t->keys_count + 1u) * sizeof(*keys));
        for (size_t i = 0; i < t->keys_count; i++) {
            keys[i] = columns->columns[m->keys[i]].name;
        }
        t->keys = keys;
    } else {
        t->kind = MAP_REFERENCE;
        t->group = group;
    }
    t->schema = "pg_temp";
    t->name = m->table;
    return t;
}

void workspace_virtual(struct workspace *w, const struct plan_move *m,
                       const struct catalog_table *columns)
{
    size_t i = (size_t)(m - w->moves);
    struct catalog_table *known = arena_alloc(w->build->out, sizeof(*known));
    *known = *columns;
    known->name = m->table;
    w->virtuals[i] =
        (struct virtual_table){.name = m->table,
                               .table = table_of(w->build, m, columns, UINT32_MAX - (uint32_t)i),
                               .known = known};
}
