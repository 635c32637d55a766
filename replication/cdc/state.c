/* The source's memory as bytes; see the header for them. */

#include "replication/cdc/state.h"

#include <string.h>

#include "base/arena.h"
#include "base/mem.h"

enum {
    VERSION = 1,
    HEAD_BYTES = 2,
    TABLE_BYTES = 13
};

void cdc_state_put(const struct cdc_state *s, struct buf *out)
{
    buf_u8(out, VERSION);
    buf_u8(out, s->phase);
    buf_cstr(out, s->slot);
    buf_be64(out, s->system);
    buf_be32(out, s->timeline);
    buf_be64(out, s->point);
    buf_add_slice(out, buf_slice(&s->snapshot));
    buf_u8(out, 0);
    buf_be32(out, (uint32_t)s->tables_count);
    for (size_t i = 0; i < s->tables_count; i++) {
        const struct cdc_table *t = &s->tables[i];
        buf_be32(out, t->oid);
        buf_be32(out, t->file_node);
        buf_be32(out, t->pages);
        buf_u8(out, t->done);
        buf_cstr(out, t->schema);
        buf_cstr(out, t->name);
    }
}

static int take(struct slice *in, size_t n, const uint8_t **out)
{
    if (in->n < n) {
        return 0;
    }
    *out = in->p;
    *in = slice_from(*in, n);
    return 1;
}

static int take_text(struct slice *in, struct slice *out)
{
    const uint8_t *end = in->n == 0 ? NULL : memchr(in->p, 0, in->n);
    if (end == NULL) {
        return 0;
    }
    *out = slice_bytes(in->p, (size_t)(end - in->p));
    *in = slice_from(*in, out->n + 1);
    return 1;
}

static int read_table(struct slice *in, struct cdc_state *s)
{
    const uint8_t *p;
    struct slice schema;
    struct slice name;
    if (!take(in, TABLE_BYTES, &p) || !take_text(in, &schema) || !take_text(in, &name)) {
        return 0;
    }
    struct cdc_table *t = cdc_state_add(s, schema, name);
    t->oid = be32_at(p);
    t->file_node = be32_at(p + 4);
    t->pages = be32_at(p + 8);
    t->done = p[12] != 0;
    return 1;
}

struct slice cdc_state_slot(struct slice bytes)
{
    const uint8_t *p;
    struct slice slot;
    int is_read = take(&bytes, HEAD_BYTES, &p) && p[0] == VERSION && take_text(&bytes, &slot);
    return is_read && slot.n < CDC_SLOT_BYTES ? slot : SLICE("");
}

static int read_all(struct slice in, struct cdc_state *s)
{
    const uint8_t *p;
    struct slice slot;
    struct slice snapshot;
    if (!take(&in, HEAD_BYTES, &p) || p[0] != VERSION || p[1] >= CDC_PHASES ||
        !take_text(&in, &slot) || slot.n >= CDC_SLOT_BYTES) {
        return 0;
    }
    s->phase = p[1];
    memcpy(s->slot, slot.p, slot.n);
    if (!take(&in, 20, &p) || !take_text(&in, &snapshot)) {
        return 0;
    }
    s->system = be64_at(p);
    s->timeline = be32_at(p + 8);
    s->point = be64_at(p + 12);
    buf_add_slice(&s->snapshot, snapshot);
    if (!take(&in, 4, &p) || be32_at(p) > CDC_TABLES_MAX) {
        return 0;
    }
    for (uint32_t n = be32_at(p); n > 0; n--) {
        if (!read_table(&in, s)) {
            return 0;
        }
    }
    return in.n == 0;
}

enum err cdc_state_read(struct slice bytes, struct cdc_state *out, struct note *note)
{
    cdc_state_free(out);
    if (bytes.n == 0 || read_all(bytes, out)) {
        return ERR_NONE;
    }
    cdc_state_free(out);
    return note_set(note, ERR_CORRUPT, "what change capture remembers of a shard cannot be read");
}

struct cdc_table *cdc_state_add(struct cdc_state *s, struct slice schema, struct slice name)
{
    if ((s->tables_count & (s->tables_count - 1)) == 0) { /* at powers of two */
        size_t cap = s->tables_count == 0 ? 1 : s->tables_count * 2;
        s->tables = mem_grow(s->tables, cap * sizeof(*s->tables));
    }
    struct cdc_table *t = &s->tables[s->tables_count++];
    *t = (struct cdc_table){.schema = mem_zero(schema.n + 1), .name = mem_zero(name.n + 1)};
    memcpy(t->schema, schema.p, schema.n);
    memcpy(t->name, name.p, name.n);
    return t;
}

void cdc_state_drop(struct cdc_state *s, size_t index)
{
    mem_free(s->tables[index].schema);
    mem_free(s->tables[index].name);
    s->tables_count--;
    memmove(&s->tables[index], &s->tables[index + 1],
            (s->tables_count - index) * sizeof(*s->tables));
}

void cdc_state_forget_tables(struct cdc_state *s)
{
    for (size_t i = 0; i < s->tables_count; i++) {
        mem_free(s->tables[i].schema);
        mem_free(s->tables[i].name);
    }
    mem_free(s->tables);
    s->tables = NULL;
    s->tables_count = 0;
    s->snapshot.n = 0;
}

void cdc_state_free(struct cdc_state *s)
{
    cdc_state_forget_tables(s);
    buf_free(&s->snapshot);
    memset(s, 0, sizeof(*s));
}
