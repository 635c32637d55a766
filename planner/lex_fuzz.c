/*
 * Goal: lex_shape() stays in bounds, and a shape is stable: other literals of the same kinds put
 * into it give the same shape again. Agreement with PostgreSQL's scanner is lex_test.c's.
 */

#include "base/check.h"
#include "planner/planner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const other[] = {"7", "3000000000", "4.25e3", "'other'", "'o''ther'"};
    static struct lex lex, again;
    static struct buf back, scratch;
    lex_shape(&lex, slice_bytes(data, size));
    for (size_t i = 0; i < lex.literals_count; i++) {
        check(lex_value(&lex, i, &scratch).n <= size);
    }
    if (!lex.usable) {
        return 0;
    }
    size_t used = 0;
    back.n = 0;
    for (size_t i = 0; i < lex.shape.n; i++) {
        if (lex.shape.p[i] < 8) {
            check(lex.shape.p[i] == lex.literals[used].kind + 1);
            buf_text(&back, other[lex.shape.p[i] - 1]);
            used++;
        } else {
            buf_u8(&back, lex.shape.p[i]);
        }
    }
    check(used == lex.literals_count);
    lex_shape(&again, buf_slice(&back));
    check(again.usable);
    check(slice_eq(buf_slice(&again.shape), buf_slice(&lex.shape)));
    check(again.hash == lex.hash);
    return 0;
}
