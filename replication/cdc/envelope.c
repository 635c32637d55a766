/* Records as JSON: see envelope.h. Written by hand, value by value: records come by the million. */

#include "replication/cdc/envelope.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "txn/gid.h"

enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_OID = 26,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_TIMESTAMPTZ = 1184
};

static const char UNAVAILABLE[] = "\"__debezium_unavailable_value\"";

/* ---- values ---------------------------------------------------------------------------------- */

void cdc_json_text(struct buf *out, struct slice text)
{
    static const char hex[] = "0123456789abcdef";
    size_t from = 0;
    buf_reserve(out, text.n + 2);
    buf_u8(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        buf_add(out, text.p + from, i - from);
        from = i + 1;
        if (c == '"' || c == '\\') {
            buf_u8(out, '\\');
            buf_u8(out, c);
        } else {
            buf_text(out, "\\u00");
            buf_u8(out, (uint8_t)hex[c >> 4]);
            buf_u8(out, (uint8_t)hex[c & 15]);
        }
    }
    buf_add(out, text.p + from, text.n - from);
    buf_u8(out, '"');
}

static void put_three(struct buf *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t v = (uint32_t)p[0] << 16;
    v |= n > 1 ? (uint32_t)p[1] << 8 : 0;
    v |= n > 2 ? p[2] : 0;
    buf_u8(out, (uint8_t)digits[v >> 18]);
    buf_u8(out, (uint8_t)digits[v >> 12 & 63]);
    buf_u8(out, n > 1 ? (uint8_t)digits[v >> 6 & 63] : '=');
    buf_u8(out, n > 2 ? (uint8_t)digits[v & 63] : '=');
}

static void put_base64(struct buf *out, struct slice in)
{
    buf_reserve(out, in.n / 3 * 4 + 6);
    buf_u8(out, '"');
    for (size_t i = 0; i < in.n; i += 3) {
        put_three(out, in.p + i, in.n - i < 3 ? in.n - i : 3);
    }
    buf_u8(out, '"');
}

static int digit_of(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "\x00ff", as the server writes it for us, in Debezium's way. */
static void put_bytea(struct buf *out, struct slice v)
{
    int is_hex = v.n >= 2 && v.n % 2 == 0 && v.p[0] == '\\' && v.p[1] == 'x';
    for (size_t i = 2; is_hex && i < v.n; i++) {
        is_hex = digit_of(v.p[i]) >= 0;
    }
    if (!is_hex) {
        cdc_json_text(out, v);
        return;
    }
    buf_reserve(out, v.n / 6 * 4 + 6);
    buf_u8(out, '"');
    for (size_t i = 2; i < v.n; i += 6) {
        uint8_t three[3];
        size_t n = v.n - i < 6 ? (v.n - i) / 2 : 3;
        for (size_t k = 0; k < n; k++) {
            three[k] = (uint8_t)(digit_of(v.p[i + 2 * k]) << 4 | digit_of(v.p[i + 2 * k + 1]));
        }
        put_three(out, three, n);
    }
    buf_u8(out, '"');
}

/* Ours come in UTC: "+00", which not everybody reads, is "Z". */
static void put_timestamptz(struct buf *out, struct slice v)
{
    cdc_json_text(out, v);
    if (v.n > 3 && memcmp(v.p + v.n - 3, "+00", 3) == 0) {
        out->n -= 4;
        buf_text(out, "Z\"");
    }
}

static int is_number(struct slice s)
{
    size_t digits = 0;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        digits += c >= '0' && c <= '9';
        if (!(c >= '0' && c <= '9') && (c == 0 || strchr("+-.e", c) == NULL)) {
            return 0; /* NaN, Infinity */
        }
    }
    return digits > 0;
}

static void put_text_value(struct buf *out, uint32_t type, struct slice v)
{
    switch (type) {
    case OID_BOOL: buf_text(out, slice_is(v, "t") ? "true" : "false"); break;
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
    case OID_FLOAT4:
    case OID_FLOAT8:
        if (is_number(v)) {
            buf_add_slice(out, v);
        } else {
            cdc_json_text(out, v);
        }
        break;
    case OID_BYTEA: put_bytea(out, v); break;
    case OID_TIMESTAMPTZ: put_timestamptz(out, v); break;
    default: cdc_json_text(out, v);
    }
}

static void put_value(struct buf *out, uint32_t type, const struct change_column *column)
{
    switch ((enum change_value)column->kind) {
    case VALUE_TEXT: put_text_value(out, type, column->bytes); break;
    case VALUE_BINARY: put_base64(out, column->bytes); break;
    case VALUE_UNCHANGED: buf_text(out, UNAVAILABLE); break;
    case VALUE_NULL:
    case VALUE_ABSENT: buf_text(out, "null"); break;
    }
}

