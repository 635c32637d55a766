/*
 * Which columns of a table a statement may look at when the table is moved. By name, not by
 * resolution: a column is brought along when its name stands anywhere it might mean this table, so
 * a name that resolves to something finds the same thing among the moved tables. Whoever may look
 * at all columns (a star, NATURAL JOIN, a row as a value, names given by position) gets all.
 *
 * A row of a moved table as a value has another type than before. Its text, its JSON, its binary
 * form and comparisons are the same (the proxy puts types of users right, also in arrays);
 * functions that can tell types apart, and rows with it inside, whose binary form names types that
 * nobody described, are refused with it.
 */

#include <string.h>

#include "planner/workspace_inner.h"

enum {
    SEEN_COLUMNS_MAX = 64 /* of a table, looked at for an index */
};

static void need_all(struct mention *x)
{
    x->all = 1;
}

/* 0: it has no such column. */
static int need_column(struct mention *x, const char *name)
{
    const struct catalog_table *t = x->rel->known;
    if (t == NULL || t->columns_count == 0) {
        x->all = 1;
        return 1;
    }
    for (size_t i = 0; i < t->columns_count; i++) {
        if (strcmp(t->columns[i].name, name) == 0) {
            x->needed[i] = 1;
            return 1;
        }
    }
    return 0;
}

static int called(const struct mention *x, const char *name)
{
    return strcmp(x->rel->alias, name) == 0;
}

/* A name that stands alone: a column of any table, or a whole row. */
static void see_bare(struct mentions *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++) {
        struct mention *x = &m->items[i];
        const PgQuery__Alias *alias = x->rel->var->alias;
        int is_column = need_column(x, name) && x->rel->known != NULL &&
                        (alias == NULL || alias->n_colnames == 0);
        if (called(x, name) && !is_column) { /* where it is visible, so are its columns */
            x->all = x->whole = 1;
        }
    }
}

