/*
 * The splitter, fed in chunks, against a model that has all bytes at once and looks at them one by
 * one. Input: a byte for options, one for chunk sizes, then the data. Both must find the same rows
 * and the same fields, and fail on the same data.
 */

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "wire/copytext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FIELDS = 3,
    MODEL_ROW = 1,
    MODEL_END = 0,
    MODEL_BROKEN = -1
};

struct model {
    struct copy_options o;
    struct slice in;
    size_t at;
    int eol; /* 0 unknown, 1 NL, 2 CR, 3 CRNL */
};

static int byte_at(const struct model *m, size_t i)
{
    return i < m->in.n ? m->in.p[i] : 0;
}

/* "\." at i: 1 end of data, 0 not a marker, -1 error. */
static int model_marker(const struct model *m, size_t i, size_t start)
{
    int csv = m->o.format == COPY_CSV;
    i += 2;
    if (m->eol == 3) {
        if (byte_at(m, i) != '\r') {
            return csv ? 0 : -1;
        }
        i++;
    }
    int c = byte_at(m, i);
    if (c != '\n' && c != '\r') {
        return csv ? 0 : -1;
    }
    if ((m->eol == 1 || m->eol == 3) && c != '\n') {
        return -1;
    }
    if (m->eol == 2 && c != '\r') {
        return -1;
    }
    return start + 2 + (m->eol == 3) == i ? 1 : -1;
}

/* Style of the line end at i, or 0 when it is one of another style than before. */
static int model_eol(const struct model *m, size_t i)
{
    int style = m->in.p[i] == '\n' ? 1 : byte_at(m, i + 1) == '\n' && m->eol != 2 ? 3 : 2;
    if (m->eol == 1 && m->in.p[i] == '\r') {
        return 0;
    }
    return m->eol == 0 || m->eol == style ? style : 0;
}

static int model_row(struct model *m, struct slice *line)
{
    int csv = m->o.format == COPY_CSV;
    int quoted = 0;
    size_t start = m->at;
    for (size_t i = start; i < m->in.n; i++) {
        uint8_t c = m->in.p[i];
        if (c == '\\' && (!csv || (i == start && m->o.csv_end_marker)) && i + 1 < m->in.n) {
            int got = m->in.p[i + 1] == '.' ? model_marker(m, i, start) : 0;
            if (got != 0) {
                return got < 0 ? MODEL_BROKEN : MODEL_END;
            }
            if (!csv) {
                i++;
                continue;
            }
        }
        if (csv && quoted && c == m->o.escape && i + 1 < m->in.n &&
            (m->in.p[i + 1] == m->o.quote || m->in.p[i + 1] == m->o.escape) &&
            m->o.escape != m->o.quote) {
            i++;
            continue;
        }
        if (csv && c == m->o.quote) {
            quoted = !quoted;
        }
        if ((c == '\n' || c == '\r') && !quoted) {
            m->eol = model_eol(m, i);
            if (m->eol == 0) {
                return MODEL_BROKEN;
            }
            *line = slice_bytes(m->in.p + start, i - start);
            m->at = i + (m->eol == 3 ? 2 : 1);
            return MODEL_ROW;
        }
    }
    if (quoted && !(m->o.has_header && start == 0)) {
        return MODEL_BROKEN;
    }
    *line = slice_bytes(m->in.p + start, m->in.n - start);
    m->at = m->in.n;
    return line->n != 0 ? MODEL_ROW : MODEL_END;
}

