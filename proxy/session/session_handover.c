/*
 * A session goes to another process, or comes from one. Its socket travels as it is; what it has
 * set, prepared and not yet been answered travels as a frame (handover.h). Only a session between
 * transactions goes that holds no server connection and speaks no TLS, whose keys cannot be moved.
 *
 * A message that came while the session was held back goes along unread.
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/control/handover.h"
#include "proxy/session/session.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats.h"

enum {
    INPUT_MAX = 65536
};

/* ---- who may go ------------------------------------------------------------------------------ */

static int has_live_portal(const struct session *s)
{
    list_each (node, &s->portals) {
        if (container_of(node, struct portal, node)->live) {
            return 1;
        }
    }
    return 0;
}

int session_is_between(const struct session *s)
{
    int nothing_runs = s->tx.kind == TX_KIND_NONE && s->op == NULL && s->batch == NULL &&
                       s->copy_in == NULL && s->copy_left == 0 && s->pending_parse == NULL &&
                       !s->skip_until_sync && !s->midway && !s->want_quiet && !s->ready_owed &&
                       !s->guarded && s->passage == NULL && !s->replicates;
    int holds_nothing = list_empty(&s->held) && s->wait_pool == NULL && !s->wait_refresh &&
                        s->wait_err == ERR_NONE && s->pinned == 0 && s->touched.n == 0 &&
                        s->doubted == NULL && !has_live_portal(s);
    return s->state == SESSION_READY && !s->admin && s->entered && !s->closing && nothing_runs &&
           holds_nothing;
}

/* A text that was read under other settings would be read anew under those of now. */
static int has_settled_statements(const struct session *s)
{
    for (struct hnode *n = hmap_each(&s->pstmts, NULL); n != NULL; n = hmap_each(&s->pstmts, n)) {
        if (container_of(n, struct pstmt, node)->stmt->settings != stmt_settings(s)) {
            return 0;
        }
    }
    return 1;
}

int session_can_travel(const struct session *s)
{
    return !s->in_session_mode && !s->stays && !stream_is_tls(s->client) &&
           has_settled_statements(s);
}

int session_held_back(const struct session *s)
{
    return session_is_between(s) && stream_in(s->client).n <= INPUT_MAX &&
           (s->worker->holding == HOLD_SHARDED ? s->sharded : session_can_travel(s));
}

/* ---- going ----------------------------------------------------------------------------------- */

static void put_vars(struct buf *out, enum handover_tag tag, const struct varset *v)
{
    for (size_t i = 0; i < v->count; i++) {
        struct buf pair = {0};
        buf_cstr(&pair, v->vars[i].name);
        buf_cstr(&pair, v->vars[i].value);
        handover_field(out, tag, buf_slice(&pair));
        buf_free(&pair);
    }
}

static void put_statements(struct buf *out, const struct session *s)
{
    for (struct hnode *n = hmap_each(&s->pstmts, NULL); n != NULL; n = hmap_each(&s->pstmts, n)) {
        const struct pstmt *p = container_of(n, struct pstmt, node);
        struct buf field = {0};
        buf_cstr(&field, p->name);
        buf_be32(&field, (uint32_t)p->stmt->types_count);
        for (size_t i = 0; i < p->stmt->types_count; i++) {
            buf_be32(&field, p->stmt->types[i]);
        }
        buf_add(&field, p->stmt->text, p->stmt->text_bytes);
        handover_field(out, FIELD_STATEMENT, buf_slice(&field));
        buf_free(&field);
    }
}

static void put_address(struct buf *out, enum handover_tag tag, const struct addr *a)
{
    size_t n = a->len < sizeof(a->sa.ss_family) ? sizeof(a->sa.ss_family) : a->len;
    handover_field(out, tag, slice_bytes((const uint8_t *)&a->sa, n));
}

static void put_session(struct buf *out, const struct session *s)
{
    size_t at = handover_begin(out, HANDOVER_CLIENT);
    struct handover_numbers numbers = {
        .pid = s->pid, .protocol = s->protocol, .connect_wall_us = s->connect_wall_us};
    memcpy(numbers.entrance, &s->entrance, sizeof(numbers.entrance));
    handover_field(out, FIELD_USER, slice_of(s->user));
    handover_field(out, FIELD_DATABASE, slice_of(s->database));
    if (s->application_name != NULL) {
        handover_field(out, FIELD_APPLICATION, slice_of(s->application_name));
    }
    handover_put_numbers(out, &numbers);
    handover_field(out, FIELD_KEY, slice_bytes(s->cancel_key, s->cancel_key_bytes));
    put_address(out, FIELD_PEER, stream_peer(s->client));
    put_address(out, FIELD_LOCAL, stream_local(s->client));
    put_vars(out, FIELD_VAR, s->vars);
    put_vars(out, FIELD_STARTUP_VAR, s->startup_vars);
    put_statements(out, s);
    uint64_t wrote = s->role.marks != NULL ? UINT64_MAX : s->role.wrote;
    if (wrote != 0) {
        uint8_t bits[8];
        for (int i = 0; i < 8; i++) {
            bits[i] = (uint8_t)(wrote >> (56 - 8 * i));
        }
        handover_field(out, FIELD_WROTE, slice_bytes(bits, sizeof(bits)));
    }
    struct slice in = stream_in(s->client);
    if (in.n != 0) {
        handover_field(out, FIELD_INPUT, in);
    }
    handover_end(out, at);
}

