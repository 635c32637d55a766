/* See drawn.h. */

#include "proxy/exec/drawn.h"

#include <string.h>

#include "base/mem.h"
#include "proxy/exec/exec.h"
#include "wire/types.h"
#include "wire/value.h"

struct drawn {
    uint64_t sequence;
    int64_t value;
    uint64_t backend; /* it is still there, under this number of its draws; 0: it is `value` */
    uint32_t draws;
};

struct session_drawn {
    struct drawn items[DRAWN_MAX]; /* the oldest first */
    size_t count;
    uint64_t last;       /* lastval() is of it; 0: not known */
    unsigned blocks : 1; /* some came out of blocks: the server does not know those, */
    unsigned hidden : 1; /* ... since it was last told to forget */
};

static struct session_drawn *mine(struct session *s)
{
    if (s->drawn == NULL) {
        s->drawn = mem_zero(sizeof(*s->drawn));
    }
    return s->drawn;
}

void drawn_free(struct session *s)
{
    mem_free(s->drawn);
    s->drawn = NULL;
}

int drawn_is_known(const struct session *s)
{
    return s->drawn != NULL && s->drawn->count != 0;
}

void drawn_forget(struct session *s)
{
    if (s->drawn != NULL) {
        s->drawn->count = 0;
        s->drawn->last = 0;
    }
}

static void remove_at(struct session_drawn *d, size_t at)
{
    d->count--;
    memmove(&d->items[at], &d->items[at + 1], (d->count - at) * sizeof(*d->items));
}

/* The newest place, for this sequence. */
static struct drawn *place(struct session *s, uint64_t sequence)
{
    struct session_drawn *d = mine(s);
    for (size_t i = 0; i < d->count; i++) {
        if (d->items[i].sequence == sequence) {
            remove_at(d, i);
        }
    }
    if (d->count == DRAWN_MAX) {
        remove_at(d, 0);
    }
    struct drawn *one = &d->items[d->count++];
    *one = (struct drawn){.sequence = sequence};
    return one;
}

void drawn_value(struct session *s, uint64_t sequence, int64_t value)
{
    if (exec_has_temporary(s)) { /* a name may mean one, and the planner knows of none */
        drawn_forget(s);
    } else if (!s->draws_unseen) {
        place(s, sequence)->value = value;
    }
}

void drawn_last(struct session *s, const struct plan *plan)
{
    int known = !s->draws_unseen && !exec_has_temporary(s);
    for (size_t i = 0; i < plan->seen_count && known; i++) {
        if (plan->seen[i].moves) {
            mine(s)->last = plan->seen[i].sequence;
        }
    }
}

void drawn_statement(struct session *s, const struct plan *plan, const struct backend *b)
{
    if (plan->draws == DRAWS_UNSEEN) {
        drawn_forget(s);
        s->draws_unseen |= s->tx.kind != TX_KIND_NONE || s->in_extended;
        return;
    }
    if (plan->draws != DRAWS_SEEN || b == NULL || s->draws_unseen) {
        return;
    }
    if (exec_has_temporary(s)) {
        drawn_forget(s);
        return;
    }
    for (size_t i = 0; i < plan->seen_count; i++) {
        struct drawn *one = place(s, plan->seen[i].sequence);
        one->backend = b->id;
        one->draws = b->draws;
    }
    drawn_last(s, plan);
}

/* What is in a connection, whose state is not what it was. */
static void forget_there(struct session_drawn *d, uint64_t backend, uint32_t draws)
{
    for (size_t i = d->count; i-- > 0;) {
        struct drawn *one = &d->items[i];
        if (one->backend != 0 && (one->backend != backend || one->draws != draws)) {
            d->last = d->last == one->sequence ? 0 : d->last;
            remove_at(d, i);
        }
    }
}

void drawn_failed(struct session *s)
{
    if (s->drawn != NULL) {
        forget_there(s->drawn, 0, 0);
    }
}

void drawn_block(struct session *s)
{
    mine(s)->blocks = 1;
    mine(s)->hidden = 1;
}

void drawn_settle(struct session *s)
{
    if (s->draws_unseen) { /* triggers that were put off may have drawn at its end */
        s->draws_unseen = 0;
        drawn_forget(s);
    }
}

/* ---- fetching -------------------------------------------------------------------------------- */

struct fetch_op {
    struct op op;
    uint64_t sequences[DRAWN_MAX];
    size_t count;
};

