/*
 * Materialized views whose query reads sharded tables. They are on the home shard, over what
 * braid.materialized() gives (catalog_materialized.c); the rows are read first, and left in a table
 * that lives as long as the statement (unlogged, so that nobody captures its rows as changes):
 *
 *     CREATE MATERIALIZED VIEW m AS SELECT region, count(*) FROM users GROUP BY region
 *     before  CREATE VIEW braid_query_5 AS SELECT region, count(*) FROM users GROUP BY region
 *     before  CREATE UNLOGGED TABLE braid_rows_5 AS SELECT * FROM braid_query_5 WITH NO DATA
 *     source  SELECT region, count(*) FROM users GROUP BY region
 *     home    INSERT INTO braid_rows_5 SELECT * FROM rows v
 *     after   SELECT braid.materialize('braid_query_5', 'braid_rows_5', 'CREATE MATERIALIZED ...')
 *
 *     REFRESH MATERIALIZED VIEW m
 *     before  SELECT braid.may_refresh('m')
 *     before  CREATE UNLOGGED TABLE s.braid_rows_5 AS SELECT ... WITH NO DATA   (the view's query)
 *     source  and home as above
 *     after   REFRESH MATERIALIZED VIEW m
 *     after   DROP TABLE s.braid_rows_5
 */

#include <inttypes.h>
#include <string.h>

#include "base/hash.h"
#include "planner/ddl_inner.h"
#include "planner/write_inner.h"

/* The query alone, or that it must give no row. */
static tnode *read_query(struct build *b, const char *sql, int no_data)
{
    PgQuery__ParseResult *parsed = NULL;
    struct note note;
    int position = 0;
    const char *text =
        no_data ? arena_printf(&b->scratch, "SELECT * FROM (%s\n) q LIMIT 0", sql) : sql;
    if (tree_parse(slice_of(text), &b->scratch, &parsed, &position, &note) ||
        parsed->n_stmts != 1 || !IS(parsed->stmts[0]->stmt, SELECT_STMT)) {
        return NULL;
    }
    return parsed->stmts[0]->stmt;
}

static struct plan_rows *take_rows(struct build *b, struct plan *p, tnode *query,
                                   const PgQuery__RangeVar *kept)
{
    struct note note = {0};
    struct plan_rows_step step;
    if (query == NULL || kept == NULL) {
        refuse(p, "Drop the view and create it anew.",
               "the query of this materialized view cannot be read");
        return NULL;
    }
    struct plan *source = rows_source(b, query, NULL, &note);
    if (source == NULL || !create_as_step(b, kept, &step, &note)) {
        refuse_note(p, ERR_UNSUPPORTED, &note);
        return NULL;
    }
    if (source->kind == PLAN_WRITE) {
        refuse(p, NULL, "materialized views must not use data-modifying statements in WITH");
        return NULL;
    }
    return rows_finish(b, p, source, &step, 1);
}

static const char *kept_copy(struct build *b, struct buf *sql)
{
    const char *text = arena_strndup(b->out, sql->p, sql->n);
    sql->n = 0;
    return text;
}

/* ---- CREATE -----------------------------------------------------------------------------------
 */

/* Beside the view, and called like no other's. */
static PgQuery__RangeVar *beside(struct build *b, const PgQuery__RangeVar *into, const char *what)
{
    struct arena *a = &b->scratch;
    PgQuery__RangeVar *v = arena_alloc(a, sizeof(*v));
    *v = *into;
    v->relname = arena_printf(a, "braid_%s_%016" PRIx64, what,
                              hash_bytes(into->relname, strlen(into->relname), 0));
    v->relpersistence = arena_strdup(a, "p");
    return v;
}

static void put_name(struct buf *out, const PgQuery__RangeVar *v)
{
    if (v->schemaname[0] != 0) {
        sql_put_quoted(out, '"', v->schemaname);
        buf_u8(out, '.');
    }
    sql_put_quoted(out, '"', v->relname);
}

static void put_name_literal(struct buf *out, const PgQuery__RangeVar *v)
{
    struct buf name = {0};
    put_name(&name, v);
    buf_u8(&name, 0);
    sql_put_quoted(out, '\'', (const char *)name.p);
    buf_free(&name);
}

/* The client's statement with another query, in front of it and behind. */
static int put_statement(struct build *b, PgQuery__CreateTableAsStmt *as, struct buf *out,
                         struct note *note)
{
    struct plan_rows_step parts;
    as->query = create_as_select_all(b);
    as->if_not_exists = 0;
    if (!rows_step(b, tree_new(&b->scratch, NODE(CREATE_TABLE_AS_STMT), as), &parts, note)) {
        return 0;
    }
    sql_put_quoted(out, '\'', arena_strndup(&b->scratch, parts.head.p, parts.head.n));
    buf_text(out, ", ");
    sql_put_quoted(out, '\'', arena_strndup(&b->scratch, parts.tail.p, parts.tail.n));
    return 1;
}

