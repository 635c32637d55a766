/*
 * PgBouncer's configuration file: sections and rows to nodes; see pgbouncer.h.
 *
 * The later of two lines with the same key counts, as in PgBouncer: that is how a file overrides
 * what it includes. A key that PgBouncer does not know is an error in both.
 */

#include "conf/pgbouncer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"

enum {
    START,
    LIVE
};

static const struct pgb_key rows[] = {
#define KEY(section_, name_, kind_, def_, reload_, to_, remark_) \
    {.section = PGB_##section_,                                  \
     .name = (name_),                                            \
     .kind = PGB_##kind_,                                        \
     .def = (def_),                                              \
     .reload = (reload_),                                        \
     .to = (to_),                                                \
     .remark = (remark_)},
#include "conf/pgbouncer.def"
};

enum {
    ROWS = sizeof(rows) / sizeof(rows[0])
};
static_assert((int)ROWS <= (int)PGB_KEYS_MAX, "room for every row");

const struct pgb_key *pgb_key_at(size_t index)
{
    return index < ROWS ? &rows[index] : NULL;
}

int pgb_row(enum pgb_section section, const char *name)
{
    for (int i = 0; i < (int)ROWS; i++) {
        if (rows[i].section == section && strcmp(rows[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* Whether `text` has the path as a word of its own. */
static int speaks_of(const char *text, const char *path)
{
    size_t n = strlen(path);
    for (const char *p = strstr(text, path); p != NULL; p = strstr(p + 1, path)) {
        int whole = (p == text || p[-1] == ' ' || p[-1] == '\n') && p[n] != '_' && p[n] != '.' &&
                    (p[n] < 'a' || p[n] > 'z');
        if (whole) {
            return 1;
        }
    }
    return 0;
}

void pgb_translate(struct note *note)
{
    char hint[sizeof(note->hint)];
    size_t used = 0;
    if (note == NULL || note->hint[0] != '\0') {
        return;
    }
    for (size_t i = 0; i < ROWS && used < sizeof(hint); i++) {
        const char *to = rows[i].to;
        if (rows[i].section == PGB_PGBOUNCER && to != NULL && strchr(to, '.') != NULL &&
            speaks_of(note->text, to)) {
            used += (size_t)snprintf(hint + used, sizeof(hint) - used, "%s%s is %s",
                                     used == 0 ? "In PgBouncer's file " : ", ", to, rows[i].name);
        }
    }
    if (used != 0) {
        note_hint(note, "%s.", hint);
    }
}

const char *pgb_setting(const struct pgb *b, const char *name, int *line)
{
    int row = pgb_row(PGB_PGBOUNCER, name);
    check(row >= 0);
    const struct pgb_value *value = &b->settings.of[row];
    if (line != NULL) {
        *line = value->text == NULL ? 1 : value->line;
    }
    return value->text == NULL ? rows[row].def : value->text;
}

/* ---- taking lines ------------------------------------------------------------------------------
 */

static enum err take(struct pgb *b, enum pgb_section section, const char *where, const char *key,
                     struct pgb_value value, struct pgb_values *out)
{
    int row = pgb_row(section, key);
    if (row >= 0) {
        out->of[row] = value;
        return ERR_NONE;
    }
    const char *known[ROWS];
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].section == section) {
            known[count++] = rows[i].name;
        }
    }
    struct node node = {.key = key, .line = value.line};
    return bad_key(b->r, &node, where, known, count);
}

/* A line of [databases], [users] or [peers]: name = key=value ... */
static enum err take_pairs(struct pgb *b, enum pgb_section section, const char *where,
                           const struct ini_entry *e, struct pgb_values *out)
{
    const char *at = e->value;
    const char *what = arena_printf(&b->r->scratch, "%s %s", where, shown(b->r, e->key));
    memset(out, 0, sizeof(*out));
    for (;;) {
        struct ini_pair pair;
        int more = 0;
        enum err err = ini_pair(b->r, e->line, what, &at, &pair, &more);
        if (err || !more) {
            return err;
        }
        err = take(b, section, what, pair.key, (struct pgb_value){pair.value, e->line}, out);
        if (err) {
            return err;
        }
    }
}

static const struct {
    const char *name; /* of the section in the file */
    const char *one;  /* how messages call an entry */
    enum pgb_section section;
} sections[] = {{"pgbouncer", "", PGB_PGBOUNCER},
                {"databases", "database", PGB_DATABASE},
                {"users", "user", PGB_USER},
                {"peers", "peer", PGB_PEER}};

/* ---- entries ----------------------------------------------------------------------------------
 */

static enum err put_user(struct pgb *b, const char *name, const struct pgb_values *values, int line)
{
    enum err e = ERR_NONE;
    struct node *users = node_child(b->root, "users");
    users = users == NULL ? node_map(b->r, b->root, "users", line) : users;
    struct node *user = node_map(b->r, users, name, line);
    for (size_t i = 0; i < ROWS && e == ERR_NONE; i++) {
        if (rows[i].section == PGB_USER && values->of[i].text != NULL) {
            e = pgb_put(b, user, &rows[i],
                        arena_printf(&b->r->scratch, "user %s: %s", name, rows[i].name),
                        values->of[i]);
        }
    }
    if (user->count == 0) { /* a line without settings, or without any that has an effect */
        node_drop_last(users);
    }
    if (users->count == 0) {
        node_drop_last(b->root);
    }
    return e;
}

/* A later line of the same section and name replaces this one. */
static int is_replaced(const struct ini_entry *e)
{
    for (const struct ini_entry *later = e->next; later != NULL; later = later->next) {
        if (strcmp(later->key, e->key) == 0 && strcmp(later->section, e->section) == 0) {
            return 1;
        }
    }
    return 0;
}

static enum err put_entries(struct pgb *b, const struct ini *ini, enum pgb_section section)
{
    for (const struct ini_entry *e = ini->first; e != NULL; e = e->next) {
        if (strcmp(e->section, sections[section].name) != 0) {
            continue;
        }
        struct pgb_values values;
        enum err err = take_pairs(b, section, sections[section].one, e, &values);
        if (err || is_replaced(e)) {
            if (err) {
                return err;
            }
            continue;
        }
        switch (section) {
        case PGB_DATABASE: err = pgb_database(b, e->key, &values, e->line); break;
        case PGB_USER: err = put_user(b, e->key, &values, e->line); break;
        case PGB_PEER:
            conf_warn(b->r, e->line, "peer %s has no effect: %s", shown(b->r, e->key),
                      rows[pgb_row(PGB_PEER, "host")].remark);
            break;
        case PGB_PGBOUNCER: break;
        }
        if (err) {
            return err;
        }
    }
    return ERR_NONE;
}

static enum err put_settings(struct pgb *b)
{
    enum err e = ERR_NONE;
    for (size_t i = 0; i < ROWS && e == ERR_NONE; i++) {
        const struct pgb_value *value = &b->settings.of[i];
        if (rows[i].section != PGB_PGBOUNCER) {
            continue;
        }
        if (value->text != NULL) {
            e = pgb_put(b, b->root, &rows[i], rows[i].name, *value);
        } else if (pgb_default_differs(b, &rows[i])) {
            e = pgb_put(b, b->root, &rows[i], rows[i].name, (struct pgb_value){rows[i].def, 1});
        }
    }
    node_put(b->r, b->root, "log.format", "pgbouncer", 1)->comment = "what reads its log goes on";
    node_put(b->r, b->root, "service.health", "off", 1)->comment = "it asks no servers";
    int line = 1;
    if (strcmp(pgb_setting(b, "auth_type", &line), "any") != 0) {
        node_put(b->r, b->root, "auth.known_users_only", "on", line)->comment = "auth_type";
    }
    return e;
}

/* What SHOW CONFIG shows: lives as long as the snapshot. */
static void keep_values(struct pgb *b)
{
    struct conf *conf = b->r->conf;
    conf->pgbouncer = arena_zero(b->r->keep, ROWS * sizeof(conf->pgbouncer[0]));
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].section == PGB_PGBOUNCER) {
            const char *text = b->settings.of[i].text;
            conf->pgbouncer[i] = text == NULL ? rows[i].def : arena_strdup(b->r->keep, text);
        }
    }
    int row = pgb_row(PGB_PGBOUNCER, "conffile");
    conf->pgbouncer[row] = b->r->file;
}

