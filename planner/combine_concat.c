/* Rows as they come, shard after shard in whatever order they arrive. Nothing is kept. */

#include "planner/combine_inner.h"

enum err combine_concat_row(struct combine *c, struct slice body, struct buf *out,
                            struct note *note)
{
    size_t visible_end = 0;
    enum err e = combine_split_row(c, body, &visible_end, note);
    if (e) {
        return e;
    }
    if (!combine_limit_take(c)) {
        return ERR_NONE;
    }
    if (c->spec->columns_count == 0 || visible_end == body.n) {
        size_t mark = frame_begin(out, 'D');
        buf_add_slice(out, body);
        frame_end(out, mark);
    } else {
        combine_put_raw(c, slice_bytes(body.p + 2, visible_end - 2), out);
    }
    return ERR_NONE;
}
