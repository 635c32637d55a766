#ifndef STORE_WAL_CURSOR_H
#define STORE_WAL_CURSOR_H

/*
 * Reading a log from the middle while it is written: from any lsn on, what is durable. Any thread;
 * a cursor is used by one at a time, and closed before its log. Nothing is held back for a cursor:
 * its owner keeps what it wants to read by wal_needed_from().
 */

#include "store/wal.h"

struct wal_cursor;

/* Stand before the first record at or behind `lsn` (any number: it need not be a record's), or
 * before the oldest there is. Never touches the disk. Owner of the cursor: the caller. */
struct wal_cursor *wal_cursor_open(struct wal *wal, uint64_t lsn);
void wal_cursor_close(struct wal_cursor *cursor); /* NULL is fine */

/*
 * The next durable record; *found 0: there is none yet, ask again later. The body is good until the
 * next call.
 * Errors: ERR_IO, ERR_CORRUPT (file and offset), ERR_BAD_STATE (the record is given back).
 */
enum err wal_cursor_next(struct wal_cursor *cursor, struct wal_record *out, int *found,
                         struct note *note) MUST_CHECK;

#endif