/* Columns as an object, of a key those of the identity only. */
static void put_row(struct buf *out, const struct cdc_event *event,
                    const struct change_column *columns, int only_key)
{
    const struct change_relation *r = event->change.relation;
    int any = 0;
    if (columns == NULL || r == NULL) {
        buf_text(out, "null");
        return;
    }
    for (uint16_t i = 0; i < r->n_columns; i++) {
        if (columns[i].kind == VALUE_ABSENT || (only_key && !r->columns[i].is_key)) {
            continue;
        }
        buf_u8(out, any ? ',' : '{');
        any = 1;
        cdc_json_text(out, r->columns[i].name);
        buf_u8(out, ':');
        put_value(out, r->columns[i].type, &columns[i]);
    }
    buf_text(out, any ? "}" : only_key ? "null" : "{}");
}

int cdc_event_fields(struct buf *out, const struct cdc_event *event,
                     const struct change_column *columns)
{
    const struct change_relation *r = event->change.relation;
    int unknown = 0;
    for (uint16_t i = 0; i < r->n_columns; i++) {
        if (columns[i].kind == VALUE_UNCHANGED) {
            unknown = 1;
            continue;
        }
        buf_u8(out, ',');
        cdc_json_text(out, r->columns[i].name);
        buf_u8(out, ':');
        put_value(out, r->columns[i].type, &columns[i]);
    }
    return unknown;
}

void cdc_event_key(struct buf *out, const struct cdc_event *event)
{
    const struct change *c = &event->change;
    put_row(out, event, c->new_columns != NULL ? c->new_columns : c->old_columns, 1);
}

/* ---- the envelope ---------------------------------------------------------------------------- */

const char *cdc_event_op(const struct cdc_event *event)
{
    switch ((enum change_op)event->change.op) {
    case CHANGE_INSERT: return "c";
    case CHANGE_UPDATE: return "u";
    case CHANGE_DELETE: return "d";
    case CHANGE_TRUNCATE: return "t";
    case CHANGE_ROW: return "r";
    case CHANGE_MESSAGE: return "m";
    case CHANGE_DDL: return "ddl";
    case CHANGE_WATERMARK: return "watermark";
    case CHANGE_GAP: return "gap";
    case CHANGE_BEGIN:
    case CHANGE_COMMIT: return "tx";
    }
    return "";
}

/* Of a name that is ours, what all shards of the transaction have: all but the shard, and what is
 * behind it. txn/gid.h */
static struct slice shared_gid(struct slice gid)
{
    struct gid ours;
    size_t n = 0;
    if (!gid_parse(gid, &ours)) {
        return gid;
    }
    for (int left = 4; left > 0; n++) {
        left -= gid.p[n] == '_';
    }
    return slice_bytes(gid.p, n - 1);
}

void cdc_json_tx_id(struct buf *out, const struct cdc_tx *tx)
{
    if (tx->gid.n > 0) {
        cdc_json_text(out, shared_gid(tx->gid));
    } else {
        buf_printf(out, "\"%" PRIu32 ":%" PRIu64 "\"", tx->xid, tx->lsn);
    }
}

static void put_idempotence_key(struct buf *out, const struct cdc_event *event)
{
    struct buf key = {0};
    buf_printf(&key, "%s:%" PRIu32 ":%" PRIu64 ":%" PRIu32 "%s", event->shard, event->tx.epoch,
               event->tx.lsn, event->change.index,
               !(event->flags & CDC_RECORD_MOVED)  ? ""
               : event->change.op == CHANGE_DELETE ? ":out"
                                                   : ":in");
    if (event->change.op == CHANGE_TRUNCATE || event->change.op == CHANGE_GAP) {
        buf_printf(&key, ":%u", event->partition); /* it stands in each */
    }
    cdc_json_text(out, buf_slice(&key));
    buf_free(&key);
}

/* "db.schema.table" in its parts; names with dots of their own are cut at the first ones. */
static void split_topic(const char *topic, struct slice out[3])
{
    struct slice left = slice_of(topic);
    for (int i = 0; i < 3; i++) {
        const uint8_t *dot = i == 2 || left.n == 0 ? NULL : memchr(left.p, '.', left.n);
        size_t n = dot == NULL ? left.n : (size_t)(dot - left.p);
        out[i] = (struct slice){left.p, n};
        left = dot == NULL ? (struct slice){0} : slice_from(left, n + 1);
    }
}

