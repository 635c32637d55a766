/*
 * A record as a line: key=value behind a readable head, or one JSON object. Whatever bytes a value
 * holds, a line stays one line; a line that would be too long is cut in a value and says so.
 */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/log.h"
#include "base/utf8.h"

enum {
    TAIL_BYTES = 24 /* kept free for the end of a cut line */
};

static const char *const level_words[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
static const char *const level_names[] = {"debug", "info", "warn", "error"};

static void (*const renderers[])(const struct log_record *, struct log_line *) = {
    [LOG_FORMAT_LOGFMT] = log_render_logfmt,
    [LOG_FORMAT_JSON] = log_render_json,
    [LOG_FORMAT_PGBOUNCER] = log_render_pgbouncer};

static_assert(sizeof(renderers) / sizeof(renderers[0]) == LOG_FORMAT_COUNT, "one per format");

void log_render(enum log_format format, const struct log_record *record, struct log_line *out)
{
    check(format < LOG_FORMAT_COUNT);
    out->n = 0;
    renderers[format](record, out);
    check(out->n > 0 && out->n <= sizeof(out->p) && out->p[out->n - 1] == '\n');
}

/* 1 when all of it went in. */
static int put(struct log_line *out, const char *text, size_t n)
{
    if (n > sizeof(out->p) - TAIL_BYTES - out->n) {
        return 0;
    }
    memcpy(out->p + out->n, text, n);
    out->n += n;
    return 1;
}

static void put_tail(struct log_line *out, const char *text)
{
    size_t n = strlen(text);
    check(n <= sizeof(out->p) - out->n);
    memcpy(out->p + out->n, text, n);
    out->n += n;
}

static void put_time(struct log_line *out, int64_t wall_us, char between, const char *zone)
{
    char text[64];
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    (void)gmtime_r(&seconds, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    text[10] = between;
    n += (size_t)snprintf(text + n, sizeof(text) - n, ".%06d%s", (int)(wall_us % 1000000), zone);
    (void)put(out, text, n);
}

/* Text between double quotes, both formats alike. 1 when all of it went in. */
static int put_escaped(struct log_line *out, struct slice v)
{
    for (size_t i = 0; i < v.n;) {
        char code[8];
        uint8_t c = v.p[i];
        size_t n = utf8_char_bytes(v.p + i, v.n - i);
        int done = 0;
        if (n == 0) {
            done = put(out, "\\ufffd", 6);
            n = 1;
        } else if (c == '"' || c == '\\') {
            code[0] = '\\';
            code[1] = (char)c;
            done = put(out, code, 2);
        } else if (c == '\n' || c == '\t' || c == '\r') {
            done = put(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r", 2);
        } else if (c < ' ' || c == 0x7F) {
            (void)snprintf(code, sizeof(code), "\\u%04x", c);
            done = put(out, code, 6);
        } else {
            done = put(out, (const char *)v.p + i, n);
        }
        if (!done) {
            return 0;
        }
        i += n;
    }
    return 1;
}

/* ---- logfmt ---------------------------------------------------------------------------------- */

static int needs_quotes(struct slice v)
{
    for (size_t i = 0; i < v.n; i++) {
        uint8_t c = v.p[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7F) {
            return 1;
        }
    }
    return 0;
}

void log_render_logfmt(const struct log_record *r, struct log_line *out)
{
    char head[80];
    put_time(out, r->wall_us, ' ', " UTC");
    int n = snprintf(head, sizeof(head), " [%d] %s %s", r->pid, level_words[log_level_of(r->id)],
                     log_name(r->id));
    (void)put(out, head, (size_t)n);
    int whole = 1;
    for (size_t i = 0; i < r->fields_count && whole; i++) {
        const struct log_field *f = &r->fields[i];
        size_t before = out->n;
        int quotes = needs_quotes(f->value);
        whole = put(out, " ", 1) && put(out, (const char *)f->key.p, f->key.n) &&
                put(out, quotes ? "=\"" : "=", quotes ? 2 : 1);
        if (!whole) {
            out->n = before;
        } else if (quotes) {
            whole = put_escaped(out, f->value);
            put_tail(out, "\"");
        } else {
            whole = put(out, (const char *)f->value.p, f->value.n);
            out->n = whole ? out->n : before;
        }
    }
    put_tail(out, whole ? "\n" : " cut=true\n");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static int put_pair(struct log_line *out, const struct log_field *f)
{
    size_t before = out->n;
    int whole = put(out, ",\"", 2) && put_escaped(out, f->key) &&
                put(out, f->is_number ? "\":" : "\":\"", f->is_number ? 2 : 3);
    if (!whole) {
        out->n = before;
        return 0;
    }
    if (f->is_number) {
        whole = put(out, (const char *)f->value.p, f->value.n);
        out->n = whole ? out->n : before;
        return whole;
    }
    whole = put_escaped(out, f->value);
    put_tail(out, "\"");
    return whole;
}

void log_render_json(const struct log_record *r, struct log_line *out)
{
    char head[120];
    (void)put(out, "{\"time\":\"", 9);
    put_time(out, r->wall_us, 'T', "Z");
    int n = snprintf(head, sizeof(head), "\",\"pid\":%d,\"level\":\"%s\",\"event\":\"%s\"", r->pid,
                     level_names[log_level_of(r->id)], log_name(r->id));
    (void)put(out, head, (size_t)n);
    int whole = 1;
    for (size_t i = 0; i < r->fields_count && whole; i++) {
        whole = put_pair(out, &r->fields[i]);
    }
    put_tail(out, whole ? "}\n" : ",\"cut\":true}\n");
}
