/*
 * Rows of COPY data in text and CSV format.
 *
 *     _in:   | given out ... | row in work ............ | not looked at ... |
 *                            ^ _start                   ^ _scan             ^ n
 *
 * Only a few bytes mean anything here: line ends and the backslash in text; line ends, quote and
 * escape in CSV. For each of them the place of the next one is kept (_next), so the long stretches
 * between are passed by memchr() once, however the data is cut into chunks.
 */

#include "wire/copytext.h"

#include <string.h>

#include "base/check.h"
#include "wire/copy_inner.h"

enum {
    EOL_UNKNOWN,
    EOL_NL,
    EOL_CR,
    EOL_CRNL,
    ROW_BYTES_MAX = 0x3fffffff, /* the longest line a server takes */
};

/* Places in _special. */
enum {
    AT_NL,
    AT_CR,
    AT_BACKSLASH, /* text */
    AT_QUOTE = AT_BACKSLASH,
    AT_ESCAPE /* CSV */
};

enum found {
    FOUND_FAILURE,
    FOUND_MORE, /* more bytes are needed */
    FOUND_ROW,
    FOUND_END,    /* an end marker */
    FOUND_NOTHING /* no end marker after all */
};

struct copy_options copy_options_default(enum copy_format format)
{
    struct copy_options o = {
        .format = format,
        .delimiter = format == COPY_CSV ? ',' : '\t',
        .quote = '"',
        .escape = '"',
        .csv_end_marker = 1,
        .null_text = format == COPY_CSV ? SLICE("") : SLICE("\\N"),
        .row_bytes_max = ROW_BYTES_MAX,
    };
    return o;
}

static int is_eol(uint8_t c)
{
    return c == '\n' || c == '\r';
}

static int holds(struct slice s, uint8_t c)
{
    return s.n != 0 && memchr(s.p, c, s.n) != NULL;
}

static enum err refuse(struct note *note, const char *what)
{
    return note_set(note, ERR_BAD_SETTING, "%s", what);
}

enum err copy_options_check(const struct copy_options *o, struct note *note)
{
    static const char no_delimiters[] = "\\.abcdefghijklmnopqrstuvwxyz0123456789";
    if (o->format == COPY_BINARY) {
        return o->has_header ? refuse(note, "cannot specify HEADER in BINARY mode") : ERR_NONE;
    }
    if (is_eol(o->delimiter) || o->delimiter == 0) {
        return refuse(note, "COPY delimiter cannot be newline or carriage return");
    }
    if (holds(o->null_text, '\n') || holds(o->null_text, '\r')) {
        return refuse(note, "COPY null representation cannot use newline or carriage return");
    }
    if (o->format == COPY_TEXT && strchr(no_delimiters, o->delimiter) != NULL) {
        return note_set(note, ERR_BAD_SETTING, "COPY delimiter cannot be \"%c\"", o->delimiter);
    }
    if (holds(o->null_text, o->delimiter)) {
        return note_set(note, ERR_UNSUPPORTED,
                        "COPY delimiter must not appear in the NULL specification");
    }
    if (o->format == COPY_TEXT) {
        return ERR_NONE;
    }
    if (o->delimiter == o->quote) {
        return refuse(note, "COPY delimiter and quote must be different");
    }
    if (holds(o->null_text, o->quote)) {
        return note_set(note, ERR_UNSUPPORTED,
                        "CSV quote character must not appear in the NULL specification");
    }
    if (is_eol(o->quote) || is_eol(o->escape) || o->quote == 0 || o->escape == 0) {
        return refuse(note, "COPY quote and escape cannot be newline or carriage return");
    }
    return ERR_NONE;
}

void copy_split_init(struct copy_split *s, const struct copy_options *checked)
{
    *s = (struct copy_split){.options = *checked, ._special = {'\n', '\r', '\\'}};
    s->_special_count = 3;
    if (checked->format == COPY_CSV) {
        s->_special[AT_QUOTE] = checked->quote;
        s->_special[AT_ESCAPE] = checked->escape;
        s->_special_count = 4;
    }
}

void copy_split_free(struct copy_split *s)
{
    buf_free(&s->_in);
}

void copy_split_feed(struct copy_split *s, struct slice chunk)
{
    check(!s->_ended);
    int drop = s->error != ERR_NONE ||
               (s->_done && s->options.format != COPY_BINARY); /* as the server does */
    if (drop) {
        return;
    }
    size_t gone = s->_start;
    buf_drop(&s->_in, gone);
    s->_start = 0;
    s->_scan -= gone;
    for (size_t i = 0; i < s->_special_count; i++) {
        s->_next[i] = s->_next[i] > gone ? s->_next[i] - gone : 0;
    }
    buf_add_slice(&s->_in, chunk);
}

void copy_split_end(struct copy_split *s)
{
    s->_ended = 1;
}

