/*
 * What a statement draws from sequences, as far as that is certain: so the proxy can remember for a
 * session what currval() and lastval() say when its transaction is over.
 *
 *     SELECT nextval('s')                          draws from s
 *     INSERT INTO t (note) VALUES ('x'), ('y')     ... from the sequence that is t.id's default
 *     SELECT f()                                   nobody knows: a function may draw from any
 *
 * In any doubt (functions, triggers and rules of users, views that call them, FETCH, EXECUTE) it is
 * DRAWS_UNSEEN: what was remembered is then not used any more.
 */

#include <ctype.h>
#include <string.h>

#include "planner/write_inner.h"

struct draws {
    struct build *build;
    struct plan_seen *seen;
    size_t count;
    size_t calls; /* nextval() and setval() in the statement, */
    size_t told;  /* ... those whose sequence is known */
    unsigned unseen : 1;
    unsigned defaults : 1; /* a DEFAULT somewhere */
};

/* ---- names ----------------------------------------------------------------------------------- */

/* One part of a name as it stands in 'public."My seq"'; NULL: no such. */
static const char *name_part(const char **at, struct arena *a)
{
    struct buf out = {0};
    const char *c = *at;
    int quoted = *c == '"';
    for (c += quoted; *c != '\0' && (quoted ? *c != '"' || c[1] == '"' : *c != '.'); c++) {
        if (!quoted && !isalnum((unsigned char)*c) && *c != '_') {
            buf_free(&out);
            return NULL;
        }
        c += quoted && *c == '"';
        buf_u8(&out, (uint8_t)(quoted ? *c : tolower((unsigned char)*c)));
    }
    const char *name = out.n == 0 || (quoted && *c != '"') ? NULL : arena_strndup(a, out.p, out.n);
    *at = c + (quoted && *c == '"');
    buf_free(&out);
    return name;
}

/* The sequence of that name, as home numbers it; 0: not known. */
static uint64_t sequence_named(struct build *b, const char *text)
{
    const char *at = text;
    const char *schema = NULL;
    const char *name = name_part(&at, &b->scratch);
    if (name != NULL && *at == '.') {
        at++;
        schema = name;
        name = name_part(&at, &b->scratch);
    }
    if (name == NULL || *at != '\0') {
        return 0;
    }
    struct relation r;
    relation_find(b, schema, name, &r);
    return r.known != NULL && r.known->kind == 'S' && !relation_changed(b, &r) ? r.known->oid : 0;
}

/* 'public.s'::regclass of nextval('public.s'::regclass); NULL: it is something else. */
const char *column_sequence(struct build *b, const struct catalog_column *c)
{
    static const char before[] = "nextval('";
    static const char behind[] = "'::regclass)";
    const char *text = c->default_text;
    size_t n = text == NULL ? 0 : strlen(text);
    if (n <= sizeof(before) + sizeof(behind) - 2 || memcmp(text, before, sizeof(before) - 1) != 0 ||
        strcmp(text + n - (sizeof(behind) - 1), behind) != 0) {
        return NULL;
    }
    size_t from = sizeof(before) - 2; /* with its quote */
    struct slice name = slice_bytes(text + from, n - 1 - from);
    struct slice inside = slice_bytes(name.p + 1, name.n - sizeof(behind) + 1);
    return memchr(inside.p, '\'', inside.n) == NULL ? arena_strndup(b->out, name.p, name.n) : NULL;
}

