/* Carrying out a PLAN_ROWS: its source, and what comes before. The picture is in rows.h. */

#include "proxy/exec/rows.h"

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/drawn.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/own.h"
#include "proxy/exec/sequence.h"
#include "wire/types.h"
#include "wire/value.h"

/* What was drawn stays drawn, whatever becomes of the rows. */
static void note_drawn(struct rows *r)
{
    struct session *s = r->w.g.op.session;
    if (!r->source_whole || r->drew_else) {
        drawn_forget(s);
        return;
    }
    for (size_t i = 0; r->drew && i < r->plan->seen_count; i++) {
        drawn_value(s, r->plan->seen[i].sequence, r->drawn[i]);
    }
    if (r->drew) {
        drawn_last(s, r->plan);
    }
}

void rows_free(struct op *op)
{
    struct rows *r = (struct rows *)op;
    if (r->plan != NULL && r->plan->draws == DRAWS_SEEN) {
        note_drawn(r);
    }
    for (size_t i = 0; r->parts != NULL && i < rows_parts_count(r); i++) {
        mem_free(r->parts[i].at);
        buf_free(&r->parts[i].returned);
    }
    if (r->stmt != NULL) {
        stmt_unref(op->session->worker, r->stmt);
    }
    mem_free(r->parts);
    mem_free(r->places);
    mem_free(r->step_shards);
    mem_free(r->fields);
    mem_free(r->taken);
    buf_free(&r->store.bytes);
    buf_free(&r->described);
    buf_free(&r->chunk);
    rows_followed_free(&r->followed);
    struct workspace *outer = r->outer;
    space_free(op);
    if (outer != NULL) { /* given up before its end */
        op_discard(&outer->g.op);
    }
}

/* ---- the source ------------------------------------------------------------------------------ */

static enum err too_much(const struct rows *r, uint64_t most, struct note *note)
{
    enum err e = note_set(note, ERR_NOMEM,
                          "the rows that %s would write passed %llu bytes before the last was read",
                          r->plan->tag, (unsigned long long)most);
    note_hint(note, "Write fewer rows at once, or raise limits.gather_memory_bytes.");
    return e;
}

static void note_place(struct rows *r, size_t part)
{
    if (r->store.rows == r->places_cap) {
        r->places_cap = r->places_cap == 0 ? 256 : r->places_cap * 2;
        r->places = mem_grow(r->places, r->places_cap * sizeof(*r->places));
    }
    r->places[r->store.rows] = (uint16_t)part;
}

/* The values of the row that sequences gave; whether all of them can be read. */
static void take_drawn(struct rows *r)
{
    struct note note;
    r->drew = 1;
    for (size_t i = 0; i < r->plan->seen_count; i++) {
        const uint16_t at = r->plan->seen[i].source;
        const struct rows_column *c = at < r->known->columns_count ? &r->known->columns[at] : NULL;
        if (c == NULL || c->as_text || r->fields[at].p == NULL ||
            value_read_int(c->type, FORMAT_BINARY, r->fields[at], &r->drawn[i], &note)) {
            r->drew_else = 1;
        }
    }
}

static enum err take_row(struct rows *r, struct slice body, struct note *note)
{
    const struct plan_rows *rows = r->plan->rows;
    struct map *map = r->w.g.op.session->db->map;
    uint64_t most = (uint64_t)r->w.g.op.session->world->conf->gather_memory;
    uint64_t at = r->store.bytes.n;
    int wanted = 0;
    enum err e = rows_fields(body, r->fields, r->known->columns_count, note);
    if (!e && rows->in_order) {
        note_place(r, ROWS_NOWHERE);
    }
    if (!e && r->plan->draws == DRAWS_SEEN) {
        take_drawn(r);
    }
    for (size_t i = 0; !e && i < rows->steps_count; i++) {
        uint64_t shards = 0;
        if (rows->steps[i].left) { /* those of the step before */
            continue;
        }
        e = rows_shards(&rows->steps[i], map, r->known->columns, r->fields, &shards, note);
        if (!e && shards != 0 && rows->steps[i].follow_count != 0) {
            e = rows_follow(&r->followed, &rows->steps[i], r->fields, &shards, note);
        }
        if (e || shards == 0) {
            continue;
        }
        size_t part = i * SHARDS_MAX + (size_t)__builtin_ctzll(shards);
        rows_mention(&r->store, &r->parts[part], at);
        r->step_shards[i] |= shards;
        wanted = 1;
        if (rows->in_order && rows->steps[i].returns) {
            note_place(r, part);
        }
    }
    if (!e && wanted) {
        (void)rows_keep(&r->store, body);
    }
    uint64_t held = r->store.bytes.n + r->store.mentions * sizeof(uint64_t) + r->followed.bytes;
    if (!e && held > most) {
        e = too_much(r, most, note);
    }
    return e;
}