void materialized_create(struct build *b, PgQuery__CreateTableAsStmt *as, struct plan *p)
{
    struct note note = {0};
    struct buf sql = {0};
    const char *query = NULL;
    const PgQuery__RangeVar *into = as->into->rel;
    PgQuery__RangeVar *view = beside(b, into, "query");
    PgQuery__RangeVar *kept = beside(b, into, "rows");
    int no_data = as->into->skip_data;
    int asks = as->if_not_exists;
    if (p->any_params) {
        refuse(p, "Write the values.",
               "materialized views may not be defined using bound parameters");
        return;
    }
    if (tree_deparse(as->query, &b->scratch, &query, &note)) {
        refuse_note(p, ERR_UNSUPPORTED, &note);
        return;
    }
    struct plan_rows *rows = take_rows(b, p, read_query(b, query, no_data), kept);
    if (rows == NULL) {
        return;
    }
    struct plan_rows_around *before = arena_zero(b->out, 3 * sizeof(*before));
    struct plan_rows_around *after = arena_zero(b->out, sizeof(*after));
    rows->before = before;
    rows->after = after;
    if (asks) {
        before[rows->before_count].sql = create_as_asks(b, into);
        before[rows->before_count++].decides = 1;
    }
    buf_text(&sql, "CREATE VIEW ");
    put_name(&sql, view);
    buf_printf(&sql, " AS %s", query);
    before[rows->before_count++].sql = kept_copy(b, &sql);
    buf_text(&sql, "CREATE UNLOGGED TABLE ");
    put_name(&sql, kept);
    buf_text(&sql, " AS SELECT * FROM ");
    put_name(&sql, view);
    buf_text(&sql, " WITH NO DATA");
    before[rows->before_count++].sql = kept_copy(b, &sql);
    buf_text(&sql, "SELECT braid.materialize(");
    put_name_literal(&sql, view);
    buf_text(&sql, ", ");
    put_name_literal(&sql, kept);
    buf_text(&sql, ", ");
    if (put_statement(b, as, &sql, &note)) {
        buf_u8(&sql, ')');
        after[rows->after_count++].sql = kept_copy(b, &sql);
        rows->changes_schema = 1;
        rows->bare_tag = no_data ? 1 : 0;
        p->tag = no_data ? "CREATE MATERIALIZED VIEW" : "SELECT";
    } else {
        refuse_note(p, ERR_UNSUPPORTED, &note);
    }
    buf_free(&sql);
}

/* ---- REFRESH ----------------------------------------------------------------------------------
 */

struct made_of {
    const char *query, *kept;
};

static const char *text_of(const tnode *n)
{
    n = IS(n, TYPE_CAST) ? n->type_cast->arg : n;
    return IS(n, A_CONST) && n->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL
               ? n->a_const->sval->sval
               : NULL;
}

static int see_call(const ProtobufCMessage *m, void *arg)
{
    struct made_of *made = arg;
    const PgQuery__FuncCall *f = (const PgQuery__FuncCall *)m;
    if (MESSAGE_IS(m, func_call) && f->n_funcname == 2 && f->n_args == 2 &&
        strcmp(tree_string(f->funcname[0]), "braid") == 0 &&
        strcmp(tree_string(f->funcname[1]), "materialized") == 0) {
        made->query = text_of(f->args[0]);
        made->kept = text_of(f->args[1]);
    }
    return 1;
}

static const PgQuery__RangeVar *named(struct build *b, const char *name)
{
    tnode *q = read_query(b, arena_printf(&b->scratch, "SELECT FROM %s", name), 0);
    return q == NULL || q->select_stmt->n_from_clause != 1 ||
                   !IS(q->select_stmt->from_clause[0], RANGE_VAR)
               ? NULL
               : q->select_stmt->from_clause[0]->range_var;
}

static void refresh(struct build *b, const PgQuery__RangeVar *view, const struct made_of *made,
                    struct plan *p)
{
    struct buf sql = {0};
    struct plan_rows *rows = take_rows(b, p, read_query(b, made->query, 0), named(b, made->kept));
    if (rows == NULL) {
        return;
    }
    struct plan_rows_around *before = arena_zero(b->out, 2 * sizeof(*before));
    struct plan_rows_around *after = arena_zero(b->out, 2 * sizeof(*after));
    rows->before = before;
    rows->after = after;
    buf_text(&sql, "SELECT braid.may_refresh(");
    put_name_literal(&sql, view);
    buf_u8(&sql, ')');
    before[rows->before_count++].sql = kept_copy(b, &sql);
    buf_free(&sql);
    before[rows->before_count++].sql = arena_printf(
        b->out, "CREATE UNLOGGED TABLE %s AS %s WITH NO DATA", made->kept, made->query);
    after[rows->after_count++].sql = arena_strndup(b->out, p->text.p, p->text.n);
    after[rows->after_count++].sql = arena_printf(b->out, "DROP TABLE %s", made->kept);
    rows->bare_tag = 1;
    p->tag = "REFRESH MATERIALIZED VIEW";
}

void plan_refresh(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__RefreshMatViewStmt *q = stmt->refresh_mat_view_stmt;
    struct made_of made = {0};
    struct relation r;
    relation_of(b, q->relation, &r);
    tnode *view = r.known == NULL || r.known->kind != 'm' || r.known->definition == NULL
                      ? NULL
                      : read_query(b, r.known->definition, 0);
    if (view != NULL && !q->skip_data) {
        tree_walk_node(view, see_call, &made);
    }
    if (made.query == NULL || made.kept == NULL) {
        plan_home(b, p); /* braid.materialized() fails there when it has to be filled */
    } else if (b->env->workspace < ENV_ROWS) {
        refuse(p, "Refresh it by a statement of its own.",
               "a materialized view over sharded tables cannot be refreshed here");
    } else {
        refresh(b, q->relation, &made, p);
    }
}
