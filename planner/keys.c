/*
 * Facts -> values of key columns. From "column = values" facts, values travel along equalities to
 * whatever the equality filters: in `u LEFT JOIN o ON o.user_id = u.id WHERE u.id = 5` the value
 * goes from u to o, since the ON filters o; it would not go the other way.
 *
 * In sub-selects a column may equal a column of a level outside; that is kept too (keys_outer).
 */

#include <string.h>

#include "planner/reach.h"

enum {
    LISTS_MAX = 8 /* of one column */
};

struct derived {
    const struct rel *rel;
    uint16_t column, count;
    const struct value_list *lists[LISTS_MAX]; /* all of them hold */
    const struct term *outer;
    struct derived *next;
};

static struct derived *find(const struct scope *s, const struct rel *r, uint16_t column)
{
    for (struct derived *d = s->derived; d != NULL; d = d->next) {
        if (d->rel == r && d->column == column) {
            return d;
        }
    }
    return NULL;
}

static struct derived *find_or_add(struct scope *s, const struct term *t)
{
    struct derived *d = find(s, t->rel, t->column);
    if (d == NULL) {
        d = arena_zero(&s->build->scratch, sizeof(*d));
        d->rel = t->rel;
        d->column = t->column;
        d->next = s->derived;
        s->derived = d;
    }
    return d;
}

static int values_certain(const struct build *b, const struct value_list *v)
{
    for (size_t i = 0; i < v->count; i++) {
        if (!value_is_certain(b, &v->items[i])) {
            return 0;
        }
    }
    return 1;
}

/* Whether `outer` is a relation of a level around the one of `inner`: what x IN (SELECT y ...) says
 * of x must not make y, which is inside, look like something outside. */
static int is_outside(const struct rel *outer, const struct rel *inner)
{
    while (outer != NULL) {
        for (const struct level *l = inner->level->parent; l != NULL; l = l->parent) {
            if (l == outer->level) {
                return outer->level != inner->level;
            }
        }
        outer = outer->level->kind == LEVEL_FROM || outer->level->kind == LEVEL_CTE
                    ? outer->level->as_rel
                    : NULL;
    }
    return 0;
}

static int add_list(struct derived *d, const struct value_list *v)
{
    for (size_t i = 0; i < d->count; i++) {
        if (d->lists[i] == v) {
            return 0;
        }
    }
    if (d->count == LISTS_MAX) {
        return 0;
    }
    d->lists[d->count++] = v;
    return 1;
}

/* Of several lists the shortest says most. */
static size_t weight_of(const struct value_list *v)
{
    return v->count == 1 &&
                   (v->items[0].kind == VALUE_ARRAY_PARAM || v->items[0].kind == VALUE_ARRAY_TEXT)
               ? VALUES_MAX
               : v->count;
}

/* What is known of `from` becomes known of `to`, when the fact filters it. */
static int spread_value(struct scope *s, const struct fact *f, const struct term *to,
                        const struct term *from)
{
    if (!fact_filters(f, to)) {
        return 0;
    }
    int changed = 0;
    const struct derived *source = find(s, from->rel, from->column);
    struct derived *d = find_or_add(s, to);
    for (size_t i = 0; source != NULL && i < source->count; i++) {
        changed |= add_list(d, source->lists[i]);
    }
    if (d->outer == NULL && from->outer && is_outside(from->rel, to->rel)) {
        d->outer = from;
        changed = 1;
    } else if (d->outer == NULL && source != NULL && source->outer != NULL && !from->outer &&
               is_outside(source->outer->rel, to->rel)) {
        d->outer = source->outer;
        changed = 1;
    }
    return changed;
}

