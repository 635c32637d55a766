/*
 * SET braid.role and SHOW braid.role: a setting that no server knows. It is kept among the
 * session's settings, so it follows transactions and savepoints as any other, and is never sent.
 */

#include <string.h>
#include <strings.h>

#include "proxy/exec/exec.h"
#include "proxy/session/session_role.h"

static const char PREFIX[] = "braid.";
static const char *const roles[] = {"auto", "primary", "replica"};

int role_is_own_setting(const char *name)
{
    return name != NULL && strncasecmp(name, PREFIX, sizeof(PREFIX) - 1) == 0;
}

static enum err check_name(const char *name, struct note *note)
{
    if (strcasecmp(name, "braid.role") == 0) {
        return ERR_NONE;
    }
    enum err e =
        note_set(note, ERR_NO_SETTING, "unrecognized configuration parameter \"%.60s\"", name);
    note_hint(note, "pgbraid's own setting is braid.role.");
    return e;
}

enum err role_check_setting(const struct plan *plan, struct note *note)
{
    enum err e = check_name(plan->name, note);
    if (e || plan->set_reset) {
        return e;
    }
    for (size_t i = 0; plan->set_plain != NULL && i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (strcasecmp(plan->set_plain, roles[i]) == 0) {
            return ERR_NONE;
        }
    }
    e = note_set(note, ERR_BAD_SETTING, "invalid value for parameter \"braid.role\": \"%.60s\"",
                 plan->set_plain == NULL ? "" : plan->set_plain);
    note_hint(note, "Available values: auto, primary, replica.");
    return e;
}

enum step role_show(struct session *s, const struct plan *plan)
{
    struct note note;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    enum err e = check_name(plan->name, &note);
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    const char *set = s->tx.kind == TX_KIND_NONE ? NULL : varset_get(s->tx.locals, plan->name);
    set = set != NULL ? set : varset_get(s->vars, plan->name);
    const char *value = roles[0];
    for (size_t i = 0; set != NULL && i < sizeof(roles) / sizeof(roles[0]); i++) {
        value = strcasestr(set, roles[i]) != NULL ? roles[i] : value;
    }
    struct buf *out = session_out(s);
    if (!s->in_extended) {
        back_put_text_columns(out, &plan->name, 1);
    }
    back_put_text_row(out, &value, 1);
    return session_complete(s, "SHOW");
}
