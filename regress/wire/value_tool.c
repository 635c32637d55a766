/*
 * Answers questions about values, one per line of standard input, fields parted by tabs; used by
 * value_check.py, which compares the answers with a server's.
 *
 *     sum V...             sum, avg and the sum's bytes of numerics given as text
 *     sumhex HEX...        the same for numerics given in binary
 *     isum N...            sum and avg of integers, as avg(int8) has them
 *     spread V...          var_pop, var_samp, stddev_pop, stddev_samp of numerics
 *     pair A B             A + B, A / B, order of A and B
 *     float8 HEX           the text of a double given in binary; float4 the same
 *     cmp OID FORMAT A B   order of two values; A and B are texts, or hex when FORMAT is 1
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "wire/numeric.h"
#include "wire/value.h"

enum {
    FIELDS_MAX = 64
};

static struct arena arena;
static struct buf answer;

static struct slice unhex(const char *text)
{
    size_t n = strlen(text) / 2;
    uint8_t *p = arena_alloc(&arena, n + 1);
    for (size_t i = 0; i < n; i++) {
        const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
        p[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return slice_bytes(p, n);
}

static void add_hex(const struct numeric *n)
{
    struct buf b = {0};
    numeric_put(&b, n);
    for (size_t i = 0; i < b.n; i++) {
        buf_printf(&answer, "%02x", b.p[i]);
    }
    buf_free(&b);
}

static void add_result(enum err e, const struct numeric *n)
{
    if (e) {
        buf_text(&answer, err_name(e));
    } else {
        numeric_print(&answer, n);
    }
}

static void answer_sum(char **fields, size_t count, int16_t format)
{
    struct numeric sum = {0};
    struct numeric value = {0};
    struct numeric avg = {0};
    enum err e = ERR_NONE;
    for (size_t i = 0; i < count && e == ERR_NONE; i++) {
        struct slice in = format == FORMAT_BINARY ? unhex(fields[i]) : slice_of(fields[i]);
        e = value_read_numeric(1700, format, in, &value, &arena, NULL);
        e = e ? e : numeric_add(&sum, &value, &arena, NULL);
    }
    add_result(e, &sum);
    buf_u8(&answer, '\t');
    e = e ? e : numeric_avg(&sum, (int64_t)count, &avg, &arena, NULL);
    add_result(e, &avg);
    buf_u8(&answer, '\t');
    add_hex(&sum);
}

static void answer_isum(char **fields, size_t count)
{
    __int128 sum = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t v = 0;
        enum err e = value_read_int(20, FORMAT_TEXT, slice_of(fields[i]), &v, NULL);
        check(e == ERR_NONE);
        sum += v;
    }
    struct numeric n = {0};
    struct numeric avg = {0};
    numeric_set_int128(&n, sum);
    numeric_print(&answer, &n);
    buf_u8(&answer, '\t');
    add_result(numeric_avg(&n, (int64_t)count, &avg, &arena, NULL), &avg);
}

static void answer_spread(char **fields, size_t count)
{
    struct numeric sum = {0}, squares = {0}, value = {0}, square = {0}, result = {0};
    for (size_t i = 0; i < count; i++) {
        check(numeric_parse(slice_of(fields[i]), &value, &arena, NULL) == ERR_NONE);
        check(numeric_mul(&value, &value, &square, &arena, NULL) == ERR_NONE);
        check(numeric_add(&sum, &value, &arena, NULL) == ERR_NONE);
        check(numeric_add(&squares, &square, &arena, NULL) == ERR_NONE);
    }
    for (int spread = NUMERIC_VAR_POP; spread <= NUMERIC_STDDEV_SAMP; spread++) {
        enum err e = ERR_NONE;
        if (spread != NUMERIC_VAR_POP) {
            buf_u8(&answer, '\t');
        }
        if (count < 2 && (spread == NUMERIC_VAR_SAMP || spread == NUMERIC_STDDEV_SAMP)) {
            continue; /* NULL */
        }
        e = numeric_variance((int64_t)count, &sum, &squares, (enum numeric_spread)spread, &result,
                             &arena, NULL);
        add_result(e, &result);
    }
}

static void answer_pair(char **fields)
{
    struct numeric a = {0};
    struct numeric b = {0};
    struct numeric sum = {0};
    struct numeric quotient = {0};
    struct numeric product = {0};
    check(numeric_parse(slice_of(fields[0]), &a, &arena, NULL) == ERR_NONE);
    check(numeric_parse(slice_of(fields[1]), &b, &arena, NULL) == ERR_NONE);
    numeric_copy(&sum, &a, &arena);
    add_result(numeric_add(&sum, &b, &arena, NULL), &sum);
    buf_u8(&answer, '\t');
    add_result(numeric_div(&a, &b, &quotient, &arena, NULL), &quotient);
    buf_u8(&answer, '\t');
    add_result(numeric_mul(&a, &b, &product, &arena, NULL), &product);
    buf_printf(&answer, "\t%d", numeric_compare(&a, &b));
}

static void answer_cmp(char **fields)
{
    uint32_t oid = (uint32_t)strtoul(fields[0], NULL, 10);
    int16_t format = (int16_t)strtol(fields[1], NULL, 10);
    struct slice a = format == FORMAT_BINARY ? unhex(fields[2]) : slice_of(fields[2]);
    struct slice b = format == FORMAT_BINARY ? unhex(fields[3]) : slice_of(fields[3]);
    int order = 0;
    enum err e = value_compare(oid, format, a, b, &order, NULL);
    if (e) {
        buf_text(&answer, err_name(e));
    } else {
        buf_printf(&answer, "%d", order);
    }
}

static void answer_float(const char *type, const char *hex)
{
    double v = 0;
    uint32_t oid = strcmp(type, "float4") == 0 ? 700 : 701;
    check(value_read_float(oid, FORMAT_BINARY, unhex(hex), &v, NULL) == ERR_NONE);
    if (oid == 700) {
        value_put_float4(&answer, FORMAT_TEXT, (float)v);
    } else {
        value_put_float8(&answer, FORMAT_TEXT, v);
    }
}

static void answer_line(char *line)
{
    char *fields[FIELDS_MAX];
    size_t count = 0;
    char *rest = line;
    while (count < FIELDS_MAX && rest != NULL) {
        fields[count++] = strsep(&rest, "\t");
    }
    if (strcmp(fields[0], "sum") == 0) {
        answer_sum(fields + 1, count - 1, FORMAT_TEXT);
    } else if (strcmp(fields[0], "sumhex") == 0) {
        answer_sum(fields + 1, count - 1, FORMAT_BINARY);
    } else if (strcmp(fields[0], "isum") == 0) {
        answer_isum(fields + 1, count - 1);
    } else if (strcmp(fields[0], "spread") == 0) {
        answer_spread(fields + 1, count - 1);
    } else if (strcmp(fields[0], "pair") == 0) {
        check(count == 3);
        answer_pair(fields + 1);
    } else if (strcmp(fields[0], "cmp") == 0) {
        check(count == 5);
        answer_cmp(fields + 1);
    } else {
        check(count == 2);
        answer_float(fields[0], fields[1]);
    }
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        line[n - 1] = '\0';
        answer_line(line);
        buf_u8(&answer, '\n');
        (void)fwrite(answer.p, 1, answer.n, stdout);
        answer.n = 0;
        arena_reset(&arena);
    }
    free(line);
    buf_free(&answer);
    arena_free(&arena);
    return 0;
}
