/*
 * INSERT ... VALUES that leaves columns to sequences, once more, for ids that are at hand already:
 *
 *     INSERT INTO t (note) VALUES ($1), ($2)
 *     INSERT INTO t (note, id) OVERRIDING SYSTEM VALUE VALUES ($1, $3), ($2, $4)
 *
 * Planned as any INSERT that gives its keys, so each shard gets its rows, and the home shard is not
 * asked. Only where the default is nextval() of a sequence and nothing more; else there is no such
 * statement, and the ids are drawn on the home shard together with the rows.
 */

#include <string.h>

#include "planner/write_inner.h"

struct drawn {
    struct build *build;
    const struct rel *rel;
    PgQuery__InsertStmt *q;
    PgQuery__SelectStmt *source;
    struct plan_draw *draws;
    size_t count, cap;
    uint32_t params; /* of the client's */
    unsigned identity : 1;
};

static tnode *param(struct drawn *d, const struct catalog_column *c)
{
    struct arena *a = &d->build->scratch;
    const char *sequence = column_sequence(d->build, c);
    if (sequence == NULL || (c->type != OID_INT2 && c->type != OID_INT4 && c->type != OID_INT8)) {
        return NULL;
    }
    if (d->count == d->cap) {
        size_t cap = d->cap == 0 ? 8 : d->cap * 2;
        struct plan_draw *more = arena_alloc(d->build->out, cap * sizeof(*more));
        if (d->count > 0) {
            memcpy(more, d->draws, d->count * sizeof(*more));
        }
        d->draws = more;
        d->cap = cap;
    }
    d->draws[d->count++] = (struct plan_draw){
        .sequence = sequence, .oid = draws_of_default(d->build, c), .type = c->type};
    d->identity |= c->identity != 0;
    PgQuery__ParamRef *ref = arena_alloc(a, sizeof(*ref));
    pg_query__param_ref__init(ref);
    ref->number = (int32_t)(d->params + d->count);
    return tree_new(a, NODE(PARAM_REF), ref);
}

/* ---- columns and rows ------------------------------------------------------------------------ */

static const struct catalog_column *column_at(const struct drawn *d, size_t at)
{
    const struct catalog_table *t = d->rel->known;
    if (d->q->n_cols == 0) {
        return at < t->columns_count ? &t->columns[at] : NULL;
    }
    return IS(d->q->cols[at], RES_TARGET) && d->q->cols[at]->res_target->n_indirection == 0
               ? catalog_column(t, d->q->cols[at]->res_target->name)
               : NULL;
}

static int is_named(const struct drawn *d, size_t given, const struct catalog_column *c)
{
    for (size_t i = 0; i < given; i++) {
        if (column_at(d, i) == c) {
            return 1;
        }
    }
    return 0;
}

/* Cells that say DEFAULT where a sequence is the default. */
static int fill_cells(struct drawn *d, PgQuery__List *row, size_t given)
{
    for (size_t i = 0; i < given; i++) {
        const struct catalog_column *c = column_at(d, i);
        if (c == NULL || c->default_kind != DEFAULT_SEQUENCE) {
            continue;
        }
        if (!IS(row->items[i], SET_TO_DEFAULT)) {
            if (c->identity != 0) { /* whether it may be given is another matter */
                return 0;
            }
            continue;
        }
        row->items[i] = param(d, c);
        if (row->items[i] == NULL) {
            return 0;
        }
    }
    return 1;
}

/* Behind what the client gives, the columns that it leaves open. */
static int add_cells(struct drawn *d, PgQuery__List *row, size_t given)
{
    const struct catalog_table *t = d->rel->known;
    tnode **items =
        arena_alloc(&d->build->scratch, (given + t->columns_count + 1) * sizeof(*items));
    size_t count = given;
    if (given > 0) {
        memcpy(items, row->items, given * sizeof(*items));
    }
    for (size_t i = 0; i < t->columns_count; i++) {
        const struct catalog_column *c = &t->columns[i];
        if (c->default_kind == DEFAULT_SEQUENCE && !is_named(d, given, c)) {
            items[count] = param(d, c);
            if (items[count++] == NULL) {
                return 0;
            }
        }
    }
    row->items = items;
    row->n_items = count;
    return 1;
}

