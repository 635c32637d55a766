/*
 * Reads and writes over all shards of which a global unique index knows better: every column of it
 * has one value in every row that counts, so there is at most one such row, and the lookup table
 * knows its key. Looking costs a round trip, and the row may be elsewhere by the time it is asked
 * for: only a row that is found proves that it was the right shard, so this is for statements that
 * give or touch no row without it. When they do, all shards are asked as if nobody had looked.
 */

#include "planner/unique.h"

/* One literal or parameter that is of the column's kind; NULL: not so. */
static const struct value_list *value_for(const struct scope *s, const struct rel *r,
                                          int16_t number)
{
    for (size_t i = 0; i < r->known->columns_count; i++) {
        const struct catalog_column *c = &r->known->columns[i];
        if (c->number != number) {
            continue;
        }
        const struct value_list *v = keys_values(s, r, (uint16_t)i);
        int fits = v != NULL && v->count == 1 &&
                   (v->items[0].kind == VALUE_TEXT || v->items[0].kind == VALUE_PARAM) &&
                   (v->items[0].type == 0 || v->items[0].type == OID_UNKNOWN ||
                    key_types_agree(c->type, v->items[0].type)) &&
                   value_is_certain(s->build, &v->items[0]);
        return fits ? v : NULL;
    }
    return NULL;
}

static const char *sql_of(struct build *b, const struct rel *r, const struct catalog_unique *u)
{
    struct buf sql = {0};
    buf_text(&sql, "SELECT ");
    for (size_t i = 0; i < r->table->keys_count; i++) {
        buf_text(&sql, i == 0 ? "" : ", ");
        sql_put_quoted(&sql, '"', r->table->keys[i]);
        buf_text(&sql, "::pg_catalog.text");
    }
    buf_text(&sql, " FROM braid.");
    sql_put_quoted(&sql, '"', arena_printf(&b->scratch, "find_%s", u->name));
    for (size_t i = 0; i < u->columns_count; i++) {
        buf_printf(&sql, "%s$%zu", i == 0 ? "(" : ", ", i + 1);
    }
    buf_u8(&sql, ')');
    const char *out = arena_strndup(b->out, sql.p, sql.n);
    buf_free(&sql);
    return out;
}

static struct plan_lookup *lookup_by(struct scope *s, const struct rel *r,
                                     const struct catalog_unique *u)
{
    struct build *b = s->build;
    struct binding *at = arena_zero(b->out, sizeof(*at));
    const struct map_table *lookup =
        map_find(b->env->map, "braid", arena_printf(&b->scratch, "unique_%s", u->name));
    if (!u->global || lookup == NULL || u->columns_count > KEY_COLUMNS_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < u->columns_count; i++) {
        const struct value_list *v = value_for(s, r, u->columns[i]);
        if (v == NULL) {
            return NULL;
        }
        at->keys[i] = keys_keep(b, v);
    }
    at->table = lookup;
    at->relation = arena_strdup(b->out, u->name);
    struct plan_lookup *l = arena_zero(b->out, sizeof(*l));
    l->index = at->relation;
    l->table = r->table;
    l->sql = sql_of(b, r, u);
    l->_at = at;
    return l;
}

/* Keys whose text means the same under all settings. */
static int keys_travel(const struct map_table *t)
{
    for (size_t i = 0; i < t->keys_count; i++) {
        if (!key_type_hashable(t->key_types[i])) {
            return 0;
        }
    }
    return 1;
}

/* Nothing comes out of the statement, and nothing is done by it, but with rows of its relations. */
static int needs_rows(const struct scope *s, const struct plan *p)
{
    const struct level *l = s->top;
    return !s->build->survey.changing_ctes && !l->set_operation && !l->aggregates && !l->grouped &&
           p->split == NULL && !p->same_counts &&
           (p->combine == NULL || p->combine->mode != COMBINE_AGGREGATE);
}

void unique_look_up(struct scope *s, struct plan *p)
{
    const struct catalog *c = s->build->env->catalog;
    if (c == NULL || c->globals_count == 0 || (p->kind != PLAN_MANY && p->kind != PLAN_WRITE) ||
        !needs_rows(s, p)) {
        return;
    }
    for (size_t i = 0; i < s->top->rels_count && p->lookup == NULL; i++) {
        const struct rel *r = s->top->rels[i];
        int plain = r->kind == REL_SHARDED && r->known != NULL && !r->nullable && !r->sampled &&
                    r->known->children_count == 0 && /* which the index does not know */
                    keys_travel(r->table);
        for (size_t k = 0; plain && k < r->known->uniques_count && p->lookup == NULL; k++) {
            p->lookup = lookup_by(s, r, &r->known->uniques[k]);
        }
    }
}
