/*
 * The record of a transaction, as log_apply.c writes it: which places of which partitions it
 * brought. Pure. It is our own text, so only that form is read: members in their order, no blanks.
 */

#include <string.h>

#include "base/mem.h"
#include "replication/cdc/own_text.h"
#include "replication/cdc/tx_reader.h"

enum {
    PARTS_MAX = 1 << 20,
    NAME_MAX_BYTES = 512
};

static char *need_string(struct own_text *r)
{
    char name[NAME_MAX_BYTES];
    size_t n = 0;
    own_text_need(r, "\"");
    for (int c = own_text_char(r); c > 0 && n + 1 < sizeof(name); c = own_text_char(r)) {
        name[n++] = (char)c;
    }
    name[n] = 0;
    own_text_need(r, "\"");
    return r->bad ? NULL : mem_strdup(name);
}

static void need_part(struct own_text *r, struct cdc_tx_part *out)
{
    own_text_need(r, "{\"data_collection\":");
    out->name = need_string(r);
    own_text_need(r, ",\"event_count\":");
    out->count = own_text_number(r, UINT64_MAX);
    own_text_need(r, ",\"partition\":");
    uint64_t partition = own_text_number(r, UINT16_MAX);
    own_text_need(r, ",\"offset\":");
    out->offset = own_text_number(r, UINT64_MAX);
    own_text_need(r, "}");
    r->bad |= out->offset > UINT64_MAX - out->count;
    out->partition = (uint16_t)partition;
}

void cdc_tx_parts_free(struct cdc_tx_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free(parts[i].name);
    }
    mem_free(parts);
}

enum err cdc_tx_parts_read(struct slice text, struct cdc_tx_part **parts, size_t *count,
                           int *is_copy, struct note *note)
{
    struct own_text r = {.left = text};
    struct cdc_tx_part *list = NULL;
    size_t n = 0;
    size_t cap = 0;
    own_text_need(&r, "{\"status\":\"");
    *is_copy = own_text_take(&r, "COPY");
    if (!*is_copy) {
        own_text_need(&r, "END");
    }
    own_text_need(&r, "\",\"event_count\":");
    (void)own_text_number(&r, UINT64_MAX);
    own_text_need(&r, ",\"data_collections\":[");
    while (!r.bad && !own_text_looks_at(&r, "]") && n < PARTS_MAX) {
        if (n > 0) {
            own_text_need(&r, ",");
        }
        if (n == cap) {
            cap = cap == 0 ? 8 : cap * 2;
            list = mem_grow(list, cap * sizeof(*list));
        }
        list[n] = (struct cdc_tx_part){0};
        need_part(&r, &list[n++]);
    }
    own_text_need(&r, "]}");
    if (r.bad || r.left.n > 0) {
        cdc_tx_parts_free(list, n);
        return note_set(note, ERR_CORRUPT, "change log: the record of a transaction is wrong");
    }
    *parts = list;
    *count = n;
    return ERR_NONE;
}
