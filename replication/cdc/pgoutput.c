/*
 * A reader with a place and one flag: the first field that does not fit stops it, everything after
 * gives zeros, and the end of the message is checked once. So decoders below are lists of fields,
 * in the order of the manual's page.
 */

#include "replication/cdc/pgoutput.h"

#include <string.h>

#include "base/buf.h"

struct reader {
    struct slice rest;
    size_t total;
    const char *missing; /* the first field that could not be read, or NULL */
    size_t missing_at;
};

static void fail(struct reader *r, const char *field)
{
    if (r->missing == NULL) {
        r->missing = field;
        r->missing_at = r->total - r->rest.n;
        r->rest.n = 0;
    }
}

static const uint8_t *take(struct reader *r, size_t n, const char *field)
{
    static const uint8_t zeros[8];
    if (r->missing != NULL || r->rest.n < n) {
        fail(r, field);
        return zeros;
    }
    const uint8_t *p = r->rest.p;
    r->rest = slice_from(r->rest, n);
    return p;
}

static uint8_t take_u8(struct reader *r, const char *field)
{
    return *take(r, 1, field);
}

static uint16_t take_be16(struct reader *r, const char *field)
{
    return be16_at(take(r, 2, field));
}

static uint32_t take_be32(struct reader *r, const char *field)
{
    return be32_at(take(r, 4, field));
}

static uint64_t take_be64(struct reader *r, const char *field)
{
    return be64_at(take(r, 8, field));
}

/* A length of 4 bytes and so many bytes. */
static struct slice take_bytes(struct reader *r, const char *field)
{
    uint32_t n = take_be32(r, field);
    if (r->missing != NULL || n > r->rest.n) {
        fail(r, field);
        return (struct slice){NULL, 0};
    }
    struct slice s = {r->rest.p, n};
    r->rest = slice_from(r->rest, n);
    return s;
}

static struct slice take_text(struct reader *r, const char *field)
{
    const uint8_t *end = r->rest.n == 0 ? NULL : memchr(r->rest.p, 0, r->rest.n);
    if (end == NULL) {
        fail(r, field);
        return (struct slice){NULL, 0};
    }
    struct slice s = {r->rest.p, (size_t)(end - r->rest.p)};
    r->rest = slice_from(r->rest, s.n + 1);
    return s;
}

int64_t pgoutput_time(uint64_t since_2000)
{
    const int64_t epoch_us = INT64_C(946684800000000);
    int64_t at = (int64_t)since_2000;
    return at > INT64_MAX - epoch_us ? INT64_MAX : at + epoch_us;
}

static void take_time(struct reader *r, struct pgoutput_message *m)
{
    m->time_us = pgoutput_time(take_be64(r, "time"));
}

