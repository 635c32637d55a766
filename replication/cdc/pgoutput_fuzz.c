/*
 * The first byte says whether we are inside a streamed block, the rest is a message. Any bytes are
 * refused or read, and every view lies inside of them.
 */

#include "base/check.h"
#include "base/mem.h"
#include "replication/cdc/pgoutput.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void is_inside(struct slice part, struct slice whole)
{
    check(part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

static void walk_tuple(const struct pgoutput_tuple *t, struct slice whole)
{
    for (size_t i = 0; t->columns != NULL && i < t->n_columns; i++) {
        check(t->columns[i].kind <= VALUE_ABSENT);
        is_inside(t->columns[i].bytes, whole);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    uint8_t *copy = mem_dup(data + 1, size - 1);
    struct slice bytes = {copy, size - 1};
    struct arena arena = {0};
    struct pgoutput_message m;
    struct note note;
    if (pgoutput_read(bytes, data[0] & 1, &arena, &m, &note) == ERR_NONE) {
        walk_tuple(&m.old_tuple, bytes);
        walk_tuple(&m.new_tuple, bytes);
        is_inside(m.gid, bytes);
        is_inside(m.content, bytes);
        is_inside(m.name, bytes);
        for (size_t i = 0; i < m.relation.n_columns; i++) {
            is_inside(m.relation.columns[i].name, bytes);
        }
    }
    arena_free(&arena);
    mem_free(copy);
    return 0;
}
