/*
 * EXECUTE written out: the statement that PREPARE named, with the arguments in the places of its
 * parameters. For what no server can prepare, because several shards have a part in it.
 *
 *     PREPARE q (bigint) AS SELECT name FROM users WHERE id = $1
 *     EXPLAIN EXECUTE q(7)    ->    EXPLAIN SELECT name FROM users WHERE id = (7::bigint)
 *
 * An argument is evaluated once by PostgreSQL, here as often as its parameter stands in the
 * statement: so it must be a constant. Without a declared type a parameter gets the type that its
 * place asks for; a string literal does the same, so that is what is written there.
 */

#include <stdlib.h>
#include <string.h>

#include "planner/build.h"
#include "planner/prepare.h"

#define SELECT_WORD "SELECT "

struct place {
    int32_t at;
    int32_t number;
};

struct places {
    struct place *items;
    size_t count, room;
    int32_t highest, lowest;
    struct arena *arena;
};

static int visit_parameter(const ProtobufCMessage *m, void *arg)
{
    struct places *all = arg;
    if (!MESSAGE_IS(m, param_ref)) {
        return 1;
    }
    const PgQuery__ParamRef *ref = (const PgQuery__ParamRef *)m;
    if (all->count == all->room) {
        size_t room = all->room == 0 ? 16 : 2 * all->room;
        struct place *items = arena_alloc(all->arena, room * sizeof(*items));
        if (all->count > 0) {
            memcpy(items, all->items, all->count * sizeof(*items));
        }
        all->items = items;
        all->room = room;
    }
    all->items[all->count++] = (struct place){ref->location, ref->number};
    all->highest = ref->number > all->highest ? ref->number : all->highest;
    all->lowest = ref->number < all->lowest ? ref->number : all->lowest;
    return 1;
}

