/* SET, SHOW and the meaning of pgbraid's own settings: see own.h. */

#include "proxy/exec/own.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/exec/exec.h"

static const char PREFIX[] = "braid.";

enum {
    WORDS_MAX = 8
};

/* Every one of them, and what it may be; the meaning of a word is that of the first `kinds`. */
static const struct own_setting {
    const char *name;
    const char *words[WORDS_MAX];
    size_t kinds;
    const char *available;
} settings[] = {
    {"braid.role", {"auto", "primary", "replica"}, 3, "auto, primary, replica"},
    {"braid.snapshot", {"off", "on", "false", "true", "no", "yes", "0", "1"}, 2, "off, on"},
};

int own_is(const char *name)
{
    return name != NULL && strncasecmp(name, PREFIX, sizeof(PREFIX) - 1) == 0;
}

static const struct own_setting *find(const char *name)
{
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (strcasecmp(name, settings[i].name) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

static enum err no_such(const char *name, struct note *note)
{
    enum err e =
        note_set(note, ERR_NO_SETTING, "unrecognized configuration parameter \"%.60s\"", name);
    note_hint(note, "pgbraid's own settings are braid.role and braid.snapshot.");
    return e;
}

/* Index of the word, or -1. Quotes around it do not matter. */
static int word_of(const struct own_setting *setting, const char *value)
{
    size_t quoted = value[0] == '\'' ? 1 : 0;
    size_t n = strlen(value);
    n -= n >= 2 * quoted ? 2 * quoted : 0;
    for (size_t i = 0; i < WORDS_MAX && setting->words[i] != NULL; i++) {
        if (strlen(setting->words[i]) == n &&
            strncasecmp(setting->words[i], value + quoted, n) == 0) {
            return (int)i;
        }
    }
    return -1;
}

enum err own_check(const char *name, const char *value, struct note *note)
{
    const struct own_setting *setting = find(name);
    if (setting == NULL) {
        return no_such(name, note);
    }
    if (value == NULL || word_of(setting, value) >= 0) {
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_BAD_SETTING, "invalid value for parameter \"%s\": \"%.60s\"",
                          setting->name, value);
    note_hint(note, "Available values: %s.", setting->available);
    return e;
}

const char *own_get(const struct session *s, const char *name)
{
    const char *local = s->tx.kind == TX_KIND_NONE ? NULL : varset_get(s->tx.locals, name);
    return local != NULL ? local : varset_get(s->vars, name);
}

uint8_t own_fewer_digits(const struct session *s)
{
    static const char NAME[] = "extra_float_digits";
    const char *value = own_get(s, NAME);
    if (value == NULL && s->db->catalog != NULL) { /* of ALTER ROLE, ALTER DATABASE */
        value = catalog_start_setting(s->db->catalog, NAME, session_server_user(s));
    }
    if (value == NULL) {
        return 0;
    }
    long extra = strtol(value + (value[0] == '\''), NULL, 10);
    return extra >= 1 || extra < -15 ? 0 : (uint8_t)(1 - extra);
}

/* Index among the kinds; -1: not set. */
static int kind_of(const struct session *s, const struct own_setting *setting)
{
    const char *value = own_get(s, setting->name);
    int word = value == NULL ? -1 : word_of(setting, value);
    return word < 0 ? -1 : (int)((size_t)word % setting->kinds);
}

int own_snapshot(const struct session *s)
{
    int kind = kind_of(s, find("braid.snapshot"));
    return kind < 0 ? s->terms != NULL && s->terms->rule.snapshot == CONF_ON : kind;
}

enum step own_show(struct session *s, const struct plan *plan)
{
    struct note note;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    const struct own_setting *setting = find(plan->name);
    if (setting == NULL) {
        return session_fail(s, no_such(plan->name, &note), &note, 0);
    }
    int kind = strcmp(setting->name, "braid.snapshot") == 0 ? own_snapshot(s) : kind_of(s, setting);
    const char *value = setting->words[kind < 0 ? 0 : kind];
    struct buf *out = session_out(s);
    if (!s->in_extended) {
        back_put_text_columns(out, &plan->name, 1);
    }
    back_put_text_row(out, &value, 1);
    return session_complete(s, "SHOW");
}
