/* What is read as a name of a client's prepared transaction is written back the same. */

#include "base/check.h"
#include "txn/user_gid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct user_gid gid;
    struct slice text = slice_bytes(data, size);
    if (user_gid_parse(text, &gid)) {
        char again[USER_GID_BYTES_MAX];
        user_gid_make(again, &gid);
        check(slice_is(text, again));
    }
    return 0;
}
