/*
 * The order of things. A message is one of four: a change of the transaction that is being given
 * (`turn`), a change of one that waits (`block`), a border, or alone. A transaction that has waited
 * is read back and takes its turn in one go, when its commit comes.
 *
 * A shape is looked up when a change arrives, also when the change then waits: what the table is
 * called at the commit may be another name. Announcements in a streamed transaction are its own
 * until it commits or is prepared; then they hold for all, unless a newer one came meanwhile. (From
 * the prepare on PostgreSQL 15.20 does not repeat them, not even when it is rolled back; others do,
 * which does no harm.) They are kept when the sub-transaction they came in is aborted.
 *
 * Source: PostgreSQL src/backend/replication/pgoutput/pgoutput.c (what is sent when),
 * src/backend/replication/logical/reorderbuffer.c.
 */

#include "replication/cdc/assemble.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "replication/cdc/pgoutput.h"
#include "replication/cdc/tx_store.h"
#include "txn/gid.h"
#include "txn/user_gid.h"

/* The transaction that is being given. */
struct turn {
    uint8_t is_open, is_begun, is_left_out;
    uint32_t xid;
    uint32_t index; /* of the next change */
    uint64_t lsn, prepare_lsn;
    int64_t time_us;
    struct slice gid, origin;
    size_t bytes; /* since the last mark */
};

struct assembler {
    struct assemble_options o;
    struct arena arena; /* of the message in work */
    struct shapes shapes;
    struct names names;
    uint64_t seq; /* of messages */
    struct tx_store store;
    char prefix[32];
    size_t prepared;
    struct turn turn;
    struct buf origin;     /* of turn, when it came as O */
    struct buf gid;        /* of turn */
    struct buf watermark;  /* content of the one in work */
    struct open_tx *block; /* between S and E, b and P */
    uint64_t last_lsn;     /* of what was given or left out */
    uint64_t resume;
    struct cdc_mark marked; /* given last */
};

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static void show_store(struct assembler *a)
{
    struct cdc_counts *c = a->o.counts;
    atomic_store_explicit(&c->open_transactions, tx_count(&a->store), memory_order_relaxed);
    atomic_store_explicit(&c->prepared_transactions, a->prepared, memory_order_relaxed);
    atomic_store_explicit(&c->open_bytes, a->store.memory, memory_order_relaxed);
}

static enum err unexpected(const struct pgoutput_message *m, const char *why, struct note *note)
{
    return note_set(note, ERR_SHARD_PROTOCOL, "pgoutput message '%c' of transaction %u: %s",
                    m->type, m->xid, why);
}

/* ---- giving ---------------------------------------------------------------------------------- */

/* Stored before. */
static int is_known(const struct assembler *a, uint64_t lsn, uint32_t index)
{
    const struct cdc_mark *p = &a->o.place;
    return lsn < p->lsn || (lsn == p->lsn && index <= p->index);
}

/* All of the transaction was. */
static int is_known_whole(const struct assembler *a, uint64_t lsn)
{
    const struct cdc_mark *p = &a->o.place;
    return lsn < p->lsn || (lsn == p->lsn && p->ends);
}

/* Up to here the server's log is not needed any more. */
static void move_resume(struct assembler *a, uint64_t lsn)
{
    if (a->prepared > 0) {
        for (struct open_tx *tx = tx_each(&a->store, NULL); tx != NULL;
             tx = tx_each(&a->store, tx)) {
            if (tx->prepared && tx->prepare_lsn < lsn) {
                lsn = tx->prepare_lsn; /* a start behind it would not bring its rows again */
            }
        }
    }
    if (lsn > a->resume) {
        a->resume = lsn;
    }
}

static enum err give_mark(struct assembler *a, uint64_t lsn, uint32_t index, int ends,
                          struct note *note)
{
    const struct cdc_mark mark = {.epoch = a->o.place.epoch,
                                  .lsn = lsn,
                                  .index = index,
                                  .ends = (uint8_t)ends,
                                  .resume = a->resume};
    a->marked = mark;
    return a->o.sink->mark(a->o.sink->arg, &a->o.shard, &mark, note);
}