static enum err take_settings(struct pgb *b, const struct ini *ini)
{
    for (const struct ini_entry *e = ini->first; e != NULL; e = e->next) {
        size_t s = 0;
        while (s < 4 && strcmp(e->section, sections[s].name) != 0) {
            s++;
        }
        if (s == 4) {
            return bad(b->r, e->line,
                       "%s stands in the section %s; sections are [databases], "
                       "[users], [peers] and [pgbouncer]",
                       shown(b->r, e->key), shown(b->r, e->section));
        }
        if (s == PGB_PGBOUNCER) {
            enum err err = take(b, PGB_PGBOUNCER, "[pgbouncer]", e->key,
                                (struct pgb_value){e->value, e->line}, &b->settings);
            if (err) {
                return err;
            }
        }
    }
    return ERR_NONE;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

enum err pgbouncer_tree(struct reader *r, const void *p, size_t n, const char *cwd,
                        struct node **root)
{
    struct pgb *b = arena_zero(&r->scratch, sizeof(*b));
    struct ini ini;
    b->r = r;
    b->cwd = cwd;
    b->root = node_map(r, NULL, NULL, 1);
    enum err e = ini_read(r, p, n, &ini);
    e = e ? e : take_settings(b, &ini);
    if (e) {
        return e;
    }
    keep_values(b);
    e = put_settings(b);
    e = e ? e : pgb_listen(b);
    if (e == ERR_NONE) {
        (void)node_map(r, b->root, "servers", 1);
        (void)node_map(r, b->root, "databases", 1);
    }
    e = e ? e : put_entries(b, &ini, PGB_DATABASE);
    e = e ? e : put_entries(b, &ini, PGB_USER);
    e = e ? e : put_entries(b, &ini, PGB_PEER);
    *root = b->root;
    return e;
}

int pgbouncer_is_ini(const char *path, const void *p, size_t n)
{
    const char *dot = strrchr(path, '.');
    if (dot != NULL && strchr(dot, '/') == NULL && strcmp(dot, ".ini") == 0) {
        return 1;
    }
    if (dot != NULL && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0)) {
        return 0;
    }
    const char *at = p;
    const char *end = at + n;
    while (at < end && strchr(" \t\r\n;#", *at) != NULL && *at != '\0') {
        int comment = *at == ';' || *at == '#';
        const char *newline = comment ? memchr(at, '\n', (size_t)(end - at)) : at;
        at = newline == NULL ? end : newline + 1;
    }
    return end - at >= 2 && (*at == '[' || (*at == '%' && at[1] == 'i'));
}

int conf_pgbouncer_item(const struct conf *conf, size_t index, struct conf_item *out)
{
    if (index >= ROWS || rows[index].section != PGB_PGBOUNCER || conf->pgbouncer == NULL) {
        return 0;
    }
    *out = (struct conf_item){.path = rows[index].name,
                              .value = conf->pgbouncer[index],
                              .def = rows[index].def,
                              .bounds = "",
                              .help = rows[index].remark,
                              .reload = rows[index].reload == LIVE};
    return 1;
}
