/* Words of console statements: white space, comments, two kinds of quotes, ';'. */

#include "proxy/admin/admin_parse.h"

#include <string.h>
#include <strings.h>

static int is_space(uint8_t ch)
{
    return ch == ' ' || (ch >= '\t' && ch <= '\r');
}

static int ends_word(uint8_t ch)
{
    return is_space(ch) || ch == ';' || ch == '\'' || ch == '"' || ch == '=' || ch == ',' ||
           ch == 0;
}

/* White space and comments. */
static enum err skip_blank(struct slice *sql, struct note *note)
{
    while (sql->n > 0) {
        if (is_space(sql->p[0]) || sql->p[0] == 0) {
            *sql = slice_from(*sql, 1);
        } else if (sql->n >= 2 && memcmp(sql->p, "--", 2) == 0) {
            const uint8_t *end = memchr(sql->p, '\n', sql->n);
            *sql = slice_from(*sql, end == NULL ? sql->n : (size_t)(end - sql->p));
        } else if (sql->n >= 2 && memcmp(sql->p, "/*", 2) == 0) {
            const uint8_t *end = memmem(sql->p + 2, sql->n - 2, "*/", 2);
            if (end == NULL) {
                return note_set(note, ERR_SYNTAX, "unterminated comment");
            }
            *sql = slice_from(*sql, (size_t)(end + 2 - sql->p));
        } else {
            break;
        }
    }
    return ERR_NONE;
}

static enum err quoted_word(struct slice *sql, struct arena *arena, const char **out,
                            struct note *note)
{
    uint8_t quote = sql->p[0];
    char *text = arena_alloc(arena, sql->n);
    size_t n = 0;
    for (size_t i = 1; i < sql->n; i++) {
        if (sql->p[i] != quote) {
            text[n++] = (char)sql->p[i];
        } else if (i + 1 < sql->n && sql->p[i + 1] == quote) {
            text[n++] = (char)quote;
            i++;
        } else {
            text[n] = '\0';
            *out = text;
            *sql = slice_from(*sql, i + 1);
            return ERR_NONE;
        }
    }
    return note_set(note, ERR_SYNTAX, "unterminated quoted text");
}

static enum err next_word(struct slice *sql, struct arena *arena, const char **out,
                          struct note *note)
{
    if (sql->p[0] == '\'' || sql->p[0] == '"') {
        return quoted_word(sql, arena, out, note);
    }
    size_t n = 1;
    if (sql->p[0] != '=' && sql->p[0] != ',') {
        while (n < sql->n && !ends_word(sql->p[n])) {
            n++;
        }
    }
    *out = arena_strndup(arena, sql->p, n);
    *sql = slice_from(*sql, n);
    return ERR_NONE;
}

enum err admin_next(struct slice *sql, struct arena *arena, struct admin_statement *out, int *found,
                    struct note *note)
{
    out->count = 0;
    *found = 0;
    for (;;) {
        enum err e = skip_blank(sql, note);
        if (e) {
            return e;
        }
        int at_end = sql->n == 0 || sql->p[0] == ';';
        if (sql->n > 0 && at_end) {
            *sql = slice_from(*sql, 1);
        }
        if (at_end && (out->count > 0 || sql->n == 0)) {
            *found = out->count > 0;
            return ERR_NONE;
        }
        if (at_end) {
            continue;
        }
        const char *word = NULL;
        e = next_word(sql, arena, &word, note);
        if (e) {
            return e;
        }
        if (out->count <
            ADMIN_WORDS_MAX) { /* no command has so many; what it is, is told by those */
            out->words[out->count++] = word;
        }
    }
}

size_t admin_begins(const struct admin_statement *s, const char *command)
{
    size_t count = 0;
    while (*command != '\0') {
        size_t n = strcspn(command, " ");
        if (count == s->count || strlen(s->words[count]) != n ||
            strncasecmp(s->words[count], command, n) != 0) {
            return 0;
        }
        count++;
        command += n;
        command += strspn(command, " ");
    }
    return count;
}