static enum err give_whole(struct assembler *a, struct change *c, struct note *note)
{
    const struct turn *t = &a->turn;
    c->shard = a->o.shard.number;
    c->xid = t->xid;
    c->epoch = a->o.place.epoch;
    c->lsn = t->lsn;
    c->time_us = t->time_us;
    c->gid = t->gid;
    c->prepare_lsn = t->prepare_lsn;
    c->origin = t->origin;
    return a->o.sink->change(a->o.sink->arg, c, note);
}

/* One change of the turn; it has its index also when it is left out. */
static enum err give(struct assembler *a, struct change *c, int leave_out, size_t bytes,
                     struct note *note)
{
    struct turn *t = &a->turn;
    c->index = t->index++;
    if (leave_out || t->is_left_out || is_known(a, t->lsn, c->index)) {
        count(&a->o.counts->left_out, 1);
        return ERR_NONE;
    }
    enum err e = ERR_NONE;
    if (!t->is_begun) {
        struct change begin = {.op = CHANGE_BEGIN};
        t->is_begun = 1;
        e = give_whole(a, &begin, note);
    }
    e = e ? e : give_whole(a, c, note);
    t->bytes += bytes;
    if (e == ERR_NONE && t->bytes >= a->o.unit_bytes) {
        t->bytes = 0;
        e = give_mark(a, t->lsn, c->index, 0, note);
    }
    return e;
}

static enum err start_turn(struct assembler *a, const struct pgoutput_message *m, struct slice gid,
                           struct slice origin, struct note *note)
{
    if (m->lsn <= a->last_lsn) {
        return note_set(note, ERR_SHARD_PROTOCOL,
                        "pgoutput message '%c' of transaction %u: its commit at %X/%X lies before "
                        "the last one at %X/%X",
                        m->type, m->xid, (unsigned)(m->lsn >> 32), (unsigned)m->lsn,
                        (unsigned)(a->last_lsn >> 32), (unsigned)a->last_lsn);
    }
    static const struct slice moves = {(const uint8_t *)CDC_MOVE_ORIGIN,
                                       sizeof(CDC_MOVE_ORIGIN) - 1};
    a->turn = (struct turn){
        .is_open = 1,
        .xid = m->xid,
        .index = 1,
        .lsn = m->lsn,
        .time_us = m->time_us,
        .gid = gid,
        .origin = origin,
        .is_begun = m->lsn == a->o.place.lsn, /* a part of it is stored */
        .is_left_out = origin.n >= moves.n && memcmp(origin.p, moves.p, moves.n) == 0,
    };
    return ERR_NONE;
}

static enum err end_turn(struct assembler *a, uint64_t end_lsn, struct note *note)
{
    struct turn *t = &a->turn;
    uint32_t index = t->index;
    t->is_open = 0;
    a->last_lsn = t->lsn;
    move_resume(a, end_lsn);
    if (is_known(a, t->lsn, index)) {
        return ERR_NONE;
    }
    enum err e = ERR_NONE;
    if (t->is_begun) {
        struct change commit = {.op = CHANGE_COMMIT, .index = index};
        e = give_whole(a, &commit, note);
        count(&a->o.counts->transactions, 1);
    }
    return e ? e : give_mark(a, t->lsn, index, 1, note);
}

/* The name that all parts of the transaction have in common: those of pgbraid's own say at their
 * end which part they are. */
static void put_common_gid(struct buf *out, struct slice gid)
{
    struct gid own;
    struct user_gid users;
    if (gid_parse(gid, &own)) {
        buf_printf(out, "pgbraid_%016" PRIx64 "_%" PRIx64 "_%" PRIx64, own.instance, own.txn.start,
                   own.txn.seq);
    } else {
        buf_add_slice(out, user_gid_parse(gid, &users) ? users.name : gid);
    }
}

