/*
 * First copies: the rows of tables as of one snapshot, given between the commits that it contains
 * and those that it does not.
 *
 *     lane 0..n-1   a connection each, all in the same exported snapshot
 *     piece         a range of pages of one table, read by one lane with COPY
 *     speaker       the lane whose piece is the earliest: its rows go to the sink; the others
 *                   read ahead up to a limit and wait
 *
 * A piece that was given is marked: what is done is always a beginning of the list. When a copy is
 * interrupted its snapshot is lost; the next one goes on behind what is done, and gives those rows
 * of the unfinished table's beginning once more that were written after the old snapshot (found by
 * xmin), because an UPDATE may have moved them there from pages that were not read yet. Until then
 * changes may come of rows that were not given yet. A table without a key begins again instead.
 *
 * Statements that write a table anew (ALTER TABLE, TRUNCATE, CLUSTER) hide its rows from older
 * snapshots: tables are locked against them, and the file they have in the snapshot is compared
 * with the one they have under the lock.
 *
 * Source: PostgreSQL documentation, "Caveats" of chapter 13 (MVCC), pg_export_snapshot().
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "replication/cdc/source_impl.h"

enum {
    LANES_MAX = 16,
    PIECE_PAGES = 1024,
    AHEAD_BYTES = 16 * 1024 * 1024, /* that a lane which does not speak has read */
    LOCK_MS = 60000,
    FULL_MS = 10,
    TURN_ROWS = 1000
};

struct piece {
    size_t table;
    uint32_t from, to; /* pages; to 0: to the end */
    uint8_t is_again;  /* pages before `to`, but only what is newer than the old snapshot */
    uint8_t is_last;   /* of its table */
};

struct lane {
    PGconn *conn;
    struct piece piece;
    uint64_t number;  /* of the piece, from 1; 0: none */
    struct buf ahead; /* rows: 4 length, bytes */
    size_t used;      /* of them */
    int ended;        /* all rows are here */
    int is_begun;     /* its piece is being given */
};

struct copy {
    struct cdc_source *s;
    struct lane lanes[LANES_MAX];
    size_t lanes_count;
    struct buf snapshot;               /* as txid_snapshot */
    uint64_t numbers;                  /* of pieces given to lanes */
    size_t table;                      /* of the next piece */
    uint32_t page;                     /* where it begins */
    int is_again;                      /* it is the one that reads a beginning again */
    struct change_relation *relations; /* by table; n_columns UINT16_MAX: not read yet */
    uint32_t *pages;                   /* in the table */
    struct change_column *columns;
    struct arena memory;
    int64_t time_us;
    uint32_t piece_pages;
    uint64_t rows; /* of the table in work */
};

/* ---- what there is to copy ------------------------------------------------------------------- */

static struct cdc_table *find_table(struct cdc_state *state, const char *schema, const char *name)
{
    for (size_t i = 0; i < state->tables_count; i++) {
        struct cdc_table *t = &state->tables[i];
        if (strcmp(t->schema, schema) == 0 && strcmp(t->name, name) == 0) {
            return t;
        }
    }
    return NULL;
}

enum err cdc_list_tables(struct cdc_source *s, struct note *note)
{
    struct buf sql = {0};
    PGresult *r = NULL;
    buf_text(&sql, "SELECT n.nspname, c.relname FROM pg_catalog.pg_publication_tables p "
                   "JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname "
                   "JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = "
                   "p.tablename AND c.relkind = 'r' WHERE n.nspname <> 'braid' AND p.pubname = ");
    source_put_text(&sql, s->o.publication);
    buf_text(&sql, " ORDER BY 1, 2");
    buf_u8(&sql, 0);
    enum err e = cdc_side(s, (const char *)sql.p, &r, note);
    buf_free(&sql);
    if (e) {
        return e;
    }
    for (int i = 0; i < PQntuples(r) && i < CDC_TABLES_MAX; i++) {
        if (find_table(&s->state, pq_text(r, i, 0), pq_text(r, i, 1)) == NULL) {
            (void)cdc_state_add(&s->state, pq_cell(r, i, 0), pq_cell(r, i, 1));
        }
    }
    PQclear(r);
    return ERR_NONE;
}