static int is_relation(const struct mentions *m, const char *name)
{
    for (size_t i = 0; i < m->scope->rels_count; i++) {
        if (strcmp(m->scope->rels[i]->alias, name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* ---- system columns of the rows that are to be written ----------------------------------------
 */

static const struct {
    const char *name, *moved; /* no table has columns of these names */
} row_id_names[] = {{"ctid", "braid_ctid"}, {"xmin", "braid_xmin"}, {"tableoid", "braid_tableoid"}};

enum {
    ROW_IDS = sizeof(row_id_names) / sizeof(row_id_names[0])
};

static int row_id(const char *name)
{
    for (size_t i = 0; i < ROW_IDS; i++) {
        if (strcmp(row_id_names[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* 1: it is one. */
static int see_row_id(struct mentions *m, const char *table, const char *name)
{
    int id = m->scope->build->row_ids == NULL ? -1 : row_id(name);
    for (size_t i = 0; id >= 0 && i < m->count; i++) {
        struct mention *x = &m->items[i];
        if (x->rel->level == m->scope->top && called(x, table)) {
            x->row_ids |= (uint8_t)(1U << id);
        }
    }
    return id >= 0;
}

static int rename_row_id(const ProtobufCMessage *m, void *arg)
{
    const struct build *b = arg;
    union {
        const ProtobufCMessage *m;
        PgQuery__ColumnRef *c;
    } x = {.m = m};
    if (!MESSAGE_IS(m, column_ref)) {
        return 1;
    }
    const char *table = x.c->n_fields == 2 ? tree_string(x.c->fields[0]) : NULL;
    const char *name = table == NULL ? NULL : tree_string(x.c->fields[1]);
    int id = name == NULL || strcmp(table, b->row_ids) != 0 ? -1 : row_id(name);
    if (id >= 0) {
        x.c->fields[1]->string->sval = (char *)row_id_names[id].moved;
    }
    return 0;
}

void workspace_rename_row_ids(const struct mentions *m, const struct mention *x)
{
    if (x->row_ids != 0) {
        tree_walk_node(m->stmt, rename_row_id, m->scope->build);
    }
}

static void add_row_ids(struct arena *a, const struct mention *x, tnode **targets, size_t *count)
{
    for (size_t i = 0; i < ROW_IDS; i++) {
        if ((x->row_ids >> i & 1) != 0) {
            targets[(*count)++] =
                tree_target(a, tree_column(a, NULL, row_id_names[i].name), row_id_names[i].moved);
        }
    }
}

/* table.name; a name that is no column may be a function of the row. */
static void see_qualified(struct mentions *m, const char *table, const char *name)
{
    int anywhere = m->joins_named || !is_relation(m, table);
    if (see_row_id(m, table, name)) {
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        struct mention *x = &m->items[i];
        if (anywhere) {
            (void)need_column(x, name);
        }
        if (called(x, table) && !need_column(x, name)) {
            const struct catalog *c = m->scope->build->env->catalog;
            x->all = x->whole = 1;
            m->odd_function |= catalog_function(c, name) != NULL;
        }
    }
}

/* table.* as a select item gives columns; elsewhere it is a row. */
static void see_star(struct mentions *m, const char *table, int whole)
{
    int anywhere = m->joins_named || table == NULL || !is_relation(m, table);
    for (size_t i = 0; i < m->count; i++) {
        if (anywhere || called(&m->items[i], table)) {
            m->items[i].all = 1;
            m->items[i].whole |= (uint8_t)whole;
        }
    }
}

static void see_column_ref(struct mentions *m, const PgQuery__ColumnRef *c, int selected)
{
    if (c->n_fields == 0) {
        return;
    }
    const char *last = tree_string(c->fields[c->n_fields - 1]);
    const char *table = c->n_fields > 1 ? tree_string(c->fields[c->n_fields - 2]) : NULL;
    if (last == NULL) {
        see_star(m, table, !selected);
    } else if (table != NULL) {
        see_qualified(m, table, last);
    } else {
        see_bare(m, last);
    }
}

static int tells_types(const struct build *b, const PgQuery__FuncCall *f)
{
    const char *name = tree_name(f->funcname, f->n_funcname, NULL);
    return function_builtin(name) == 0 ||
           (b->env->catalog != NULL && catalog_function(b->env->catalog, name) != NULL);
}

/* A star of a select list covers the level it stands at, see below; others are values. */
static int see(const ProtobufCMessage *m, void *arg)
{
    struct mentions *all = arg;
    if (MESSAGE_IS(m, res_target)) {
        const tnode *val = ((const PgQuery__ResTarget *)m)->val;
        if (!IS(val, COLUMN_REF) ||
            (val->column_ref->n_fields == 1 && IS(val->column_ref->fields[0], A_STAR))) {
            return !IS(val, COLUMN_REF);
        }
        see_column_ref(all, val->column_ref, 1);
        return 0;
    }
    if (MESSAGE_IS(m, column_ref)) {
        see_column_ref(all, (const PgQuery__ColumnRef *)m, 0);
        return 0;
    }
    if (MESSAGE_IS(m, join_expr)) {
        const PgQuery__JoinExpr *j = (const PgQuery__JoinExpr *)m;
        for (size_t i = 0; i < j->n_using_clause; i++) {
            const char *name = tree_string(j->using_clause[i]);
            for (size_t k = 0; name != NULL && k < all->count; k++) {
                (void)need_column(&all->items[k], name);
            }
        }
    }
    if (MESSAGE_IS(m, row_expr)) {
        all->odd_function = 1; /* its binary form has the types of what is inside */
    }
    if (MESSAGE_IS(m, func_call)) {
        all->odd_function |= (uint8_t)tells_types(all->scope->build, (const PgQuery__FuncCall *)m);
    }
    return 1;
}

/* EXISTS (SELECT * FROM t ...): nobody looks at the columns. */
static int star_is_idle(const struct level *l)
{
    const PgQuery__SelectStmt *q = l->select;
    return l->kind == LEVEL_SUBLINK &&
           l->sublink->sub_link_type == PG_QUERY__SUB_LINK_TYPE__EXISTS_SUBLINK &&
           q->n_target_list == 1 && q->n_sort_clause == 0 && q->n_group_clause == 0 &&
           q->n_distinct_clause == 0;
}

static int selects_star(const struct level *l)
{
    for (size_t i = 0; l->select != NULL && i < l->select->n_target_list; i++) {
        const tnode *t = l->select->target_list[i];
        const tnode *val = IS(t, RES_TARGET) ? t->res_target->val : NULL;
        if (IS(val, COLUMN_REF) && val->column_ref->n_fields == 1 &&
            IS(val->column_ref->fields[0], A_STAR)) {
            return !star_is_idle(l);
        }
    }
    return 0;
}

static void need_mask(struct mentions *m, const struct level *l, uint64_t mask)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->items[i].rel->level == l && (mask >> m->items[i].rel->id & 1) != 0) {
            need_all(&m->items[i]);
        }
    }
}

static void see_joins(struct mentions *m, const struct level *l, const struct item *i)
{
    if (i->join == NULL) {
        return;
    }
    if (i->join->is_natural || i->join->alias != NULL || i->join->join_using_alias != NULL) {
        need_mask(m, l, i->mask);
    }
    m->joins_named |= i->join->alias != NULL || i->join->join_using_alias != NULL;
    see_joins(m, l, i->left);
    see_joins(m, l, i->right);
}

int workspace_columns(struct mentions *m, tnode *stmt, struct note *note)
{
    m->stmt = stmt;
    for (size_t i = 0; i < m->count; i++) {
        struct mention *x = &m->items[i];
        size_t columns = x->rel->known == NULL ? 0 : x->rel->known->columns_count;
        x->needed = arena_zero(&m->scope->build->scratch, columns + 1);
        x->all = columns == 0 || (x->rel->kind == REL_LOCAL && x->rel->var->schemaname[0] == 0) ||
                 (x->rel->var->alias != NULL && x->rel->var->alias->n_colnames > 0);
    }
    for (const struct level *l = m->scope->levels; l != NULL; l = l->next) {
        if (selects_star(l)) {
            need_mask(m, l, UINT64_MAX);
        }
        for (size_t i = 0; i < l->from_count; i++) {
            see_joins(m, l, l->from[i]);
        }
    }
    tree_walk_node(stmt, see, m);
    for (size_t i = 0; i < m->count; i++) {
        if (m->items[i].whole && m->odd_function) {
            return workspace_fail(note, "Name the columns.",
                                  "a row of a table as a value together with functions that may "
                                  "look at its type cannot run over several shards");
        }
    }
    return 1;
}

/* ---- names with a schema ----------------------------------------------------------------------
 */

struct unqualify {
    struct mentions *m;
    int failed;
};

static int see_qualifier(const ProtobufCMessage *m, void *arg)
{
    struct unqualify *u = arg;
    if (!MESSAGE_IS(m, column_ref)) {
        return 1;
    }
    union {
        const ProtobufCMessage *m;
        PgQuery__ColumnRef *c;
    } x = {.m = m};
    size_t n = x.c->n_fields;
    const char *table = n < 3 ? NULL : tree_string(x.c->fields[n - 2]);
    if (table == NULL) {
        return 0;
    }
    size_t same = 0;
    for (size_t i = 0; i < u->m->scope->rels_count; i++) {
        same += strcmp(u->m->scope->rels[i]->alias, table) == 0;
    }
    if (same != 1) {
        u->failed = 1; /* without the schema it may mean another one */
    } else {
        x.c->fields += n - 2;
        x.c->n_fields = 2;
    }
    return 0;
}

int workspace_unqualify(struct mentions *m, tnode *stmt, struct note *note)
{
    struct unqualify u = {m, 0};
    tree_walk_node(stmt, see_qualifier, &u);
    return !u.failed || workspace_fail(note, "Give the tables aliases.",
                                       "a column named with its schema is not clear in a statement "
                                       "that is finished in a workspace");
}

/* ---- the move ---------------------------------------------------------------------------------
 */

/* A star, columns, or a constant when only the number of rows counts. */
tnode **workspace_targets(struct mentions *m, const struct mention *x, size_t *count)
{
    struct arena *a = &m->scope->build->scratch;
    const struct catalog_table *t = x->rel->known;
    int by_name = x->rel->kind != REL_LOCAL || x->rel->var->schemaname[0] != 0;
    size_t columns = t == NULL ? 0 : t->columns_count;
    tnode **targets = arena_alloc(a, (columns + 1 + ROW_IDS) * sizeof(*targets));
    *count = 0;
    if (columns == 0 || !by_name) {
        PgQuery__ColumnRef *c = arena_alloc(a, sizeof(*c));
        PgQuery__AStar *star = arena_alloc(a, sizeof(*star));
        pg_query__column_ref__init(c);
        pg_query__a__star__init(star);
        c->fields = arena_alloc(a, sizeof(*c->fields));
        c->fields[0] = tree_new(a, NODE(A_STAR), star);
        c->n_fields = 1;
        targets[(*count)++] = tree_target(a, tree_new(a, NODE(COLUMN_REF), c), NULL);
        add_row_ids(a, x, targets, count);
        return targets;
    }
    for (size_t i = 0; i < columns; i++) {
        if (x->all || x->needed[i]) {
            targets[(*count)++] = tree_target(a, tree_column(a, NULL, t->columns[i].name), NULL);
        }
    }
    add_row_ids(a, x, targets, count);
    if (*count == 0) {
        targets[(*count)++] = tree_target(a, tree_int(a, 1), "braid_row");
    }
    return targets;
}

/* A name without a schema may be that of a temporary table, which the catalog does not know. */
static int is_unsure(const struct rel *r)
{
    return r->kind == REL_LOCAL && r->var->schemaname[0] == 0;
}

/* ---- primary keys -----------------------------------------------------------------------------
 */

static const struct catalog_unique *primary_of(const struct catalog_table *t)
{
    for (size_t i = 0; t != NULL && i < t->uniques_count; i++) {
        if (t->uniques[i].primary) {
            return &t->uniques[i];
        }
    }
    return NULL;
}

static int column_of_number(const struct catalog_table *t, int16_t number)
{
    for (size_t i = 0; i < t->columns_count; i++) {
        if (t->columns[i].number == number) {
            return (int)i;
        }
    }
    return -1;
}

int workspace_needs(const struct mention *x, int16_t number)
{
    int c = column_of_number(x->rel->known, number);
    return c >= 0 && (x->all || x->needed[c]);
}

/* Whether a GROUP BY item may be this column: by its name, or by a number or name of a select item.
 */
static int groups_by(const struct level *l, const char *name)
{
    for (size_t i = 0; i < l->select->n_group_clause; i++) {
        const tnode *n = l->select->group_clause[i];
        if (!IS(n, COLUMN_REF)) {
            return 1;
        }
        const char *last = tree_string(n->column_ref->fields[n->column_ref->n_fields - 1]);
        if (last == NULL || strcmp(last, name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* "a", "b" */
static const char *add_quoted(struct arena *a, const char *list, const char *name)
{
    struct buf quoted = {0};
    sql_put_quoted(&quoted, '"', name);
    const char *text = arena_printf(a, "%s%s" SLICE_FMT, list == NULL ? "" : list,
                                    list == NULL ? "" : ", ", SLICE_ARG(buf_slice(&quoted)));
    buf_free(&quoted);
    return text;
}

const char *workspace_primary_key(struct mentions *m, const struct mention *x)
{
    const struct level *l = x->rel->level;
    const struct catalog_table *t = x->rel->known;
    const struct catalog_unique *key = primary_of(t);
    if (key == NULL || is_unsure(x->rel) || l->select == NULL || l->select->n_group_clause == 0 ||
        (x->rel->var->alias != NULL && x->rel->var->alias->n_colnames > 0)) {
        return NULL;
    }
    struct arena *a = m->scope->build->out;
    const char *text = NULL;
    size_t moved = 0;
    for (size_t i = 0; i < t->columns_count; i++) {
        moved += x->all || x->needed[i];
    }
    for (size_t i = 0; i < key->columns_count; i++) {
        int c = column_of_number(t, key->columns[i]);
        if (c < 0 || !(x->all || x->needed[c]) || !groups_by(l, t->columns[c].name)) {
            return NULL;
        }
        text = add_quoted(a, text, t->columns[c].name);
    }
    return moved > key->columns_count ? text : NULL;
}

/* ---- indexes ----------------------------------------------------------------------------------
 */

/* PostgreSQL makes joins of EXISTS and IN by itself, but runs other sub-selects row by row. */
static int runs_per_row(const struct level *l)
{
    if (l->kind == LEVEL_FROM) {
        return l->as_rel != NULL && l->as_rel->lateral;
    }
    return l->kind == LEVEL_SUBLINK &&
           l->sublink->sub_link_type != PG_QUERY__SUB_LINK_TYPE__EXISTS_SUBLINK &&
           l->sublink->sub_link_type != PG_QUERY__SUB_LINK_TYPE__ANY_SUBLINK;
}

static const struct term *end_of(const struct fact *f, const struct rel *r)
{
    const struct term *mine = f->a.rel == r ? &f->a : &f->b;
    const struct term *other = f->a.rel == r ? &f->b : &f->a;
    return mine->rel == r && !mine->outer && other->rel != NULL && other->outer ? mine : NULL;
}

const char *workspace_index(struct mentions *m, const struct mention *x)
{
    const struct catalog_table *t = x->rel->known;
    uint8_t seen[SEEN_COLUMNS_MAX] = {0};
    const char *text = NULL;
    const PgQuery__Alias *alias = x->rel->var->alias;
    if (t == NULL || is_unsure(x->rel) || !runs_per_row(x->rel->level) ||
        (alias != NULL && alias->n_colnames > 0)) {
        return NULL;
    }
    for (const struct fact *f = m->scope->facts; f != NULL; f = f->next) {
        const struct term *mine =
            f->kind == FACT_EQUAL && f->level == x->rel->level ? end_of(f, x->rel) : NULL;
        if (mine != NULL && mine->column < t->columns_count && mine->column < SEEN_COLUMNS_MAX &&
            !seen[mine->column]) {
            seen[mine->column] = 1;
            text = add_quoted(m->scope->build->out, text, t->columns[mine->column].name);
        }
    }
    return text;
}