void rows_take(struct gather *g, struct slice body)
{
    struct note note;
    enum err e = g->err ? ERR_NONE : take_row((struct rows *)g, body, &note);
    if (e) {
        gather_fail(g, e, &note);
    }
}

static void on_rows(struct gather *g)
{
    struct slice rest = buf_slice(&g->sunk);
    uint8_t type = 0;
    size_t total = 0;
    while (!g->err && frame_peek(rest, &type, &total) == 1) {
        rows_take(g, frame_body(rest, total));
        rest = slice_from(rest, total);
    }
}

static void on_backend_drained(struct op *op)
{
    rows_drained((struct rows *)op);
    session_wake(op->session);
}

static void on_drained(struct op *op)
{
    session_wake(op->session);
}

static uint64_t begun(const struct session *s, uint64_t shards)
{
    uint64_t bits = 0;
    bits_each (shard, shards & s->held_bits) {
        bits |= session_backend(s, (uint32_t)shard)->began ? UINT64_C(1) << shard : 0;
    }
    return bits;
}

/* Nothing is to be written: a server says all the same whether it may be. */
static void write_nothing(struct rows *r)
{
    const struct plan_rows_step *step = &r->plan->rows->steps[0];
    const struct map *map = r->w.g.op.session->db->map;
    if (r->store.rows == 0) {
        uint64_t all = step->to == ROWS_TO_HOME ? 1 : map_table_shards(map, step->table);
        uint64_t held = all & r->w.g.op.session->held_bits;
        r->step_shards[0] = step->to == ROWS_TO_ALL ? all : held != 0 ? held & -held : all & -all;
    }
}

void rows_begin_tx(struct session *s)
{
    int alone = 1;
    list_each (node, &s->held) {
        alone &= !container_of(node, struct backend, held)->executed;
    }
    if (s->tx.kind == TX_KIND_NONE) {
        session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN");
        s->rows_own_tx = alone ? 1 : 0;
    }
}

static void write_rows(struct rows *r)
{
    if (r->plan->rows->draws) {
        session_backend(r->w.g.op.session, 0)->wrote = 1;
    }
    rows_run_steps(r);
}

/* In one PostgreSQL the cursor would still be on it. */
static enum err row_may_have_gone(const struct rows *r, struct note *note)
{
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "the row of cursor \"%s\" may have gone to another shard when this "
                          "transaction changed sharding keys",
                          r->plan->rows->current->cursor);
    note_hint(note, "Name the row by its key.");
    return e;
}

/* All rows are here: now it is known which shards they are for. */
void rows_source_over(struct rows *r)
{
    struct op *op = &r->w.g.op;
    struct session *s = op->session;
    if (r->plan->rows->current != NULL && r->store.rows == 0 && s->tx.moved_rows) {
        struct note note;
        rows_failed(r, row_may_have_gone(r, &note), &note);
        return;
    }
    r->source_whole = !r->more;
    if (!r->wrote) {
        write_nothing(r);
    }
    for (size_t i = 0; i < r->plan->rows->steps_count; i++) {
        r->shards |= r->step_shards[i];
    }
    op->on_drained = on_drained;
    op->on_backend_drained = on_backend_drained;
    r->shards |= r->plan->rows->draws;
    rows_begin_tx(s);
    if (begun(s, r->shards) == r->shards) {
        write_rows(r);
        return;
    }
    if (r->outer != NULL) {
        struct note note;
        enum err e = note_set(&note, ERR_SHARD_DOWN, "the shard's connection was lost");
        rows_failed(r, e, &note);
        return;
    }
    rows_run_again(r);
    s->left_op = op;
    op_leave(op);
}

