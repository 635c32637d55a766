/*
 * How fast COPY data is cut into rows when one field of each is wanted, in MB/s. Fed in chunks of
 * 64 KiB. `cc -O2 ... copytext_bench.c libwire.a libbase.a`; the number of MB may be given.
 */

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "wire/copytext.h"

enum {
    CHUNK = 65536
};

static void run(const char *name, const struct copy_options *o, const char *row_text, size_t size)
{
    struct buf data = {0};
    size_t row_bytes = strlen(row_text);
    if (o->format == COPY_BINARY) {
        row_bytes = 2 + 6 * (4 + 12);
        copy_put_binary_header(&data);
    }
    while (data.n < size) {
        if (o->format == COPY_BINARY) {
            buf_be16(&data, 6);
            for (int i = 0; i < 6; i++) {
                buf_be32(&data, 12);
                buf_add(&data, "abcdefghijkl", 12);
            }
        } else {
            buf_add(&data, row_text, row_bytes);
        }
    }
    struct copy_split s;
    struct arena arena = {0};
    struct copy_row row;
    struct copy_field field;
    const uint16_t wanted = 1;
    uint64_t bytes = 0;
    copy_split_init(&s, o);
    int64_t start = clock_now_us();
    for (size_t at = 0; at < data.n; at += CHUNK) {
        size_t n = data.n - at < CHUNK ? data.n - at : CHUNK;
        copy_split_feed(&s, slice_bytes(data.p + at, n));
        while (copy_split_next(&s, &row, NULL) == 1) {
            check(copy_row_fields(o, &row, &wanted, 1, &field, &arena, NULL) == ERR_NONE);
            bytes += field.value.n;
        }
        arena_reset(&arena);
    }
    int64_t us = clock_now_us() - start;
    printf("%-28s %8.0f MB/s  %5.1f ns a row  (%llu rows, %llu key bytes)\n", name,
           (double)data.n / (double)us, (double)us * 1000 / (double)s.rows,
           (unsigned long long)s.rows, (unsigned long long)bytes);
    copy_split_free(&s);
    arena_free(&arena);
    buf_free(&data);
}

int main(int argc, char **argv)
{
    size_t size = (argc > 1 ? strtoul(argv[1], NULL, 10) : 200) * 1000000;
    struct copy_options text = copy_options_default(COPY_TEXT);
    struct copy_options csv = copy_options_default(COPY_CSV);
    struct copy_options binary = copy_options_default(COPY_BINARY);
    run("text, 30-byte rows", &text, "123456\t7890123\tsome\t2026-01-0\n", size);
    run("text, 100-byte rows", &text,
        "123456\t7890123\tsome words that are longer\t2026-01-01 12:34:56.789\t12.50\tand a note "
        "at the end\n",
        size);
    run("text, an escape in each row", &text,
        "123456\t7890123\tsome words\\nthat are longer\t2026-01-01 12:34:56.789\t12.50\tand a note "
        "at the end\n",
        size);
    run("csv, no quotes", &csv,
        "123456,7890123,some words that are longer,2026-01-01 12:34:56.789,12.50,and a note at "
        "the end\n",
        size);
    run("csv, two quoted fields", &csv,
        "123456,7890123,\"some words, longer\",2026-01-01 12:34:56.789,12.50,\"and a \"\"note\"\" "
        "at the end\"\n",
        size);
    run("binary, six fields", &binary, "", size);
    return 0;
}