void keys_derive(struct scope *s)
{
    for (struct fact *f = s->facts; f != NULL; f = f->next) {
        if (f->kind == FACT_VALUES && fact_filters(f, &f->a) &&
            values_certain(s->build, &f->values)) {
            add_list(find_or_add(s, &f->a), &f->values);
        }
    }
    int changed = 1;
    while (changed) {
        changed = 0;
        for (struct fact *f = s->facts; f != NULL; f = f->next) {
            if (f->kind == FACT_EQUAL) {
                changed |= spread_value(s, f, &f->a, &f->b);
                changed |= spread_value(s, f, &f->b, &f->a);
            }
        }
    }
}

const struct value_list *keys_values(const struct scope *s, const struct rel *r, uint16_t column)
{
    const struct derived *d = find(s, r, column);
    const struct value_list *best = NULL;
    for (size_t i = 0; d != NULL && i < d->count; i++) {
        best = best == NULL || weight_of(d->lists[i]) < weight_of(best) ? d->lists[i] : best;
    }
    return best;
}

const struct term *keys_outer(const struct scope *s, const struct rel *r, uint16_t column)
{
    const struct derived *d = find(s, r, column);
    return d == NULL ? NULL : d->outer;
}

int keys_column(const struct rel *r, size_t i)
{
    if (r->table == NULL || r->known == NULL || i >= r->table->keys_count) {
        return -1;
    }
    for (size_t c = 0; c < r->known->columns_count; c++) {
        if (strcmp(r->known->columns[c].name, r->table->keys[i]) == 0) {
            return (int)c;
        }
    }
    return -1;
}

struct value_list keys_keep(struct build *b, const struct value_list *v)
{
    struct value *items = arena_alloc(b->out, (v->count + 1) * sizeof(*items));
    for (size_t i = 0; i < v->count; i++) {
        items[i] = v->items[i];
        items[i].text = arena_copy(b->out, v->items[i].text);
        if ((items[i].kind == VALUE_TEXT || items[i].kind == VALUE_ARRAY_TEXT) &&
            items[i].literal < 0) {
            b->batch->shape_ok = 0;
        }
        if (items[i].kind == VALUE_NULL && v->count > 1) {
            items[i].kind = VALUE_NULL; /* matches nothing: plan_shards() steps over it */
        }
    }
    return (struct value_list){v->count, items};
}

/* Bounds of a range table. */
static int bind_range(struct scope *s, const struct rel *r, struct binding *out)
{
    int column = keys_column(r, 0);
    if (r->table->kind != MAP_RANGE || r->table->keys_count != 1 || column < 0 ||
        !r->known->columns[column].bytewise) {
        return 0; /* "<" of the servers is not the order of the map */
    }
    for (const struct fact *f = s->facts; f != NULL; f = f->next) {
        if ((f->kind != FACT_LOW && f->kind != FACT_HIGH) || f->a.rel != r ||
            f->a.column != column || !fact_filters(f, &f->a) ||
            !values_certain(s->build, &f->values)) {
            continue;
        }
        const struct value **bound = f->kind == FACT_LOW ? &out->low : &out->high;
        if (*bound != NULL) { /* another one: of a binding of its own */
            struct binding *more = arena_zero(s->build->out, sizeof(*more));
            *more = (struct binding){.table = r->table, .relation = out->relation};
            more->also = out->also;
            out->also = more;
            bound = f->kind == FACT_LOW ? &more->low : &more->high;
        }
        *bound = keys_keep(s->build, &f->values).items;
    }
    return out->low != NULL || out->high != NULL;
}

/* A comparison of rows that holds the whole key. */
static int bind_row(struct scope *s, const struct rel *r, const struct fact *f, struct binding *out)
{
    for (size_t i = 0; i < r->table->keys_count; i++) {
        size_t k = 0;
        while (k < f->row->count &&
               (f->row->columns[k].rel != r || f->row->columns[k].column != keys_column(r, i) ||
                !fact_filters(f, &f->row->columns[k]) ||
                !values_certain(s->build, &f->row->values[k]))) {
            k++;
        }
        if (k == f->row->count) {
            return 0;
        }
        out->keys[i] = f->row->values[k];
    }
    out->zipped = 1;
    return 1;
}

