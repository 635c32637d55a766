/*
 * Bodies of functions. Each statement in a body is planned as if a client had sent it, with the
 * arguments as parameters; what comes out says what the function reaches:
 *
 *     anywhere             a server may run it wherever it is: REACH_NOTHING
 *     the home shard       REACH_HOME
 *     a key that is $n     REACH_KEYED by argument n
 *     several shards, or refused: REACH_UNKNOWN, and the function is refused
 *
 * Names in a body mean what they mean by the search_path of the session, unless the function sets
 * its own.
 */

#include <string.h>
#include <strings.h>

#include "planner/reach.h"

enum {
    ARGS_MAX = 64
};

struct body {
    struct build inner;
    struct arena *arena; /* of the whole text */
    struct plan_env env;
    struct plan_batch batch; /* as the outer one for looking at, never kept */
    const PgQuery__CreateFunctionStmt *create;
    uint32_t types[ARGS_MAX];
    const char *names[ARGS_MAX]; /* of input arguments, "": none */
    uint16_t places[ARGS_MAX];   /* among all arguments */
    size_t args_count;
    uint8_t changes[ARGS_MAX]; /* the variable need not be what the argument was */
    uint8_t no_key;            /* ... of any argument */
    uint8_t is_trigger;
    struct reach *out;
};

/* ---- the head of CREATE FUNCTION --------------------------------------------------------------
 */

static int is_input(const PgQuery__FunctionParameter *p)
{
    return p->mode != PG_QUERY__FUNCTION_PARAMETER_MODE__FUNC_PARAM_OUT &&
           p->mode != PG_QUERY__FUNCTION_PARAMETER_MODE__FUNC_PARAM_TABLE;
}

static void read_args(struct body *y)
{
    int outputs = 0;
    for (size_t i = 0; i < y->create->n_parameters; i++) {
        const PgQuery__FunctionParameter *p = y->create->parameters[i]->function_parameter;
        if (!is_input(p)) {
            outputs = 1;
            continue;
        }
        if (y->args_count == ARGS_MAX || outputs ||
            p->mode == PG_QUERY__FUNCTION_PARAMETER_MODE__FUNC_PARAM_VARIADIC) {
            y->no_key = 1; /* their numbers are not worth following */
            return;
        }
        y->types[y->args_count] = value_type_of(p->arg_type, 0);
        y->names[y->args_count] = p->name;
        y->places[y->args_count] = (uint16_t)i;
        y->args_count++;
    }
}

/* SET search_path TO ... of the function; 0: something that cannot be followed. */
static int read_setting(struct body *y, const PgQuery__VariableSetStmt *v)
{
    if (strcmp(v->name, "search_path") != 0) {
        return strcmp(v->name, "role") != 0 && strcmp(v->name, "session_authorization") != 0;
    }
    struct buf text = {0};
    for (size_t i = 0; i < v->n_args; i++) {
        const tnode *n = v->args[i];
        if (!IS(n, A_CONST) || n->a_const->val_case != PG_QUERY__A__CONST__VAL_SVAL) {
            buf_free(&text);
            return 0;
        }
        buf_text(&text, i == 0 ? "" : ", ");
        sql_put_quoted(&text, '"', n->a_const->sval->sval);
    }
    y->env.search_path = text.n == 0 ? "" : arena_strndup(y->arena, text.p, text.n);
    y->inner.path_count = 0; /* read anew */
    buf_free(&text);
    return v->n_args > 0;
}

static int read_head(struct body *y, const char **language, const char **as)
{
    *language = *as = NULL;
    for (size_t i = 0; i < y->create->n_options; i++) {
        const PgQuery__DefElem *d =
            IS(y->create->options[i], DEF_ELEM) ? y->create->options[i]->def_elem : NULL;
        if (d == NULL) {
            continue;
        }
        if (strcmp(d->defname, "language") == 0) {
            *language = tree_option_text(d, y->arena);
        } else if (strcmp(d->defname, "as") == 0 && IS(d->arg, LIST) && d->arg->list->n_items > 0) {
            *as = tree_string(d->arg->list->items[0]);
        } else if (strcmp(d->defname, "set") == 0 && IS(d->arg, VARIABLE_SET_STMT) &&
                   !read_setting(y, d->arg->variable_set_stmt)) {
            return 0;
        }
    }
    return 1;
}

/* ---- names of arguments -----------------------------------------------------------------------
 */

struct argument_walk {
    struct body *body;
    int tables; /* whether a relation in the statement has a column of that name */
    const char *name;
};