int copy_fail(struct copy_split *s, struct note *note, enum err e, const char *what)
{
    s->error = e;
    (void)note_set(note, e, "%s (COPY, line %llu)", what, (unsigned long long)s->lines + 1);
    return -1;
}

static enum found fail(struct copy_split *s, struct note *note, const char *what)
{
    (void)copy_fail(s, note, ERR_BAD_COPY, what);
    return FOUND_FAILURE;
}

/* Place of the next special byte of that kind at or behind `from`, or n. */
static size_t next_of(struct copy_split *s, size_t kind, size_t from)
{
    size_t at = s->_next[kind] < from ? from : s->_next[kind];
    uint8_t c = s->_special[kind];
    if (at < s->_in.n && s->_in.p[at] != c) {
        const uint8_t *hit = memchr(s->_in.p + at, c, s->_in.n - at);
        at = hit == NULL ? s->_in.n : (size_t)(hit - s->_in.p);
    }
    s->_next[kind] = at;
    return at;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The byte at `at`; 0 behind the end of all data, -1 when it is not there yet. */
static int peek(const struct copy_split *s, size_t at)
{
    if (at < s->_in.n) {
        return s->_in.p[at];
    }
    return s->_ended ? 0 : -1;
}

static enum found end_of_row(struct copy_split *s, size_t eol, size_t eol_bytes,
                             struct copy_row *out)
{
    out->line = (struct slice){s->_in.p + s->_start, eol - s->_start};
    out->bytes = (struct slice){out->line.p, out->line.n + eol_bytes};
    s->_scan = eol + eol_bytes;
    return FOUND_ROW;
}

/* A line end at `at`; once its style is known, the others are errors. */
static enum found at_eol(struct copy_split *s, size_t at, struct copy_row *out, struct note *note)
{
    int csv = s->options.format == COPY_CSV;
    if (s->_in.p[at] == '\n') {
        if (s->_eol == EOL_CR || s->_eol == EOL_CRNL) {
            return fail(s, note,
                        csv ? "unquoted newline found in data" : "literal newline found in data");
        }
        s->_eol = EOL_NL;
        return end_of_row(s, at, 1, out);
    }
    int next = s->_eol == EOL_CR || s->_eol == EOL_NL ? 0 : peek(s, at + 1);
    if (next < 0) {
        return FOUND_MORE;
    }
    if (next == '\n') {
        s->_eol = EOL_CRNL;
        return end_of_row(s, at, 2, out);
    }
    if (s->_eol == EOL_CRNL || s->_eol == EOL_NL) {
        return fail(s, note,
                    csv ? "unquoted carriage return found in data"
                        : "literal carriage return found in data");
    }
    s->_eol = EOL_CR;
    return end_of_row(s, at, 1, out);
}

/* Behind "\." at `at`: a line end in the style of the lines before makes it the end marker. */
static enum found at_marker(struct copy_split *s, size_t at, struct note *note)
{
    int csv = s->options.format == COPY_CSV;
    const char *mismatch = "end-of-copy marker does not match previous newline style";
    const char *corrupt = "end-of-copy marker corrupt";
    size_t i = at + 2;
    if (s->_eol == EOL_CRNL) {
        int c = peek(s, i++);
        if (c < 0) {
            return FOUND_MORE;
        }
        if (c != '\r') {
            return csv ? FOUND_NOTHING : fail(s, note, c == '\n' ? mismatch : corrupt);
        }
    }
    int c = peek(s, i);
    if (c < 0) {
        return FOUND_MORE;
    }
    if (c != '\r' && c != '\n') {
        return csv ? FOUND_NOTHING : fail(s, note, corrupt);
    }
    int wanted = s->_eol == EOL_UNKNOWN ? c : s->_eol == EOL_CR ? '\r' : '\n';
    if (c != wanted) {
        return fail(s, note, mismatch);
    }
    if (at != s->_start) { /* servers before 18 take what stands before it as a row */
        return fail(s, note, "end-of-copy marker is not alone on its line");
    }
    return FOUND_END;
}

static enum found find_text(struct copy_split *s, struct copy_row *out, struct note *note)
{
    for (;;) {
        size_t eol = least(next_of(s, AT_NL, s->_scan), next_of(s, AT_CR, s->_scan));
        size_t backslash = next_of(s, AT_BACKSLASH, s->_scan);
        if (eol < backslash) {
            s->_scan = eol;
            return at_eol(s, eol, out, note);
        }
        s->_scan = backslash;
        if (backslash == s->_in.n) {
            return FOUND_MORE;
        }
        int next = peek(s, backslash + 1);
        if (next < 0) {
            return FOUND_MORE;
        }
        if (next == '.' && backslash + 1 < s->_in.n) {
            return at_marker(s, backslash, note);
        }
        s->_scan = least(backslash + 2, s->_in.n); /* whatever it is, even a line end */
    }
}

/* Inside quotes: find where they close. FOUND_NOTHING when they did. */
static enum found find_quote_end(struct copy_split *s)
{
    uint8_t quote = s->options.quote;
    uint8_t escape = s->options.escape;
    for (;;) {
        size_t at = next_of(s, AT_QUOTE, s->_scan);
        if (escape != quote) {
            at = least(at, next_of(s, AT_ESCAPE, s->_scan));
        }
        s->_scan = at;
        if (at == s->_in.n) {
            return FOUND_MORE;
        }
        if (s->_in.p[at] == quote) {
            s->_scan = at + 1;
            s->_in_quote = 0;
            return FOUND_NOTHING;
        }
        int next = peek(s, at + 1);
        if (next < 0) {
            return FOUND_MORE;
        }
        int escaped = at + 1 < s->_in.n && (next == quote || next == escape);
        s->_scan = at + (escaped ? 2 : 1);
    }
}

/* A row that begins with a backslash may be the end marker. */
static enum found look_for_csv_marker(struct copy_split *s, struct note *note)
{
    if (s->_start == s->_in.n) {
        return FOUND_MORE;
    }
    if (s->options.csv_end_marker && s->_in.p[s->_start] == '\\') {
        int next = peek(s, s->_start + 1);
        if (next < 0) {
            return FOUND_MORE;
        }
        if (next == '.') {
            enum found found = at_marker(s, s->_start, note);
            if (found != FOUND_NOTHING) {
                return found;
            }
        }
    }
    s->_looked = 1;
    return FOUND_NOTHING;
}

static enum found find_csv(struct copy_split *s, struct copy_row *out, struct note *note)
{
    if (!s->_looked) {
        enum found found = look_for_csv_marker(s, note);
        if (found != FOUND_NOTHING) {
            return found;
        }
    }
    for (;;) {
        if (s->_in_quote && find_quote_end(s) == FOUND_MORE) {
            return FOUND_MORE;
        }
        size_t eol = least(next_of(s, AT_NL, s->_scan), next_of(s, AT_CR, s->_scan));
        size_t quote = next_of(s, AT_QUOTE, s->_scan);
        if (eol < quote) {
            s->_scan = eol;
            return at_eol(s, eol, out, note);
        }
        s->_scan = quote;
        if (quote == s->_in.n) {
            return FOUND_MORE;
        }
        s->_scan = quote + 1;
        s->_in_quote = 1;
        s->_had_quote = 1;
    }
}

/* Line ends inside quotes count as lines. */
static uint64_t count_lines(const struct copy_split *s, struct slice line)
{
    uint8_t eol = s->_eol == EOL_CR ? '\r' : '\n';
    uint64_t n = 1;
    while (line.n != 0) {
        const uint8_t *hit = memchr(line.p, eol, line.n);
        if (hit == NULL) {
            break;
        }
        n++;
        line = slice_from(line, (size_t)(hit - line.p) + 1);
    }
    return n;
}

static int give_row(struct copy_split *s, struct copy_row *out, struct note *note)
{
    if (out->bytes.n > s->options.row_bytes_max) {
        return copy_fail(s, note, ERR_TOO_BIG, "row is too long");
    }
    out->number = s->lines + 1;
    out->is_header = s->options.has_header && !s->_begun;
    s->lines += s->_had_quote ? count_lines(s, out->line) : 1;
    s->rows += !out->is_header;
    s->_begun = 1;
    s->_start = s->_scan;
    s->_had_quote = 0;
    s->_looked = 0;
    return 1;
}

/* All that is there was looked at and the row has no end yet. */
static int give_rest(struct copy_split *s, struct copy_row *out, struct note *note)
{
    size_t n = s->_in.n - s->_start;
    if (n > s->options.row_bytes_max) {
        return copy_fail(s, note, ERR_TOO_BIG, "row is too long");
    }
    if (!s->_ended || n == 0) {
        return 0;
    }
    int is_header = s->options.has_header && !s->_begun; /* nobody reads its fields */
    if (s->_in_quote && !is_header) {
        return copy_fail(s, note, ERR_BAD_COPY, "unterminated CSV quoted field");
    }
    (void)end_of_row(s, s->_in.n, 0, out);
    return give_row(s, out, note);
}

int copy_split_next(struct copy_split *s, struct copy_row *out, struct note *note)
{
    if (s->error != ERR_NONE) {
        return copy_fail(s, note, s->error, "COPY failed before");
    }
    if (s->options.format == COPY_BINARY) {
        return copy_next_binary(s, out, note);
    }
    if (s->_done) {
        return 0;
    }
    enum found found =
        s->options.format == COPY_CSV ? find_csv(s, out, note) : find_text(s, out, note);
    switch (found) {
    case FOUND_ROW: return give_row(s, out, note);
    case FOUND_MORE: return give_rest(s, out, note);
    case FOUND_FAILURE: return -1;
    case FOUND_END:
    case FOUND_NOTHING: break;
    }
    check(found == FOUND_END);
    s->_done = 1;
    s->_start = s->_in.n;
    s->_scan = s->_in.n;
    return 0;
}
