#ifndef STORE_WAL_READER_H
#define STORE_WAL_READER_H

/*
 * The bytes of a WAL segment (docs/FORMATS.md), without I/O. Numbers are in network order.
 *
 *     0        64                                                    segment_bytes
 *     | header | record | record | ... | END | whatever was there before |
 *
 *     header   magic 8, crc32c 4, segment_bytes 4, wal id 8, number 8, zeros to 64
 *     record   crc32c 4, body bytes 4, lsn 8, back 4, type 2, zeros 2, body, zeros to 8
 *
 * lsn = number * segment_bytes + offset: a record knows its place, so what an earlier life of the
 * file left behind is never taken for a record. back = lsn minus the point that was durable when
 * the record was written: it tells a torn tail from damage. Writes of one batch may reach the disk
 * in any order, so a bad record followed by good ones is a torn tail when those good ones were
 * written before the bad one was known durable, and damage when they were written after.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum {
    WAL_SEGMENT_HEADER = 64,
    WAL_RECORD_HEADER = 24,
    WAL_SEGMENT_BYTES_MIN = 4096,
    WAL_SEGMENT_BYTES_MAX = 64 << 20,
    WAL_TYPE_END = 0 /* the rest of this segment is unused, go on in the next */
};

struct wal_segment {
    uint64_t id;     /* of the log; all its segments have the same */
    uint64_t number; /* counted from 1 */
    uint32_t bytes;
};

struct wal_record {
    uint64_t lsn;
    uint16_t type;
    struct slice body; /* looks into the segment's bytes */
};

/* Whoever replays. An error stops the replay and is handed up. */
typedef enum err wal_record_fn(void *arg, const struct wal_record *record, struct note *note);

/* Where the records of a segment end. Offsets in the segment. */
struct wal_end {
    uint32_t at;      /* behind the last record, or of END */
    uint32_t durable; /* everything before this was durable when the last record was written */
    uint32_t dirty;   /* what lies between `at` and this looks like records of the lost batch */
    int ended;        /* an END was found */
    uint64_t count;   /* records given to fn */
};

uint64_t wal_lsn(const struct wal_segment *segment, uint32_t at);
/* Bytes a record with this body takes. */
size_t wal_record_bytes(size_t body_bytes);

void wal_header_make(uint8_t out[WAL_SEGMENT_HEADER], const struct wal_segment *segment);
/* bytes: at least the header. `name` is used in the note. Errors: ERR_CORRUPT. */
enum err wal_header_read(struct slice bytes, const char *name, struct wal_segment *out,
                         struct note *note) MUST_CHECK;

/* Append one record's bytes. durable: <= lsn. */
void wal_record_make(struct buf *out, uint64_t lsn, uint64_t durable, uint16_t type,
                     struct slice body);

/* One record from its first byte on, at its place. Bytes of the body that a header (of
 * WAL_RECORD_HEADER bytes) speaks of, whole or not; and 1 when it is there and whole, else 0. */
uint32_t wal_record_body_bytes(const uint8_t *header);
int wal_record_read(struct slice bytes, uint64_t lsn, struct wal_record *out);

/* A whole segment to be read. */
struct wal_source {
    struct slice bytes; /* the file, segment.bytes long */
    struct wal_segment segment;
    const char *name; /* for the note */
    int is_last;      /* no later segment exists: a torn tail is allowed */
};

/*
 * Walk the segment and give each record to fn.
 * Errors: ERR_CORRUPT (note: name, offset, what), or what fn returned; *out is then undefined.
 */
enum err wal_scan(const struct wal_source *source, wal_record_fn *fn, void *arg,
                  struct wal_end *out, struct note *note) MUST_CHECK;

#endif
