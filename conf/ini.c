/*
 * The reader of the ini language; see ini.h. Source: pgbouncer.ini(5) of PgBouncer 1.18 and 1.25.
 *
 * An included file is read where its line stands, so a section goes on behind the include as the
 * included file left it. Lines are numbered through over all files; the reader's places say where a
 * number stands, so that a message names the file that has to be changed.
 */

#include "conf/ini.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/check.h"

struct ini_reader {
    struct reader *r;
    struct ini *out;
    const char *section; /* NULL: none yet */
    int line;            /* of all files together */
    size_t depth;
    size_t files;
};

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static const char *skip_blanks(const char *p)
{
    while (is_blank(*p)) {
        p++;
    }
    return p;
}

/* A copy without blanks at the end. */
static char *trimmed(struct reader *r, const char *p, size_t n)
{
    while (n > 0 && is_blank(p[n - 1])) {
        n--;
    }
    return arena_strndup(&r->scratch, p, n);
}

/* From here on lines stand in `file`, the next one being `file_line`. */
static void add_place(struct ini_reader *in, const char *file, int file_line)
{
    struct reader *r = in->r;
    struct place *place = arena_zero(&r->scratch, sizeof(*place));
    *place = (struct place){
        .line = in->line + 1, .file = file, .file_line = file_line, .before = r->places};
    r->places = place;
}

/* ---- one line -------------------------------------------------------------------------------- */

static enum err read_section(struct ini_reader *in, const char *p)
{
    const char *end = strchr(p, ']');
    if (end == NULL || *skip_blanks(end + 1) != '\0') {
        return bad(in->r, in->line, "%s is no section; write it as [databases]",
                   shown(in->r, p - 1));
    }
    p = skip_blanks(p);
    in->section = trimmed(in->r, p, p < end ? (size_t)(end - p) : 0);
    return ERR_NONE;
}

/* "a ""quoted"" key"; `p` is behind the first quote. */
static const char *read_quoted_key(struct ini_reader *in, const char *p, const char **key)
{
    char *text = arena_alloc(&in->r->scratch, strlen(p) + 1);
    size_t n = 0;
    while (*p != '\0' && (*p != '"' || p[1] == '"')) {
        p += *p == '"';
        text[n++] = *p++;
    }
    text[n] = '\0';
    *key = text;
    return *p == '"' ? p + 1 : NULL;
}

/* What is shown of a broken line: further words may be a password. */
static const char *first_word(struct reader *r, const char *p)
{
    return arena_strndup(&r->scratch, p, strcspn(p, " \t\r\n\v\f"));
}

static enum err read_entry(struct ini_reader *in, const char *p)
{
    const char *key = NULL;
    const char *begin = p;
    if (*p == '"') {
        p = read_quoted_key(in, p + 1, &key);
    } else {
        while (isalnum((unsigned char)*p) || (*p != '\0' && strchr("_.-*", *p) != NULL)) {
            p++;
        }
        key = arena_strndup(&in->r->scratch, begin, (size_t)(p - begin));
    }
    p = p == NULL ? NULL : skip_blanks(p);
    if (p == NULL || key[0] == '\0' || *p != '=') {
        return bad(in->r, in->line,
                   "%s is no setting; write key = value, other names than of letters, digits, _ . "
                   "- in double quotes",
                   shown(in->r, first_word(in->r, begin)));
    }
    if (in->section == NULL) {
        return bad(in->r, in->line,
                   "%s stands in front of the first section; write [pgbouncer] "
                   "above it",
                   shown(in->r, key));
    }
    if (in->out->count == INI_ENTRIES_MAX) {
        return bad(in->r, in->line, "more than %d settings; use fewer", INI_ENTRIES_MAX);
    }
    p = skip_blanks(p + 1);
    struct ini_entry *e = arena_zero(&in->r->scratch, sizeof(*e));
    *e = (struct ini_entry){.section = in->section,
                            .key = key,
                            .value = trimmed(in->r, p, strlen(p)),
                            .line = in->line};
    if (in->out->last == NULL) {
        in->out->first = e;
    } else {
        in->out->last->next = e;
    }
    in->out->last = e;
    in->out->count++;
    return ERR_NONE;
}

/* ---- files ----------------------------------------------------------------------------------- */

static enum err read_file(struct ini_reader *in, const uint8_t *p, size_t n, const char *file);

