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
        return cast == 0 || cast == declared;
    }
    out->type = cast != 0 ? cast : column_type;
    param_typed(b, out->param, out->type);
    return 1;
}

int value_of(struct build *b, const tnode *n, uint32_t column_type, struct value *out)
{
    *out = (struct value){.literal = -1, .location = -1};
    uint32_t cast = 0;
    if (IS(n, TYPE_CAST)) {
        cast = value_type_of(n->type_cast->type_name, 0);
        if (cast == 0) {
            return 0;
        }
        n = n->type_cast->arg;
    }
    if (IS(n, PARAM_REF)) {
        return value_of_param(b, n->param_ref, cast, column_type, out) &&
               key_types_agree(column_type, out->type);
    }
    if (!IS(n, A_CONST) || !value_of_const(b, n->a_const, out)) {
        return 0;
    }
    if (out->kind == VALUE_NULL) {
        return cast == 0 || key_types_agree(column_type, cast);
    }
    if (cast != 0) {
        if (out->type != OID_UNKNOWN && !(is_int(out->type) && is_int(cast))) {
            return 0; /* 5::text, 5.5::int change the value on the way */
        }
        out->type = cast;
    }
    return out->type == OID_UNKNOWN || key_types_agree(column_type, out->type);
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
