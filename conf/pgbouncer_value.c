/*
 * One value of PgBouncer's file as a text of ours. What differs between the two languages: times
 * are seconds there and milliseconds here; 0 means "no limit" where our setting has a smallest
 * value above 0; a limit beyond ours is cut to it, and that is said at start.
 */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "conf/pgbouncer.h"

struct range {
    int64_t min, max;
};

/* The bounds of what the row maps to. */
static struct range range_of(const struct pgb_key *key)
{
    for (size_t i = 0; key->section == PGB_PGBOUNCER && setting_at(i) != NULL; i++) {
        const struct setting *s = setting_at(i);
        if (strcmp(s->path, key->to) == 0) {
            return (struct range){s->min, s->max};
        }
    }
    static const struct {
        int64_t min, max;
        const char *keys[2];
    } options[] = {
#define POOL_OPTION(member, min_, max_, unit, db_key, user_key, global, help) \
    {(min_), (max_), {db_key, user_key}},
#include "conf/pool_options.def"
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        const char *path = options[i].keys[key->section == PGB_USER];
        if (key->section != PGB_PGBOUNCER && path != NULL && strcmp(path, key->to) == 0) {
            return (struct range){options[i].min, options[i].max};
        }
    }
    check(0 && "a row with a number names one of our numbers");
    return (struct range){0, 0};
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* The number that holds here, as text. */
static const char *fit(struct pgb *b, const struct pgb_key *key, const char *what,
                       struct pgb_value value, int64_t number)
{
    struct range range = range_of(key);
    int off = number == 0 && range.min > 0;
    int64_t fits = off || number > range.max ? range.max : number < range.min ? range.min : number;
    if (fits != number && !off && strcmp(value.text, key->def) != 0) {
        int seconds = key->kind == PGB_SECONDS || key->kind == PGB_SECONDS_OWN;
        conf_warn(b->r, value.line, "%s: %s is %s than is allowed here, %lld%s holds", what,
                  value.text, fits < number ? "more" : "less", (long long)fits,
                  seconds ? " ms" : "");
    }
    number = fits;
    return arena_printf(&b->r->scratch, "%lld", (long long)number);
}

static enum err number_text(struct pgb *b, const struct pgb_key *key, const char *what,
                            struct pgb_value value, const char **out)
{
    size_t digits = strspn(value.text, "0123456789");
    if (digits == 0 || digits > 18 || value.text[digits] != '\0') {
        return bad(b->r, value.line, "%s is %s; it takes a whole number", what,
                   shown(b->r, value.text));
    }
    *out = fit(b, key, what, value, strtoll(value.text, NULL, 10));
    return ERR_NONE;
}

/* "15" or "0.5", without sign or exponent; what is more than nothing is at least 1 ms. */
static enum err seconds_text(struct pgb *b, const struct pgb_key *key, const char *what,
                             struct pgb_value value, const char **out)
{
    const char *p = value.text;
    size_t whole = strspn(p, "0123456789");
    size_t part = p[whole] == '.' ? strspn(p + whole + 1, "0123456789") : 0;
    size_t all = whole + (p[whole] == '.' ? 1 + part : 0);
    if (whole + part == 0 || whole > 12 || p[all] != '\0') {
        return bad(b->r, value.line, "%s is %s; it takes seconds, as 15 or 0.5", what,
                   shown(b->r, value.text));
    }
    int64_t ms = strtoll(p, NULL, 10) * 1000;
    int64_t step = 100;
    int more = 0;
    for (size_t i = 0; i < part; i++, step /= 10) {
        ms += (p[whole + 1 + i] - '0') * step;
        more |= p[whole + 1 + i] != '0';
    }
    *out = fit(b, key, what, value, ms == 0 && more ? 1 : ms);
    return ERR_NONE;
}

enum err pgb_port(struct pgb *b, const char *what, struct pgb_value value, int *port)
{
    size_t digits = strspn(value.text, "0123456789");
    long number = digits == 0 || digits > 5 ? 0 : strtol(value.text, NULL, 10);
    if (value.text[digits] != '\0' || number < 1 || number > 65535) {
        return bad(b->r, value.line, "%s is %s; a port is a number in 1..65535", what,
                   shown(b->r, value.text));
    }
    *port = (int)number;
    return ERR_NONE;
}

/* ---- words ----------------------------------------------------------------------------------- */

/* -1: neither. */
static int truth(const char *text)
{
    static const char *const words[] = {"1", "yes", "on", "true", "0", "no", "off", "false"};
    for (int i = 0; i < 8; i++) {
        if (strcasecmp(words[i], text) == 0) {
            return i < 4;
        }
    }
    return -1;
}

static enum err switch_text(struct pgb *b, const char *what, struct pgb_value value,
                            const char **out)
{
    int on = truth(value.text);
    if (on < 0) {
        return bad(b->r, value.line, "%s is %s; it takes 1 or 0", what, shown(b->r, value.text));
    }
    *out = on ? "on" : "off";
    return ERR_NONE;
}

static enum err auth_text(struct pgb *b, const char *what, struct pgb_value value, const char **out)
{
    static const char *const words[][2] = {{"trust", "trust"},
                                           {"any", "trust"},
                                           {"plain", "password"},
                                           {"md5", "md5"},
                                           {"cert", "cert"},
                                           {"hba", "hba"},
                                           {"scram-sha-256", "scram-sha-256"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(words[i][0], value.text) == 0) {
            *out = words[i][1];
            return ERR_NONE;
        }
    }
    int known = strcmp(value.text, "pam") == 0 || strcmp(value.text, "ldap") == 0;
    return bad(b->r, value.line,
               "%s is %s%s; it is one of trust, any, plain, md5, scram-sha-256, "
               "cert, hba",
               what, shown(b->r, value.text), known ? ", which pgbraid cannot ask" : "");
}

static enum err verbose_text(struct pgb *b, const char *what, struct pgb_value value,
                             const char **out)
{
    size_t digits = strspn(value.text, "0123456789");
    if (value.text[digits] != '\0') {
        return bad(b->r, value.line, "%s is %s; it takes 0, 1, 2 or 3", what,
                   shown(b->r, value.text));
    }
    *out = strspn(value.text, "0") == digits ? "info" : "debug";
    return ERR_NONE;
}

/* PgBouncer's words for sets of ciphers. NULL: our default. */
static const char *ciphers_text(const char *text)
{
    static const char *const ours[] = {"default", "secure", "fast", "normal", "compat", "legacy"};
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (strcmp(ours[i], text) == 0) {
            return NULL;
        }
    }
    return strcmp(text, "all") == 0 || strcmp(text, "insecure") == 0 ? "ALL" : text;
}

