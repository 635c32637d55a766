/*
 * COPY ... FROM STDIN over several shards: rows go where their key is. Cutting bytes into rows and
 * fields is wire/copytext.c's; here a row's key is routed and consecutive rows of one shard become
 * one run, so that long stretches for one shard cost one call.
 *
 *     text, CSV    header line: to every shard of the table; end marker: to none
 *     binary       header and trailer of our own to every shard, tuples by key
 *     reference    nothing is cut: all bytes go to every shard
 *     drawn        rows wait for columns that the client leaves open: copy_drawn.c
 *
 * What always holds between calls: rows that are complete have been emitted; what is held back is
 * the beginning of one row (bounded by the splitter). Nothing is allocated per row. Owner: the
 * session. Budget: 150 MB of text a second on one core.
 */

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "planner/copy_run.h"

/* Where to emit; lives as long as one call. */
struct sink {
    copy_emit_fn *emit;
    void *arg;
};

static struct copy_options options_of(const struct plan_copy *copy)
{
    const struct copy_plan *plan = copy->_private;
    enum copy_format format = copy->format == 'c'   ? COPY_CSV
                              : copy->format == 'b' ? COPY_BINARY
                                                    : COPY_TEXT;
    struct copy_options o = copy_options_default(format);
    if (format == COPY_BINARY) {
        return o;
    }
    o.delimiter = (uint8_t)plan->delimiter;
    o.has_header = plan->header;
    if (plan->null_text != NULL) {
        o.null_text = slice_of(plan->null_text);
    }
    if (format == COPY_CSV) {
        o.quote = (uint8_t)plan->quote;
        o.escape = (uint8_t)plan->escape;
    }
    return o;
}

enum err copy_open(const struct plan_copy *copy, struct map *map, struct plan_copy_run **out,
                   struct note *note)
{
    if (copy->table < map->tables || copy->table >= map->tables + map->tables_count) {
        return note_set(note, ERR_STALE, "the shard map changed while COPY was planned");
    }
    struct copy_options options = options_of(copy);
    enum err e = copy_options_check(&options, note);
    if (e) {
        return e;
    }
    check(copy->_private->keys_count <= KEY_COLUMNS_MAX);
    check(copy->_private->keys_count == copy->table->keys_count);
    struct plan_copy_run *c = mem_zero(sizeof(*c));
    c->copy = copy;
    c->map = map_ref(map);
    c->all = map_table_shards(map, copy->table);
    copy_split_init(&c->split, &options);
    *out = c;
    return ERR_NONE;
}

void copy_free(struct plan_copy_run *c)
{
    if (c != NULL) {
        copy_split_free(&c->split);
        copy_held_free(c);
        arena_free(&c->arena);
        for (size_t i = 0; i < SHARDS_MAX; i++) {
            copy_lines_free(&c->lines[i]);
        }
        map_unref(c->map);
        mem_free(c);
    }
}

/* ---- failures -------------------------------------------------------------------------------- */

/* As PostgreSQL's context line: COPY t, line 17, column user_id: ... */
static enum err at_row(const struct plan_copy_run *c, const struct copy_row *row, int with_column,
                       enum err e, struct note *note)
{
    char where[192];
    const struct map_table *table = c->copy->table;
    const char *what = c->copy->format == 'b' ? "row" : "line";
    if (with_column && table->keys_count == 1) {
        (void)snprintf(where, sizeof(where), "COPY %.63s, %s %llu, column %.63s", table->name, what,
                       (unsigned long long)row->number, table->keys[0]);
    } else {
        (void)snprintf(where, sizeof(where), "COPY %.63s, %s %llu", table->name, what,
                       (unsigned long long)row->number);
    }
    return note_wrap(note, e, where);
}