static uint64_t column_of(const struct pgoutput_message *m, uint16_t column)
{
    char text[24] = "";
    const struct change_column *c = &m->new_tuple.columns[column];
    if (c->kind != VALUE_TEXT || c->bytes.n >= sizeof(text)) {
        return 0;
    }
    memcpy(text, c->bytes.p, c->bytes.n);
    return (uint64_t)strtoll(text, NULL, 10);
}

/* Where shards keep the ledger, the last one is not prepared: a row of its table says that it
 * decides with its own commit, and which transaction. */
static void read_decision(struct assembler *a, const struct pgoutput_message *m,
                          const struct shape *shape)
{
    if (m->type != PGOUTPUT_INSERT || !slice_is(shape->relation.name, "ledger") ||
        !slice_is(shape->relation.schema, "braid") || shape->relation.n_columns < 3 ||
        m->new_tuple.n_columns < 3) {
        return;
    }
    a->gid.n = 0;
    buf_printf(&a->gid, "pgbraid_%016" PRIx64 "_%" PRIx64 "_%" PRIx64, column_of(m, 0),
               column_of(m, 1), column_of(m, 2));
    a->turn.gid = buf_slice(&a->gid);
}

/* ---- changes --------------------------------------------------------------------------------- */

/* The next change of the turn will be. */
static int is_left_out(const struct assembler *a, const struct shape *shape)
{
    const struct turn *t = &a->turn;
    return shape->is_ours || t->is_left_out || is_known(a, t->lsn, t->index);
}

/* An old row that is only a key has nothing in its other columns; values that an update did not
 * touch may stand in the whole old row. */
static void settle_columns(struct assembler *a, const struct pgoutput_message *m,
                           const struct shape *shape)
{
    const struct change_relation *r = &shape->relation;
    struct change_column *was = m->old_tuple.columns;
    struct change_column *is = m->new_tuple.columns;
    uint64_t unchanged = 0;
    for (size_t i = 0; i < r->n_columns; i++) {
        if (was != NULL && m->old_kind == 'K' && !r->columns[i].is_key) {
            was[i] = (struct change_column){.kind = VALUE_ABSENT};
        }
        if (is == NULL || is[i].kind != VALUE_UNCHANGED) {
            continue;
        }
        if (was != NULL && (was[i].kind == VALUE_TEXT || was[i].kind == VALUE_BINARY)) {
            is[i] = was[i];
        } else {
            unchanged++;
        }
    }
    if (unchanged > 0 && a->o.fill != NULL && !is_left_out(a, shape)) {
        const uint32_t xids[2] = {m->xid != 0 ? m->xid : a->turn.xid, a->turn.xid};
        uint64_t filled = a->o.fill(a->o.ask_arg, r, is, xids);
        count(&a->o.counts->filled_toast, filled);
        unchanged -= filled;
    }
    count(&a->o.counts->unchanged_toast, unchanged);
}

static int fits(const struct pgoutput_tuple *tuple, const struct change_relation *r)
{
    return tuple->columns == NULL || tuple->n_columns == r->n_columns;
}

static enum err give_row(struct assembler *a, const struct pgoutput_message *m,
                         const struct shape *shape, size_t bytes, struct note *note)
{
    const struct change_relation *r = &shape->relation;
    if (!fits(&m->old_tuple, r) || !fits(&m->new_tuple, r)) {
        return unexpected(m, "the row has other columns than its table was announced with", note);
    }
    settle_columns(a, m, shape);
    struct cdc_counts *c = a->o.counts;
    struct change change = {
        .relation = r, .old_columns = m->old_tuple.columns, .new_columns = m->new_tuple.columns};
    if (m->type == PGOUTPUT_INSERT) {
        change.op = CHANGE_INSERT;
        count(&c->inserts, 1);
    } else if (m->type == PGOUTPUT_UPDATE) {
        change.op = CHANGE_UPDATE;
        count(&c->updates, 1);
    } else {
        change.op = CHANGE_DELETE;
        count(&c->deletes, 1);
    }
    return give(a, &change, shape->is_ours, bytes, note);
}