static void fetch_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct fetch_op *f = (struct fetch_op *)op;
    struct session_drawn *d = mine(op->session);
    struct back_walk walk;
    struct slice value;
    struct note note;
    (void)b;
    if (type != 'D' || back_walk_row(body, &walk, &note) != ERR_NONE) {
        return;
    }
    for (size_t i = 0; i < f->count && back_next_value(&walk, &value) == 1; i++) {
        int64_t number = 0;
        int is_told = value.p != NULL &&
                      value_read_int(OID_INT8, FORMAT_TEXT, value, &number, &note) == ERR_NONE;
        for (size_t k = 0; is_told && k < d->count; k++) {
            if (d->items[k].sequence == f->sequences[i]) {
                d->items[k].value = number;
                d->items[k].backend = 0;
            }
        }
    }
}

/* What did not come is not known any more. */
static void fetched(struct op *op)
{
    struct session *s = op->session;
    timer_cancel(&s->timer);
    forget_there(mine(s), 0, 0);
    s->tx.failed |= op->errors != 0 && s->tx.kind != TX_KIND_NONE;
    op_end(op);
}

static size_t count_there(const struct session_drawn *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->count; i++) {
        n += d->items[i].backend != 0;
    }
    return n;
}

/*
 * The values that are in home's connection, which is quiet. Of a sequence that is gone, or to which
 * no right is left, it is NULL: an error would end the client's transaction behind its back.
 */
static void fetch(struct session *s, struct backend *b)
{
    const struct session_drawn *d = s->drawn;
    struct fetch_op *f = op_begin(s, sizeof(*f), "sequences");
    struct buf *sql = &s->worker->scratch;
    f->op.on_message = fetch_message;
    f->op.no_cancel = 1;
    sql->n = 0;
    for (size_t i = 0; i < d->count; i++) {
        if (d->items[i].backend != 0) {
            unsigned long long sequence = d->items[i].sequence;
            buf_printf(sql,
                       "%s CASE WHEN pg_catalog.has_sequence_privilege(%llu::pg_catalog.oid, "
                       "'USAGE, SELECT') THEN "
                       "pg_catalog.currval(%llu::pg_catalog.oid::pg_catalog.regclass) END",
                       f->count == 0 ? "SELECT" : ",", sequence, sequence);
            f->sequences[f->count++] = sequence;
        }
    }
    backend_query(b, buf_slice(sql), TO_OP);
    timer_set(&s->timer, s->worker->world->conf->prepare_timeout_ms * 1000);
    op_round_sent(&f->op, UINT64_C(1) << b->shard, fetched);
}

int drawn_keep(struct session *s)
{
    struct backend *b = session_backend(s, 0);
    if (b == NULL || s->in_session_mode || !backend_quiet(b) || b->unsynced ||
        count_there(s->drawn) == 0 || !atomic_load(&s->db->facts->sequences_asked)) {
        return 0;
    }
    forget_there(s->drawn, b->id, b->draws);
    if (count_there(s->drawn) == 0) {
        return 0;
    }
    fetch(s, b);
    return 1;
}

/* ---- the statement with its values ----------------------------------------------------------- */

static int is_drawn_by(const struct plan *plan, uint64_t sequence)
{
    for (size_t i = 0; plan->draws == DRAWS_SEEN && i < plan->seen_count; i++) {
        if (plan->seen[i].sequence == sequence) {
            return 1;
        }
    }
    return 0;
}

/*
 * As a sub-select, for then the column keeps its name. What is not among the values is left to the
 * server: which sequence it is, whether there is one, and who may ask.
 */
static void put_currval(const struct session_drawn *d, const struct plan *plan,
                        struct slice argument, struct buf *out)
{
    size_t count = 0;
    buf_text(out, "(SELECT COALESCE((SELECT braid_k.v FROM (VALUES ");
    for (size_t i = 0; i < d->count; i++) {
        if (!is_drawn_by(plan, d->items[i].sequence)) {
            buf_printf(out, "%s(%llu::pg_catalog.oid, '%lld'::pg_catalog.int8)",
                       count++ == 0 ? "" : ", ", (unsigned long long)d->items[i].sequence,
                       (long long)d->items[i].value);
        }
    }
    buf_text(out, count == 0 ? "(NULL::pg_catalog.oid, NULL::pg_catalog.int8)" : "");
    buf_printf(out,
               ") AS braid_k (s, v) WHERE braid_k.s OPERATOR(pg_catalog.=) "
               "(" SLICE_FMT ")::pg_catalog.regclass::pg_catalog.oid AND "
               "pg_catalog.has_sequence_privilege(braid_k.s, 'USAGE, SELECT')), "
               "pg_catalog.currval(" SLICE_FMT ")) AS currval)",
               SLICE_ARG(argument), SLICE_ARG(argument));
}

