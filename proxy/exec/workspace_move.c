/*
 * Rows on their way into the temporary tables: each DataRow of a source is, byte for byte, a tuple
 * of COPY in binary. They are collected into chunks, so that the server takes many with one
 * message.
 */

#include <string.h>

#include "base/check.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/workspace.h"
#include "wire/copy_put.h"

enum {
    CHUNK_BYTES = 32 * 1024,
    RESERVE_BYTES = 1024 * 1024 /* of workspace.total_bytes, at a time */
};

static struct workspace_move *move_now(struct workspace *w)
{
    return &w->at.moves[w->now];
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void over_limit(struct workspace *w, const char *setting, int64_t limit, const char *who)
{
    struct note note;
    enum err e = note_set(&note, ERR_WORKSPACE_FULL, "%s would move more than %lld bytes of rows",
                          who, (long long)limit);
    note_hint(&note, "Read fewer rows (filter, aggregate, join on the sharding key), or raise %s.",
              setting);
    gather_fail(&w->g, e, &note);
}

/* 0: no more. */
static int reserve(struct workspace *w, uint64_t bytes)
{
    struct session *s = w->g.op.session;
    const struct conf *conf = s->world->conf;
    w->bytes += bytes;
    if (w->bytes > (uint64_t)conf->workspace_max) {
        over_limit(w, "workspace.max_bytes", conf->workspace_max, "this statement");
        return 0;
    }
    if (w->bytes > w->reserved) {
        uint64_t more = w->bytes - w->reserved + RESERVE_BYTES;
        w->reserved += more;
        uint64_t all = atomic_fetch_add_explicit(&s->worker->shared->workspace_bytes, more,
                                                 memory_order_relaxed) +
                       more;
        if (all - RESERVE_BYTES > (uint64_t)conf->workspace_total) {
            over_limit(w, "workspace.total_bytes", conf->workspace_total,
                       "the statements that run now");
            return 0;
        }
    }
    return 1;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static int is_full(struct workspace *w)
{
    struct session *s = w->g.op.session;
    bits_each (slot, w->copying & s->held_bits) {
        if (stream_full(session_backend(s, (uint32_t)slot)->stream)) {
            return 1;
        }
    }
    return 0;
}

/* What was collected goes to the slots of `to`. */
static void flush_chunk(struct workspace *w, struct buf *chunk, uint64_t to)
{
    struct session *s = w->g.op.session;
    if (chunk->n == 0) {
        return;
    }
    bits_each (slot, to & s->held_bits) {
        struct backend *b = session_backend(s, (uint32_t)slot);
        front_put_copy_data(stream_out(b->stream), buf_slice(chunk));
        stream_touch(b->stream);
    }
    chunk->n = 0;
    if (!w->g.done && is_full(w)) {
        gather_block(&w->g, 1);
    }
}

/* Rows that go to several slots alike share the chunk of the first. */
static struct buf *chunk_of(struct workspace *w, uint64_t to)
{
    return &w->chunks[__builtin_ctzll(to)];
}

/* ---- where a row goes ------------------------------------------------------------------------ */

/* Values of the key columns; a source has them all, as the planner says. */
static void read_keys(const struct workspace_move *m, struct slice row, int binary,
                      struct key_value *values)
{
    struct back_walk walk;
    struct slice value;
    struct note note;
    const struct plan_move *move = m->move;
    for (size_t i = 0; i < move->like->keys_count; i++) {
        values[i] = (struct key_value){.format = (int16_t)binary};
    }
    if (back_walk_row(row, &walk, &note) != ERR_NONE) {
        return;
    }
    for (uint16_t column = 0; back_next_value(&walk, &value) == 1; column++) {
        for (size_t i = 0; i < move->like->keys_count; i++) {
            if (move->keys[i] == column) {
                values[i].bytes = value;
                values[i].type_oid = move->source->columns_types[column];
            }
        }
    }
}

/* Slots of a row; 0 after a failure. A key that is NULL, or that no shard is for, meets no row:
 * any one shard will do. */
static uint64_t slots_of(struct workspace *w, struct slice row)
{
    struct session *s = w->g.op.session;
    const struct workspace_move *m = move_now(w);
    if (m->move->to != MOVE_TO_SHARDS || (m->slots & (m->slots - 1)) == 0) {
        return m->slots;
    }
    struct key_value values[KEY_COLUMNS_MAX];
    struct note note;
    uint32_t shard = 0;
    read_keys(m, row, !m->move->source->columns_as_text, values);
    enum err e = map_route(s->db->map, m->move->like, values, &shard, &note);
    if (e && e != ERR_NULL_KEY && e != ERR_NO_SHARD) {
        gather_fail(&w->g, e, &note);
        return 0;
    }
    uint64_t slot = e ? 0 : (UINT64_C(1) << shard) & m->slots >> s->db->map->shards_count;
    return slot == 0 ? m->slots & -m->slots : slot << s->db->map->shards_count;
}

static void put_row(struct workspace *w, struct slice row)
{
    struct workspace_move *m = move_now(w);
    uint64_t to = slots_of(w, row);
    if (to == 0) {
        return;
    }
    struct buf *chunk = chunk_of(w, to);
    size_t before = chunk->n;
    if (m->move->source->columns_as_text) {
        copy_put_text_line(row, chunk);
    } else {
        buf_add_slice(chunk, row);
    }
    uint64_t bytes = (chunk->n - before) * (uint64_t)__builtin_popcountll(to);
    m->rows++;
    m->bytes += bytes;
    if (reserve(w, bytes) && chunk->n >= CHUNK_BYTES) {
        flush_chunk(w, chunk, to);
    }
}

/* ---- what the source says -------------------------------------------------------------------- */

static void on_row(struct gather *g, struct slice row)
{
    put_row((struct workspace *)g, row);
}

static void begin_copy(struct workspace *w);

void space_take_rows(struct workspace *w, struct slice rows)
{
    uint8_t type = 0;
    size_t total = 0;
    if (w->copying == 0) { /* move->over: its servers are idle again */
        begin_copy(w);
    }
    while (!w->g.err && frame_peek(rows, &type, &total) == 1) {
        put_row(w, frame_body(rows, total));
        rows = slice_from(rows, total);
    }
}

static void on_rows(struct gather *g)
{
    space_take_rows((struct workspace *)g, buf_slice(&g->sunk));
}

static int on_full(struct gather *g)
{
    return is_full((struct workspace *)g);
}

static void end_copy(struct workspace *w)
{
    struct session *s = w->g.op.session;
    struct workspace_move *m = move_now(w);
    int by_key = m->move->to == MOVE_TO_SHARDS;
    bits_each (slot, m->slots & s->held_bits) {
        uint64_t to = by_key ? UINT64_C(1) << slot : m->slots;
        struct buf *chunk = chunk_of(w, to);
        if (by_key || (UINT64_C(1) << slot & -m->slots) != 0) {
            if (!m->move->source->columns_as_text) {
                copy_put_binary_trailer(chunk);
            }
            flush_chunk(w, chunk, to);
        }
    }
    bits_each (slot, m->slots & s->held_bits) {
        struct backend *b = session_backend(s, (uint32_t)slot);
        front_put_copy_done(stream_out(b->stream));
        stream_touch(b->stream);
    }
    w->copying = 0;
}

void space_move_done(struct workspace *w)
{
    struct workspace_move *m = move_now(w);
    if (w->copying == 0) {
        begin_copy(w);
    }
    w->rows += m->rows;
    end_copy(w);
    m->time_us = loop_now_us(w->g.op.session->worker->loop) - w->move_us;
    w->now++;
    if (w->now < w->at.moves_count) {
        space_start_move(w);
    } else {
        space_moves_done(w);
    }
}

static void on_done(struct gather *g)
{
    space_move_done((struct workspace *)g);
}

static void on_failed(struct gather *g, enum err e, const struct note *note)
{
    space_fail((struct workspace *)g, e, note);
}

void space_drained(struct op *op)
{
    struct workspace *w = (struct workspace *)op;
    if (w->g.blocked && !is_full(w)) {
        gather_block(&w->g, 0);
    }
    session_wake(op->session);
}

/* ---- the beginning --------------------------------------------------------------------------- */

static void begin_copy(struct workspace *w)
{
    struct session *s = w->g.op.session;
    struct workspace_move *m = move_now(w);
    int as_text = (int)m->move->source->columns_as_text;
    struct buf *sql = &s->worker->scratch;
    sql->n = 0;
    buf_printf(sql, "COPY pg_temp.%s FROM STDIN%s", m->move->table,
               as_text ? "" : " (FORMAT binary)");
    bits_each (slot, m->slots & s->held_bits) {
        struct backend *b = session_backend(s, (uint32_t)slot);
        backend_query(b, buf_slice(sql), TO_OP);
        if (!as_text && (m->move->to == MOVE_TO_SHARDS || (UINT64_C(1) << slot & -m->slots) != 0)) {
            copy_put_binary_header(&w->chunks[slot]);
        }
    }
    w->copying = m->slots;
}

void space_start_move(struct workspace *w)
{
    static const struct gather_hooks hooks = {
        .rows = on_rows, .row = on_row, .full = on_full, .done = on_done, .failed = on_failed};
    struct workspace_move *m = move_now(w);
    w->move_us = loop_now_us(w->g.op.session->worker->loop);
    if (m->source->kind == PLAN_ROWS) {
        gather_part(&w->g, m->source, 0, &hooks);
        rows_inside(w, m);
        return;
    }
    if (m->move->over) {
        space_make_ready(w);
    } else {
        begin_copy(w);
    }
    gather_part(&w->g, m->source, m->shards, &hooks);
    w->g.apart = m->move->over;
    w->g.sink_format = m->move->source->columns_as_text ? 0 : 1;
    gather_send(&w->g);
}
