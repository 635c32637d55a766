/*
 * What servers run by themselves when rows of a relation are read or written, where the statement
 * shows nothing of it: policies of row security, defaults, triggers, checks, rules. Each server
 * does that over its own rows, so it must be right there:
 *
 *     sharded tables      functions reach nothing or reference tables; a policy is planned as the
 *                         WHERE of a query of its table, which must be right shard by shard
 *     reference tables    the same, and no sharded table
 *     local tables        nothing that is sharded
 */

#include "planner/reach.h"

struct reach_table_memo {
    const struct catalog_table *table;
    uint8_t written;
    const char *why; /* NULL: it is right, or is being looked at */
    struct reach_table_memo *next;
};

/* What is wrong: words before and behind the name of the relation. */
struct wrong {
    const char *before, *behind;
};

static const struct wrong bad_policy = {"a row security policy of",
                                        "reads what may be on other shards"};
static const struct wrong bad_trigger = {"a trigger of",
                                         "may read or write tables that are on other shards"};
static const struct wrong bad_call = {
    "a default or check of",
    "calls a function that may read or write tables that are on other shards"};
static const struct wrong bad_rule = {"a rule of", "uses other tables"};
static const struct wrong bad_cascade = {
    "a table that refers to", "has triggers or checks that may read or write other shards"};
static const struct wrong bad_child = {
    "a partition or child of", "has triggers or checks that may read or write other shards"};
static const struct wrong bad_under = {"view", "reads tables that cannot be read"};

static const char *reach_of_table(struct build *b, const struct relation *r, int written);

/* Whether the query of a table with this condition is right wherever its rows are. */
static int condition_is_right(struct build *b, const struct relation *r, const char *condition)
{
    struct arena *arena = reach_state(b)->arena;
    struct buf sql = {0};
    buf_text(&sql, "SELECT 1 FROM ");
    sql_put_quoted(&sql, '"', r->schema);
    buf_u8(&sql, '.');
    sql_put_quoted(&sql, '"', r->name);
    buf_printf(&sql, " WHERE %s", condition);
    buf_u8(&sql, 0);
    struct slice text = arena_copy(arena, slice_bytes(sql.p, sql.n - 1));
    buf_free(&sql);
    PgQuery__ParseResult *parsed = NULL;
    struct note note;
    int position;
    if (tree_parse(text, arena, &parsed, &position, &note) || parsed->n_stmts != 1) {
        return 0;
    }
    struct build inner;
    struct plan_env env = *b->env;
    struct plan_batch batch = *b->batch;
    env.workspace = 0; /* policies run where the rows are */
    reach_build(b, &env, &batch, &inner);
    inner.path[0] = "pg_catalog"; /* all names are qualified */
    inner.path_count = 1;
    survey_node(&inner, parsed->stmts[0]->stmt, &inner.survey);
    struct plan *p = plan_new(&inner, text);
    plan_statement(&inner, parsed->stmts[0]->stmt, p);
    arena_free(&inner.scratch);
    if (r->table == NULL) {
        return p->kind == PLAN_ONE && p->_where->fixed != 0;
    }
    return p->kind == PLAN_MANY || (p->kind == PLAN_ONE && p->_where->fixed == 0) ||
           (p->kind == PLAN_ONE && p->_where->any);
}

static const struct wrong *reach_of_policies(struct build *b, const struct relation *r)
{
    const struct catalog_table *t = r->known;
    for (size_t i = 0; t->row_security && i < t->policies_count; i++) {
        if (!condition_is_right(b, r, t->policies[i])) {
            return &bad_policy;
        }
    }
    return NULL;
}

static const struct wrong *reach_of_calls(struct build *b, const struct relation *r)
{
    const struct catalog_table *t = r->known;
    for (size_t i = 0; i < t->calls_count; i++) {
        struct reach reach;
        size_t count;
        reach_function(b, t->calls[i].schema, t->calls[i].name, &reach, &count);
        char kind = t->calls[i].kind;
        if (kind == 't' || kind == 'b') {
            if (!reach_fits_trigger(&reach, r->table, kind == 'b')) {
                return &bad_trigger;
            }
        } else if (kind != 'p' && reach.kind != REACH_NOTHING &&
                   (r->table != NULL || reach.kind != REACH_HOME)) {
            return &bad_call;
        }
    }
    return NULL;
}

