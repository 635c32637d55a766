/* Any bytes are refused or read, and every view lies inside of them. */

#include "base/check.h"
#include "base/mem.h"
#include "replication/cdc/outlet_bulk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void see(void *arg, const struct cdc_bulk_item *item)
{
    const struct slice *all = arg;
    check(item->status >= 0 && item->status <= 999);
    check(item->type.n == 0 || (item->type.p >= all->p && item->type.n <= all->n));
    check(item->reason.n == 0 || item->reason.p + item->reason.n <= all->p + all->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct note note;
    uint8_t *copy = mem_dup(data, size);
    struct slice all = {copy, size};
    enum err e = cdc_bulk_read(all, see, &all, &note);
    check(e == ERR_NONE || e == ERR_SHARD_PROTOCOL);
    mem_free(copy);
    return 0;
}
