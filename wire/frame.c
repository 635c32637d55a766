/* The length of a message is known when its body is written: leave room, fill it in. */

#include "base/check.h"
#include "wire/wire.h"

size_t frame_begin(struct buf *out, uint8_t type)
{
    buf_reserve(out, FRAME_HEADER_BYTES);
    buf_u8(out, type);
    size_t mark = out->n;
    buf_be32(out, 0);
    return mark;
}

void frame_end(struct buf *out, size_t mark)
{
    check(mark >= 1 && mark + 4 <= out->n);
    size_t length = out->n - mark; /* counts itself, not the type byte */
    check(length <= INT32_MAX);
    buf_set_be32(out, mark, (uint32_t)length);
}

void frame_put(struct buf *out, uint8_t type, struct slice body)
{
    size_t mark = frame_begin(out, type);
    buf_add_slice(out, body);
    frame_end(out, mark);
}