static int hex(int c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int octal(struct slice line, size_t i)
{
    return i < line.n && line.p[i] >= '0' && line.p[i] <= '7' ? line.p[i] - '0' : -1;
}

struct model_field {
    struct buf value;
    int is_null;
    int last;
};

static void model_escape(struct slice line, size_t *i, struct buf *out)
{
    static const char from[] = "bfnrtv";
    static const char to[] = "\b\f\n\r\t\v";
    uint8_t c = line.p[(*i)++];
    const char *known = c == 0 ? NULL : strchr(from, c);
    if (known != NULL) {
        c = (uint8_t)to[known - from];
    } else if (c == 'x' && *i < line.n && hex(line.p[*i]) >= 0) {
        int v = hex(line.p[(*i)++]);
        if (*i < line.n && hex(line.p[*i]) >= 0) {
            v = v * 16 + hex(line.p[(*i)++]);
        }
        c = (uint8_t)v;
    } else if (octal(line, *i - 1) >= 0) {
        int v = octal(line, *i - 1);
        for (int k = 0; k < 2 && octal(line, *i) >= 0; k++) {
            v = v * 8 + octal(line, (*i)++);
        }
        c = (uint8_t)v;
    }
    buf_u8(out, c);
}

static void model_text_field(const struct copy_options *o, struct slice line, size_t *i,
                             struct model_field *f)
{
    size_t start = *i;
    size_t end = line.n;
    f->last = 1;
    while (*i < line.n) {
        end = *i;
        uint8_t c = line.p[(*i)++];
        if (c == o->delimiter) {
            f->last = 0;
            break;
        }
        if (c == '\\') {
            if (*i == line.n) {
                break;
            }
            model_escape(line, i, &f->value);
        } else {
            buf_u8(&f->value, c);
        }
        end = *i;
    }
    f->is_null = slice_eq(slice_bytes(line.p + start, end - start), o->null_text);
}

static void model_csv_field(const struct copy_options *o, struct slice line, size_t *i,
                            struct model_field *f)
{
    size_t start = *i;
    int quoted = 0;
    int any = 0;
    f->last = 1;
    size_t end = line.n;
    while (*i < line.n) {
        uint8_t c = line.p[(*i)++];
        if (!quoted && c == o->delimiter) {
            f->last = 0;
            end = *i - 1;
            break;
        }
        if (quoted && c == o->escape && *i < line.n &&
            (line.p[*i] == o->escape || line.p[*i] == o->quote)) {
            buf_u8(&f->value, line.p[(*i)++]);
        } else if (c == o->quote) {
            quoted = !quoted;
            any = 1;
        } else {
            buf_u8(&f->value, c);
        }
    }
    f->is_null = !any && slice_eq(slice_bytes(line.p + start, end - start), o->null_text);
}

static void compare_fields(const struct copy_options *o, const struct copy_row *row,
                           struct slice line, struct arena *arena)
{
    size_t i = 0;
    int over = 0;
    for (size_t k = 0; k < FIELDS; k++) {
        uint16_t field = (uint16_t)k;
        struct copy_field got;
        struct model_field f = {.last = 1};
        enum err e = copy_row_fields(o, row, &field, 1, &got, arena, NULL);
        check((e == ERR_BAD_COPY) == over);
        if (over) {
            continue;
        }
        if (o->format == COPY_CSV) {
            model_csv_field(o, line, &i, &f);
        } else {
            model_text_field(o, line, &i, &f);
        }
        check(got.is_null == f.is_null);
        check(f.is_null || slice_eq(got.value, buf_slice(&f.value)));
        over = f.last;
        buf_free(&f.value);
    }
}

static struct copy_options options_from(uint8_t bits)
{
    struct copy_options o = copy_options_default(bits & 1 ? COPY_CSV : COPY_TEXT);
    if (bits & 2) {
        o.delimiter = bits & 1 ? ';' : 'A';
    }
    if (bits & 4) {
        o.escape = '\\';
    }
    if (bits & 8) {
        o.quote = '\'';
    }
    if (bits & 16) {
        o.null_text = SLICE("NULL");
    }
    if (bits & 32) {
        o.csv_end_marker = 0;
    }
    o.has_header = (bits & 64) != 0;
    return o;
}

static void run_text(uint8_t bits, uint64_t seed, struct slice in)
{
    struct model m = {.o = options_from(bits), .in = in};
    struct copy_split s;
    struct rng rng = rng_seeded(seed);
    struct arena arena = {0};
    struct copy_row row;
    struct note note;
    check(copy_options_check(&m.o, NULL) == ERR_NONE);
    copy_split_init(&s, &m.o);
    size_t fed = 0;
    size_t seen = 0;
    for (;;) {
        int got = copy_split_next(&s, &row, &note);
        if (got == 0 && !s._ended && !s._done) {
            size_t n = rng_below(&rng, 1 + (seed % 2 ? 3 : 40)) + 1;
            n = n > in.n - fed ? in.n - fed : n;
            uint8_t *copy = mem_dup(in.p + fed, n);
            copy_split_feed(&s, slice_bytes(copy, n));
            mem_free(copy);
            fed += n;
            if (n == 0) {
                copy_split_end(&s);
            }
            continue;
        }
        struct slice line;
        int expected = model_row(&m, &line);
        check(got == expected);
        if (got != MODEL_ROW) {
            break;
        }
        check(slice_eq(row.line, line));
        check(row.is_header == (m.o.has_header && seen == 0));
        seen++;
        if (!row.is_header) {
            compare_fields(&m.o, &row, line, &arena);
        }
        arena_reset(&arena);
    }
    arena_free(&arena);
    copy_split_free(&s);
}

static uint64_t run_binary(struct slice in, size_t chunk, enum err *error)
{
    struct copy_options o = copy_options_default(COPY_BINARY);
    struct copy_split s;
    struct copy_row row;
    struct note note;
    struct copy_field fields[2];
    o.row_bytes_max = 1000;
    copy_split_init(&s, &o);
    size_t fed = 0;
    uint64_t sum = 0;
    for (;;) {
        int got = copy_split_next(&s, &row, &note);
        if (got == 1) {
            enum err e = copy_row_fields(&o, &row, (const uint16_t[]){1, 0}, 2, fields, NULL, NULL);
            sum = sum * 31 + row.bytes.n * 2 + (e == ERR_NONE);
            continue;
        }
        if (got < 0 || (got == 0 && s._ended)) {
            break;
        }
        size_t n = chunk > in.n - fed ? in.n - fed : chunk;
        copy_split_feed(&s, slice_bytes(in.p + fed, n));
        fed += n;
        if (n == 0) {
            copy_split_end(&s);
        }
    }
    *error = s.error;
    copy_split_free(&s);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct slice in = {data + 2, size - 2};
    if (data[0] & 128) {
        enum err one;
        enum err two;
        struct buf b = {0};
        copy_put_binary_header(&b);
        b.n -= data[1] % 2 ? 0 : 19;
        buf_add_slice(&b, in);
        uint64_t x = run_binary(buf_slice(&b), 1, &one);
        uint64_t y = run_binary(buf_slice(&b), 1000000, &two);
        check(x == y && one == two);
        buf_free(&b);
    } else {
        run_text(data[0], data[1], in);
    }
    return 0;
}
