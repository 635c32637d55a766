/*
 * NOTIFY, LISTEN and UNLISTEN in a transaction over shards: they take effect at its commit, and
 * PostgreSQL prepares no transaction that has run one. So they are held back.
 *
 *     the home shard alone has written, or nobody   they run there in front of the COMMIT, as part
 *                                                   of the transaction
 *     others have                                   they run on the home shard after the commit, in
 *                                                   a transaction of their own; when that fails the
 *                                                   client gets a WARNING
 *
 * The home shard is joined when one is held back, so that its connection is there at the end.
 */

#include <stdio.h>

#include "proxy/exec/exec.h"
#include "proxy/exec/tx.h"
#include "wire/wire.h"

int tx_holds_back(const struct session *s, int after_commit)
{
    return after_commit && s->sharded && s->tx.kind != TX_KIND_NONE;
}

enum step tx_hold_back(struct session *s, struct plan *plan)
{
    struct note note;
    enum err e = ERR_NONE;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    s->writes_now = 0; /* the home shard is a writer only once they run there */
    enum step step = session_engage(s, HOME_SHARD_BIT, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    buf_text(&s->tx.after, s->tx.after.n == 0 ? "" : AFTER_CLIENT_TEXT);
    buf_add_slice(&s->tx.after, plan->text);
    s->tx.after_pins |= plan->pins | plan->unpins;
    return session_complete(s, plan->tag);
}

/* Their round, on the connection to the home shard. */
void tx_run_held(struct op *op, void (*then)(struct op *op))
{
    struct session *s = op->session;
    struct backend *b = session_backend(s, 0);
    if (b != NULL) {
        backend_query(b, buf_slice(&s->tx.after), TO_OP);
        b->suspect |= s->tx.after_pins;
    }
    s->tx.after.n = 0;
    s->tx.after_pins = 0;
    timer_set(&s->timer, s->worker->world->conf->prepare_timeout_ms * 1000);
    op_round_sent(op, HOME_SHARD_BIT, then);
}

void tx_warn_held(struct op *op)
{
    struct back_error err = {0};
    struct note note;
    char text[512];
    if (op->errors == 0) {
        return;
    }
    int whole = back_read_error(buf_slice(&op->error), &err, &note) == ERR_NONE;
    (void)snprintf(
        text, sizeof(text),
        "the transaction is committed, but its NOTIFY, LISTEN and UNLISTEN were lost: " SLICE_FMT,
        SLICE_ARG(whole ? err.message : SLICE("the shard was lost")));
    const struct back_error warning = {.severity = SLICE("WARNING"),
                                       .severity_raw = SLICE("WARNING"),
                                       .code = SLICE("01000"),
                                       .message = slice_of(text)};
    back_put_notice(session_out(op->session), &warning);
    op->error.n = 0;
    op->errors = 0;
}