int session_depart(struct session *s, struct buf *frames)
{
    if (!session_is_between(s) || !session_can_travel(s) || s->pumping ||
        stream_queued(s->client) != 0 || stream_in(s->client).n > INPUT_MAX) {
        return -1;
    }
    size_t before = frames->n;
    put_session(frames, s);
    if (frames->n - before > HANDOVER_FRAME_MAX) { /* it has prepared too much */
        frames->n = before;
        s->stays = 1;
        return -1;
    }
    stream_consume(s->client, stream_in(s->client).n);
    session_drop_portals(s);
    return session_give(s);
}

/* ---- coming ---------------------------------------------------------------------------------- */

static char *copy_text(struct slice value)
{
    char *out = mem_alloc(value.n + 1);
    if (value.n != 0) {
        memcpy(out, value.p, value.n);
    }
    out[value.n] = '\0';
    return out;
}

static void get_address(struct slice value, struct addr *out)
{
    *out = (struct addr){.len = (socklen_t)value.n};
    memcpy(&out->sa, value.p, value.n);
}

static struct varset *get_vars(struct worker *w, enum handover_tag tag, struct slice body)
{
    struct varset *v = varset_ref(w->vars.empty);
    enum handover_tag at;
    struct slice value;
    while (handover_next(&body, &at, &value) == 1) {
        if (at == tag) {
            const char *name = (const char *)value.p;
            struct varset *more = varset_with(&w->vars, v, name, name + strlen(name) + 1);
            varset_unref(&w->vars, v);
            v = more;
        }
    }
    return v;
}

/* Planned again when it is used; no plan of this process has version 0, so it meets none. */
static void get_statement(struct session *s, struct slice value)
{
    struct handover_statement st;
    check(handover_statement(value, &st) == 1);
    uint32_t *types = mem_alloc((st.types_count + 1) * sizeof(*types));
    for (size_t i = 0; i < st.types_count; i++) {
        const uint8_t *p = st.types + 4 * i;
        types[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    struct stmt *stmt = stmt_find(s, 0, st.text, types, st.types_count);
    (void)pstmt_add(s, slice_of(st.name), stmt, NULL);
    mem_free(types);
}

static void get_statements(struct session *s, struct slice body)
{
    enum handover_tag tag;
    struct slice value;
    while (handover_next(&body, &tag, &value) == 1) {
        if (tag == FIELD_STATEMENT) {
            get_statement(s, value);
        }
    }
}

static void get_session(struct session *s, const struct handover_numbers *numbers,
                        struct slice body)
{
    struct worker *w = s->worker;
    struct addr peer;
    struct addr local;
    struct slice key = handover_find(body, FIELD_KEY);
    struct slice application = handover_find(body, FIELD_APPLICATION);
    s->user = copy_text(handover_find(body, FIELD_USER));
    s->database = copy_text(handover_find(body, FIELD_DATABASE));
    s->application_name = application.p == NULL ? NULL : copy_text(application);
    s->pid = numbers->pid;
    s->protocol = numbers->protocol;
    s->connect_wall_us = numbers->connect_wall_us;
    memcpy(s->cancel_key, key.p, key.n);
    s->cancel_key_bytes = key.n;
    get_address(handover_find(body, FIELD_PEER), &peer);
    get_address(handover_find(body, FIELD_LOCAL), &local);
    stream_announce(s->client, &peer, &local);
    varset_unref(&w->vars, s->vars);
    s->vars = get_vars(w, FIELD_VAR, body);
    s->startup_vars = get_vars(w, FIELD_STARTUP_VAR, body);
    get_statements(s, body);
    struct slice wrote = handover_find(body, FIELD_WROTE);
    for (size_t i = 0; i < wrote.n; i++) {
        s->role.wrote = s->role.wrote << 8 | wrote.p[i];
    }
    s->wants_header = 0;
    session_is_stranger(s, 0);
    timer_cancel(&s->timer);
}

static enum err enter(struct session *s, struct note *note)
{
    struct worker *w = s->worker;
    const struct world_db *db = world_find_db(w->world, slice_of(s->database));
    if (db == NULL) {
        return note_set(note, ERR_NO_DATABASE, "no such database: %s", s->database);
    }
    s->sharded = db->map->shards_count > 1;
    s->terms = terms_get(w, s->database, s->user);
    enum err e = terms_enter(s->terms, note);
    s->entered = !e;
    s->in_session_mode = s->terms->rule.mode == CONF_POOL_SESSION;
    return e;
}

void session_arrive(struct worker *w, int fd, struct slice body)
{
    struct handover_numbers numbers;
    struct entrance entrance;
    struct note note;
    static_assert(sizeof(entrance) == sizeof(numbers.entrance), "it travels as bytes");
    handover_get_numbers(handover_find(body, FIELD_NUMBERS), &numbers);
    memcpy(&entrance, numbers.entrance, sizeof(entrance));
    atomic_fetch_add_explicit(&w->clients, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->shared->clients, 1, memory_order_relaxed);
    struct session *s = session_new(w, fd, &entrance);
    get_session(s, &numbers, body);
    enum err e = enter(s, &note);
    if (e) {
        session_fatal(s, e, &note);
        return;
    }
    s->state = SESSION_READY;
    s->stats = stats_set_of(w->stats, s->database, s->user);
    watch_ready(s);
    stream_unread(s->client, handover_find(body, FIELD_INPUT));
}
