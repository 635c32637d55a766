/*
 * What functions of users reach. What the functions in a body (reach_body.c) reach is found in the
 * same way; one that is being looked at already adds nothing to itself.
 *
 * A body is read anew for every text that is planned, never for one found in the plan cache.
 */

#include "planner/reach.h"

#include <string.h>
#include <strings.h>

struct reach_memo {
    const struct catalog_function *function;
    const char *search_path; /* of the caller */
    struct reach reach;
    uint8_t open, recursed;
    struct reach_memo *outer; /* the one that was being looked at before */
    struct reach_memo *next;
};

enum {
    DEPTH_OF_CALLS_MAX = 16
};

void reach_unknown(struct reach *out, const char *why)
{
    if (out->kind != REACH_UNKNOWN) {
        out->kind = REACH_UNKNOWN;
        out->why = why;
    }
}

static int same_key(const struct reach *a, const struct reach *b)
{
    if (a->table->group != b->table->group || a->table->kind != b->table->kind ||
        (a->table->kind != MAP_HASH && a->table != b->table) ||
        a->table->keys_count != b->table->keys_count) {
        return 0;
    }
    return memcmp(a->args, b->args, a->table->keys_count * sizeof(a->args[0])) == 0;
}

void reach_add(struct reach *into, const struct reach *part)
{
    into->row_any |= part->row_any | (into->row_columns_count > 0 && part->row_columns_count > 0);
    if (part->row_columns_count > 0) {
        into->row_columns = part->row_columns;
        into->row_columns_count = part->row_columns_count;
    }
    into->writes |= part->writes;
    into->reads |= part->reads;
    into->pins |= part->pins;
    if (part->kind == REACH_NOTHING || into->kind == REACH_UNKNOWN) {
        return;
    }
    if (part->kind == REACH_UNKNOWN) {
        reach_unknown(into, part->why);
    } else if (into->kind == REACH_NOTHING) {
        struct reach before = *into;
        *into = *part;
        into->row_columns = before.row_columns;
        into->row_columns_count = before.row_columns_count;
        into->row_any = before.row_any;
        into->writes |= before.writes;
        into->reads |= before.reads;
        into->pins |= before.pins;
    } else if (into->kind != part->kind) {
        reach_unknown(into, "it uses sharded tables together with what is only on the home shard");
    } else if (into->kind == REACH_KEYED) {
        if (!same_key(into, part)) {
            reach_unknown(into, "it uses sharded tables by different keys");
        }
        into->key_written |= part->key_written;
    }
}

struct reach_state *reach_state(struct build *b)
{
    if (b->reach == NULL) {
        b->reach = arena_zero(&b->scratch, sizeof(*b->reach));
        b->reach->arena = &b->scratch;
    }
    return b->reach;
}

int reach_fits_trigger(const struct reach *r, const struct map_table *t, int before)
{
    if (t == NULL) {
        return r->kind == REACH_NOTHING || r->kind == REACH_HOME;
    }
    for (size_t k = 0; before && t->kind != MAP_REFERENCE && k < t->keys_count; k++) {
        for (size_t i = 0; i < r->row_columns_count; i++) {
            if (strcmp(r->row_columns[i], t->keys[k]) == 0) {
                return 0;
            }
        }
    }
    if (before && r->row_any && t->keys_count > 0) {
        return 0;
    }
    if (r->kind != REACH_KEYED) {
        return r->kind == REACH_NOTHING;
    }
    if (t->kind != r->table->kind || t->group != r->table->group ||
        (t->kind != MAP_HASH && t != r->table) || t->keys_count != r->table->keys_count) {
        return 0;
    }
    for (size_t k = 0; k < t->keys_count; k++) {
        if (strcmp(r->arg_names[k], t->keys[k]) != 0) {
            return 0;
        }
    }
    return 1;
}

void reach_build(struct build *b, const struct plan_env *env, struct plan_batch *batch,
                 struct build *out)
{
    *out = (struct build){.env = env,
                          .batch = batch,
                          .out = reach_state(b)->arena,
                          .several = b->several,
                          .path_count = b->path_count,
                          .reach = b->reach,
                          .reach_depth = b->reach_depth + 1};
    memcpy(out->path, b->path, sizeof(b->path));
}

/* ---- functions --------------------------------------------------------------------------------
 */

static void look_into(struct build *b, struct reach_memo *m)
{
    const struct catalog_function *f = m->function;
    struct reach_state *state = b->reach;
    struct reach found = {0};
    if (f->definition == NULL) {
        reach_unknown(&found, "its body is not known");
    } else if (b->reach_depth >= DEPTH_OF_CALLS_MAX || ++state->bodies > REACH_BODIES_MAX) {
        reach_unknown(&found, "it calls too many functions");
    } else {
        m->open = 1;
        m->outer = state->open;
        state->open = m;
        reach_definition(b, f->definition, &found);
        state->open = m->outer;
        m->open = 0;
    }
    if (found.kind == REACH_KEYED && m->recursed) {
        reach_unknown(&found, "it uses sharded tables and calls itself");
    }
    m->reach = found;
}

