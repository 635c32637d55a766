/*
 * CREATE TABLE AS and SELECT INTO. Over local and reference tables the home shard does it alone.
 * When the query reads sharded tables, the table is made on the home shard, empty, by the statement
 * itself WITH NO DATA, so that names, types and collations are PostgreSQL's; then the rows of the
 * query are read and inserted as those of any INSERT ... SELECT, in the same transaction:
 *
 *     CREATE TABLE t AS SELECT region, count(*) FROM users GROUP BY region
 *     before  CREATE TABLE t AS SELECT region, count(*) FROM users GROUP BY region WITH NO DATA
 *     source  SELECT region, count(*) FROM users GROUP BY region
 *     home    INSERT INTO t SELECT * FROM rows v
 */

#include "planner/ddl_inner.h"
#include "planner/write_inner.h"

struct made {
    struct build *build;
    PgQuery__CreateTableAsStmt *as; /* a copy; SELECT INTO as what it means */
    tnode *stmt;                    /* ... in its node */
};

tnode *create_as_select_all(struct build *b)
{
    struct arena *a = &b->scratch;
    PgQuery__ColumnRef *star = arena_alloc(a, sizeof(*star));
    PgQuery__AStar *every = arena_alloc(a, sizeof(*every));
    pg_query__column_ref__init(star);
    pg_query__a__star__init(every);
    star->fields = arena_alloc(a, sizeof(*star->fields));
    star->fields[0] = tree_new(a, NODE(A_STAR), every);
    star->n_fields = 1;
    tnode **targets = arena_alloc(a, sizeof(*targets));
    targets[0] = tree_target(a, tree_new(a, NODE(COLUMN_REF), star), NULL);
    return tree_select(a, targets, 1, rows_unnamed(b), NULL);
}

int create_as_step(struct build *b, const PgQuery__RangeVar *into, struct plan_rows_step *step,
                   struct note *note)
{
    struct arena *a = &b->scratch;
    PgQuery__InsertStmt *q = arena_alloc(a, sizeof(*q));
    pg_query__insert_stmt__init(q);
    q->relation = arena_alloc(a, sizeof(*q->relation));
    *q->relation = *into;
    q->relation->relpersistence = arena_strdup(a, "p");
    q->select_stmt = create_as_select_all(b);
    q->override = PG_QUERY__OVERRIDING_KIND__OVERRIDING_NOT_SET;
    *step = (struct plan_rows_step){.to = ROWS_TO_HOME, .counts = 1};
    return rows_step(b, tree_new(a, NODE(INSERT_STMT), q), step, note);
}

/* IF NOT EXISTS: whether something by that name is where the table would be made. */
const char *create_as_asks(struct build *b, const PgQuery__RangeVar *into)
{
    struct buf sql = {0};
    buf_text(&sql, "SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
                   "ON n.oid = c.relnamespace WHERE c.relname = ");
    sql_put_quoted(&sql, '\'', into->relname);
    if (ddl_is_temporary(into)) {
        buf_text(&sql, " AND n.oid = pg_catalog.pg_my_temp_schema()");
    } else if (into->schemaname[0] != 0) {
        buf_text(&sql, " AND n.nspname = ");
        sql_put_quoted(&sql, '\'', into->schemaname);
    } else {
        buf_text(&sql, " AND n.nspname = pg_catalog.current_schema()");
    }
    const char *text = arena_strndup(b->out, sql.p, sql.n);
    buf_free(&sql);
    return text;
}

