/*
 * The front door of combine: formats to ask for, what the client is told about the columns, and
 * which file does the rest. The modes are described in combine_spec.h.
 *
 * Formats. A visible output that is passed on unchanged (or picked by min and max) is asked of the
 * shards as the client wants it, so it is never converted here. Everything else (partial states,
 * hidden sort and group columns) is asked in binary, where order and equality are exact.
 *
 * Memory: the struct and its arrays once per execution; rows are copied only by MERGE, DISTINCT
 * and AGGREGATE.
 */

#include "base/check.h"
#include "base/mem.h"
#include "planner/combine_inner.h"

/* ---- formats --------------------------------------------------------------------------------- */

static int16_t client_format(const int16_t *client, size_t client_count, size_t output)
{
    if (client_count == 0) {
        return FORMAT_TEXT;
    }
    if (client_count == 1) {
        return client[0];
    }
    return output < client_count ? client[output] : (int16_t)FORMAT_TEXT;
}

/* The value goes to the client byte by byte. */
static int is_raw(enum combine_kind kind)
{
    return kind == COMBINE_AS_IS || kind == COMBINE_MIN || kind == COMBINE_MAX;
}

int combine_is_plain(const struct combine_spec *spec)
{
    return spec->mode == COMBINE_CONCAT && spec->limit.kind == COMBINE_LIMIT_NONE &&
           spec->offset.kind == COMBINE_LIMIT_NONE && spec->visible == spec->columns_count;
}

size_t combine_formats(const struct combine_spec *spec, const int16_t *client, size_t client_count,
                       int16_t *out)
{
    check(spec->columns_count <= COMBINE_COLUMNS_MAX);
    if (spec->columns_count == 0) { /* rows pass as they are: as many as the client said */
        size_t n = client_count < COMBINE_COLUMNS_MAX ? client_count : COMBINE_COLUMNS_MAX;
        memcpy(out, client, n * sizeof(*out));
        return n;
    }
    for (size_t i = 0; i < spec->columns_count; i++) {
        out[i] = FORMAT_BINARY;
    }
    /* from the last to the first, so that the first of two outputs of one column decides */
    for (size_t i = spec->visible; i-- > 0;) {
        if (is_raw(spec->outputs[i].kind)) {
            out[spec->outputs[i].column] = client_format(client, client_count, i);
        }
    }
    return spec->columns_count;
}

/* ---- open ------------------------------------------------------------------------------------ */

/* Shard columns that an output reads, from its first one on. */
static unsigned columns_of(enum combine_kind kind)
{
    return kind == COMBINE_VARIANCE ? 3 : kind == COMBINE_MOMENTS ? 6 : 1;
}

static void check_spec(const struct combine_spec *spec)
{
    check(spec->columns_count <= COMBINE_COLUMNS_MAX);
    check(spec->visible <= spec->outputs_count);
    check(spec->columns_count != 0 ||
          (spec->mode == COMBINE_CONCAT && spec->outputs_count == 0 && spec->sorts_count == 0));
    for (size_t i = 0; i < spec->outputs_count; i++) {
        check(spec->outputs[i].column < spec->columns_count);
        check(spec->outputs[i].count_column < spec->columns_count);
        check(spec->outputs[i].set <= spec->sets_count);
        check(spec->outputs[i].key_column <= spec->columns_count);
        check(spec->outputs[i].column + columns_of(spec->outputs[i].kind) <= spec->columns_count);
        check(spec->mode == COMBINE_AGGREGATE ||
              (spec->outputs[i].kind == COMBINE_AS_IS && spec->outputs[i].column == i));
    }
    for (size_t i = 0; i < spec->sorts_count; i++) {
        check(spec->sorts[i].output < spec->outputs_count);
    }
    check(spec->unique_sorts <= spec->sorts_count);
    for (size_t i = 0; i < spec->groups_count; i++) {
        check(spec->groups[i] < spec->columns_count);
    }
    for (size_t i = 0; i < spec->having_count; i++) {
        check(spec->having[i].output < spec->outputs_count);
    }
    for (size_t i = 0; i < spec->sets_count; i++) {
        check(spec->sets[i].column < spec->columns_count);
        check(spec->sets[i].filter <= spec->columns_count);
    }
}

