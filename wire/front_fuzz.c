/*
 * The first byte of the input chooses the message, the rest is its body. Any body is refused or
 * read, and what was read gives the same bytes when it is put again. The body is copied to memory
 * of exactly its size so that a read behind its end is seen.
 */

#include "base/check.h"
#include "base/mem.h"
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *cstr(struct slice s)
{
    check(s.p[s.n] == 0);
    return (const char *)s.p;
}

static void again_parse(struct buf *b, const struct front_parse *p)
{
    uint32_t *types = mem_alloc((size_t)p->types_count * 4 + 1);
    for (size_t i = 0; i < p->types_count; i++) {
        types[i] = be32_at(p->types + 4 * i);
    }
    front_put_parse(b, cstr(p->name), p->text, types, p->types_count);
    mem_free(types);
}

static void again_bind(struct buf *b, const struct front_bind *bind)
{
    struct front_value *values = mem_alloc(bind->values_count * sizeof(*values) + 1);
    front_bind_values(bind, values);
    size_t bytes = 0;
    for (size_t i = 0; i < bind->values_count; i++) {
        bytes += 4 + values[i].bytes.n;
        check(values[i].is_null == (values[i].bytes.p == NULL));
    }
    check(bytes == bind->values.n);
    mem_free(values);
    int16_t *results = mem_alloc((size_t)bind->results_count * 2 + 1);
    for (size_t i = 0; i < bind->results_count; i++) {
        results[i] = (int16_t)be16_at(bind->results + 2 * i);
    }
    front_put_bind(b, cstr(bind->portal), cstr(bind->statement), bind, results,
                   bind->results_count);
    struct buf tail = {0};
    front_put_bind_tail(&tail, cstr(bind->portal), cstr(bind->statement), bind->tail);
    check(slice_eq(buf_slice(&tail), buf_slice(b)));
    buf_free(&tail);
    mem_free(results);
}

static void again(uint8_t type, struct slice body, struct buf *b)
{
    struct note note;
    struct front_query query;
    struct front_parse parse;
    struct front_bind bind;
    struct front_describe describe;
    struct front_execute execute;
    struct slice text;
    struct slice more;
    if (type == 'Q' && front_read_query(body, &query, &note) == ERR_NONE) {
        front_put_query(b, query.text);
    } else if (type == 'P' && front_read_parse(body, &parse, &note) == ERR_NONE) {
        again_parse(b, &parse);
    } else if (type == 'B' && front_read_bind(body, &bind, &note) == ERR_NONE) {
        again_bind(b, &bind);
    } else if (type == 'D' && front_read_describe(body, &describe, &note) == ERR_NONE) {
        front_put_describe(b, describe.kind, cstr(describe.name));
    } else if (type == 'E' && front_read_execute(body, &execute, &note) == ERR_NONE) {
        if (be32_at(body.p + body.n - 4) == execute.rows_max) {
            front_put_execute(b, cstr(execute.portal), execute.rows_max);
        }
    } else if (type == 'p' && front_read_password(body, &text, &note) == ERR_NONE) {
        front_put_password(b, cstr(text));
    } else if (type == 'i' && front_read_sasl_initial(body, &text, &more, &note) == ERR_NONE) {
        front_put_sasl_initial(b, cstr(text), more);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    uint8_t *copy = mem_dup(data + 1, size - 1);
    struct slice body = {copy, size - 1};
    struct buf b = {0};
    again(data[0], body, &b);
    if (b.n != 0) {
        check(slice_eq(frame_body(buf_slice(&b), b.n), body));
    }
    buf_free(&b);
    mem_free(copy);
    return 0;
}
