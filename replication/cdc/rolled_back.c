/*
 * Which sub-transactions of a transaction that has committed were rolled back, as the server's
 * status of transactions has it. A commit is sent before others can see it: then those that count
 * are still in progress, and those that were rolled back are not. The status of what the slot still
 * needs is kept: VACUUM removes none that is younger than the slot's catalog_xmin.
 */

#include <inttypes.h>
#include <stdlib.h>

#include "replication/cdc/source_impl.h"

/* Numbers are 32 bits of the server's 64: those nearest to the next one. */
static const char ASK_SQL[] =
    "SELECT x, status IS NULL FROM (SELECT x, pg_catalog.txid_status(m + d - CASE WHEN d >= "
    "2147483648 THEN 4294967296 ELSE 0 END) AS status FROM (SELECT x, m, (x - m) & 4294967295 AS d "
    "FROM pg_catalog.unnest('{%s}'::bigint[]) AS x, pg_catalog.txid_snapshot_xmax("
    "pg_catalog.txid_current_snapshot()) AS m) AS a) AS b "
    "WHERE status IS NULL OR status = 'aborted'";

enum err cdc_rolled_back(void *arg, uint32_t *xids, size_t *count, struct note *note)
{
    struct cdc_source *s = arg;
    struct buf list = {0};
    struct buf sql = {0};
    PGresult *r = NULL;
    for (size_t i = 0; i < *count; i++) {
        buf_printf(&list, i == 0 ? "%" PRIu32 : ",%" PRIu32, xids[i]);
    }
    buf_u8(&list, 0);
    buf_printf(&sql, ASK_SQL, (const char *)list.p);
    buf_u8(&sql, 0);
    enum err e = cdc_side(s, (const char *)sql.p, &r, note);
    buf_free(&list);
    buf_free(&sql);
    size_t found = 0;
    for (int i = 0; e == ERR_NONE && i < PQntuples(r) && found < *count; i++) {
        if (pq_text(r, i, 1)[0] == 't') {
            e = note_set(note, ERR_SHARD_REFUSED,
                         "the server does not know any more whether sub-transaction %s was rolled "
                         "back",
                         pq_text(r, i, 0));
        } else {
            xids[found++] = (uint32_t)strtoul(pq_text(r, i, 0), NULL, 10);
        }
    }
    PQclear(r);
    *count = found;
    return e;
}
