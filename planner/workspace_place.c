/*
 * Moves that let the shards do the rest: some relations stay where they are, the others are moved
 * to all shards, or to the shards of a key that they are joined on. They are then reference tables,
 * or sharded ones (workspace_virtual.c), and whether the rest is right shard by shard is for the
 * rungs above to say, so a way that is tried here can be refused but not be wrong.
 *
 *     SELECT count(*) FROM orders o JOIN events e ON e.what = o.note
 *     braid_w1 to all: SELECT what FROM events;  rest over the shards, counts added up
 *
 *     SELECT count(*) FROM users u JOIN orders o ON o.buyer = u.id
 *     braid_w1 to shards like users by 0: SELECT buyer FROM orders
 *
 * Ways are tried from the one that moves least, by guess; the first that works and moves less than
 * the gathering does is taken. It reads tables in place on connections of the workspace, which do
 * not see what an open transaction did: inside of one everything is gathered.
 */

#include "planner/workspace_inner.h"

enum {
    WAYS_MAX = 6,         /* tried */
    SERVER_BYTES = 4096,  /* what one more server costs, in bytes that could move instead */
    SMALL_BYTES = 1 << 18 /* to all shards rather than by key */
};

struct place {
    uint8_t stays;
    uint64_t bytes;
    /* by key */
    const struct map_table *like;
    uint16_t column; /* of rel->known */
};

struct way {
    struct place places[RELS_MAX]; /* by id of the relation */
    uint64_t cost;
};

struct ways {
    struct build *build;
    const tnode *stmt; /* untouched */
    struct mentions *mentions;
    uint8_t group[RELS_MAX]; /* by id: of relations tied by their keys, the lowest one's */
    uint64_t bytes[RELS_MAX];
    struct way items[WAYS_MAX];
    size_t count;
};

/* ---- what belongs together --------------------------------------------------------------------
 */

/* The relation of the statement's text that `r` is, or is inside of as a part of a view. */
static const struct rel *mentioned(const struct rel *r)
{
    const struct rel *top = r;
    for (const struct level *l = r->level; l != NULL; l = l->parent) {
        if (l->view && l->as_rel != NULL) {
            top = l->as_rel;
        }
    }
    return top;
}

static int is_key(const struct term *t)
{
    for (size_t i = 0; t->rel->kind == REL_SHARDED && i < t->rel->table->keys_count; i++) {
        if (keys_column(t->rel, i) == t->column) {
            return 1;
        }
    }
    return 0;
}

/* Only a guess at what may stay together: the rungs look again. */
static void find_groups(struct ways *ways)
{
    const struct scope *s = ways->mentions->scope;
    for (size_t i = 0; i < RELS_MAX; i++) {
        ways->group[i] = (uint8_t)i;
    }
    for (const struct fact *f = s->facts; f != NULL; f = f->next) {
        if (f->kind != FACT_EQUAL || f->a.rel == NULL || f->b.rel == NULL || !is_key(&f->a) ||
            !is_key(&f->b) || f->a.rel->table->group != f->b.rel->table->group) {
            continue;
        }
        uint8_t a = ways->group[mentioned(f->a.rel)->id], b = ways->group[mentioned(f->b.rel)->id];
        uint8_t low = a < b ? a : b;
        for (size_t i = 0; i < RELS_MAX; i++) {
            if (ways->group[i] == a || ways->group[i] == b) {
                ways->group[i] = low;
            }
        }
    }
}

static int is_sharded(const struct mention *x)
{
    return !x->apart && (x->rel->kind == REL_SHARDED || x->rel->kind == REL_QUERY);
}

/* Is the same on every shard already. */
static int is_everywhere(const struct mention *x)
{
    return x->apart && x->rel->kind != REL_LOCAL;
}

/* ---- ways -------------------------------------------------------------------------------------
 */

/* A column of `x` that must equal the key of a table with a key of one hashed column that stays. */
static void find_key(const struct ways *ways, const struct way *way, const struct mention *x,
                     struct place *p)
{
    if (x->rel->kind == REL_QUERY || x->rel->known == NULL ||
        (x->rel->kind == REL_LOCAL && x->rel->var->schemaname[0] == 0)) {
        return; /* its columns are not certain */
    }
    for (const struct fact *f = ways->mentions->scope->facts; f != NULL; f = f->next) {
        const struct term *mine = f->a.rel == x->rel ? &f->a : &f->b;
        const struct term *other = f->a.rel == x->rel ? &f->b : &f->a;
        if (f->kind == FACT_EQUAL && mine->rel == x->rel && other->rel != NULL &&
            other->rel->kind == REL_SHARDED && way->places[mentioned(other->rel)->id].stays &&
            other->rel->table->kind == MAP_HASH && other->rel->table->keys_count == 1 &&
            is_key(other) && mine->column < x->rel->known->columns_count) {
            p->like = other->rel->table;
            p->column = mine->column;
            return;
        }
    }
}

