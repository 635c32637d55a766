/*
 * Values for columns of a table: casts to their types, their defaults.
 */

#include <string.h>

#include "planner/write_inner.h"

/* Without a typmod: "bpchar" and "varbit" are any length. */
static const char *name_of_type(uint32_t type)
{
    static const struct {
        uint32_t type;
        const char *name;
    } types[] = {{OID_BOOL, "bool"},           {OID_BYTEA, "bytea"},
                 {OID_INT8, "int8"},           {OID_INT2, "int2"},
                 {OID_INT4, "int4"},           {OID_TEXT, "text"},
                 {OID_FLOAT4, "float4"},       {OID_FLOAT8, "float8"},
                 {OID_BPCHAR, "bpchar"},       {OID_VARCHAR, "varchar"},
                 {OID_DATE, "date"},           {OID_TIME, "time"},
                 {OID_TIMESTAMP, "timestamp"}, {OID_TIMESTAMPTZ, "timestamptz"},
                 {OID_INTERVAL, "interval"},   {OID_NUMERIC, "numeric"},
                 {OID_UUID, "uuid"},           {OID_JSONB, "jsonb"}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i].type == type) {
            return types[i].name;
        }
    }
    return NULL;
}

tnode *column_cast(struct build *b, const struct catalog_column *c, tnode *expr)
{
    struct arena *a = &b->scratch;
    const char *name = name_of_type(c->type);
    if (name != NULL) {
        return tree_cast(a, expr, name);
    }
    if (c->type_name == NULL || c->type == OID_BIT || c->type == OID_CHAR) {
        return NULL; /* a bit is a bit(1), "char" has a name that others have too */
    }
    tnode *n = tree_cast(a, expr, c->type_name);
    n->type_cast->type_name->names[0] = tree_string_new(a, c->type_schema);
    return n;
}

int column_is_cut(const struct catalog_column *c)
{
    return c->typmod >= 0 && c->type != OID_UUID;
}

tnode *column_as_stored(struct build *b, const struct catalog_column *c, tnode *expr)
{
    enum {
        BOUND_MAX = 255, /* of a repetition in a regular expression */
        HEADER = 4       /* of a typmod */
    };
    struct arena *a = &b->scratch;
    if (!column_is_cut(c)) {
        return expr;
    }
    if (c->type != OID_VARCHAR || c->typmod > BOUND_MAX + HEADER) {
        return NULL;
    }
    tnode *call = tree_call(a, "regexp_replace", tree_bytewise(a, tree_cast(a, expr, "text")));
    PgQuery__FuncCall *f = call->func_call;
    tnode **args = arena_alloc(a, 3 * sizeof(*args));
    args[0] = f->args[0];
    args[1] = tree_text(a, arena_printf(a, "^(.{%d}) +$", (int)c->typmod - HEADER));
    args[2] = tree_text(a, "\\1");
    f->args = args;
    f->n_args = 3;
    return call;
}

/* The expression of a text that PostgreSQL printed. */
static tnode *read_expression(struct build *b, const char *text)
{
    PgQuery__ParseResult *parsed = NULL;
    struct note note;
    int position;
    const char *sql = arena_printf(&b->scratch, "SELECT %s", text);
    if (tree_parse(slice_of(sql), &b->scratch, &parsed, &position, &note) || parsed->n_stmts != 1 ||
        !IS(parsed->stmts[0]->stmt, SELECT_STMT)) {
        return NULL;
    }
    const PgQuery__SelectStmt *q = parsed->stmts[0]->stmt->select_stmt;
    return q->n_target_list == 1 && IS(q->target_list[0], RES_TARGET)
               ? q->target_list[0]->res_target->val
               : NULL;
}

static tnode *null_node(struct arena *arena)
{
    PgQuery__AConst *c = arena_alloc(arena, sizeof(*c));
    pg_query__a__const__init(c);
    c->isnull = 1;
    return tree_new(arena, NODE(A_CONST), c);
}

tnode *column_default(struct build *b, const struct catalog_column *c)
{
    if (c->default_kind == DEFAULT_NONE) {
        return column_cast(b, c, null_node(&b->scratch));
    }
    return c->default_text == NULL ? NULL : read_expression(b, c->default_text);
}

int column_is_open(const struct build *b, const tnode *expr)
{
    if (IS(expr, PARAM_REF)) {
        return expr->param_ref->number > 0 &&
               value_declared_type(b, (uint32_t)expr->param_ref->number - 1) == 0;
    }
    return IS(expr, A_CONST) &&
           (expr->a_const->isnull || expr->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL);
}

/* ---- values that the home shard makes ---------------------------------------------------------
 */

static int is_default(struct build *b, tnode *val)
{
    const tnode *v = rows_value(b, val);
    return v != NULL && IS(v, SET_TO_DEFAULT);
}

/* 1: refused. */
static int refuse_own_value(struct build *b, struct plan *p, const struct catalog_column *c,
                            tnode *val)
{
    if (is_default(b, val)) {
        refuse(p, "Draw the value with nextval() first, and give it.",
               "DEFAULT of column \"%s\" is a sequence, which is on the home shard", c->name);
        return 1;
    }
    if (c->identity == 'a') {
        struct note note = {0};
        note_set(&note, ERR_GENERATED, "column \"%s\" can only be updated to DEFAULT", c->name);
        refuse_note(p, ERR_GENERATED, &note);
        return 1;
    }
    return 0;
}

int write_refuses_own_values(struct build *b, struct plan *p, const struct rel *r,
                             tnode *const *targets, size_t count)
{
    if (r->kind == REL_LOCAL || r->known == NULL) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; IS(targets[i], RES_TARGET) && k < r->known->columns_count; k++) {
            const struct catalog_column *c = &r->known->columns[k];
            if (c->default_kind == DEFAULT_SEQUENCE &&
                strcmp(c->name, targets[i]->res_target->name) == 0 &&
                refuse_own_value(b, p, c, targets[i]->res_target->val)) {
                return 1;
            }
        }
    }
    return 0;
}