static void put_table(struct buf *b, const struct cdc_table *t)
{
    source_put_name(b, t->schema);
    buf_u8(b, '.');
    source_put_name(b, t->name);
}

static uint64_t cell_number(const PGresult *r, int row, int column)
{
    struct slice cell = pq_cell(r, row, column);
    return cell.p == NULL ? 0 : strtoull((const char *)cell.p, NULL, 10);
}

static void read_relation(struct copy *c, size_t table, const PGresult *r)
{
    struct arena *a = &c->memory;
    struct change_relation *rel = &c->relations[table];
    struct cdc_table *t = &c->s->state.tables[table];
    int n = PQntuples(r);
    n = n > 0 && pq_cell(r, 0, 0).p == NULL ? 0 : n; /* a table without columns */
    struct change_relation_column *columns = arena_zero(a, ((size_t)n + 1) * sizeof(*columns));
    for (int i = 0; i < n; i++) {
        columns[i].name = arena_copy(a, pq_cell(r, i, 0));
        columns[i].type = (uint32_t)cell_number(r, i, 1);
        columns[i].typmod = (int32_t)strtol(pq_text(r, i, 2), NULL, 10);
        columns[i].is_key = cell_number(r, i, 3) != 0;
    }
    *rel = (struct change_relation){.oid = (uint32_t)cell_number(r, 0, 5),
                                    .schema = slice_of(t->schema),
                                    .name = slice_of(t->name),
                                    .replica_identity = pq_text(r, 0, 4)[0],
                                    .n_columns = (uint16_t)n,
                                    .columns = columns};
    c->pages[table] = (uint32_t)cell_number(r, 0, 8);
}

static int has_key(const struct change_relation *r)
{
    int keys = 0;
    for (size_t i = 0; i < r->n_columns; i++) {
        keys += r->columns[i].is_key;
    }
    return keys > 0 && r->replica_identity != 'f';
}

/* Columns as pgoutput announces them, the table's file in the snapshot and now, its pages. */
static const char RELATION_SQL[] =
    "SELECT a.attname, a.atttypid, a.atttypmod, coalesce((c.relreplident = 'f' OR a.attnum = "
    "ANY (i.indkey))::int, 0), c.relreplident, c.oid, c.relfilenode, "
    "pg_catalog.pg_relation_filenode(c.oid), pg_catalog.pg_relation_size(c.oid) / "
    "pg_catalog.current_setting('block_size')::int FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND (c.relreplident = 'd' AND "
    "i.indisprimary AND i.indimmediate OR c.relreplident = 'i' AND i.indisreplident) "
    "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT "
    "a.attisdropped%s WHERE c.relkind = 'r' AND (n.nspname, c.relname) = (";

/* What the snapshot knows of the table. One that is gone, or was not there yet, is done. */
static enum err load_relation(struct copy *c, size_t table, PGconn *conn, struct note *note)
{
    struct cdc_source *s = c->s;
    struct cdc_table *t = &s->state.tables[table];
    struct buf sql = {0};
    PGresult *r = NULL;
    buf_printf(&sql, RELATION_SQL, s->version >= 120000 ? " AND a.attgenerated = ''" : "");
    source_put_text(&sql, t->schema);
    buf_u8(&sql, ',');
    source_put_text(&sql, t->name);
    buf_text(&sql, ") ORDER BY a.attnum");
    buf_u8(&sql, 0);
    enum err e = pq_run(conn, (const char *)sql.p, cdc_wait_beside(s, LOCK_MS), &r, NULL, note);
    buf_free(&sql);
    if (e) {
        return e;
    }
    if (PQntuples(r) == 0) {
        t->done = 1;
    } else if (cell_number(r, 0, 6) != cell_number(r, 0, 7)) {
        e = note_set(note, ERR_CHANGED, "table %s.%s was written anew while its copy began",
                     t->schema, t->name);
    } else {
        uint32_t node = (uint32_t)cell_number(r, 0, 6);
        read_relation(c, table, r);
        if (t->file_node != node || s->state.snapshot.n == 0 || !has_key(&c->relations[table])) {
            t->pages = 0; /* another file than before, or rows that cannot be given twice */
        }
        t->file_node = node;
        t->oid = c->relations[table].oid;
    }
    PQclear(r);
    return e;
}

/* ---- lanes ----------------------------------------------------------------------------------- */

