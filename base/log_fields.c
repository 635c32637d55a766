/*
 * The words of a format string, with their arguments, as pairs. Each conversion is read here, so a
 * value's own blanks and quotes can never be taken for the next pair.
 *
 * Known conversions: d i u x X c s p with lengths h hh l ll z j t, flags, width and precision, both
 * also as '*'; and f g e of doubles. The compiler has checked them against the arguments.
 */

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"

/* A va_list as a parameter may have become a pointer; a struct keeps it one thing. */
struct arguments {
    va_list list;
};

struct conversion {
    char spec[32]; /* with '%', '*' replaced by its number */
    size_t n;
    int precision; /* -1: none */
    enum {
        LENGTH_INT,
        LENGTH_LONG,
        LENGTH_LONG_LONG,
        LENGTH_SIZE,
        LENGTH_MAX,
        LENGTH_PTRDIFF
    } length;
    char kind;
};

static void add_spec(struct conversion *c, char ch)
{
    check(c->n < sizeof(c->spec) - 1);
    c->spec[c->n++] = ch;
    c->spec[c->n] = '\0';
}

static int read_number(const char **p, struct conversion *c, struct arguments *args)
{
    int value = 0;
    if (**p == '*') {
        (*p)++;
        value = va_arg(args->list, int);
        c->n += (size_t)snprintf(c->spec + c->n, sizeof(c->spec) - c->n, "%d", value);
        check(c->n < sizeof(c->spec));
        return value;
    }
    for (; isdigit((unsigned char)**p); (*p)++) {
        value = value * 10 + (**p - '0');
        add_spec(c, **p);
    }
    return value;
}

static void read_length(const char **p, struct conversion *c)
{
    for (;; (*p)++) {
        switch (**p) {
        case 'h': break;
        case 'l': c->length = c->length == LENGTH_LONG ? LENGTH_LONG_LONG : LENGTH_LONG; break;
        case 'z': c->length = LENGTH_SIZE; break;
        case 'j': c->length = LENGTH_MAX; break;
        case 't': c->length = LENGTH_PTRDIFF; break;
        default: return;
        }
        add_spec(c, **p);
    }
}

/* *p stands behind '%'. */
static void read_conversion(const char **p, struct conversion *c, struct arguments *args)
{
    *c = (struct conversion){.spec = "%", .n = 1, .precision = -1};
    while (**p != '\0' && strchr("-+ #0", **p) != NULL) {
        add_spec(c, *(*p)++);
    }
    (void)read_number(p, c, args);
    if (**p == '.') {
        add_spec(c, *(*p)++);
        c->precision = read_number(p, c, args);
    }
    read_length(p, c);
    c->kind = **p;
    check(c->kind != '\0');
    add_spec(c, *(*p)++);
}

static size_t room(const struct log_record *r)
{
    return sizeof(r->_text) - r->_text_bytes;
}

/* snprintf into the record's text, cut to what is left. */
#define PUT(r, spec, v) put_done(r, snprintf((r)->_text + (r)->_text_bytes, room(r), spec, v))

static void put_done(struct log_record *r, int wanted)
{
    size_t n = wanted < 0 ? 0 : (size_t)wanted;
    size_t left = room(r) - 1;
    r->_text_bytes += n < left ? n : left;
}

static void put_text(struct log_record *r, const char *text, size_t n)
{
    size_t left = room(r) - 1;
    n = n < left ? n : left;
    memcpy(r->_text + r->_text_bytes, text, n);
    r->_text_bytes += n;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void put_integer(struct log_record *r, const struct conversion *c, struct arguments *args)
{
    switch (c->length) {
    case LENGTH_INT: PUT(r, c->spec, va_arg(args->list, int)); break;
    case LENGTH_LONG: PUT(r, c->spec, va_arg(args->list, long)); break;
    case LENGTH_LONG_LONG: PUT(r, c->spec, va_arg(args->list, long long)); break;
    case LENGTH_SIZE: PUT(r, c->spec, va_arg(args->list, size_t)); break;
    case LENGTH_MAX: PUT(r, c->spec, va_arg(args->list, intmax_t)); break;
    case LENGTH_PTRDIFF: PUT(r, c->spec, va_arg(args->list, ptrdiff_t)); break;
    }
}

static void put_conversion(struct log_record *r, const struct conversion *c, struct arguments *args)
{
    switch (c->kind) {
    case 's': {
        const char *text = va_arg(args->list, const char *);
        if (text != NULL) {
            put_text(r, text,
                     c->precision < 0 ? strlen(text) : strnlen(text, (size_t)c->precision));
        }
        break;
    }
    case 'c': PUT(r, c->spec, va_arg(args->list, int)); break;
    case 'p': PUT(r, c->spec, va_arg(args->list, void *)); break;
    case 'e':
    case 'f':
    case 'g': PUT(r, c->spec, va_arg(args->list, double)); break;
    default:
        check(c->kind == 'd' || c->kind == 'i' || c->kind == 'u' || c->kind == 'x' ||
              c->kind == 'X');
        put_integer(r, c, args);
        break;
    }
}
#pragma GCC diagnostic pop

/* A word up to its blank; one in double quotes keeps its blanks. *p stands on its first byte. */
static void read_word(struct log_record *r, const char **p, struct arguments *args,
                      struct log_field *out)
{
    size_t from = r->_text_bytes;
    int quoted = 0;
    int numbers = 0;
    int others = 0;
    for (; **p != '\0' && (quoted || **p != ' ');) {
        if (**p == '"') {
            quoted = !quoted;
            (*p)++;
        } else if (**p == '%' && (*p)[1] != '%') {
            struct conversion c;
            (*p)++;
            read_conversion(p, &c, args);
            put_conversion(r, &c, args);
            int is_number = strchr("diufg", c.kind) != NULL;
            numbers += is_number;
            others += !is_number;
        } else {
            *p += **p == '%';
            put_text(r, (*p)++, 1);
            others++;
        }
    }
    out->value = slice_bytes(r->_text + from, r->_text_bytes - from);
    out->is_number = numbers == 1 && others == 0;
}

void log_read_fields(struct log_record *record, const char *fmt, va_list list)
{
    struct arguments args;
    va_copy(args.list, list);
    record->fields_count = 0;
    record->_text_bytes = 0;
    const char *p = fmt;
    while (*p != '\0') {
        if (*p == ' ') {
            p++;
            continue;
        }
        size_t key = strcspn(p, "= %\"");
        struct log_field field = {.key = SLICE("note")};
        if (p[key] == '=' && key > 0) {
            field.key = slice_bytes(p, key);
            p += key + 1;
        }
        read_word(record, &p, &args, &field);
        if (field.value.n > 0 && record->fields_count < LOG_FIELDS_MAX) {
            record->fields[record->fields_count++] = field;
        }
    }
    va_end(args.list);
}

struct slice log_field(const struct log_record *record, const char *key)
{
    for (size_t i = 0; i < record->fields_count; i++) {
        if (slice_is(record->fields[i].key, key)) {
            return record->fields[i].value;
        }
    }
    return (struct slice){NULL, 0};
}
