/* The bytes of a WAL segment, both ways; layout and reasons are in wal_reader.h. */

#include "store/wal_reader.h"

#include "base/check.h"
#include "base/crc32c.h"

static const char magic[8] = {'P', 'G', 'B', 'W', 'A', 'L', '0', '1'};

enum {
    HEADER_CRC = 8,
    RECORD_BODY = 4,
    RECORD_LSN = 8,
    RECORD_BACK = 16,
    RECORD_TYPE = 20,
    RECORD_ZEROS = 22
};

static void put_be32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (24 - 8 * i));
    }
}

static void put_be64(uint8_t *p, uint64_t v)
{
    put_be32(p, (uint32_t)(v >> 32));
    put_be32(p + 4, (uint32_t)v);
}

uint64_t wal_lsn(const struct wal_segment *segment, uint32_t at)
{
    return segment->number * segment->bytes + at;
}

size_t wal_record_bytes(size_t body_bytes)
{
    return (WAL_RECORD_HEADER + body_bytes + 7) & ~(size_t)7;
}

/* The header's checksum leaves out the magic and itself. */
static uint32_t header_crc(const uint8_t *p)
{
    return crc32c(0, p + HEADER_CRC + 4, WAL_SEGMENT_HEADER - HEADER_CRC - 4);
}

void wal_header_make(uint8_t out[WAL_SEGMENT_HEADER], const struct wal_segment *segment)
{
    memset(out, 0, WAL_SEGMENT_HEADER);
    memcpy(out, magic, sizeof(magic));
    put_be32(out + 12, segment->bytes);
    put_be64(out + 16, segment->id);
    put_be64(out + 24, segment->number);
    put_be32(out + HEADER_CRC, header_crc(out));
}

enum err wal_header_read(struct slice bytes, const char *name, struct wal_segment *out,
                         struct note *note)
{
    check(bytes.n >= WAL_SEGMENT_HEADER);
    const uint8_t *p = bytes.p;
    if (memcmp(p, magic, sizeof(magic)) != 0) {
        return note_set(note, ERR_CORRUPT, "%s: not a WAL segment of this version", name);
    }
    if (be32_at(p + HEADER_CRC) != header_crc(p)) {
        return note_set(note, ERR_CORRUPT, "%s: bad checksum at offset 0 (header)", name);
    }
    struct wal_segment s = {
        .bytes = be32_at(p + 12), .id = be64_at(p + 16), .number = be64_at(p + 24)};
    if (s.bytes < WAL_SEGMENT_BYTES_MIN || s.bytes > WAL_SEGMENT_BYTES_MAX || s.bytes % 4096 != 0 ||
        s.number == 0 || s.number > UINT64_MAX / WAL_SEGMENT_BYTES_MAX) {
        return note_set(note, ERR_CORRUPT, "%s: impossible values in the header", name);
    }
    *out = s;
    return ERR_NONE;
}

void wal_record_make(struct buf *out, uint64_t lsn, uint64_t durable, uint16_t type,
                     struct slice body)
{
    check(durable <= lsn);
    check(lsn - durable <= UINT32_MAX);
    check(body.n <= WAL_SEGMENT_BYTES_MAX);
    size_t start = out->n;
    buf_be32(out, 0);
    buf_be32(out, (uint32_t)body.n);
    buf_be64(out, lsn);
    buf_be32(out, (uint32_t)(lsn - durable));
    buf_be16(out, type);
    buf_be16(out, 0);
    buf_add_slice(out, body);
    buf_set_be32(out, start, crc32c(0, out->p + start + 4, out->n - start - 4));
    while ((out->n - start) % 8 != 0) {
        buf_u8(out, 0);
    }
}

uint32_t wal_record_body_bytes(const uint8_t *header)
{
    return be32_at(header + RECORD_BODY);
}