static int see_table(const ProtobufCMessage *m, void *arg)
{
    struct argument_walk *w = arg;
    if (MESSAGE_IS(m, range_var)) {
        struct relation r;
        relation_of(&w->body->inner, (const PgQuery__RangeVar *)m, &r);
        w->tables |= r.known == NULL || catalog_column(r.known, w->name) != NULL;
    } else if (MESSAGE_IS(m, alias) || MESSAGE_IS(m, res_target)) {
        const char *name = MESSAGE_IS(m, alias) ? ((const PgQuery__Alias *)m)->aliasname
                                                : ((const PgQuery__ResTarget *)m)->name;
        w->tables |= strcmp(name, w->name) == 0;
    }
    return 1;
}

static int is_column_somewhere(struct body *y, const tnode *stmt, const char *name)
{
    struct argument_walk w = {y, 0, name};
    tree_walk_node(stmt, see_table, &w);
    return w.tables;
}

struct replace_walk {
    struct body *body;
    const tnode *stmt;
};

static void become_param(struct body *y, tnode *n, size_t argument)
{
    if (argument < y->args_count) {
        PgQuery__ParamRef *p = arena_alloc(y->arena, sizeof(*p));
        pg_query__param_ref__init(p);
        p->number = (int32_t)argument + 1;
        n->node_case = NODE(PARAM_REF);
        n->param_ref = p;
    }
}

/* NEW.name and OLD.name of a trigger count as an argument when some table has such a key. Keys
 * cannot be changed, so both are the same. */
static size_t row_argument(struct body *y, const char *name)
{
    const struct map *map = y->env.map;
    size_t i = 0;
    while (i < y->args_count && strcmp(y->names[i], name) != 0) {
        i++;
    }
    for (size_t t = 0; i == y->args_count && i < ARGS_MAX && t < map->tables_count; t++) {
        for (size_t k = 0; k < map->tables[t].keys_count; k++) {
            if (strcmp(map->tables[t].keys[k], name) == 0 && map->tables[t].key_types[k] != 0) {
                y->types[i] = map->tables[t].key_types[k];
                y->names[i] = name;
                y->env.param_types_count = ++y->args_count;
                return i;
            }
        }
    }
    return i;
}

/* Nodes that are `name` or `function.name` of an argument become its $n. The walk gives messages,
 * so the node around a column is found through the fields that may hold one. */
static void replace_argument(struct body *y, const tnode *stmt, tnode *n)
{
    if (!IS(n, COLUMN_REF) || n->column_ref->n_fields > 2 || n->column_ref->n_fields == 0) {
        return;
    }
    const PgQuery__ColumnRef *c = n->column_ref;
    const char *name = tree_string(c->fields[c->n_fields - 1]);
    const char *function = c->n_fields == 2 ? tree_string(c->fields[0]) : NULL;
    if (y->is_trigger && function != NULL && name != NULL &&
        (strcmp(function, "new") == 0 || strcmp(function, "old") == 0)) {
        become_param(y, n, row_argument(y, name));
        return;
    }
    const char *own = tree_name(y->create->funcname, y->create->n_funcname, NULL);
    if (name == NULL || (c->n_fields == 2 && (function == NULL || strcmp(function, own) != 0))) {
        return;
    }
    for (size_t i = 0; i < y->args_count; i++) {
        if (y->names[i][0] == 0 || strcmp(y->names[i], name) != 0 ||
            is_column_somewhere(y, stmt, name)) {
            continue;
        }
        become_param(y, n, i);
        return;
    }
}

static int see_operands(const ProtobufCMessage *m, void *arg)
{
    struct replace_walk *w = arg;
    if (MESSAGE_IS(m, a__expr)) {
        const PgQuery__AExpr *e = (const PgQuery__AExpr *)m;
        replace_argument(w->body, w->stmt, e->lexpr);
        replace_argument(w->body, w->stmt, e->rexpr);
    } else if (MESSAGE_IS(m, list)) {
        const PgQuery__List *l = (const PgQuery__List *)m;
        for (size_t i = 0; i < l->n_items; i++) {
            replace_argument(w->body, w->stmt, l->items[i]);
        }
    } else if (MESSAGE_IS(m, row_expr)) {
        const PgQuery__RowExpr *r = (const PgQuery__RowExpr *)m;
        for (size_t i = 0; i < r->n_args; i++) {
            replace_argument(w->body, w->stmt, r->args[i]);
        }
    } else if (MESSAGE_IS(m, func_call)) {
        const PgQuery__FuncCall *f = (const PgQuery__FuncCall *)m;
        for (size_t i = 0; i < f->n_args; i++) {
            replace_argument(w->body, w->stmt, f->args[i]);
        }
    } else if (MESSAGE_IS(m, type_cast)) {
        replace_argument(w->body, w->stmt, ((const PgQuery__TypeCast *)m)->arg);
    } else if (MESSAGE_IS(m, res_target)) {
        replace_argument(w->body, w->stmt, ((const PgQuery__ResTarget *)m)->val);
    }
    return 1;
}