static enum err run_on(struct copy *c, PGconn *conn, const char *sql, struct note *note)
{
    return pq_run(conn, sql, cdc_wait_beside(c->s, LOCK_MS), NULL, NULL, note);
}

static enum err open_lane(struct copy *c, struct lane *lane, struct note *note)
{
    char sql[160];
    struct pg_target t = cdc_target(c->s, 0);
    enum err e = pq_open(&t, &c->s->interrupt, &lane->conn, NULL, note);
    e = e ? e : run_on(c, lane->conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", note);
    (void)snprintf(sql, sizeof(sql), "SET TRANSACTION SNAPSHOT '%s'", c->s->barrier.snapshot);
    e = e ? e : run_on(c, lane->conn, sql, note);
    /* a policy that hides rows from us is an error: else the copy would leave them out */
    return e ? e : run_on(c, lane->conn, "SET LOCAL row_security = off", note);
}

/* Nobody writes these tables anew from now on. */
static enum err lock_tables(struct copy *c, struct note *note)
{
    struct cdc_state *state = &c->s->state;
    struct buf sql = {0};
    for (size_t i = 0; i < state->tables_count; i++) {
        if (!state->tables[i].done) {
            buf_text(&sql, sql.n == 0 ? "LOCK TABLE ONLY " : ", ONLY ");
            put_table(&sql, &state->tables[i]);
        }
    }
    if (sql.n == 0) {
        return ERR_NONE;
    }
    buf_text(&sql, " IN ACCESS SHARE MODE");
    buf_u8(&sql, 0);
    enum err e = run_on(c, c->lanes[0].conn, (const char *)sql.p, note);
    buf_free(&sql);
    if (e == ERR_SHARD_REFUSED) {
        note_hint(note, "GRANT SELECT ON ALL TABLES to the service user; a table that is gone is "
                        "left out by the next try");
    }
    return e;
}

static enum err open_lanes(struct copy *c, struct note *note)
{
    PGresult *r = NULL;
    enum err e = ERR_NONE;
    int want = c->s->o.copy_connections;
    c->lanes_count = want < 1 ? 1 : want > LANES_MAX ? LANES_MAX : (size_t)want;
    for (size_t i = 0; e == ERR_NONE && i < c->lanes_count; i++) {
        e = open_lane(c, &c->lanes[i], note);
    }
    e = e ? e
          : pq_run(c->lanes[0].conn, "SELECT pg_catalog.txid_current_snapshot()",
                   cdc_wait(c->s, LOCK_MS), &r, NULL, note);
    if (e == ERR_NONE) {
        buf_add_slice(&c->snapshot, pq_cell(r, 0, 0));
        PQclear(r);
        e = lock_tables(c, note);
    }
    return e;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* The next piece of work, or *found 0. `conn` is free for questions. */
static enum err next_piece(struct copy *c, PGconn *conn, struct piece *out, int *found,
                           struct note *note)
{
    struct cdc_state *state = &c->s->state;
    *found = 0;
    for (; c->table < state->tables_count; c->table++, c->page = 0) {
        struct cdc_table *t = &state->tables[c->table];
        struct change_relation *rel = &c->relations[c->table];
        if (t->done) {
            continue;
        }
        if (rel->n_columns == UINT16_MAX) {
            enum err e = load_relation(c, c->table, conn, note);
            if (e) {
                return e;
            }
            if (t->done) {
                continue;
            }
            c->page = t->pages;
            c->is_again = t->pages > 0;
        }
        *out = (struct piece){.table = c->table, .from = c->page};
        *found = 1;
        if (c->is_again) {
            c->is_again = 0;
            out->is_again = 1;
            out->from = 0;
            out->to = c->page;
            return ERR_NONE;
        }
        /* before 14 a range of pages is found by reading all of them */
        int whole = c->s->version < 140000 || c->page + c->piece_pages >= c->pages[c->table];
        if (whole) {
            out->is_last = 1;
            c->table++;
            c->page = 0;
        } else {
            c->page += c->piece_pages;
            out->to = c->page;
        }
        return ERR_NONE;
    }
    return ERR_NONE;
}

static void put_piece(struct copy *c, const struct piece *p, struct buf *sql)
{
    const struct change_relation *rel = &c->relations[p->table];
    char name[CDC_NAME_BYTES * 2];
    buf_text(sql, "COPY (SELECT ");
    for (size_t i = 0; i < rel->n_columns; i++) {
        (void)snprintf(name, sizeof(name), SLICE_FMT, SLICE_ARG(rel->columns[i].name));
        buf_text(sql, i == 0 ? "" : ", ");
        source_put_name(sql, name);
    }
    buf_text(sql, " FROM ONLY ");
    put_table(sql, &c->s->state.tables[p->table]);
    if (p->from > 0 || p->to > 0) {
        buf_printf(sql, " WHERE ctid >= '(%u,0)'", p->from);
    }
    if (p->to > 0) {
        buf_printf(sql, " AND ctid < '(%u,0)'", p->to);
    }
    if (p->is_again) { /* xmin with its epoch: the last 2^32 transactions before the next one */
        buf_text(sql, " AND NOT pg_catalog.txid_visible_in_snapshot((SELECT x FROM (SELECT "
                      "pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) AS x) y) "
                      "- (((SELECT pg_catalog.txid_snapshot_xmax("
                      "pg_catalog.txid_current_snapshot())) - xmin::text::bigint) & 4294967295), ");
        buf_u8(&c->s->state.snapshot, 0);
        c->s->state.snapshot.n--;
        source_put_text(sql, (const char *)c->s->state.snapshot.p);
        buf_u8(sql, ')');
    }
    buf_text(sql, ") TO STDOUT");
    buf_u8(sql, 0);
}

static enum err start_pieces(struct copy *c, struct note *note)
{
    for (size_t i = 0; i < c->lanes_count; i++) {
        struct lane *lane = &c->lanes[i];
        int found;
        if (lane->number != 0) {
            continue;
        }
        enum err e = next_piece(c, lane->conn, &lane->piece, &found, note);
        if (e || !found) {
            return e;
        }
        struct buf sql = {0};
        struct pq_trouble trouble;
        put_piece(c, &lane->piece, &sql);
        lane->number = ++c->numbers;
        lane->ended = 0;
        lane->is_begun = 0;
        e = pq_copy_begin(lane->conn, (const char *)sql.p, cdc_wait_beside(c->s, LOCK_MS), &trouble,
                          note);
        buf_free(&sql);
        if (e == ERR_SHARD_REFUSED && strcmp(trouble.sqlstate, "42501") == 0) {
            note_hint(note, "the service user must see every row: ALTER ROLE %s BYPASSRLS",
                      c->s->here.user);
        }
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* What stands for a byte behind a backslash in COPY's text. */
static uint8_t plain_of(uint8_t ch)
{
    static const char from[] = "bfnrtv";
    static const char to[] = "\b\f\n\r\t\v";
    const char *at = ch == 0 ? NULL : strchr(from, ch);
    return at == NULL ? ch : (uint8_t)to[at - from];
}

/* A line of COPY's text into values, in place. 0: it has other fields than the table columns. */
static int read_row(uint8_t *p, size_t n, struct change_column *columns, size_t count)
{
    if (n > 0 && p[n - 1] == '\n') {
        n--;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t start = at;
        size_t end = at;
        int is_null =
            n - at >= 2 && p[at] == '\\' && p[at + 1] == 'N' && (n - at == 2 || p[at + 2] == '\t');
        for (; at < n && p[at] != '\t'; at++) {
            if (p[at] == '\\' && at + 1 < n) {
                p[end++] = plain_of(p[++at]);
            } else {
                p[end++] = p[at];
            }
        }
        columns[i] = (struct change_column){.kind = is_null ? VALUE_NULL : VALUE_TEXT,
                                            .bytes = is_null ? (struct slice){NULL, 0}
                                                             : slice_bytes(p + start, end - start)};
        if (i + 1 < count && at++ >= n) {
            return 0;
        }
    }
    return at >= n;
}

static enum err give_row(struct copy *c, const struct lane *lane, uint8_t *p, size_t n,
                         struct note *note)
{
    struct cdc_source *s = c->s;
    const struct change_relation *rel = &c->relations[lane->piece.table];
    if (!read_row(p, n, c->columns, rel->n_columns)) {
        return note_set(note, ERR_SHARD_PROTOCOL, "COPY sent a row that is none");
    }
    if (s->place.index >= UINT32_MAX - 1) {
        return note_set(note, ERR_AGAIN, "a copy goes on with another snapshot");
    }
    s->place.index++;
    c->rows++;
    const struct change change = {.op = CHANGE_ROW,
                                  .shard = s->o.shard.number,
                                  .epoch = s->place.epoch,
                                  .lsn = s->place.lsn,
                                  .index = s->place.index,
                                  .time_us = c->time_us,
                                  .relation = rel,
                                  .new_columns = c->columns};
    return s->o.sink->change(s->o.sink->arg, &change, note);
}

/* The table begins anew here: what a consumer has of it does not count. */
static enum err give_beginning(struct copy *c, struct lane *lane, struct note *note)
{
    struct cdc_source *s = c->s;
    const struct change_relation *rel = &c->relations[lane->piece.table];
    char name[CDC_NAME_BYTES * 2 + 2];
    lane->is_begun = 1;
    if (lane->piece.from > 0 || lane->piece.is_again) {
        return ERR_NONE;
    }
    (void)snprintf(name, sizeof(name), SLICE_FMT "." SLICE_FMT, SLICE_ARG(rel->schema),
                   SLICE_ARG(rel->name));
    s->place.index++;
    const struct change change = {.op = CHANGE_TRUNCATE,
                                  .shard = s->o.shard.number,
                                  .epoch = s->place.epoch,
                                  .lsn = s->place.lsn,
                                  .index = s->place.index,
                                  .time_us = c->time_us,
                                  .relation = rel,
                                  .prefix = slice_of(name),
                                  .content = SLICE("copy")};
    return s->o.sink->change(s->o.sink->arg, &change, note);
}

/* The piece is given: what is done is remembered with it. */
static enum err finish_piece(struct copy *c, struct lane *lane, struct note *note)
{
    struct cdc_source *s = c->s;
    struct cdc_table *t = &s->state.tables[lane->piece.table];
    lane->number = 0;
    s->state.snapshot.n = 0;
    buf_add_slice(&s->state.snapshot, buf_slice(&c->snapshot));
    if (lane->piece.is_last) {
        t->done = 1;
        log_event(LOG_CDC_COPIED, "database=%s shard=%s table=%s.%s rows=%llu", s->o.shard.database,
                  s->o.shard.name, t->schema, t->name, (unsigned long long)c->rows);
    } else if (!lane->piece.is_again) {
        t->pages = lane->piece.to;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->look.rows_copied += c->rows;
    s->look.tables_copied += lane->piece.is_last;
    s->look.tables_to_copy -= lane->piece.is_last && s->look.tables_to_copy > 0;
    (void)pthread_mutex_unlock(&s->lock);
    c->rows = 0;
    return cdc_remember(s, 0, note);
}

/* Take what has come; the speaker's rows go on, those of others wait. */
static enum err drain_lane(struct copy *c, struct lane *lane, int speaks, struct note *note)
{
    struct pq_trouble trouble;
    enum err e = speaks && !lane->is_begun ? give_beginning(c, lane, note) : ERR_NONE;
    while (speaks && e == ERR_NONE && lane->used < lane->ahead.n) {
        uint8_t *p = lane->ahead.p + lane->used;
        size_t n = be32_at(p);
        e = give_row(c, lane, p + 4, n, note);
        lane->used += 4 + n;
    }
    if (lane->used == lane->ahead.n) {
        lane->used = 0;
        lane->ahead.n = 0;
    }
    for (int i = 0; e == ERR_NONE && !lane->ended && i < TURN_ROWS; i++) {
        struct slice row;
        if (!speaks && lane->ahead.n >= AHEAD_BYTES) {
            break;
        }
        e = pq_copy_take(lane->conn, &row, &lane->ended, &trouble, note);
        if (e || row.n == 0) {
            break;
        }
        if (speaks) {
            e = give_row(c, lane, (uint8_t *)(uintptr_t)row.p, row.n, note);
        } else {
            buf_be32(&lane->ahead, (uint32_t)row.n);
            buf_add_slice(&lane->ahead, row);
        }
        pq_copy_done(row);
    }
    return e;
}

static struct lane *find_speaker(struct copy *c)
{
    struct lane *first = NULL;
    for (size_t i = 0; i < c->lanes_count; i++) {
        struct lane *lane = &c->lanes[i];
        if (lane->number != 0 && (first == NULL || lane->number < first->number)) {
            first = lane;
        }
    }
    return first;
}

static enum err wait_for_rows(struct copy *c, const struct lane *speaker, int ready,
                              struct note *note)
{
    PGconn *waits[LANES_MAX];
    size_t n = 0;
    for (size_t i = 0; ready && i < c->lanes_count; i++) {
        struct lane *lane = &c->lanes[i];
        if (lane->number != 0 && !lane->ended && (lane == speaker || lane->ahead.n < AHEAD_BYTES)) {
            waits[n++] = lane->conn;
        }
    }
    int got = pq_poll(waits, n, ready ? CDC_STATUS_MS / 2 : FULL_MS, &c->s->interrupt);
    if (got < 0) {
        return note_set(note, ERR_SHUTDOWN, "asked to leave");
    }
    enum err e = ERR_NONE;
    for (size_t i = 0; got > 0 && e == ERR_NONE && i < n; i++) {
        e = pq_copy_load(waits[i], note);
    }
    return e;
}

static enum err copy_all(struct copy *c, struct note *note)
{
    struct cdc_source *s = c->s;
    for (;;) {
        enum err e = start_pieces(c, note);
        struct lane *speaker = find_speaker(c);
        if (e || speaker == NULL) {
            return e;
        }
        int ready = s->o.sink->ready(s->o.sink->arg, &s->o.shard);
        uint32_t before = s->place.index;
        for (size_t i = 0; ready && e == ERR_NONE && i < c->lanes_count; i++) {
            if (c->lanes[i].number != 0) {
                e = drain_lane(c, &c->lanes[i], &c->lanes[i] == speaker, note);
            }
        }
        int is_done = speaker->is_begun && speaker->ended && speaker->ahead.n == 0;
        if (e == ERR_NONE && is_done) {
            e = finish_piece(c, speaker, note);
        } else if (e == ERR_NONE && s->place.index == before) {
            e = wait_for_rows(c, speaker, ready, note);
        }
        e = e ? e : cdc_status(s, 0, note);
        cdc_watch(s);
        if (e) {
            return e;
        }
    }
}

static void close_lanes(struct copy *c)
{
    for (size_t i = 0; i < c->lanes_count; i++) {
        pq_close(c->lanes[i].conn);
        buf_free(&c->lanes[i].ahead);
    }
}

static enum err finish_copy(struct cdc_source *s, struct note *note)
{
    s->state.phase = CDC_STREAMING;
    if (s->o.tables == NULL) {
        cdc_state_forget_tables(&s->state);
    }
    s->state.snapshot.n = 0;
    return cdc_remember(s, 1, note);
}

enum err cdc_copy_tables(struct cdc_source *s, struct note *note)
{
    size_t n = s->state.tables_count;
    struct copy *c = mem_zero(sizeof(*c));
    c->s = s;
    c->piece_pages = s->o.copy_pages == 0 ? PIECE_PAGES : s->o.copy_pages;
    c->time_us = clock_wall_us();
    c->relations = mem_zero((n + 1) * sizeof(*c->relations));
    c->pages = mem_zero((n + 1) * sizeof(*c->pages));
    c->columns = mem_alloc(UINT16_MAX * sizeof(*c->columns));
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        c->relations[i].n_columns = UINT16_MAX;
        left += !s->state.tables[i].done;
    }
    if (s->place.lsn != s->barrier.lsn - 1) { /* rows stand just before the first later commit */
        s->place.lsn = s->barrier.lsn - 1;
        s->place.index = 0;
    }
    s->place.ends = 1;
    (void)pthread_mutex_lock(&s->lock);
    s->look.doing = CDC_COPYING_TABLES;
    s->look.tables_to_copy = left;
    (void)pthread_mutex_unlock(&s->lock);
    enum err e = left == 0 ? ERR_NONE : open_lanes(c, note);
    e = e ? e : copy_all(c, note);
    e = e ? e : finish_copy(s, note);
    close_lanes(c);
    buf_free(&c->snapshot);
    arena_free(&c->memory);
    mem_free(c->relations);
    mem_free(c->pages);
    mem_free(c->columns);
    mem_free(c);
    return e;
}
