/*
 * SQL's cursors that keep what was read of them: SCROLL, which may go back, and WITH HOLD, which
 * outlives its transaction.
 *
 *     kept      DataRow messages, one behind the other; row_at says where each begins
 *     position  0        1 ... rows_count        rows_count + 1
 *               before   on that row             behind, when all rows are here
 *
 * SCROLL reads on from the shards (gather_cursor.c) when a row is asked for that is not here yet.
 * WITH HOLD reads all of them at DECLARE, in the transaction and snapshot it stands in, so that
 * COMMIT has nothing to wait for. What a workspace gives is here at once in either case. Where a
 * FETCH ends is DoPortalRunFetch() of PostgreSQL's pquery.c, rule by rule.
 *
 * Memory: all portals of a session together limits.gather_memory_bytes. Owner: the session.
 */

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/gather.h"

/* ---- rows ------------------------------------------------------------------------------------ */

enum err kept_room(const struct session *s, size_t bytes, struct note *note)
{
    size_t most = (size_t)s->world->conf->gather_memory;
    size_t all = bytes;
    list_each (node, &s->portals) {
        all += container_of(node, struct portal, node)->kept.n;
    }
    if (all <= most) {
        return ERR_NONE;
    }
    enum err e =
        note_set(note, ERR_NOMEM,
                 "rows of cursors and portals that wait to be fetched passed %zu bytes", most);
    note_hint(note, "Raise limits.gather_memory_bytes; close cursors; declare them without SCROLL "
                    "and WITH HOLD; execute without a row limit.");
    return e;
}

/* Rows that came since the last time get their places. */
static void count_rows(struct portal *p)
{
    uint8_t type = 0;
    size_t total = 0;
    while (p->rows_bytes < p->kept.n) {
        if (p->rows_count == p->rows_cap) {
            p->rows_cap = p->rows_cap == 0 ? 64 : p->rows_cap * 2;
            p->row_at = mem_grow(p->row_at, p->rows_cap * sizeof(*p->row_at));
        }
        check(frame_peek(slice_from(buf_slice(&p->kept), p->rows_bytes), &type, &total) == 1);
        p->row_at[p->rows_count++] = p->rows_bytes;
        p->rows_bytes += total;
    }
}

enum err kept_take(struct session *s, struct portal *p, struct gather *g, uint32_t wanted,
                   struct note *note)
{
    size_t from = g->ready_at;
    size_t to = from;
    size_t total = 0;
    uint8_t type = 0;
    uint32_t taken = 0;
    while (to < g->ready.n && taken < wanted) {
        check(frame_peek(slice_from(buf_slice(&g->ready), to), &type, &total) == 1);
        to += total;
        taken++;
    }
    enum err e = kept_room(s, to - from, note);
    if (e) {
        return e;
    }
    buf_add(&p->kept, g->ready.p + from, to - from);
    g->rows_given += taken;
    g->ready_at = to;
    if (to == g->ready.n) {
        g->ready.n = g->ready_at = 0;
    }
    return ERR_NONE;
}

void kept_forget(struct portal *p)
{
    mem_free(p->row_at);
    p->row_at = NULL;
    p->rows_count = p->rows_cap = p->rows_bytes = 0;
    p->position = 0;
}

/* ---- where a FETCH goes ---------------------------------------------------------------------- */

struct way {
    uint64_t first; /* row, from 1 */
    uint64_t rows;  /* how many from there on */
    int back;       /* ... downwards */
    uint64_t to;    /* the position afterwards */
};

