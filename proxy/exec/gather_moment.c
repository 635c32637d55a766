/*
 * A read over several shards inside of a READ COMMITTED transaction, at one moment (moment.h).
 *
 *     round 1   Parse, Bind       takes locks and makes plans, and may wait for them
 *     in a gap  Bind              nothing is left to wait for; the portal has its snapshot
 *     round 3   Execute           sees what that snapshot shows
 *
 * A portal of one SELECT has its snapshot from Bind on, in PostgreSQL: PortalStart() in pquery.c
 * makes it part of the query that PortalRun() runs. The first Bind is for its locks, which the
 * transaction keeps: a table that a commit at the fence has locked would otherwise be waited for
 * inside of the gap that this commit waits for.
 */

#include "base/check.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/gather.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/transit.h"

/* What must live from round to round; in the statement's arena. */
static struct gather_bound *keep(struct gather *g, const struct gather_bound *as)
{
    struct gather_bound *kept = arena_alloc(&g->op.session->arena, sizeof(*kept));
    *kept = *as;
    return kept;
}

static void send_bind(struct gather *g, int parse, void (*then)(struct op *op))
{
    struct session *s = g->op.session;
    struct front_bind msg;
    g->as->bind = gather_bind(g, &msg); /* it points into g */
    if (parse) {
        transit_put(&g->op, g->shards);
    }
    bits_each (shard, g->shards & s->held_bits) {
        struct backend *b = session_backend(s, (uint32_t)shard);
        if (parse) {
            gather_put_parse(g, b);
        }
        gather_put_bind(g, b, g->as);
        front_put_sync(stream_out(b->stream));
        stream_touch(b->stream);
        backend_expect(b, EXPECT_SYNC, TO_OP);
    }
    g->as->bind = NULL;
    op_round_sent(&g->op, g->shards, then);
}

static void execute(struct op *op)
{
    struct gather *g = (struct gather *)op;
    struct session *s = op->session;
    moment_over(s);
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    gather_receive(g);
    bits_each (shard, g->shards & s->held_bits) {
        gather_put_execute(g, session_backend(s, (uint32_t)shard));
    }
    op_round_sent(op, g->shards, gather_then);
}

static void bind_again(struct op *op)
{
    struct session *s = op->session;
    if (s->wait_err != ERR_NONE) {
        struct note note = *session_wait_note(s);
        enum err e = s->wait_err;
        s->wait_err = ERR_NONE;
        op_fail(op, e, &note);
        return;
    }
    send_bind((struct gather *)op, 0, execute);
}

static void look(struct op *op)
{
    if (op->errors != 0) {
        op_fail(op, ERR_INTERNAL, NULL);
        return;
    }
    moment_find(op, ((struct gather *)op)->shards, bind_again);
}

void gather_in_moment(struct gather *g, const struct gather_bound *as)
{
    g->as = keep(g, as);
    g->op.on_message = NULL;
    send_bind(g, 1, look);
}
