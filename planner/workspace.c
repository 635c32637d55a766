/*
 * What the rungs above cannot do: rows are moved to where PostgreSQL itself can finish the
 * statement. This file makes the plan out of moves and the rest, and knows the first way, which
 * always works: every mention of a sharded table is moved to one server, with the columns and rows
 * that can matter.
 *
 *     SELECT u.name, e.what FROM users u JOIN events e ON e.what = u.email WHERE u.country = 'nl'
 *     moves:  braid_w1  SELECT name, email FROM public.users WHERE country = 'nl'
 *             braid_w2  SELECT what FROM public.events
 *     rest:   SELECT u.name, e.what FROM pg_temp.braid_w1 u JOIN pg_temp.braid_w2 e ON e.what =
 *             u.email WHERE u.country = 'nl'
 *
 * The rest keeps every clause of the statement, so a move may bring too many rows and columns,
 * never too few. Local and reference tables are read in place, or moved too (rest_apart).
 */

#include <string.h>

#include "planner/workspace_inner.h"

#define TABLE_PREFIX "braid_w"

int workspace_fail(struct note *note, const char *hint, const char *why)
{
    note_set(note, ERR_UNSUPPORTED, "%s", why);
    note_hint(note, "%s", hint);
    return 0;
}

struct workspace *workspace_begin(struct build *b, struct plan *p)
{
    struct workspace *w = arena_zero(&b->scratch, sizeof(*w));
    w->build = b;
    w->plan = p;
    w->rest_shards = map_all(b->env->map);
    return w;
}

/* ---- sources ----------------------------------------------------------------------------------
 */

/* A part of the statement is planned as a statement of its own. The types of parameters are those
 * that the whole tells; what it does not tell is not used. */
struct part {
    struct survey survey;
    uint32_t *param_types;
    uint16_t *param_seen;
    const struct plan_env *env;
    struct plan_env part_env;
};

static void part_begin(struct build *b, const tnode *select, struct part *saved)
{
    uint32_t *types = arena_zero(&b->scratch, (b->survey.params_max + 1) * sizeof(*types));
    for (uint32_t i = 0; i < b->survey.params_max; i++) {
        uint32_t declared = i < b->env->param_types_count ? b->env->param_types[i] : 0;
        int certain = b->param_seen != NULL && b->param_seen[i] == b->survey.param_uses[i];
        types[i] = declared != 0 ? declared : certain ? b->param_types[i] : 0;
    }
    saved->survey = b->survey;
    saved->param_types = b->param_types;
    saved->param_seen = b->param_seen;
    saved->env = b->env;
    saved->part_env = *b->env;
    saved->part_env.param_types = types;
    saved->part_env.param_types_count = b->survey.params_max;
    saved->part_env.workspace = 0; /* no workspace inside of another */
    b->env = &saved->part_env;
    survey_node(b, select, &b->survey);
    for (uint32_t i = 0; i < b->survey.params_max; i++) {
        if (types[i] == 0) {
            b->survey.param_uses[i] = UINT16_MAX;
        }
    }
}

static void part_end(struct build *b, const struct part *saved)
{
    b->survey = saved->survey;
    b->param_types = saved->param_types;
    b->param_seen = saved->param_seen;
    b->env = saved->env;
}

/* `select` planned for one shard, else for several. */
static int plan_part(struct build *b, tnode *select, struct plan *p, struct note *note)
{
    tnode *copy = tree_copy(&b->scratch, select);
    struct scope *s = scope_build(b, copy);
    p->tag = "SELECT";
    p->reads_only = b->survey.reads_only;
    p->returns_rows = 1;
    p->any_params = b->survey.params_max > 0;
    route(b, s, p);
    if (p->kind == PLAN_REFUSE) {
        *note = p->note;
        return 0;
    }
    if (p->kind == PLAN_ONE && !route_needs_otherwise(p)) {
        return 1;
    }
    note->text[0] = note->hint[0] = 0;
    return spread_select(b, s, copy, p, note);
}

static struct plan *plan_source(struct build *b, tnode *select, struct note *note)
{
    const char *text = NULL;
    if (tree_deparse(select, &b->scratch, &text, note)) {
        return NULL;
    }
    struct part saved;
    part_begin(b, select, &saved);
    struct plan *p = plan_new(b, slice_of(text));
    int ok = plan_part(b, select, p, note);
    part_end(b, &saved);
    return ok ? p : NULL;
}

/* ---- moves ------------------------------------------------------------------------------------
 */

static const struct plan_move *find_move(const struct workspace *w, const char *text,
                                         const struct move *m)
{
    for (size_t i = 0; i < w->moves_count; i++) {
        const struct plan_move *x = &w->moves[i];
        if (slice_is(x->source->text, text) && x->to == m->to && x->like == m->like &&
            x->only_apart == m->only_apart && m->to != MOVE_TO_SHARDS) {
            return x;
        }
    }
    return NULL;
}

