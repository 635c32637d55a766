/*
 * One walk over a statement for what does not depend on where it stands: which parameters, which
 * functions, what must not leave the home shard or the backend.
 *
 * A function is PostgreSQL's own when its name is in functions.def and no function of the same name
 * was made in this database; when both exist either may be meant, so the worse one counts.
 */

#include <stdlib.h>
#include <string.h>

#include "planner/reach.h"

struct function_row {
    const char *name;
    char class;
};

static const struct function_row builtin[] = {
#define FUNCTION(name, class) {name, class},
#include "planner/functions.def"
};

/* Answer with what one server knows or keeps. */
static const char *const home_functions[] = {"currval",
                                             "inet_server_addr",
                                             "inet_server_port",
                                             "lastval",
                                             "nextval",
                                             "setval",
                                             "txid_current",
                                             "txid_current_if_assigned",
                                             "txid_current_snapshot",
                                             "txid_snapshot_xip",
                                             "txid_status",
                                             "txid_visible_in_snapshot",
                                             "has_any_column_privilege",
                                             "has_column_privilege",
                                             "has_table_privilege",
                                             "has_sequence_privilege",
                                             "to_regclass",
                                             "to_regtype",
                                             "to_regproc",
                                             "to_regprocedure",
                                             "to_regnamespace",
                                             "to_regrole",
                                             "col_description",
                                             "obj_description",
                                             "shobj_description",
                                             "format_type",
                                             "currtid2",
                                             "lo_create",
                                             NULL};
/* pg_ functions that are the same everywhere. */
static const char *const pg_harmless[] = {"pg_typeof",    "pg_column_size", "pg_size_pretty",
                                          "pg_sleep",     "pg_size_bytes",  "pg_client_encoding",
                                          "pg_sleep_for", "pg_sleep_until", NULL};
/* Run SQL given as text, so what they read is hidden from us. */
static const char *const sql_runners[] = {"query_to_xml",
                                          "query_to_xmlschema",
                                          "query_to_xml_and_xmlschema",
                                          "table_to_xml",
                                          "table_to_xmlschema",
                                          "table_to_xml_and_xmlschema",
                                          "schema_to_xml",
                                          "schema_to_xmlschema",
                                          "schema_to_xml_and_xmlschema",
                                          "database_to_xml",
                                          "database_to_xmlschema",
                                          "database_to_xml_and_xmlschema",
                                          "cursor_to_xml",
                                          "cursor_to_xmlschema",
                                          "ts_stat",
                                          NULL};
static const char *const clocks[] = {
    "now", "transaction_timestamp", "statement_timestamp", "clock_timestamp", "timeofday", "age",
    NULL};

static int listed(const char *const *list, const char *name)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, name) == 0) {
            return 1;
        }
    }
    return 0;
}

static int row_compare(const void *name, const void *row)
{
    return strcmp(name, ((const struct function_row *)row)->name);
}

char function_builtin(const char *name)
{
    const struct function_row *row = bsearch(name, builtin, sizeof(builtin) / sizeof(builtin[0]),
                                             sizeof(builtin[0]), row_compare);
    return row == NULL ? 0 : row->class;
}

static enum function_class worse(enum function_class a, enum function_class b)
{
    return a > b ? a : b;
}

/* Class of the functions of this name that were made in this database; -1 without any. */
static int user_class(const struct build *b, const char *schema, const char *name)
{
    if (b->env->catalog == NULL) {
        return -1;
    }
    int class = -1;
    for (const struct catalog_function *f = catalog_function(b->env->catalog, name); f != NULL;
         f = catalog_function_more(f)) {
        if (schema != NULL && strcmp(schema, f->schema) != 0) {
            continue;
        }
        enum function_class c = f->kind == 'a' || f->kind == 'w' ? FUNCTION_UNKNOWN
                                : f->volatility == 'i'           ? FUNCTION_IMMUTABLE
                                : f->volatility == 's'           ? FUNCTION_STABLE
                                                                 : FUNCTION_VOLATILE;
        class = class < (int)c ? (int)c : class;
    }
    return class;
}

enum function_class function_class_of(const struct build *b, const PgQuery__FuncCall *f)
{
    const char *schema;
    const char *name = tree_name(f->funcname, f->n_funcname, &schema);
    int builtin_meant = schema == NULL || strcmp(schema, "pg_catalog") == 0;
    char c = builtin_meant ? function_builtin(name) : 0;
    enum function_class class = c == 'i'   ? FUNCTION_IMMUTABLE
                                : c == 's' ? FUNCTION_STABLE
                                : c == 'v' ? FUNCTION_VOLATILE
                                : c == 'a' ? FUNCTION_AGGREGATE
                                : c == 'w' ? FUNCTION_WINDOW
                                           : FUNCTION_UNKNOWN;
    if (c == 0 && builtin_meant && (listed(pg_harmless, name) || strncmp(name, "pg_", 3) == 0)) {
        class = FUNCTION_VOLATILE;
    }
    if (schema == NULL || !builtin_meant) {
        int user = user_class(b, schema, name);
        if (user >= 0) {
            class = c == 0 ? (enum function_class)user : worse(class, (enum function_class)user);
        }
    }
    return class;
}

