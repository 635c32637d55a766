/*
 * PL/pgSQL as libpg_query reads it -> the SQL in it. The parser gives JSON; of that only this is
 * looked at:
 *     "PLpgSQL_stmt_..."   kinds of statements; those that make SQL at run time are no good
 *     "dynquery"           the same inside of OPEN, RETURN QUERY
 *     "query"              SQL: a statement, an expression, or "variable := expression"
 *     "varno", "target"    variables that are assigned to, by number; arguments come first; number
 *                          0 is not printed
 *     "refname"            names of variables
 * A statement that the parser knows and does not print shows in reach.c, which looks for the names
 * of sharded tables in all of the text.
 */

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "planner/reach.h"

struct json {
    const char *p, *end;
    struct arena *arena;
    char kind; /* of the statement whose first SQL is awaited: assign, return; else 0 */
};

/* The string at p, which stands behind its quote; 0: cut short or odd. */
static int read_string(struct json *j, const char **out)
{
    char *text = arena_alloc(j->arena, (size_t)(j->end - j->p) + 1), *to = text;
    for (; j->p < j->end && *j->p != '"'; j->p++) {
        if (*j->p != '\\') {
            *to++ = *j->p;
            continue;
        }
        j->p++;
        unsigned code = 0;
        static const char from[] = "bfnrt", plain[] = "\b\f\n\r\t";
        const char *at = j->p < j->end ? strchr(from, *j->p) : NULL;
        if (j->p < j->end && *j->p == 'u') {
            for (int i = 1; i <= 4; i++) {
                const char *digit = j->p + i < j->end ? strchr("0123456789abcdef", j->p[i]) : NULL;
                if (digit == NULL || j->p[i] == 0) {
                    return 0;
                }
                code = code << 4 | (unsigned)(digit - "0123456789abcdef");
            }
            if (code == 0 || code > 0x7F) {
                return 0; /* the printer escapes control characters, < and > only */
            }
            *to++ = (char)code;
            j->p += 4;
        } else if (at != NULL && *j->p != 0) {
            *to++ = plain[at - from];
        } else if (j->p < j->end) {
            *to++ = *j->p;
        }
    }
    *to = 0;
    *out = text;
    return j->p++ < j->end;
}

static int kind_is_known(const char *kind)
{
    static const char *const kinds[] = {
        "block", "assign", "if",      "case",         "loop",    "while",   "fori",      "fors",
        "forc",  "exit",   "return",  "return_next",  "raise",   "open",    "fetch",     "close",
        "call",  "assert", "getdiag", "return_query", "execsql", "perform", "foreach_a", NULL};
    for (size_t i = 0; kinds[i] != NULL; i++) {
        if (strcmp(kinds[i], kind) == 0) {
            return 1;
        }
    }
    return 0;
}

static void add_sql(struct plpgsql *out, struct arena *arena, const char *sql)
{
    if ((out->sql_count & (out->sql_count - 1)) == 0) {
        size_t cap = out->sql_count == 0 ? 1 : 2 * out->sql_count;
        const char **more = arena_zero(arena, cap * sizeof(*more));
        if (out->sql_count > 0) {
            memcpy(more, out->sql, out->sql_count * sizeof(*more));
        }
        out->sql = more;
    }
    out->sql[out->sql_count++] = sql;
}

/* The printer leaves zeros out: whether `word` stands before `end` from here. */
static int stands_before(const struct json *j, const char *word, const char *end)
{
    const char *at = strstr(j->p, word), *stop = strstr(j->p, end);
    return at != NULL && (stop == NULL || at < stop);
}

static void see_number(struct json *j, struct plpgsql *out)
{
    unsigned n = 0;
    if (j->p == j->end || *j->p < '0' || *j->p > '9') {
        return;
    }
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9' && n < 1000) {
        n = n * 10 + (unsigned)(*j->p++ - '0');
    }
    if (n < 64) {
        out->assigned |= UINT64_C(1) << n;
    }
}

