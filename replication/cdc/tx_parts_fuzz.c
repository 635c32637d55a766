/* Any bytes as the record of a transaction: read, or refused and nothing is left to free. */

#include <string.h>

#include "base/check.h"
#include "replication/cdc/tx_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct cdc_tx_part *parts = NULL;
    size_t count = 0;
    int is_copy = 0;
    struct note note = {.text = ""};
    if (cdc_tx_parts_read(slice_bytes(p, n), &parts, &count, &is_copy, &note) != ERR_NONE) {
        check(parts == NULL && note.text[0] != 0);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        check(parts[i].name != NULL && parts[i].offset + parts[i].count >= parts[i].offset);
    }
    cdc_tx_parts_free(parts, count);
    return 0;
}