static void take_rows(struct made *m, struct plan *p)
{
    struct build *b = m->build;
    struct note note = {0};
    struct plan_rows_step step;
    const char *create = NULL;
    const PgQuery__RangeVar *into = m->as->into->rel;
    int asks = m->as->if_not_exists;
    m->as->into->skip_data = 1;
    m->as->if_not_exists = 0;
    int ok = !tree_deparse(m->stmt, b->out, &create, &note);
    struct plan *source =
        ok ? rows_source(b, tree_copy(&b->scratch, m->as->query), NULL, &note) : NULL;
    if (source == NULL || !create_as_step(b, into, &step, &note)) {
        refuse_note(p, ERR_UNSUPPORTED, &note);
        return;
    }
    if (source->kind == PLAN_WRITE) {
        refuse(p, "Write first, then create the table.",
               "rows to be written cannot come out of this statement");
        return;
    }
    struct plan_rows *rows = rows_finish(b, p, source, &step, 1);
    struct plan_rows_around *before = arena_zero(b->out, 2 * sizeof(*before));
    rows->before = before;
    if (asks) {
        before[rows->before_count].sql = create_as_asks(b, into);
        before[rows->before_count++].decides = 1;
    }
    before[rows->before_count].sql = create;
    before[rows->before_count++].takes_params = p->any_params;
    rows->changes_schema = !ddl_is_temporary(into);
    rows->may_be_hidden = !ddl_is_temporary(into) && into->schemaname[0] == 0;
    p->tag = "SELECT";
    p->pins |= ddl_is_temporary(into) ? PIN_TEMP : 0;
}

/* The name is free for a table of the home shard. 0: refused. */
static int check_name(struct build *b, const PgQuery__RangeVar *name, struct plan *p)
{
    struct relation r;
    ddl_created(b, name, &r);
    if (ddl_is_temporary(name)) {
        return ddl_check_temporary(b, name, p);
    }
    if (r.table != NULL) {
        refuse(p, "Create the table, then fill it.",
               "sharded table \"%s\" cannot be created from a query", r.name);
        return 0;
    }
    return 1;
}

static void at_home(struct build *b, const struct made *m, struct plan *p)
{
    plan_home(b, p);
    p->pins |= ddl_is_temporary(m->as->into->rel) ? PIN_TEMP : 0;
}

static void create_as(struct made *m, struct plan *p)
{
    struct build *b = m->build;
    struct plan *inner = plan_new(b, p->text);
    struct scope *s = scope_build(b, m->as->query);
    if (s->err == ERR_NONE && refuse_inner_writes(s, inner)) {
        refuse_note(p, inner->err, &inner->note);
        return;
    }
    if (s->err == ERR_NONE && s->sharded_count == 0) {
        route(b, s, inner);
        if (inner->kind == PLAN_REFUSE) {
            refuse_note(p, inner->err, &inner->note);
        } else {
            at_home(b, m, p);
        }
        return;
    }
    int view = m->as->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_MATVIEW;
    if (b->env->workspace < ENV_ROWS) {
        refuse(p, "Create it by a statement of its own.",
               "%s cannot be made from sharded tables here",
               view ? "materialized views" : "tables");
    } else if (view) {
        materialized_create(b, m->as, p);
    } else if (m->as->into->skip_data) {
        at_home(b, m, p);
    } else {
        take_rows(m, p);
    }
}

/* SELECT ... INTO is CREATE TABLE AS. */
static PgQuery__CreateTableAsStmt *as_create(struct arena *a, tnode *select)
{
    PgQuery__CreateTableAsStmt *as = arena_alloc(a, sizeof(*as));
    pg_query__create_table_as_stmt__init(as);
    as->query = select;
    as->objtype = PG_QUERY__OBJECT_TYPE__OBJECT_TABLE;
    for (PgQuery__SelectStmt *q = select->select_stmt; q != NULL && as->into == NULL; q = q->larg) {
        as->into = q->into_clause;
        q->into_clause = NULL;
    }
    return as;
}

void plan_create_as(struct build *b, tnode *stmt, struct plan *p)
{
    struct arena *a = &b->scratch;
    struct made m = {.build = b};
    tnode *copy = tree_copy(a, stmt);
    m.as = IS(copy, CREATE_TABLE_AS_STMT) ? copy->create_table_as_stmt : as_create(a, copy);
    m.stmt = tree_new(a, NODE(CREATE_TABLE_AS_STMT), m.as);
    if (m.as->into == NULL || m.as->into->rel == NULL || !check_name(b, m.as->into->rel, p)) {
        return;
    }
    if (IS(m.as->query, EXECUTE_STMT)) {
        (void)plan_execute(b, stmt, p);
        p->pins |= ddl_is_temporary(m.as->into->rel) ? PIN_TEMP : 0;
    } else {
        create_as(&m, p);
    }
}