/* Two visible outputs of one column must be wanted in one format. */
static enum err set_formats(struct combine *c, const int16_t *client, size_t client_count,
                            struct note *note)
{
    const struct combine_spec *spec = c->spec;
    if (spec->columns_count == 0) {
        return ERR_NONE;
    }
    if (client_count > 1 && client_count != spec->visible) {
        return note_set(note, ERR_PROTOCOL,
                        "bind message has %zu result formats but query has %u columns",
                        client_count, spec->visible);
    }
    int16_t formats[COMBINE_COLUMNS_MAX];
    size_t count = combine_formats(spec, client, client_count, formats);
    check(count == spec->columns_count);
    for (size_t i = 0; i < count; i++) {
        c->columns[i].format = formats[i];
        c->columns[i].as_bytes = spec->enums != NULL && spec->enums[i] != 0;
    }
    for (size_t i = 0; i < spec->visible; i++) {
        const struct combine_output *output = &spec->outputs[i];
        c->out_formats[i] = client_format(client, client_count, i);
        if (c->out_formats[i] != FORMAT_TEXT && c->out_formats[i] != FORMAT_BINARY) {
            return note_set(note, ERR_BAD_SETTING, "unsupported format code: %d",
                            c->out_formats[i]);
        }
        if (is_raw(output->kind) && c->columns[output->column].format != c->out_formats[i]) {
            enum err e =
                note_set(note, ERR_UNSUPPORTED, "one column is wanted both in text and in binary");
            note_hint(note, "Ask for all result columns in the same format.");
            return e;
        }
    }
    return ERR_NONE;
}

/* NOLINTNEXTLINE(readability-function-size): each is given once, by one caller */
enum err combine_open(const struct combine_spec *spec, size_t shards_count,
                      const struct plan_args *args, const int16_t *client, size_t client_count,
                      size_t window_bytes, size_t memory_max, struct combine **out,
                      struct note *note)
{
    check(shards_count >= 1 && shards_count <= SHARDS_MAX);
    check_spec(spec);
    struct combine *c = mem_zero(sizeof(*c));
    c->spec = spec;
    c->shards_count = shards_count;
    c->window_bytes = window_bytes;
    c->memory_max = memory_max;
    c->columns = mem_zero((spec->columns_count + 1u) * sizeof(*c->columns));
    c->values = mem_zero((spec->columns_count + 1u) * sizeof(*c->values));
    c->out_formats = mem_zero((spec->visible + 1u) * sizeof(*c->out_formats));
    c->fewer_digits = args == NULL ? 0 : args->fewer_digits;
    enum err e = combine_limit_open(c, args, note);
    if (!e) {
        e = set_formats(c, client, client_count, note);
    }
    if (e) {
        combine_free(c);
        return e;
    }
    *out = c;
    return ERR_NONE;
}

void combine_free(struct combine *c)
{
    if (c == NULL) {
        return;
    }
    combine_merge_free(c);
    combine_groups_free(c);
    buf_free(&c->row);
    mem_free(c->columns);
    mem_free(c->values);
    mem_free(c->out_formats);
    mem_free(c);
}

/* ---- columns --------------------------------------------------------------------------------- */

static enum err stale(struct note *note)
{
    enum err e = note_set(note, ERR_STALE, "the shards do not agree on the columns of the result");
    note_hint(note, "A schema change may be under way; run the statement again.");
    return e;
}

static enum err broken_columns(struct note *note)
{
    return note_set(note, ERR_SHARD_PROTOCOL, "RowDescription does not hold its columns");
}

/* Types that users make (enums, rows of tables) have another number on every shard. */
static int is_same_type(uint32_t a, uint32_t b)
{
    enum {
        FIRST_USER_OID = 16384
    };
    return a == b || (a >= FIRST_USER_OID && b >= FIRST_USER_OID);
}

