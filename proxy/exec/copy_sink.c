/* Rows on their way to the client become the data of a COPY TO. */

#include "proxy/exec/copy_sink.h"

#include <stdio.h>

#include "base/mem.h"
#include "wire/copy_put.h"

struct copy_sink {
    const struct plan_copy_out *plan;
    struct copy_put put;
    struct buf scratch;
    uint64_t rows;
};

struct copy_sink *copy_sink_new(const struct plan_copy_out *plan)
{
    struct copy_sink *k = mem_zero(sizeof(*k));
    k->plan = plan;
    k->put.options = plan->options;
    k->put.force_quote_all = plan->force_quote_all;
    return k;
}

void copy_sink_free(struct copy_sink *k)
{
    if (k != NULL) {
        buf_free(&k->scratch);
        mem_free(k);
    }
}

int16_t copy_sink_format(const struct copy_sink *k)
{
    return k->plan->options.format == COPY_BINARY;
}

static enum err force_quote(const char *name, struct slice described, uint8_t *columns,
                            struct note *note)
{
    struct back_walk walk;
    struct back_column column;
    size_t found = 0;
    enum err e = back_walk_columns(described, &walk, note);
    for (size_t i = 0; !e && back_next_column(&walk, &column) == 1; i++) {
        if (slice_is(column.name, name)) {
            columns[i] = 1;
            found++;
        }
    }
    return e || found > 0 ? e : note_set(note, ERR_NO_COLUMN, "column \"%s\" does not exist", name);
}

enum err copy_sink_begin(struct copy_sink *k, struct arena *arena, struct slice described,
                         struct buf *out, struct note *note)
{
    struct back_walk walk;
    enum err e = back_walk_columns(described, &walk, note);
    if (e) {
        return e;
    }
    k->put.columns = walk.left;
    if (k->plan->force_quote_count > 0) {
        uint8_t *columns = arena_zero(arena, walk.left + 1u);
        for (size_t i = 0; !e && i < k->plan->force_quote_count; i++) {
            e = force_quote(k->plan->force_quote[i], described, columns, note);
        }
        k->put.force_quote = columns;
    }
    return e ? e : copy_put_begin(&k->put, described, out, note);
}

enum err copy_sink_rows(struct copy_sink *k, struct buf *out, size_t from, struct note *note)
{
    return copy_put_rows(&k->put, out, from, &k->scratch, &k->rows, note);
}

void copy_sink_end(struct copy_sink *k, struct buf *out, char tag[64])
{
    copy_put_end(&k->put, out);
    (void)snprintf(tag, 64, "COPY %llu", (unsigned long long)k->rows);
}