static void keep_keys(struct build *b, struct binding *out)
{
    for (size_t i = 0; i < out->table->keys_count; i++) {
        out->keys[i] = keys_keep(b, &out->keys[i]);
    }
}

/* One more binding of the relation. The one with fewest keys stands first. */
static void also(struct build *b, struct binding *out, const struct binding *more)
{
    if (out->keys[0].items == NULL && out->low == NULL && out->high == NULL) {
        const struct binding *rest = out->also;
        *out = *more;
        out->also = rest;
        keep_keys(b, out);
        return;
    }
    struct binding *kept = arena_zero(b->out, sizeof(*kept));
    *kept = *more;
    keep_keys(b, kept);
    if (out->keys[0].items != NULL && weight_of(&kept->keys[0]) < weight_of(&out->keys[0])) {
        struct binding swap = *out;
        const struct binding *rest = out->also;
        *out = *kept;
        *kept = swap;
        kept->also = rest;
    } else {
        kept->also = out->also;
    }
    out->also = kept;
}

static void bind_lists(struct scope *s, const struct rel *r, struct binding *out)
{
    struct binding plain = {.table = r->table, .relation = out->relation};
    size_t keys = r->table->keys_count, bound = 0;
    const struct value_list *best = NULL;
    for (size_t i = 0; i < keys; i++) {
        int column = keys_column(r, i);
        best = column < 0 ? NULL : keys_values(s, r, (uint16_t)column);
        plain.keys[i] = best == NULL ? (struct value_list){0} : *best;
        bound += best != NULL;
    }
    if (bound < keys) {
        return;
    }
    also(s->build, out, &plain);
    const struct derived *d = keys == 1 ? find(s, r, (uint16_t)keys_column(r, 0)) : NULL;
    for (size_t i = 0; d != NULL && i < d->count; i++) {
        if (d->lists[i] != best) {
            plain.keys[0] = *d->lists[i];
            also(s->build, out, &plain);
        }
    }
}

static int bind_rel(struct scope *s, const struct rel *r, struct binding *out)
{
    struct build *b = s->build;
    *out = (struct binding){.table = r->table};
    out->relation = arena_strdup(b->out, r->alias);
    for (const struct fact *f = s->facts; f != NULL && r->table->keys_count > 1; f = f->next) {
        struct binding row = {.table = r->table, .relation = out->relation};
        if (f->kind == FACT_ROWS && bind_row(s, r, f, &row)) {
            also(b, out, &row);
        }
    }
    bind_lists(s, r, out);
    return out->keys[0].items != NULL || bind_range(s, r, out);
}

static int bind_call(struct scope *s, const struct reach_call *c, struct binding *out)
{
    *out = (struct binding){.table = c->reach.table, .written = c->reach.key_written};
    out->relation = arena_strdup(s->build->out, c->name);
    for (size_t k = 0; c->bound && k < out->table->keys_count; k++) {
        if (!values_certain(s->build, &c->keys[k])) {
            return 0;
        }
    }
    for (size_t k = 0; c->bound && k < out->table->keys_count; k++) {
        out->keys[k] = keys_keep(s->build, &c->keys[k]);
    }
    return c->bound;
}

void keys_bind(struct scope *s, struct binding **out, size_t *count, int *bound)
{
    *out =
        arena_zero(s->build->out, (s->sharded_count + s->calls_count + 1) * sizeof(struct binding));
    *count = 0;
    *bound = 1;
    for (size_t i = 0; i < s->rels_count; i++) {
        const struct rel *r = s->rels[i];
        if (r->kind != REL_SHARDED || (r->target && IS(r->level->statement, INSERT_STMT))) {
            continue; /* write.c binds the rows of INSERT */
        }
        *bound &= bind_rel(s, r, &(*out)[*count]);
        (*count)++;
    }
    for (const struct reach_call *c = s->calls; c != NULL; c = c->next) {
        *bound &= bind_call(s, c, &(*out)[*count]);
        (*count)++;
    }
}