static enum err give_truncate(struct assembler *a, const struct pgoutput_message *m,
                              const struct shape *shape, struct note *note)
{
    char name[2 * 64 * 4 + 2]; /* PostgreSQL's names have 63 bytes */
    char how[32];
    (void)snprintf(name, sizeof(name), SLICE_FMT "." SLICE_FMT, SLICE_ARG(shape->relation.schema),
                   SLICE_ARG(shape->relation.name));
    (void)snprintf(how, sizeof(how), "%s%s%s",
                   m->flags & PGOUTPUT_TRUNCATE_CASCADE ? "cascade" : "", m->flags == 3 ? " " : "",
                   m->flags & PGOUTPUT_TRUNCATE_RESTART ? "restart" : "");
    struct change change = {.op = CHANGE_TRUNCATE,
                            .relation = &shape->relation,
                            .prefix = slice_of(name),
                            .content = slice_of(how)};
    count(&a->o.counts->truncates, 1);
    return give(a, &change, shape->is_ours, 0, note);
}

/* 0: it means nothing to anybody else. */
static int read_logical(const struct pgoutput_message *m, struct change *out)
{
    *out = (struct change){.op = CHANGE_MESSAGE, .prefix = m->name, .content = m->content};
    if (slice_is(m->name, CDC_PREFIX_WATERMARK)) {
        out->op = CHANGE_WATERMARK;
    } else if (slice_is(m->name, CDC_PREFIX_DDL)) {
        const uint8_t *end = m->content.n == 0 ? NULL : memchr(m->content.p, '\n', m->content.n);
        if (end != NULL) {
            size_t n = (size_t)(end - m->content.p);
            out->op = CHANGE_DDL;
            out->prefix = slice_bytes(m->content.p, n);
            out->content = slice_from(m->content, n + 1);
        }
    }
    return !slice_is(m->name, CDC_PREFIX_HEARTBEAT);
}

/* A change that takes part in the turn. `shape` is that of its arrival, NULL for messages. */
static enum err give_change(struct assembler *a, const struct pgoutput_message *m,
                            const struct shape *shape, size_t bytes, struct note *note)
{
    if (m->type == PGOUTPUT_MESSAGE) {
        struct change change;
        int keep = read_logical(m, &change) && change.op != CHANGE_WATERMARK; /* they stand alone */
        count(&a->o.counts->messages, 1);
        return give(a, &change, !keep, bytes, note);
    }
    if (m->type == PGOUTPUT_TRUNCATE) {
        return give_truncate(a, m, shape, note);
    }
    if (shape->is_ours) {
        read_decision(a, m, shape);
    }
    return give_row(a, m, shape, bytes, note);
}

/* Its number, and what waits for a decision. 0: it is another one's. */
static int read_watermark(struct assembler *a, struct change *c)
{
    struct buf *out = &a->watermark;
    out->n = 0;
    if (!cdc_beat_is_ours(a->o.beat, &c->content)) {
        return 0;
    }
    buf_add_slice(out, c->content);
    if (a->o.tells_prepared && a->prepared <= CDC_PREPARED_MAX) {
        buf_u8(out, 0);
        for (struct open_tx *tx = tx_each(&a->store, NULL); tx != NULL;
             tx = tx_each(&a->store, tx)) {
            if (tx->prepared) {
                buf_be64(out, tx->prepare_lsn);
                size_t at = out->n;
                buf_u8(out, 0);
                put_common_gid(out, buf_slice(&tx->gid));
                out->p[at] = (uint8_t)(out->n - at - 1); /* PostgreSQL's names have 199 bytes */
            }
        }
    }
    c->content = buf_slice(out);
    return 1;
}

