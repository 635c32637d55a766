/*
 * A statement over several shards whose rows are asked for in portions: a portal that is executed
 * with a row limit, or a cursor of SQL.
 *
 * Each shard has a portal of ours in its transaction and gives FETCH_ROWS rows at a time, only when
 * they are needed; between two portions nothing is in flight, so other statements may run. What the
 * client has not asked for yet waits in `ready`. The gather lives in its portal meanwhile, and is
 * the session's operation only while rows are fetched. In autocommit a transaction is opened for
 * it, which the Sync ends.
 *
 * Where rows come another way (a workspace, RETURNING), those beyond the limit are kept in the
 * portal: no more than limits.gather_memory_bytes.
 */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/gather.h"
#include "proxy/exec/typing.h"

enum {
    FETCH_ROWS_MIN = 50,
    FETCH_ROWS_MAX = 1000,
    READY_BYTES = 65536
};

static void cursor_step(struct op *op);

uint32_t gather_cursor_rows(uint32_t wanted)
{
    return wanted == 0 || wanted > FETCH_ROWS_MAX ? FETCH_ROWS_MAX
           : wanted < FETCH_ROWS_MIN              ? FETCH_ROWS_MIN
                                                  : wanted;
}

/* ---- rows to the client ---------------------------------------------------------------------- */

/* Up to as many as are wanted, in runs. Returns how many. */
static uint32_t give(struct session *s, struct portal *p, struct buf *rows, size_t *at,
                     uint32_t wanted, int discard)
{
    int ids = p != NULL && p->plan != NULL && p->plan->ids != NULL;
    size_t from = *at, total = 0;
    uint32_t given = 0;
    uint8_t type = 0;
    while (*at < rows->n && given < wanted) {
        check(frame_peek(slice_from(buf_slice(rows), *at), &type, &total) == 1);
        if (ids) {
            cursor_put_row(p, frame_body(slice_from(buf_slice(rows), *at), total),
                           discard ? NULL : session_out(s));
        }
        *at += total;
        given++;
    }
    if (!discard && !ids && *at > from) {
        buf_add(session_out(s), rows->p + from, *at - from);
    }
    if (*at == rows->n) {
        rows->n = *at = 0;
    }
    return given;
}

static void say_end(struct session *s, struct portal *p, uint32_t given, int more)
{
    char tag[sizeof(p->tag)];
    const char *verb = s->run_fetch == NULL ? NULL : s->run_fetch->fetch->moves ? "MOVE" : "FETCH";
    p->suspended = more != 0;
    p->finished = !more;
    if (!more) {
        p->on.n = 0;
    }
    if (verb != NULL) {
        (void)snprintf(tag, sizeof(tag), "%s %u", verb, given);
    } else if (p->tag[0] != '\0') { /* the rows of this Execute, as in PostgreSQL */
        const char *number = strrchr(p->tag, ' ');
        check(number != NULL);
        (void)snprintf(tag, sizeof(tag), "%.*s %u", (int)(number - p->tag), p->tag, given);
    } else {
        (void)snprintf(tag, sizeof(tag), "SELECT %u", given);
    }
    s->run_fetch = NULL;
    s->run_portal = verb != NULL ? NULL : p; /* it says whether there is more */
    (void)session_complete(s, tag);
}

static uint32_t wanted_of(uint32_t rows_max)
{
    return rows_max == 0 ? UINT32_MAX : rows_max;
}

void portal_keep(struct portal *p, struct slice rows)
{
    buf_add_slice(&p->kept, rows);
}

static enum step give_kept(struct session *s, struct portal *p, uint32_t rows_max)
{
    int discard = s->run_fetch != NULL && s->run_fetch->fetch->moves;
    uint32_t given = give(s, p, &p->kept, &p->kept_at, wanted_of(rows_max), discard);
    say_end(s, p, given, rows_max != 0 && given == rows_max);
    return STEP_DONE;
}

/* ---- fetching -------------------------------------------------------------------------------- */

static void fetch_failed(struct gather *g, enum err e, const struct note *note)
{
    struct op *op = &g->op;
    if (e) {
        op->error.n = 0;
    }
    op->session->run_fetch = NULL;
    op_fail(op, e ? e : ERR_INTERNAL, note);
}

void gather_cursor_then(struct op *op)
{
    struct gather *g = (struct gather *)op;
    if (g->hooks != NULL && (g->err || op->errors != 0)) {
        gather_end_badly(g, g->err, &g->note);
    } else if (g->hooks != NULL) {
        g->hooks->portion(g);
    } else if (g->err || op->errors != 0) {
        fetch_failed(g, g->err, &g->note);
    } else {
        cursor_step(op);
    }
}

static void fetch(struct gather *g, uint64_t shards)
{
    struct session *s = g->op.session;
    bits_each (shard, shards & s->held_bits) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        struct buf *out = stream_out(b->stream);
        g->from[shard] = b->expects_made;
        front_put_describe(out, 'P', g->cursor); /* the types of rows that must be turned */
        backend_expect(b, EXPECT_DESCRIBE, TO_OP);
        front_put_execute(out, g->cursor, g->fetch);
        backend_expect(b, EXPECT_EXECUTE, TO_OP);
        front_put_sync(out);
        backend_expect(b, EXPECT_SYNC, TO_OP);
        stream_touch(b->stream);
    }
    op_round_sent(&g->op, shards, gather_cursor_then);
}

