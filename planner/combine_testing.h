#ifndef PLANNER_COMBINE_TESTING_H
#define PLANNER_COMBINE_TESTING_H

/*
 * Shards made of text, for the tests of combine: rows are written "1|abc|\N", read back the same
 * way, and fed in a random order of shards. Columns asked in binary are int8, the others text.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "planner/combine_inner.h"

enum {
    T_SHARDS = 5,
    T_ROWS = 400,
    T_COLUMNS = 8
};

struct t_shard {
    struct buf rows[T_ROWS]; /* DataRow bodies */
    size_t count, at;
};

struct t_run {
    struct combine *c;
    struct t_shard shards[T_SHARDS];
    size_t shards_count;
    uint32_t types[T_COLUMNS];
    int16_t formats[T_COLUMNS];
    size_t columns;
    struct buf out;
    struct note note;
    enum err err;
    int done;
    size_t paused_times;
    int one_by_one; /* no rows in runs */
};

/* The text of a value as the wire has it: binary for whole numbers when the column is. */
static inline void t_put_value(struct buf *out, uint32_t type, int16_t format, const char *text)
{
    if (strcmp(text, "\\N") == 0) {
        back_put_value(out, (struct slice){NULL, 0});
        return;
    }
    if (format == FORMAT_TEXT) {
        back_put_value(out, slice_of(text));
        return;
    }
    struct buf value = {0};
    struct arena arena = {0};
    struct numeric n = {0};
    switch (type) {
    case OID_NUMERIC:
        cr_assert_eq(numeric_parse(slice_of(text), &n, &arena, NULL), ERR_NONE);
        numeric_put(&value, &n);
        break;
    case OID_FLOAT8: value_put_float8(&value, FORMAT_BINARY, strtod(text, NULL)); break;
    case OID_FLOAT4: value_put_float4(&value, FORMAT_BINARY, strtof(text, NULL)); break;
    case OID_TEXT: buf_text(&value, text); break;
    case OID_BOOL: buf_u8(&value, text[0] == 't'); break;
    case OID_INT4: buf_be32(&value, (uint32_t)strtol(text, NULL, 10)); break;
    default: buf_be64(&value, (uint64_t)strtoll(text, NULL, 10)); break;
    }
    back_put_value(out, (struct slice){value.p == NULL ? (const uint8_t *)"" : value.p, value.n});
    buf_free(&value);
    arena_free(&arena);
}

static inline void t_row(struct t_run *t, size_t shard, const char *fmt, ...) PRINTF_LIKE(3, 4);
static inline void t_row(struct t_run *t, size_t shard, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct t_shard *s = &t->shards[shard];
    cr_assert_lt(s->count, T_ROWS);
    struct buf *body = &s->rows[s->count++];
    buf_be16(body, (uint16_t)t->columns);
    char *field = text;
    for (size_t i = 0; i < t->columns; i++) {
        char *end = strchr(field, '|');
        if (end != NULL) {
            *end = '\0';
        }
        t_put_value(body, t->types[i], t->formats[i], field);
        field = end == NULL ? field + strlen(field) : end + 1;
    }
}

/* Open over `shards` shards; `types` ends with 0. Everything is wanted in text. */
static inline struct t_run *t_open(const struct combine_spec *spec, size_t shards,
                                   const uint32_t *types, const struct plan_args *args,
                                   size_t window, size_t memory)
{
    struct t_run *t = calloc(1, sizeof(*t));
    t->shards_count = shards;
    while (types[t->columns] != 0) {
        t->types[t->columns] = types[t->columns];
        t->columns++;
    }
    (void)combine_formats(spec, NULL, 0, t->formats);
    t->err = combine_open(spec, shards, args, NULL, 0, window, memory, &t->c, &t->note);
    if (t->err) {
        return t;
    }
    struct back_column columns[T_COLUMNS] = {0};
    for (size_t i = 0; i < t->columns; i++) {
        columns[i].name = SLICE("c");
        columns[i].type_oid = t->types[i];
        columns[i].format = t->formats[i];
    }
    struct buf description = {0};
    back_put_columns(&description, columns, t->columns);
    t->err = combine_columns(t->c, slice_from(buf_slice(&description), FRAME_HEADER_BYTES), NULL,
                             &t->note);
    buf_free(&description);
    return t;
}