static int by_place(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* What stands between the quotes of a constant; NULL: it is NULL, or of another kind (*other). */
static const char *constant_text(const PgQuery__AConst *c, struct arena *arena, int *other)
{
    *other = 0;
    if (c->isnull) {
        return NULL;
    }
    switch ((int)c->val_case) {
    case PG_QUERY__A__CONST__VAL_IVAL: return arena_printf(arena, "%d", (int)c->ival->ival);
    case PG_QUERY__A__CONST__VAL_FVAL: return c->fval->fval;
    case PG_QUERY__A__CONST__VAL_BOOLVAL: return c->boolval->boolval ? "true" : "false";
    case PG_QUERY__A__CONST__VAL_SVAL: return c->sval->sval;
    default: *other = 1; return NULL;
    }
}

static enum err argument_tree(const PgQuery__PrepareStmt *prepared, tnode *arg, size_t i,
                              struct arena *arena, tnode **out, struct note *note)
{
    const tnode *inside = IS(arg, TYPE_CAST) ? arg->type_cast->arg : arg;
    int other = !IS(inside, A_CONST);
    const char *text = other ? NULL : constant_text(inside->a_const, arena, &other);
    if (other || (inside != arg && i >= prepared->n_argtypes)) {
        enum err e = note_set(note, ERR_UNSUPPORTED,
                              "argument %zu of EXECUTE must be a plain constant, because the "
                              "statement uses sharded tables",
                              i + 1);
        note_hint(note, "%s",
                  other ? "Write the value itself, or use the driver's prepared statements."
                        : "Declare the type of the parameter: PREPARE name (type, ...) AS ...");
        return e;
    }
    if (i >= prepared->n_argtypes) {
        *out = text == NULL ? arg : tree_text(arena, text);
        return ERR_NONE;
    }
    const PgQuery__TypeName *type = prepared->argtypes[i]->type_name;
    if (type->n_typmods != 0) {
        enum err e = note_set(note, ERR_UNSUPPORTED,
                              "the type of parameter %zu has a length or precision, which "
                              "parameters do not keep",
                              i + 1);
        note_hint(note, "Prepare the statement with the type alone, as in varchar or numeric.");
        return e;
    }
    PgQuery__TypeCast *cast = arena_alloc(arena, sizeof(*cast));
    pg_query__type_cast__init(cast);
    cast->arg = arg;
    cast->type_name = prepared->argtypes[i]->type_name;
    *out = tree_new(arena, NODE(TYPE_CAST), cast);
    return ERR_NONE;
}

static enum err argument_text(const PgQuery__PrepareStmt *prepared, tnode *arg, size_t i,
                              struct arena *arena, const char **out, struct note *note)
{
    tnode *value = NULL;
    const char *text = NULL;
    enum err e = argument_tree(prepared, arg, i, arena, &value, note);
    tnode *target = e ? NULL : tree_target(arena, value, NULL);
    e = e ? e : tree_deparse(tree_select(arena, &target, 1, NULL, NULL), arena, &text, note);
    if (!e && strncmp(text, SELECT_WORD, strlen(SELECT_WORD)) != 0) {
        e = note_set(note, ERR_INTERNAL, "an argument of EXECUTE cannot be written anew");
    }
    *out = e ? NULL : text + strlen(SELECT_WORD);
    return e;
}

static enum err arguments(const PgQuery__PrepareStmt *prepared, const PgQuery__ExecuteStmt *execute,
                          struct arena *arena, const char **texts, struct note *note)
{
    for (size_t i = 0; i < execute->n_params; i++) {
        enum err e = argument_text(prepared, execute->params[i], i, arena, &texts[i], note);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

static enum err read_one(struct slice text, struct arena *arena, tnode **out, struct note *note)
{
    PgQuery__ParseResult *parsed = NULL;
    int position = 0;
    enum err e = tree_parse(text, arena, &parsed, &position, note);
    if (!e && parsed->n_stmts != 1) {
        e = note_set(note, ERR_INTERNAL, "a prepared statement is not one statement");
    }
    *out = e ? NULL : parsed->stmts[0]->stmt;
    return e;
}

static void put_written(struct slice prepare, size_t query_at, const struct places *all,
                        const char *const *texts, struct buf *out)
{
    size_t at = query_at;
    for (size_t i = 0; i < all->count; i++) {
        size_t place = (size_t)all->items[i].at;
        buf_add_slice(out, slice_bytes(prepare.p + at, place - at));
        buf_printf(out, "(%s)", texts[all->items[i].number - 1]);
        at = place + 1;
        while (at < prepare.n && prepare.p[at] >= '0' && prepare.p[at] <= '9') {
            at++;
        }
    }
    buf_add_slice(out, slice_from(prepare, at));
}

enum err plan_write_out(const struct plan *plan, struct slice prepare, struct arena *arena,
                        struct buf *out, struct note *note)
{
    tnode *prepared = NULL;
    tnode *executed = NULL;
    struct places all = {.arena = arena, .lowest = 1};
    prepare = arena_copy(arena, prepare);
    enum err e = read_one(prepare, arena, &prepared, note);
    e = e ? e : read_one(arena_copy(arena, plan->text), arena, &executed, note);
    if (e) {
        return e;
    }
    const PgQuery__ExecuteStmt *execute = prepare_execute_in(executed);
    tree_walk_node(prepared->prepare_stmt->query, visit_parameter, &all);
    if (all.lowest < 1) {
        return note_set(note, ERR_NO_PARAMETER, "there is no parameter $%d", (int)all.lowest);
    }
    size_t wanted = prepared->prepare_stmt->n_argtypes;
    wanted = wanted < (size_t)all.highest ? (size_t)all.highest : wanted;
    if (execute->n_params != wanted) {
        e = note_set(note, ERR_SYNTAX, "wrong number of parameters for prepared statement \"%s\"",
                     plan->name);
        note_hint(note, "Expected %zu parameters but got %zu.", wanted, execute->n_params);
        return e;
    }
    const char **texts = arena_alloc(arena, (wanted + 1) * sizeof(*texts));
    e = arguments(prepared->prepare_stmt, execute, arena, texts, note);
    if (!e) {
        if (all.count > 1) {
            qsort(all.items, all.count, sizeof(*all.items), by_place);
        }
        buf_add_slice(out, slice_bytes(plan->text.p, plan->execute_at));
        /* PostgreSQL runs it without taking a row, and says SELECT 0 */
        int no_data =
            IS(executed, CREATE_TABLE_AS_STMT) && executed->create_table_as_stmt->into->skip_data;
        buf_text(out, no_data ? "SELECT * FROM (" : "");
        put_written(prepare, prepare_query_at(prepare), &all, texts, out);
        buf_text(out, no_data ? "\n) braid_q LIMIT 0" : "");
    }
    return e;
}
