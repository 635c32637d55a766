/*
 * COPY TO STDOUT over several shards. What every shard can write by itself (a table, or a SELECT
 * that is right shard by shard, as text or CSV) is passed on as it comes, but for header lines.
 * Otherwise the rows of a plan of their own, whatever its rung, become the data; then no server
 * reads the options, so what it would refuse of them is refused here, in its words.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "planner/build.h"

/* ---- options ----------------------------------------------------------------------------------
 */

static int PRINTF_LIKE(3, 4) wrong(struct plan *p, enum err e, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    refuse(p, "", "%s", text);
    p->err = e;
    return 0;
}

static int option_index(const char *name)
{
    static const char *const known[] = {"format",   "freeze",         "delimiter", "null",
                                        "header",   "quote",          "escape",    "force_quote",
                                        "encoding", "force_not_null", "force_null"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcasecmp(known[i], name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static int options_known(const PgQuery__CopyStmt *c, struct plan *p)
{
    unsigned seen = 0;
    for (size_t i = 0; i < c->n_options; i++) {
        const char *name = IS(c->options[i], DEF_ELEM) ? c->options[i]->def_elem->defname : "?";
        int at = option_index(name);
        if (at < 0) {
            refuse(p, "Leave it out.", "COPY option \"%s\" is not known", name);
            return 0;
        }
        if (strncasecmp(name, "force_n", 7) == 0) {
            return wrong(p, ERR_UNSUPPORTED, "COPY %s only available using COPY FROM",
                         strcasecmp(name, "force_null") == 0 ? "force null" : "force not null");
        }
        if ((seen & 1U << at) != 0) {
            return wrong(p, ERR_SYNTAX, "conflicting or redundant options");
        }
        seen |= 1U << at;
    }
    return 1;
}

static int read_format(const char *text, enum copy_format *out, struct plan *p)
{
    static const char *const names[] = {
        [COPY_TEXT] = "text", [COPY_CSV] = "csv", [COPY_BINARY] = "binary"};
    *out = COPY_TEXT;
    for (size_t i = 0; text != NULL && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], text) == 0) {
            *out = (enum copy_format)i;
            return 1;
        }
    }
    return text == NULL || wrong(p, ERR_BAD_SETTING, "COPY format \"%s\" not recognized", text);
}

/* A character that the option names; 0: it was refused. */
static int read_byte(const char *text, const char *name, enum copy_format format, uint8_t *out,
                     struct plan *p)
{
    if (text == NULL) {
        return 1;
    }
    if (format == COPY_BINARY && strcmp(name, "delimiter") == 0) {
        return wrong(p, ERR_SYNTAX, "cannot specify %s in BINARY mode", "DELIMITER");
    }
    if (format != COPY_CSV && strcmp(name, "delimiter") != 0) {
        return wrong(p, ERR_UNSUPPORTED, "COPY %s available only in CSV mode", name);
    }
    if (strlen(text) != 1) {
        return wrong(p, ERR_UNSUPPORTED, "COPY %s must be a single one-byte character", name);
    }
    *out = (uint8_t)text[0];
    return 1;
}

static int read_header(struct build *b, const PgQuery__CopyStmt *c, struct copy_options *o,
                       struct plan *p)
{
    const PgQuery__DefElem *d = tree_option(c->options, c->n_options, "header");
    const char *text = tree_option_text(d, b->out);
    if (text != NULL && strcasecmp(text, "match") == 0) {
        return wrong(p, ERR_UNSUPPORTED, "cannot use \"%s\" with HEADER in COPY TO", text);
    }
    o->has_header = d != NULL && tree_option_on(d);
    return !(o->has_header && o->format == COPY_BINARY) ||
           wrong(p, ERR_UNSUPPORTED, "cannot specify %s in BINARY mode", "HEADER");
}

