/*
 * The users file in PgBouncer's userlist format:
 *
 *     ; a comment, # too
 *     "name" "secret"      anything behind is ignored
 *
 * A name may stand twice while its secret is changed: both are good, the last line is the newest.
 * Inside the quotes "" is one quote. A secret is a password, "md5" and 32 digits, or a
 * SCRAM-SHA-256 verifier; "" is no password. Secrets never appear in a message.
 */

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "conf/reader.h"

enum {
    SECRET_BYTES_MAX = 2048 /* a SCRAM verifier has about 130; managed services hand out tokens */
};

/* Lines of the file while it is read; grows by doubling. */
struct entry {
    struct conf_user user;
    int line;
};

struct entries {
    struct entry *p;
    size_t count;
    size_t cap;
};

static void add_entry(struct entries *list, struct entry entry)
{
    if (list->count == list->cap) {
        list->cap = list->cap == 0 ? 64 : list->cap * 2;
        list->p = mem_grow(list->p, list->cap * sizeof(list->p[0]));
    }
    list->p[list->count++] = entry;
}

static const uint8_t *skip_blanks(const uint8_t *p, const uint8_t *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r')) {
        p++;
    }
    return p;
}

/*
 * The quoted text that begins at *at, behind blanks.
 *   name    of what is read, for messages
 *   out     in keep, quotes undone; *at moves behind the closing quote
 */
static enum err read_quoted(struct reader *r, const uint8_t **at, const uint8_t *end, int line,
                            const char *name, const char **out)
{
    const uint8_t *p = skip_blanks(*at, end);
    if (p == end || *p != '"') {
        return bad(r, line, "the %s does not begin with a quote; a line is \"name\" \"secret\"",
                   name);
    }
    p++;
    char *text = arena_alloc(r->keep, (size_t)(end - p) + 1);
    size_t n = 0;
    for (;; p++) {
        if (p == end) {
            return bad(r, line, "the %s has no closing quote; a quote inside is written \"\"",
                       name);
        }
        if (*p == 0) {
            return bad(r, line, "the %s holds a zero byte; remove it", name);
        }
        if (*p == '"' && (p + 1 == end || p[1] != '"')) {
            break;
        }
        p += *p == '"'; /* the second of two */
        text[n++] = (char)*p;
    }
    text[n] = '\0';
    *at = p + 1;
    *out = text;
    return ERR_NONE;
}

static enum err read_line(struct reader *r, const uint8_t *p, const uint8_t *end, int line,
                          struct entries *list)
{
    p = skip_blanks(p, end);
    if (p == end || *p == ';' || *p == '#') {
        return ERR_NONE;
    }
    struct entry entry = {.line = line};
    enum err e = read_quoted(r, &p, end, line, "user name", &entry.user.name);
    e = e ? e : check_name(r, line, "a user", entry.user.name);
    e = e ? e : read_quoted(r, &p, end, line, "secret", &entry.user.secret);
    if (e) {
        return e;
    }
    check(entry.user.secret != NULL);
    if (strlen(entry.user.secret) > SECRET_BYTES_MAX) {
        return bad(r, line, "the secret of %s has more than %d bytes; shorten it",
                   shown(r, entry.user.name), SECRET_BYTES_MAX);
    }
    add_entry(list, entry);
    return ERR_NONE;
}

static int by_name_then_line(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    int order = strcmp(x->user.name, y->user.name);
    return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

/* Lines of one name stand side by side: the last one is the newest secret. */
static enum err keep_sorted(struct reader *r, struct entries *list)
{
    struct conf *conf = r->conf;
    if (list->count == 0) {
        return ERR_NONE;
    }
    conf->_first_user = list->p[0].user.name;
    qsort(list->p, list->count, sizeof(list->p[0]), by_name_then_line);
    struct conf_user *users = arena_alloc(r->keep, list->count * sizeof(users[0]));
    check(users != NULL);
    conf->users = users;
    for (size_t i = 0; i < list->count; i++) {
        const struct entry *entry = &list->p[i];
        struct conf_user *last = conf->users_count == 0 ? NULL : &users[conf->users_count - 1];
        if (last == NULL || strcmp(last->name, entry->user.name) != 0) {
            users[conf->users_count++] = entry->user;
            continue;
        }
        if (last->older != NULL) {
            return bad(
                r, entry->line,
                "user %s stands here a third time; it is on lines %d and %d already, and two "
                "secrets are enough for a rotation",
                shown(r, entry->user.name), entry[-2].line, entry[-1].line);
        }
        last->older = last->secret;
        last->secret = entry->user.secret;
    }
    return ERR_NONE;
}

enum err users_read(struct reader *r, const void *p, size_t n)
{
    if (n > CONF_FILE_BYTES_MAX) {
        return bad(r, 1, "the file is larger than 16 MiB; a users file is smaller");
    }
    const uint8_t *at = p;
    const uint8_t *end = at + n;
    struct entries list = {0};
    enum err e = ERR_NONE;
    for (int line = 1; at < end && e == ERR_NONE; line++) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *line_end = newline == NULL ? end : newline;
        e = read_line(r, at, line_end, line, &list);
        at = newline == NULL ? end : newline + 1;
    }
    e = e ? e : keep_sorted(r, &list);
    mem_free(list.p);
    return e;
}