int wal_record_read(struct slice bytes, uint64_t lsn, struct wal_record *out)
{
    const uint8_t *p = bytes.p;
    if (bytes.n < WAL_RECORD_HEADER || be64_at(p + RECORD_LSN) != lsn) {
        return 0;
    }
    size_t body = be32_at(p + RECORD_BODY);
    if (body > bytes.n - WAL_RECORD_HEADER ||
        be32_at(p) != crc32c(0, p + 4, WAL_RECORD_HEADER - 4 + body)) {
        return 0;
    }
    *out = (struct wal_record){
        .lsn = lsn, .type = be16_at(p + RECORD_TYPE), .body = {p + WAL_RECORD_HEADER, body}};
    return 1;
}

/* What stands at one offset. */
enum found {
    FOUND_NOTHING, /* no record was ever meant to be here in this life of the file */
    FOUND_DAMAGED, /* a record that knows this place, but its checksum or length is wrong */
    FOUND_RECORD
};

struct place {
    uint32_t next; /* offset behind the record; of a damaged one: where it might have ended */
    uint32_t back;
    struct wal_record record;
};

static enum found look(struct slice bytes, const struct wal_segment *segment, uint32_t at,
                       struct place *out)
{
    if (bytes.n - at < WAL_RECORD_HEADER) {
        return FOUND_NOTHING;
    }
    const uint8_t *p = bytes.p + at;
    if (be64_at(p + RECORD_LSN) != wal_lsn(segment, at)) {
        return FOUND_NOTHING;
    }
    size_t body_bytes = be32_at(p + RECORD_BODY);
    if (body_bytes > bytes.n - at - WAL_RECORD_HEADER) {
        out->next = (uint32_t)bytes.n;
        return FOUND_DAMAGED;
    }
    size_t next = at + wal_record_bytes(body_bytes);
    out->next = (uint32_t)(next < bytes.n ? next : bytes.n);
    out->back = be32_at(p + RECORD_BACK);
    int whole = wal_record_read(slice_from(bytes, at), wal_lsn(segment, at), &out->record);
    return whole && next <= bytes.n ? FOUND_RECORD : FOUND_DAMAGED;
}

/*
 * The chain of records breaks at out->at. Look at everything behind: a whole record that was
 * written when this place was durable already proves damage; anything else is the torn last batch.
 */
static enum err judge_tail(const struct wal_source *source, struct wal_end *out, struct note *note)
{
    uint64_t broken = wal_lsn(&source->segment, out->at);
    out->dirty = out->at;
    for (uint32_t at = out->at; at < source->bytes.n; at += 8) {
        struct place place;
        enum found found = look(source->bytes, &source->segment, at, &place);
        if (found == FOUND_RECORD && place.record.lsn - place.back > broken) {
            return note_set(note, ERR_CORRUPT,
                            "%s: bad checksum at offset %u, before records that were written "
                            "later (at offset %u): the file is damaged",
                            source->name, out->at, at);
        }
        if (found != FOUND_NOTHING && place.next > out->dirty) {
            out->dirty = place.next;
        }
    }
    return ERR_NONE;
}

/* Offset in this segment of the durable point a record speaks of; earlier ones are its start. */
static uint32_t durable_at(uint32_t at, uint32_t back)
{
    return back > at - WAL_SEGMENT_HEADER ? WAL_SEGMENT_HEADER : at - back;
}

enum err wal_scan(const struct wal_source *source, wal_record_fn *fn, void *arg,
                  struct wal_end *out, struct note *note)
{
    struct slice bytes = source->bytes;
    check(bytes.n == source->segment.bytes);
    *out = (struct wal_end){.at = WAL_SEGMENT_HEADER, .durable = WAL_SEGMENT_HEADER};
    struct place place;
    while (out->at < bytes.n && look(bytes, &source->segment, out->at, &place) == FOUND_RECORD) {
        out->durable = durable_at(out->at, place.back);
        if (place.record.type == WAL_TYPE_END) {
            out->ended = 1;
            out->dirty = out->at;
            return ERR_NONE;
        }
        enum err e = fn(arg, &place.record, note);
        if (e) {
            return e;
        }
        out->count++;
        out->at = place.next;
    }
    if (!source->is_last) {
        return note_set(note, ERR_CORRUPT, "%s: bad checksum at offset %u: the file is damaged",
                        source->name, out->at);
    }
    return judge_tail(source, out, note);
}