uint64_t draws_of_default(struct build *b, const struct catalog_column *c)
{
    const char *quoted = c->default_kind == DEFAULT_SEQUENCE ? column_sequence(b, c) : NULL;
    if (quoted == NULL) {
        return 0;
    }
    const char *end = strchr(quoted + 1, '\'');
    return end == NULL ? 0
                       : sequence_named(
                             b, arena_strndup(&b->scratch, quoted + 1, (size_t)(end - quoted - 1)));
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* nextval(), setval() of PostgreSQL's own. */
static int is_call(const struct build *b, const PgQuery__FuncCall *f, const char *wanted)
{
    const char *schema;
    const char *name = tree_name(f->funcname, f->n_funcname, &schema);
    return strcmp(name, wanted) == 0 && (schema == NULL || strcmp(schema, "pg_catalog") == 0) &&
           catalog_function(b->env->catalog, name) == NULL;
}

/* The sequence that 's' or 's'::regclass names. */
static uint64_t sequence_of_argument(struct build *b, const tnode *n)
{
    if (IS(n, TYPE_CAST) && n->type_cast->type_name != NULL &&
        strcmp(tree_name(n->type_cast->type_name->names, n->type_cast->type_name->n_names, NULL),
               "regclass") == 0) {
        n = n->type_cast->arg;
    }
    return IS(n, A_CONST) && n->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL
               ? sequence_named(b, n->a_const->sval->sval)
               : 0;
}

static void add(struct draws *d, uint64_t sequence, int16_t column, int moves)
{
    d->unseen |= sequence == 0 || d->count == PLAN_SEEN_MAX;
    if (!d->unseen) {
        d->seen[d->count++] = (struct plan_seen){
            .sequence = sequence, .column = column, .source = UINT16_MAX, .moves = moves != 0};
    }
}

/* A value that is nextval('s') and nothing more. */
static uint64_t drawn_by(struct draws *d, const tnode *n)
{
    if (!IS(n, FUNC_CALL) || n->func_call->n_args != 1 ||
        !is_call(d->build, n->func_call, "nextval")) {
        return 0;
    }
    d->told++;
    return sequence_of_argument(d->build, n->func_call->args[0]);
}

/* A column of SELECT: nextval('s'), or setval('s', 7), which is_called = false makes another. */
static void see_target(struct draws *d, const tnode *n)
{
    const tnode *value = IS(n, RES_TARGET) ? n->res_target->val : NULL;
    if (!IS(value, FUNC_CALL)) {
        return;
    }
    const PgQuery__FuncCall *f = value->func_call;
    if (f->n_args == 1 && is_call(d->build, f, "nextval")) {
        add(d, drawn_by(d, value), 0, 1);
    } else if (is_call(d->build, f, "setval") &&
               (f->n_args == 2 || (f->n_args == 3 && tree_boolean(f->args[2]) == 1))) {
        d->told++;
        add(d, sequence_of_argument(d->build, f->args[0]), 0, 0);
    }
}

/* ---- what may draw unseen -------------------------------------------------------------------- */

/* Whether a text as PostgreSQL prints it calls what may draw: name(...). */
static int text_draws(struct build *b, const char *text)
{
    for (const char *c = strchr(text, '('); c != NULL; c = strchr(c + 1, '(')) {
        const char *end = c;
        end -= end > text && end[-1] == '"';
        const char *from = end;
        while (from > text && (isalnum((unsigned char)from[-1]) || from[-1] == '_' ||
                               from[-1] == '$' || (unsigned char)from[-1] >= 0x80)) {
            from--;
        }
        const char *name = arena_strndup(&b->scratch, from, (size_t)(end - from));
        if (strcmp(name, "nextval") == 0 || strcmp(name, "setval") == 0 ||
            (end != c && from == end) || catalog_function(b->env->catalog, name) != NULL) {
            return 1;
        }
    }
    return 0;
}

/* Triggers, rules, defaults, checks, policies of a table, and of those below it. `events`: enum
 * trigger_event; 0: it is read. */
static int table_draws(struct build *b, const struct catalog_table *t, int events, int depth)
{
    int fires = (t->fires_before | t->fires_after | t->fires_statement) & events;
    if (depth > 8 || fires || (events != 0 && t->has_rules)) {
        return 1;
    }
    for (size_t i = 0; i < t->calls_count; i++) {
        char kind = t->calls[i].kind;
        if (kind == 'p' || (events != 0 && kind != 't' && kind != 'b')) {
            return 1;
        }
    }
    for (size_t i = 0; i < t->policies_count; i++) {
        if (text_draws(b, t->policies[i])) {
            return 1;
        }
    }
    for (size_t i = 0; i < t->children_count; i++) {
        if (table_draws(b, t->children[i], events, depth + 1)) {
            return 1;
        }
    }
    return 0;
}

static int view_draws(struct build *b, const struct catalog_table *view)
{
    if (strcmp(view->schema, "pg_catalog") == 0 ||
        strcmp(view->schema, "information_schema") == 0) {
        return 0;
    }
    for (size_t i = 0; i < view->under_count; i++) {
        const struct catalog_table *t = view->under[i];
        if (t->kind == 'v' ? t->definition == NULL || text_draws(b, t->definition)
                           : table_draws(b, t, 0, 0)) {
            return 1;
        }
    }
    return view->definition == NULL || text_draws(b, view->definition);
}

/* A name without a schema may be that of a WITH query, but then of no relation that is unknown. */
static void see_relation(struct draws *d, const PgQuery__RangeVar *v)
{
    struct relation r;
    struct build *b = d->build;
    if (strcmp(v->schemaname, "pg_catalog") == 0 ||
        strcmp(v->schemaname, "information_schema") == 0) {
        return;
    }
    relation_of(b, v, &r);
    d->unseen |= r.known == NULL || relation_changed(b, &r) ||
                 (r.known->kind == 'v' ? view_draws(b, r.known) : table_draws(b, r.known, 0, 0));
}

static int see(const ProtobufCMessage *m, void *arg)
{
    struct draws *d = arg;
    if (MESSAGE_IS(m, range_var)) {
        see_relation(d, (const PgQuery__RangeVar *)m);
    } else if (MESSAGE_IS(m, set_to_default)) {
        d->defaults = 1;
    } else if (MESSAGE_IS(m, func_call)) {
        const PgQuery__FuncCall *f = (const PgQuery__FuncCall *)m;
        d->calls += is_call(d->build, f, "nextval") || is_call(d->build, f, "setval");
    }
    return !d->unseen;
}

/* ---- statements ------------------------------------------------------------------------------ */

/* It gives one row, whatever the data. */
static int gives_one_row(const PgQuery__SelectStmt *q)
{
    return q->n_from_clause == 0 && q->where_clause == NULL && q->n_group_clause == 0 &&
           q->having_clause == NULL && q->limit_count == NULL && q->limit_offset == NULL &&
           q->n_values_lists == 0 && q->n_distinct_clause == 0 && q->with_clause == NULL &&
           q->op == PG_QUERY__SET_OPERATION__SETOP_NONE;
}

static void see_select(struct draws *d, const PgQuery__SelectStmt *q)
{
    d->unseen |= q->into_clause != NULL;
    for (size_t i = 0; d->calls > 0 && gives_one_row(q) && i < q->n_target_list; i++) {
        see_target(d, q->target_list[i]);
    }
}

/* Where a column's values stand in VALUES; -1: it is left open. */
static int place_of(const PgQuery__InsertStmt *q, const struct catalog_table *t, size_t column,
                    size_t given)
{
    for (size_t i = 0; i < q->n_cols; i++) {
        if (IS(q->cols[i], RES_TARGET) &&
            strcmp(q->cols[i]->res_target->name, t->columns[column].name) == 0) {
            return (int)i;
        }
    }
    return q->n_cols == 0 && column < given ? (int)column : -1;
}

/* What each row's value is drawn from; 0: it is given. Differing rows are left unseen. */
static uint64_t cells_draw(struct draws *d, const PgQuery__SelectStmt *q, size_t at,
                           const struct catalog_column *c)
{
    uint64_t all = 0;
    for (size_t i = 0; i < q->n_values_lists; i++) {
        const tnode *row = q->values_lists[i];
        const tnode *cell = IS(row, LIST) && at < row->list->n_items ? row->list->items[at] : NULL;
        int by_default = IS(cell, SET_TO_DEFAULT) && c->default_kind == DEFAULT_SEQUENCE;
        uint64_t one = cell == NULL ? 0
                       : by_default ? draws_of_default(d->build, c)
                                    : drawn_by(d, cell);
        d->unseen |= (by_default && one == 0) || (i > 0 && one != all);
        all = one;
    }
    return all;
}

static void see_column(struct draws *d, const PgQuery__InsertStmt *q, const struct catalog_table *t,
                       size_t column, size_t given)
{
    const struct catalog_column *c = &t->columns[column];
    int at = place_of(q, t, column, given);
    const PgQuery__SelectStmt *rows = q->select_stmt == NULL ? NULL : q->select_stmt->select_stmt;
    if (at < 0 && c->default_kind == DEFAULT_SEQUENCE) {
        add(d, draws_of_default(d->build, c), c->number, 1);
    } else if (at < 0 || (rows->n_values_lists > 0 && d->defaults)) {
        d->unseen |= c->default_kind == DEFAULT_EXPRESSION && c->default_text != NULL &&
                     text_draws(d->build, c->default_text);
    }
    if (at >= 0 && rows->n_values_lists > 0) {
        uint64_t sequence = cells_draw(d, rows, (size_t)at, c);
        if (sequence != 0) {
            add(d, sequence, c->number, 1);
        }
    }
}

static void see_insert(struct draws *d, const PgQuery__InsertStmt *q)
{
    struct relation r;
    relation_of(d->build, q->relation, &r);
    const struct catalog_table *t = r.known;
    const tnode *source = q->select_stmt;
    d->unseen |= t == NULL || (t->kind != 'r' && t->kind != 'p') ||
                 table_draws(d->build, t, TRIGGER_INSERT, 0) || q->with_clause != NULL ||
                 q->override != PG_QUERY__OVERRIDING_KIND__OVERRIDING_NOT_SET ||
                 (source != NULL && !IS(source, SELECT_STMT)) || q->on_conflict_clause != NULL;
    if (d->unseen) {
        return;
    }
    size_t given = t->columns_count;
    if (source == NULL) {
        given = 0;
    } else if (source->select_stmt->n_values_lists > 0) {
        const tnode *row = source->select_stmt->values_lists[0];
        given = IS(row, LIST) ? row->list->n_items : 0;
    } else { /* how many columns it gives only the server knows */
        d->unseen |= q->n_cols == 0;
    }
    for (size_t i = 0; i < t->columns_count && !d->unseen; i++) {
        see_column(d, q, t, i, given);
    }
    /* of no row nothing is drawn */
    d->unseen |= d->count > 0 && source != NULL && source->select_stmt->n_values_lists == 0 &&
                 r.table == NULL;
}

/* COPY ... FROM STDIN: no rows, no ids. */
static void see_copy(struct draws *d, const PgQuery__CopyStmt *c)
{
    struct relation r;
    d->unseen |= !c->is_from || c->relation == NULL;
    if (d->unseen) {
        return;
    }
    relation_of(d->build, c->relation, &r);
    d->unseen |=
        r.known == NULL || r.table == NULL || table_draws(d->build, r.known, TRIGGER_INSERT, 0);
    for (size_t i = 0; !d->unseen && c->n_attlist > 0 && i < r.known->columns_count; i++) {
        const struct catalog_column *column = &r.known->columns[i];
        int given = 0;
        for (size_t k = 0; k < c->n_attlist; k++) {
            given |= strcmp(tree_string(c->attlist[k]), column->name) == 0;
        }
        if (!given && column->default_kind == DEFAULT_SEQUENCE) {
            add(d, draws_of_default(d->build, column), column->number, 1);
        } else if (!given && column->default_kind == DEFAULT_EXPRESSION) {
            d->unseen |= column->default_text != NULL && text_draws(d->build, column->default_text);
        }
    }
}

/* What a foreign key does to other tables may fire their triggers and take their defaults. */
static void see_change(struct draws *d, const PgQuery__RangeVar *v, int events)
{
    struct relation r;
    relation_of(d->build, v, &r);
    d->unseen |= r.known == NULL || (r.known->kind != 'r' && r.known->kind != 'p') ||
                 r.known->referred_acts || d->defaults || table_draws(d->build, r.known, events, 0);
}

static int draws_nothing(const tnode *n)
{
    switch ((int)n->node_case) {
    case NODE(TRANSACTION_STMT):
    case NODE(VARIABLE_SET_STMT):
    case NODE(VARIABLE_SHOW_STMT):
    case NODE(LISTEN_STMT):
    case NODE(UNLISTEN_STMT):
    case NODE(NOTIFY_STMT):
    case NODE(LOCK_STMT):
    case NODE(PREPARE_STMT):
    case NODE(DEALLOCATE_STMT):
    case NODE(CONSTRAINTS_SET_STMT): return 1;
    default: return 0;
    }
}

static void see_statement(struct draws *d, const tnode *n)
{
    const struct survey *v = &d->build->survey;
    d->unseen |= v->unknown_functions || v->user_functions || v->changing_ctes ||
                 v->calls != NULL || v->bad_function != NULL;
    if (!d->unseen) {
        tree_walk_node(n, see, d);
    }
    if (d->unseen) {
        return;
    }
    switch ((int)n->node_case) {
    case NODE(SELECT_STMT): see_select(d, n->select_stmt); break;
    case NODE(INSERT_STMT): see_insert(d, n->insert_stmt); break;
    case NODE(UPDATE_STMT):
        see_change(d, n->update_stmt->relation, TRIGGER_UPDATE | TRIGGER_DELETE | TRIGGER_INSERT);
        break;
    case NODE(DELETE_STMT): see_change(d, n->delete_stmt->relation, TRIGGER_DELETE); break;
    case NODE(COPY_STMT): see_copy(d, n->copy_stmt); break;
    default: d->unseen = 1;
    }
    d->unseen |= d->told != d->calls;
}

void draws_of_statement(struct build *b, const tnode *stmt, struct plan *p)
{
    struct draws d = {.build = b};
    b->seen = NULL;
    b->seen_count = 0;
    if (draws_nothing(stmt)) {
        p->draws = DRAWS_NONE;
        return;
    }
    if (b->env->catalog == NULL) {
        return;
    }
    d.seen = arena_zero(b->out, PLAN_SEEN_MAX * sizeof(*d.seen));
    see_statement(&d, stmt);
    if (d.unseen) {
        return;
    }
    p->draws = d.count == 0 ? DRAWS_NONE : DRAWS_SEEN;
    p->names_sequence = d.calls > 0;
    b->seen = d.seen;
    p->seen = d.seen;
    b->seen_count = p->seen_count = d.count;
}

void draws_come_from(struct build *b, int16_t number, size_t source)
{
    for (size_t i = 0; i < b->seen_count; i++) {
        if (b->seen[i].column == number && number != 0) {
            b->seen[i].source = (uint16_t)source;
        }
    }
}

/* Whether the values come by here, or stay on home's connection, where they can be asked for. */
static int is_followed(const struct plan *p)
{
    if (p->kind == PLAN_ONE) {
        return !p->touches_sharded && p->_where != NULL && p->_where->fixed == 1;
    }
    for (size_t i = 0; i < p->seen_count; i++) {
        if (p->seen[i].source == UINT16_MAX) {
            return 0;
        }
    }
    return p->kind == PLAN_COPY_IN || (p->kind == PLAN_ROWS && p->rows->source->kind == PLAN_ONE);
}

void draws_settle(struct build *b, struct plan *p)
{
    struct plan_seen *seen = b->seen;
    size_t count = b->seen_count;
    b->seen = NULL;
    b->seen_count = 0;
    for (struct plan *o = p; o != NULL; o = o->otherwise) {
        o->draws = p->draws;
        o->seen = seen;
        o->seen_count = count;
        if (o->draws == DRAWS_SEEN && o->kind == PLAN_ROWS && o->rows->drawn != NULL) {
            o->rows->drawn->insert->draws = DRAWS_NONE; /* they are noted when they are taken */
        }
    }
    for (struct plan *o = p; o != NULL; o = o->otherwise) {
        if (o->draws == DRAWS_SEEN && o->kind != PLAN_REFUSE && !is_followed(o)) {
            o->draws = DRAWS_UNSEEN;
            o->seen_count = 0;
        }
    }
}