static inline void t_step(struct t_run *t, size_t shard)
{
    struct t_shard *s = &t->shards[shard];
    enum combine_next next = COMBINE_MORE;
    if (s->at < s->count) {
        t->err = combine_row(t->c, shard, buf_slice(&s->rows[s->at++]), &t->out, &next, &t->note);
        t->paused_times += next == COMBINE_PAUSE;
    } else if (s->at == s->count) {
        s->at++;
        t->err = combine_shard_end(t->c, shard, &t->out, &next, &t->note);
    }
    t->done = next == COMBINE_DONE;
}

/* Up to `most` rows at once, as messages. */
static inline void t_step_run(struct t_run *t, size_t shard, size_t most)
{
    struct t_shard *s = &t->shards[shard];
    enum combine_next next = COMBINE_MORE;
    struct buf run = {0};
    if (s->at == s->count) {
        t_step(t, shard);
        return;
    }
    for (size_t i = 0; i < most && s->at < s->count; i++) {
        frame_put(&run, 'D', buf_slice(&s->rows[s->at++]));
    }
    t->err = combine_run(t->c, shard, buf_slice(&run), &t->out, &next, &t->note);
    t->paused_times += next == COMBINE_PAUSE;
    t->done = next == COMBINE_DONE;
    buf_free(&run);
}

/* Feed all rows, shards in a random order that respects pauses, one row or several at a time. */
static inline void t_feed(struct t_run *t, uint64_t seed)
{
    struct rng rng = rng_seeded(seed);
    size_t idle = 0;
    while (!t->err && !t->done && idle < 10000) {
        size_t shard = rng_below(&rng, t->shards_count);
        int moves = t->shards[shard].at <= t->shards[shard].count && combine_wants(t->c, shard);
        idle = moves ? 0 : idle + 1;
        if (moves && (t->one_by_one || rng_below(&rng, 2))) {
            t_step(t, shard);
        } else if (moves) {
            t_step_run(t, shard, 1 + rng_below(&rng, 9));
        }
    }
    int more = 1;
    while (!t->err && !t->done && more) {
        t->err = combine_finish(t->c, 100, &t->out, &more, &t->note);
    }
}

/* The answer, a line a row, values as the client got them. */
static inline char *t_text(struct t_run *t)
{
    struct buf text = {0};
    struct slice rest = buf_slice(&t->out);
    uint8_t type = 0;
    size_t total = 0;
    while (frame_peek(rest, &type, &total) == 1) {
        struct back_walk walk;
        struct slice value;
        cr_assert_eq(type, 'D');
        cr_assert_leq(total, rest.n);
        cr_assert_eq(back_walk_row(frame_body(rest, total), &walk, NULL), ERR_NONE);
        for (int i = 0; back_next_value(&walk, &value) == 1; i++) {
            buf_printf(&text, i == 0 ? "" : "|");
            if (value.p == NULL) {
                buf_text(&text, "\\N");
            } else {
                buf_add_slice(&text, value);
            }
        }
        buf_u8(&text, '\n');
        rest = slice_from(rest, total);
    }
    cr_assert_eq(rest.n, 0);
    buf_u8(&text, 0);
    return (char *)text.p;
}

static inline void t_close(struct t_run *t)
{
    combine_free(t->c);
    for (size_t i = 0; i < T_SHARDS; i++) {
        for (size_t k = 0; k < t->shards[i].count; k++) {
            buf_free(&t->shards[i].rows[k]);
        }
    }
    buf_free(&t->out);
    free(t);
}

/* Feed, compare, close. */
static inline void t_expect(struct t_run *t, const char *want)
{
    t_feed(t, 1);
    cr_assert_eq(t->err, ERR_NONE, "%s", t->note.text);
    char *got = t_text(t);
    cr_assert_str_eq(got, want);
    free(got);
    t_close(t);
}

#endif
