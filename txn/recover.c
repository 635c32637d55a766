/* Verdicts over prepared transactions; why they are safe stands in recover.h. */

#include "txn/recover.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

/* An orphan as the ledger had it when the pass began. */
struct recover_orphan {
    struct txn_id txn;
    uint32_t open; /* times it was on a list and is not known to be committed there */
};

static int by_id(const void *a, const void *b)
{
    const struct recover_orphan *x = a;
    const struct recover_orphan *y = b;
    if (x->txn.start != y->txn.start) {
        return x->txn.start < y->txn.start ? -1 : 1;
    }
    return x->txn.seq < y->txn.seq ? -1 : x->txn.seq > y->txn.seq;
}

static struct recover_orphan *find(const struct recover_pass *pass, struct txn_id txn)
{
    struct recover_orphan key = {.txn = txn};
    if (pass->_orphans_count == 0) {
        return NULL;
    }
    return bsearch(&key, pass->_orphans, pass->_orphans_count, sizeof(key), by_id);
}

void recover_begin(struct recover_pass *pass, struct ledger *ledger, struct slice tag)
{
    *pass = (struct recover_pass){.ledger = ledger};
    struct txn_id *ids = mem_alloc(RECOVER_ORPHANS_MAX * sizeof(*ids));
    size_t n = ledger_orphans(ledger, tag, ids, RECOVER_ORPHANS_MAX);
    if (n > 0) {
        pass->_orphans = mem_zero(n * sizeof(*pass->_orphans));
        pass->_orphans_count = n;
        for (size_t i = 0; i < n; i++) {
            pass->_orphans[i].txn = ids[i];
        }
        qsort(pass->_orphans, n, sizeof(*pass->_orphans), by_id);
    }
    mem_free(ids);
}

enum recover_verdict recover_seen(struct recover_pass *pass, struct slice gid, int64_t age_ms,
                                  struct gid *out)
{
    struct gid parsed;
    pass->seen_count++;
    if (!gid_parse(gid, &parsed)) {
        return RECOVER_LEAVE;
    }
    enum ledger_answer answer = ledger_find(pass->ledger, &parsed);
    int is_ours = parsed.instance == ledger_instance(pass->ledger);
    struct recover_orphan *orphan = is_ours ? find(pass, parsed.txn) : NULL;
    if (orphan != NULL) {
        orphan->open++;
    }
    int is_asked = answer == LEDGER_ELSEWHERE && (is_ours || age_ms >= pass->adopt_after_ms);
    if (answer != LEDGER_COMMITTED && answer != LEDGER_UNKNOWN && !is_asked) {
        return RECOVER_LEAVE;
    }
    if (out != NULL) {
        *out = parsed;
    }
    if (is_asked) {
        return RECOVER_ASK;
    }
    pass->commit_count += answer == LEDGER_COMMITTED;
    pass->rollback_count += answer == LEDGER_UNKNOWN;
    return answer == LEDGER_COMMITTED ? RECOVER_COMMIT : RECOVER_ROLLBACK;
}

void recover_committed(struct recover_pass *pass, struct gid gid)
{
    int is_ours = gid.instance == ledger_instance(pass->ledger);
    struct recover_orphan *orphan = is_ours ? find(pass, gid.txn) : NULL;
    if (orphan != NULL) { /* else it became an orphan after the pass began: the next pass's */
        check(orphan->open > 0);
        orphan->open--;
    }
}

void recover_end(struct recover_pass *pass, int complete)
{
    for (size_t i = 0; complete && i < pass->_orphans_count; i++) {
        if (pass->_orphans[i].open == 0) {
            ledger_finished(pass->ledger, pass->_orphans[i].txn);
            pass->finished_count++;
        }
    }
    mem_free(pass->_orphans);
    pass->_orphans = NULL;
    pass->_orphans_count = 0;
}
