/*
 * Two numerics from any bytes (binary, or text when the first byte is odd): what was read comes
 * back the same through text and binary, a + b - b is a, and a quotient times the divisor is no
 * further from the dividend than its last place allows (looked at by way of a - q*b for whole q).
 */

#include "base/check.h"
#include "base/mem.h"
#include "wire/numeric.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct numeric *n, struct arena *arena)
{
    struct buf binary = {0};
    struct buf text = {0};
    struct buf again = {0};
    struct numeric m = {0};
    numeric_put(&binary, n);
    numeric_print(&text, n);
    check(numeric_read(buf_slice(&binary), &m, arena, NULL) == ERR_NONE);
    check(numeric_compare(n, &m) == 0 && n->dscale == m.dscale);
    numeric_print(&again, &m);
    check(slice_eq(buf_slice(&text), buf_slice(&again)));
    check(numeric_parse(buf_slice(&text), &m, arena, NULL) == ERR_NONE);
    again.n = 0;
    numeric_put(&again, &m);
    check(slice_eq(buf_slice(&binary), buf_slice(&again)));
    buf_free(&binary);
    buf_free(&text);
    buf_free(&again);
}

static void arithmetic(const struct numeric *a, const struct numeric *b, struct arena *arena)
{
    struct numeric sum = {0};
    struct numeric minus = {0};
    check(numeric_compare(a, b) == -numeric_compare(b, a));
    numeric_copy(&sum, a, arena);
    if (numeric_add(&sum, b, arena, NULL)) {
        return;
    }
    round_trip(&sum, arena);
    numeric_copy(&minus, b, arena);
    minus.negative = minus.kind == NUMERIC_FINITE && minus.count != 0 && !minus.negative;
    if (a->kind == NUMERIC_FINITE && b->kind == NUMERIC_FINITE) {
        check(numeric_add(&sum, &minus, arena, NULL) == ERR_NONE);
        check(numeric_compare(&sum, a) == 0);
    }
}

/* a / b and (-a) / b differ only in sign; a / 1 is a, as far as its places go. */
static void division(const struct numeric *a, const struct numeric *b, struct arena *arena)
{
    struct numeric q = {0};
    struct numeric p = {0};
    struct numeric minus = {0};
    struct numeric zero = {0};
    numeric_copy(&minus, a, arena);
    minus.negative = minus.count != 0 && !minus.negative;
    enum err e = numeric_div(a, b, &q, arena, NULL);
    if (e || a->kind != NUMERIC_FINITE || q.kind != NUMERIC_FINITE) {
        return;
    }
    round_trip(&q, arena);
    check(numeric_div(&minus, b, &p, arena, NULL) == ERR_NONE);
    check(numeric_add(&p, &q, arena, NULL) == ERR_NONE);
    check(numeric_compare(&p, &zero) == 0);
    if (a->dscale <= 1000) {
        check(numeric_avg(a, 1, &q, arena, NULL) == ERR_NONE);
        check(numeric_compare(a, &q) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t half = 2 + (size - 2) * data[1] / 255;
    struct slice left = {mem_dup(data + 2, half - 2), half - 2};
    struct slice right = {mem_dup(data + half, size - half), size - half};
    struct arena arena = {0};
    struct numeric a = {0};
    struct numeric b = {0};
    enum err e;
    if (data[0] % 2 != 0) {
        e = numeric_parse(left, &a, &arena, NULL);
        e = e ? e : numeric_parse(right, &b, &arena, NULL);
    } else {
        e = numeric_read(left, &a, &arena, NULL);
        e = e ? e : numeric_read(right, &b, &arena, NULL);
    }
    if (e == ERR_NONE) {
        round_trip(&a, &arena);
        arithmetic(&a, &b, &arena);
        division(&a, &b, &arena);
    }
    arena_free(&arena);
    mem_free((void *)left.p);
    mem_free((void *)right.p);
    return 0;
}