/* Types of the first shard; the others must agree. */
static enum err read_types(struct combine *c, struct slice body, struct note *note)
{
    struct back_walk walk;
    enum err e = back_walk_columns(body, &walk, note);
    if (e) {
        return e;
    }
    if (walk.left != c->spec->columns_count) {
        return stale(note);
    }
    struct back_column column;
    size_t i = 0;
    int got = 0;
    while ((got = back_next_column(&walk, &column)) == 1) {
        if (c->described && !is_same_type(c->columns[i].type_oid, column.type_oid)) {
            return stale(note);
        }
        if (!c->described) {
            c->columns[i].type_oid = column.type_oid;
        }
        i++;
    }
    return got < 0 || i != c->spec->columns_count ? broken_columns(note) : ERR_NONE;
}

/* The column that names output i, as the client is told about it. */
static void describe_output(const struct combine *c, size_t i, const struct back_column *from,
                            struct back_column *to)
{
    *to = *from;
    to->format = c->out_formats[i];
    if (c->spec->mode == COMBINE_AGGREGATE && c->spec->outputs[i].kind != COMBINE_AS_IS) {
        to->table_oid = 0;
        to->column = 0;
    }
    uint32_t type = combine_groups_type(c, i);
    if (c->spec->mode == COMBINE_AGGREGATE && type != from->type_oid) {
        to->type_oid = type; /* avg(): numeric from a sum of another type */
        to->type_size = type == OID_FLOAT8 || type == OID_INT8 ? 8 : -1;
        to->type_mod = -1;
    }
}

static enum err put_columns(const struct combine *c, struct slice body, struct buf *out,
                            struct note *note)
{
    const struct combine_spec *spec = c->spec;
    struct back_column *of = mem_zero((spec->columns_count + 1u) * sizeof(*of));
    struct back_column *to = mem_zero((spec->visible + 1u) * sizeof(*to));
    struct back_walk walk;
    enum err e = back_walk_columns(body, &walk, note);
    for (size_t i = 0; !e && i < spec->columns_count; i++) {
        e = back_next_column(&walk, &of[i]) == 1 ? ERR_NONE : broken_columns(note);
    }
    if (!e) {
        for (size_t i = 0; i < spec->visible; i++) {
            describe_output(c, i, &of[spec->outputs[i].column], &to[i]);
        }
        back_put_columns(out, to, spec->visible);
    }
    mem_free(of);
    mem_free(to);
    return e;
}

enum err combine_columns(struct combine *c, struct slice body, struct buf *out, struct note *note)
{
    enum err e = ERR_NONE;
    if (c->spec->columns_count == 0) {
        if (out != NULL) {
            size_t mark = frame_begin(out, 'T');
            buf_add_slice(out, body);
            frame_end(out, mark);
        }
        c->described = 1;
        return ERR_NONE;
    }
    e = read_types(c, body, note);
    if (!e && !c->described) {
        switch (c->spec->mode) {
        case COMBINE_CONCAT: break;
        case COMBINE_MERGE:
        case COMBINE_DISTINCT: e = combine_merge_columns(c, note); break;
        case COMBINE_AGGREGATE: e = combine_groups_columns(c, note); break;
        }
    }
    if (!e && out != NULL) {
        e = put_columns(c, body, out, note);
    }
    c->described |= !e;
    return e;
}

/* ---- rows ------------------------------------------------------------------------------------ */

enum err combine_split_row(struct combine *c, struct slice body, size_t *visible_end,
                           struct note *note)
{
    struct back_walk walk;
    enum err e = back_walk_row(body, &walk, note);
    if (e) {
        return e;
    }
    size_t columns = c->spec->columns_count;
    if (columns != 0 && walk.left != columns) {
        return note_set(note, ERR_SHARD_PROTOCOL, "DataRow has %u columns where %zu were described",
                        walk.left, columns);
    }
    struct slice value;
    size_t i = 0;
    int got = 0;
    *visible_end = c->spec->visible == 0 ? 2 : body.n;
    while ((got = back_next_value(&walk, &value)) == 1) {
        if (i < columns) {
            c->values[i] = value;
        }
        if (++i == c->spec->visible) {
            *visible_end = (size_t)(walk.rest.p - body.p);
        }
    }
    return got == 0 ? ERR_NONE
                    : note_set(note, ERR_SHARD_PROTOCOL, "DataRow does not hold its values");
}