static enum err split_failed(const struct plan_copy_run *c, struct note *note)
{
    char where[80];
    (void)snprintf(where, sizeof(where), "COPY %.63s", c->copy->table->name);
    return note_wrap(note, c->split.error, where);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void flush(struct plan_copy_run *c, const struct sink *sink)
{
    if (c->run.n != 0) {
        sink->emit(c->run_shards, c->run, sink->arg);
        bits_each (shard, c->run_shards) {
            copy_lines_add(&c->lines[shard], c->run_line, c->run_lines);
        }
    }
    c->run = (struct slice){NULL, 0};
}

/*
 * How many lines a server counts in a row of CSV: of line ends in quotes, where lines end with \n,
 * those; else \r. In its first row it does not know yet how lines end, and counts \r.
 */
uint64_t copy_server_lines(const struct plan_copy_run *c, const struct copy_row *row,
                           uint64_t lines, int first)
{
    size_t n = row->bytes.n;
    int cr = n > 0 && (row->bytes.p[n - 1] == '\r' || (n > 1 && row->bytes.p[n - 2] == '\r'));
    if (c->copy->format != 'c' || (!first && (lines == 1 || !cr))) {
        return lines;
    }
    uint64_t theirs = 1;
    for (size_t i = 0; i < row->line.n; i++) {
        theirs += row->line.p[i] == '\r';
    }
    return theirs;
}

static void give(struct plan_copy_run *c, uint64_t shards, const struct copy_row *row,
                 const struct sink *sink)
{
    uint64_t lines = c->copy->format == 'b' ? 1 : c->split.lines + 1 - row->number;
    uint32_t shard = (uint32_t)__builtin_ctzll(shards);
    int first = c->lines[shard].lines == 0 && (c->run.n == 0 || c->run_shards != shards);
    uint64_t theirs = copy_server_lines(c, row, lines, first);
    if (theirs == lines && c->run.n != 0 && c->run_shards == shards &&
        c->run.p + c->run.n == row->bytes.p) {
        c->run.n += row->bytes.n;
        c->run_lines += lines;
        return;
    }
    flush(c, sink);
    c->run = row->bytes;
    c->run_shards = shards;
    c->run_line = row->number;
    c->run_lines = theirs;
    if (theirs != lines) {
        flush(c, sink);
    }
}

/* NULL as CopyReadAttributesCSV's caller decides it, with FORCE_NULL and FORCE_NOT_NULL. */
static int is_null(const struct plan_copy_run *c, size_t key, const struct copy_field *field)
{
    const struct copy_plan *plan = c->copy->_private;
    unsigned bit = 1u << key;
    if (c->copy->format != 'c') {
        return field->is_null;
    }
    if (field->is_null) {
        return (plan->force_not_null & bit) == 0;
    }
    return (plan->force_null & bit) != 0 && slice_eq(field->value, c->split.options.null_text);
}

/* Bytes of a key column as the client gave them. */
static struct slice given(const struct plan_copy_run *c, size_t key, const struct copy_field *field)
{
    if (is_null(c, key, field)) {
        return (struct slice){NULL, 0};
    }
    return field->value.p == NULL ? SLICE("") : field->value; /* empty, not NULL */
}

/* Fields of the row that hold key columns. */
static size_t wanted_fields(const struct plan_copy_run *c, uint16_t *wanted)
{
    const struct copy_plan *plan = c->copy->_private;
    size_t count = 0;
    for (size_t i = 0; i < plan->keys_count; i++) {
        if (plan->drawn[i] == 0) {
            wanted[count++] = plan->keys[i];
        }
    }
    return count;
}

enum err copy_route(struct plan_copy_run *c, const struct copy_row *row, const struct slice *drawn,
                    uint64_t *shards, struct note *note)
{
    const struct copy_plan *plan = c->copy->_private;
    uint16_t wanted[KEY_COLUMNS_MAX];
    struct copy_field fields[KEY_COLUMNS_MAX];
    struct key_value values[KEY_COLUMNS_MAX];
    int binary = c->copy->format == 'b';
    if (c->arena.bytes != 0) {
        arena_reset(&c->arena);
    }
    size_t count = wanted_fields(c, wanted), next = 0;
    enum err e = copy_row_fields(&c->split.options, row, wanted, count, fields, &c->arena, note);
    if (e) {
        return at_row(c, row, 0, e, note);
    }
    for (size_t i = 0; i < plan->keys_count; i++) {
        int here = plan->drawn[i] == 0;
        values[i] = (struct key_value){.bytes = here ? given(c, i, &fields[next++])
                                                     : drawn[plan->drawn[i] - 1],
                                       .type_oid = here && binary ? plan->key_types[i] : 0,
                                       .format = (int16_t)(here && binary)};
        if (plan->chars_max[i] > 0 && values[i].bytes.p != NULL) {
            key_cut_blanks(&values[i].bytes, plan->chars_max[i]);
        }
    }
    uint32_t shard = 0;
    e = plan->keys_count == 0 ? ERR_NONE : map_route(c->map, c->copy->table, values, &shard, note);
    if (e) {
        return at_row(c, row, 1, e, note);
    }
    *shards = plan->keys_count == 0 ? c->all : UINT64_C(1) << shard;
    return ERR_NONE;
}

/* Everything complete that the splitter holds. Its views end with the next feed: flush here. */
static enum err give_rows(struct plan_copy_run *c, const struct sink *sink, struct note *note)
{
    struct copy_row row;
    int got = 0;
    while ((got = copy_split_next(&c->split, &row, note)) == 1) {
        uint64_t shards = c->all;
        if (c->copy->draws_count != 0) {
            copy_hold(c, &row);
            continue;
        }
        if (!row.is_header) {
            enum err e = copy_route(c, &row, NULL, &shards, note);
            if (e) {
                return e;
            }
        }
        give(c, shards, &row, sink);
    }
    if (got < 0) {
        return split_failed(c, note);
    }
    flush(c, sink);
    return ERR_NONE;
}

/* Every shard gets the bytes as they come. */
static int is_passed_on(const struct plan_copy_run *c)
{
    return c->copy->table->keys_count == 0 && c->copy->draws_count == 0;
}

uint64_t copy_client_line(const struct plan_copy_run *c, uint32_t shard, uint64_t line)
{
    return is_passed_on(c) ? line : copy_lines_find(&c->lines[shard], line);
}

/* ---- front door ------------------------------------------------------------------------------ */

static void begin_binary(struct plan_copy_run *c, const struct sink *sink)
{
    if (c->copy->format == 'b' && !c->begun && c->copy->draws_count == 0) {
        struct buf header = {0};
        copy_put_binary_header(&header);
        sink->emit(c->all, buf_slice(&header), sink->arg);
        buf_free(&header);
        c->begun = 1;
    }
}

enum err copy_feed(struct plan_copy_run *c, struct slice data, copy_emit_fn *emit, void *arg,
                   struct note *note)
{
    struct sink sink = {emit, arg};
    if (is_passed_on(c)) {
        if (data.n != 0) {
            emit(c->all, data, arg);
        }
        return ERR_NONE;
    }
    begin_binary(c, &sink);
    copy_split_feed(&c->split, data);
    return give_rows(c, &sink, note);
}

enum err copy_finish(struct plan_copy_run *c, copy_emit_fn *emit, void *arg, struct note *note)
{
    struct sink sink = {emit, arg};
    if (is_passed_on(c)) {
        return ERR_NONE;
    }
    begin_binary(c, &sink);
    copy_split_end(&c->split);
    enum err e = give_rows(c, &sink, note);
    if (!e && c->copy->format == 'b' && c->copy->draws_count == 0) {
        struct buf trailer = {0};
        copy_put_binary_trailer(&trailer);
        emit(c->all, buf_slice(&trailer), arg);
        buf_free(&trailer);
    }
    return e;
}
