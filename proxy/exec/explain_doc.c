/* JSON, YAML and XML as PostgreSQL's EXPLAIN writes them. */

#include "proxy/exec/explain_doc.h"

#include "base/check.h"

static void indent(struct explain_doc *d)
{
    buf_printf(d->out, "%*s", 2 * d->depth, "");
}

/* XML: names of elements have no blanks. */
static void put_tag(struct explain_doc *d, const char *name, int closes)
{
    buf_text(d->out, closes ? "</" : "<");
    for (const char *c = name; *c != '\0'; c++) {
        buf_u8(d->out, *c == ' ' ? '-' : (uint8_t)*c);
    }
    buf_u8(d->out, '>');
}

/* A string of JSON, which is one of YAML, too. */
static void put_quoted(struct explain_doc *d, struct slice text)
{
    buf_u8(d->out, '"');
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (c == '"' || c == '\\') {
            buf_u8(d->out, '\\');
            buf_u8(d->out, c);
        } else if (c < 0x20) {
            buf_printf(d->out, "\\u%04x", c);
        } else {
            buf_u8(d->out, c);
        }
    }
    buf_u8(d->out, '"');
}

static void put_escaped(struct explain_doc *d, struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        switch (text.p[i]) {
        case '<': buf_text(d->out, "&lt;"); break;
        case '>': buf_text(d->out, "&gt;"); break;
        case '&': buf_text(d->out, "&amp;"); break;
        default: buf_u8(d->out, text.p[i]); break;
        }
    }
}

/* Up to the place where the value stands. */
static void begin_member(struct explain_doc *d, const char *name)
{
    int list = d->is_list[d->depth];
    if (d->format == EXPLAIN_JSON) {
        buf_text(d->out, d->has_members[d->depth] ? ",\n" : "\n");
        indent(d);
        if (!list) {
            put_quoted(d, slice_of(name));
            buf_text(d->out, ": ");
        }
    } else if (d->format == EXPLAIN_YAML) {
        /* the first member of an object in a list stands behind its dash */
        int after_dash =
            !list && !d->has_members[d->depth] && d->depth > 0 && d->is_list[d->depth - 1];
        if (!after_dash) {
            buf_u8(d->out, '\n');
            indent(d);
        }
        if (list) {
            buf_text(d->out, "- ");
        } else {
            buf_printf(d->out, "%s: ", name);
        }
    } else {
        buf_u8(d->out, '\n');
        indent(d);
    }
    d->has_members[d->depth] = 1;
}

static void push(struct explain_doc *d, const char *name, int list)
{
    check(d->depth + 1 < EXPLAIN_DEPTH_MAX);
    d->depth++;
    d->names[d->depth] = name;
    d->is_list[d->depth] = list != 0;
    d->has_members[d->depth] = 0;
}

void doc_begin(struct explain_doc *d, enum plan_explain_format format, struct buf *out)
{
    check(format != EXPLAIN_TEXT);
    *d = (struct explain_doc){.format = format, .out = out};
    d->is_list[0] = 1;
    if (format == EXPLAIN_JSON) {
        buf_text(out, "[");
        d->depth = 0;
    } else if (format == EXPLAIN_XML) {
        buf_text(out, "<explain xmlns=\"http://www.postgresql.org/2009/explain\">");
    }
    if (format == EXPLAIN_YAML) { /* no line break in front of the first one */
        buf_text(out, "- ");
        d->has_members[0] = 1;
        push(d, "Query", 0);
    } else {
        d->depth = format == EXPLAIN_JSON ? 1 : 1;
        d->is_list[1] = 1;
        d->has_members[1] = 0;
        doc_open(d, "Query");
    }
}

void doc_open(struct explain_doc *d, const char *name)
{
    begin_member(d, name);
    if (d->format == EXPLAIN_JSON) {
        buf_u8(d->out, '{');
    } else if (d->format == EXPLAIN_XML) {
        put_tag(d, name, 0);
    }
    push(d, name, 0);
}

void doc_open_list(struct explain_doc *d, const char *name)
{
    begin_member(d, name);
    if (d->format == EXPLAIN_JSON) {
        buf_u8(d->out, '[');
    } else if (d->format == EXPLAIN_XML) {
        put_tag(d, name, 0);
    }
    push(d, name, 1);
}

void doc_close(struct explain_doc *d)
{
    int list = d->is_list[d->depth];
    int members = d->has_members[d->depth];
    const char *name = d->names[d->depth];
    d->depth--;
    if (d->format == EXPLAIN_JSON) {
        buf_text(d->out, members ? "\n" : "");
        if (members) {
            indent(d);
        }
        buf_u8(d->out, list ? ']' : '}');
    } else if (d->format == EXPLAIN_XML) {
        buf_u8(d->out, '\n');
        indent(d);
        put_tag(d, name, 1);
    } else if (!members) {
        buf_text(d->out, list ? "[]" : "{}");
    }
}

void doc_end(struct explain_doc *d)
{
    if (d->format == EXPLAIN_YAML) {
        return;
    }
    doc_close(d);
    buf_text(d->out, d->format == EXPLAIN_JSON ? "\n]" : "\n</explain>");
}

void doc_text(struct explain_doc *d, const char *name, struct slice text)
{
    begin_member(d, name);
    if (d->format == EXPLAIN_XML) {
        put_tag(d, name, 0);
        put_escaped(d, text);
        put_tag(d, name, 1);
    } else {
        put_quoted(d, text);
    }
}

void doc_number(struct explain_doc *d, const char *name, const char *number)
{
    begin_member(d, name);
    if (d->format == EXPLAIN_XML) {
        put_tag(d, name, 0);
    }
    buf_text(d->out, number);
    if (d->format == EXPLAIN_XML) {
        put_tag(d, name, 1);
    }
}

void doc_lines(struct explain_doc *d, const char *name, struct slice lines)
{
    doc_open_list(d, name);
    while (lines.n > 0) {
        const uint8_t *end = memchr(lines.p, '\n', lines.n);
        size_t n = end == NULL ? lines.n : (size_t)(end - lines.p);
        struct slice line = slice_bytes(lines.p, n);
        while (line.n > 0 && line.p[0] == ' ') {
            line = slice_from(line, 1);
        }
        doc_text(d, "Item", line);
        lines = slice_from(lines, end == NULL ? n : n + 1);
    }
    doc_close(d);
}

/* Its lines are moved to the right; the first one stands where the value does. */
static void put_moved(struct explain_doc *d, struct slice text, int from_first)
{
    int first = !from_first;
    while (text.n > 0) {
        const uint8_t *end = memchr(text.p, '\n', text.n);
        size_t n = end == NULL ? text.n : (size_t)(end - text.p);
        if (!first) {
            buf_u8(d->out, '\n');
            buf_printf(d->out, "%*s", 2 * (d->depth + 1) - 2 * !from_first, "");
        }
        first = 0;
        buf_add(d->out, text.p, n);
        text = slice_from(text, end == NULL ? n : n + 1);
    }
}

void doc_server(struct explain_doc *d, const char *name, struct slice document)
{
    begin_member(d, name);
    if (document.n == 0) {
        buf_text(d->out, d->format == EXPLAIN_XML ? "" : "null");
    } else if (d->format == EXPLAIN_XML) {
        put_tag(d, name, 0);
        d->depth++;
        put_moved(d, document, 1);
        d->depth--;
        buf_u8(d->out, '\n');
        indent(d);
        put_tag(d, name, 1);
    } else {
        put_moved(d, document, d->format == EXPLAIN_YAML);
    }
}