/* A message is known by the end of its record, which is where the next one may begin. */
static enum err give_alone(struct assembler *a, const struct pgoutput_message *m, struct note *note)
{
    struct change change;
    int keep = read_logical(m, &change);
    uint64_t lsn = m->lsn - 1;
    if (change.op == CHANGE_WATERMARK) {
        keep = read_watermark(a, &change);
    }
    if (m->lsn == 0 || lsn <= a->last_lsn) {
        return unexpected(m, "its position lies before the last commit", note);
    }
    a->last_lsn = lsn;
    move_resume(a, m->lsn);
    if (is_known(a, lsn, 0)) {
        return ERR_NONE;
    }
    a->turn = (struct turn){.lsn = lsn, .time_us = clock_wall_us()};
    enum err e = keep ? give_whole(a, &change, note) : ERR_NONE;
    count(&a->o.counts->messages, 1);
    return e ? e : give_mark(a, lsn, 0, 1, note);
}

/* ---- arrival --------------------------------------------------------------------------------- */

static const struct shape *find_shape(const struct assembler *a, uint32_t oid)
{
    const struct shape *shape = NULL;
    if (a->block != NULL && a->block->streamed) {
        shape = names_find(&a->block->names, oid);
    }
    return shape != NULL ? shape : names_find(&a->names, oid);
}

static enum err arrive_at(struct assembler *a, const struct pgoutput_message *m,
                          const struct shape *shape, struct slice bytes, struct note *note)
{
    if (a->block == NULL) {
        return give_change(a, m, shape, bytes.n, note);
    }
    return tx_add(&a->store, a->block, bytes, shape == NULL ? 0 : shape->number, note);
}

