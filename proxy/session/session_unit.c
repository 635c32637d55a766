/*
 * A whole request of the extended protocol in one piece: [Parse] Bind [Describe] Execute Sync, of
 * the unnamed portal, all of it received, outside of a transaction, for one shard. That is what
 * most drivers send for most statements; it is looked at once and leaves in one piece. Anything
 * else goes message by message through session_extended.c, with the same result.
 *
 * Texts that clients parse without a name again and again are kept prepared on server connections,
 * as named statements are: PostgreSQL spends more on parsing a small statement than on running it.
 * What the client sees is what plain messages would give, because
 *   - nothing but this one request is in flight, and it begins a transaction of its own;
 *   - its ParseComplete is said only when the server has answered the Bind;
 *   - when the Bind fails, whatever the reason (the result has another type since an ALTER TABLE,
 *     a type was made anew), nothing has been executed: the client's own messages, kept until
 *     then, are sent as they came, and those answers are the answers;
 *   - it reads nothing from the clock while it is parsed (clock_words.h), and no change of a table
 *     can give its parameters other types, which a named statement would not follow: the client
 *     says them, or there are none (or pool.prepare_unnamed is "all").
 * So it is not done while more of the client's messages stand behind.
 */

#include <string.h>

#include "base/check.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/typing.h"
#include "proxy/session/extended.h"
#include "proxy/session/session_role.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats_run.h"

enum {
    KEEP_BYTES_MAX = 64 * 1024 /* longer requests are not kept, and so not promoted */
};

struct unit {
    struct slice all;               /* from the first message to the end of Sync */
    struct slice parse, bind, rest; /* whole messages; parse.n == 0: none; rest: behind Bind */
    struct slice upto_sync;         /* all but Sync */
    int describe;
    struct front_parse parse_body;
    struct front_bind bind_body;
    struct pstmt *pstmt;
};

/* ---- is it one? ------------------------------------------------------------------------------ */

/* The next message, when it is of this type and has come whole. */
static struct slice take(struct slice *in, uint8_t type)
{
    uint8_t found = 0;
    size_t total = 0;
    if (in->n == 0 || in->p[0] != type || frame_peek(*in, &found, &total) != 1 || total > in->n) {
        return (struct slice){NULL, 0};
    }
    struct slice message = slice_bytes(in->p, total);
    *in = slice_from(*in, total);
    return message;
}

static int is_exactly(struct slice message, const char *bytes, size_t n)
{
    return message.n == n && memcmp(message.p, bytes, n) == 0;
}

static int cut(struct slice in, struct unit *u)
{
    static const char describe[] = "D\0\0\0\6P";
    static const char execute[] = "E\0\0\0\11\0\0\0\0";
    const uint8_t *start = in.p;
    u->parse = take(&in, 'P');
    u->bind = take(&in, 'B');
    if (u->bind.n == 0) {
        return 0;
    }
    const uint8_t *rest = in.p;
    struct slice message = take(&in, 'D');
    u->describe = message.n != 0;
    if (u->describe && !is_exactly(message, describe, sizeof(describe))) {
        return 0;
    }
    if (!is_exactly(take(&in, 'E'), execute, sizeof(execute))) {
        return 0;
    }
    u->upto_sync = slice_bytes(start, (size_t)(in.p - start));
    if (take(&in, 'S').n != FRAME_HEADER_BYTES) {
        return 0;
    }
    u->all = slice_bytes(start, (size_t)(in.p - start));
    u->rest = slice_bytes(rest, (size_t)(in.p - rest));
    return 1;
}

static int read_names(struct unit *u, size_t most)
{
    struct note note;
    if (u->parse.n > most || u->bind.n > most ||
        front_read_bind(frame_body(u->bind, u->bind.n), &u->bind_body, &note) != ERR_NONE ||
        u->bind_body.portal.n != 0) {
        return 0;
    }
    if (u->parse.n == 0) {
        return u->bind_body.statement.n != 0;
    }
    return u->bind_body.statement.n == 0 &&
           front_read_parse(frame_body(u->parse, u->parse.n), &u->parse_body, &note) == ERR_NONE &&
           u->parse_body.name.n == 0;
}

static int is_ready(const struct session *s)
{
    if (s->tx.kind != TX_KIND_NONE || s->skip_until_sync || s->pending_parse != NULL || s->admin ||
        s->wait_err != ERR_NONE || atomic_load(&s->worker->shared->stopping)) {
        return 0;
    }
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        if (!backend_quiet(b) || b->unsynced) {
            return 0;
        }
    }
    return !session_is_plain(s);
}

/* ---- its statement --------------------------------------------------------------------------- */