/* ---- statements of a body ---------------------------------------------------------------------
 */

/* The key of a plan for one shard as numbers of arguments. */
static void keyed(struct body *y, const struct plan *p, struct reach *part)
{
    part->kind = REACH_KEYED;
    for (size_t i = 0; i < p->_where->bindings_count; i++) {
        const struct binding *g = &p->_where->bindings[i];
        struct reach one = *part;
        one.table = g->table;
        for (size_t k = 0; k < g->table->keys_count; k++) {
            const struct value *v = g->keys[k].count == 1 ? &g->keys[k].items[0] : NULL;
            if (y->no_key || v == NULL || v->kind != VALUE_PARAM || v->param >= y->args_count ||
                y->changes[v->param]) {
                reach_unknown(part, "it uses sharded tables at keys that are not its arguments");
                return;
            }
            one.args[k] = v->param;
            one.arg_names[k] = y->names[v->param];
        }
        one.key_written = g->written;
        if (i == 0) {
            *part = one;
        } else {
            reach_add(part, &one);
        }
    }
}

static int see_any_table(const ProtobufCMessage *m, void *arg)
{
    *(int *)arg |= MESSAGE_IS(m, range_var);
    return 1;
}

static void take_plan(struct body *y, const tnode *stmt, const struct plan *p)
{
    int reads = 0;
    tree_walk_node(stmt, see_any_table, &reads);
    struct reach part = {
        .writes = !p->reads_only, .reads = reads || y->inner.survey.bodies_read, .pins = p->pins};
    if (p->kind == PLAN_REFUSE) {
        reach_unknown(&part, arena_strdup(y->arena, p->note.text));
    } else if (p->kind != PLAN_ONE || p->_where == NULL) {
        reach_unknown(&part, p->same_counts ? "it changes a reference table"
                                            : "it uses sharded tables without their keys");
    } else if (p->_where->fixed == 0) {
        keyed(y, p, &part);
    } else {
        part.kind = p->_where->any ? REACH_NOTHING : REACH_HOME;
    }
    reach_add(y->out, &part);
}

static int is_query(const tnode *n)
{
    switch ((int)n->node_case) {
    case NODE(SELECT_STMT): return n->select_stmt->into_clause == NULL;
    case NODE(INSERT_STMT):
    case NODE(UPDATE_STMT):
    case NODE(DELETE_STMT):
    case NODE(CALL_STMT): return 1;
    default: return 0;
    }
}

static void reach_statement(struct body *y, tnode *stmt, struct slice text)
{
    if (!is_query(stmt)) {
        reach_unknown(y->out, "it runs statements that are neither queries nor writes");
        return;
    }
    struct replace_walk w = {y, stmt};
    tree_walk_node(stmt, see_operands, &w);
    survey_node(&y->inner, stmt, &y->inner.survey);
    struct plan *p = plan_new(&y->inner, text);
    p->pins = y->inner.survey.pins;
    plan_statement(&y->inner, stmt, p);
    p->reads_only = IS(stmt, SELECT_STMT) && p->reads_only;
    take_plan(y, stmt, p);
}

/* All statements of a text. 0: it cannot be parsed. */
static int reach_text(struct body *y, const char *text)
{
    PgQuery__ParseResult *parsed = NULL;
    struct note note;
    int position;
    struct slice sql = arena_copy(y->arena, slice_of(text));
    if (tree_parse(sql, y->arena, &parsed, &position, &note)) {
        return 0;
    }
    for (size_t i = 0; i < parsed->n_stmts; i++) {
        reach_statement(y, parsed->stmts[i]->stmt, sql);
    }
    return 1;
}

/* RETURN expression, BEGIN ATOMIC statements END. */
static void reach_nodes(struct body *y, tnode *n)
{
    if (n == NULL || n->node_case == PG_QUERY__NODE__NODE__NOT_SET) {
        return;
    }
    if (IS(n, LIST)) {
        for (size_t i = 0; i < n->list->n_items; i++) {
            reach_nodes(y, n->list->items[i]);
        }
    } else if (IS(n, RETURN_STMT)) {
        tnode *target = tree_target(y->arena, n->return_stmt->returnval, NULL);
        PgQuery__SelectStmt *q = arena_alloc(y->arena, sizeof(*q));
        pg_query__select_stmt__init(q);
        tnode **list = arena_alloc(y->arena, sizeof(*list));
        list[0] = target;
        q->target_list = list;
        q->n_target_list = 1;
        reach_statement(y, tree_new(y->arena, NODE(SELECT_STMT), q), SLICE(""));
    } else {
        reach_statement(y, n, SLICE(""));
    }
}