static int read_force_quote(struct build *b, const PgQuery__CopyStmt *c, struct plan_copy_out *out,
                            struct plan *p)
{
    const PgQuery__DefElem *d = tree_option(c->options, c->n_options, "force_quote");
    if (d == NULL) {
        return 1;
    }
    if (out->options.format != COPY_CSV) {
        return wrong(p, ERR_UNSUPPORTED, "COPY %s available only in CSV mode", "force quote");
    }
    if (!IS(d->arg, LIST)) {
        out->force_quote_all = 1;
        return 1;
    }
    const char **names = arena_zero(b->out, (d->arg->list->n_items + 1) * sizeof(*names));
    for (size_t i = 0; i < d->arg->list->n_items; i++) {
        const char *name = tree_string(d->arg->list->items[i]);
        names[i] = arena_strdup(b->out, name == NULL ? "" : name);
    }
    out->force_quote = names;
    out->force_quote_count = d->arg->list->n_items;
    return 1;
}

static int is_utf8(const char *encoding)
{
    return encoding == NULL || strcasecmp(encoding, "utf8") == 0 ||
           strcasecmp(encoding, "utf-8") == 0;
}

static const char *option_text(struct build *b, const PgQuery__CopyStmt *c, const char *name)
{
    return tree_option_text(tree_option(c->options, c->n_options, name), b->out);
}

static int read_options(struct build *b, const PgQuery__CopyStmt *c, struct plan_copy_out *out,
                        struct plan *p)
{
    const char *texts[5];
    static const char *const names[5] = {"delimiter", "quote", "escape", "null", "encoding"};
    for (size_t i = 0; i < 5; i++) {
        texts[i] = option_text(b, c, names[i]);
    }
    enum copy_format format = COPY_TEXT;
    if (!options_known(c, p) || !read_format(option_text(b, c, "format"), &format, p)) {
        return 0;
    }
    struct copy_options *o = &out->options;
    *o = copy_options_default(format);
    if (!read_byte(texts[0], "delimiter", format, &o->delimiter, p) ||
        !read_byte(texts[1], "quote", format, &o->quote, p)) {
        return 0;
    }
    o->escape = o->quote;
    if (!read_byte(texts[2], "escape", format, &o->escape, p) || !read_header(b, c, o, p) ||
        !read_force_quote(b, c, out, p)) {
        return 0;
    }
    if (texts[3] != NULL && format == COPY_BINARY) {
        return wrong(p, ERR_SYNTAX, "cannot specify %s in BINARY mode", "NULL");
    }
    o->null_text = texts[3] == NULL ? o->null_text : slice_of(arena_strdup(b->out, texts[3]));
    if (!is_utf8(texts[4])) {
        refuse(p, "Read the data in UTF-8.", "COPY with ENCODING from a sharded table");
        return 0;
    }
    struct note note;
    enum err e = copy_options_check(o, &note);
    if (e) {
        refuse_note(p, e, &note);
    }
    return !e;
}

/* ---- where the rows come from -----------------------------------------------------------------
 */

static struct plan_copy_out *copy_out_begin(struct build *b, const PgQuery__CopyStmt *c,
                                            struct plan *p)
{
    struct plan_copy_out *out = arena_zero(b->out, sizeof(*out));
    if (!read_options(b, c, out, p)) {
        return NULL;
    }
    p->kind = PLAN_COPY_OUT;
    p->touches_sharded = 1;
    p->copy_out = out;
    return out;
}

/* The data of each shard, as it writes it. */
static void own_data(struct plan *p)
{
    p->rung = "spread";
    p->shard_sql = (const char *)p->text.p;
}

/* Its rows are the answer's, one after the other. */
static int is_plain(const struct plan *inner)
{
    const struct combine_spec *spec = inner->combine;
    return inner->kind == PLAN_MANY && inner->shard_sql == (const char *)inner->text.p &&
           spec->mode == COMBINE_CONCAT && spec->limit.kind == COMBINE_LIMIT_NONE &&
           spec->offset.kind == COMBINE_LIMIT_NONE;
}

static void copy_rows(struct build *b, const PgQuery__CopyStmt *c, struct plan *inner,
                      struct plan *p)
{
    if (inner->kind == PLAN_REFUSE) {
        refuse_note(p, inner->err, &inner->note);
        return;
    }
    if (inner->kind != PLAN_MANY && inner->kind != PLAN_ONE && inner->kind != PLAN_WORKSPACE &&
        ((inner->kind != PLAN_WRITE && inner->kind != PLAN_ROWS) || !inner->returns_rows)) {
        refuse(p, "Copy the rows of one sharding key at a time.",
               "this query cannot be copied from several shards");
        return;
    }
    struct plan_copy_out *out = copy_out_begin(b, c, p);
    if (out == NULL) {
        return;
    }
    p->rung = inner->rung;
    p->reads_only = inner->reads_only;
    p->_where = inner->_where;
    if (is_plain(inner) && out->options.format != COPY_BINARY) {
        own_data(p);
    } else {
        out->rows = inner;
    }
}

