#ifndef TXN_LEDGER_RECORD_H
#define TXN_LEDGER_RECORD_H

/*
 * The records of the ledger in the WAL: structs <-> bytes (docs/FORMATS.md). Pure; any thread.
 */

#include "store/wal.h"
#include "txn/ledger.h"

enum {
    LEDGER_START_BYTES = 16,
    LEDGER_SETTLED_BYTES = 24,
    LEDGER_DECIDE_BYTES = 41, /* without the tag */
    LEDGER_BODY_MAX = LEDGER_DECIDE_BYTES + LEDGER_TAG_MAX
};

/* What is written today. Each returns the bytes of the body and sets *type. */
size_t ledger_make_start(uint8_t out[LEDGER_BODY_MAX], uint64_t instance, uint64_t start,
                         uint16_t *type);
size_t ledger_make_decide(uint8_t out[LEDGER_BODY_MAX], const struct ledger_record *r,
                          uint16_t *type);
size_t ledger_make_settled(uint8_t out[LEDGER_BODY_MAX], struct txn_id txn, int64_t wall_us,
                           uint16_t *type);

/*
 * Read a record of this version or an older one. *mine 0: it is another owner's. r->tag looks into
 * the record. Errors: ERR_CORRUPT.
 */
enum err ledger_record_read(const struct wal_record *record, struct ledger_record *r, int *mine,
                            struct note *note) MUST_CHECK;

#endif