static int is_fresh(const struct session *s, const struct pstmt *p)
{
    uint64_t version = s->db->catalog == NULL ? 0 : catalog_version(s->db->catalog);
    return p->batch != NULL && p->stmt->generation == s->worker->stmt_generation &&
           p->batch->map_epoch == s->db->map->epoch && p->batch->catalog_version == version;
}

static int same_types(const struct stmt *st, const struct front_parse *msg)
{
    for (size_t i = 0; i < msg->types_count; i++) {
        if (st->types[i] != be32_at(msg->types + 4 * i)) {
            return 0;
        }
    }
    return st->types_count == msg->types_count;
}

/* The unnamed statement is this one already, planned under these settings. */
static int is_repeated(const struct session *s, const struct pstmt *p,
                       const struct front_parse *msg)
{
    return p != NULL && p->vars == s->vars && is_fresh(s, p) && !stmt_is_sql(p->stmt) &&
           slice_eq(slice_bytes(p->stmt->text, p->stmt->text_bytes), msg->text) &&
           same_types(p->stmt, msg);
}

static struct pstmt *parse_unnamed(struct session *s, const struct front_parse *msg)
{
    struct pstmt *p = pstmt_find(s, SLICE(""));
    if (!is_repeated(s, p, msg)) {
        p = extended_add_unnamed(s, msg);
    }
    return p;
}

static int find_statement(struct session *s, struct unit *u)
{
    struct note note;
    if (session_enter(s, &note) != ERR_NONE) {
        return 0;
    }
    struct pstmt *p =
        u->parse.n != 0 ? parse_unnamed(s, &u->parse_body) : pstmt_find(s, u->bind_body.statement);
    if (p == NULL || stmt_is_sql(p->stmt) || !is_fresh(s, p)) {
        return 0;
    }
    const struct plan *plan = p->batch->plans[0];
    u->pstmt = p;
    return plan->kind == PLAN_ONE && plan->fetch == NULL && (plan->pins | plan->unpins) == 0 &&
           !plan->asks_sequence && p->batch->unknown_name == NULL &&
           (plan->functions_count == 0 || loop_now_us(s->worker->loop) < plan->harmless_until_us) &&
           session_may_run(s, plan, &note) == ERR_NONE;
}

/* ---- sending --------------------------------------------------------------------------------- */