static void name_columns(struct drawn *d, size_t given)
{
    struct arena *a = &d->build->scratch;
    const struct catalog_table *t = d->rel->known;
    tnode **cols = arena_alloc(a, (given + t->columns_count + 1) * sizeof(*cols));
    size_t count = 0;
    for (; count < given; count++) {
        cols[count] =
            d->q->n_cols > 0 ? d->q->cols[count] : tree_target(a, NULL, t->columns[count].name);
    }
    for (size_t i = 0; i < t->columns_count; i++) {
        const struct catalog_column *c = &t->columns[i];
        if (c->default_kind == DEFAULT_SEQUENCE && !is_named(d, given, c)) {
            cols[count++] = tree_target(a, NULL, c->name);
        }
    }
    d->q->cols = cols;
    d->q->n_cols = count;
}

/* DEFAULT VALUES as a row of nothing. */
static void make_values(struct drawn *d)
{
    struct arena *a = &d->build->scratch;
    PgQuery__List *row = arena_alloc(a, sizeof(*row));
    pg_query__list__init(row);
    d->q->select_stmt = tree_select(a, NULL, 0, NULL, NULL);
    d->source = d->q->select_stmt->select_stmt;
    d->source->values_lists = arena_alloc(a, sizeof(tnode *));
    d->source->values_lists[0] = tree_new(a, NODE(LIST), row);
    d->source->n_values_lists = 1;
}

static int fill(struct drawn *d)
{
    if (d->q->select_stmt == NULL) {
        make_values(d);
    } else if (!IS(d->q->select_stmt, SELECT_STMT) ||
               d->q->select_stmt->select_stmt->n_values_lists == 0) {
        return 0;
    }
    d->source = d->q->select_stmt->select_stmt;
    tnode *const *rows = d->source->values_lists;
    size_t given = IS(rows[0], LIST) ? rows[0]->list->n_items : 0;
    if (given > (d->q->n_cols > 0 ? d->q->n_cols : d->rel->known->columns_count)) {
        return 0;
    }
    for (size_t i = 0; i < d->source->n_values_lists; i++) {
        if (!IS(rows[i], LIST) || rows[i]->list->n_items != given ||
            !fill_cells(d, rows[i]->list, given) || !add_cells(d, rows[i]->list, given)) {
            return 0;
        }
    }
    name_columns(d, given);
    if (d->identity) {
        d->q->override = PG_QUERY__OVERRIDING_KIND__OVERRIDING_SYSTEM_VALUE;
    }
    return 1;
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* Types of the client's parameters as far as they are told, then those of the ids. */
static void take_types(const struct drawn *d, struct plan_env *env)
{
    struct build *b = d->build;
    size_t count = d->params + d->count;
    uint32_t *types = arena_zero(&b->scratch, (count + 1) * sizeof(*types));
    for (size_t i = 0; i < d->params; i++) {
        types[i] = i < env->param_types_count ? env->param_types[i] : 0;
    }
    for (size_t i = 0; i < d->count; i++) {
        types[d->params + i] = d->draws[i].type;
    }
    env->param_types = types;
    env->param_types_count = count;
}

static struct plan *plan_filled(struct drawn *d, tnode *stmt)
{
    struct build *b = d->build;
    const char *text = NULL;
    struct note note;
    if (tree_deparse(stmt, &b->scratch, &text, &note)) {
        return NULL;
    }
    struct plan *p = plan_new(b, slice_of(text));
    struct build saved = *b;
    struct plan_env env = *b->env;
    survey_node(b, stmt, &b->survey);
    take_types(d, &env);
    b->env = &env;
    b->splits_all = 1;
    p->tag = "INSERT";
    p->any_params = 1;
    plan_insert(b, stmt, p);
    b->env = saved.env;
    b->splits_all = 0;
    b->survey = saved.survey;
    b->param_types = saved.param_types;
    b->param_seen = saved.param_seen;
    return p->kind == PLAN_ONE && p->otherwise != NULL && p->otherwise->split != NULL ? p->otherwise
                                                                                      : NULL;
}

const struct plan_drawn *insert_drawn(struct build *b, const tnode *stmt, const struct rel *r)
{
    tnode *copy = tree_copy(&b->scratch, stmt);
    struct drawn d = {.build = b, .rel = r, .q = copy->insert_stmt};
    d.params = b->survey.params_max;
    if (r->known == NULL || r->known->has_rules || d.q->with_clause != NULL ||
        d.q->override != PG_QUERY__OVERRIDING_KIND__OVERRIDING_NOT_SET || !fill(&d) ||
        d.count == 0) {
        return NULL;
    }
    struct plan *p = plan_filled(&d, copy);
    if (p == NULL) {
        return NULL;
    }
    struct plan_drawn *out = arena_zero(b->out, sizeof(*out));
    out->insert = p;
    out->params = d.params;
    out->draws = d.draws;
    out->draws_count = d.count;
    return out;
}
