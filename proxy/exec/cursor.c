/*
 * SQL's cursors over several shards. Such a cursor is a portal of the session, opened by DECLARE
 * and read by FETCH and MOVE as Execute reads one with a row limit (gather_cursor.c); one with
 * SCROLL or WITH HOLD keeps what was read (cursor_kept.c). Cursors of other tables live on the home
 * shard: the statements go there when no cursor of ours has the name.
 */

#include <string.h>

#include "base/check.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/gather.h"

static struct portal *find(struct session *s, const struct plan *plan)
{
    if (plan->fetch == NULL || plan->fetch->cursor == NULL || list_empty(&s->portals)) {
        return NULL;
    }
    struct portal *p = portal_find(s, slice_of(plan->fetch->cursor));
    return p != NULL && p->cursor ? p : NULL;
}

int cursor_is_ours(struct session *s, const struct plan *plan)
{
    return plan->fetch != NULL && find(s, plan) != NULL;
}

void cursor_close_all(struct session *s, const struct plan *plan)
{
    if (plan->fetch == NULL || !plan->fetch->closes || plan->fetch->cursor != NULL) {
        return;
    }
    list_each_safe (node, &s->portals) {
        struct portal *p = container_of(node, struct portal, node);
        if (p->cursor) {
            portal_drop(s, p);
        }
    }
}

/* ---- DECLARE --------------------------------------------------------------------------------- */

/* The parameters of DECLARE are its query's; the rows are not its own. Lives until the session's
 * arena is reset. */
static const struct front_bind *query_bind(struct session *s, const struct front_bind *bind,
                                           struct front_bind *out)
{
    if (bind == NULL || bind->values_count == 0) {
        return NULL;
    }
    size_t results = 2 + 2 * (size_t)bind->results_count; /* their number and formats */
    check(bind->tail.n >= results);
    size_t values = bind->tail.n - results;
    uint8_t *tail = arena_alloc(&s->arena, values + 2);
    memcpy(tail, bind->tail.p, values);
    memset(tail + values, 0, 2);
    *out = *bind;
    out->tail = slice_bytes(tail, values + 2);
    out->results_count = 0;
    return out;
}

static enum step open_one(struct session *s, struct plan *plan, const struct front_bind *bind)
{
    struct note note;
    uint64_t shards = 0;
    int any = 0;
    struct plan_args args;
    exec_args(s, bind, &args);
    enum err e = plan_shards(plan, s->db->map, &args, &shards, &any, &note);
    if (e == ERR_AGAIN && plan->otherwise != NULL) {
        portal_set_plan(s->run_portal, plan->_batch, plan->otherwise);
        return session_run(s, plan->otherwise, bind);
    }
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    return gather_start(s, plan, bind, UINT64_C(1) << exec_choose(s, shards, any));
}

enum step cursor_declare(struct session *s, struct plan *plan, const struct front_bind *bind)
{
    struct front_bind own;
    struct note note;
    enum err e = ERR_NONE;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    struct portal *p = portal_find(s, slice_of(plan->name));
    int block = s->tx.kind == TX_KIND_EXPLICIT ||
                (s->tx.kind == TX_KIND_IMPLICIT && (!s->in_extended || plan->cursor_holds));
    if (!block && !plan->cursor_holds) {
        e = note_set(&note, ERR_NO_TX, "DECLARE CURSOR can only be used in transaction blocks");
    } else if (p != NULL && (p->gather != NULL || p->suspended || !p->cursor)) {
        e = note_set(&note, ERR_DUP_CURSOR, "cursor \"%s\" already exists", plan->name);
    }
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    if (p != NULL) { /* what waits to be opened is run again */
        portal_drop(s, p);
    }
    p = portal_add(s, slice_of(plan->name), NULL);
    p->cursor = 1;
    p->keeps = plan->cursor_scrolls || plan->cursor_holds;
    p->holds = plan->cursor_holds;
    p->forward = plan->cursor_forward;
    p->binary = plan->cursor_binary;
    portal_set_plan(p, plan->_batch, plan->explained);
    s->run_portal = p;
    s->run_rows_max = 0;
    s->run_fetch = NULL;
    bind = query_bind(s, bind, &own);
    s->run_stmt = bind == NULL ? NULL : s->run_stmt; /* it has the types */
    return plan->explained->kind == PLAN_ONE ? open_one(s, plan->explained, bind)
                                             : session_run(s, plan->explained, bind);
}

const struct front_bind *cursor_formats(const struct portal *p, const struct front_bind *bind)
{
    static const struct front_bind binary = {.results_count = 1,
                                             .results = (const uint8_t *)"\0\1"};
    return p->binary ? &binary : bind;
}

/* ---- FETCH, MOVE, CLOSE ---------------------------------------------------------------------- */

static int wants_binary(const struct front_bind *bind)
{
    for (uint16_t i = 0; bind != NULL && i < bind->results_count; i++) {
        if (be16_at(bind->results + 2 * (size_t)i) != 0) {
            return 1;
        }
    }
    return 0;
}

enum step cursor_run(struct session *s, struct plan *plan, const struct front_bind *bind)
{
    struct note note;
    enum err e = ERR_NONE;
    struct portal *p = find(s, plan);
    check(p != NULL);
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    if (plan->fetch->closes) {
        portal_drop(s, p);
        s->run_portal = NULL;
        return session_complete(s, "CLOSE CURSOR");
    }
    if (p->broken) {
        e = note_set(&note, ERR_BAD_STATE, "portal \"%s\" cannot be run", p->name);
    } else if (p->lost) {
        e = note_set(&note, ERR_SHARD_DOWN, "shard %s was lost, and cursor \"%s\" with it",
                     s->db->map->shard_names[p->shard], p->name);
    } else if (!p->keeps && !plan->fetch->simple) {
        e = note_set(&note, ERR_UNSUPPORTED,
                     "a cursor over several shards that is not declared SCROLL only moves forward");
        note_hint(&note, "Declare it with SCROLL option to enable backward scan.");
    } else if (bind != NULL && bind->results_count != 0 && !plan->fetch->moves &&
               wants_binary(bind) != (int)p->binary) {
        e = note_set(&note, ERR_UNSUPPORTED, "this cursor over several shards gives its rows in %s",
                     p->binary ? "binary" : "text");
        note_hint(&note, p->binary ? "Ask for binary results of FETCH."
                                   : "Ask for text results of FETCH, or declare it BINARY.");
    }
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    s->run_fetch = plan;
    if (p->keeps) {
        return kept_fetch(s, p);
    }
    if (!s->in_extended && !plan->fetch->moves) {
        gather_put_description(s, p->plan, cursor_formats(p, NULL));
    }
    int64_t count = plan->fetch->count;
    return portal_go_on(s, p, count > UINT32_MAX ? 0 : (uint32_t)count);
}

void cursor_tell_columns(struct session *s, const struct portal *p)
{
    gather_put_description(s, p->plan, cursor_formats(p, NULL));
    arena_reset(&s->arena);
}

void cursor_describe(struct session *s, const struct plan *plan, const struct front_bind *bind)
{
    const struct portal *p = find(s, plan);
    if (p != NULL && !plan->fetch->moves && !plan->fetch->closes) {
        gather_put_description(s, p->plan, cursor_formats(p, bind));
    } else {
        back_put_empty(session_out(s), 'n');
    }
}