static uint64_t cost_of(const struct ways *ways, const struct way *way)
{
    uint64_t shards = ways->build->env->map->shards_count;
    uint64_t cost = shards * SERVER_BYTES;
    for (size_t i = 0; i < ways->mentions->count; i++) {
        const struct mention *x = &ways->mentions->items[i];
        const struct place *p = &way->places[x->rel->id];
        if (!p->stays && !is_everywhere(x)) {
            cost += ways->bytes[x->rel->id] * (p->like != NULL ? 1 : shards);
        }
    }
    return cost;
}

/* Keep the ways in order of what they cost. */
static void add_way(struct ways *ways, const struct way *way)
{
    size_t at = ways->count < WAYS_MAX ? ways->count++ : WAYS_MAX;
    while (at > 0 && ways->items[at - 1].cost > way->cost) {
        if (at < WAYS_MAX) {
            ways->items[at] = ways->items[at - 1];
        }
        at--;
    }
    if (at < WAYS_MAX) {
        ways->items[at] = *way;
    }
}

/* The relations of one group stay; others go to all shards, large ones by key when there is one. */
static void add_group(struct ways *ways, uint8_t group)
{
    struct way *way = arena_zero(&ways->build->scratch, sizeof(*way));
    int by_key = 0;
    for (size_t i = 0; i < ways->mentions->count; i++) {
        const struct mention *x = &ways->mentions->items[i];
        way->places[x->rel->id].stays = is_sharded(x) && ways->group[x->rel->id] == group;
    }
    way->cost = cost_of(ways, way);
    add_way(ways, way);
    if (ways->build->env->workspace < 3) {
        return;
    }
    for (size_t i = 0; i < ways->mentions->count; i++) {
        const struct mention *x = &ways->mentions->items[i];
        struct place *p = &way->places[x->rel->id];
        if (!p->stays && !is_everywhere(x) && is_sharded(x)) {
            find_key(ways, way, x, p);
            by_key |= p->like != NULL;
        }
    }
    if (by_key) {
        way->cost = cost_of(ways, way);
        add_way(ways, way);
    }
}

/* A hash table whose key is of one column that hashes as this type does. */
static const struct map_table *any_like(const struct map *map, uint32_t type)
{
    for (size_t i = 0; i < map->tables_count; i++) {
        const struct map_table *t = &map->tables[i];
        if (t->kind == MAP_HASH && t->keys_count == 1 && t->key_types[0] != 0 &&
            key_types_agree(t->key_types[0], type)) {
            return t;
        }
    }
    return NULL;
}

/* Columns that are equal, of one class: relation and column. */
struct class
{
    struct {
        const struct rel *rel;
        uint16_t column;
    } items[RELS_MAX];
    size_t count;
};

static int in_class(const struct class *c, const struct term *t)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->items[i].rel == t->rel && c->items[i].column == t->column) {
            return 1;
        }
    }
    return 0;
}

static int add_to_class(struct class *c, const struct term *t)
{
    if (in_class(c, t) || c->count == RELS_MAX) {
        return 0;
    }
    c->items[c->count].rel = t->rel;
    c->items[c->count++].column = t->column;
    return 1;
}

/* What equals this column; a guess, as all ways are. */
static void close_class(const struct scope *s, struct class *c)
{
    for (int more = 1; more;) {
        more = 0;
        for (const struct fact *f = s->facts; f != NULL; f = f->next) {
            if (f->kind == FACT_EQUAL && f->a.rel != NULL && f->b.rel != NULL) {
                more |= in_class(c, &f->a) && add_to_class(c, &f->b);
                more |= in_class(c, &f->b) && add_to_class(c, &f->a);
            }
        }
    }
}

/* Large relations joined on columns that are the key of none of them: all of these move by it. */
static int place_class(const struct ways *ways, const struct class *c, struct way *way)
{
    const struct map_table *like = NULL;
    size_t large = 0, placed = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct rel *r = c->items[i].rel;
        struct term t = {.column = c->items[i].column};
        union {
            const struct rel *in;
            struct rel *out;
        } u = {.in = r};
        t.rel = u.out;
        if (r->kind != REL_SHARDED || mentioned(r) != r || way->places[r->id].like != NULL) {
            continue;
        }
        like = like == NULL ? any_like(ways->build->env->map, scope_type(&t)) : like;
        if (like == NULL || !key_types_agree(like->key_types[0], scope_type(&t))) {
            return 0;
        }
        way->places[r->id] = (struct place){.like = like, .column = t.column};
        placed++;
        large += ways->bytes[r->id] >= SMALL_BYTES;
    }
    return placed > 1 && large > 1;
}