/* A rule writes elsewhere than the statement says. */
static const struct wrong *reach_of_rules(struct build *b, const struct relation *r)
{
    const struct catalog_table *t = r->known;
    for (size_t i = 0; t->has_rules && t->kind != 'v' && i < t->under_count; i++) {
        struct relation other;
        relation_find(b, t->under[i]->schema, t->under[i]->name, &other);
        if (r->table != NULL || relation_is_everywhere(b, &other)) {
            return &bad_rule;
        }
    }
    return NULL;
}

static int refers_to(const struct catalog_table *t, const struct catalog_table *target)
{
    for (size_t i = 0; i < t->foreigns_count; i++) {
        if (t->foreigns[i].target == target) {
            return 1;
        }
    }
    return 0;
}

static const struct wrong *look_at(struct build *b, const struct relation *r, int written)
{
    const struct map *map = b->env->map;
    const struct wrong *why = reach_of_policies(b, r);
    if (why == NULL && written) {
        why = reach_of_calls(b, r);
    }
    if (why == NULL && written) {
        why = reach_of_rules(b, r);
    }
    for (size_t i = 0; why == NULL && written && r->table != NULL && i < map->tables_count; i++) {
        struct relation other; /* ON DELETE CASCADE fires the triggers of the other table */
        relation_find(b, map->tables[i].schema, map->tables[i].name, &other);
        if (other.known != NULL && other.known != r->known && refers_to(other.known, r->known)) {
            why = reach_of_table(b, &other, 1) != NULL ? &bad_cascade : NULL;
        }
    }
    for (size_t i = 0; why == NULL && written && i < r->known->children_count; i++) {
        struct relation child = {r->known->children[i]->schema, r->known->children[i]->name,
                                 r->table, r->known->children[i]};
        why = reach_of_table(b, &child, written) != NULL ? &bad_child : NULL;
    }
    for (size_t i = 0;
         why == NULL && r->table == NULL && r->known->kind == 'v' && i < r->known->under_count;
         i++) { /* views of the home shard are not looked into */
        struct relation under;
        relation_find(b, r->known->under[i]->schema, r->known->under[i]->name, &under);
        why = under.known != NULL && under.known != r->known &&
                      reach_of_table(b, &under, written) != NULL
                  ? &bad_under
                  : NULL;
    }
    return why;
}

static const char *reach_of_table(struct build *b, const struct relation *r, int written)
{
    struct reach_state *state = reach_state(b);
    const struct catalog_table *t = r->known;
    if (t->policies_count + t->calls_count == 0 && !t->has_rules && t->kind != 'v' &&
        t->children_count == 0 && !(written && t->referred)) {
        return NULL;
    }
    struct reach_table_memo *m = state->tables;
    while (m != NULL && (m->table != t || m->written != written)) {
        m = m->next;
    }
    if (m == NULL) {
        m = arena_zero(state->arena, sizeof(*m));
        m->table = t;
        m->written = (uint8_t)written;
        m->next = state->tables;
        state->tables = m;
        const struct wrong *why = look_at(b, r, written);
        m->why = why == NULL ? NULL
                             : arena_printf(state->arena, "%s \"%s\" %s", why->before, t->name,
                                            why->behind);
    }
    return m->why;
}

int reach_table(struct build *b, const struct relation *r, int written, struct note *note)
{
    const char *why =
        r->known == NULL || b->env->map->tables_count == 0 ? NULL : reach_of_table(b, r, written);
    if (why != NULL) {
        note_set(note, ERR_UNSUPPORTED, "%s", why);
        note_hint(note, "What a server does by itself must need no more than reference tables.");
    }
    return why == NULL;
}

int reach_relations(struct scope *s, struct note *note)
{
    for (size_t i = 0; i < s->rels_count; i++) {
        const struct rel *rel = s->rels[i];
        struct relation r = {rel->schema, rel->name, rel->table, rel->known};
        if (rel->kind != REL_QUERY && rel->known != NULL &&
            !reach_table(s->build, &r, rel->target, note)) {
            return 0;
        }
    }
    return 1;
}