const char *workspace_move(struct workspace *w, const struct move *m, struct note *note)
{
    struct build *b = w->build;
    const char *text = NULL;
    if (w->moves_count == WORKSPACE_MOVES_MAX) {
        workspace_fail(note, "Split it into smaller statements.", "too many tables to move");
        return NULL;
    }
    if (tree_deparse(m->select, &b->scratch, &text, note)) {
        return NULL;
    }
    const struct plan_move *same = find_move(w, text, m);
    if (same != NULL) {
        if (m->primary_key != NULL) {
            w->moves[same - w->moves].primary_key = m->primary_key;
        }
        return same->table;
    }
    struct plan *source = plan_source(b, m->select, note);
    if (source == NULL) {
        return NULL;
    }
    struct plan_move *x = &w->moves[w->moves_count++];
    *x = (struct plan_move){.source = source,
                            .to = m->to,
                            .like = m->like,
                            .keys = m->keys,
                            .only_apart = m->only_apart ? 1 : 0,
                            .primary_key = m->primary_key,
                            .rows = m->rows,
                            .bytes = m->bytes,
                            .why = m->why};
    x->table = arena_printf(b->out, TABLE_PREFIX "%zu", w->moves_count);
    return x->table;
}

tnode *workspace_table(struct workspace *w, const char *table, const char *alias)
{
    struct arena *a = &w->build->scratch;
    tnode *n = tree_range_var(a, "pg_temp", table);
    if (alias != NULL) {
        PgQuery__Alias *as = arena_alloc(a, sizeof(*as));
        pg_query__alias__init(as);
        as->aliasname = arena_strdup(a, alias);
        n->range_var->alias = as;
    }
    return n;
}

/* ---- the plan ---------------------------------------------------------------------------------
 */

int workspace_rest(struct workspace *w, tnode *stmt, int apart, struct note *note)
{
    struct build *b = w->build;
    const char *text = NULL;
    if (tree_deparse(stmt, &b->scratch, &text, note)) {
        return 0;
    }
    struct plan *p = plan_new(b, slice_of(text));
    p->kind = PLAN_ONE;
    p->tag = w->plan->tag;
    p->rung = "workspace";
    p->reads_only = w->plan->reads_only;
    p->returns_rows = 1;
    p->any_params = w->plan->any_params;
    plan_set_fixed(b, p, w->rest_shards);
    p->_where->any = w->rest_shards != 1;
    if (apart) {
        w->rest_apart = p;
    } else {
        w->rest = p;
    }
    return 1;
}

void workspace_finish(struct workspace *w, const char *why_not)
{
    struct build *b = w->build;
    struct plan *p = w->plan;
    struct plan_move *moves = arena_alloc(b->out, (w->moves_count + 1) * sizeof(*moves));
    memcpy(moves, w->moves, w->moves_count * sizeof(*moves));
    p->kind = PLAN_WORKSPACE;
    p->rung = "workspace";
    p->_where = NULL;
    p->moves = moves;
    p->moves_count = w->moves_count;
    p->rest = w->rest;
    p->rest_apart = w->rest_apart;
    p->returns_rows = 1;
    p->touches_sharded = 1;
    p->why_not = why_not == NULL ? NULL : arena_strdup(b->out, why_not);
}

/* ---- gather -----------------------------------------------------------------------------------
 */

/* Stands in the definition of a view, not in the statement. */
static int is_inside_view(const struct rel *r)
{
    const struct level *l = r->level;
    while (l != NULL && !l->view) {
        l = l->parent;
    }
    return l != NULL;
}

/* Whether the workspace may read it where it is. */
static int reads_in_place(struct build *b, const struct rel *r)
{
    if (r->kind == REL_LOCAL) { /* what the catalog does not know may be a temporary table */
        return r->known != NULL;
    }
    return r->kind == REL_REFERENCE ||
           (r->kind == REL_QUERY && relation_view_class(b, r->known) == VIEW_REFERENCE);
}

/* Relations that move; 0: one of them must not. */
static int collect_mentions(struct mentions *m, struct note *note)
{
    struct scope *s = m->scope;
    for (size_t i = 0; i < s->rels_count; i++) {
        struct rel *r = s->rels[i];
        if (r->var == NULL || is_inside_view(r)) {
            continue;
        }
        if (strncmp(r->var->relname, TABLE_PREFIX, strlen(TABLE_PREFIX)) == 0) {
            return workspace_fail(note, "Give the table another name.",
                                  "tables named braid_w are those of the workspace itself");
        }
        struct mention *x = &m->items[m->count++];
        x->rel = r;
        x->apart = (uint8_t)reads_in_place(s->build, r);
        if (r->sampled && r->kind == REL_SHARDED) {
            return workspace_fail(note, "Use WHERE random() < ...",
                                  "TABLESAMPLE of a sharded table cannot be used in a statement "
                                  "that is finished in a workspace");
        }
    }
    return 1;
}

