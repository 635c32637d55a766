/* Any text as an id: refused with nothing left to free, or it comes back from what it says. */

#include <string.h>

#include "base/check.h"
#include "proxy/cdc/feed_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct buf text = {0};
    struct buf again = {0};
    struct feed_id id;
    struct feed_id back;
    buf_add(&text, p, n);
    buf_u8(&text, 0);
    if (!feed_id_read((const char *)text.p, &id)) {
        check(id.places == NULL && id.count == 0);
    } else {
        feed_id_put(&again, &id);
        buf_u8(&again, 0);
        check(feed_id_read((const char *)again.p, &back));
        check(back.who == id.who && back.count == id.count);
        for (size_t i = 0; i < id.count; i++) {
            check(back.places[i].partition == id.places[i].partition);
            check(back.places[i].offset == id.places[i].offset);
        }
        feed_id_free(&back);
        feed_id_free(&id);
    }
    buf_free(&text);
    buf_free(&again);
    return 0;
}
