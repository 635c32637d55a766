/*
 * INSERT ... ON CONFLICT that looks into a global unique index: the row that stands in the way may
 * be on another shard than the new one. It is found first, and locked; then the statement as the
 * client wrote it is run where that row is, which says all that PostgreSQL says of a conflict. A
 * row that nothing stands in the way of goes to the shard of its own key, as ever:
 *
 *     INSERT INTO users (id, email) VALUES (5, 'x') ON CONFLICT (email) DO UPDATE SET ...
 *     source  SELECT p.c1, p.c2, COALESCE(t.id, p.c1), CASE WHEN t.id IS NULL THEN 0 ELSE 1 END
 *             FROM (VALUES (5, 'x')) p (c1, c2) LEFT JOIN users t ON t.email = p.c2
 *     lock    SELECT 1 FROM rows v, users t WHERE t.email = v.c2 AND t.id = v.c3 FOR KEY SHARE OF t
 *     insert  INSERT INTO users (id, email) SELECT v.c1, v.c2 FROM rows v ON CONFLICT (email) ...
 *
 * Of new rows with the same value the later ones go where the first one goes
 * (plan_rows_step.follow): there the server sees that they are the same. What comes in between from
 * elsewhere fails as a duplicate when the lookup table is written, and is begun again
 * (plan_rows.arbiters).
 */

#include <string.h>

#include "planner/unique.h"
#include "planner/write_insert.h"

static const char *column_name(const struct insert *x, int16_t number)
{
    const struct catalog_table *t = x->rel->known;
    for (size_t i = 0; i < t->columns_count; i++) {
        if (t->columns[i].number == number) {
            return t->columns[i].name;
        }
    }
    return "";
}

