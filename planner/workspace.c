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
#include "planner/write_inner.h"

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
    w->rest_shards = b->survey.home ? 1 : map_all(b->env->map);
    w->param_types = arena_zero(&b->scratch, (b->survey.params_max + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < b->survey.params_max; i++) {
        uint32_t declared = i < b->env->param_types_count ? b->env->param_types[i] : 0;
        int certain = b->param_seen != NULL && b->param_seen[i] == b->survey.param_uses[i];
        w->param_types[i] = declared != 0 ? declared : certain ? b->param_types[i] : 0;
    }
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
    const struct virtual_table *virtuals;
    size_t virtuals_count;
};

static void part_begin(struct workspace *w, const tnode *select, int is_source, struct part *saved)
{
    struct build *b = w->build;
    saved->survey = b->survey;
    saved->param_types = b->param_types;
    saved->param_seen = b->param_seen;
    saved->env = b->env;
    saved->virtuals = b->virtuals;
    saved->virtuals_count = b->virtuals_count;
    saved->part_env = *b->env;
    saved->part_env.param_types = w->param_types;
    saved->part_env.param_types_count = b->survey.params_max;
    saved->part_env.workspace = 0; /* no workspace inside of another */
    saved->part_env.binary = is_source || b->env->binary;
    b->env = &saved->part_env;
    b->virtuals = w->virtuals;
    b->virtuals_count = w->moves_count;
    survey_node(b, select, &b->survey);
    for (uint32_t i = 0; i < b->survey.params_max; i++) {
        if (w->param_types[i] == 0) {
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
    b->virtuals = saved->virtuals;
    b->virtuals_count = saved->virtuals_count;
}

/* `select` planned for one shard, else for several. DISTINCT of one that asks `once` is each
 * shard's own. */
static int plan_part(struct build *b, tnode *select, int once, struct plan *p,
                     const struct catalog_table **columns, struct note *note)
{
    tnode *copy = tree_copy(&b->scratch, select);
    copy->select_stmt->n_distinct_clause = once ? 0 : copy->select_stmt->n_distinct_clause;
    struct scope *s = scope_build(b, copy);
    if (columns != NULL) {
        *columns = workspace_virtual_columns(s);
    }
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

/* The text comes last: a part that cannot be planned needs none. */
static int give_text(struct build *b, const tnode *select, const char *text, struct plan *p,
                     struct note *note)
{
    const char *placeholder = (const char *)p->text.p;
    union {
        const tnode *in;
        tnode *out;
    } u = {.in = select};
    if (text == NULL && tree_deparse_again(&b->written, u.out, &b->scratch, &text, note)) {
        return 0;
    }
    p->text = arena_copy(b->out, slice_of(text));
    if (p->kind == PLAN_MANY && p->shard_sql == placeholder) {
        p->shard_sql = (const char *)p->text.p;
    }
    return 1;
}

static struct plan *plan_with_text(struct workspace *w, tnode *select, const char *text, int once,
                                   const struct catalog_table **columns, struct note *note)
{
    struct build *b = w->build;
    struct part saved;
    part_begin(w, select, columns != NULL, &saved);
    struct plan *p = plan_new(b, SLICE(""));
    int ok = plan_part(b, select, once, p, columns, note);
    part_end(b, &saved);
    return ok && give_text(b, select, text, p, note) ? p : NULL;
}

struct plan *workspace_plan_part(struct workspace *w, tnode *select, struct note *note)
{
    return plan_with_text(w, select, NULL, 0, NULL, note);
}

static int can_be_moved(const struct plan *x)
{
    int as_it_is = x->shard_sql != NULL && x->combine != NULL && x->combine->mode == COMBINE_CONCAT;
    if (x->kind == PLAN_ROWS) {
        return x->returns_rows &&
               (x->rows->source->kind == PLAN_ONE || x->rows->source->kind == PLAN_MANY);
    }
    return x->kind == PLAN_WRITE && x->returns_rows && (x->split != NULL || as_it_is);
}

/* The plan as it is sent, and a text for questions: what it reads. */
static int take_write(struct workspace *w, struct plan *p, struct slice read, struct note *note)
{
    for (struct plan *x = p; x != NULL; x = x->otherwise) {
        if (x->kind == PLAN_REFUSE && x != p) {
            return 1;
        }
        if (x->kind == PLAN_REFUSE) {
            *note = x->note;
            w->plan->err = x->err == ERR_UNSUPPORTED ? ERR_NONE : x->err;
            return 0;
        }
        if (x->kind == PLAN_ONE) {
            x->kind = PLAN_WRITE;
            x->shard_sql = (const char *)x->text.p;
            x->combine = arena_zero(w->build->out, sizeof(*x->combine));
        }
        if (!can_be_moved(x)) {
            return workspace_fail(note, "Write it as a statement of its own.",
                                  "this WITH query cannot be done shard by shard");
        }
        x->text = read;
    }
    return 1;
}

/* Its rows are where the moves' tables are, and no id must be drawn there: that is rolled back. */
static void plan_over(struct build *b, tnode *write, struct plan *p)
{
    struct note note;
    p->returns_rows = 1;
    enum err e = insert_rows(b, write, p, &note);
    if (!e && (p->rows->source->kind != PLAN_ONE || !p->rows->source->_where->any)) {
        e = note_set(&note, ERR_UNSUPPORTED,
                     "this WITH query cannot be run over the rows of another");
        note_hint(&note, "Write it as a statement of its own.");
    }
    if (e) {
        refuse_note(p, e, &note);
    }
}

struct plan *workspace_plan_write(struct workspace *w, tnode *write, const tnode *read, int over,
                                  struct note *note)
{
    struct build *b = w->build;
    struct part saved;
    const char *text = NULL;
    const char *read_text = NULL;
    if (tree_deparse(write, &b->scratch, &text, note) ||
        tree_deparse(tree_copy(&b->scratch, read), &b->scratch, &read_text, note)) {
        return NULL;
    }
    part_begin(w, write, 1, &saved);
    struct plan *p = plan_new(b, arena_copy(b->out, slice_of(text)));
    p->tag = "SELECT";
    p->any_params = b->survey.params_max > 0;
    saved.part_env.workspace = saved.env->workspace >= ENV_WRITES_ROWS ? saved.env->workspace : 0;
    if (over) {
        plan_over(b, write, p);
    } else if (IS(write, INSERT_STMT)) {
        plan_insert(b, write, p);
    } else if (IS(write, UPDATE_STMT)) {
        plan_update(b, write, p);
    } else {
        plan_delete(b, write, p);
    }
    part_end(b, &saved);
    return take_write(w, p, arena_copy(b->out, slice_of(read_text)), note) ? p : NULL;
}

/* ---- moves ------------------------------------------------------------------------------------
 */

/* A source that was planned for another way to do the same statement. */
struct source {
    const char *text;
    struct plan *plan;
    const struct catalog_table *columns;
    struct source *next;
};

static struct plan *plan_source(struct workspace *w, const struct moving *m,
                                const struct catalog_table **columns, struct note *note)
{
    struct build *b = w->build;
    const char *text = m->text;
    int shared = strstr(text, "pg_temp." WORKSPACE_PREFIX) == NULL;
    for (const struct source *s = b->sources; s != NULL && shared; s = s->next) {
        if (strcmp(s->text, text) == 0) {
            *columns = s->columns;
            return s->plan;
        }
    }
    struct plan *p = plan_with_text(w, m->select, text, m->once, columns, note);
    if (p != NULL && shared) {
        struct source *s = arena_alloc(&b->scratch, sizeof(*s));
        *s = (struct source){text, p, *columns, b->sources};
        b->sources = s;
    }
    return p;
}

/* What it gives, when it is planned later. */
static const struct catalog_table *columns_of(struct workspace *w, tnode *select)
{
    struct part saved;
    part_begin(w, select, 1, &saved);
    const struct catalog_table *columns = workspace_virtual_columns(scope_build(w->build, select));
    part_end(w->build, &saved);
    return columns;
}

static struct plan_move *find_move(struct workspace *w, const char *text, const struct move *m)
{
    for (size_t i = 0; i < w->moves_count; i++) {
        struct plan_move *x = &w->moves[i];
        int same_keys = m->keys == NULL ||
                        (x->keys != NULL && x->keys[0] == m->keys[0] && m->like->keys_count == 1);
        if (strcmp(w->moving[i].text, text) == 0 && x->to == m->to && x->like == m->like &&
            same_keys && x->only_apart == m->only_apart) {
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
    int later = m->later || w->dry;
    const struct catalog_table *columns = NULL;
    struct plan *source = NULL;
    if (m->unsure && !later) {
        source = plan_with_text(w, m->select, NULL, m->once, &columns, note);
        if (source == NULL) {
            return NULL;
        }
    }
    if (tree_deparse_again(&b->written, m->select, &b->scratch, &text, note)) {
        return NULL;
    }
    struct plan_move *same = m->alone ? NULL : find_move(w, text, m);
    if (same != NULL) {
        same->primary_key = m->primary_key != NULL ? m->primary_key : same->primary_key;
        same->index = m->index != NULL ? m->index : same->index;
        return same->table;
    }
    const struct moving moving = {text, m->select, m->once};
    if (later) {
        columns = columns_of(w, m->select);
    } else if (source == NULL) {
        source = plan_source(w, &moving, &columns, note);
    }
    if (source == NULL && !later) {
        return NULL;
    }
    size_t i = w->moves_count++;
    struct plan_move *x = &w->moves[i];
    w->moving[i] = moving;
    *x = (struct plan_move){.source = source,
                            .to = m->to,
                            .like = m->like,
                            .keys = m->keys,
                            .only_apart = m->only_apart ? 1 : 0,
                            .primary_key = m->primary_key,
                            .index = m->index,
                            .rows = m->rows,
                            .bytes = m->bytes,
                            .why = m->why};
    x->table = arena_printf(b->out, WORKSPACE_PREFIX "%zu", w->moves_count);
    workspace_virtual(w, x, columns);
    return x->table;
}

int workspace_plan_later(struct workspace *w, struct note *note)
{
    for (size_t i = 0; i < w->moves_count; i++) {
        const struct catalog_table *columns;
        if (w->moves[i].source == NULL) {
            w->moves[i].source = plan_source(w, &w->moving[i], &columns, note);
            if (w->moves[i].source == NULL) {
                return 0;
            }
        }
    }
    return 1;
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
    if (tree_deparse_again(&b->written, stmt, &b->scratch, &text, note)) {
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

static const struct plan_move *keep_moves(struct build *b, const struct workspace *w)
{
    struct plan_move *moves = arena_alloc(b->out, (w->moves_count + 1) * sizeof(*moves));
    memcpy(moves, w->moves, w->moves_count * sizeof(*moves));
    return moves;
}

void workspace_finish(struct workspace *w, const struct workspace *apart, const char *why_not)
{
    struct build *b = w->build;
    struct plan *p = w->plan;
    p->kind = PLAN_WORKSPACE;
    p->rung = "workspace";
    p->_where = NULL;
    p->moves = keep_moves(b, w);
    p->moves_count = w->moves_count;
    p->rest = w->rest;
    p->rest_apart = w->rest_apart;
    if (apart != NULL) {
        p->moves_apart = keep_moves(b, apart);
        p->moves_apart_count = apart->moves_count;
        p->rest_apart = apart->rest_apart != NULL ? apart->rest_apart : apart->rest;
    }
    p->returns_rows = 1;
    p->touches_sharded = 1;
    p->why_not = why_not == NULL ? NULL : arena_strdup(b->out, why_not);
}

/* ---- the rung ---------------------------------------------------------------------------------
 */

static int may_be_moved(const struct build *b, struct note *note)
{
    const struct survey *v = &b->survey;
    if (v->locking && b->row_ids == NULL) {
        return note->text[0] != 0
                   ? 0
                   : workspace_fail(note, "Lock rows of one sharding key at a time.",
                                    "FOR UPDATE and FOR SHARE cannot run over several shards");
    }
    if ((v->changing_ctes && b->env->workspace < ENV_WRITES) || v->current_of) {
        return workspace_fail(
            note, "Write it as statements of their own.",
            "cursors and WITH queries that change rows cannot run over several shards");
    }
    if (v->system_columns) {
        return workspace_fail(note, "Compare the sharding key with a constant.",
                              "system columns and object identifiers differ between shards");
    }
    if (v->shows_temp) {
        return workspace_fail(
            note, "Leave the implicit schemas out: current_schemas(false).",
            "current_schemas(true) cannot be used in a statement that is finished in a workspace");
    }
    if (v->calls != NULL || v->bodies_read || v->bodies_write) {
        return workspace_fail(note, "Call the function in a statement of its own.",
                              "a function that uses tables cannot run in a statement over several "
                              "shards");
    }
    return b->env->catalog != NULL && v->pins == 0 && !v->asks_sequence;
}

/* Types are seen when rows come: a combiner may then have to say no. */
static int may_fail_late(const struct workspace *w)
{
    if (w->rest->kind == PLAN_MANY && w->rest->combine->mode != COMBINE_CONCAT) {
        return 1;
    }
    for (size_t i = 0; i < w->moves_count; i++) {
        const struct plan *s = w->moves[i].source;
        if (s->kind == PLAN_MANY && s->combine->mode != COMBINE_CONCAT) {
            return 1;
        }
    }
    return 0;
}

int workspace_plain(struct build *b, tnode *stmt, struct plan *p, const char *why_not)
{
    struct note ignored = {0};
    if (!may_be_moved(b, &ignored) || b->survey.changing_ctes) {
        return 0;
    }
    struct workspace *w = workspace_begin(b, p);
    if (!workspace_gather(w, stmt, 0, &ignored)) {
        return 0;
    }
    workspace_finish(w, NULL, why_not);
    return 1;
}

struct plan *plan_like(struct build *b, const struct plan *p)
{
    struct plan *like = plan_new(b, p->text);
    like->tag = p->tag;
    like->reads_only = p->reads_only;
    like->any_params = p->any_params;
    return like;
}

/* For EXPLAIN: the way that was taken, and what it was preferred to. */
static void say_way(struct build *b, struct plan *p, const struct workspace *gathered,
                    const struct workspace *placed)
{
    enum {
        KB = 1024
    };
    uint64_t one = workspace_bytes(gathered, 1) / KB + 1;
    if (placed == NULL) {
        p->way = arena_printf(b->out, "gather, about %llu kB", (unsigned long long)one);
        return;
    }
    uint64_t many = workspace_bytes(placed, b->env->map->shards_count) / KB + 1;
    p->way = arena_printf(b->out, "to the shards, about %llu kB; a gather would move %llu kB",
                          (unsigned long long)many, (unsigned long long)one);
}

int workspace_select(struct build *b, tnode *stmt, struct plan *p, struct note *note)
{
    struct note why_not = *note;
    if (!may_be_moved(b, note)) {
        return 0;
    }
    if (b->survey.changing_ctes) {
        return workspace_writes(b, stmt, p, note);
    }
    struct workspace *w = workspace_begin(b, p);
    tnode *untouched = tree_copy(&b->scratch, stmt);
    struct note ignored;
    int groups = workspace_groups(w, tree_copy(&b->scratch, stmt), &ignored);
    if (!groups) {
        w = workspace_begin(b, p);
        if (!workspace_gather(w, stmt, 1, note)) {
            return 0;
        }
    }
    struct workspace *placed = b->env->workspace > 1 && !groups && !b->survey.home
                                   ? workspace_place(b, untouched, p, w)
                                   : NULL;
    if (placed != NULL) {
        workspace_finish(placed, w, why_not.text);
    } else {
        workspace_finish(w, NULL, why_not.text);
    }
    say_way(b, p, w, placed);
    if (may_fail_late(w) || (placed != NULL && may_fail_late(placed))) {
        struct plan *plain = plan_like(b, p);
        p->otherwise = workspace_plain(b, untouched, plain, why_not.text) ? plain : NULL;
    }
    return 1;
}