/* braid.next_id() (catalog_ids.c): every shard has one, with a sequence of its own. */
static int is_next_id(const struct catalog_function *f)
{
    return strcmp(f->schema, "braid") == 0 && strcmp(f->name, "next_id") == 0;
}

static const struct reach *reach_of(struct build *b, const struct catalog_function *f)
{
    static const struct reach nothing = {0};
    if (is_next_id(f)) {
        return &nothing;
    }
    static const struct reach mutual = {.kind = REACH_UNKNOWN,
                                        .why = "functions that call each other are not followed"};
    struct reach_state *state = reach_state(b);
    struct reach_memo *m = state->memos;
    const char *path = b->env->search_path == NULL ? "" : b->env->search_path;
    while (m != NULL && (m->function != f || (strcmp(m->search_path, path) != 0 && !m->open))) {
        m = m->next;
    }
    if (m != NULL && m->open) {
        m->recursed = 1;
        return m == state->open ? &nothing : &mutual;
    }
    if (m == NULL) {
        m = arena_zero(state->arena, sizeof(*m));
        m->function = f;
        m->search_path = path;
        m->next = state->memos;
        state->memos = m;
        look_into(b, m);
    }
    return &m->reach;
}

void reach_function(struct build *b, const char *schema, const char *name, struct reach *out,
                    size_t *count)
{
    size_t named = 0;
    *out = (struct reach){0};
    *count = 0;
    for (const struct catalog_function *f = catalog_function(b->env->catalog, name); f != NULL;
         f = catalog_function_more(f)) {
        named += schema == NULL || strcmp(schema, f->schema) == 0;
        if ((schema == NULL || strcmp(schema, f->schema) == 0) && f->volatility != 'i' &&
            !f->native) {
            reach_add(out, reach_of(b, f));
            ++*count;
        }
    }
    if (out->kind == REACH_KEYED && named > 1) {
        reach_unknown(out, "there are several functions of that name");
    }
}

int reach_hidden(struct build *b, char kind, const char *by, struct reach *out, const char **name)
{
    const struct catalog *c = b->env->catalog;
    *out = (struct reach){0};
    for (size_t i = 0; i < c->calls_count; i++) {
        const struct catalog_call *call = &c->calls[i];
        if (call->kind == kind && (by == NULL || strcmp(call->by, by) == 0)) {
            struct reach one;
            size_t count;
            reach_function(b, call->schema, call->name, &one, &count);
            if (one.kind == REACH_KEYED) {
                reach_unknown(&one, "its arguments are not seen");
            }
            reach_add(out, &one);
            *name = call->name;
        }
    }
    return out->kind != REACH_NOTHING;
}

static int is_relation_name(const struct catalog *c, const char *name)
{
    for (struct hnode *n = hmap_each(&c->tables, NULL); n != NULL; n = hmap_each(&c->tables, n)) {
        if (strcmp(container_of(n, struct catalog_table, node)->name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Whether it is known to take something else than one row. */
static int takes_no_row(struct build *b, const struct catalog_function *f)
{
    PgQuery__ParseResult *parsed = NULL;
    struct note note;
    int position;
    struct arena *arena = reach_state(b)->arena;
    if (f->definition == NULL ||
        tree_parse(arena_copy(arena, slice_of(f->definition)), arena, &parsed, &position, &note) ||
        parsed->n_stmts != 1 || !IS(parsed->stmts[0]->stmt, CREATE_FUNCTION_STMT)) {
        return 0;
    }
    const PgQuery__CreateFunctionStmt *c = parsed->stmts[0]->stmt->create_function_stmt;
    size_t rows = 0;
    for (size_t i = 0; i < c->n_parameters; i++) {
        const PgQuery__TypeName *t = c->parameters[i]->function_parameter->arg_type;
        rows +=
            t != NULL && is_relation_name(b->env->catalog, tree_name(t->names, t->n_names, NULL));
    }
    return rows == 0;
}

int reach_notation(struct build *b, const char *name, struct reach *out)
{
    *out = (struct reach){0};
    for (const struct catalog_function *f = catalog_function(b->env->catalog, name); f != NULL;
         f = catalog_function_more(f)) {
        if (f->volatility != 'i' && !f->native && f->kind == 'f' && !takes_no_row(b, f)) {
            reach_add(out, reach_of(b, f));
        }
    }
    if (out->kind == REACH_KEYED) {
        reach_unknown(out, "its arguments are not seen");
    }
    return out->kind != REACH_NOTHING || out->reads || out->writes;
}
