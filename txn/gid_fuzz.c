/* Goal: any bytes; what is accepted is exactly what gid_make() writes, and safe inside quotes. */

#include "base/check.h"
#include "txn/gid.h"
#include "txn/twopc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gid gid;
    char text[GID_BYTES_MAX];
    if (!gid_parse(slice_bytes(data, size), &gid)) {
        return 0;
    }
    check(gid.shard < TXN_SHARDS_MAX);
    gid_make(text, gid);
    check(slice_is(slice_bytes(data, size), text));
    for (const char *p = text; *p != '\0'; p++) {
        check((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || *p == '_');
    }
    return 0;
}
