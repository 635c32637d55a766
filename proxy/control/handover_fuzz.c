/* Any bytes as the body of any frame: checked without reading past them; what passes can be walked
 * and taken apart. */

#include <string.h>

#include "base/check.h"
#include "proxy/control/handover.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void walk(struct slice body)
{
    enum handover_tag tag;
    struct slice value;
    struct handover_statement st;
    struct handover_numbers numbers;
    int rc;
    while ((rc = handover_next(&body, &tag, &value)) == 1) {
        if (tag == FIELD_STATEMENT) {
            check(handover_statement(value, &st) == 1);
            check(strlen(st.name) < value.n && st.text.n <= value.n);
        }
        if (tag == FIELD_NUMBERS) {
            handover_get_numbers(value, &numbers);
        }
    }
    check(rc == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct note note = {0};
    if (n < HANDOVER_HEADER_BYTES) {
        return 0;
    }
    (void)handover_length(p);
    struct slice body = slice_bytes(p + HANDOVER_HEADER_BYTES, n - HANDOVER_HEADER_BYTES);
    enum handover_kind kind = (enum handover_kind)p[4];
    if (strchr("HLRFSKC", p[4]) != NULL && p[4] != 0 &&
        handover_check(kind, body, &note) == ERR_NONE) {
        walk(body);
    }
    (void)handover_find(body, FIELD_USER);
    return 0;
}
