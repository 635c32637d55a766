/*
 * Goal: no bytes on disk can make the reader read outside of them, and what it accepts is what a
 * writer could have written. Method: the input is a segment (4 KiB, zero-filled); its first bits
 * choose whether the header's checksum and those of the records are put right first.
 */

#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "store/wal_reader.h"

struct state {
    struct slice bytes;
    struct wal_segment segment;
    uint64_t next; /* lsn */
};

static enum err take(void *arg, const struct wal_record *record, struct note *note)
{
    (void)note;
    struct state *s = arg;
    check(record->lsn == s->next);
    check(record->type != WAL_TYPE_END);
    check(record->body.p >= s->bytes.p);
    check(record->body.p + record->body.n <= s->bytes.p + s->bytes.n);
    uint32_t sum = 0;
    for (size_t i = 0; i < record->body.n; i++) {
        sum += record->body.p[i]; /* touch every byte for the sanitizer */
    }
    s->next += wal_record_bytes(record->body.n) + (sum & 0);
    return ERR_NONE;
}

static void put_right(uint8_t *p, size_t n, const struct wal_segment *segment)
{
    for (size_t at = WAL_SEGMENT_HEADER; at + WAL_RECORD_HEADER <= n;) {
        size_t body = be32_at(p + at + 4) % 64;
        uint64_t lsn = wal_lsn(segment, (uint32_t)at);
        if (at + WAL_RECORD_HEADER + body > n || p[at] % 8 == 7) {
            return;
        }
        for (int i = 0; i < 4; i++) {
            p[at + 4 + (size_t)i] = (uint8_t)(body >> (24 - 8 * i));
        }
        for (int i = 0; i < 8; i++) {
            p[at + 8 + (size_t)i] = (uint8_t)(lsn >> (56 - 8 * i));
        }
        uint32_t crc = crc32c(0, p + at + 4, WAL_RECORD_HEADER - 4 + body);
        for (int i = 0; i < 4; i++) {
            p[at + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        }
        at += wal_record_bytes(body);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    struct wal_segment segment = {.id = 1, .number = 3, .bytes = WAL_SEGMENT_BYTES_MIN};
    uint8_t *p = calloc(1, segment.bytes);
    check(p != NULL);
    memcpy(p, data + 1, size - 1 < segment.bytes ? size - 1 : segment.bytes);
    struct note note = {0};
    struct wal_segment read;
    (void)wal_header_read(slice_bytes(p, segment.bytes), "f", &read, &note);
    if (data[0] & 1) {
        wal_header_make(p, &segment);
        check(wal_header_read(slice_bytes(p, segment.bytes), "f", &read, &note) == ERR_NONE);
        check(read.number == segment.number && read.id == segment.id);
    }
    if (data[0] & 2) {
        put_right(p, segment.bytes, &segment);
    }
    struct state s = {.bytes = {p, segment.bytes}, .segment = segment};
    s.next = wal_lsn(&segment, WAL_SEGMENT_HEADER);
    struct wal_end end;
    int is_last = (data[0] & 4) != 0;
    struct wal_source source = {
        .bytes = s.bytes, .segment = segment, .name = "f", .is_last = is_last};
    enum err e = wal_scan(&source, take, &s, &end, &note);
    if (e == ERR_NONE) {
        check(is_last || end.ended);
        check(wal_lsn(&segment, end.at) == s.next);
        check(end.durable <= end.at && end.durable >= WAL_SEGMENT_HEADER);
        check(end.dirty >= end.at && end.dirty <= segment.bytes);
    } else {
        check(e == ERR_CORRUPT);
        check(note.text[0] == 'f');
    }
    free(p);
    return 0;
}
