/*
 * Lines of the rules and maps files into words. Regular expressions.
 *
 * A line is cut at blanks into fields and a field at commas into words; # begins a comment. Nothing
 * here knows what a word means.
 */

#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "conf/hba_in.h"

enum {
    WORDS_MAX = 65536, /* of a line, with the files it names */
    FILES_DEPTH_MAX = 8,
    REGEX_BYTES_MAX = 512,
    REGEX_REPEATS_MAX = 1000,
    REGEX_TEXT_MAX = 1024 /* longer names match no expression: its work is bounded */
};

/* ---- one word -------------------------------------------------------------------------------- */

static int is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct cursor {
    const uint8_t *p, *end;
};

/*
 * The next word. 0: the line (or the file of words) has ended.
 *   comma  1 when a comma stands behind it, so that the next word belongs to the same field
 */
static int next_word(struct reader *r, struct cursor *at, struct hba_word *out, int *comma)
{
    while (at->p < at->end && (is_blank(*at->p) || *at->p == ',')) {
        at->p++;
    }
    if (at->p == at->end || *at->p == '#') {
        at->p = at->end;
        return 0;
    }
    char *text = arena_alloc(&r->scratch, (size_t)(at->end - at->p) + 1);
    size_t n = 0;
    int inside = 0;
    out->quoted = *at->p == '"';
    for (; at->p < at->end; at->p++) {
        uint8_t c = *at->p;
        if (c == '"') {
            if (inside && at->p + 1 < at->end && at->p[1] == '"') {
                at->p++;
                text[n++] = '"';
            } else {
                inside = !inside;
            }
            continue;
        }
        if (!inside && (is_blank(c) || c == ',' || c == '#')) {
            break;
        }
        text[n++] = (char)c;
    }
    *comma = at->p < at->end && *at->p == ','; /* "a ,b" are two fields, as PostgreSQL has it */
    text[n] = '\0';
    out->text = text;
    return 1;
}

/* ---- one field ------------------------------------------------------------------------------- */

struct words {
    struct hba_word *p;
    size_t count, cap;
};

static enum err add_word(struct reader *r, struct words *list, struct hba_word word, int line)
{
    if (list->count == WORDS_MAX) {
        return bad(r, line, "the line has more than %d words; split it", WORDS_MAX);
    }
    if (list->count == list->cap) {
        list->cap = list->cap == 0 ? 16 : list->cap * 2;
        list->p = mem_grow(list->p, list->cap * sizeof(list->p[0]));
    }
    list->p[list->count++] = word;
    return ERR_NONE;
}

/* All words of the file that "@name" stands for. */
static enum err add_file(struct reader *r, struct words *list, const char *name, int line,
                         int depth)
{
    if (depth == FILES_DEPTH_MAX) {
        return bad(r, line, "@%s: files name each other more than %d deep; flatten them", name,
                   FILES_DEPTH_MAX);
    }
    const char *path = path_beside(&r->scratch, r->file, name);
    struct buf bytes = {0};
    int failed = file_read_all(path, &bytes);
    if (failed != 0) {
        buf_free(&bytes);
        return bad(r, line, "@%s: cannot read %s: %s; name a file with one name per line", name,
                   shown(r, path), strerrordesc_np(failed));
    }
    enum err e = ERR_NONE;
    const uint8_t *p = bytes.p;
    const uint8_t *end = bytes.p + bytes.n;
    while (p < end && e == ERR_NONE) {
        const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
        struct cursor at = {p, newline == NULL ? end : newline};
        struct hba_word word;
        int comma = 0;
        while (e == ERR_NONE && next_word(r, &at, &word, &comma)) {
            e = word.text[0] == '@' && !word.quoted && word.text[1] != '\0'
                    ? add_file(r, list, word.text + 1, line, depth + 1)
                    : add_word(r, list, word, line);
        }
        p = newline == NULL ? end : newline + 1;
    }
    buf_free(&bytes);
    return e;
}

