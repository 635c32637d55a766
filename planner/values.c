/*
 * Literals and parameters as values of key columns, by the types that PostgreSQL gives them. What
 * it would change on the way (5.5::int), or compare otherwise than the column's type does, is no
 * value.
 */

#include <string.h>

#include "planner/build.h"

uint32_t value_type_of(const PgQuery__TypeName *t, int array)
{
    static const struct {
        const char *name;
        uint32_t oid;
    } types[] = {
        {"int2", OID_INT2}, {"int4", OID_INT4},           {"int8", OID_INT8},
        {"text", OID_TEXT}, {"varchar", OID_VARCHAR},     {"uuid", OID_UUID},
        {"date", OID_DATE}, {"timestamp", OID_TIMESTAMP}, {"timestamptz", OID_TIMESTAMPTZ}};
    if (t == NULL || t->n_typmods > 0 || t->setof || t->pct_type ||
        (t->n_array_bounds > 0) != array) {
        return 0;
    }
    const char *schema;
    const char *name = tree_name(t->names, t->n_names, &schema);
    if (schema != NULL && strcmp(schema, "pg_catalog") != 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, name) == 0) {
            return types[i].oid;
        }
    }
    return 0;
}

static int is_int(uint32_t type)
{
    return type == OID_INT2 || type == OID_INT4 || type == OID_INT8;
}

/* int8 when all digits fit, as PostgreSQL types integers that are too long for int4. */
static uint32_t type_of_float(const char *digits)
{
    size_t n = strspn(digits + (digits[0] == '-'), "0123456789");
    const char *p = digits + (digits[0] == '-');
    if (p[n] != 0 || n == 0) {
        return OID_NUMERIC;
    }
    while (*p == '0' && n > 1) {
        p++;
        n--;
    }
    if (n > 19 || (n == 19 && strcmp(p, "9223372036854775807") > 0)) {
        return OID_NUMERIC;
    }
    return OID_INT8;
}

/* The literal at or, behind a minus sign, after a place in the text. */
static int16_t literal_at(const struct build *b, int32_t location, int negative)
{
    for (size_t i = 0; b->lex.usable && i < b->lex.literals_count; i++) {
        uint32_t at = b->lex.literals[i].offset;
        if (location >= 0 && (at == (uint32_t)location || (negative && at > (uint32_t)location))) {
            return (int16_t)i;
        }
    }
    return -1;
}

static int value_of_const(struct build *b, const PgQuery__AConst *c, struct value *out)
{
    const char *text = NULL;
    if (c->isnull) {
        out->kind = VALUE_NULL;
        return 1;
    }
    if (c->val_case == PG_QUERY__A__CONST__VAL_IVAL) {
        text = arena_printf(&b->scratch, "%d", c->ival->ival);
        out->type = OID_INT4;
    } else if (c->val_case == PG_QUERY__A__CONST__VAL_FVAL) {
        text = c->fval->fval;
        out->type = type_of_float(text);
    } else if (c->val_case == PG_QUERY__A__CONST__VAL_SVAL) {
        text = c->sval->sval;
        out->type = OID_UNKNOWN;
    } else {
        return 0;
    }
    out->kind = VALUE_TEXT;
    out->text = slice_of(text);
    out->negative = out->type != OID_UNKNOWN && text[0] == '-';
    out->location = c->location;
    out->literal = literal_at(b, c->location, out->negative);
    return 1;
}

/* Remember that parameter `n` stands where the server takes it for this type. */
static void param_typed(struct build *b, uint32_t n, uint32_t type)
{
    if (n >= b->survey.params_max) {
        return;
    }
    uint32_t before = b->param_types[n];
    if (before == 0 || key_types_agree(before, type)) {
        b->param_types[n] = before == 0 ? type : before;
        b->param_seen[n]++;
    }
}

uint32_t value_declared_type(const struct build *b, uint32_t n)
{
    uint32_t type = n < b->env->param_types_count ? b->env->param_types[n] : 0;
    return type == OID_UNKNOWN ? 0 : type;
}