int insert_decides(const struct insert *x, const char *column)
{
    for (size_t i = 0; i < x->arbiters_count; i++) {
        for (size_t k = 0; k < x->arbiters[i]->columns_count; k++) {
            if (strcmp(column_name(x, x->arbiters[i]->columns[k]), column) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

/* ---- may it be? -------------------------------------------------------------------------------
 */

/* x = EXCLUDED.x */
static int is_kept(const PgQuery__ResTarget *t)
{
    const PgQuery__ColumnRef *c = IS(t->val, COLUMN_REF) ? t->val->column_ref : NULL;
    const char *schema = NULL;
    const char *name = c == NULL ? NULL : tree_name(c->fields, c->n_fields, &schema);
    return name != NULL && schema != NULL && strcmp(schema, "excluded") == 0 &&
           strcmp(name, t->name) == 0;
}

/* What a row that is there gets must not be what the next new row looks for. */
static int keeps_values(const struct insert *x)
{
    const PgQuery__OnConflictClause *c = x->q->on_conflict_clause;
    for (size_t i = 0; i < c->n_target_list; i++) {
        if (IS(c->target_list[i], RES_TARGET) &&
            insert_decides(x, c->target_list[i]->res_target->name) &&
            !is_kept(c->target_list[i]->res_target)) {
            return 0;
        }
    }
    return 1;
}

static int is_one_row(const struct insert *x)
{
    const PgQuery__SelectStmt *q = insert_select(x);
    return q == NULL || q->n_values_lists == 1;
}

int insert_may_conflict(struct insert *x)
{
    const struct catalog_table *t = x->rel->known;
    if (t == NULL) {
        return 1;
    }
    x->arbiters = arena_zero(&x->build->scratch, (t->uniques_count + 1) * sizeof(*x->arbiters));
    x->arbiters_count = unique_arbiters(x->rel->table, t, x->q->on_conflict_clause, x->arbiters);
    x->conflicts = x->arbiters_count > 0;
    if (!x->conflicts) {
        return 1;
    }
    if (t->has_triggers || t->has_rules || t->row_security) {
        return insert_fail(x, "Insert without ON CONFLICT and look for error 23505.",
                           "ON CONFLICT cannot look into the global unique index of a table with "
                           "triggers, rules or row security");
    }
    for (size_t i = 0; i < t->columns_count; i++) {
        if (t->columns[i].generated && insert_decides(x, t->columns[i].name)) {
            return insert_fail(x, "Insert without ON CONFLICT and look for error 23505.",
                               "ON CONFLICT cannot look into a global unique index on a generated "
                               "column");
        }
    }
    if (!is_one_row(x) && !keeps_values(x)) {
        return insert_fail(x, "Insert one row at a time.",
                           "ON CONFLICT DO UPDATE cannot change the columns of a global unique "
                           "index that it looks into, of several rows");
    }
    return 1;
}

/* ---- the source -------------------------------------------------------------------------------
 */

/* The column of the source; -1: the statement gives it no value, so it is NULL. */
static int source_of(const struct insert *x, const char *column)
{
    for (size_t i = 0; i < x->count; i++) {
        const struct target *t = &x->targets[i];
        if (t->known != NULL && !t->left_out && t->value == NULL &&
            strcmp(t->known->name, column) == 0) {
            return (int)t->source;
        }
    }
    return -1;
}

static int has_values(const struct insert *x, const struct catalog_unique *u)
{
    for (size_t k = 0; k < u->columns_count; k++) {
        if (source_of(x, column_name(x, u->columns[k])) < 0) {
            return 0;
        }
    }
    return 1;
}

static void put_columns(struct buf *out, const char *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%s%s%sc%zu", i == 0 ? "" : ", ", table, table[0] == 0 ? "" : ".", i + 1);
    }
}

static const char *type_of_column(const struct insert *x, const char *column)
{
    const struct catalog_column *c = catalog_column(x->rel->known, column);
    const char *type = c == NULL ? NULL : rows_key_type(c->type);
    return type == NULL ? "text" : type;
}

/* "braid_t1"."email" = braid_p.c2::pg_catalog.text AND ... */
static void put_match(const struct insert *x, const struct catalog_unique *u, const char *table,
                      const char *rows, struct buf *out)
{
    for (size_t k = 0; k < u->columns_count; k++) {
        const char *column = column_name(x, u->columns[k]);
        buf_printf(out, k == 0 ? "%s." : " AND %s.", table);
        sql_put_quoted(out, '"', column);
        buf_printf(out, " = %s.c%d::pg_catalog.%s", rows, source_of(x, column) + 1,
                   type_of_column(x, column));
    }
}

static void put_table(const struct insert *x, struct buf *out)
{
    sql_put_quoted(out, '"', x->rel->known->schema);
    buf_u8(out, '.');
    sql_put_quoted(out, '"', x->rel->known->name);
}

static void put_rows(const struct insert *x, const char *source, struct buf *out)
{
    if (is_one_row(x)) {
        buf_printf(out, " FROM (%s) braid_p (", source);
        put_columns(out, "", x->source_count);
        buf_text(out, ")");
        return;
    }
    buf_text(out, " FROM (SELECT ");
    put_columns(out, "braid_q", x->source_count);
    buf_printf(out, ", pg_catalog.row_number() OVER () FROM (%s) braid_q (", source);
    put_columns(out, "", x->source_count);
    buf_text(out, ")) braid_p (");
    put_columns(out, "", x->source_count);
    buf_text(out, ", n)");
}

static const tnode *cell_of(const struct insert *x, size_t row, size_t at)
{
    const tnode *list = x->source->select_stmt->values_lists[row];
    return IS(list, LIST) && at < list->list->n_items ? list->list->items[at] : NULL;
}

/* A constant or parameter, whose text may stand twice. */
static int is_plain(const tnode *n)
{
    while (IS(n, TYPE_CAST)) {
        n = n->type_cast->arg;
    }
    return IS(n, A_CONST) || IS(n, PARAM_REF);
}

/* Values of a column of all new rows, "'x', $2"; 0: they are not known yet. */
static int put_values(const struct insert *x, size_t at, struct buf *out)
{
    static const char head[] = "SELECT ";
    struct arena *a = &x->build->scratch;
    size_t rows =
        IS(x->source, SELECT_STMT) ? x->source->select_stmt->n_values_lists : 0; /* 0: no VALUES */
    for (size_t i = 0; i < rows; i++) {
        const tnode *cell = cell_of(x, i, at);
        tnode *target = cell == NULL ? NULL : tree_target(a, tree_copy(a, cell), NULL);
        const char *text = NULL;
        struct note ignored;
        if (!is_plain(cell) ||
            tree_deparse(tree_select(a, &target, 1, NULL, NULL), a, &text, &ignored) ||
            strncmp(text, head, strlen(head)) != 0) {
            return 0;
        }
        buf_printf(out, i == 0 ? "%s" : ", %s", text + strlen(head));
    }
    return rows > 0;
}

/* The rows that may be in the way: those with the values, when these are known beforehand. */
static void put_existing(const struct insert *x, const struct catalog_unique *u, struct buf *out)
{
    const struct map_table *t = x->rel->table;
    int filtered = 0;
    buf_text(out, "(SELECT ");
    for (size_t k = 0; k < u->columns_count; k++) {
        sql_put_quoted(out, '"', column_name(x, u->columns[k]));
        buf_text(out, ", ");
    }
    for (size_t k = 0; k < t->keys_count; k++) { /* which the index does not have */
        sql_put_quoted(out, '"', t->keys[k]);
        buf_text(out, k + 1 < t->keys_count ? ", " : " FROM ");
    }
    put_table(x, out);
    for (size_t k = 0; k < u->columns_count; k++) {
        const char *column = column_name(x, u->columns[k]);
        struct buf values = {0};
        if (put_values(x, (size_t)source_of(x, column), &values)) {
            buf_text(out, filtered ? " AND " : " WHERE ");
            sql_put_quoted(out, '"', column);
            buf_printf(out, is_one_row(x) ? " = %.*s" : " IN (%.*s)", (int)values.n, values.p);
            filtered = 1;
        }
        buf_free(&values);
    }
    buf_u8(out, ')');
}

static void put_source(const struct insert *x, const char *source, struct buf *out)
{
    const struct map_table *t = x->rel->table;
    buf_text(out, "SELECT ");
    put_columns(out, "braid_p", x->source_count);
    for (size_t k = 0; k < t->keys_count; k++) {
        buf_text(out, ", COALESCE(");
        for (size_t i = 0; i < x->arbiters_count; i++) {
            buf_printf(out, "braid_t%zu.", i + 1);
            sql_put_quoted(out, '"', t->keys[k]);
            buf_text(out, ", ");
        }
        buf_printf(out, "braid_p.c%d::pg_catalog.%s)", source_of(x, t->keys[k]) + 1,
                   type_of_column(x, t->keys[k]));
    }
    buf_text(out, ", CASE");
    for (size_t i = 0; i < x->arbiters_count; i++) {
        buf_printf(out, " WHEN braid_t%zu.", i + 1);
        sql_put_quoted(out, '"', t->keys[0]);
        buf_printf(out, " IS NOT NULL THEN %zu", i + 1);
    }
    buf_text(out, " ELSE 0 END");
    put_rows(x, source, out);
    for (size_t i = 0; i < x->arbiters_count; i++) {
        const char *name = arena_printf(&x->build->scratch, "braid_t%zu", i + 1);
        buf_text(out, " LEFT JOIN ");
        put_existing(x, x->arbiters[i], out);
        buf_printf(out, " %s ON ", name);
        put_match(x, x->arbiters[i], name, "braid_p", out);
    }
    buf_text(out, is_one_row(x) ? "" : " ORDER BY braid_p.n");
}

static tnode *read_statement(struct insert *x, const struct buf *sql)
{
    PgQuery__ParseResult *parsed = NULL;
    int position = 0;
    struct arena *a = &x->build->scratch;
    const char *text = arena_strndup(a, sql->p, sql->n);
    enum err e = tree_parse(slice_of(text), a, &parsed, &position, x->note);
    if (e || parsed->n_stmts != 1) {
        (void)insert_fail(x, "Insert without ON CONFLICT and look for error 23505.",
                          "the rows of this INSERT cannot be looked up");
        return NULL;
    }
    return parsed->stmts[0]->stmt;
}

/* The rows with the shard of what stands in their way. */
static int look_first(struct insert *x)
{
    const char *source = NULL;
    struct buf sql = {0};
    size_t count = 0;
    for (size_t i = 0; i < x->arbiters_count; i++) { /* a NULL is never in the way */
        if (has_values(x, x->arbiters[i])) {
            x->arbiters[count++] = x->arbiters[i];
        }
    }
    x->arbiters_count = count;
    if (count == 0) {
        return 1;
    }
    if (tree_deparse(x->source, &x->build->scratch, &source, x->note)) {
        return 0;
    }
    put_source(x, source, &sql);
    tnode *made = read_statement(x, &sql);
    buf_free(&sql);
    x->source = made != NULL ? made : x->source;
    return made != NULL;
}

/* ---- the steps --------------------------------------------------------------------------------
 */

/* The shard of the existing row, or of the new one. */
static void step_goes(const struct insert *x, struct plan_rows_step *step)
{
    const struct map_table *t = x->rel->table;
    uint16_t *keys = arena_zero(x->build->out, t->keys_count * sizeof(*keys));
    for (size_t k = 0; k < t->keys_count; k++) {
        keys[k] = (uint16_t)(x->source_count + k);
    }
    step->to = ROWS_BY_KEY;
    step->table = t;
    step->keys = keys;
}

static int step_lock(struct insert *x, size_t at, struct plan_rows_step *step)
{
    const struct map_table *t = x->rel->table;
    struct buf sql = {0};
    buf_text(&sql, "SELECT 1 FROM braid_v, ");
    put_table(x, &sql);
    buf_text(&sql, " braid_t WHERE ");
    put_match(x, x->arbiters[at], "braid_t", "braid_v", &sql);
    for (size_t k = 0; k < t->keys_count; k++) {
        buf_text(&sql, " AND braid_t.");
        sql_put_quoted(&sql, '"', t->keys[k]);
        buf_printf(&sql, " = braid_v.c%zu", x->source_count + k + 1);
    }
    buf_text(&sql, " FOR KEY SHARE OF braid_t");
    tnode *made = read_statement(x, &sql);
    buf_free(&sql);
    if (made == NULL) {
        return 0;
    }
    made->select_stmt->from_clause[0] = rows_unnamed(x->build);
    if (!rows_step(x->build, made, step, x->note)) {
        return 0;
    }
    step_goes(x, step);
    step->exact = 1;
    step->when_column = (int16_t)(x->source_count + t->keys_count);
    step->when = (int32_t)at + 1;
    return 1;
}

/* Columns in which two new rows that are equal must meet: of the index that is named; of all, when
 * none is. */
static void follow(struct insert *x, struct plan_rows_step *step)
{
    int named = x->q->on_conflict_clause->infer != NULL;
    size_t count = is_one_row(x) ? 0 : named ? 1 : x->arbiters_count;
    struct plan_rows_follow *list = arena_zero(x->build->out, (count + 1) * sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        const struct catalog_unique *u = x->arbiters[i];
        uint16_t *columns = arena_zero(x->build->out, u->columns_count * sizeof(*columns));
        for (size_t k = 0; k < u->columns_count; k++) {
            columns[k] = (uint16_t)source_of(x, column_name(x, u->columns[k]));
        }
        list[i] = (struct plan_rows_follow){columns, u->columns_count};
    }
    step->follow = list;
    step->follow_count = count;
    /* The first of them may be left out for another reason; then the next one is to be a row. */
    step->follow_only = !named;
}

void insert_goes(struct insert *x, struct plan_rows_step *step)
{
    if (x->arbiters_count > 0) {
        step_goes(x, step);
        follow(x, step);
    }
}

void insert_tells(const struct insert *x, struct plan_rows *rows)
{
    const char **names = arena_zero(x->build->out, (x->arbiters_count + 1) * sizeof(*names));
    for (size_t i = 0; i < x->arbiters_count; i++) {
        names[i] = arena_strdup(x->build->out, x->arbiters[i]->name);
    }
    rows->settles = 1;
    rows->arbiters = names;
    rows->arbiters_count = keeps_values(x) ? x->arbiters_count : 0;
}

int insert_locks(struct insert *x, struct plan_rows_step *steps)
{
    if (!look_first(x)) {
        x->err = ERR_UNSUPPORTED;
        return 0;
    }
    if (x->arbiters_count > INSERT_ARBITERS_MAX) {
        return insert_fail(x, "Name the columns: ON CONFLICT (...).",
                           "ON CONFLICT would have to look into too many global unique indexes");
    }
    for (size_t i = 0; i < x->arbiters_count; i++) {
        steps[i] = (struct plan_rows_step){0};
        if (!step_lock(x, i, &steps[i])) {
            x->err = ERR_UNSUPPORTED;
            return 0;
        }
    }
    return 1;
}