static void take_ends(struct reader *r, struct pgoutput_message *m)
{
    m->lsn = take_be64(r, "position");
    m->end_lsn = take_be64(r, "end position");
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void take_column(struct reader *r, struct change_column *column)
{
    uint8_t kind = take_u8(r, "column kind");
    column->bytes = (struct slice){NULL, 0};
    switch (kind) {
    case 'n': column->kind = VALUE_NULL; break;
    case 'u': column->kind = VALUE_UNCHANGED; break;
    case 't':
    case 'b':
        column->kind = kind == 't' ? VALUE_TEXT : VALUE_BINARY;
        column->bytes = take_bytes(r, "column value");
        break;
    default: fail(r, "column kind"); break;
    }
}

static void take_tuple(struct reader *r, struct arena *arena, struct pgoutput_tuple *out)
{
    uint16_t n = take_be16(r, "number of columns");
    if (n > PGOUTPUT_COLUMNS_MAX || n > r->rest.n) { /* each column has a byte at least */
        fail(r, "number of columns");
    }
    if (r->missing != NULL) {
        return;
    }
    out->columns = arena_alloc(arena, n * sizeof(*out->columns) + 1);
    out->n_columns = n;
    for (size_t i = 0; i < n && r->missing == NULL; i++) {
        take_column(r, &out->columns[i]);
    }
}

/* The parts of I, U and D behind the relation: K or O and the old row, N and the new one. */
static void take_tuples(struct reader *r, struct arena *arena, struct pgoutput_message *m)
{
    uint8_t part = take_u8(r, "kind of row");
    if ((part == 'K' || part == 'O') && m->type != PGOUTPUT_INSERT) {
        m->old_kind = part;
        take_tuple(r, arena, &m->old_tuple);
        if (m->type == PGOUTPUT_DELETE) {
            return;
        }
        part = take_u8(r, "kind of row");
    }
    if (part != 'N' || m->type == PGOUTPUT_DELETE) {
        fail(r, "kind of row");
        return;
    }
    take_tuple(r, arena, &m->new_tuple);
}

static void take_relation(struct reader *r, struct arena *arena, struct change_relation *out)
{
    out->schema = take_text(r, "schema");
    if (out->schema.n == 0) {
        out->schema = SLICE("pg_catalog"); /* what an empty name stands for */
    }
    out->name = take_text(r, "name");
    out->replica_identity = (char)take_u8(r, "replica identity");
    uint16_t n = take_be16(r, "number of columns");
    if (n > PGOUTPUT_COLUMNS_MAX || (size_t)n * 10 > r->rest.n) {
        fail(r, "number of columns");
    }
    if (r->missing != NULL) {
        return;
    }
    struct change_relation_column *columns = arena_zero(arena, n * sizeof(*columns) + 1);
    for (size_t i = 0; i < n && r->missing == NULL; i++) {
        columns[i].is_key = take_u8(r, "column flags") & 1;
        columns[i].name = take_text(r, "column name");
        columns[i].type = take_be32(r, "column type");
        columns[i].typmod = (int32_t)take_be32(r, "column typmod");
    }
    out->columns = columns;
    out->n_columns = n;
}

static void take_truncate(struct reader *r, struct arena *arena, struct pgoutput_message *m)
{
    uint32_t n = take_be32(r, "number of tables");
    m->flags = take_u8(r, "options");
    if (n > r->rest.n / 4) {
        fail(r, "number of tables");
    }
    if (r->missing != NULL) {
        return;
    }
    uint32_t *oids = arena_alloc(arena, n * sizeof(*oids) + 1);
    for (uint32_t i = 0; i < n; i++) {
        oids[i] = take_be32(r, "table");
    }
    m->oids = oids;
    m->oids_count = n;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void take_change(struct reader *r, struct arena *arena, int in_stream,
                        struct pgoutput_message *m)
{
    if (in_stream) {
        m->xid = take_be32(r, "transaction id");
    }
    switch (m->type) {
    case PGOUTPUT_TRUNCATE: take_truncate(r, arena, m); break;
    case PGOUTPUT_MESSAGE:
        m->flags = take_u8(r, "flags");
        m->lsn = take_be64(r, "position");
        m->name = take_text(r, "prefix");
        m->content = take_bytes(r, "content");
        break;
    case PGOUTPUT_RELATION:
        m->oid = take_be32(r, "oid");
        m->relation.oid = m->oid;
        take_relation(r, arena, &m->relation);
        break;
    case PGOUTPUT_TYPE:
        m->oid = take_be32(r, "oid");
        m->schema = take_text(r, "schema");
        m->name = take_text(r, "name");
        break;
    default:
        m->oid = take_be32(r, "oid");
        take_tuples(r, arena, m);
        break;
    }
}

/* Messages that begin, end or interrupt a transaction. 0: not one of them. */
static int take_border(struct reader *r, struct pgoutput_message *m)
{
    switch (m->type) {
    case PGOUTPUT_BEGIN:
        m->lsn = take_be64(r, "position");
        take_time(r, m);
        m->xid = take_be32(r, "transaction id");
        return 1;
    case PGOUTPUT_STREAM_COMMIT: m->xid = take_be32(r, "transaction id"); /* FALLTHROUGH */
    case PGOUTPUT_COMMIT:
        m->flags = take_u8(r, "flags");
        take_ends(r, m);
        take_time(r, m);
        return 1;
    case PGOUTPUT_ORIGIN:
        m->lsn = take_be64(r, "position");
        m->name = take_text(r, "origin");
        return 1;
    case PGOUTPUT_STREAM_START:
        m->xid = take_be32(r, "transaction id");
        m->flags = take_u8(r, "first block");
        return 1;
    case PGOUTPUT_STREAM_STOP: return 1;
    case PGOUTPUT_STREAM_ABORT:
        m->xid = take_be32(r, "transaction id");
        m->subxid = take_be32(r, "subtransaction id");
        if (r->missing == NULL && r->rest.n > 0) {
            m->lsn = take_be64(r, "position");
            take_time(r, m);
        }
        return 1;
    default: return 0;
    }
}

static int take_two_phase(struct reader *r, struct pgoutput_message *m)
{
    switch (m->type) {
    case PGOUTPUT_PREPARE:
    case PGOUTPUT_STREAM_PREPARE:
    case PGOUTPUT_COMMIT_PREPARED:
    case PGOUTPUT_ROLLBACK_PREPARED: m->flags = take_u8(r, "flags"); /* FALLTHROUGH */
    case PGOUTPUT_BEGIN_PREPARE: break;
    default: return 0;
    }
    take_ends(r, m);
    take_time(r, m);
    if (m->type == PGOUTPUT_ROLLBACK_PREPARED) {
        take_time(r, m); /* of the rollback, behind that of the prepare */
    }
    m->xid = take_be32(r, "transaction id");
    m->gid = take_text(r, "gid");
    return 1;
}

static int is_change(uint8_t type)
{
    return type != 0 && strchr("RYIUDTM", type) != NULL;
}

enum err pgoutput_read(struct slice bytes, int in_stream, struct arena *arena,
                       struct pgoutput_message *out, struct note *note)
{
    struct reader r = {.rest = bytes, .total = bytes.n};
    memset(out, 0, sizeof(*out));
    out->type = take_u8(&r, "type");
    if (is_change(out->type)) {
        take_change(&r, arena, in_stream, out);
    } else if (r.missing == NULL && !take_border(&r, out) && !take_two_phase(&r, out)) {
        return note_set(note, ERR_SHARD_PROTOCOL, "pgoutput sent a message of unknown type %u",
                        (unsigned)out->type);
    }
    if (r.missing == NULL && r.rest.n > 0) {
        fail(&r, "end of the message");
    }
    if (r.missing != NULL) {
        return note_set(note, ERR_SHARD_PROTOCOL,
                        "pgoutput message '%c' of %zu bytes: %s at byte %zu cannot be right",
                        out->type >= ' ' && out->type < 127 ? out->type : '?', bytes.n, r.missing,
                        r.missing_at);
    }
    return ERR_NONE;
}
