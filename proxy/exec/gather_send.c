/*
 * What a gather sends: its statement to every shard, kept prepared there when it comes again; and
 * how it begins.
 */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proxy/exec/copy_sink.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/gather.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/own.h"
#include "proxy/exec/transit.h"
#include "proxy/exec/tx.h"
#include "proxy/exec/typing.h"

const uint32_t *gather_types(const struct gather *g, size_t *count)
{
    if (g->whole->described_types_count != 0) {
        *count = g->whole->described_types_count;
        return g->whole->described_types;
    }
    *count = g->stmt == NULL ? 0 : g->stmt->types_count;
    return g->stmt == NULL ? NULL : g->stmt->types;
}

static struct slice text_of(const struct gather *g)
{
    const struct plan *plan = g->plan;
    return g->sql.p != NULL          ? g->sql
           : plan->shard_sql != NULL ? slice_of(plan->shard_sql)
                                     : plan->text;
}

/* A text that comes again with parameters is kept prepared on the servers. */
static void prepare(struct gather *g)
{
    struct session *s = g->op.session;
    if (g->stmt == NULL || g->apart || g->sql.p != NULL || g->plan->split != NULL ||
        s->world->conf->prepared_max == 0 || g->plan->runs++ == 0) {
        return;
    }
    size_t count = 0;
    const uint32_t *types = gather_types(g, &count);
    struct stmt *st = stmt_find(s, g->plan->_batch->catalog_version, text_of(g), types, count);
    if (st->reads_clock) { /* when it is parsed */
        stmt_unref(s->worker, st);
    } else {
        g->prepared = st;
    }
}

static const char *name_of(const struct gather *g)
{
    return g->prepared == NULL ? "" : g->prepared->name;
}

void gather_put_parse(struct gather *g, struct backend *b)
{
    struct stmt *st = g->prepared;
    size_t types_count = 0;
    const uint32_t *types = gather_types(g, &types_count);
    if (st != NULL) {
        if (!backend_has_stmt(b, st->id)) {
            backend_add_stmt(b, st->id);
            typing_put_parse(b, st->name, slice_bytes(st->text, st->text_bytes), st->types,
                             st->types_count);
            backend_expect_parse(b, TO_OP, st, 0);
        }
        return;
    }
    if (g->row_shards != NULL) {
        struct buf sql = {0};
        plan_split_sql(g->plan, g->row_shards, b->shard, &sql);
        typing_put_parse(b, "", buf_slice(&sql), types, types_count);
        buf_free(&sql);
    } else {
        typing_put_parse(b, "", text_of(g), types, types_count);
    }
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_OP);
}

static const char *portal_of(const struct gather *g)
{
    return g->fetch != 0 ? g->cursor : "";
}

void gather_put_bind(struct gather *g, struct backend *b, const struct gather_bound *as)
{
    static const struct front_bind nothing = {0};
    struct front_bind room;
    size_t types_count = 0;
    const uint32_t *types = gather_types(g, &types_count);
    const struct front_bind *client = as->bind == NULL ? &nothing : as->bind;
    struct buf *out = stream_out(b->stream);
    if (g->fetch != 0) { /* it may have been left open by an earlier one */
        front_put_close(out, 'P', g->cursor);
        backend_expect(b, EXPECT_CLOSE, TO_OP);
    }
    if (g->split != NULL) {
        gather_split_put_bind(g, b, as);
    } else {
        const struct front_bind *bind = typing_bind(b, client, types, types_count, &room);
        front_put_bind(out, portal_of(g), name_of(g), bind, as->formats, as->formats_count);
    }
    backend_expect(b, EXPECT_BIND, TO_OP);
    int undescribed =
        g->combine == NULL && (g->copy != NULL || g->apart) && gather_rows_out(g) != &g->sunk;
    int split = g->row_shards != NULL && gather_rows_out(g) != &g->sunk;
    if (g->whole->returns_rows && (split || undescribed)) {
        const struct front_bind binary = {.results_count = 1, .results = (const uint8_t *)"\0\1"};
        g->edits[b->shard] = typing_of_rows(b, &g->op.session->arena, g->whole->described,
                                            g->copy != NULL ? &binary : client, &g->edits_count);
    }
}