/* "new.x", in capitals or not -> x; NULL: another variable; "": all of it, or not to be told. */
static const char *row_column(struct arena *arena, const char *variable)
{
    if (strncasecmp(variable, "new", 3) != 0 && strncasecmp(variable, "old", 3) != 0) {
        return NULL;
    }
    const char *p = variable + 3;
    size_t n = strspn(p, " \t\n");
    if (p[n] != '.') {
        return p[0] == 0 || n > 0 || p[0] == ':' || p[0] == '=' || p[0] == '[' ? "" : NULL;
    }
    p += n + 1;
    n = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$");
    char *name = arena_strndup(arena, (const uint8_t *)p, n);
    for (char *c = name; *c != 0; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    return name;
}

static void see_row_column(struct json *j, const char *variable, struct plpgsql *out)
{
    const char *column = row_column(j->arena, variable);
    if (column == NULL) {
        return;
    }
    for (size_t i = 0; i < out->row_count; i++) {
        if (strcmp(out->row[i], column) == 0) {
            return;
        }
    }
    if (column[0] == 0 || out->row_count == PLPGSQL_NAMES_MAX) {
        out->row_any = 1;
    } else {
        out->row[out->row_count++] = column;
    }
}

/* RETURN of anything but NEW, OLD, NULL gives the row other values. */
static void see_return(struct plpgsql *out, const char *expression)
{
    if (strcasecmp(expression, "new") != 0 && strcasecmp(expression, "old") != 0 &&
        strcasecmp(expression, "null") != 0) {
        out->row_any = 1;
    }
}

/* A key; what stands behind its colon follows. 0: no good. */
static int see_key(struct json *j, const char *key, struct plpgsql *out)
{
    static const char kind[] = "PLpgSQL_stmt_";
    const char *value;
    if (strncmp(key, kind, sizeof(kind) - 1) == 0 && !kind_is_known(key + sizeof(kind) - 1)) {
        out->why = strncmp(key + sizeof(kind) - 1, "dyn", 3) == 0
                       ? "it runs SQL that is made at run time"
                       : "it ends transactions or does what pgbraid does not know";
        return 0;
    }
    if (strcmp(key, "dynquery") == 0) {
        out->why = "it runs SQL that is made at run time";
        return 0;
    }
    int assigns =
        strcmp(key, "PLpgSQL_stmt_assign") == 0 || strcmp(key, "PLpgSQL_stmt_foreach_a") == 0;
    if ((assigns && !stands_before(j, "\"varno\"", "\"expr\"")) ||
        (strcmp(key, "PLpgSQL_diag_item") == 0 && !stands_before(j, "\"target\"", "}")) ||
        (strcmp(key, "name") == 0 && !stands_before(j, "\"varno\"", "}"))) {
        out->assigned |= 1;
    }
    /* Whose targets are not printed. */
    if (strcmp(key, "PLpgSQL_stmt_foreach_a") == 0 || strcmp(key, "PLpgSQL_stmt_getdiag") == 0 ||
        strcmp(key, "PLpgSQL_stmt_call") == 0) {
        out->row_any = 1;
    }
    if (strcmp(key, "PLpgSQL_stmt_assign") == 0 || strcmp(key, "PLpgSQL_stmt_return") == 0) {
        j->kind = key[sizeof(kind) - 1];
    } else if (strncmp(key, kind, sizeof(kind) - 1) == 0) {
        j->kind = 0;
    }
    if (strcmp(key, "varno") == 0 || strcmp(key, "target") == 0) {
        see_number(j, out);
    } else if (j->p < j->end && *j->p == '"' &&
               (strcmp(key, "query") == 0 || strcmp(key, "refname") == 0 ||
                strcmp(key, "name") == 0)) {
        j->p++;
        if (!read_string(j, &value)) {
            return 0;
        }
        if (key[0] == 'q') {
            add_sql(out, j->arena, value);
            if (j->kind == 'a') {
                see_row_column(j, value, out);
            } else if (j->kind == 'r') {
                see_return(out, value);
            }
            j->kind = 0;
        } else if (key[0] == 'n') {
            see_row_column(j, value, out);
        } else if (out->names_count < PLPGSQL_NAMES_MAX) {
            out->names[out->names_count++] = value;
        } else {
            out->assigned = UINT64_MAX;
        }
    }
    return 1;
}

int plpgsql_read_json(const char *text, struct arena *arena, struct plpgsql *out)
{
    *out = (struct plpgsql){.why = "its body cannot be read"};
    struct json j = {text, text + strlen(text), arena, 0};
    while (j.p < j.end) {
        const char *word;
        if (*j.p++ != '"') {
            continue;
        }
        if (!read_string(&j, &word)) {
            return 0;
        }
        if (j.p < j.end && *j.p == ':') {
            j.p++;
            if (!see_key(&j, word, out)) {
                return 0;
            }
        }
    }
    size_t rows = 0;
    for (size_t i = 0; i < out->names_count; i++) {
        rows += strcmp(out->names[i], "new") == 0 || strcmp(out->names[i], "old") == 0;
    }
    out->row_any |= rows > 2; /* each is listed once, and again where it is a target */
    out->why = NULL;
    return 1;
}

int plpgsql_read(const char *definition, struct arena *arena, struct plpgsql *out)
{
    const char *text;
    struct note note;
    if (tree_parse_plpgsql(definition, arena, &text, &note)) {
        *out = (struct plpgsql){.why = "its body cannot be read"};
        return 0;
    }
    return plpgsql_read_json(text, arena, out);
}