/* Shards that must send before more rows can be given. */
static uint64_t needed(const struct gather *g)
{
    uint64_t needs = g->combine == NULL ? UINT64_MAX : combine_needs(g->combine), out = 0;
    size_t index = 0;
    bits_each (shard, g->shards) {
        out |= (needs >> index & 1) != 0 ? UINT64_C(1) << shard : 0;
        index++;
    }
    out &= g->open;
    /* Rows that go on as they come: no more than one portion need wait here. */
    int plain = g->combine == NULL || combine_is_plain(g->plan->combine);
    return plain && g->hooks == NULL ? out & -out : out;
}

/* The operation is over for now; the gather stays with its portal. */
static void leave(struct gather *g, int more)
{
    struct session *s = g->op.session;
    struct portal *p = s->run_portal;
    uint32_t given = g->rows_given;
    if (p == NULL) { /* its transaction has ended */
        op_fail(&g->op, ERR_INTERNAL, NULL);
        return;
    }
    if (p->keeps && !more && s->run_fetch == NULL) { /* WITH HOLD: it is opened, and all is here */
        op_complete(&g->op, "DECLARE CURSOR");
        return;
    }
    p->gather = g;
    op_leave(&g->op);
    if (p->keeps && !more) {
        p->gather = NULL;
        op_discard(&g->op);
    }
    if (p->keeps && s->run_fetch != NULL) {
        kept_give(s, p);
    } else {
        say_end(s, p, given, more);
    }
}

static void cursor_step(struct op *op)
{
    struct gather *g = (struct gather *)op;
    struct session *s = op->session;
    struct portal *p = s->run_portal;
    int discard = s->run_fetch != NULL && s->run_fetch->fetch->moves;
    struct note note;
    for (;;) {
        uint32_t wanted = g->opening ? 0 : wanted_of(g->rows_max) - g->rows_given;
        if (p == NULL || !p->keeps) {
            g->rows_given += give(s, p, &g->ready, &g->ready_at, wanted, discard);
        } else if (kept_take(s, p, g, wanted, &note) != ERR_NONE) {
            fetch_failed(g, ERR_NOMEM, &note);
            return;
        }
        if (g->opening || g->rows_given == wanted_of(g->rows_max)) {
            leave(g, 1);
            return;
        }
        if (g->ready.n == 0 && g->all_ready) {
            leave(g, 0);
            return;
        }
        if (stream_full(s->client)) {
            op->then = cursor_step; /* when the client has taken what is queued */
            return;
        }
        uint64_t shards = g->done ? 0 : needed(g);
        if (shards != 0) {
            if (p != NULL && p->locked_depth < s->tx.savepoints_count) {
                p->locked_depth = s->tx.savepoints_count;
            }
            fetch(g, shards);
            return;
        }
        int more = 0;
        enum err e = g->combine == NULL || g->done
                         ? ERR_NONE
                         : combine_finish(g->combine, READY_BYTES, &g->ready, &more, &note);
        if (e) {
            fetch_failed(g, e, &note);
            return;
        }
        g->all_ready = !more;
    }
}

/* ---- for operations that write what they read -------------------------------------------------
 */

void gather_in_portions(struct gather *g, uint32_t rows)
{
    (void)snprintf(g->cursor, sizeof(g->cursor), "braid_rows");
    g->fetch = rows;
    g->open = g->shards;
    g->opening = 0;
    g->all_ready = 0;
    g->ready.n = g->ready_at = 0;
}

int gather_more(struct gather *g, uint32_t rows)
{
    uint64_t shards = g->done ? 0 : needed(g);
    g->fetch = rows;
    gather_receive(g);
    if (shards != 0) {
        fetch(g, shards);
    }
    return shards != 0;
}

void gather_close_portions(struct gather *g, void (*then)(struct op *op))
{
    struct session *s = g->op.session;
    bits_each (shard, g->shards & s->held_bits) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        struct buf *out = stream_out(b->stream);
        front_put_close(out, 'P', g->cursor);
        backend_expect(b, EXPECT_CLOSE, TO_OP);
        front_put_sync(out);
        backend_expect(b, EXPECT_SYNC, TO_OP);
        stream_touch(b->stream);
    }
    g->op.on_message = NULL;
    g->op.on_failed = NULL;
    op_round_sent(&g->op, g->shards, then);
}

/* ---- for others ------------------------------------------------------------------------------ */

enum step portal_go_on(struct session *s, struct portal *p, uint32_t rows_max)
{
    struct gather *g = p->gather;
    enum err e = ERR_NONE;
    struct note note;
    if (p->finished) {
        say_end(s, p, 0, 0);
        return STEP_DONE;
    }
    s->run_portal = p;
    if (g == NULL) {
        return give_kept(s, p, rows_max);
    }
    enum step step = session_engage(s, g->shards, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    s->run_portal = p;
    g->rows_max = rows_max;
    g->fetch = gather_cursor_rows(rows_max);
    g->rows_given = 0;
    g->opening = 0;
    g->op.errors = 0;
    p->gather = NULL;
    op_enter(&g->op);
    cursor_step(&g->op);
    return STEP_DONE;
}

void portal_forget_rows(struct session *s, struct portal *p)
{
    struct gather *g = p->gather;
    p->gather = NULL;
    p->suspended = 0;
    p->finished = 0;
    p->tag[0] = '\0';
    buf_free(&p->kept);
    buf_free(&p->on);
    p->unlocked = 0;
    p->locked_depth = 0;
    p->kept_at = 0;
    kept_forget(p);
    if (g != NULL) {
        check(s->op != &g->op);
        g->op.session = s;
        op_discard(&g->op);
    }
    if (s->op != NULL && s->run_portal == p) {
        s->run_portal = NULL;
    }
}