/* NOLINTNEXTLINE(misc-no-recursion): as deep as INI_INCLUDES_MAX */
static enum err read_include(struct ini_reader *in, const char *p, const char *file, int file_line)
{
    const char *path = trimmed(in->r, p, strlen(p));
    if (path[0] == '\0') {
        return bad(in->r, in->line, "%%include names no file; write %%include FILE");
    }
    if (in->depth == INI_INCLUDES_MAX) {
        return bad(in->r, in->line,
                   "files are included more than %d deep; does one include itself?",
                   INI_INCLUDES_MAX);
    }
    if (++in->files > INI_FILES_MAX) {
        return bad(in->r, in->line, "more than %d files are included; use fewer", INI_FILES_MAX);
    }
    struct buf bytes = {0};
    int failed = in->r->load == NULL ? ENOENT : in->r->load(path, &bytes);
    enum err e = ERR_NONE;
    if (failed != 0) {
        e = bad(in->r, in->line, "%%include: cannot read %s: %s; name a file that exists",
                shown(in->r, path), strerrordesc_np(failed));
    } else {
        in->depth++;
        e = read_file(in, bytes.p, bytes.n, path);
        in->depth--;
        add_place(in, file, file_line + 1);
    }
    if (bytes.p != NULL) {
        explicit_bzero(bytes.p, bytes.cap); /* passwords */
    }
    buf_free(&bytes);
    return e;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as INI_INCLUDES_MAX */
static enum err read_line(struct ini_reader *in, const char *line, const char *file, int file_line)
{
    const char *p = skip_blanks(line);
    if (*p == '\0' || *p == ';' || *p == '#') {
        return ERR_NONE;
    }
    if (*p == '[') {
        return read_section(in, p + 1);
    }
    static const char include[] = "%include";
    if (strncmp(p, include, sizeof(include) - 1) == 0 &&
        (p[sizeof(include) - 1] == '\0' || is_blank(p[sizeof(include) - 1]))) {
        return read_include(in, skip_blanks(p + sizeof(include) - 1), file, file_line);
    }
    return read_entry(in, p);
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as INI_INCLUDES_MAX */
static enum err read_file(struct ini_reader *in, const uint8_t *p, size_t n, const char *file)
{
    if (n > CONF_FILE_BYTES_MAX) {
        return bad(in->r, in->line, "%s is larger than 16 MiB; a configuration is smaller",
                   shown(in->r, file));
    }
    add_place(in, file, 1);
    if (n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) {
        p += 3;
        n -= 3;
    }
    const uint8_t *end = p + n;
    enum err e = ERR_NONE;
    for (int file_line = 1; p < end && e == ERR_NONE; file_line++) {
        const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
        const uint8_t *line_end = newline == NULL ? end : newline;
        in->line++;
        if (memchr(p, 0, (size_t)(line_end - p)) != NULL) {
            return bad(in->r, in->line, "the line holds a zero byte; remove it");
        }
        char *line = arena_strndup(&in->r->scratch, p, (size_t)(line_end - p));
        e = read_line(in, line, file, file_line);
        p = newline == NULL ? end : newline + 1;
    }
    return e;
}

enum err ini_read(struct reader *r, const void *p, size_t n, struct ini *out)
{
    struct ini_reader in = {.r = r, .out = out};
    *out = (struct ini){0};
    r->places_of = r->file;
    enum err e = read_file(&in, p, n, r->file);
    check(in.depth == 0);
    return e;
}

/* ---- connection strings -----------------------------------------------------------------------
 */

/* A value in single quotes; `p` is behind the first one. NULL: it does not end. */
static const char *unquote(struct reader *r, const char *p, const char **value)
{
    char *text = arena_alloc(&r->scratch, strlen(p) + 1);
    size_t n = 0;
    while (*p != '\0' && (*p != '\'' || p[1] == '\'')) {
        p += *p == '\'';
        text[n++] = *p++;
    }
    text[n] = '\0';
    *value = text;
    return *p == '\'' ? p + 1 : NULL;
}

enum err ini_pair(struct reader *r, int line, const char *what, const char **at,
                  struct ini_pair *out, int *more)
{
    const char *p = skip_blanks(*at);
    *more = *p != '\0';
    if (!*more) {
        return ERR_NONE;
    }
    const char *begin = p;
    while (*p != '\0' && *p != '=' && !is_blank(*p)) {
        p++;
    }
    out->key = arena_strndup(&r->scratch, begin, (size_t)(p - begin));
    p = skip_blanks(p);
    if (*p != '=' || out->key[0] == '\0') {
        /* The text may be a password with a blank in it: it is not shown. */
        return bad(r, line,
                   "%s: a word has no value; write key=value, and values with blanks in "
                   "single quotes",
                   what);
    }
    p = skip_blanks(p + 1);
    if (*p == '\'') {
        p = unquote(r, p + 1, &out->value);
        if (p == NULL || (*p != '\0' && !is_blank(*p))) {
            return bad(r, line,
                       "%s: the quoted value of %s does not end; a quote inside is "
                       "written ''",
                       what, shown(r, out->key));
        }
    } else {
        begin = p;
        while (*p != '\0' && !is_blank(*p)) {
            p++;
        }
        out->value = arena_strndup(&r->scratch, begin, (size_t)(p - begin));
    }
    *at = p;
    return ERR_NONE;
}