void gather_put_execute(struct gather *g, struct backend *b)
{
    struct buf *out = stream_out(b->stream);
    const char *portal = portal_of(g);
    if (g->combine != NULL || g->fetch != 0) {
        front_put_describe(out, 'P', portal);
        backend_expect(b, EXPECT_DESCRIBE, TO_OP);
    }
    if (!g->opening) {
        front_put_execute(out, portal, g->fetch);
        backend_expect(b, EXPECT_EXECUTE, TO_OP);
        backend_newest_expect(b)->rows_pass = g->rows_pass;
    }
    if (g->early) {
        tx_early_put(&g->op, b);
    }
    front_put_sync(out);
    stream_touch(b->stream);
    backend_expect(b, EXPECT_SYNC, TO_OP);
    exec_mark(g->op.session, b, g->plan);
    if (g->hooks == NULL && g->rows_max == 0 && g->fetch == 0 && g->plan->reads_only) {
        moment_ends_here(g->op.session, b);
    }
}

static enum err open_combine(struct gather *g, const struct front_bind *bind, int16_t *formats,
                             size_t *count, struct note *note)
{
    const struct conf *conf = g->op.session->world->conf;
    int16_t *client = NULL;
    size_t client_count = bind == NULL ? 0 : bind->results_count;
    struct plan_args args;
    int sinks = g->hooks != NULL && g->hooks->rows != NULL;
    int binary = !sinks && g->op.session->run_portal != NULL && g->op.session->run_portal->binary;
    int one_format = sinks || g->copy != NULL || binary;
    int16_t format = binary                      ? 1
                     : !sinks && g->copy != NULL ? copy_sink_format(g->copy)
                                                 : g->sink_format;
    const int16_t *each = sinks ? g->sink_formats : NULL;
    client_count = each != NULL ? g->sink_formats_count : one_format ? 1 : client_count;
    *count = 0;
    client = arena_alloc(&g->op.session->arena, (client_count + 1) * sizeof(*client));
    for (size_t i = 0; i < client_count; i++) {
        client[i] = each != NULL ? each[i]
                    : one_format ? format
                                 : (int16_t)(be16_at(bind->results + 2 * i) == 1);
    }
    exec_args(g->op.session, bind, &args);
    int as_they_come = g->plan->split == NULL &&
                       (g->plan->kind == PLAN_ONE ||
                        (sinks && g->hooks->row != NULL && combine_is_plain(g->plan->combine)));
    if (g->plan->split != NULL || as_they_come) {
        memcpy(formats, client, client_count * sizeof(*client));
        *count = client_count;
    }
    if (as_they_come) {
        return ERR_NONE;
    }
    if (g->plan->split != NULL) {
        enum err e = ERR_NONE;
        if (g->row_shards == NULL) {
            g->row_shards = arena_alloc(&g->op.session->arena, g->plan->split->rows_count);
            e = plan_split_rows(g->plan, g->op.session->db->map, &args, g->row_shards, note);
        }
        if (!e) {
            gather_split(g, &args);
        }
        return e;
    }
    if (g->plan->combine == NULL) {
        return ERR_NONE;
    }
    size_t types_count = 0;
    args.fewer_digits = own_fewer_digits(g->op.session);
    args.param_types = gather_types(g, &types_count);
    if (types_count < args.params_count) {
        args.param_types = NULL;
    }
    *count = combine_formats(g->plan->combine, client, client_count, formats);
    size_t inputs = g->plan->same_counts ? 1 : (size_t)__builtin_popcountll(g->shards);
    return combine_open(g->plan->combine, inputs, &args, client, client_count,
                        (size_t)conf->gather_window, (size_t)conf->gather_memory, &g->combine,
                        note);
}

