/*
 * Which columns of a COPY ... FROM STDIN are drawn on the home shard, and the statements for that:
 * see copy_drawn.c, which has the rows.
 *
 *     COPY t (name) FROM STDIN WITH (HEADER)
 *     draw     SELECT nextval('public.t_id_seq'::regclass) FROM pg_catalog.generate_series(1, ...)
 *     shards   COPY t (id, name) FROM STDIN
 */

#include "planner/copy_draws.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "planner/reach.h"
#include "planner/write_inner.h"

static int is_drawn(const struct relation *r, const struct catalog_column *c)
{
    if (c->generated || c->default_text == NULL) {
        return 0;
    }
    for (size_t i = 0; i < r->table->keys_count; i++) {
        if (strcmp(r->table->keys[i], c->name) == 0) {
            return 1;
        }
    }
    return c->default_kind == DEFAULT_SEQUENCE ||
           (c->default_kind == DEFAULT_EXPRESSION && r->table->kind == MAP_REFERENCE);
}

void copy_find_draws(struct build *b, const PgQuery__CopyStmt *c, const struct relation *r,
                     struct copy_draws *out)
{
    const struct catalog_table *t = r->known;
    *out = (struct copy_draws){0};
    out->columns =
        arena_zero(&b->scratch, (t->columns_count + 1) * sizeof(struct catalog_column *));
    for (size_t i = 0; c->n_attlist > 0 && i < t->columns_count; i++) {
        if (copy_column_field(c, t, t->columns[i].name) < 0 && is_drawn(r, &t->columns[i])) {
            out->columns[out->count++] = &t->columns[i];
        }
    }
}

size_t copy_draw_of(const struct copy_draws *d, const struct catalog_column *column)
{
    for (size_t i = 0; i < d->count; i++) {
        if (d->columns[i] == column) {
            return i + 1;
        }
    }
    return 0;
}

/* The client's line of names is no row: each part begins with it only if the server compares it. */
static void take_header(PgQuery__CopyStmt *c, struct arena *a, int *matched)
{
    size_t kept = 0;
    *matched = 0;
    for (size_t i = 0; i < c->n_options; i++) {
        const PgQuery__DefElem *d = IS(c->options[i], DEF_ELEM) ? c->options[i]->def_elem : NULL;
        if (d != NULL && strcasecmp(d->defname, "header") == 0) {
            const char *text = tree_option_text(d, a);
            *matched = text != NULL && strcasecmp(text, "match") == 0;
            if (!*matched) {
                continue;
            }
        }
        c->options[kept++] = c->options[i];
    }
    c->n_options = kept;
}

/* Names that look the same in every format. */
static int is_plain(const char *name)
{
    while (isalnum((unsigned char)*name) || *name == '_') {
        name++;
    }
    return *name == '\0';
}

static int header_of(const struct copy_draws *d, char delimiter, struct plan_copy *copy,
                     struct build *b)
{
    struct buf text = {0};
    int plain = isalnum((unsigned char)delimiter) == 0 && delimiter != '_';
    for (size_t i = 0; i < d->count; i++) {
        plain &= is_plain(d->columns[i]->name);
        buf_printf(&text, "%s%c", d->columns[i]->name, delimiter);
    }
    copy->drawn_header = arena_strndup(b->out, text.p, text.n);
    buf_free(&text);
    return plain;
}

static enum err shard_statement(struct build *b, const tnode *stmt, const struct copy_draws *d,
                                struct plan_copy *copy, int *matched, struct note *note)
{
    struct arena *a = &b->scratch;
    tnode *again = tree_copy(a, stmt);
    PgQuery__CopyStmt *c = again->copy_stmt;
    tnode **columns = arena_alloc(a, (d->count + c->n_attlist) * sizeof(*columns));
    for (size_t i = 0; i < d->count; i++) {
        columns[i] = tree_string_new(a, d->columns[i]->name);
    }
    memcpy(columns + d->count, c->attlist, c->n_attlist * sizeof(*columns));
    c->attlist = columns;
    c->n_attlist += d->count;
    take_header(c, a, matched);
    return tree_deparse(again, b->out, &copy->shard_sql, note);
}

/* Each as its column holds it: binary COPY knows no other way, and the text of random() is not that
 * of the bigint it becomes. 0: refused. */
static int draw_statement(struct build *b, const struct copy_draws *d, const struct relation *r,
                          struct plan_copy *copy, struct plan *p)
{
    struct arena *a = &b->scratch;
    struct note note;
    const char *select = NULL;
    tnode **targets = arena_alloc(a, d->count * sizeof(tnode *));
    uint32_t *types = arena_alloc(b->out, d->count * sizeof(*types));
    for (size_t i = 0; i < d->count; i++) {
        tnode *value = column_default(b, d->columns[i]);
        if (value == NULL) {
            refuse(
                p, "Give its values.",
                "COPY into \"%s\" leaves column \"%s\" to its default, which cannot be evaluated "
                "beforehand",
                r->name, d->columns[i]->name);
            return 0;
        }
        tnode *cast = column_cast(b, d->columns[i], value);
        targets[i] = tree_target(a, cast == NULL ? value : cast, NULL);
        types[i] = d->columns[i]->type;
    }
    enum err e = tree_deparse(tree_select(a, targets, d->count, NULL, NULL), a, &select, &note);
    if (e) {
        refuse_note(p, e, &note);
        return 0;
    }
    copy->draw_sql = arena_printf(b->out, "%s FROM pg_catalog.generate_series(1, ", select);
    copy->draw_types = types;
    copy->draws_count = d->count;
    return 1;
}

int copy_draw(struct build *b, const tnode *stmt, const struct relation *r,
              const struct copy_draws *d, struct plan_copy *copy, struct plan *p)
{
    struct note note;
    int matched = 0;
    for (size_t i = 0; i < d->count && copy->format == 'b'; i++) {
        if (!copy_drawn_fits(d->columns[i]->type)) {
            refuse(p, "Give its values, or use FORMAT text or csv.",
                   "COPY into \"%s\" leaves column \"%s\" to its default, whose type cannot be "
                   "added to binary data",
                   r->name, d->columns[i]->name);
            return 0;
        }
    }
    enum err e = shard_statement(b, stmt, d, copy, &matched, &note);
    if (e) {
        refuse_note(p, e, &note);
        return 0;
    }
    if (matched && !header_of(d, copy->_private->delimiter, copy, b)) {
        refuse(p, "Use HEADER without MATCH.",
               "COPY into \"%s\" leaves columns to their defaults, whose names cannot be added to "
               "the header",
               r->name);
        return 0;
    }
    return draw_statement(b, d, r, copy, p);
}
