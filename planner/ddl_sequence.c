/*
 * Columns that a sequence fills, in tables that are on several shards. The sequence is on the home
 * shard, and so is the default as the client wrote it; INSERT draws the values there. On the other
 * shards the column's default is
 *
 *     nextval('t_id_seq'::text)
 *
 * which names what is not there: whoever inserts past pgbraid gets an error and no NULL.
 */

#include <string.h>

#include "planner/ddl_inner.h"

struct sequence_type {
    const char *serial, *type;
};

/* NULL: not serial. */
static const struct sequence_type *serial_of(const PgQuery__TypeName *t)
{
    static const struct sequence_type types[] = {{"serial", "int4"},      {"serial4", "int4"},
                                                 {"bigserial", "int8"},   {"serial8", "int8"},
                                                 {"smallserial", "int2"}, {"serial2", "int2"}};
    const char *schema = NULL;
    const char *name = t == NULL ? "" : tree_name(t->names, t->n_names, &schema);
    for (size_t i = 0; schema == NULL && i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].serial, name) == 0) {
            return &types[i];
        }
    }
    return NULL;
}

const char *ddl_serial_type(const PgQuery__TypeName *t)
{
    const struct sequence_type *s = serial_of(t);
    return s == NULL ? NULL : s->type;
}

static int is_nextval(const ProtobufCMessage *m)
{
    return MESSAGE_IS(m, func_call) &&
           strcmp(tree_name(((const PgQuery__FuncCall *)m)->funcname,
                            ((const PgQuery__FuncCall *)m)->n_funcname, NULL),
                  "nextval") == 0;
}

static int see_sequence(const ProtobufCMessage *m, void *arg)
{
    if (is_nextval(m)) {
        *(int *)arg = 1;
    }
    return 1;
}

int ddl_uses_sequence(const tnode *n)
{
    int uses = 0;
    tree_walk_node(n, see_sequence, &uses);
    return uses;
}

/* nextval('s'), nextval('s'::regclass) -> nextval('s'::text): looked up when it is called. */
static int look_up_late(const ProtobufCMessage *m, void *arg)
{
    union {
        const ProtobufCMessage *in;
        PgQuery__FuncCall *f;
    } u = {.in = m};
    if (is_nextval(m) && u.f->n_args == 1) {
        tnode *name = u.f->args[0];
        while (IS(name, TYPE_CAST)) {
            name = name->type_cast->arg;
        }
        u.f->args[0] = tree_cast(arg, name, "text");
    }
    return 1;
}

/* The default as the other shards get it. */
static tnode *late_default(struct build *b, const tnode *expr)
{
    tnode *copy = tree_copy(&b->scratch, expr);
    tree_walk_node(copy, look_up_late, &b->scratch);
    return copy;
}

static tnode *named_default(struct build *b, const PgQuery__CreateStmt *c, const char *column)
{
    struct arena *a = &b->scratch;
    const char *schema = c->relation->schemaname;
    const char *name = arena_printf(a, "%s%s%s_%s_seq", schema, schema[0] == 0 ? "" : ".",
                                    c->relation->relname, column);
    tnode *call = tree_call(a, "nextval", tree_cast(a, tree_text(a, name), "text"));
    return call;
}

static tnode *constraint_new(struct build *b, PgQuery__ConstrType type, tnode *expr)
{
    PgQuery__Constraint *k = arena_alloc(&b->scratch, sizeof(*k));
    pg_query__constraint__init(k);
    k->contype = type;
    k->raw_expr = expr;
    return tree_new(&b->scratch, NODE(CONSTRAINT), k);
}