static void add_classes(struct ways *ways)
{
    const struct scope *s = ways->mentions->scope;
    struct class *last = arena_zero(&ways->build->scratch, sizeof(*last));
    for (const struct fact *f = s->facts; f != NULL; f = f->next) {
        if (f->kind != FACT_EQUAL || f->a.rel == NULL || f->b.rel == NULL ||
            in_class(last, &f->a)) {
            continue;
        }
        struct class *c = arena_zero(&ways->build->scratch, sizeof(*c));
        struct way *way = arena_zero(&ways->build->scratch, sizeof(*way));
        add_to_class(c, &f->a);
        close_class(s, c);
        if (place_class(ways, c, way)) {
            way->cost = cost_of(ways, way);
            add_way(ways, way);
        }
        last = c;
    }
}

/* ---- one try ----------------------------------------------------------------------------------
 */

/* Place of the key column in the move's columns. */
static uint16_t *key_of(struct build *b, const struct mention *x, const struct place *p)
{
    uint16_t *key = arena_zero(b->out, sizeof(*key));
    for (size_t i = 0; i < p->column; i++) {
        *key = (uint16_t)(*key + (x->all || x->needed[i]));
    }
    return key;
}

static int move_away(struct workspace *w, struct mentions *m, struct mention *x,
                     const struct place *p, struct note *note)
{
    if (p->like != NULL) {
        x->needed[p->column] = 1;
    }
    struct move move = {
        .select = workspace_select_of(m, x),
        .later = 1,
        .alone = x->rel->kind == REL_QUERY, /* its query may be volatile */
        .primary_key = workspace_primary_key(m, x),
        .index = workspace_index(m, x),
        .to = p->like == NULL ? MOVE_TO_ALL : MOVE_TO_SHARDS,
        .like = p->like,
        .why = workspace_why(m, x, p->like == NULL ? "to all shards" : "to the shards of its key")};
    workspace_cost(m, x, &move.rows, &move.bytes);
    if (p->like != NULL) {
        move.keys = key_of(w->build, x, p);
    }
    x->table = workspace_move(w, &move, note);
    return x->table != NULL;
}

/* The places of the relations of a tree that was changed since: they are known by their nodes. */
static const struct place *place_of(const struct way *way, struct rel *const *rels, size_t count,
                                    const struct rel *r)
{
    static const struct place all = {0};
    for (size_t i = 0; i < count; i++) {
        if (rels[i]->var == r->var) {
            return &way->places[rels[i]->id];
        }
    }
    return &all;
}

static uint64_t kept_of(const struct way *way)
{
    uint64_t kept = 0;
    for (size_t i = 0; i < RELS_MAX; i++) {
        kept |= (uint64_t)(way->places[i].stays || way->places[i].like != NULL) << i;
    }
    return kept;
}

/* Its text is what it would be over the client's tables, so that any server can describe it. */
static int describe_as(struct workspace *w, struct plan *source, const tnode *untouched,
                       struct note *note)
{
    struct build *b = w->build;
    struct workspace *dry = workspace_begin(b, w->plan);
    dry->dry = 1;
    if (!workspace_groups(dry, tree_copy(&b->scratch, untouched), note)) {
        return 0;
    }
    source->text = arena_copy(b->out, slice_of(dry->moving[0].text));
    return 1;
}

/* Groups over the tables that were moved, finished on one server: what they are is known when every
 * shard is done, so its connection of the workspace is free to take them. */
static int try_groups(struct workspace *w, tnode *stmt, const tnode *untouched, struct note *note)
{
    struct build *b = w->build;
    b->virtuals = w->virtuals;
    b->virtuals_count = w->moves_count;
    size_t moves = w->moves_count;
    int ok = workspace_groups(w, stmt, note) && w->moves_count == moves + 1;
    b->virtuals_count = 0;
    struct plan *source = ok ? w->moves[moves].source : NULL;
    if (!ok || source->kind != PLAN_MANY || source->combine->mode != COMBINE_AGGREGATE) {
        return 0;
    }
    w->moves[moves].over = 1;
    return describe_as(w, source, untouched, note);
}

static int try_rest(struct workspace *w, tnode *stmt, const tnode *untouched, struct note *note)
{
    struct plan *rest = w->moves_count == 0 ? NULL : workspace_plan_part(w, stmt, note);
    if (rest != NULL) {
        w->rest = rest;
        return 1;
    }
    return w->build->env->workspace >= 4 && w->moves_count > 0 &&
           try_groups(w, stmt, untouched, note);
}