static void put_to(struct gather *g, uint64_t shards, const struct gather_bound *as)
{
    struct session *s = g->op.session;
    bits_each (shard, shards & s->held_bits) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        gather_put_parse(g, b);
        gather_put_bind(g, b, as);
        gather_put_execute(g, b);
    }
}

void gather_send(struct gather *g)
{
    struct session *s = g->op.session;
    struct note note;
    struct front_bind msg;
    const struct front_bind *bind = gather_bind(g, &msg);
    size_t count = 0;
    int16_t *formats = arena_alloc(&s->arena, COMBINE_COLUMNS_MAX * sizeof(*formats));
    enum err e = open_combine(g, bind, formats, &count, &note);
    if (e) {
        gather_end_badly(g, e, &note);
        return;
    }
    if (g->copy != NULL) {
        e = g->combine == NULL ? gather_begin_copy(g, &note)
                               : ERR_NONE; /* else the columns come first */
    } else if (!s->in_extended && g->whole->returns_rows && gather_rows_out(g) == session_out(s) &&
               (s->run_portal == NULL || !s->run_portal->cursor)) {
        if (!s->columns_told) {
            gather_put_description(s, g->whole, bind);
        }
    }
    if (e) {
        gather_end_badly(g, e, &note);
        return;
    }
    g->rows_pass = g->plan->kind == PLAN_MANY && g->hooks == NULL && g->copy == NULL &&
                   g->rows_max == 0 && g->fetch == 0 && g->plan->combine != NULL &&
                   combine_is_plain(g->plan->combine);
    const struct gather_bound as = {bind, formats, count};
    prepare(g);
    if (g->bound) {
        gather_in_moment(g, &as);
        return;
    }
    transit_put(&g->op, g->shards);
    gather_receive(g);
    g->early = g->ends_tx && g->combine == NULL && tx_early(&g->op, g->shards);
    put_to(g, g->shards, &as);
    op_round_sent(&g->op, g->shards, gather_then);
}

/* ---- the beginning --------------------------------------------------------------------------- */

static void gather_drained(struct op *op)
{
    session_wake(op->session);
}

static void start_rows(struct op *op)
{
    struct gather *g = (struct gather *)op;
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    gather_send(g);
}

/* Rows are fetched as they are asked for, when they come from several shards as they are. */
static int in_portions(const struct session *s, const struct plan *plan, const struct plan *copy)
{
    return copy == NULL && s->run_portal != NULL && plan->returns_rows &&
           (plan->kind == PLAN_MANY || plan->kind == PLAN_ONE) &&
           (s->run_rows_max != 0 || s->run_portal->cursor);
}

/* A name that no other open cursor of the session has. */
static void name_cursor(struct gather *g)
{
    const struct session *s = g->op.session;
    uint64_t taken = 0;
    unsigned at = 0, other = 0;
    list_each (node, &s->portals) {
        const struct portal *p = container_of(node, struct portal, node);
        if (p->gather != NULL && sscanf(p->gather->cursor, "braid_%u", &other) == 1) {
            taken |= other < 64 ? UINT64_C(1) << other : 0;
            at = other >= 64 && other >= at ? other + 1 : at;
        }
    }
    if (~taken != 0) {
        at = (unsigned)__builtin_ctzll(~taken);
    }
    (void)snprintf(g->cursor, sizeof(g->cursor), "braid_%u", at);
    g->fetch = gather_cursor_rows(g->rows_max);
    g->opening = s->run_portal->cursor && !s->run_portal->holds;
    g->open = g->shards;
}

struct gather *gather_make(struct session *s, struct plan *plan, const struct front_bind *bind,
                           uint64_t shards, size_t size)
{
    struct gather *g = op_begin(s, size, "gather");
    g->op.free_fn = gather_free;
    g->op.on_drained = gather_drained;
    g->plan = plan;
    g->whole = plan;
    g->stmt = s->run_stmt;
    g->shards = shards;
    g->rows_max = plan->returns_rows ? s->run_rows_max : 0;
    gather_keep_bind(g, bind);
    return g;
}

