/* Batches: what is written together. The bytes are described in kv.h; engines walk them. */

#include "base/check.h"
#include "store/kv_engine.h"

enum {
    OP_PUT = 1,
    OP_DELETE = 2,
    ENTRY_BYTES_MAX = 1 + 2 + 4 /* beside key and value */
};

/* An entry that cannot be written spoils the batch: kv_write() says so, the writer need not ask
 * after each. What is beyond the limit is not kept, so a batch never takes much more memory. */
static int take(struct kv_batch *batch, struct slice key, size_t value_bytes)
{
    if (key.n == 0 || key.n > KV_KEY_MAX) {
        batch->has_bad_key = 1;
        return 0;
    }
    size_t free = KV_BATCH_MAX - batch->bytes.n;
    if (value_bytes > KV_BATCH_MAX || ENTRY_BYTES_MAX + key.n + value_bytes > free) {
        batch->is_too_long = 1;
        return 0;
    }
    return 1;
}

void kv_batch_put(struct kv_batch *batch, struct slice key, struct slice value)
{
    if (!take(batch, key, value.n)) {
        return;
    }
    buf_u8(&batch->bytes, OP_PUT);
    buf_be16(&batch->bytes, (uint16_t)key.n);
    buf_add_slice(&batch->bytes, key);
    buf_be32(&batch->bytes, (uint32_t)value.n);
    buf_add_slice(&batch->bytes, value);
    batch->count++;
}

void kv_batch_delete(struct kv_batch *batch, struct slice key)
{
    if (!take(batch, key, 0)) {
        return;
    }
    buf_u8(&batch->bytes, OP_DELETE);
    buf_be16(&batch->bytes, (uint16_t)key.n);
    buf_add_slice(&batch->bytes, key);
    buf_be32(&batch->bytes, 0);
    batch->count++;
}

void kv_batch_clear(struct kv_batch *batch)
{
    batch->bytes.n = 0;
    batch->count = 0;
    batch->has_bad_key = 0;
    batch->is_too_long = 0;
}

void kv_batch_free(struct kv_batch *batch)
{
    buf_free(&batch->bytes);
    *batch = (struct kv_batch){0};
}

int kv_batch_next(const struct kv_batch *batch, size_t *at, struct kv_entry *out)
{
    const struct buf *b = &batch->bytes;
    if (*at == b->n) {
        return 0;
    }
    const uint8_t *p = b->p + *at;
    size_t key_bytes = be16_at(p + 1);
    size_t value_bytes = be32_at(p + 3 + key_bytes);
    out->is_delete = p[0] == OP_DELETE;
    out->key = slice_bytes(p + 3, key_bytes);
    out->value = slice_bytes(p + ENTRY_BYTES_MAX + key_bytes, value_bytes);
    *at += ENTRY_BYTES_MAX + key_bytes + value_bytes;
    check(*at <= b->n);
    return 1;
}

int kv_batch_is_whole(struct slice bytes, uint32_t count)
{
    size_t at = 0;
    for (; count > 0; count--) {
        if (bytes.n - at < ENTRY_BYTES_MAX + 1) {
            return 0;
        }
        uint8_t op = bytes.p[at];
        size_t key_bytes = be16_at(bytes.p + at + 1);
        if ((op != OP_PUT && op != OP_DELETE) || key_bytes == 0 || key_bytes > KV_KEY_MAX ||
            bytes.n - at - ENTRY_BYTES_MAX < key_bytes) {
            return 0;
        }
        size_t value_bytes = be32_at(bytes.p + at + 3 + key_bytes);
        at += ENTRY_BYTES_MAX + key_bytes;
        if (bytes.n - at < value_bytes || (op == OP_DELETE && value_bytes != 0)) {
            return 0;
        }
        at += value_bytes;
    }
    return at == bytes.n;
}
