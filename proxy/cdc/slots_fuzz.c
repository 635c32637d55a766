/* Any bytes as a replication command: read or refused with a word, nothing past the end. */

#include <string.h>

#include "base/check.h"
#include "proxy/cdc/slots.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct arena arena = {0};
    struct slots_call c;
    struct note note = {.text = ""};
    (void)slots_wants(slice_bytes(p, n));
    if (slots_read(slice_bytes(p, n), &arena, &c, &note) != ERR_NONE) {
        check(note.text[0] != 0);
    } else if (c.command != SLOTS_IDENTIFY) {
        check(strlen(c.slot) > 0 && strlen(c.slot) <= SLOT_NAME_MAX);
        check(c.command != SLOTS_CREATE || c.plugin != NULL);
    }
    arena_free(&arena);
    return 0;
}
