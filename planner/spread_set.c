/*
 * UNION, INTERSECT and EXCEPT shard by shard.
 *
 *     UNION ALL    of rows that are each on one shard: every shard gives its own
 *     the others   when all arms carry a sharding key in the same columns, and their tables are
 *                  colocated: equal rows are then on one shard
 *     UNION        at the top also without: the shards' answers are put together and each row is
 *                  given once; then rows that are the same on every shard do no harm either
 *
 * A column of the result has the type of all its arms together. Keys of colocated tables have one
 * type, so that equal stays equal.
 */

#include "planner/spread_ties.h"

#define HINT_SET "Select the sharding key in every arm, or use UNION ALL."

enum {
    LEAVES_MAX = RELS_MAX
};

struct leaves {
    const struct level *items[LEAVES_MAX]; /* arms over sharded tables that are no set operations */
    size_t count;
};

static void arms_of(const struct ties *t, const struct level *q, struct level *arms[2])
{
    size_t count = 0;
    arms[0] = arms[1] = NULL;
    for (struct level *k = t->scope->levels; k != NULL && count < 2; k = k->next) {
        if (k->kind == LEVEL_ARM && k->parent == q) {
            arms[count++] = k;
        }
    }
}

static int is_union(const struct level *q)
{
    return q->select->op == PG_QUERY__SET_OPERATION__SETOP_UNION;
}

/* ---- the same key in the same columns ---------------------------------------------------------
 */

static int has_sharded(const struct ties *t, const struct level *q)
{
    for (size_t i = 0; i < t->scope->rels_count; i++) {
        if (t->scope->rels[i]->kind == REL_SHARDED && ties_within(t->scope->rels[i]->level, q)) {
            return 1;
        }
    }
    return 0;
}

static void find_leaves(struct ties *t, const struct level *q, struct leaves *out)
{
    struct level *arms[2];
    arms_of(t, q, arms);
    for (size_t i = 0; i < 2 && arms[i] != NULL && out->count < LEAVES_MAX; i++) {
        if (arms[i]->set_operation) {
            find_leaves(t, arms[i], out);
        } else if (has_sharded(t, arms[i])) {
            out->items[out->count++] = arms[i];
        }
    }
}

static int is_key(struct ties *t, const struct level *l, size_t at, const struct rel *x, size_t key)
{
    const struct term *term = at < l->outputs_count ? &l->outputs[at].term : NULL;
    return term != NULL && term->rel != NULL && !term->outer &&
           ties_same_term(t, term->rel, term->column, x, keys_column(x, key));
}

/* Where the key of `x` stands in the level's select list. 0: not all of it. */
static int key_places(struct ties *t, const struct level *l, const struct rel *x, size_t *places)
{
    for (size_t key = 0; key < x->table->keys_count; key++) {
        size_t at = 0;
        while (at < l->outputs_count && !is_key(t, l, at, x, key)) {
            at++;
        }
        if (at == l->outputs_count) {
            return 0;
        }
        places[key] = at;
    }
    return l->outputs_known;
}

static int has_key_at(struct ties *t, const struct level *l, const struct rel *x,
                      const size_t *places)
{
    for (size_t i = 0; i < t->scope->rels_count && l->outputs_known; i++) {
        const struct rel *y = t->scope->rels[i];
        if (y->kind != REL_SHARDED || !ties_rows_of(y, l) || !ties_colocated(x, y)) {
            continue;
        }
        size_t key = 0;
        while (key < y->table->keys_count && is_key(t, l, places[key], y, key)) {
            key++;
        }
        if (key == y->table->keys_count) {
            return 1;
        }
    }
    return 0;
}

static int keyed_alike(struct ties *t, const struct level *q)
{
    struct leaves *leaves = arena_zero(&t->scope->build->scratch, sizeof(*leaves));
    find_leaves(t, q, leaves);
    if (leaves->count == 0 || leaves->count == LEAVES_MAX) {
        return 0;
    }
    for (size_t i = 0; i < t->scope->rels_count; i++) {
        const struct rel *x = t->scope->rels[i];
        size_t places[KEY_COLUMNS_MAX], k = 0;
        if (x->kind != REL_SHARDED || !ties_rows_of(x, leaves->items[0]) ||
            !key_places(t, leaves->items[0], x, places)) {
            continue;
        }
        while (k < leaves->count && has_key_at(t, leaves->items[k], x, places)) {
            k++;
        }
        if (k == leaves->count) {
            return 1;
        }
    }
    return 0;
}

/* ---- classes ----------------------------------------------------------------------------------
 */

static enum item_class no_key(struct ties *t)
{
    return ties_unsafe(t, HINT_SET,
                       "UNION, INTERSECT and EXCEPT over several shards must have the sharding key "
                       "in the same columns of every arm");
}

static enum item_class mixed(struct ties *t)
{
    return ties_unsafe(t, HINT_SET,
                       "rows that are the same on every shard cannot be in this set operation over "
                       "several shards");
}

static enum item_class set_class(struct ties *t, struct level *q)
{
    struct level *arms[2];
    arms_of(t, q, arms);
    enum item_class l = spread_level_class(t, arms[0]);
    enum item_class r = l == CLASS_NONE ? l : spread_level_class(t, arms[1]);
    if (l == CLASS_NONE || r == CLASS_NONE || l == CLASS_TIED || r == CLASS_TIED) {
        return ties_unsafe(t, HINT_KEY, "this set operation cannot run over several shards");
    }
    if (l == CLASS_SAME && r == CLASS_SAME) {
        return spread_same_level(t, q);
    }
    int is_except = q->select->op == PG_QUERY__SET_OPERATION__SETOP_EXCEPT;
    if (l != r && (is_union(q) || (is_except && l == CLASS_SAME))) {
        return mixed(t);
    }
    if (is_union(q) && q->select->all) {
        return CLASS_PARTED;
    }
    return keyed_alike(t, q) ? CLASS_PARTED : no_key(t);
}

enum item_class spread_set_class(struct ties *t, struct level *q)
{
    enum item_class c = set_class(t, q);
    if (c == CLASS_PARTED && q->limited) {
        return ties_unsafe(t, HINT_KEY, "a sub-select with LIMIT cannot run over several shards");
    }
    return c;
}

/* Arms of UNIONs in UNIONs: each row of an answer may come any number of times. */
static int any_times(struct ties *t, struct level *q, int *parted)
{
    struct level *arms[2];
    arms_of(t, q, arms);
    for (size_t i = 0; i < 2; i++) {
        int inner = arms[i]->set_operation && is_union(arms[i]) && !arms[i]->limited;
        if (inner) {
            if (!any_times(t, arms[i], parted)) {
                return 0;
            }
            continue;
        }
        enum item_class c = spread_level_class(t, arms[i]);
        if (c != CLASS_PARTED && c != CLASS_SAME) {
            return 0;
        }
        *parted |= c == CLASS_PARTED;
    }
    return 1;
}

enum item_class spread_set_top(struct ties *t, struct level *q)
{
    enum item_class c = set_class(t, q);
    if (c == CLASS_PARTED || !is_union(q) || q->select->all) {
        return c;
    }
    struct note why = *t->note;
    int parted = 0;
    t->note->text[0] = t->note->hint[0] = 0;
    if (!any_times(t, q, &parted) || !parted) {
        *t->note = why;
        return CLASS_NONE;
    }
    t->repeats = 1;
    return CLASS_PARTED;
}

int spread_repeats(const struct ties *t)
{
    return t->repeats;
}
