/* Rows between the read that gave them and the statements that write them. Pure: no sockets. */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/rows.h"

void rows_put_relation(const struct rows_column *columns, size_t count, size_t first,
                       struct buf *out)
{
    buf_text(out, "(SELECT ");
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, i == 0 ? "c%zu%s" : ", c%zu%s", i + 1, columns[i].cast);
        if (columns[i].cast[0] != '\0') {
            buf_printf(out, " AS c%zu", i + 1);
        }
    }
    buf_text(out, " FROM ROWS FROM (");
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%spg_catalog.unnest($%zu::%s)", i == 0 ? "" : ", ", first + i + 1,
                   columns[i].array);
    }
    buf_text(out, ") AS _ (");
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, i == 0 ? "c%zu" : ", c%zu", i + 1);
    }
    buf_text(out, "))");
}

uint64_t rows_keep(struct rows_store *store, struct slice body)
{
    uint64_t at = store->bytes.n;
    buf_be32(&store->bytes, (uint32_t)body.n);
    buf_add_slice(&store->bytes, body);
    store->rows++;
    return at;
}

struct slice rows_at(const struct rows_store *store, uint64_t at)
{
    check(at + 4 <= store->bytes.n);
    return slice_bytes(store->bytes.p + at + 4, be32_at(store->bytes.p + at));
}

void rows_mention(struct rows_store *store, struct rows_part *part, uint64_t at)
{
    if (part->count == part->cap) {
        part->cap = part->cap == 0 ? 64 : part->cap * 2;
        part->at = mem_grow(part->at, part->cap * sizeof(*part->at));
    }
    part->at[part->count++] = at;
    store->mentions++;
}

enum err rows_fields(struct slice body, struct slice *fields, size_t count, struct note *note)
{
    struct back_walk walk;
    enum err e = back_walk_row(body, &walk, note);
    if (!e && walk.left != count) {
        e = note_set(note, ERR_SHARD_PROTOCOL, "a row has %u columns where %zu were described",
                     walk.left, count);
    }
    for (size_t i = 0; !e && i < count; i++) {
        if (back_next_value(&walk, &fields[i]) != 1) {
            e = note_set(note, ERR_SHARD_PROTOCOL, "a row is cut short");
        }
    }
    return e;
}

/* ---- where a row goes ------------------------------------------------------------------------ */

static enum err route(const struct map *map, const struct map_table *table, const uint16_t *keys,
                      const struct rows_column *columns, const struct slice *fields,
                      uint32_t *shard, struct note *note)
{
    struct key_value values[KEY_COLUMNS_MAX];
    for (size_t i = 0; i < table->keys_count; i++) {
        const struct rows_column *c = &columns[keys[i]];
        if (!key_types_agree(table->key_types[i], c->type)) {
            return note_set(note, ERR_UNSUPPORTED,
                            "the value for sharding key \"%s\" is of another type", table->keys[i]);
        }
        values[i] = (struct key_value){
            .bytes = fields[keys[i]], .type_oid = c->type, .format = (int16_t)!c->as_text};
    }
    return map_route(map, table, values, shard, note);
}

/* int4 or int8 in binary. */
static int is_when(struct slice field, int32_t when)
{
    if (field.p == NULL || (field.n != 4 && field.n != 8)) {
        return 0;
    }
    int64_t value = field.n == 4 ? (int32_t)be32_at(field.p) : (int64_t)be64_at(field.p);
    return value == when;
}

enum err rows_shards(const struct plan_rows_step *step, const struct map *map,
                     const struct rows_column *columns, const struct slice *fields,
                     uint64_t *shards, struct note *note)
{
    uint32_t shard = 0;
    uint32_t other = 0;
    *shards = 0;
    if (step->when_column >= 0 && step->when >= 0 &&
        !is_when(fields[step->when_column], step->when)) {
        return ERR_NONE;
    }
    if (step->to == ROWS_TO_HOME || step->to == ROWS_TO_ALL) {
        *shards = step->to == ROWS_TO_HOME ? 1 : map_table_shards(map, step->table);
        return ERR_NONE;
    }
    enum err e = route(map, step->table, step->keys, columns, fields, &shard, note);
    if (!e && step->only != ROWS_ALL) {
        e = route(map, step->table, step->other_keys, columns, fields, &other, note);
        if (e || (shard == other) != (step->only == ROWS_STAY)) {
            return e;
        }
    }
    *shards = e ? 0 : UINT64_C(1) << shard;
    return e;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

size_t rows_batch(const struct rows_store *store, const struct rows_part *part, size_t from,
                  int whole)
{
    if (whole) {
        return part->count - from;
    }
    size_t bytes = 0;
    size_t rows = 0;
    while (from + rows < part->count && rows < ROWS_BATCH && bytes < ROWS_BATCH_BYTES) {
        bytes += rows_at(store, part->at[from + rows]).n;
        rows++;
    }
    return rows;
}

void rows_put_array(const struct slice *fields, size_t rows, size_t columns_count, size_t column,
                    uint32_t element_oid, struct buf *out)
{
    size_t length_at = out->n;
    uint32_t nulls = 0;
    buf_be32(out, 0);
    buf_be32(out, rows == 0 ? 0 : 1); /* dimensions */
    size_t nulls_at = out->n;
    buf_be32(out, 0);
    buf_be32(out, element_oid);
    if (rows != 0) {
        buf_be32(out, (uint32_t)rows);
        buf_be32(out, 1); /* lower bound */
    }
    for (size_t i = 0; i < rows; i++) {
        struct slice value = fields[i * columns_count + column];
        if (value.p == NULL) {
            nulls = 1;
            buf_be32(out, UINT32_MAX);
        } else {
            buf_be32(out, (uint32_t)value.n);
            buf_add_slice(out, value);
        }
    }
    buf_set_be32(out, nulls_at, nulls);
    buf_set_be32(out, length_at, (uint32_t)(out->n - length_at - 4));
}
