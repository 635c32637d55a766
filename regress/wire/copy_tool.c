/*
 * Cuts files of COPY data as copytext.h does; used by copy_check.py, which compares with what a
 * server reads from the same files.
 *
 *     copy_tool < LIST     a line of LIST is: format delimiter quote escape header null file
 *                          (delimiter, quote and escape as numbers; null is the rest up to " /")
 *
 * For each file one line: ERROR, or the rows in hexadecimal, fields parted by ",", NULL as "-",
 * rows by ";". Rows must have exactly two fields.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "wire/copytext.h"

static struct arena arena;

static void add_field(struct buf *out, const struct copy_field *field)
{
    if (field->is_null) {
        buf_u8(out, '-');
        return;
    }
    for (size_t i = 0; i < field->value.n; i++) {
        buf_printf(out, "%02x", field->value.p[i]);
    }
}

static enum err add_row(struct buf *out, const struct copy_options *o, const struct copy_row *row)
{
    struct copy_field fields[3];
    const uint16_t two[] = {0, 1};
    const uint16_t third[] = {2};
    enum err e = copy_row_fields(o, row, two, 2, fields, &arena, NULL);
    if (e == ERR_NONE && copy_row_fields(o, row, third, 1, fields + 2, &arena, NULL) == ERR_NONE) {
        e = ERR_BAD_COPY; /* extra data after last expected column */
    }
    if (e == ERR_NONE) {
        add_field(out, &fields[0]);
        buf_u8(out, ',');
        add_field(out, &fields[1]);
        buf_u8(out, ';');
    }
    arena_reset(&arena);
    return e;
}

static void run(const struct copy_options *o, FILE *file)
{
    struct copy_split s;
    struct copy_row row;
    struct buf out = {0};
    struct note note = {0};
    uint8_t chunk[7];
    int got = 0;
    enum err e = copy_options_check(o, &note);
    copy_split_init(&s, o);
    while (e == ERR_NONE) {
        while ((got = copy_split_next(&s, &row, &note)) == 1 && e == ERR_NONE) {
            e = row.is_header ? ERR_NONE : add_row(&out, o, &row);
        }
        e = got < 0 ? s.error : e;
        if (s._ended) {
            break;
        }
        size_t n = fread(chunk, 1, sizeof(chunk), file);
        if (n == 0) {
            copy_split_end(&s);
        } else {
            copy_split_feed(&s, slice_bytes(chunk, n));
        }
    }
    printf("%s" SLICE_FMT "\n", e ? "ERROR" : "", e ? 0 : (int)out.n, (const char *)out.p);
    copy_split_free(&s);
    buf_free(&out);
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        int format;
        int delimiter;
        int quote;
        int escape;
        int header;
        int at = 0;
        line[n - 1] = '\0';
        check(sscanf(line, "%d %d %d %d %d %n", &format, &delimiter, &quote, &escape, &header,
                     &at) == 5);
        char *path = strstr(line, " /");
        check(path != NULL);
        struct copy_options o = copy_options_default((enum copy_format)format);
        o.delimiter = (uint8_t)delimiter;
        o.quote = (uint8_t)quote;
        o.escape = (uint8_t)escape;
        o.has_header = (uint8_t)header;
        o.null_text = slice_bytes(line + at, path < line + at ? 0 : (size_t)(path - (line + at)));
        FILE *file = fopen(path + 1, "rb");
        check(file != NULL);
        run(&o, file);
        (void)fclose(file);
    }
    free(line);
    arena_free(&arena);
    return 0;
}
