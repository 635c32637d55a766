/*
 * The types of a statement's columns are seen only when the shards describe them. When the combiner
 * does not know one, nothing has been given to the client yet (but for the description, in the
 * simple protocol), and the plan's `otherwise` runs in the same statement; from then on at once.
 */

#include "base/check.h"
#include "proxy/exec/gather.h"

void gather_run_again(struct gather *g, struct plan *plan)
{
    struct session *s = g->op.session;
    s->again = plan;
    s->again_bind.n = 0;
    buf_add_slice(&s->again_bind, buf_slice(&g->bind_body));
    op_end(&g->op);
}

void gather_run_otherwise(struct gather *g)
{
    struct session *s = g->op.session;
    g->whole->combine_refused = 1;
    s->columns_told = !s->in_extended && (g->hooks == NULL || g->hooks->rows == NULL);
    gather_run_again(g, g->again != NULL ? g->again : g->whole->otherwise);
}

enum step gather_again(struct session *s)
{
    struct front_bind msg;
    struct note note;
    struct plan *plan = s->again;
    int has = s->again_bind.n != 0;
    enum err e = has ? front_read_bind(buf_slice(&s->again_bind), &msg, &note) : ERR_NONE;
    check(e == ERR_NONE); /* it was read once before */
    s->again = NULL;
    enum step step = session_run(s, plan, has ? &msg : NULL);
    s->midway = step == STEP_WAIT;
    if (step == STEP_WAIT) {
        s->again = plan;
    } else if (s->op == NULL) {
        rows_forget(s); /* it has failed while it was put aside */
    }
    return step;
}
