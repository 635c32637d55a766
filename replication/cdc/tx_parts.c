/*
 * The record of a transaction, as log_apply.c writes it: which places of which partitions it
 * brought. Pure. It is our own text, so only that form is read: members in their order, no blanks.
 */

#include <string.h>

#include "base/mem.h"
#include "replication/cdc/tx_reader.h"

enum {
    PARTS_MAX = 1 << 20,
    NAME_MAX_BYTES = 512
};

/* What is left; once something is not as it must be, `bad` stays. */
struct reading {
    struct slice left;
    int bad;
};

static int looks_at(const struct reading *r, const char *word)
{
    size_t n = strlen(word);
    return !r->bad && r->left.n >= n && memcmp(r->left.p, word, n) == 0;
}

static int take(struct reading *r, const char *word)
{
    if (!looks_at(r, word)) {
        return 0;
    }
    r->left = slice_from(r->left, strlen(word));
    return 1;
}

static void need(struct reading *r, const char *word)
{
    r->bad |= !take(r, word);
}

static uint64_t need_number(struct reading *r)
{
    uint64_t n = 0;
    size_t digits = 0;
    while (!r->bad && digits < r->left.n && r->left.p[digits] >= '0' && r->left.p[digits] <= '9') {
        if (n > (UINT64_MAX - 9) / 10) {
            r->bad = 1;
            return 0;
        }
        n = n * 10 + (uint64_t)(r->left.p[digits++] - '0');
    }
    r->bad |= digits == 0;
    r->left = r->bad ? r->left : slice_from(r->left, digits);
    return n;
}

static int hex_of(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of a string, escapes undone; -1: none. */
static int take_char(struct reading *r)
{
    struct slice s = r->left;
    if (s.n < 1 || s.p[0] == '"' || s.p[0] < 0x20) {
        return -1;
    }
    if (s.p[0] != '\\') {
        r->left = slice_from(s, 1);
        return s.p[0];
    }
    if (s.n >= 2 && (s.p[1] == '"' || s.p[1] == '\\')) {
        r->left = slice_from(s, 2);
        return s.p[1];
    }
    if (s.n < 6 || memcmp(s.p, "\\u00", 4) != 0 || hex_of(s.p[4]) < 0 || hex_of(s.p[5]) < 0) {
        return -1;
    }
    r->left = slice_from(s, 6);
    return hex_of(s.p[4]) << 4 | hex_of(s.p[5]);
}

static char *need_string(struct reading *r)
{
    char name[NAME_MAX_BYTES];
    size_t n = 0;
    need(r, "\"");
    for (int c = take_char(r); c > 0 && n + 1 < sizeof(name); c = take_char(r)) {
        name[n++] = (char)c;
    }
    name[n] = 0;
    need(r, "\"");
    return r->bad ? NULL : mem_strdup(name);
}

static void need_part(struct reading *r, struct cdc_tx_part *out)
{
    need(r, "{\"data_collection\":");
    out->name = need_string(r);
    need(r, ",\"event_count\":");
    out->count = need_number(r);
    need(r, ",\"partition\":");
    uint64_t partition = need_number(r);
    need(r, ",\"offset\":");
    out->offset = need_number(r);
    need(r, "}");
    r->bad |= partition > UINT16_MAX || out->offset > UINT64_MAX - out->count;
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
    struct reading r = {.left = text};
    struct cdc_tx_part *list = NULL;
    size_t n = 0;
    size_t cap = 0;
    need(&r, "{\"status\":\"");
    *is_copy = take(&r, "COPY");
    if (!*is_copy) {
        need(&r, "END");
    }
    need(&r, "\",\"event_count\":");
    (void)need_number(&r);
    need(&r, ",\"data_collections\":[");
    while (!r.bad && !looks_at(&r, "]") && n < PARTS_MAX) {
        if (n > 0) {
            need(&r, ",");
        }
        if (n == cap) {
            cap = cap == 0 ? 8 : cap * 2;
            list = mem_grow(list, cap * sizeof(*list));
        }
        list[n] = (struct cdc_tx_part){0};
        need_part(&r, &list[n++]);
    }
    need(&r, "]}");
    if (r.bad || r.left.n > 0) {
        cdc_tx_parts_free(list, n);
        return note_set(note, ERR_CORRUPT, "change log: the record of a transaction is wrong");
    }
    *parts = list;
    *count = n;
    return ERR_NONE;
}