static void source_done(struct gather *g)
{
    rows_source_over((struct rows *)g);
}

static void space_finished(struct workspace *w)
{
    rows_source_over((struct rows *)w);
}

static void source_failed(struct gather *g, enum err e, const struct note *note)
{
    struct rows *r = (struct rows *)g;
    if (g->refused && !e && g->op.errors == 0) { /* its `otherwise` from now on */
        g->plan->combine_refused = 1;
        rows_run_again(r);
        g->op.session->rows_own_tx = r->own_tx;
        g->op.session->rows_made = r->around == 0 ? NULL : r->plan;
        op_end(&g->op);
        return;
    }
    rows_failed(r, e, note);
}

static const struct gather_hooks source_hooks = {.rows = on_rows,
                                                 .row = rows_take,
                                                 .done = source_done,
                                                 .portion = rows_portion_came,
                                                 .failed = source_failed};
static const struct gather_hooks space_hooks = {.rows = on_rows,
                                                .row = rows_take,
                                                .done = space_rest_done,
                                                .portion = rows_portion_came,
                                                .failed = space_rest_failed};

/* Text of some types is only exact under settings that most sessions have. */
static enum err check_settings(const struct rows *r, struct note *note)
{
    const struct session *s = r->w.g.op.session;
    const char *style = varset_get(s->vars, "datestyle");
    if (!r->known->by_settings ||
        (own_fewer_digits(s) == 0 && (style == NULL || strcasestr(style, "iso") != NULL))) {
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "values of arrays, rows or types of users are sent between servers as "
                          "text, which is not exact under this session's settings");
    note_hint(note, "SET datestyle TO ISO; SET extra_float_digits TO 1.");
    return e;
}

static enum err check_params(struct rows *r, struct note *note)
{
    struct front_bind msg;
    const struct front_bind *bind = gather_bind(&r->w.g, &msg);
    r->params = r->w.g.whole->described_types_count;
    size_t given = bind == NULL ? 0 : bind->values_count;
    if (given == r->params && r->params + r->known->columns_count <= PARAMS_MAX) {
        return ERR_NONE;
    }
    return note_set(note, ERR_PROTOCOL,
                    "bind message supplies %zu parameters, but %zu are required", given, r->params);
}

void rows_described(struct rows *r)
{
    struct gather *g = &r->w.g;
    struct session *s = g->op.session;
    struct note note;
    if (rows_before_is_due(r)) {
        rows_run_before(r);
        return;
    }
    r->known = r->plan->rows_known;
    enum err e = check_settings(r, &note);
    e = e ? e : check_params(r, &note);
    if (e) {
        rows_failed(r, e, &note);
        return;
    }
    size_t batch = r->known->columns_count * ROWS_BATCH;
    r->fields = mem_alloc((batch + 1) * sizeof(*r->fields));
    r->fields_rows = ROWS_BATCH;
    g->sink_format = 1;
    if (r->source->kind == PLAN_WORKSPACE) {
        r->w.rest_hooks = &space_hooks;
        r->w.rest_formats = r->known->formats;
        r->w.rest_formats_count = r->known->columns_count;
        r->w.finished = space_finished;
        r->portions = rows_in_portions(r) != 0;
        r->w.rest_portion = r->portions ? rows_portion(r) : 0;
        const struct workspace_layout at = r->w.at;
        space_go(&r->w, r->plan, NULL, &at, (int)r->moves_described); /* its Bind is kept */
        return;
    }
    gather_part(g, r->source, r->source_shards, &source_hooks);
    if (r->plan->rows->current != NULL) {
        uint32_t shard = 0;
        e = cursor_find_row(s, r->plan, &shard, &g->sql, &note);
        if (e) {
            rows_failed(r, e, &note);
            return;
        }
    }
    g->apart = r->over;
    g->sink_formats = r->known->formats;
    g->sink_formats_count = r->known->columns_count;
    r->portions = rows_in_portions(r) != 0;
    if (r->portions) {
        gather_in_portions(g, rows_portion(r));
    }
    g->bound = r->source->kind == PLAN_MANY && moment_in_block(s, r->source_shards);
    gather_send(g);
}

/* ---- the beginning --------------------------------------------------------------------------- */