static void put_source(struct buf *out, const struct cdc_event *event)
{
    const struct change *c = &event->change;
    struct slice names[3];
    split_topic(event->topic, names);
    buf_text(out, "{\"version\":\"" PGBRAID_VERSION "\",\"connector\":\"pgbraid\",\"name\":");
    cdc_json_text(out, names[0]);
    buf_printf(out, ",\"ts_ms\":%" PRId64 ",\"snapshot\":\"%s\",\"db\":", event->tx.time_us / 1000,
               c->op == CHANGE_ROW ? "true" : "false");
    cdc_json_text(out, names[0]);
    buf_text(out, ",\"schema\":");
    cdc_json_text(out, c->relation != NULL ? c->relation->schema : names[1]);
    buf_text(out, ",\"table\":");
    cdc_json_text(out, c->relation != NULL ? c->relation->name : names[2]);
    buf_text(out, ",\"shard\":");
    cdc_json_text(out, slice_of(event->shard));
    buf_printf(out,
               ",\"txId\":%" PRIu32 ",\"lsn\":%" PRIu64 ",\"epoch\":%" PRIu32 ",\"index\":%" PRIu32
               ",\"schema_version\":%" PRIu32 "}",
               event->tx.xid, event->tx.lsn, event->tx.epoch, c->index,
               c->relation == NULL ? 0 : c->relation->version);
}

static void put_transaction(struct buf *out, const struct cdc_event *event)
{
    if (event->change.op == CHANGE_ROW || event->tx.xid == 0) {
        buf_text(out, "null");
        return;
    }
    buf_text(out, "{\"id\":");
    cdc_json_tx_id(out, &event->tx);
    buf_printf(out, ",\"total_order\":%" PRIu32 ",\"data_collection_order\":%" PRIu32 "}",
               event->change.index, event->change.index);
}

/* The log's own records are JSON already: who and when go in front. */
static void put_own(struct buf *out, const struct cdc_event *event)
{
    struct slice content = event->change.content;
    buf_text(out, "{\"id\":");
    cdc_json_tx_id(out, &event->tx);
    buf_text(out, ",\"shard\":");
    cdc_json_text(out, slice_of(event->shard));
    buf_printf(out, ",\"epoch\":%" PRIu32 ",\"lsn\":%" PRIu64 ",\"ts_ms\":%" PRId64 ",",
               event->tx.epoch, event->tx.lsn, event->tx.time_us / 1000);
    if (content.n > 0) {
        buf_add_slice(out, slice_from(content, 1));
    } else {
        buf_text(out, "\"status\":\"END\"}");
    }
}

static void put_texts(struct buf *out, const struct cdc_event *event)
{
    const struct change *c = &event->change;
    if (c->op == CHANGE_MESSAGE) {
        buf_text(out, ",\"message\":{\"prefix\":");
        cdc_json_text(out, c->prefix);
        buf_text(out, ",\"content\":");
        put_base64(out, c->content);
        buf_u8(out, '}');
    } else if (c->op == CHANGE_DDL) {
        buf_text(out, ",\"ddl\":");
        cdc_json_text(out, c->content);
        buf_text(out, ",\"ddl_version\":");
        cdc_json_text(out, c->prefix);
    } else if (c->op == CHANGE_TRUNCATE) {
        buf_text(out, ",\"truncate\":");
        cdc_json_text(out, c->content);
    } else if (c->op == CHANGE_GAP) {
        buf_text(out, ",\"gap\":");
        cdc_json_text(out, c->content);
    }
}

void cdc_event_value(struct buf *out, const struct cdc_event *event)
{
    const struct change *c = &event->change;
    if (c->op == CHANGE_COMMIT || c->op == CHANGE_WATERMARK) {
        put_own(out, event);
        return;
    }
    buf_text(out, "{\"before\":");
    put_row(out, event, c->old_columns, 0);
    buf_text(out, ",\"after\":");
    put_row(out, event, c->new_columns, 0);
    buf_printf(out, ",\"op\":\"%s\",\"ts_ms\":%" PRId64 ",\"source\":", cdc_event_op(event),
               event->tx.time_us / 1000);
    put_source(out, event);
    buf_text(out, ",\"transaction\":");
    put_transaction(out, event);
    put_texts(out, event);
    if (event->flags & CDC_RECORD_MOVED) {
        buf_text(out, ",\"moved\":true");
    }
    buf_text(out, ",\"idempotence_key\":");
    put_idempotence_key(out, event);
    buf_u8(out, '}');
}