static void put_lastval(const struct session_drawn *d, const struct plan *plan, struct buf *out)
{
    for (size_t i = 0; i < d->count && plan->draws == DRAWS_NONE; i++) {
        if (d->items[i].sequence == d->last) {
            buf_printf(out,
                       "(SELECT COALESCE((SELECT '%lld'::pg_catalog.int8 WHERE "
                       "pg_catalog.has_sequence_privilege(%llu::pg_catalog.oid, "
                       "'USAGE, SELECT')), pg_catalog.lastval()) AS lastval)",
                       (long long)d->items[i].value, (unsigned long long)d->last);
            return;
        }
    }
    buf_text(out, "(SELECT pg_catalog.lastval() AS lastval)");
}

static struct slice with_values(struct session *s, const struct plan *plan)
{
    const struct session_drawn *d = s->drawn;
    struct buf out = {0};
    size_t at = 0;
    for (size_t i = 0; i < plan->asks_count; i++) {
        const struct plan_ask *ask = &plan->asks[i];
        buf_add_slice(&out, slice_bytes(plan->text.p + at, ask->at - at));
        if (ask->argument_bytes == 0) {
            put_lastval(d, plan, &out);
        } else {
            put_currval(d, plan, slice_bytes(plan->text.p + ask->argument_at, ask->argument_bytes),
                        &out);
        }
        at = ask->at + ask->bytes;
    }
    buf_add_slice(&out, slice_from(plan->text, at));
    struct slice text = slice_of(arena_strndup(&s->arena, out.p, out.n));
    buf_free(&out);
    return text;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void discard(struct session *s, struct backend *b)
{
    if (backend_quiet(b) && !b->unsynced) {
        backend_query(b, SLICE("DISCARD SEQUENCES"), TO_NOBODY);
    } else {
        backend_execute(b, SLICE("DISCARD SEQUENCES"));
    }
    backend_drew(b, 0);
    b->drawn_old = 0;
    if (s->drawn != NULL) {
        s->drawn->hidden = 0;
    }
}

static int is_there(const struct session *s, const struct backend *b)
{
    for (size_t i = 0; s->drawn != NULL && i < s->drawn->count; i++) {
        const struct drawn *one = &s->drawn->items[i];
        if (one->backend == b->id && one->draws == b->draws) {
            return 1;
        }
    }
    return 0;
}

static _Atomic int *asked(const struct session *s)
{
    return s->sharded && s->db != NULL && s->db->facts != NULL ? &s->db->facts->sequences_asked
                                                               : NULL;
}

void drawn_clean(struct session *s, struct backend *b)
{
    const _Atomic int *flag = asked(s);
    int wanted = flag != NULL && atomic_load_explicit(flag, memory_order_relaxed);
    if (flag != NULL && (wanted || s->in_session_mode) && !is_there(s, b)) {
        discard(s, b);
    }
}

void drawn_pinned(struct session *s, struct backend *b)
{
    if (s->sharded && b->drawn_old) {
        discard(s, b);
    }
}

void drawn_discard(struct session *s, struct backend *b)
{
    _Atomic int *flag = asked(s);
    int hidden = s->drawn != NULL && s->drawn->hidden;
    int kept = b->pinned != 0 || s->in_session_mode || b->wrote;
    if (flag != NULL) {
        atomic_store(flag, 1);
    }
    if (!kept || hidden || (s->sharded && b->drawn_old)) {
        discard(s, b);
    }
}

/* Whoever holds the connection for long finds there all that it has drawn. */
static int server_knows(const struct session *s, const struct backend *b)
{
    return (b->pinned != 0 || s->in_session_mode) && !b->drawn_old &&
           (s->drawn == NULL || !s->drawn->blocks);
}

enum step drawn_ask(struct session *s, struct backend *b, const struct plan *plan,
                    struct slice *text)
{
    struct session_drawn *d = s->drawn;
    *text = (struct slice){NULL, 0};
    if (s->tx.kind == TX_KIND_EXPLICIT && !b->unsynced && !backend_quiet(b)) {
        return session_wait_quiet(s); /* DISCARD behind what fails would fail, too */
    }
    if (!drawn_is_known(s) || plan->draws == DRAWS_UNSEEN || plan->asks == NULL ||
        server_knows(s, b)) {
        drawn_discard(s, b);
        return STEP_DONE;
    }
    if (count_there(d) != 0 && b->unsynced && is_there(s, b)) { /* drawn in the same pipeline */
        drawn_discard(s, b);
        return STEP_DONE;
    }
    forget_there(d, b->id, b->draws);
    if (count_there(d) != 0) {
        if (!session_quiet(s)) {
            return session_wait_quiet(s);
        }
        fetch(s, b);
        return STEP_WAIT;
    }
    drawn_discard(s, b);
    if (b->drawn_by != 0) {
        discard(s, b);
    }
    *text = with_values(s, plan);
    return STEP_DONE;
}