void combine_put_raw(struct combine *c, struct slice values, struct buf *out)
{
    size_t mark = back_begin_row(out, c->spec->visible);
    buf_add_slice(out, values);
    frame_end(out, mark);
}

enum err combine_no_memory(const struct combine *c, struct note *note)
{
    enum err e =
        note_set(note, ERR_NOMEM, "rows kept for this statement passed %zu bytes", c->memory_max);
    note_hint(note, "Raise limits.gather_memory_bytes, or make the statement return less.");
    return e;
}

static enum combine_next next_of(const struct combine *c)
{
    return c->done ? COMBINE_DONE : COMBINE_MORE;
}

enum err combine_row(struct combine *c, size_t shard, struct slice body, struct buf *out,
                     enum combine_next *next, struct note *note)
{
    check(shard < c->shards_count);
    check(c->described && (c->ended >> shard & 1) == 0);
    *next = next_of(c);
    if (c->done) {
        return ERR_NONE; /* crossed our cancel on the wire */
    }
    enum err e = ERR_NONE;
    switch (c->spec->mode) {
    case COMBINE_CONCAT: e = combine_concat_row(c, body, out, note); break;
    case COMBINE_MERGE:
    case COMBINE_DISTINCT: e = combine_merge_row(c, shard, body, out, next, note); break;
    case COMBINE_AGGREGATE: e = combine_groups_row(c, body, out, note); break;
    }
    if (c->done) {
        *next = COMBINE_DONE;
    }
    return e;
}

enum err combine_run(struct combine *c, size_t shard, struct slice rows, struct buf *out,
                     enum combine_next *next, struct note *note)
{
    uint8_t type = 0;
    size_t total = 0;
    if (c->merge != NULL && !c->done) {
        check(shard < c->shards_count && (c->ended >> shard & 1) == 0);
        *next = COMBINE_MORE;
        enum err e = combine_merge_rows(c, shard, rows, out, next, note);
        *next = c->done ? COMBINE_DONE : *next;
        return e;
    }
    *next = next_of(c);
    while (frame_peek(rows, &type, &total) == 1) {
        enum err e = combine_row(c, shard, frame_body(rows, total), out, next, note);
        if (e || c->done) {
            return e;
        }
        rows = slice_from(rows, total);
    }
    return ERR_NONE;
}

enum err combine_shard_end(struct combine *c, size_t shard, struct buf *out,
                           enum combine_next *next, struct note *note)
{
    check(shard < c->shards_count);
    check((c->ended >> shard & 1) == 0);
    c->ended |= UINT64_C(1) << shard;
    enum err e = c->merge == NULL || c->done ? ERR_NONE : combine_merge_end(c, shard, out, note);
    *next = next_of(c);
    return e;
}

uint64_t combine_needs(const struct combine *c)
{
    uint64_t all = c->shards_count == 64 ? UINT64_MAX : (UINT64_C(1) << c->shards_count) - 1;
    return c->done            ? 0
           : c->merge == NULL ? all & ~c->ended
                              : all & ~c->ended & combine_merge_starved(c);
}

int combine_wants(const struct combine *c, size_t shard)
{
    check(shard < c->shards_count);
    return !c->done && (c->merge == NULL || combine_merge_wants(c, shard));
}

enum err combine_finish(struct combine *c, size_t bytes_max, struct buf *out, int *more,
                        struct note *note)
{
    *more = 0;
    if (c->done || c->groups == NULL) {
        return ERR_NONE;
    }
    return combine_groups_finish(c, bytes_max, out, more, note);
}

uint64_t combine_rows(const struct combine *c)
{
    return c->rows;
}
