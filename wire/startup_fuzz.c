/* Any packet is refused or read; what was read of a message comes back when it is put again. */

#include "base/check.h"
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct startup s;
    struct note note;
    struct slice in = {data, size};
    size_t total = 0;
    if (startup_peek(in, &total) == 1 && total < size) {
        in.n = total;
    }
    if (startup_read(in, &s, &note)) {
        check(note.text[0] != '\0');
        return 0;
    }
    check(in.n == total);
    (void)startup_param(&s, "user");
    struct buf b = {0};
    if (s.kind == STARTUP_MESSAGE) {
        front_put_startup(&b, s.params, s.params_count);
        buf_set_be32(&b, 4, s.version);
    } else if (s.kind == STARTUP_CANCEL) {
        front_put_cancel(&b, s.cancel_pid, s.cancel_key);
    } else if (s.kind == STARTUP_SSL && in.n == 8) {
        front_put_ssl_request(&b);
    }
    check(b.n == 0 || slice_eq(buf_slice(&b), in));
    buf_free(&b);
    return 0;
}
