/*
 * The first byte of the input chooses the message, the rest is its body. Any body is refused or
 * read, and what was read gives the same bytes when it is put again.
 */

#include "base/check.h"
#include "base/mem.h"
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    COLUMNS_MAX = 64
};

static void again_columns(struct slice body, struct buf *b)
{
    struct back_walk walk;
    struct back_column columns[COLUMNS_MAX];
    size_t count = 0;
    int got = -1;
    if (back_walk_columns(body, &walk, NULL)) {
        return;
    }
    while (count < COLUMNS_MAX && (got = back_next_column(&walk, &columns[count])) == 1) {
        count++;
    }
    if (got == 0) {
        back_put_columns(b, columns, count);
    }
}

static void again_row(struct slice body, struct buf *b)
{
    struct back_walk walk;
    struct slice value;
    int got;
    if (back_walk_row(body, &walk, NULL)) {
        return;
    }
    size_t mark = back_begin_row(b, walk.left);
    while ((got = back_next_value(&walk, &value)) == 1) {
        back_put_value(b, value);
    }
    frame_end(b, mark);
    if (got != 0) {
        b->n = 0;
    }
}

/* Order of fields and unknown ones may differ: put, read and put once more instead. */
static void again_error(struct slice body)
{
    struct back_error e;
    struct back_error f;
    struct note note;
    if (back_read_error(body, &e, &note)) {
        return;
    }
    struct buf one = {0};
    struct buf two = {0};
    back_put_error(&one, &e);
    check(back_read_error(frame_body(buf_slice(&one), one.n), &f, &note) == ERR_NONE);
    back_put_error(&two, &f);
    check(slice_eq(buf_slice(&one), buf_slice(&two)));
    buf_free(&one);
    buf_free(&two);
}

static void again(uint8_t type, struct slice body, struct buf *b)
{
    struct note note;
    struct back_auth auth;
    struct slice one;
    struct slice two;
    uint32_t pid;
    uint64_t rows;
    if (type == 'R' && back_read_auth(body, &auth, &note) == ERR_NONE) {
        back_put_auth(b, auth.kind, auth.data);
    } else if (type == 'S' && back_read_parameter_status(body, &one, &two, &note) == ERR_NONE) {
        back_put_parameter_status(b, one, two);
    } else if (type == 'K' && back_read_key_data(body, &pid, &one, &note) == ERR_NONE) {
        back_put_key_data(b, pid, one);
    } else if (type == 'C' && back_read_complete(body, &one, &rows, &note) == ERR_NONE) {
        back_put_complete(b, (const char *)one.p);
    } else if (type == 'T') {
        again_columns(body, b);
    } else if (type == 'D') {
        again_row(body, b);
    } else if (type == 'E') {
        again_error(body);
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