static enum err arrive(struct assembler *a, const struct pgoutput_message *m, struct slice bytes,
                       struct note *note)
{
    if (a->block == NULL && !a->turn.is_open) {
        return unexpected(m, "a change outside of any transaction", note);
    }
    if (m->type == PGOUTPUT_MESSAGE) {
        return arrive_at(a, m, NULL, bytes, note);
    }
    size_t tables = m->type == PGOUTPUT_TRUNCATE ? m->oids_count : 1;
    for (size_t i = 0; i < tables; i++) { /* a waiting TRUNCATE is kept once per table */
        const struct shape *shape =
            find_shape(a, m->type == PGOUTPUT_TRUNCATE ? m->oids[i] : m->oid);
        if (shape == NULL) {
            return unexpected(m, "its table was never announced", note);
        }
        enum err e = arrive_at(a, m, shape, bytes, note);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

static enum err announce(struct assembler *a, const struct pgoutput_message *m, struct note *note)
{
    const struct shape *shape = NULL;
    enum err e = shapes_find(&a->shapes, &m->relation, &shape, note);
    if (e == ERR_NONE) {
        int is_own = a->block != NULL && a->block->streamed;
        names_set(is_own ? &a->block->names : &a->names, shape, a->seq);
    }
    return e;
}

static enum err set_origin(struct assembler *a, const struct pgoutput_message *m, struct note *note)
{
    struct buf *origin = a->block != NULL ? &a->block->origin : &a->origin;
    origin->n = 0;
    buf_add_slice(origin, m->name);
    if (a->block != NULL) {
        return ERR_NONE;
    }
    if (!a->turn.is_open || a->turn.index != 1) {
        return unexpected(m, "an origin that is not at the beginning of a transaction", note);
    }
    const struct pgoutput_message begin = {
        .type = m->type, .xid = a->turn.xid, .lsn = a->turn.lsn, .time_us = a->turn.time_us};
    return start_turn(a, &begin, a->turn.gid, buf_slice(origin), note);
}

/* ---- transactions that wait ------------------------------------------------------------------ */

/* A server that has begun to send anew may send parts that it had on its disk, of more than 4096
 * changes, and not that they were rolled back: so it is asked. Source:
 * ReorderBufferMaybeMarkTXNStreamed() and ReorderBufferRestoreChanges(), max_changes_in_memory. */
static enum err drop_rolled_back(struct assembler *a, struct open_tx *tx, struct note *note)
{
    uint32_t *xids;
    size_t n = tx_parts(tx, &xids);
    enum err e = n == 0 || a->o.rolled_back == NULL
                     ? ERR_NONE
                     : a->o.rolled_back(a->o.ask_arg, xids, &n, note);
    for (size_t i = 0; a->o.rolled_back != NULL && e == ERR_NONE && i < n; i++) {
        tx_abort_part(&a->store, tx, xids[i]);
        count(&a->o.counts->aborted, 1);
    }
    return e;
}

/* The commit has come: read it back and give it. */
static enum err play(struct assembler *a, struct open_tx *tx, const struct pgoutput_message *m,
                     struct note *note)
{
    a->gid.n = 0;
    put_common_gid(&a->gid, buf_slice(&tx->gid));
    enum err e = start_turn(a, m, buf_slice(&a->gid), buf_slice(&tx->origin), note);
    struct tx_reader reader;
    a->turn.prepare_lsn = tx->prepared ? tx->prepare_lsn : 0;
    int whole = is_known_whole(a, m->lsn); /* need not even be read */
    if (e == ERR_NONE && !whole) {
        e = drop_rolled_back(a, tx, note);
    }
    tx_reader_init(&reader, &a->store, tx);
    while (e == ERR_NONE && !whole) {
        struct slice bytes;
        uint32_t number;
        int found;
        e = tx_reader_next(&reader, &bytes, &number, &found, note);
        if (e || !found) {
            break;
        }
        struct pgoutput_message change;
        arena_reset(&a->arena);
        e = pgoutput_read(bytes, tx->streamed, &a->arena, &change, note);
        if (e == ERR_NONE) {
            const struct shape *shape = number == 0 ? NULL : shapes_at(&a->shapes, number);
            e = give_change(a, &change, shape, bytes.n, note);
        }
    }
    tx_reader_free(&reader);
    return e;
}

static void forget(struct assembler *a, struct open_tx *tx)
{
    a->prepared -= tx->prepared;
    tx_drop(&a->store, tx);
}

static enum err play_to_end(struct assembler *a, struct open_tx *tx,
                            const struct pgoutput_message *m, struct note *note)
{
    enum err e = play(a, tx, m, note);
    if (e) {
        return e;
    }
    names_pour(&a->names, &tx->names);
    a->prepared -= tx->prepared; /* it holds nothing back any more; its texts are still needed */
    tx->prepared = 0;
    e = end_turn(a, m->end_lsn, note);
    a->turn = (struct turn){0};
    forget(a, tx);
    return e;
}

static enum err start_block(struct assembler *a, const struct pgoutput_message *m,
                            struct note *note)
{
    struct open_tx *tx = tx_find(&a->store, m->xid);
    int is_new = m->type == PGOUTPUT_BEGIN_PREPARE || m->flags != 0;
    if (a->block != NULL || a->turn.is_open || is_new != (tx == NULL)) {
        return unexpected(m, "a block that begins where none can", note);
    }
    if (is_new) {
        enum err e = tx_open(&a->store, m->xid, &tx, note);
        if (e) {
            return e;
        }
        tx->streamed = m->type == PGOUTPUT_STREAM_START;
        buf_add_slice(&tx->gid, m->gid);
    }
    a->block = tx;
    return ERR_NONE;
}

static enum err prepare(struct assembler *a, const struct pgoutput_message *m, struct note *note)
{
    struct open_tx *tx = tx_find(&a->store, m->xid);
    int streamed = m->type == PGOUTPUT_STREAM_PREPARE;
    if (tx == NULL || tx->prepared || tx->streamed != streamed ||
        a->block != (streamed ? NULL : tx)) {
        return unexpected(m, "a prepare of nothing that was begun", note);
    }
    tx->gid.n = 0;
    buf_add_slice(&tx->gid, m->gid);
    tx->prepared = 1;
    tx->prepare_lsn = m->lsn;
    names_pour(&a->names, &tx->names);
    a->prepared++;
    a->block = NULL;
    return ERR_NONE;
}

/* It has only locked rows, or drawn from a sequence: the server tells its COMMIT PREPARED, and
 * nothing of it before. Rows would have come: no start lies behind a prepare that waits
 * (move_resume). Source: ReorderBufferReplay() passes over what has no snapshot,
 * ReorderBufferFinishPrepared() does not. */
static enum err pass_over(struct assembler *a, const struct pgoutput_message *m, struct note *note)
{
    static const struct slice none = {NULL, 0};
    enum err e = start_turn(a, m, none, none, note);
    e = e ? e : end_turn(a, m->end_lsn, note);
    a->turn = (struct turn){0};
    return e;
}

/* c, K, r and A: what waited is decided. */
static enum err decide(struct assembler *a, const struct pgoutput_message *m, struct note *note)
{
    struct open_tx *tx = tx_find(&a->store, m->xid);
    if (a->block != NULL || a->turn.is_open) {
        return unexpected(m, "an end inside of another transaction", note);
    }
    if (m->type == PGOUTPUT_ROLLBACK_PREPARED || m->type == PGOUTPUT_COMMIT_PREPARED) {
        if (tx != NULL && (!tx->prepared || !slice_eq(buf_slice(&tx->gid), m->gid))) {
            return unexpected(m, "it was prepared under another name, or not at all", note);
        }
        if (tx == NULL && (m->type == PGOUTPUT_ROLLBACK_PREPARED || is_known_whole(a, m->lsn))) {
            return ERR_NONE; /* so its rows did not come again */
        }
        if (tx == NULL && m->lsn != a->o.place.lsn) { /* of that one a part is stored */
            return pass_over(a, m, note);
        }
    }
    if (tx == NULL) {
        return unexpected(m, "the end of a transaction whose changes did not come", note);
    }
    if (m->type == PGOUTPUT_STREAM_COMMIT || m->type == PGOUTPUT_COMMIT_PREPARED) {
        return play_to_end(a, tx, m, note);
    }
    count(&a->o.counts->aborted, 1);
    if (m->type == PGOUTPUT_STREAM_ABORT && m->subxid != m->xid) {
        tx_abort_part(&a->store, tx, m->subxid);
        return ERR_NONE;
    }
    forget(a, tx);
    return ERR_NONE;
}

/* ---- messages -------------------------------------------------------------------------------- */

static enum err take_border(struct assembler *a, const struct pgoutput_message *m,
                            struct note *note)
{
    switch (m->type) {
    case PGOUTPUT_BEGIN:
        if (a->turn.is_open || a->block != NULL) {
            return unexpected(m, "a transaction inside of another one", note);
        }
        return start_turn(a, m, (struct slice){NULL, 0}, (struct slice){NULL, 0}, note);
    case PGOUTPUT_COMMIT:
        if (!a->turn.is_open || a->block != NULL || m->lsn != a->turn.lsn) {
            return unexpected(m, "a commit of another transaction than was begun", note);
        }
        return end_turn(a, m->end_lsn, note);
    case PGOUTPUT_ORIGIN: return set_origin(a, m, note);
    case PGOUTPUT_BEGIN_PREPARE:
    case PGOUTPUT_STREAM_START: return start_block(a, m, note);
    case PGOUTPUT_STREAM_STOP:
        if (a->block == NULL || !a->block->streamed) {
            return unexpected(m, "the end of a block that was not begun", note);
        }
        a->block = NULL;
        return ERR_NONE;
    case PGOUTPUT_PREPARE:
    case PGOUTPUT_STREAM_PREPARE: return prepare(a, m, note);
    default: return decide(a, m, note);
    }
}

enum err assemble_feed(struct assembler *a, struct slice message, struct note *note)
{
    struct pgoutput_message m;
    arena_reset(&a->arena);
    a->seq++;
    int in_stream = a->block != NULL && a->block->streamed;
    enum err e = pgoutput_read(message, in_stream, &a->arena, &m, note);
    if (e) {
        return e;
    }
    switch (m.type) {
    case PGOUTPUT_TYPE: return ERR_NONE;
    case PGOUTPUT_RELATION: return announce(a, &m, note);
    case PGOUTPUT_MESSAGE:
        if (!(m.flags & PGOUTPUT_MESSAGE_TRANSACTIONAL)) {
            return a->turn.is_open || a->block != NULL
                       ? unexpected(&m, "it stands alone, but comes in a transaction", note)
                       : give_alone(a, &m, note);
        } /* FALLTHROUGH */
    case PGOUTPUT_INSERT:
    case PGOUTPUT_UPDATE:
    case PGOUTPUT_DELETE:
    case PGOUTPUT_TRUNCATE: return arrive(a, &m, message, note);
    default: break;
    }
    e = take_border(a, &m, note);
    show_store(a);
    if (a->store.spilled_bytes !=
        atomic_load_explicit(&a->o.counts->spilled_bytes, memory_order_relaxed)) {
        atomic_store_explicit(&a->o.counts->spilled_bytes, a->store.spilled_bytes,
                              memory_order_relaxed);
        atomic_store_explicit(&a->o.counts->spilled_transactions, a->store.spilled_count,
                              memory_order_relaxed);
    }
    return e;
}

enum err assemble_idle(struct assembler *a, uint64_t wal_end, struct note *note)
{
    if (assemble_is_inside(a) || wal_end < 2 || wal_end - 2 <= a->last_lsn) {
        return ERR_NONE;
    }
    uint64_t before = a->resume;
    move_resume(a, wal_end);
    if (a->resume == before || is_known(a, wal_end - 2, UINT32_MAX)) {
        return ERR_NONE;
    }
    a->last_lsn = wal_end - 2; /* wal_end - 1 is for rows of a copy at wal_end */
    return give_mark(a, wal_end - 2, UINT32_MAX, 1, note);
}

void assemble_place(const struct assembler *a, struct cdc_mark *out)
{
    *out = a->marked;
    out->resume = a->resume;
    out->state = (struct slice){NULL, 0};
}

void assemble_pass(struct assembler *a, const struct cdc_mark *mark)
{
    a->marked = *mark;
    if (mark->lsn > a->last_lsn) {
        a->last_lsn = mark->lsn;
    }
}

int assemble_is_inside(const struct assembler *a)
{
    return a->turn.is_open || a->block != NULL;
}

enum err assemble_new(const struct assemble_options *options, struct assembler **out,
                      struct note *note)
{
    struct assembler *a = mem_zero(sizeof(*a));
    a->o = *options;
    a->o.unit_bytes = options->unit_bytes == 0 ? CDC_UNIT_BYTES : options->unit_bytes;
    a->resume = options->place.resume;
    a->marked = options->place;
    (void)snprintf(a->prefix, sizeof(a->prefix), "cdc_%u_", (unsigned)options->shard.number);
    a->store = (struct tx_store){.fs = options->fs,
                                 .dir = options->dir,
                                 .prefix = a->prefix,
                                 .memory_max = options->memory_max};
    enum err e = tx_store_clean(&a->store, note);
    if (e) {
        assemble_free(a);
        return e;
    }
    *out = a;
    return ERR_NONE;
}

void assemble_free(struct assembler *a)
{
    if (a == NULL) {
        return;
    }
    tx_store_free(&a->store);
    shapes_free(&a->shapes);
    names_free(&a->names);
    arena_free(&a->arena);
    buf_free(&a->origin);
    buf_free(&a->gid);
    buf_free(&a->watermark);
    mem_free(a);
}