/* 1: changed. */
static int change_column(struct build *b, const PgQuery__CreateStmt *c, PgQuery__ColumnDef *d)
{
    const struct sequence_type *serial = serial_of(d->type_name);
    tnode **kept = arena_alloc(&b->scratch, (d->n_constraints + 3) * sizeof(*kept));
    size_t count = 0;
    int changed = serial != NULL;
    for (size_t i = 0; i < d->n_constraints; i++) {
        PgQuery__Constraint *k = d->constraints[i]->constraint;
        if (k->contype == PG_QUERY__CONSTR_TYPE__CONSTR_IDENTITY) {
            changed = 2;
            continue;
        }
        if (k->contype == PG_QUERY__CONSTR_TYPE__CONSTR_DEFAULT && ddl_uses_sequence(k->raw_expr)) {
            k->raw_expr = late_default(b, k->raw_expr);
            changed |= 4;
        }
        kept[count++] = d->constraints[i];
    }
    if ((changed & 3) != 0) {
        kept[count++] = constraint_new(b, PG_QUERY__CONSTR_TYPE__CONSTR_NOTNULL, NULL);
        kept[count++] = constraint_new(b, PG_QUERY__CONSTR_TYPE__CONSTR_DEFAULT,
                                       named_default(b, c, d->colname));
    }
    if (serial != NULL) {
        d->type_name = tree_cast(&b->scratch, NULL, serial->type)->type_cast->type_name;
    }
    d->constraints = kept;
    d->n_constraints = count;
    return changed != 0;
}

int ddl_create_elsewhere(struct build *b, const tnode *stmt, const char **sql, struct note *note)
{
    tnode *copy = tree_copy(&b->scratch, stmt);
    PgQuery__CreateStmt *c = copy->create_stmt;
    int changed = 0;
    *sql = NULL;
    for (size_t i = 0; i < c->n_table_elts; i++) {
        if (IS(c->table_elts[i], COLUMN_DEF)) {
            changed |= change_column(b, c, c->table_elts[i]->column_def);
        }
    }
    return !changed || tree_deparse(copy, b->out, sql, note) == ERR_NONE;
}

/* ---- ALTER TABLE ------------------------------------------------------------------------------
 */

/* The command as the other shards get it, in place; 0: they get none. *changed is set. */
static int change_command(struct build *b, const PgQuery__AlterTableStmt *a,
                          PgQuery__AlterTableCmd *c, int *changed)
{
    struct arena *arena = &b->scratch;
    switch ((int)c->subtype) {
    case PG_QUERY__ALTER_TABLE_TYPE__AT_ColumnDefault:
        if (c->def != NULL && ddl_uses_sequence(c->def)) {
            c->def = late_default(b, c->def);
            *changed = 1;
        }
        return 1;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AddIdentity:
        c->subtype = PG_QUERY__ALTER_TABLE_TYPE__AT_ColumnDefault;
        c->def = tree_call(arena, "nextval",
                           tree_cast(arena,
                                     tree_text(arena, arena_printf(arena, "%s_%s_seq",
                                                                   a->relation->relname, c->name)),
                                     "text"));
        *changed = 1;
        return 1;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_DropIdentity:
        c->subtype = PG_QUERY__ALTER_TABLE_TYPE__AT_ColumnDefault;
        c->def = NULL;
        c->missing_ok = 0;
        *changed = 1;
        return 1;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_SetIdentity: *changed = 1; return 0;
    default: return 1;
    }
}

int ddl_alter_elsewhere(struct build *b, const tnode *stmt, const char **sql, struct note *note)
{
    tnode *copy = tree_copy(&b->scratch, stmt);
    PgQuery__AlterTableStmt *a = copy->alter_table_stmt;
    int changed = 0;
    size_t kept = 0;
    *sql = NULL;
    for (size_t i = 0; i < a->n_cmds; i++) {
        if (change_command(b, a, a->cmds[i]->alter_table_cmd, &changed)) {
            a->cmds[kept++] = a->cmds[i];
        }
    }
    a->n_cmds = kept;
    if (changed && kept == 0) {
        *sql = "";
        return 1;
    }
    return !changed || tree_deparse(copy, b->out, sql, note) == ERR_NONE;
}
