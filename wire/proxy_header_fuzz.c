/*
 * Any bytes at all: the reader never reads past them, never asks for less than it has, and says the
 * same of a header however many bytes follow it.
 */

#include <string.h>

#include "base/check.h"
#include "wire/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct proxy_header h;
    struct note note = {0};
    size_t total = 0;
    int rc = proxy_header_read(slice_bytes(p, n), &total, &h, &note);
    if (rc == 0) {
        check(total > n && total <= PROXY_HEADER_V2_MAX);
    }
    if (rc == 1) {
        check(total <= n && total > 0 && total <= PROXY_HEADER_V2_MAX);
        struct proxy_header again;
        size_t same = 0;
        check(proxy_header_read(slice_bytes(p, total), &same, &again, &note) == 1);
        check(same == total && memcmp(&h, &again, sizeof(h)) == 0);
        for (size_t i = 0; i < total; i++) { /* no shorter piece is one */
            check(proxy_header_read(slice_bytes(p, i), &same, &again, &note) == 0 && same > i);
        }
    }
    check(rc >= 0 || note.text[0] != '\0');
    return 0;
}