/* SELECT columns FROM [ONLY] table WHERE what is known of it. */
static tnode *select_of(struct mentions *m, const struct mention *x)
{
    struct arena *a = &m->scope->build->scratch;
    const struct rel *r = x->rel;
    int named = r->var->schemaname[0] != 0 || r->kind != REL_LOCAL;
    tnode *table = tree_range_var(a, named ? r->schema : "", r->var->relname);
    table->range_var->inh = r->var->inh;
    size_t count = 0;
    tnode **targets = workspace_targets(m, x, &count);
    return tree_select(a, targets, count, table, workspace_filter(m->scope, x->rel));
}

static void put_table(struct workspace *w, const struct mention *x)
{
    struct arena *a = &w->build->scratch;
    PgQuery__RangeVar *v = x->rel->var;
    if (v->alias == NULL) {
        v->alias = arena_alloc(a, sizeof(*v->alias));
        pg_query__alias__init(v->alias);
        v->alias->aliasname = arena_strdup(a, v->relname);
    }
    v->catalogname = arena_strdup(a, "");
    v->schemaname = arena_strdup(a, "pg_temp");
    v->relname = arena_strdup(a, x->table);
    v->inh = 1;
}

/* Move the mentions of one kind and put the tables in their places. */
static int move_mentions(struct workspace *w, struct mentions *m, int apart, struct note *note)
{
    for (size_t i = 0; i < m->count; i++) {
        struct mention *x = &m->items[i];
        if (x->apart != apart) {
            continue;
        }
        struct move move = {.select = select_of(m, x),
                            .to = MOVE_TO_ONE,
                            .only_apart = x->apart,
                            .primary_key = workspace_primary_key(m, x),
                            .why = "gather"};
        x->table = workspace_move(w, &move, note);
        if (x->table == NULL) {
            return 0;
        }
    }
    for (size_t i = 0; i < m->count; i++) {
        if (m->items[i].apart == apart) {
            put_table(w, &m->items[i]);
        }
    }
    return 1;
}

static int gather(struct workspace *w, tnode *stmt, struct note *note)
{
    struct build *b = w->build;
    struct mentions *m = arena_zero(&b->scratch, sizeof(*m));
    m->scope = scope_build(b, stmt);
    if (m->scope->err) {
        *note = m->scope->note;
        return 0;
    }
    size_t in_place = 0;
    if (!collect_mentions(m, note) || !workspace_columns(m, stmt, note) ||
        !workspace_unqualify(m, stmt, note)) {
        return 0;
    }
    for (size_t i = 0; i < m->count; i++) {
        in_place += m->items[i].apart;
    }
    int home = b->survey.home || b->survey.regcast;
    for (size_t i = 0; i < m->count; i++) {
        home |= m->items[i].apart && m->items[i].rel->kind == REL_LOCAL;
    }
    w->rest_shards = home ? 1 : map_all(b->env->map);
    if (!move_mentions(w, m, 0, note) || !workspace_rest(w, stmt, 0, note)) {
        return 0;
    }
    return in_place == 0 || (move_mentions(w, m, 1, note) && workspace_rest(w, stmt, 1, note));
}

/* ---- the rung ---------------------------------------------------------------------------------
 */

static int may_be_moved(const struct build *b, struct note *note)
{
    const struct survey *v = &b->survey;
    if (v->locking) {
        return workspace_fail(note, "Lock rows of one sharding key at a time.",
                              "FOR UPDATE and FOR SHARE cannot run over several shards");
    }
    if (v->changing_ctes || v->current_of) {
        return workspace_fail(
            note, "Write it as statements of their own.",
            "cursors and WITH queries that change rows cannot run over several shards");
    }
    if (v->system_columns) {
        return workspace_fail(note, "Compare the sharding key with a constant.",
                              "system columns and object identifiers differ between shards");
    }
    return b->env->catalog != NULL && v->pins == 0 && !v->asks_sequence;
}

int workspace_select(struct build *b, tnode *stmt, struct plan *p, struct note *note)
{
    struct note why_not = *note;
    if (!may_be_moved(b, note)) {
        return 0;
    }
    struct workspace *w = workspace_begin(b, p);
    if (!gather(w, stmt, note)) {
        return 0;
    }
    workspace_finish(w, why_not.text);
    return 1;
}