/* The connections of the shards to be written have come, or not yet. */
static enum step go_on(struct session *s)
{
    struct rows *r = (struct rows *)s->left_op;
    enum err e = ERR_NONE;
    struct note note;
    enum step step = session_engage(s, r->shards, &e, &note);
    if (step == STEP_WAIT) {
        return STEP_WAIT;
    }
    s->left_op = NULL;
    if (step == STEP_FAILED) {
        op_discard(&r->w.g.op);
        return session_fail(s, e, &note, 0);
    }
    op_enter(&r->w.g.op);
    write_rows(r);
    return STEP_DONE;
}

/* What runs as its source, and where; a workspace finds its own places. */
enum err rows_find_source(struct session *s, const struct plan *plan, const struct plan_args *args,
                          struct plan **source, uint64_t *shards, struct note *note)
{
    int any = 0;
    uint32_t shard = 0;
    struct slice sql;
    enum err e = ERR_AGAIN;
    *source = plan->rows->source;
    *shards = 0;
    if (plan->rows->current != NULL) {
        e = cursor_find_row(s, plan, &shard, &sql, note);
        *shards = UINT64_C(1) << shard;
        return e;
    }
    while (e == ERR_AGAIN) {
        while ((*source)->combine_refused && (*source)->otherwise != NULL) {
            *source = (*source)->otherwise;
        }
        if ((*source)->kind == PLAN_REFUSE) {
            *note = (*source)->note;
            return (*source)->err;
        }
        if ((*source)->kind == PLAN_WORKSPACE) {
            return ERR_NONE;
        }
        e = plan_shards(*source, s->db->map, args, shards, &any, note);
        if (e != ERR_AGAIN || (*source)->otherwise == NULL) {
            break;
        }
        *source = (*source)->otherwise;
    }
    if (!e && (*source)->kind == PLAN_ONE) {
        *shards = UINT64_C(1) << exec_choose(s, *shards, any);
    }
    return e;
}

/* Rows would go into a temporary table of the name, as in INSERT, which is not what CREATE means.
 */
static enum err check_hidden(const struct session *s, const struct plan_rows *rows,
                             struct note *note)
{
    if (!rows->may_be_hidden || !exec_has_temporary(s)) {
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "the session has temporary objects, and one of them may hide the table "
                          "that is to be created");
    note_hint(note, "Name its schema: CREATE TABLE public.name AS ...");
    return e;
}

static enum err find_source(struct session *s, const struct plan *plan,
                            const struct front_bind *bind, struct plan **source, uint64_t *shards,
                            struct note *note)
{
    struct plan_args args;
    exec_args(s, bind, &args);
    if (plan->described_types_count >= args.params_count && args.params_count != 0) {
        args.param_types = plan->described_types;
    }
    return rows_find_source(s, plan, &args, source, shards, note);
}

static enum err check_tables(const struct session *s, const struct plan_rows *rows,
                             struct note *note)
{
    const struct map *map = s->db->map;
    for (size_t i = 0; i < rows->steps_count; i++) {
        const struct map_table *t = rows->steps[i].table;
        if (t != NULL && (t < map->tables || t >= map->tables + map->tables_count)) {
            return note_set(note, ERR_STALE,
                            "the shard map changed while the statement was planned");
        }
    }
    return ERR_NONE;
}

struct rows *rows_make(struct session *s, struct plan *plan, struct plan *copy,
                       const struct front_bind *bind)
{
    struct rows *r = op_begin(s, sizeof(*r), "rows");
    size_t steps = plan->rows->steps_count;
    r->w.g.op.free_fn = rows_free;
    r->w.g.plan = plan;
    r->w.g.whole = plan;
    r->w.g.stmt = copy == NULL ? s->run_stmt : NULL;
    r->w.g.copy = copy == NULL ? NULL : copy_sink_new(copy->copy_out);
    r->w.g.again = copy;
    r->w.g.rows_max = plan->returns_rows && copy == NULL ? s->run_rows_max : 0;
    r->plan = plan;
    r->parts = mem_zero(steps * SHARDS_MAX * sizeof(*r->parts));
    r->step_shards = mem_zero(steps * sizeof(*r->step_shards));
    r->own_tx = s->rows_own_tx;
    r->tries = s->rows_tries;
    r->around = s->rows_made == plan ? plan->rows->before_count : 0;
    s->rows_own_tx = 0;
    s->rows_tries = 0;
    s->rows_made = NULL;
    gather_keep_bind(&r->w.g, bind);
    return r;
}