struct walk {
    struct build *build;
    struct survey *out;
};

static void see_special(const char *name, struct survey *out)
{
    int server = strncmp(name, "pg_", 3) == 0 && !listed(pg_harmless, name);
    if (server || listed(home_functions, name) || strncmp(name, "lo_", 3) == 0 ||
        strncmp(name, "dblink", 6) == 0) {
        out->home = 1;
        out->home_function = name;
        out->sets_sequence |= strcmp(name, "setval") == 0;
        out->server |= strcmp(name, "nextval") != 0 && strcmp(name, "setval") != 0;
    }
    if (listed(sql_runners, name)) {
        out->bad_function = name;
    }
    if (listed(clocks, name)) {
        out->clock = 1;
    }
}

/* What the body of a function of users reaches. */
static void see_reach(struct walk *w, const struct reach *r, const char *name)
{
    struct survey *out = w->out;
    out->user_functions |= r->kind != REACH_NOTHING;
    out->pins |= r->pins;
    out->bodies_read |= r->reads != 0;
    out->bodies_write |= r->writes != 0;
    if (r->kind == REACH_UNKNOWN && out->bad_function == NULL) {
        out->bad_function = name;
        out->bad_why = r->why;
    } else if (r->kind == REACH_HOME) {
        out->home = out->server = 1;
        out->home_function = name;
    }
}

/* Functions of users of that name. 1: there are some, and they only read. */
static int see_bodies(struct walk *w, const PgQuery__FuncCall *f, const char *schema,
                      const char *name)
{
    struct build *b = w->build;
    struct survey *out = w->out;
    struct reach r;
    size_t count;
    const char *by;
    if (!b->several || b->env->catalog == NULL ||
        (schema != NULL && strcmp(schema, "pg_catalog") == 0)) {
        return 0;
    }
    struct relation changed = {.schema = REACH_FUNCTIONS, .name = name};
    reach_function(b, schema, name, &r, &count);
    if (relation_changed(b, &changed)) {
        r.kind = REACH_UNKNOWN;
        r.why = "it was changed in this transaction";
    }
    see_reach(w, &r, name);
    if (r.kind == REACH_KEYED) {
        struct reach_call *call = arena_zero(reach_state(b)->arena, sizeof(*call));
        *call = (struct reach_call){f, name, r, {{0}}, 0, w->out->calls};
        w->out->calls = call;
    }
    out->user_functions |= count > 0;
    int quiet = count > 0 && !r.writes && function_builtin(name) == 0;
    if (reach_hidden(b, 'a', name, &r, &by)) {
        see_reach(w, &r, name);
        quiet = 0;
    }
    return quiet;
}

static void see_operator(struct walk *w, tnode *const *names, size_t count)
{
    struct reach r;
    const char *by;
    if (w->build->several && w->build->env->catalog != NULL && count > 0 &&
        w->build->env->catalog->calls_count > 0 &&
        reach_hidden(w->build, 'o', tree_name(names, count, NULL), &r, &by)) {
        see_reach(w, &r, by);
    }
}

static void see_function(struct walk *w, const PgQuery__FuncCall *f)
{
    struct survey *out = w->out;
    const char *schema;
    const char *name = tree_name(f->funcname, f->n_funcname, &schema);
    enum function_class class = function_class_of(w->build, f);
    see_special(name, out);
    out->own_function |=
        schema != NULL && strcmp(schema, "braid") == 0 && strcmp(name, "changes") == 0;
    out->shows_temp |=
        strcmp(name, "current_schemas") == 0 && !(f->n_args == 1 && tree_boolean(f->args[0]) == 0);
    pins_see_function(w->build, f, name, out);
    int quiet = see_bodies(w, f, schema, name);
    out->clock |= (class == FUNCTION_STABLE || class == FUNCTION_VOLATILE) &&
                  user_class(w->build, schema, name) >= 0;
    if (class == FUNCTION_UNKNOWN) {
        out->unknown_functions = 1;
        out->unknown_function = name;
    }
    if (!w->build->several &&
        (class == FUNCTION_UNKNOWN || user_class(w->build, schema, name) == FUNCTION_VOLATILE)) {
        pins_see_user_function(w->build, name, out);
    }
    out->aggregates |= class == FUNCTION_AGGREGATE && f->over == NULL;
    out->immutable &=
        class == FUNCTION_IMMUTABLE || class == FUNCTION_AGGREGATE || class == FUNCTION_WINDOW;
    /* Volatile ones that only read are few; the others may write. */
    out->reads_only &= class != FUNCTION_UNKNOWN &&
                       (class != FUNCTION_VOLATILE || quiet || strcmp(name, "random") == 0 ||
                        strcmp(name, "clock_timestamp") == 0 || strcmp(name, "timeofday") == 0 ||
                        strcmp(name, "gen_random_uuid") == 0 || listed(pg_harmless, name));
}