/* `cast`: what the server takes an undeclared parameter for, because it is cast to it; 0: not. */
static int value_of_param(struct build *b, const PgQuery__ParamRef *p, uint32_t cast,
                          uint32_t column_type, struct value *out)
{
    if (p->number <= 0 || p->number > 65535) {
        return 0;
    }
    out->kind = VALUE_PARAM;
    out->param = (uint16_t)(p->number - 1);
    uint32_t declared = value_declared_type(b, out->param);
    if (declared != 0) {
        out->type = declared;
        return cast == 0 || key_types_agree(cast, declared);
    }
    out->type = cast != 0 ? cast : column_type;
    param_typed(b, out->param, out->type);
    return 1;
}

/* Casts around a value, all between types of one kind, so that it is kept or the server fails:
 * *inner and *outer are 0 without any. 0: others. */
static int strip_casts(const tnode **n, uint32_t *inner, uint32_t *outer)
{
    *inner = *outer = 0;
    while (IS(*n, TYPE_CAST)) {
        uint32_t type = value_type_of((*n)->type_cast->type_name, 0);
        if (type == 0 || (*outer != 0 && !key_types_agree(*outer, type))) {
            return 0;
        }
        *outer = *outer == 0 ? type : *outer;
        *inner = type;
        *n = (*n)->type_cast->arg;
    }
    return 1;
}

/* - in front of a number that the parser did not take into it: -5::bigint is -(5::bigint). */
static const tnode *strip_minus(const tnode *n)
{
    const PgQuery__AExpr *e =
        IS(n, A_EXPR) && n->a_expr->kind == PG_QUERY__A__EXPR__KIND__AEXPR_OP ? n->a_expr : NULL;
    return e != NULL && e->lexpr == NULL && strcmp(tree_operator(e), "-") == 0 ? e->rexpr : NULL;
}

static int negate(struct build *b, struct value *v)
{
    if (v->kind != VALUE_TEXT || !is_int(v->type) || v->negative || v->text.n == 0 ||
        v->text.p[0] < '0' || v->text.p[0] > '9') {
        return 0;
    }
    v->text = slice_of(arena_printf(&b->scratch, "-%.*s", (int)v->text.n, (const char *)v->text.p));
    v->negative = 1;
    return 1;
}

int value_of(struct build *b, const tnode *n, uint32_t column_type, struct value *out)
{
    const tnode *positive = strip_minus(n);
    uint32_t inner, outer;
    if (positive != NULL) {
        return IS(positive, TYPE_CAST) && value_of(b, positive, column_type, out) && negate(b, out);
    }
    *out = (struct value){.literal = -1, .location = -1};
    if (!strip_casts(&n, &inner, &outer) || (outer != 0 && !key_types_agree(column_type, outer))) {
        return 0;
    }
    if (IS(n, PARAM_REF)) {
        return value_of_param(b, n->param_ref, inner, column_type, out) &&
               key_types_agree(column_type, out->type);
    }
    if (!IS(n, A_CONST) || !value_of_const(b, n->a_const, out)) {
        return 0;
    }
    if (out->kind == VALUE_NULL) {
        return 1;
    }
    if (inner != 0) {
        if (out->type != OID_UNKNOWN && !(is_int(out->type) && is_int(inner))) {
            return 0; /* 5::text, 5.5::int change the value on the way */
        }
        out->type = inner;
    }
    return out->type == OID_UNKNOWN || key_types_agree(column_type, out->type);
}

/* ---- numbers of other types -------------------------------------------------------------------
 */

enum {
    EXPONENT_MAX = 400 /* more than any integer needs */
};

/*
 * Decimal text -> the integer it equals, as text without leading zeros, when that has at most 19
 * digits. 0: no number that is followed here. *none: it equals no int8.
 */