static void begin(struct rows *r)
{
    if (rows_is_described(r->w.g.op.session, r->plan)) {
        rows_described(r);
    } else {
        rows_describe(r);
    }
}

/* CREATE TABLE AS writes on the home shard, and only there: its connection comes first, as that of
 * a writer. The others are asked for as of a read, because what makes a temporary table could not
 * be prepared together with another writer. 0: not yet, or failed: *step. */
static int engage_around(struct session *s, const struct plan *plan, enum step *step)
{
    enum err e = ERR_NONE;
    struct note note;
    uint64_t shards = rows_around(plan->rows);
    if (shards == 0 || own_snapshot(s)) {
        return 1;
    }
    rows_begin_tx(s);
    *step = session_engage(s, shards, &e, &note);
    if (*step != STEP_DONE) {
        *step = *step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
        return 0;
    }
    if (shards == 1) {
        s->writes_now = 0;
        s->no_prepare_now = NULL;
    }
    return 1;
}

static enum step start_space(struct session *s, struct plan *plan, struct plan *source,
                             struct plan *copy, const struct front_bind *bind)
{
    struct workspace_layout at;
    struct note note;
    enum err e = ERR_NONE;
    int moves_described = 0;
    int ready = 0;
    if (!own_snapshot(s)) { /* else a transaction of one moment begins */
        rows_begin_tx(s);
    }
    int none = s->tx.kind == TX_KIND_NONE;
    enum step step = space_ready(s, source, bind, &at, &moves_described, &ready);
    if (none && s->tx.kind == TX_KIND_IMPLICIT) {
        s->rows_own_tx = 1;
    }
    if (!ready) {
        return step;
    }
    uint64_t more = rows_around(plan->rows) | (rows_is_described(s, plan) ? 0 : 1);
    if (more != 0) {
        step = session_engage(s, more, &e, &note);
        if (step != STEP_DONE) {
            return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
        }
    }
    struct rows *r = rows_make(s, plan, copy, bind);
    r->source = source;
    r->w.at = at;
    r->moves_described = moves_described && plan->described.p != NULL;
    begin(r);
    return STEP_DONE;
}

static enum step start(struct session *s, struct plan *plan, const struct front_bind *bind,
                       struct plan *copy)
{
    enum err e = ERR_NONE;
    struct note note;
    struct plan *source = NULL;
    uint64_t shards = 0;
    if (s->left_op != NULL) {
        return go_on(s);
    }
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    e = check_tables(s, plan->rows, &note);
    e = e ? e : check_hidden(s, plan->rows, &note);
    e = e ? e : find_source(s, plan, bind, &source, &shards, &note);
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    enum step drawn = STEP_DONE;
    if (copy == NULL && plan->rows->drawn != NULL && sequence_insert(s, plan, bind, &drawn)) {
        return drawn;
    }
    enum step around = STEP_DONE;
    if (!engage_around(s, plan, &around)) {
        return around;
    }
    if (source->kind == PLAN_WORKSPACE) {
        return start_space(s, plan, source, copy, bind);
    }
    if (!plan->rows->alone) {
        rows_begin_tx(s);
    }
    uint64_t more = rows_around(plan->rows) | (rows_is_described(s, plan) ? 0 : 1);
    enum step step = session_engage(s, shards | more, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct rows *r = rows_make(s, plan, copy, bind);
    r->source = source;
    r->source_shards = shards;
    session_count(s, plan, shards, NULL);
    begin(r);
    return STEP_DONE;
}

enum step rows_start(struct session *s, struct plan *plan, const struct front_bind *bind)
{
    return start(s, plan, bind, NULL);
}

enum step rows_copy(struct session *s, struct plan *copy, struct plan *rows)
{
    return start(s, rows, NULL, copy);
}

void rows_forget(struct session *s)
{
    struct op *op = s->left_op;
    s->left_op = NULL;
    if (op != NULL) {
        op_discard(op);
    }
}