/* A statement, an expression or an assignment of PL/pgSQL. */
static void reach_plpgsql_text(struct body *y, const char *text)
{
    const char *assign = strstr(text, ":=");
    if (reach_text(y, text) || reach_text(y, arena_printf(y->arena, "SELECT %s", text))) {
        return;
    }
    if (assign == NULL || memchr(text, '(', (size_t)(assign - text)) != NULL ||
        !reach_text(y, arena_printf(y->arena, "SELECT %s", assign + 2))) {
        reach_unknown(y->out, "its body cannot be read");
    }
}

static int has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = strcasestr(text, word); p != NULL; p = strcasestr(p + 1, word)) {
        static const char in_word[] =
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$";
        int before = p > text && strchr(in_word, p[-1]) != NULL;
        if (!before && (p[n] == 0 || strchr(in_word, p[n]) == NULL)) {
            return 1;
        }
    }
    return 0;
}

/* Names of sharded tables that stand in the body but in no SQL that was found there, other than as
 * types of variables. */
static int is_hidden(const struct body *y, const struct plpgsql *found, const char *body)
{
    const struct map *map = y->env.map;
    for (size_t i = 0; i < map->tables_count; i++) {
        const char *name = map->tables[i].name;
        if (!has_word(body, name)) {
            continue;
        }
        size_t k = 0;
        while (k < found->sql_count && !has_word(found->sql[k], name)) {
            k++;
        }
        if (k == found->sql_count &&
            strcasestr(body, arena_printf(y->arena, "%s%%", name)) == NULL) {
            return 1;
        }
    }
    return 0;
}

static void reach_plpgsql(struct body *y, const char *definition, const char *as)
{
    struct plpgsql *found = arena_alloc(y->arena, sizeof(*found));
    if (!plpgsql_read(definition, y->arena, found)) {
        reach_unknown(y->out, found->why);
        return;
    }
    y->no_key |= strstr(as, "#variable_conflict") != NULL; /* a name may be another's */
    if (is_hidden(y, found, as)) {
        reach_unknown(y->out, "its body cannot be followed");
    }
    const PgQuery__TypeName *returns = y->create->return_type;
    y->is_trigger = returns != NULL &&
                    strcmp(tree_name(returns->names, returns->n_names, NULL), "trigger") == 0;
    y->out->row_columns = found->row;
    y->out->row_columns_count = found->row_count;
    y->out->row_any = found->row_any;
    for (size_t i = 0; i < y->args_count; i++) {
        size_t places = 0;
        for (size_t k = 0; k < found->names_count && y->names[i][0] != 0; k++) {
            places += strcmp(found->names[k], y->names[i]) == 0;
        }
        /* Another variable of that name, or one that is assigned to: it is no longer the argument.
         */
        y->changes[i] =
            places > 1 || y->places[i] >= 64 || (found->assigned >> y->places[i] & 1) != 0;
    }
    for (size_t i = 0; i < found->sql_count && y->out->kind != REACH_UNKNOWN; i++) {
        reach_plpgsql_text(y, found->sql[i]);
    }
}

static void body_open(struct body *y, struct build *b)
{
    y->env = *b->env;
    y->env.extended = 1;
    y->env.workspace = 0;
    y->env.param_types = y->types;
    y->batch = *b->batch;
    reach_build(b, &y->env, &y->batch, &y->inner);
    y->inner.path_count = 0; /* the session's, whatever names around the call mean */
}

void reach_definition(struct build *b, const char *definition, struct reach *out)
{
    struct body *y = arena_zero(reach_state(b)->arena, sizeof(*y));
    PgQuery__ParseResult *parsed = NULL;
    struct note note;
    int position;
    const char *language, *as;
    *out = (struct reach){0};
    y->out = out;
    y->arena = b->reach->arena;
    if (tree_parse(arena_copy(y->arena, slice_of(definition)), y->arena, &parsed, &position,
                   &note) ||
        parsed->n_stmts != 1 || !IS(parsed->stmts[0]->stmt, CREATE_FUNCTION_STMT)) {
        reach_unknown(out, "its body cannot be read");
        return;
    }
    body_open(y, b);
    y->create = parsed->stmts[0]->stmt->create_function_stmt;
    if (!read_head(y, &language, &as)) {
        reach_unknown(out, "it has settings of its own that cannot be followed");
    } else {
        read_args(y);
        y->env.param_types_count = y->args_count;
        if (y->create->sql_body != NULL) {
            reach_nodes(y, y->create->sql_body);
        } else if (as == NULL || language == NULL) {
            reach_unknown(out, "its body cannot be read");
        } else if (strcmp(language, "sql") == 0) {
            if (!reach_text(y, as)) {
                reach_unknown(out, "its body cannot be read");
            }
        } else if (strcmp(language, "plpgsql") == 0) {
            reach_plpgsql(y, definition, as);
        } else {
            reach_unknown(out, "its language cannot be read");
        }
    }
    arena_free(&y->inner.scratch);
}