static uint64_t distance(int64_t n)
{
    return n < 0 ? (uint64_t)0 - (uint64_t)n : (uint64_t)n;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static struct way to_row(const struct portal *p, uint64_t row)
{
    uint64_t behind = (uint64_t)p->rows_count + 1;
    uint64_t to = row < behind ? row : behind;
    return (struct way){.first = to, .rows = to != 0 && to != behind, .to = to};
}

static struct way forwards(const struct portal *p, uint64_t count)
{
    uint64_t here = p->rows_count;
    uint64_t left = p->position < here ? here - p->position : 0;
    uint64_t rows = count < left ? count : left;
    return (struct way){
        .first = p->position + 1, .rows = rows, .to = rows < count ? here + 1 : p->position + rows};
}

static struct way backwards(const struct portal *p, uint64_t count)
{
    uint64_t left = p->position == 0 ? 0 : p->position - 1;
    uint64_t rows = count < left ? count : left;
    return (struct way){.first = p->position - 1,
                        .rows = rows,
                        .back = 1,
                        .to = rows < count ? 0 : p->position - rows};
}

/* The current row once more. */
static struct way stay(const struct portal *p)
{
    int on_row = p->position != 0 && p->position <= p->rows_count;
    return (struct way){.first = p->position, .rows = on_row != 0, .to = p->position};
}

static struct way find_way(const struct portal *p, const struct plan_fetch *f)
{
    uint64_t n = distance(f->count);
    switch (f->how) {
    case FETCH_ABSOLUTE:
        if (f->count >= 0) {
            return to_row(p, n);
        }
        return to_row(p, n <= p->rows_count ? (uint64_t)p->rows_count + 1 - n : 0);
    case FETCH_RELATIVE:
        if (f->count == 0) {
            return stay(p);
        }
        return to_row(p, f->count > 0      ? sum(p->position, n)
                         : n < p->position ? p->position - n
                                           : 0);
    case FETCH_FORWARD:
    case FETCH_BACKWARD: break;
    }
    if (f->count == 0) {
        return stay(p);
    }
    return (f->how == FETCH_FORWARD) == (f->count > 0) ? forwards(p, n) : backwards(p, n);
}

/* The last row that must be here before the way is known. */
static uint64_t needed(const struct portal *p, const struct plan_fetch *f)
{
    int forward = f->how == FETCH_BACKWARD ? f->count < 0 : f->count > 0;
    if (f->how == FETCH_ABSOLUTE) {
        return f->count < 0 ? UINT64_MAX : (uint64_t)f->count;
    }
    return forward ? sum(p->position, distance(f->count)) : 0;
}

/* NO SCROLL: neither back nor the same row again. */
static int goes_back(const struct portal *p, const struct plan_fetch *f, const struct way *way)
{
    int backward = (f->how == FETCH_BACKWARD && f->count > 0) ||
                   (f->how == FETCH_FORWARD && f->count < 0) ||
                   ((f->how == FETCH_RELATIVE || f->how == FETCH_ABSOLUTE) && f->count < 0);
    return p->forward && (backward || way->to < p->position ||
                          (way->to == p->position && way->rows != 0 && !f->moves));
}

/* ---- FETCH and MOVE -------------------------------------------------------------------------- */

static void put_rows(struct session *s, const struct portal *p, const struct way *way)
{
    struct buf *out = session_out(s);
    for (uint64_t i = 0; i < way->rows; i++) {
        uint64_t row = way->back ? way->first - i : way->first + i;
        size_t at = p->row_at[row - 1];
        size_t end = row < p->rows_count ? p->row_at[row] : p->rows_bytes;
        buf_add(out, p->kept.p + at, end - at);
    }
}

void kept_give(struct session *s, struct portal *p)
{
    const struct plan_fetch *f = s->run_fetch->fetch;
    struct note note;
    char tag[64];
    count_rows(p);
    const struct way way = find_way(p, f);
    s->run_fetch = NULL;
    s->run_portal = NULL;
    if (goes_back(p, f, &way)) {
        enum err e = note_set(&note, ERR_BAD_STATE, "cursor can only scan forward");
        note_hint(&note, "Declare it with SCROLL option to enable backward scan.");
        p->broken = 1;
        (void)session_fail(s, e, &note, 0);
        return;
    }
    if (!f->moves) {
        if (!s->in_extended) {
            gather_put_description(s, p->plan, cursor_formats(p, NULL));
        }
        put_rows(s, p, &way);
    }
    p->position = way.to;
    (void)snprintf(tag, sizeof(tag), "%s %llu", f->moves ? "MOVE" : "FETCH",
                   (unsigned long long)way.rows);
    (void)session_complete(s, tag);
}

enum step kept_fetch(struct session *s, struct portal *p)
{
    count_rows(p);
    uint64_t last = needed(p, s->run_fetch->fetch);
    if (p->gather == NULL || last <= p->rows_count) {
        kept_give(s, p);
        return STEP_DONE;
    }
    uint64_t more = last - p->rows_count;
    return portal_go_on(s, p, more > UINT32_MAX ? 0 : (uint32_t)more);
}
