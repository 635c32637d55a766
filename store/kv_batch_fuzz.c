/*
 * Any bytes as a batch from a disk: those that are called whole can be walked, inside of them, and
 * made anew they are the same. First byte: how many entries they claim to be.
 */

#include "base/check.h"
#include "store/kv_engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || !kv_batch_is_whole(slice_bytes(data + 1, size - 1), data[0])) {
        return 0;
    }
    struct buf copy = {0};
    buf_add(&copy, data + 1, size - 1);
    struct kv_batch batch = {.bytes = copy, .count = data[0]};
    struct kv_batch again = {0};
    struct kv_entry entry;
    uint32_t count = 0;
    for (size_t at = 0; kv_batch_next(&batch, &at, &entry); count++) {
        check(entry.key.n >= 1);
        check(entry.key.n <= KV_KEY_MAX);
        if (entry.is_delete) {
            kv_batch_delete(&again, entry.key);
        } else {
            kv_batch_put(&again, entry.key, entry.value);
        }
    }
    check(count == batch.count);
    check(again.is_too_long || slice_eq(buf_slice(&again.bytes), buf_slice(&batch.bytes)));
    kv_batch_free(&again);
    kv_batch_free(&batch);
    return 0;
}