/* t.name and (expression).name may call functions of that name. */
static void see_notation(struct walk *w, tnode *const *fields, size_t count)
{
    for (size_t i = 0; w->build->several && w->build->env->catalog != NULL && i < count; i++) {
        const char *name = tree_string(fields[i]);
        struct reach r;
        if (name != NULL && reach_notation(w->build, name, &r)) {
            see_reach(w, &r, name);
        }
    }
}

static void see_column(struct walk *w, const PgQuery__ColumnRef *c)
{
    struct survey *out = w->out;
    if (c->n_fields > 1) {
        see_notation(w, c->fields + 1, c->n_fields - 1);
    }
    static const char *const system[] = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", NULL};
    const char *name = c->n_fields == 0 ? NULL : tree_string(c->fields[c->n_fields - 1]);
    if (name != NULL && listed(system, name) && w->build->row_ids == NULL) {
        out->system_columns = 1;
    }
}

static void see_type(const PgQuery__TypeName *t, struct survey *out)
{
    const char *name = tree_name(t->names, t->n_names, NULL);
    if (strncmp(name, "reg", 3) == 0) {
        out->regcast = 1;
        out->immutable = 0;
    }
}

/* Casting text to a date looks at the clock ('now'), the time zone and DateStyle. */
static void see_cast(const PgQuery__TypeCast *c, struct survey *out)
{
    static const char *const settled[] = {
        "int2",    "int4",   "int8",   "text",  "varchar", "bpchar", "bool",     "uuid",
        "numeric", "float4", "float8", "bytea", "json",    "jsonb",  "interval", NULL};
    const char *name =
        c->type_name == NULL ? "" : tree_name(c->type_name->names, c->type_name->n_names, NULL);
    if (!listed(settled, name)) {
        out->immutable = 0;
        out->clock |= clock_word_inside(c->arg) != 0;
    }
}

static void see_param(struct walk *w, const PgQuery__ParamRef *p)
{
    struct survey *out = w->out;
    if (p->number <= 0 || p->number > 65535) {
        return; /* the server says what is wrong with it */
    }
    uint32_t n = (uint32_t)p->number;
    if (n > out->params_max) {
        uint16_t *uses = arena_zero(&w->build->scratch, n * sizeof(uint16_t));
        if (out->params_max > 0) {
            memcpy(uses, out->param_uses, out->params_max * sizeof(uint16_t));
        }
        out->param_uses = uses;
        out->params_max = n;
    }
    if (out->param_uses[n - 1] < UINT16_MAX) {
        out->param_uses[n - 1]++;
    }
}

static void see_collate(const PgQuery__CollateClause *c, struct survey *out)
{
    const char *name = tree_name(c->collname, c->n_collname, NULL);
    if (strcmp(name, "C") != 0 && strcmp(name, "POSIX") != 0) {
        out->collate = 1;
    }
}

static void see_value_function(const PgQuery__SQLValueFunction *f, struct survey *out)
{
    out->immutable = 0;
    if (f->op <= PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_LOCALTIMESTAMP_N) {
        out->clock = 1;
    }
}