static int try_way(struct workspace *w, const struct way *way, const tnode *untouched,
                   struct note *note)
{
    struct build *b = w->build;
    tnode *stmt = tree_copy(&b->scratch, untouched);
    struct scope *first = scope_build(b, stmt);
    struct mentions *m = arena_zero(&b->scratch, sizeof(*m));
    (void)workspace_units(w, first, kept_of(way), MOVE_TO_ALL);
    b->virtuals = w->virtuals;
    b->virtuals_count = w->moves_count;
    m->scope = scope_build(b, stmt);
    b->virtuals_count = 0;
    if (m->scope->err || !workspace_locks_nothing(m->scope, note) ||
        !workspace_mentions(w, m, note)) {
        return 0;
    }
    const struct place *places[RELS_MAX];
    uint8_t moves[RELS_MAX];
    for (size_t i = 0; i < m->count; i++) {
        places[i] = place_of(way, first->rels, first->rels_count, m->items[i].rel);
        moves[i] = places[i]->stays || is_everywhere(&m->items[i]) ? FILTER_STAYS : FILTER_BUT_KEYS;
    }
    workspace_filters(m, moves);
    workspace_reduce(m, moves);
    if (!workspace_columns(m, stmt, note) || !workspace_unqualify(m, stmt, note)) {
        return 0;
    }
    for (size_t i = 0; i < m->count; i++) {
        if (moves[i] != FILTER_STAYS && m->items[i].row_ids != 0) {
            return 0; /* what is found is written where it is: others come to it */
        }
        if (moves[i] != FILTER_STAYS && !move_away(w, m, &m->items[i], places[i], note)) {
            return 0;
        }
    }
    for (size_t i = 0; i < m->count; i++) {
        if (m->items[i].table != NULL) {
            workspace_put(w, m, &m->items[i]);
        }
    }
    return try_rest(w, stmt, untouched, note) && workspace_plan_later(w, note);
}

uint64_t workspace_bytes(const struct workspace *w, uint64_t all)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < w->moves_count; i++) {
        bytes += w->moves[i].only_apart
                     ? 0
                     : w->moves[i].bytes * (w->moves[i].to == MOVE_TO_ALL ? all : 1);
    }
    return bytes;
}

/* ---- the choice -------------------------------------------------------------------------------
 */

static int find_ways(struct ways *ways, tnode *stmt)
{
    struct build *b = ways->build;
    struct mentions *m = ways->mentions;
    struct workspace *none = workspace_begin(b, NULL);
    struct note ignored;
    m->scope = scope_build(b, stmt);
    if (m->scope->err || !workspace_mentions(none, m, &ignored)) {
        return 0;
    }
    workspace_filters(m, NULL);
    workspace_reduce(m, NULL);
    if (!workspace_columns(m, stmt, &ignored)) {
        return 0;
    }
    for (size_t i = 0; i < m->count; i++) {
        uint64_t rows;
        struct mention *x = &m->items[i];
        workspace_cost(m, x, &rows, &ways->bytes[x->rel->id]);
    }
    find_groups(ways);
    uint64_t seen = 0;
    for (size_t i = 0; i < m->count; i++) {
        uint8_t group = ways->group[m->items[i].rel->id];
        if (is_sharded(&m->items[i]) && (seen >> group & 1) == 0) {
            seen |= UINT64_C(1) << group;
            add_group(ways, group);
        }
    }
    if (b->env->workspace >= 3) {
        add_classes(ways);
    }
    return ways->count > 0;
}

struct workspace *workspace_place(struct build *b, const tnode *stmt, struct plan *p,
                                  const struct workspace *gathered)
{
    struct ways *ways = arena_zero(&b->scratch, sizeof(*ways));
    ways->build = b;
    ways->stmt = stmt;
    ways->mentions = arena_zero(&b->scratch, sizeof(*ways->mentions));
    uint64_t limit = 2 * workspace_bytes(gathered, 1), shards = b->env->map->shards_count;
    if (!find_ways(ways, tree_copy(&b->scratch, stmt))) {
        return NULL;
    }
    for (size_t i = 0; i < ways->count; i++) {
        struct workspace *w = workspace_begin(b, p);
        struct note ignored;
        if (!try_way(w, &ways->items[i], stmt, &ignored)) {
            continue;
        }
        int one = w->rest->kind == PLAN_ONE && !w->moves[w->moves_count - 1].over;
        if (workspace_bytes(w, one ? 1 : shards) + (one ? 0 : shards * SERVER_BYTES) <= limit) {
            return w;
        }
    }
    return NULL;
}