/* "secure", "all", "legacy" or a list; bits of the versions 1.0 to 1.3. 0: none of these. */
static unsigned protocols_of(struct pgb *b, const char *text)
{
    static const struct {
        const char *word;
        unsigned bits;
    } words[] = {{"secure", 0xC},  {"all", 0xF},     {"legacy", 0xF},  {"tlsv1", 0xF},
                 {"tlsv1.0", 0x1}, {"tlsv1.1", 0x2}, {"tlsv1.2", 0x4}, {"tlsv1.3", 0x8}};
    unsigned bits = 0;
    char *rest = NULL;
    char *copy = arena_strdup(&b->r->scratch, text);
    for (char *word = strtok_r(copy, ", ", &rest); word != NULL;
         word = strtok_r(NULL, ", ", &rest)) {
        size_t i = 0;
        while (i < 8 && strcasecmp(words[i].word, word) != 0) {
            i++;
        }
        if (i == 8) {
            return 0;
        }
        bits |= words[i].bits;
    }
    return bits;
}

/* The oldest and the newest version of the list. */
static enum err put_protocols(struct pgb *b, struct node *map, const struct pgb_key *key,
                              struct pgb_value value)
{
    static const char *const names[] = {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"};
    unsigned bits = protocols_of(b, value.text);
    if (bits == 0) {
        return bad(b->r, value.line,
                   "%s is %s; it is secure, all, or a list of tlsv1.0, tlsv1.1, tlsv1.2, tlsv1.3",
                   key->name, shown(b->r, value.text));
    }
    int min = __builtin_ctz(bits);
    int max = 31 - __builtin_clz(bits);
    if ((((bits >> min) + 1) & (bits >> min)) != 0) {
        conf_warn(b->r, value.line, "%s: the versions between %s and %s are taken, too", key->name,
                  names[min], names[max]);
    }
    node_put(b->r, map, key->to, names[min], value.line)->comment = key->name;
    if (max < 3) {
        const char *section =
            arena_strndup(&b->r->scratch, key->to, strlen(key->to) - strlen("min_version"));
        const char *path = arena_printf(&b->r->scratch, "%smax_version", section);
        node_put(b->r, map, path, names[max], value.line)->comment = key->name;
    }
    return ERR_NONE;
}

/* A line of numbers every stats_period, or none. */
static enum err stats_text(struct pgb *b, const char *what, struct pgb_value value,
                           const char **out)
{
    enum err e = switch_text(b, what, value, out);
    if (e == ERR_NONE && strcmp(*out, "on") == 0) {
        const struct pgb_key *period = pgb_key_at((size_t)pgb_row(PGB_PGBOUNCER, "stats_period"));
        struct pgb_value given = {.line = 1};
        given.text = pgb_setting(b, "stats_period", &given.line);
        return seconds_text(b, period, period->name, given, out);
    }
    *out = "0";
    return e;
}

static const char *file_text(struct pgb *b, const char *text)
{
    if (text[0] == '/' || text[0] == '\0' || b->cwd[0] == '\0') {
        return text;
    }
    return arena_printf(&b->r->scratch, "%s/%s", strcmp(b->cwd, "/") == 0 ? "" : b->cwd, text);
}

/* ---- any kind -------------------------------------------------------------------------------- */

/* Our text for the value; NULL: nothing is set. */
static enum err convert(struct pgb *b, const struct pgb_key *key, const char *what,
                        struct pgb_value value, const char **out)
{
    *out = NULL;
    if (value.text[0] == '\0' && key->kind != PGB_ADMINS && key->kind != PGB_EMPTY &&
        key->kind != PGB_TEXT) {
        return ERR_NONE;
    }
    switch (key->kind) {
    case PGB_TEXT:
    case PGB_TEXT_OWN: *out = value.text[0] == '\0' ? NULL : value.text; return ERR_NONE;
    case PGB_CHECK_QUERY:
        *out = strcmp(value.text, "<empty>") == 0 ? NULL : value.text;
        return ERR_NONE;
    case PGB_ADMINS:
    case PGB_EMPTY: *out = value.text; return ERR_NONE;
    case PGB_FILE: *out = file_text(b, value.text); return ERR_NONE;
    case PGB_CIPHERS: *out = ciphers_text(value.text); return ERR_NONE;
    case PGB_CURVE:
        *out =
            strcmp(value.text, "auto") == 0 || strcmp(value.text, "none") == 0 ? NULL : value.text;
        return ERR_NONE;
    case PGB_LOG_STATS: return stats_text(b, what, value, out);
    case PGB_MILLISECONDS:
    case PGB_NUMBER:
    case PGB_NUMBER_OWN: return number_text(b, key, what, value, out);
    case PGB_SECONDS:
    case PGB_SECONDS_OWN: return seconds_text(b, key, what, value, out);
    case PGB_SWITCH: return switch_text(b, what, value, out);
    case PGB_AUTH_TYPE: return auth_text(b, what, value, out);
    case PGB_VERBOSE: return verbose_text(b, what, value, out);
    case PGB_NOTHING:
    case PGB_LISTEN:
    case PGB_PROTOCOLS:
    case PGB_SERVER: return ERR_NONE;
    }
    return ERR_NONE;
}

enum err pgb_put(struct pgb *b, struct node *map, const struct pgb_key *key, const char *what,
                 struct pgb_value value)
{
    const char *text = NULL;
    if (key->kind == PGB_NOTHING) {
        if (strcmp(value.text, key->def) != 0) {
            conf_warn(b->r, value.line, "%s has no effect: %s", what, key->remark);
        }
        return ERR_NONE;
    }
    if (key->kind == PGB_PROTOCOLS && value.text[0] != '\0') {
        return put_protocols(b, map, key, value);
    }
    enum err e = convert(b, key, what, value, &text);
    if (e == ERR_NONE && text != NULL) {
        node_put(b->r, map, key->to, text, value.line)->comment = key->name;
    }
    return e;
}

int pgb_default_differs(struct pgb *b, const struct pgb_key *key)
{
    const char *text = NULL;
    struct buf ours = {0};
    int own = key->kind == PGB_TEXT_OWN || key->kind == PGB_NUMBER_OWN ||
              key->kind == PGB_SECONDS_OWN || key->kind == PGB_NOTHING;
    if (key->kind == PGB_ADMINS) { /* nobody is not our default, the service user */
        return 1;
    }
    if (own || convert(b, key, key->name, (struct pgb_value){key->def, 1}, &text) != ERR_NONE) {
        return 0;
    }
    for (size_t i = 0; setting_at(i) != NULL; i++) {
        if (strcmp(setting_at(i)->path, key->to) == 0) {
            setting_default_text(setting_at(i), &ours);
        }
    }
    int differs = text != NULL && !slice_is(buf_slice(&ours), text);
    buf_free(&ours);
    return differs;
}
