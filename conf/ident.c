/*
 * The maps file:
 *
 *     map   system-name   user
 *
 * A system name that begins with a slash is a regular expression, and \1 in the user is what its
 * first parenthesis matched. A user is a name, all, or again an expression.
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "conf/hba_in.h"

enum {
    MAPS_MAX = 100000,
    NAME_MAX_BYTES = 1024
};

struct ident_line {
    const char *map;
    const char *system;
    const struct conf_regex *system_regex; /* NULL: compared as it is */
    const char *user;
    int all;
    const struct conf_regex *user_regex;
};

struct conf_ident {
    struct ident_line *lines;
    size_t count;
};

struct maps {
    struct ident_line *p;
    size_t count, cap;
};

static enum err read_user(struct reader *r, const struct hba_word *w, int line,
                          struct ident_line *out)
{
    out->user = arena_strdup(r->keep, w->text);
    out->all = hba_word_is(w, "all");
    if (!w->quoted && w->text[0] == '+') {
        return bad(r, line,
                   "%s stands for the members of a role, which pgbraid does not know; write a line "
                   "for each user",
                   shown(r, w->text));
    }
    if (w->text[0] != '/' || w->text[1] == '\0') {
        return ERR_NONE;
    }
    return regex_read(r, line, w->text + 1, &out->user_regex);
}

static enum err read_map(struct reader *r, const struct hba_line *line, void *arg)
{
    struct maps *maps = arg;
    struct ident_line out = {0};
    if (line->count != 3 || line->fields[0].count != 1 || line->fields[1].count != 1 ||
        line->fields[2].count != 1) {
        return bad(
            r, line->number,
            "a line is a map, a system name and a user, one word each; a name with blanks or "
            "commas stands in double quotes");
    }
    const char *system = line->fields[1].words[0].text;
    out.map = arena_strdup(r->keep, line->fields[0].words[0].text);
    out.system = arena_strdup(r->keep, system);
    enum err e = ERR_NONE;
    if (system[0] == '/' && system[1] != '\0') {
        e = regex_read(r, line->number, system + 1, &out.system_regex);
    }
    e = e ? e : read_user(r, &line->fields[2].words[0], line->number, &out);
    if (e == ERR_NONE && strstr(out.user, "\\1") != NULL && out.user_regex == NULL) {
        const char *open = out.system_regex == NULL ? NULL : strchr(system, '(');
        if (open == NULL) {
            e = bad(r, line->number,
                    "user %s asks for \\1, but the system name is no expression with parentheses; "
                    "write one as /^(.*)@example\\.com$",
                    shown(r, out.user));
        }
    }
    if (e == ERR_NONE && maps->count == MAPS_MAX) {
        e = bad(r, line->number, "the file has more than %d lines; write expressions", MAPS_MAX);
    }
    if (e) {
        return e;
    }
    if (maps->count == maps->cap) {
        maps->cap = maps->cap == 0 ? 32 : maps->cap * 2;
        maps->p = mem_grow(maps->p, maps->cap * sizeof(maps->p[0]));
    }
    maps->p[maps->count++] = out;
    return ERR_NONE;
}

enum err ident_read(struct reader *r, const void *p, size_t n)
{
    struct maps maps = {0};
    enum err e = hba_lines(r, p, n, 0, read_map, &maps);
    if (e == ERR_NONE) {
        struct conf_ident *ident = arena_zero(r->keep, sizeof(*ident));
        ident->lines = arena_alloc(r->keep, (maps.count + 1) * sizeof(maps.p[0]));
        if (maps.count != 0) {
            memcpy(ident->lines, maps.p, maps.count * sizeof(maps.p[0]));
        }
        ident->count = maps.count;
        r->conf->ident = ident;
    }
    mem_free(maps.p);
    return e;
}

int ident_has_map(const struct conf_ident *ident, const char *map)
{
    for (size_t i = 0; ident != NULL && i < ident->count; i++) {
        if (strcmp(ident->lines[i].map, map) == 0) {
            return 1;
        }
    }
    return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Is `user` what the line's user says, with \1 put in? */
static int user_is(const struct ident_line *l, const char *first, size_t first_bytes,
                   const char *user)
{
    if (l->all) {
        return 1;
    }
    if (l->user_regex != NULL) {
        return regex_matches(l->user_regex, user, NULL, NULL);
    }
    const char *at = l->system_regex == NULL ? NULL : strstr(l->user, "\\1");
    if (at == NULL) {
        return strcmp(l->user, user) == 0;
    }
    size_t before = (size_t)(at - l->user);
    size_t n = strlen(user);
    size_t behind = strlen(at + 2);
    return first != NULL && n == before + first_bytes + behind &&
           memcmp(user, l->user, before) == 0 && memcmp(user + before, first, first_bytes) == 0 &&
           memcmp(user + before + first_bytes, at + 2, behind) == 0;
}

static int line_maps(const struct ident_line *l, const char *system, const char *user)
{
    const char *first = NULL;
    size_t first_bytes = 0;
    if (l->system_regex == NULL) {
        return strcmp(l->system, system) == 0 && user_is(l, NULL, 0, user);
    }
    return regex_matches(l->system_regex, system, &first, &first_bytes) &&
           user_is(l, first, first_bytes, user);
}

int conf_ident_maps(const struct conf_ident *ident, const char *map, const char *system,
                    const char *user)
{
    if (map == NULL) {
        return strcmp(system, user) == 0;
    }
    if (strlen(system) > NAME_MAX_BYTES || strlen(user) > NAME_MAX_BYTES) {
        return 0;
    }
    for (size_t i = 0; ident != NULL && i < ident->count; i++) {
        if (strcmp(ident->lines[i].map, map) == 0 && line_maps(&ident->lines[i], system, user)) {
            return 1;
        }
    }
    return 0;
}
