/*
 * COPY. TO STDOUT is in utility_copy_out.c; FROM STDIN is split by the key of each row
 * (copy_split*.c). Options are those of PostgreSQL 15; an unknown one is refused, since it may
 * change how rows look.
 */

#include <string.h>
#include <strings.h>

#include "planner/copy_draws.h"
#include "planner/reach.h"
#include "planner/typemap.h"

static const char *unknown_option(const PgQuery__CopyStmt *c)
{
    static const char *const known[] = {"format",         "freeze",     "delimiter", "null",
                                        "header",         "quote",      "escape",    "force_quote",
                                        "force_not_null", "force_null", "encoding",  NULL};
    for (size_t i = 0; i < c->n_options; i++) {
        const char *name = IS(c->options[i], DEF_ELEM) ? c->options[i]->def_elem->defname : "?";
        size_t k = 0;
        while (known[k] != NULL && strcasecmp(known[k], name) != 0) {
            k++;
        }
        if (known[k] == NULL) {
            return name;
        }
    }
    return NULL;
}

static const char *option_text(struct build *b, const PgQuery__CopyStmt *c, const char *name)
{
    return tree_option_text(tree_option(c->options, c->n_options, name), b->out);
}

/* ---- FROM -------------------------------------------------------------------------------------
 */