/* The words of a line, field by field. */
static enum err read_fields_of(struct reader *r, struct cursor at, int files, struct hba_line *line,
                               struct words *words)
{
    size_t cap = 0;
    struct hba_field *fields = NULL;
    struct hba_word word;
    int comma = 0;
    int joined = 0; /* a comma stood before this word */
    enum err e = ERR_NONE;
    while (e == ERR_NONE && next_word(r, &at, &word, &comma)) {
        if (!joined) {
            if (line->count == cap) {
                cap = cap == 0 ? 8 : cap * 2;
                fields = mem_grow(fields, cap * sizeof(fields[0]));
            }
            fields[line->count++] = (struct hba_field){0};
        }
        size_t before = words->count;
        if (files && word.text[0] == '@' && !word.quoted && word.text[1] != '\0') {
            e = add_file(r, words, word.text + 1, line->number, 0);
        } else {
            e = add_word(r, words, word, line->number);
        }
        fields[line->count - 1].count += words->count - before;
        joined = comma;
    }
    line->fields = arena_alloc(&r->scratch, (line->count + 1) * sizeof(fields[0]));
    struct hba_word *kept = arena_alloc(&r->scratch, (words->count + 1) * sizeof(kept[0]));
    if (line->count != 0) {
        memcpy(line->fields, fields, line->count * sizeof(fields[0]));
    }
    if (words->count != 0) {
        memcpy(kept, words->p, words->count * sizeof(kept[0]));
    }
    for (size_t i = 0; i < line->count; i++) {
        line->fields[i].words = kept;
        kept += line->fields[i].count;
    }
    mem_free(fields);
    return e;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* Append a line as written to `out`; 1 when it ends in a backslash and the next one belongs to it.
 */
static int add_line(struct buf *out, const uint8_t *p, const uint8_t *end)
{
    while (end > p && end[-1] == '\r') {
        end--;
    }
    int goes_on = end > p && end[-1] == '\\';
    buf_add(out, p, (size_t)(end - p) - (size_t)goes_on);
    return goes_on;
}

static enum err one_line(struct reader *r, const struct buf *text, int number, int files,
                         hba_line_fn *fn, void *arg)
{
    if (text->n != 0 && memchr(text->p, 0, text->n) != NULL) {
        return bad(r, number, "the line holds a zero byte; remove it");
    }
    struct hba_line line = {.number = number};
    struct words words = {0};
    struct cursor at = {text->p, text->p + text->n};
    enum err e = read_fields_of(r, at, files, &line, &words);
    mem_free(words.p);
    return e || line.count == 0 ? e : fn(r, &line, arg);
}

enum err hba_lines(struct reader *r, const void *p, size_t n, int files, hba_line_fn *fn, void *arg)
{
    const uint8_t *at = p;
    const uint8_t *end = at + n;
    struct buf text = {0};
    enum err e = ERR_NONE;
    if (n > CONF_FILE_BYTES_MAX) {
        return bad(r, 1, "the file is larger than 16 MiB; such a file is smaller");
    }
    buf_reserve(&text, 256); /* p is never NULL afterwards */
    for (int number = 1; at < end && e == ERR_NONE; number++) {
        int first = number;
        int goes_on = 1;
        text.n = 0;
        while (goes_on && at < end) {
            const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
            goes_on = add_line(&text, at, newline == NULL ? end : newline);
            at = newline == NULL ? end : newline + 1;
            number += goes_on && at < end;
        }
        e = one_line(r, &text, first, files, fn, arg);
    }
    buf_free(&text);
    return e;
}

int hba_word_is(const struct hba_word *w, const char *keyword)
{
    return !w->quoted && strcmp(w->text, keyword) == 0;
}

/* ---- regular expressions --------------------------------------------------------------------- */

struct conf_regex {
    regex_t compiled;
    struct conf_regex *next;
};

/*
 * A bound such as {3,200} copies what it repeats, and + copies it once: multiplied, as if all stood
 * inside each other, they bound the size of what is compiled.
 */
static int is_small(const char *text)
{
    unsigned long size = 1;
    for (const char *p = text; *p != '\0' && size <= REGEX_REPEATS_MAX; p++) {
        if (*p == '+') {
            size *= 2;
        } else if (*p == '{') {
            const char *comma = p + 1 + strspn(p + 1, "0123456789");
            const char *last = *comma == ',' && comma[1] != '}' ? comma + 1 : p + 1;
            unsigned long most = strtoul(last, NULL, 10);
            size *= most > REGEX_REPEATS_MAX ? REGEX_REPEATS_MAX + 1 : (most > 1 ? most : 2);
        }
    }
    return size <= REGEX_REPEATS_MAX && strlen(text) <= REGEX_BYTES_MAX;
}

/* \d, \w, (?i) and the like mean something to PostgreSQL that POSIX does not know. */
static int is_posix(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\\') {
            p++;
            if (*p == '\0' || (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
                (*p >= 'A' && *p <= 'Z')) {
                return 0;
            }
        } else if ((*p == '(' && p[1] == '?') ||
                   (strchr("*+?}", *p) != NULL && p[1] != '\0' && strchr("*+?{", p[1]) != NULL)) {
            return 0; /* "a+?" is lazy there, and "a++" an error */
        }
    }
    return 1;
}

enum err regex_read(struct reader *r, int line, const char *text, const struct conf_regex **out)
{
    if (!is_posix(text)) {
        return bad(
            r, line,
            "the regular expression %s uses what is not POSIX extended; write [0-9] for \\d, "
            "[[:alnum:]_] for \\w",
            shown(r, text));
    }
    if (!is_small(text)) {
        return bad(r, line,
                   "the regular expression %s is too large; it may have %d bytes and repeat "
                   "things %d times, where + counts as 2",
                   shown(r, text), REGEX_BYTES_MAX, REGEX_REPEATS_MAX);
    }
    struct conf_regex *regex = mem_zero(sizeof(*regex));
    int failed = regcomp(&regex->compiled, text, REG_EXTENDED);
    if (failed != 0) {
        char why[128];
        (void)regerror(failed, &regex->compiled, why, sizeof(why));
        mem_free(regex);
        return bad(r, line, "the regular expression %s does not compile: %s", shown(r, text), why);
    }
    regex->next = r->conf->_regexes;
    r->conf->_regexes = regex;
    *out = regex;
    return ERR_NONE;
}

int regex_matches(const struct conf_regex *regex, const char *text, const char **first,
                  size_t *first_bytes)
{
    regmatch_t at[2];
    if (strlen(text) > REGEX_TEXT_MAX || regexec(&regex->compiled, text, 2, at, 0) != 0) {
        return 0;
    }
    if (first != NULL) {
        int found = regex->compiled.re_nsub >= 1 && at[1].rm_so >= 0;
        *first = found ? text + at[1].rm_so : NULL;
        *first_bytes = found ? (size_t)(at[1].rm_eo - at[1].rm_so) : 0;
    }
    return 1;
}

void regexes_free(struct conf *conf)
{
    while (conf->_regexes != NULL) {
        struct conf_regex *regex = conf->_regexes;
        conf->_regexes = regex->next;
        regfree(&regex->compiled);
        mem_free(regex);
    }
}