static int see(const ProtobufCMessage *m, void *arg)
{
    struct walk *w = arg;
    struct survey *out = w->out;
    out->clock |= clock_words_in(m) != 0;
    if (MESSAGE_IS(m, func_call)) {
        see_function(w, (const PgQuery__FuncCall *)m);
    } else if (MESSAGE_IS(m, a__expr)) {
        see_operator(w, ((const PgQuery__AExpr *)m)->name, ((const PgQuery__AExpr *)m)->n_name);
    } else if (MESSAGE_IS(m, sub_link)) {
        see_operator(w, ((const PgQuery__SubLink *)m)->oper_name,
                     ((const PgQuery__SubLink *)m)->n_oper_name);
    } else if (MESSAGE_IS(m, param_ref)) {
        see_param(w, (const PgQuery__ParamRef *)m);
    } else if (MESSAGE_IS(m, column_ref)) {
        see_column(w, (const PgQuery__ColumnRef *)m);
    } else if (MESSAGE_IS(m, a__indirection)) {
        const PgQuery__AIndirection *i = (const PgQuery__AIndirection *)m;
        see_notation(w, i->indirection, i->n_indirection);
    } else if (MESSAGE_IS(m, type_name)) {
        see_type((const PgQuery__TypeName *)m, out);
    } else if (MESSAGE_IS(m, type_cast)) {
        see_cast((const PgQuery__TypeCast *)m, out);
    } else if (MESSAGE_IS(m, sqlvalue_function)) {
        see_value_function((const PgQuery__SQLValueFunction *)m, out);
    } else if (MESSAGE_IS(m, collate_clause)) {
        see_collate((const PgQuery__CollateClause *)m, out);
    } else if (MESSAGE_IS(m, locking_clause)) {
        /* A lock must be held until the whole transaction is over, also on a shard that writes
         * nothing: as a writer it is prepared, and a prepared transaction keeps its locks. */
        out->locking = 1;
        out->reads_only = 0;
    } else if (MESSAGE_IS(m, current_of_expr)) {
        out->current_of = 1;
    } else if (MESSAGE_IS(m, into_clause)) {
        out->reads_only = 0;
    } else if (MESSAGE_IS(m, common_table_expr)) {
        const tnode *q = ((const PgQuery__CommonTableExpr *)m)->ctequery;
        if (!IS(q, SELECT_STMT)) {
            out->changing_ctes = 1;
            out->reads_only = 0;
        }
    }
    return 1;
}

void survey_message(struct build *b, const ProtobufCMessage *m, struct survey *out)
{
    memset(out, 0, sizeof(*out));
    out->immutable = 1;
    out->reads_only = 1;
    struct walk w = {b, out};
    tree_walk(m, see, &w);
    struct reach r;
    const char *by;
    if (b->several && b->env->catalog != NULL && b->env->catalog->calls_count > 0 &&
        b->reach_depth == 0 && reach_hidden(b, 'k', NULL, &r, &by)) {
        see_reach(&w, &r, by); /* casts and domains may be anywhere */
    }
}

void survey_node(struct build *b, const tnode *n, struct survey *out)
{
    if (n == NULL || n->node_case == PG_QUERY__NODE__NODE__NOT_SET) {
        memset(out, 0, sizeof(*out));
        out->immutable = out->reads_only = 1;
        return;
    }
    survey_message(b, (const ProtobufCMessage *)n->alias, out);
}

static int see_volatile(const ProtobufCMessage *m, void *arg)
{
    struct walk *w = arg;
    const struct catalog *c = w->build->env->catalog;
    if (MESSAGE_IS(m, func_call)) {
        enum function_class class = function_class_of(w->build, (const PgQuery__FuncCall *)m);
        w->out->unknown_functions |= class == FUNCTION_VOLATILE || class == FUNCTION_UNKNOWN;
    } else if (MESSAGE_IS(m, a__expr) && c != NULL) {
        const PgQuery__AExpr *e = (const PgQuery__AExpr *)m;
        const char *name = e->n_name == 0 ? "" : tree_name(e->name, e->n_name, NULL);
        for (size_t i = 0; i < c->volatile_operators_count; i++) {
            w->out->unknown_functions |= strcmp(c->volatile_operators[i], name) == 0;
        }
    }
    return !w->out->unknown_functions;
}

int survey_is_volatile(struct build *b, const tnode *n)
{
    struct survey out = {0};
    struct walk w = {b, &out};
    tree_walk_node(n, see_volatile, &w);
    return out.unknown_functions;
}

void survey_merge(struct survey *into, const struct survey *part)
{
    into->immutable &= part->immutable;
    into->reads_only &= part->reads_only;
    into->clock |= part->clock;
    into->home |= part->home;
    into->server |= part->server;
    into->pins |= part->pins;
    into->unpins |= part->unpins;
    into->asks_sequence |= part->asks_sequence;
    into->user_functions |= part->user_functions;
    into->sets_sequence |= part->sets_sequence;
    into->aggregates |= part->aggregates;
    into->regcast |= part->regcast;
    into->system_columns |= part->system_columns;
    into->collate |= part->collate;
    into->locking |= part->locking;
    into->changing_ctes |= part->changing_ctes;
    into->unknown_functions |= part->unknown_functions;
    into->own_function |= part->own_function;
    into->current_of |= part->current_of;
    into->shows_temp |= part->shows_temp;
    into->session_change |= part->session_change;
    into->bodies_read |= part->bodies_read;
    into->bodies_write |= part->bodies_write;
    into->bad_why = into->bad_function == NULL ? part->bad_why : into->bad_why;
    into->bad_function = into->bad_function == NULL ? part->bad_function : into->bad_function;
    struct reach_call **end = &into->calls;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = part->calls;
    into->home_function = into->home_function == NULL ? part->home_function : into->home_function;
    into->unknown_function =
        into->unknown_function == NULL ? part->unknown_function : into->unknown_function;
}
