/* A PLAN_ROWS whose steps are all done: rows of RETURNING, the tag, the commit. */

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/rows.h"
#include "proxy/exec/unique.h"

enum {
    GIVE_BYTES = 65536 /* of RETURNING at a time */
};

size_t rows_parts_count(const struct rows *r)
{
    return r->plan->rows->steps_count * SHARDS_MAX;
}

static int give_one(struct rows *r, size_t part, struct buf *out)
{
    struct slice rest = slice_from(buf_slice(&r->parts[part].returned), r->taken[part]);
    uint8_t type = 0;
    size_t total = 0;
    if (frame_peek(rest, &type, &total) != 1) {
        return 0; /* a trigger may have left the row out */
    }
    buf_add(out, rest.p, total);
    r->taken[part] += total;
    return 1;
}

/* First those that have an order, then all others. */
int rows_give_more(struct rows *r, struct buf *out, size_t from)
{
    size_t ordered = r->plan->rows->in_order ? r->store.rows : 0;
    while (out->n - from < GIVE_BYTES) {
        if (r->given < ordered) {
            size_t part = r->places[r->given++];
            if (part != ROWS_NOWHERE) {
                (void)give_one(r, part, out);
            }
        } else if (r->given - ordered < rows_parts_count(r)) {
            r->given += give_one(r, r->given - ordered, out) ? 0 : 1;
        } else {
            return 0;
        }
    }
    return 1;
}

static void say_tag(struct rows *r)
{
    struct op *op = &r->w.g.op;
    struct session *s = op->session;
    char tag[64];
    const char *oid = strcmp(r->plan->tag, "INSERT") == 0 ? " 0" : "";
    if (r->plan->rows->bare_tag) {
        (void)snprintf(tag, sizeof(tag), "%s", r->plan->tag);
    } else {
        (void)snprintf(tag, sizeof(tag), "%s%s %llu", r->plan->tag, oid,
                       (unsigned long long)r->counted);
    }
    if (r->w.g.copy != NULL) {
        copy_sink_end(r->w.g.copy, session_out(s), tag);
    }
    if (s->in_extended) { /* what follows in the pipeline belongs to it */
        s->tx.one_statement = 0;
    }
    op->refresh_after = r->plan->rows->changes_schema;
    op_complete(op, tag);
}

static void give_rows(struct op *op)
{
    struct rows *r = (struct rows *)op;
    struct gather *g = &r->w.g;
    int more = 1;
    while (more) {
        if (op->errors != 0 || g->err) {
            rows_failed(r, g->err, &g->note);
            return;
        }
        if (stream_full(op->session->client)) {
            op->then = give_rows; /* when what is queued has been taken */
            return;
        }
        struct buf *out = session_out(op->session);
        size_t from = out->n;
        more = rows_give_more(r, out, from);
        gather_give_rows(g, out, from);
    }
    if (g->err) {
        rows_failed(r, g->err, &g->note);
    } else {
        say_tag(r);
    }
}

void rows_answer(struct rows *r)
{
    struct gather *g = &r->w.g;
    struct session *s = g->op.session;
    struct front_bind msg;
    struct note note;
    if (!r->plan->returns_rows) {
        say_tag(r);
        return;
    }
    r->told = 1;
    r->taken = mem_zero(rows_parts_count(r) * sizeof(*r->taken));
    gather_part(g, r->plan, r->shards, NULL);
    if (g->copy != NULL) {
        enum err e = gather_begin_copy(g, &note);
        if (e) {
            rows_failed(r, e, &note);
            return;
        }
    } else if (!s->in_extended && !s->columns_told &&
               (s->run_portal == NULL || !s->run_portal->cursor)) {
        gather_put_description(s, r->plan, gather_bind(g, &msg));
    }
    g->op.errors = 0;
    give_rows(&g->op);
}

static void settled(struct op *op)
{
    rows_run_after((struct rows *)op);
}

static void unsettled(struct op *op, enum err e, const struct note *note)
{
    rows_failed((struct rows *)op, e, note);
}

void rows_done(struct rows *r)
{
    struct op *op = &r->w.g.op;
    if (r->more) {
        rows_read_on(r);
    } else if (r->outer != NULL) {
        rows_inside_done(r);
    } else if (unique_is_due(op->session)) { /* before anything is told, for another try */
        unique_settle(op, settled, unsettled);
    } else {
        rows_run_after(r);
    }
}