int copy_column_field(const PgQuery__CopyStmt *c, const struct catalog_table *t, const char *name)
{
    if (c->n_attlist == 0) {
        int at = 0;
        for (size_t i = 0; i < t->columns_count; i++) {
            if (strcmp(t->columns[i].name, name) == 0) {
                return t->columns[i].generated ? -1 : at;
            }
            at += !t->columns[i].generated; /* they are in no row */
        }
    }
    for (size_t i = 0; i < c->n_attlist; i++) {
        const char *column = tree_string(c->attlist[i]);
        if (column != NULL && strcmp(column, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static int in_option_list(const PgQuery__CopyStmt *c, const char *option, const char *column)
{
    const PgQuery__DefElem *d = tree_option(c->options, c->n_options, option);
    if (d == NULL || !IS(d->arg, LIST)) {
        return d != NULL; /* FORCE_NULL * */
    }
    for (size_t i = 0; i < d->arg->list->n_items; i++) {
        const char *name = tree_string(d->arg->list->items[i]);
        if (name != NULL && strcmp(name, column) == 0) {
            return 1;
        }
    }
    return 0;
}

static uint16_t fields_of(const PgQuery__CopyStmt *c, const struct catalog_table *t)
{
    size_t n = c->n_attlist;
    for (size_t i = 0; c->n_attlist == 0 && i < t->columns_count; i++) {
        n += !t->columns[i].generated;
    }
    return (uint16_t)n;
}

/* Types of users among the fields: in binary format their values may hold OIDs. */
static void fill_types(struct build *b, const PgQuery__CopyStmt *c, const struct catalog_table *t,
                       struct plan_copy *copy)
{
    size_t count = copy->draws_count + copy->fields_count;
    uint32_t *types = arena_zero(b->out, (count + 1) * sizeof(*types));
    for (size_t i = 0; i < t->columns_count; i++) {
        int field = copy_column_field(c, t, t->columns[i].name);
        if (field >= 0 && t->columns[i].type >= TYPEMAP_USER_OID) {
            types[copy->draws_count + (size_t)field] = t->columns[i].type;
            copy->types = types;
            copy->types_count = count;
        }
    }
}

static int fill_keys(const PgQuery__CopyStmt *c, const struct relation *r,
                     const struct copy_draws *draws, struct copy_plan *out, struct plan *p)
{
    const struct map_table *t = r->table;
    out->keys_count = t->keys_count;
    for (size_t i = 0; i < t->keys_count; i++) {
        const struct catalog_column *col = catalog_column(r->known, t->keys[i]);
        int field = copy_column_field(c, r->known, t->keys[i]);
        out->drawn[i] = (uint8_t)copy_draw_of(draws, col);
        if ((field < 0 && out->drawn[i] == 0) || col == NULL) {
            refuse(p, "List it among the columns.",
                   "COPY into \"%s\" must give its sharding key \"%s\"", r->name, t->keys[i]);
            return 0;
        }
        if (col->typmod >= 0 && col->type != OID_VARCHAR) {
            refuse(p, "Use INSERT, or a type without it.",
                   "COPY into \"%s\": the precision of sharding key \"%s\" may change values",
                   r->name, t->keys[i]);
            return 0;
        }
        out->chars_max[i] = col->typmod >= 0 ? col->typmod - 4 : 0;
        out->keys[i] = (uint16_t)(field < 0 ? 0 : field);
        out->key_types[i] = col->type;
        out->force_null |= (uint8_t)(in_option_list(c, "force_null", t->keys[i]) << i);
        out->force_not_null |= (uint8_t)(in_option_list(c, "force_not_null", t->keys[i]) << i);
    }
    return 1;
}

/* A reference table's rows are the same everywhere if no trigger has a hand in them. */
static int same_everywhere(const struct relation *r)
{
    return r->table->kind != MAP_REFERENCE || !r->known->has_triggers;
}

static int fill_format(struct build *b, const PgQuery__CopyStmt *c, struct copy_plan *out,
                       struct plan_copy *copy, struct plan *p)
{
    const char *format = option_text(b, c, "format");
    copy->format = format == NULL || strcasecmp(format, "text") == 0 ? 't'
                   : strcasecmp(format, "csv") == 0                  ? 'c'
                   : strcasecmp(format, "binary") == 0               ? 'b'
                                                                     : 0;
    const char *delimiter = option_text(b, c, "delimiter");
    const char *quote = option_text(b, c, "quote"), *escape = option_text(b, c, "escape");
    const char *null_text = option_text(b, c, "null"), *header = option_text(b, c, "header");
    const PgQuery__DefElem *header_option = tree_option(c->options, c->n_options, "header");
    const char *encoding = option_text(b, c, "encoding");
    int one_byte = (delimiter == NULL || strlen(delimiter) == 1) &&
                   (quote == NULL || strlen(quote) == 1) && (escape == NULL || strlen(escape) == 1);
    if (copy->format == 0 || !one_byte) {
        refuse(p, "Use FORMAT text, csv or binary and one-byte delimiters.",
               "these COPY options are not known");
        return 0;
    }
    if (encoding != NULL && strcasecmp(encoding, "utf8") != 0 &&
        strcasecmp(encoding, "utf-8") != 0) {
        refuse(p, "Send the data in UTF-8.", "COPY with ENCODING into a sharded table");
        return 0;
    }
    out->delimiter = delimiter != NULL ? delimiter[0] : copy->format == 'c' ? ',' : '\t';
    out->quote = quote != NULL ? quote[0] : '"';
    out->escape = escape != NULL ? escape[0] : out->quote;
    out->null_text = null_text != NULL     ? arena_strdup(b->out, null_text)
                     : copy->format == 'c' ? ""
                                           : "\\N";
    out->header = header_option != NULL && (tree_option_on(header_option) ||
                                            (header != NULL && strcasecmp(header, "match") == 0));
    return 1;
}

/* Each shard filters what it gets: every row is looked at once. Copies must agree. */
static int where_fits(struct build *b, const PgQuery__CopyStmt *c, const struct relation *r,
                      struct plan *p)
{
    const struct survey *s = &b->survey;
    const char *hint = "Filter the rows before they are sent.";
    if (c->where_clause == NULL) {
        return 1;
    }
    if (s->home || s->bad_function != NULL || s->bodies_read || s->bodies_write ||
        s->unknown_functions) {
        refuse(p, hint,
               "COPY ... WHERE into \"%s\" calls a function that each shard may answer in "
               "another way",
               r->name);
        return 0;
    }
    if (r->table->kind == MAP_REFERENCE && !s->immutable) {
        refuse(p, hint,
               "COPY ... WHERE into reference table \"%s\" must be the same on every shard",
               r->name);
        return 0;
    }
    return 1;
}

static void copy_in(struct build *b, const tnode *stmt, const struct relation *r, struct plan *p)
{
    const PgQuery__CopyStmt *c = stmt->copy_stmt;
    if (r->known == NULL) {
        refuse(p, "", "relation \"%s\" does not exist", r->name);
        p->err = ERR_NO_TABLE;
        return;
    }
    if (!where_fits(b, c, r, p)) {
        return;
    }
    struct note note;
    if (!reach_table(b, r, 1, &note)) {
        refuse_note(p, ERR_UNSUPPORTED, &note);
        return;
    }
    struct copy_plan *inner = arena_zero(b->out, sizeof(*inner));
    struct plan_copy *copy = arena_zero(b->out, sizeof(*copy));
    struct copy_draws draws;
    copy_find_draws(b, c, r, &draws);
    if (!fill_keys(c, r, &draws, inner, p) || !fill_format(b, c, inner, copy, p)) {
        return;
    }
    if (!same_everywhere(r)) {
        refuse(p, "Use INSERT.",
               "COPY into reference table \"%s\", which has triggers, must do the same on every "
               "shard",
               r->name);
        return;
    }
    copy->table = r->table; /* of the map that the batch was planned for */
    copy->shard_sql = (const char *)p->text.p;
    copy->fields_count = fields_of(c, r->known);
    copy->_private = inner;
    if (draws.count != 0 && !copy_draw(b, stmt, r, &draws, copy, p)) {
        return;
    }
    for (size_t i = 0; i < draws.count; i++) {
        draws_come_from(b, draws.columns[i]->number, i);
    }
    fill_types(b, c, r->known, copy);
    p->kind = PLAN_COPY_IN;
    p->rung = "route";
    p->copy = copy;
    p->touches_sharded = 1;
    p->same_counts = r->table->kind == MAP_REFERENCE;
    plan_set_fixed(b, p, map_table_shards(b->env->map, r->table) | (copy->draws_count != 0));
}

void plan_copy(struct build *b, tnode *stmt, struct plan *p)
{
    PgQuery__CopyStmt *c = stmt->copy_stmt;
    if (c->is_program || c->filename[0] != 0) {
        refuse(p, "Use COPY ... STDIN or STDOUT.",
               "COPY with files of the server cannot be used in a database of several shards");
        return;
    }
    if (c->relation == NULL) {
        copy_out_query(b, c, p);
        return;
    }
    struct relation r;
    relation_of(b, c->relation, &r);
    relation_expect(b, &r);
    const char *hides = relation_hides_sharded(b, &r);
    if (hides != NULL) {
        refuse(p, "Name the sharded tables themselves.", "\"%s\" cannot be copied: %s", r.name,
               hides);
    } else if (relation_changed(b, &r)) {
        refuse(p, "Commit first.",
               "table \"%s\" was changed in this transaction and cannot be used before COMMIT",
               r.name);
    } else if (r.table == NULL || (r.table->kind == MAP_REFERENCE && !c->is_from)) {
        plan_home(b, p);
    } else if (unknown_option(c) != NULL) {
        refuse(p, "Leave it out.", "COPY option \"%s\" is not known", unknown_option(c));
    } else if (c->is_from) {
        copy_in(b, stmt, &r, p);
    } else {
        copy_out_table(b, c, &r, p);
    }
}