void copy_out_query(struct build *b, const PgQuery__CopyStmt *c, struct plan *p)
{
    const char *text = NULL;
    struct note note;
    enum err e = tree_deparse(c->query, b->out, &text, &note); /* planning changes the tree */
    if (e) {
        refuse_note(p, e, &note);
        return;
    }
    struct plan *inner = plan_new(b, slice_of(text));
    plan_statement(b, c->query, inner);
    const char *format = option_text(b, c, "format");
    int binary = format != NULL && strcmp(format, "binary") == 0 && inner->touches_sharded;
    if (inner->kind != PLAN_ONE || binary) {
        copy_rows(b, c, inner, p);
    } else {
        p->kind = PLAN_ONE;
        p->rung = inner->rung;
        p->touches_sharded = inner->touches_sharded;
        p->_where = inner->_where;
    }
    if (inner->kind == PLAN_ONE && p->kind != PLAN_REFUSE && inner->otherwise != NULL) {
        p->otherwise = plan_new(b, p->text);
        p->otherwise->tag = p->tag;
        copy_rows(b, c, inner->otherwise, p->otherwise);
    }
}

static int columns_copied(const PgQuery__CopyStmt *c, const struct relation *r)
{
    for (size_t i = 0; i < c->n_attlist; i++) {
        const struct catalog_column *column = catalog_column(r->known, tree_string(c->attlist[i]));
        if (column == NULL || column->generated) {
            return 0; /* the server says why not */
        }
    }
    return 1;
}

/* The rows of the table as a SELECT gives them; NULL: the columns are not known. */
static struct plan *rows_of_table(struct build *b, const PgQuery__CopyStmt *c,
                                  const struct relation *r)
{
    struct buf sql = {0};
    size_t count = 0;
    buf_text(&sql, "SELECT ");
    for (size_t i = 0; i < c->n_attlist; i++) {
        buf_text(&sql, count++ > 0 ? ", " : "");
        sql_put_quoted(&sql, '"', tree_string(c->attlist[i]));
    }
    for (size_t i = 0; c->n_attlist == 0 && i < r->known->columns_count; i++) {
        if (!r->known->columns[i].generated) {
            buf_text(&sql, count++ > 0 ? ", " : "");
            sql_put_quoted(&sql, '"', r->known->columns[i].name);
        }
    }
    buf_text(&sql, " FROM ONLY ");
    sql_put_quoted(&sql, '"', r->schema);
    buf_u8(&sql, '.');
    sql_put_quoted(&sql, '"', r->name);
    PgQuery__ParseResult *parsed = NULL;
    struct note note;
    int position = 0;
    struct slice text = arena_copy(b->out, buf_slice(&sql));
    struct plan *inner = NULL;
    if (tree_parse(text, &b->scratch, &parsed, &position, &note) == ERR_NONE &&
        parsed->n_stmts == 1) {
        inner = plan_new(b, text);
        inner->tag = "SELECT";
        plan_statement(b, parsed->stmts[0]->stmt, inner);
    }
    buf_free(&sql);
    return inner;
}

void copy_out_table(struct build *b, const PgQuery__CopyStmt *c, const struct relation *r,
                    struct plan *p)
{
    struct plan_copy_out *out = copy_out_begin(b, c, p);
    if (out == NULL) {
        return;
    }
    p->reads_only = 1;
    plan_set_fixed(b, p, map_table_shards(b->env->map, r->table));
    int table = r->known != NULL && r->known->kind == 'r' && columns_copied(c, r);
    struct plan *inner =
        out->options.format == COPY_BINARY && table ? rows_of_table(b, c, r) : NULL;
    if (inner == NULL || inner->kind == PLAN_ONE) {
        own_data(p);
    } else {
        copy_rows(b, c, inner, p);
    }
}
