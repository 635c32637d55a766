/* Bytes of the change log: see log_format.h. Never trusts a length it has read. */

#include "replication/cdc/log_format.h"

#include "base/check.h"
#include "base/crc32c.h"

/* ---- reading bytes --------------------------------------------------------------------------- */

struct slice cdc_take(struct cdc_bytes *in, size_t n)
{
    if (in->bad || in->left.n < n) {
        in->bad = 1;
        in->left = (struct slice){0};
        return (struct slice){0};
    }
    struct slice out = {in->left.p, n};
    in->left = slice_from(in->left, n);
    return out;
}

uint8_t cdc_take_u8(struct cdc_bytes *in)
{
    struct slice s = cdc_take(in, 1);
    return s.n == 0 ? 0 : s.p[0];
}

uint16_t cdc_take_u16(struct cdc_bytes *in)
{
    struct slice s = cdc_take(in, 2);
    return s.n == 0 ? 0 : be16_at(s.p);
}

uint32_t cdc_take_u32(struct cdc_bytes *in)
{
    struct slice s = cdc_take(in, 4);
    return s.n == 0 ? 0 : be32_at(s.p);
}

uint64_t cdc_take_u64(struct cdc_bytes *in)
{
    struct slice s = cdc_take(in, 8);
    return s.n == 0 ? 0 : be64_at(s.p);
}

struct slice cdc_take_short(struct cdc_bytes *in)
{
    size_t n = cdc_take_u8(in);
    return cdc_take(in, n);
}

struct slice cdc_take_text(struct cdc_bytes *in)
{
    size_t n = cdc_take_u16(in);
    return cdc_take(in, n);
}

struct slice cdc_take_long(struct cdc_bytes *in)
{
    size_t n = cdc_take_u32(in);
    return cdc_take(in, n);
}

void cdc_put_short(struct buf *out, struct slice s)
{
    s.n = s.n > UINT8_MAX ? UINT8_MAX : s.n;
    buf_u8(out, (uint8_t)s.n);
    buf_add_slice(out, s);
}

void cdc_put_text(struct buf *out, struct slice s)
{
    s.n = s.n > UINT16_MAX ? UINT16_MAX : s.n;
    buf_be16(out, (uint16_t)s.n);
    buf_add_slice(out, s);
}

void cdc_put_long(struct buf *out, struct slice s)
{
    check(s.n <= UINT32_MAX);
    buf_be32(out, (uint32_t)s.n);
    buf_add_slice(out, s);
}

static enum err corrupt(struct note *note, const char *what)
{
    return note_set(note, ERR_CORRUPT, "change log: %s", what);
}

/* ---- records --------------------------------------------------------------------------------- */

static void put_columns(struct buf *out, uint16_t n, const struct change_column *columns)
{
    buf_be16(out, n);
    for (uint16_t i = 0; i < n; i++) {
        buf_u8(out, columns[i].kind);
        if (columns[i].kind == VALUE_TEXT || columns[i].kind == VALUE_BINARY) {
            cdc_put_long(out, columns[i].bytes);
        }
    }
}

void cdc_record_make(struct buf *out, const struct cdc_record_options *options)
{
    const struct change *c = options->change;
    size_t at = out->n;
    uint8_t flags = options->flags;
    flags |= c->prefix.n > 0 || c->content.n > 0 ? CDC_RECORD_TEXT : 0;
    buf_be32(out, 0); /* bytes behind this */
    buf_be32(out, 0); /* delta */
    buf_u8(out, options->op);
    buf_u8(out, flags);
    buf_be32(out, options->schema);
    buf_be32(out, c->index);
    if (flags & CDC_RECORD_OLD) {
        put_columns(out, c->relation->n_columns, c->old_columns);
    }
    if (flags & CDC_RECORD_NEW) {
        put_columns(out, c->relation->n_columns, c->new_columns);
    }
    if (flags & CDC_RECORD_TEXT) {
        cdc_put_text(out, c->prefix);
        cdc_put_long(out, c->content);
    }
    buf_set_be32(out, at, (uint32_t)(out->n - at - 4));
}

enum err cdc_record_next(struct slice *in, struct cdc_record *out, struct note *note)
{
    if (in->n < CDC_RECORD_HEAD) {
        return corrupt(note, "a record is cut off");
    }
    size_t bytes = (size_t)be32_at(in->p) + 4;
    if (bytes < CDC_RECORD_HEAD || bytes > in->n) {
        return corrupt(note, "the length of a record is wrong");
    }
    *out = (struct cdc_record){.delta = be32_at(in->p + 4),
                               .op = in->p[8],
                               .flags = in->p[9],
                               .schema = be32_at(in->p + 10),
                               .index = be32_at(in->p + 14),
                               .body = {in->p + CDC_RECORD_HEAD, bytes - CDC_RECORD_HEAD}};
    *in = slice_from(*in, bytes);
    return ERR_NONE;
}

