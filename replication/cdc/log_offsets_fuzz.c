/* Entries of the offsets of groups from hostile bytes: refused, or written again as they were. */

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/mem.h"
#include "replication/cdc/log_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    size_t key_bytes = n == 0 ? 0 : data[0] % n;
    struct slice key = {data, key_bytes};
    struct slice value = {data + key_bytes, n - key_bytes};
    struct cdc_offsets *o = cdc_offsets_read(key, value);
    if (o != NULL) {
        struct buf key_again = {0};
        struct buf value_again = {0};
        cdc_offsets_put(o, &key_again, &value_again);
        check(slice_eq(buf_slice(&key_again), key));
        check(slice_eq(buf_slice(&value_again), value));
        buf_free(&key_again);
        buf_free(&value_again);
        mem_free(o);
    }
    return 0;
}