static int is_query(const struct plan *plan)
{
    static const char *const tags[] = {"SELECT", "INSERT", "UPDATE", "DELETE"};
    for (size_t i = 0; plan->tag != NULL && i < sizeof(tags) / sizeof(tags[0]); i++) {
        if (strcmp(plan->tag, tags[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Whether each Parse of the text gives its parameters the same types, whatever tables have become:
 * the client says them, or there are none. */
static int has_firm_types(const struct unit *u)
{
    if (u->parse_body.types_count != u->bind_body.values_count) {
        return 0;
    }
    for (size_t i = 0; i < u->parse_body.types_count; i++) {
        if (be32_at(u->parse_body.types + 4 * i) == 0) {
            return 0;
        }
    }
    return 1;
}

/* Whether the unnamed statement is taken for a named one. */
static int is_promoted(const struct session *s, const struct backend *b, const struct unit *u)
{
    const struct conf *conf = s->worker->world->conf;
    const struct stmt *st = u->pstmt->stmt;
    return u->parse.n != 0 && st->parses > 1 && conf->prepare_unnamed != CONF_PREPARE_UNNAMED_OFF &&
           !st->reads_clock && conf->prepared_max > 0 &&
           (conf->prepare_unnamed == CONF_PREPARE_UNNAMED_ALL || has_firm_types(u)) &&
           b->pinned == 0 && b->suspect == 0 && u->all.n == stream_in(s->client).n &&
           u->all.n <= KEEP_BYTES_MAX && is_query(u->pstmt->batch->plans[0]);
}

static void put_parse(struct backend *b, const struct stmt *st)
{
    typing_put_parse(b, st->name, slice_bytes(st->text, st->text_bytes), st->types,
                     st->types_count);
    stats_add(b->session, STATS_SERVER_PARSES, 1);
}

static void send_named(struct backend *b, const struct unit *u)
{
    struct stmt *st = u->pstmt->stmt;
    if (backend_has_stmt(b, st->id)) {
        st->proved = 1;
    } else {
        backend_add_stmt(b, st->id);
        put_parse(b, st);
        backend_expect_parse(b, TO_CLIENT_IF_ERROR, st, 0);
        if (u->parse.n != 0) {
            backend_expect_names(b, u->pstmt->serial);
        }
    }
    struct buf *out = stream_append(b->stream);
    front_put_bind_tail(out, "", st->name, u->bind_body.tail);
    buf_add_slice(out, u->rest);
    backend_expect(b, EXPECT_BIND, TO_CLIENT);
    backend_newest_expect(b)->fake = u->parse.n != 0 ? '1' : 0;
}

static void send_as_it_came(struct backend *b, const struct unit *u)
{
    struct stmt *st = u->pstmt->stmt;
    buf_add_slice(stream_append(b->stream), u->all);
    b->unnamed = st->id;
    stats_add(b->session, STATS_SERVER_PARSES, 1);
    backend_expect_parse(b, TO_CLIENT, st, 1);
    backend_expect_names(b, u->pstmt->serial);
    backend_expect(b, EXPECT_BIND, TO_CLIENT);
}

static void expect_the_rest(struct backend *b, int describe)
{
    if (describe) {
        backend_expect(b, EXPECT_DESCRIBE, TO_CLIENT);
    }
    backend_expect(b, EXPECT_EXECUTE, TO_CLIENT);
}

static void send_unit(struct session *s, struct backend *b, struct unit *u, uint32_t shard)
{
    struct plan *plan = u->pstmt->batch->plans[0];
    struct stmt *st = u->pstmt->stmt;
    st->parses = u->parse.n != 0 && st->parses < 2 ? (uint8_t)(st->parses + 1) : st->parses;
    int promoted = is_promoted(s, b, u);
    if (promoted) {
        b->unit.n = 0;
        buf_add_slice(&b->unit, u->all);
        b->unit_describes = u->describe != 0;
        b->unit_retries = 1;
        b->unit_stmt = st->id;
        b->unit_serial = u->pstmt->serial;
        s->guarded = 1;
    }
    if (promoted || u->parse.n == 0) {
        send_named(b, u);
    } else {
        send_as_it_came(b, u);
    }
    expect_the_rest(b, u->describe);
    exec_mark(s, b, plan);
    session_count(s, plan, UINT64_C(1) << shard, b);
    backend_expect(b, EXPECT_SYNC, TO_CLIENT);
    stats_request_sent(s, b);
    stats_add(s, STATS_CLIENT_PARSES, u->parse.n != 0);
    stats_add(s, STATS_BINDS, 1);
}

enum step session_unit(struct session *s, struct slice in, size_t *used)
{
    struct unit u = {0};
    struct note note;
    *used = 0;
    if (!is_ready(s) || !cut(in, &u) ||
        !read_names(&u, (size_t)s->worker->world->conf->message_max) || !find_statement(s, &u)) {
        return STEP_DONE;
    }
    struct plan *plan = u.pstmt->batch->plans[0];
    struct plan_args args;
    uint64_t bits = 0;
    int any = 0;
    s->run_stmt = u.pstmt->stmt;
    exec_args(s, &u.bind_body, &args);
    if (plan_shards(plan, s->db->map, &args, &bits, &any, &note) != ERR_NONE) {
        return STEP_DONE;
    }
    uint32_t shard = exec_choose(s, bits, any);
    if (typing_concerns(s, plan, shard, &u.bind_body) || typing_declared(u.pstmt->stmt)) {
        return STEP_DONE;
    }
    enum err e = ERR_NONE;
    s->in_extended = 1;
    s->request_us = loop_now_us(s->worker->loop);
    watch_request(s);
    stats_request(s);
    watch_request(s);
    s->writes_now = !plan->reads_only;
    s->no_prepare_now = exec_no_prepare(s, plan);
    s->relays_now = 1;
    role_plan(s, plan, 1);
    enum step step = session_engage(s, UINT64_C(1) << shard, &e, &note);
    s->relays_now = 0;
    if (step == STEP_FAILED) {
        *used = u.upto_sync.n; /* the Sync is still to be answered */
        return session_fail(s, e, &note, 0);
    }
    struct backend *b = step == STEP_DONE ? session_backend(s, shard) : NULL;
    if (b == NULL || stream_full(b->stream)) {
        return STEP_WAIT;
    }
    send_unit(s, b, &u, shard);
    s->refreshed = 0;
    *used = u.all.n;
    return STEP_DONE;
}

/* ---- again ----------------------------------------------------------------------------------- */

void unit_again(struct backend *b, int64_t sent_us, uint32_t before_us)
{
    backend_close_stmt(b, b->unit_stmt);
    buf_add_slice(stream_append(b->stream), buf_slice(&b->unit));
    b->unnamed = 0;
    backend_expect(b, EXPECT_PARSE, TO_CLIENT);
    backend_expect_names(b, b->unit_serial);
    backend_expect(b, EXPECT_BIND, TO_CLIENT);
    expect_the_rest(b, (int)b->unit_describes);
    backend_newest_expect(b)->sent_us = sent_us;
    backend_expect(b, EXPECT_SYNC, TO_CLIENT);
    struct expect *e = backend_newest_expect(b);
    e->sent_us = sent_us;
    e->before_us = before_us;
}