static int whole_number(struct arena *arena, const char *p, const char **out, int *none)
{
    char *digits = arena_alloc(arena, strlen(p) + 2 + EXPONENT_MAX);
    size_t n = 0;
    long point = -1, exponent = 0;
    int negative = *p == '-';
    p += *p == '-' || *p == '+';
    for (; (*p >= '0' && *p <= '9') || (*p == '.' && point < 0); p++) {
        if (*p == '.') {
            point = (long)n;
        } else {
            digits[n++] = *p;
        }
    }
    if (n == 0) {
        return 0;
    }
    if (*p == 'e' || *p == 'E') {
        int down = p[1] == '-';
        for (p += p[1] == '-' || p[1] == '+' ? 2 : 1; *p >= '0' && *p <= '9'; p++) {
            exponent = exponent > EXPONENT_MAX ? exponent : exponent * 10 + (*p - '0');
        }
        exponent = down ? -exponent : exponent;
    }
    if (*p != 0 || exponent > EXPONENT_MAX || exponent < -EXPONENT_MAX) {
        return 0;
    }
    long whole = (point < 0 ? (long)n : point) + exponent; /* digits before the point */
    *none = 0;
    for (long i = whole < 0 ? 0 : whole; i < (long)n; i++) {
        *none |= digits[i] != '0';
    }
    while ((long)n < whole) {
        digits[n++] = '0';
    }
    n = whole < 0 ? 0 : (size_t)whole;
    size_t zeros = 0;
    while (zeros < n && digits[zeros] == '0') {
        zeros++;
    }
    n -= zeros;
    *none |= n > 19 ||
             (n == 19 && memcmp(digits + zeros,
                                negative ? "9223372036854775808" : "9223372036854775807", 19) > 0);
    if (*none) {
        return 1;
    }
    *out = arena_printf(arena, "%s%.*s", negative && n > 0 ? "-" : "", n == 0 ? 1 : (int)n,
                        n == 0 ? "0" : digits + zeros);
    return 1;
}

static const char *cast_name(const PgQuery__TypeName *t)
{
    const char *schema;
    const char *name = t == NULL ? "" : tree_name(t->names, t->n_names, &schema);
    int plain = t != NULL && t->n_typmods == 0 && t->n_array_bounds == 0 && !t->setof &&
                (schema == NULL || strcmp(schema, "pg_catalog") == 0);
    return plain ? name : "";
}

/* Text of a number; `exact`: an integer that float8 holds exactly, and no other near it. */
static const char *number_text(struct build *b, const tnode *n, int *exact)
{
    const PgQuery__AConst *c = IS(n, A_CONST) && !n->a_const->isnull ? n->a_const : NULL;
    *exact = 0;
    if (c != NULL && c->val_case == PG_QUERY__A__CONST__VAL_IVAL) {
        *exact = 1;
        return arena_printf(&b->scratch, "%d", c->ival->ival);
    }
    if (c != NULL && c->val_case == PG_QUERY__A__CONST__VAL_FVAL) {
        return c->fval->fval;
    }
    return NULL;
}

int value_compared(struct build *b, const tnode *n, uint32_t column_type, struct value *out)
{
    const tnode *given = n;
    const char *cast = IS(n, TYPE_CAST) ? cast_name(n->type_cast->type_name) : NULL;
    const char *text, *whole = NULL;
    int exact, none = 0;
    if (IS(n, COLLATE_CLAUSE) && value_is_bytewise(n->collate_clause)) {
        return value_of(b, n->collate_clause->arg, column_type, out);
    }
    if (value_of(b, n, column_type, out)) {
        return 1;
    }
    if (!is_int(column_type) ||
        (cast != NULL && strcmp(cast, "numeric") != 0 && strcmp(cast, "float8") != 0)) {
        return 0;
    }
    given = cast == NULL ? n : n->type_cast->arg;
    text = number_text(b, given, &exact);
    if (text == NULL || (cast != NULL && cast[0] == 'f' && !exact) ||
        !whole_number(&b->scratch, text, &whole, &none)) {
        return 0;
    }
    *out = (struct value){.kind = none ? VALUE_NULL : VALUE_TEXT,
                          .type = OID_INT8,
                          .literal = -1,
                          .location = -1,
                          .text = slice_of(none ? "" : whole)};
    if (none) {
        b->batch->shape_ok = 0;
    }
    return 1;
}

int value_is_bytewise(const PgQuery__CollateClause *c)
{
    const char *schema;
    const char *name = tree_name(c->collname, c->n_collname, &schema);
    return (schema == NULL || strcmp(schema, "pg_catalog") == 0) &&
           (strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0);
}

int value_is_certain(const struct build *b, const struct value *v)
{
    if ((v->kind != VALUE_PARAM && v->kind != VALUE_ARRAY_PARAM) ||
        value_declared_type(b, v->param) != 0) {
        return 1;
    }
    return v->param < b->survey.params_max &&
           b->param_seen[v->param] == b->survey.param_uses[v->param];
}
