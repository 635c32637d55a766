/* Entries of the log's index from hostile bytes: refused, or read without a fault. */

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "replication/cdc/log_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct cdc_index_entry entry;
    size_t key_bytes = n == 0 ? 0 : data[0] % n;
    struct slice key = {data, key_bytes};
    struct slice value = {data + key_bytes, n - key_bytes};
    if (cdc_index_read(key, value, &entry)) {
        check(value.n == 16 && (key.n == 17 || key.n == 31));
        check(entry.is_of_source == (key.n == 31));
    }
    return 0;
}