void gather_run(struct gather *g)
{
    struct session *s = g->op.session;
    if (gather_needs_description(s, g) ||
        (g->fetch != 0 && s->run_portal->cursor && g->plan->described.p == NULL)) {
        uint32_t first = (uint32_t)__builtin_ctzll(g->shards);
        g->op.on_message = gather_described;
        gather_ask_description(g, session_backend(s, first));
        op_round_sent(&g->op, UINT64_C(1) << first, start_rows);
    } else {
        start_rows(&g->op);
    }
}

/*
 * Nothing comes behind it in its transaction, nothing of consequence came before it, and it leaves
 * nothing on its connections. Where shards keep decisions another pgbraid takes what is prepared
 * for left behind after txn.adopt_after_ms: so nothing goes early there that may run for long.
 */
static int is_alone(const struct session *s, const struct plan *plan, uint64_t shards)
{
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        if (b->wrote || (b->began && (shards >> b->shard & 1) == 0)) {
            return 0;
        }
    }
    if (s->tx.kind == TX_KIND_EXPLICIT || s->tx.after.n != 0 || s->tx.changed_schema ||
        plan->keeps_unique || plan->changes_schema || plan->functions_count != 0 ||
        (plan->pins | plan->unpins) != 0 || plan->no_prepare != NULL ||
        (plan->returns_rows && plan->split == NULL)) {
        return 0;
    }
    if (s->worker->world->conf->ledger == CONF_LEDGER_SHARD && plan->split == NULL) {
        return 0;
    }
    return s->in_extended ? s->sync_next : s->batch != NULL && s->batch->count == 1;
}

/* What is known of a statement already. */
struct start {
    struct plan *copy;   /* COPY TO that wants its rows; or NULL */
    uint8_t *row_shards; /* of an INSERT that is split, in the session's arena; or NULL */
};

static enum step start(struct session *s, struct plan *plan, const struct front_bind *bind,
                       uint64_t shards, struct start known)
{
    enum err e = ERR_NONE;
    struct note note;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    int portions = in_portions(s, plan, known.copy);
    int spans = plan->kind == PLAN_WRITE && (shards & (shards - 1)) != 0;
    int alone = spans && is_alone(s, plan, shards);
    if ((spans || portions || plan->keeps_unique) && s->tx.kind == TX_KIND_NONE) {
        session_tx_begin(s, TX_KIND_IMPLICIT, "BEGIN");
    }
    s->sends_now = 1;
    enum step step = session_engage(s, shards, &e, &note);
    s->sends_now = 0;
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct gather *g = gather_make(s, plan, bind, shards, sizeof(*g));
    g->row_shards = known.row_shards;
    if (known.copy != NULL) {
        g->stmt = NULL;
        g->copy = copy_sink_new(known.copy->copy_out);
        g->again = known.copy;
        g->rows_max = 0;
    }
    g->bound = moment_in_block(s, shards) ? 1 : 0;
    g->ends_tx = alone && !tx_isolated(s);
    if (portions) {
        name_cursor(g);
    }
    session_count(s, plan, shards, NULL);
    gather_run(g);
    return STEP_DONE;
}

enum step gather_start(struct session *s, struct plan *plan, const struct front_bind *bind,
                       uint64_t shards)
{
    return start(s, plan, bind, shards, (struct start){0});
}

enum step gather_split_start(struct session *s, struct plan *plan, const struct front_bind *bind,
                             const struct plan_args *args)
{
    uint8_t *rows = arena_alloc(&s->arena, plan->split->rows_count);
    uint64_t shards = 0;
    struct note note;
    enum err e = plan_split_rows(plan, s->db->map, args, rows, &note);
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    for (size_t i = 0; i < plan->split->rows_count; i++) {
        shards |= UINT64_C(1) << rows[i];
    }
    return start(s, plan, bind, shards, (struct start){.row_shards = rows});
}

enum step gather_copy(struct session *s, struct plan *copy, uint64_t shards)
{
    return start(s, copy->copy_out->rows, NULL, shards, (struct start){.copy = copy});
}