static int take_columns(struct cdc_bytes *in, uint16_t n, struct change_column *columns)
{
    if (cdc_take_u16(in) != n) {
        return 0;
    }
    for (uint16_t i = 0; i < n; i++) {
        uint8_t kind = cdc_take_u8(in);
        columns[i] = (struct change_column){.kind = kind};
        if (kind == VALUE_TEXT || kind == VALUE_BINARY) {
            columns[i].bytes = cdc_take_long(in);
        } else if (kind > VALUE_ABSENT) {
            return 0;
        }
    }
    return !in->bad;
}

enum err cdc_record_read(const struct cdc_record *record, uint16_t n_columns,
                         struct change_column *old, struct change_column *new_, struct change *out,
                         struct note *note)
{
    struct cdc_bytes in = {.left = record->body};
    out->op = record->op;
    out->index = record->index;
    if (record->flags & CDC_RECORD_OLD) {
        if (!take_columns(&in, n_columns, old)) {
            return corrupt(note, "the old columns of a record are wrong");
        }
        out->old_columns = old;
    }
    if (record->flags & CDC_RECORD_NEW) {
        if (!take_columns(&in, n_columns, new_)) {
            return corrupt(note, "the new columns of a record are wrong");
        }
        out->new_columns = new_;
    }
    if (record->flags & CDC_RECORD_TEXT) {
        out->prefix = cdc_take_text(&in);
        out->content = cdc_take_long(&in);
    }
    return in.bad || in.left.n > 0 ? corrupt(note, "a record has another length than its fields")
                                   : ERR_NONE;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* crc 4, bytes 4, offset 8, span 4, source 2, flags 1, zero 1, lsn 8, time 8, xid 4, epoch 4,
 * records at 4 */
enum {
    AT_BYTES = 4,
    AT_OFFSET = 8,
    AT_SPAN = 16,
    AT_SOURCE = 20,
    AT_FLAGS = 22,
    AT_LSN = 24,
    AT_TIME = 32,
    AT_XID = 40,
    AT_EPOCH = 44,
    AT_RECORDS = 48
};
_Static_assert(AT_RECORDS + 4 == CDC_FRAME_HEAD, "the head of a frame");

static void put_tx(struct buf *out, const struct cdc_tx *tx)
{
    buf_be64(out, tx->lsn);
    buf_be64(out, (uint64_t)tx->time_us);
    buf_be32(out, tx->xid);
    buf_be32(out, tx->epoch);
}

void cdc_frame_open(struct buf *out, const struct cdc_frame *frame)
{
    size_t at = out->n;
    buf_be64(out, 0); /* checksum, bytes */
    buf_be64(out, 0); /* offset */
    buf_be32(out, 0); /* span */
    buf_be16(out, frame->source);
    buf_be16(out, 0); /* flags */
    put_tx(out, &frame->tx);
    buf_be32(out, 0);
    cdc_put_short(out, frame->tx.gid);
    cdc_put_short(out, frame->tx.origin);
    buf_set_be32(out, at + AT_RECORDS, (uint32_t)(out->n - at));
}

void cdc_frame_close(struct buf *out, size_t at, const struct cdc_frame *frame)
{
    size_t bytes = out->n - at;
    check(bytes >= CDC_FRAME_HEAD && bytes <= CDC_FRAME_BYTES_MAX);
    buf_set_be32(out, at + AT_BYTES, (uint32_t)bytes);
    buf_set_be32(out, at + AT_OFFSET, (uint32_t)(frame->offset >> 32));
    buf_set_be32(out, at + AT_OFFSET + 4, (uint32_t)frame->offset);
    buf_set_be32(out, at + AT_SPAN, frame->span);
    out->p[at + AT_FLAGS] = frame->flags;
    buf_set_be32(out, at, crc32c(0, out->p + at + AT_BYTES, bytes - AT_BYTES));
}

size_t cdc_frame_bytes(const uint8_t head[8])
{
    uint32_t bytes = be32_at(head + AT_BYTES);
    return bytes < CDC_FRAME_HEAD || bytes > CDC_FRAME_BYTES_MAX ? 0 : bytes;
}

enum err cdc_frame_read(struct slice in, struct cdc_frame *out, struct note *note)
{
    if (in.n < CDC_FRAME_HEAD || cdc_frame_bytes(in.p) == 0 || cdc_frame_bytes(in.p) > in.n) {
        return corrupt(note, "the length of a frame is wrong");
    }
    const uint8_t *p = in.p;
    size_t bytes = cdc_frame_bytes(p);
    if (be32_at(p) != crc32c(0, p + AT_BYTES, bytes - AT_BYTES)) {
        return corrupt(note, "the checksum of a frame is wrong");
    }
    struct cdc_bytes rest = {.left = {p + CDC_FRAME_HEAD, bytes - CDC_FRAME_HEAD}};
    *out = (struct cdc_frame){.offset = be64_at(p + AT_OFFSET),
                              .span = be32_at(p + AT_SPAN),
                              .source = be16_at(p + AT_SOURCE),
                              .flags = p[AT_FLAGS],
                              .tx = {.lsn = be64_at(p + AT_LSN),
                                     .time_us = (int64_t)be64_at(p + AT_TIME),
                                     .xid = be32_at(p + AT_XID),
                                     .epoch = be32_at(p + AT_EPOCH)},
                              .bytes = bytes};
    out->tx.gid = cdc_take_short(&rest);
    out->tx.origin = cdc_take_short(&rest);
    if (rest.bad || be32_at(p + AT_RECORDS) != bytes - rest.left.n) {
        return corrupt(note, "the head of a frame is wrong");
    }
    out->records = rest.left;
    return ERR_NONE;
}

/* ---- units ----------------------------------------------------------------------------------- */

static size_t item_begin(struct buf *out, enum cdc_item_kind kind)
{
    size_t at = out->n;
    buf_be32(out, 0);
    buf_u8(out, (uint8_t)kind);
    return at;
}

void cdc_item_end(struct buf *out, size_t at)
{
    buf_set_be32(out, at, (uint32_t)(out->n - at - 4));
}

void cdc_item_tx(struct buf *out, const struct cdc_tx *tx)
{
    size_t at = item_begin(out, CDC_ITEM_TX);
    put_tx(out, tx);
    cdc_put_short(out, tx->gid);
    cdc_put_short(out, tx->origin);
    cdc_item_end(out, at);
}

size_t cdc_item_record(struct buf *out, uint32_t topic, uint16_t partition)
{
    size_t at = item_begin(out, CDC_ITEM_RECORD);
    buf_be32(out, topic);
    buf_be16(out, partition);
    return at;
}

void cdc_item_mark(struct buf *out, const struct cdc_mark *mark)
{
    size_t at = item_begin(out, CDC_ITEM_MARK);
    buf_be32(out, mark->epoch);
    buf_be64(out, mark->lsn);
    buf_be32(out, mark->index);
    buf_u8(out, mark->ends);
    buf_be64(out, mark->resume);
    buf_u8(out, mark->state.p != NULL);
    cdc_put_long(out, mark->state);
    cdc_item_end(out, at);
}

void cdc_item_parts(struct buf *out, uint64_t prepare_lsn, struct slice gid)
{
    size_t at = item_begin(out, CDC_ITEM_PARTS);
    buf_be64(out, prepare_lsn);
    cdc_put_short(out, gid);
    cdc_item_end(out, at);
}

size_t cdc_item_bytes(struct slice in)
{
    size_t bytes = in.n < 4 ? 0 : (size_t)be32_at(in.p) + 4;
    return bytes > in.n ? 0 : bytes;
}

static void read_tx(struct cdc_bytes *rest, struct cdc_tx *tx)
{
    tx->lsn = cdc_take_u64(rest);
    tx->time_us = (int64_t)cdc_take_u64(rest);
    tx->xid = cdc_take_u32(rest);
    tx->epoch = cdc_take_u32(rest);
    tx->gid = cdc_take_short(rest);
    tx->origin = cdc_take_short(rest);
}

static void read_mark(struct cdc_bytes *rest, struct cdc_mark *mark)
{
    mark->epoch = cdc_take_u32(rest);
    mark->lsn = cdc_take_u64(rest);
    mark->index = cdc_take_u32(rest);
    mark->ends = cdc_take_u8(rest);
    mark->resume = cdc_take_u64(rest);
    int has_state = cdc_take_u8(rest);
    struct slice state = cdc_take_long(rest);
    if (has_state) {
        mark->state = state.n == 0 ? SLICE("") : state;
    }
}

enum err cdc_item_read(struct slice in, struct cdc_item *out, struct note *note)
{
    size_t bytes = cdc_item_bytes(in);
    struct cdc_bytes rest = {.left = {in.p, bytes}};
    (void)cdc_take_u32(&rest);
    *out = (struct cdc_item){.kind = cdc_take_u8(&rest)};
    switch (out->kind) {
    case CDC_ITEM_TX: read_tx(&rest, &out->tx); break;
    case CDC_ITEM_RECORD:
        out->topic = cdc_take_u32(&rest);
        out->partition = cdc_take_u16(&rest);
        out->record = rest.left;
        rest.left.n = 0;
        break;
    case CDC_ITEM_MARK: read_mark(&rest, &out->mark); break;
    case CDC_ITEM_PARTS:
        out->prepare_lsn = cdc_take_u64(&rest);
        out->gid = cdc_take_short(&rest);
        break;
    default: rest.bad = 1;
    }
    return rest.bad || rest.left.n > 0 ? corrupt(note, "an item of a unit is wrong") : ERR_NONE;
}
