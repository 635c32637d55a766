/* Who may enter, as far as settings and databases say it: what needs what. */

#include <string.h>

#include "base/buf.h"
#include "conf/hba_in.h"
#include "conf/reader.h"

enum {
    PASSWORD_BYTES_MAX = 2048
};

void auth_fields(struct field fields[AUTH_FIELDS], const struct node *nodes[AUTH_FIELDS])
{
    static const char *const keys[AUTH_FIELDS] = {"user", "password", "auth_query", "auth_user",
                                                  "auth_dbname"};
    for (size_t i = 0; i < AUTH_FIELDS; i++) {
        fields[i] = (struct field){keys[i], &nodes[i]};
    }
}

enum err auth_read(struct reader *r, const struct node *const nodes[AUTH_FIELDS], const char *what,
                   struct conf_database_auth *out)
{
    static const char *const keys[AUTH_FIELDS] = {"user", "password", "auth_query", "auth_user",
                                                  "auth_dbname"};
    const char **members[AUTH_FIELDS] = {&out->user, &out->password, &out->query, &out->query_user,
                                         &out->query_dbname};
    for (size_t i = 0; i < AUTH_FIELDS; i++) {
        if (nodes[i] != NULL) {
            const char *path = arena_printf(&r->scratch, "%s.%s", what, keys[i]);
            enum err e = read_text(r, nodes[i], path, members[i]);
            if (e) {
                return e;
            }
        }
    }
    if (out->password != NULL && out->user == NULL) {
        return bad(r, nodes[1]->line, "%s.password has no %s.user beside it; name whose it is",
                   what, what);
    }
    if (out->password != NULL && strlen(out->password) > PASSWORD_BYTES_MAX) {
        return bad(r, nodes[1]->line, "%s.password has more than %d bytes; shorten it", what,
                   PASSWORD_BYTES_MAX);
    }
    if (out->user != NULL) {
        return check_name(r, nodes[0]->line, arena_printf(&r->scratch, "%s.user", what), out->user);
    }
    return ERR_NONE;
}

/* ---- rules over several settings ------------------------------------------------------------- */

/* Whether some client could be asked for a password that the users file does not hold. */
static int has_query(const struct conf *conf)
{
    int found = conf->auth_query_user != NULL;
    for (size_t i = 0; i < conf->databases_count; i++) {
        found |= conf->databases[i].auth.query_user != NULL;
    }
    return found;
}

static int needs_secrets(enum conf_auth_method method)
{
    return method == CONF_AUTH_PASSWORD || method == CONF_AUTH_MD5 || method == CONF_AUTH_SCRAM;
}

static enum err check_query_dbname(struct reader *r, int line, const char *what, const char *name)
{
    if (name != NULL && conf_find_database(r->conf, name) == NULL &&
        conf_find_database(r->conf, "*") == NULL) {
        return bad(r, line, "%s is %s, which databases does not name; add it there", what,
                   shown(r, name));
    }
    return ERR_NONE;
}

static enum err check_query(struct reader *r)
{
    const struct conf *conf = r->conf;
    enum err e = check_query_dbname(r, setting_line(r, "auth.query_dbname"), "auth.query_dbname",
                                    conf->auth_query_dbname);
    for (size_t i = 0; i < conf->databases_count && e == ERR_NONE; i++) {
        const struct conf_database *db = &conf->databases[i];
        const char *what = arena_printf(&r->scratch, "databases.%s.auth_dbname", db->name);
        e = check_query_dbname(r, db->line, what, db->auth.query_dbname);
    }
    return e;
}

enum err auth_check(struct reader *r)
{
    const struct conf *conf = r->conf;
    int line = setting_line(r, "auth.method");
    if (needs_secrets(conf->auth_method) && conf->users_file == NULL && !has_query(conf)) {
        return bad(r, line,
                   "auth.users_file is missing; add users_file: users.txt, or method: trust to let "
                   "everybody in");
    }
    if (conf->auth_method == CONF_AUTH_HBA && conf->hba_file == NULL) {
        return bad(r, line, "auth.method hba needs auth.hba_file; add hba_file: pg_hba.conf");
    }
    if (conf->auth_method == CONF_AUTH_CERT && conf->tls_client_ca == NULL) {
        return bad(r, line,
                   "auth.method cert needs tls.client.ca; name the certificates that sign the "
                   "clients'");
    }
    if (conf->ident_map != NULL && conf->ident_file == NULL) {
        return bad(r, setting_line(r, "auth.ident_map"),
                   "auth.ident_map needs auth.ident_file; add ident_file: pg_ident.conf");
    }
    return check_query(r);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* A file that a setting names, read by `fn`. `make` says how to have one. */
static enum err read_named(struct reader *r, const char *setting, const char *path,
                           const char *make,
                           enum err (*fn)(struct reader *r, const void *p, size_t n))
{
    if (path == NULL) {
        return ERR_NONE;
    }
    struct buf bytes = {0};
    int failed = file_read_all(path, &bytes);
    enum err e = ERR_NONE;
    if (failed != 0) {
        e = bad(r, setting_line(r, setting), "%s: cannot read %s: %s; %s", setting, shown(r, path),
                strerrordesc_np(failed), make);
    } else {
        const char *file = r->file;
        r->file = path;
        e = fn(r, bytes.p, bytes.n);
        r->file = file;
    }
    if (bytes.p != NULL) {
        explicit_bzero(bytes.p, bytes.cap); /* secrets */
    }
    buf_free(&bytes);
    return e;
}

static enum err read_rules(struct reader *r, const void *p, size_t n)
{
    return hba_read(r, p, n, 1);
}

/* Rules that ask for passwords, certificates or maps that nobody has given. */
static enum err check_rules(struct reader *r)
{
    const struct conf *conf = r->conf;
    const char *file = r->file;
    r->file = conf->hba_file;
    enum err e = ERR_NONE;
    for (size_t i = 0; conf->hba != NULL && i < conf->hba->rules_count && e == ERR_NONE; i++) {
        const struct conf_hba_rule *rule = &conf->hba->rules[i];
        if (needs_secrets(rule->method) && conf->users_file == NULL && !has_query(conf)) {
            e = bad(r, rule->line,
                    "the rule asks for passwords but auth.users_file is missing; add users_file: "
                    "users.txt to the section auth");
        } else if (rule->clientcert != CONF_CLIENTCERT_NO && conf->tls_client_ca == NULL) {
            e = bad(r, rule->line,
                    "the rule asks for a certificate but tls.client.ca is missing; name the "
                    "certificates that sign the clients'");
        } else if (rule->map != NULL && !ident_has_map(conf->ident, rule->map)) {
            e = bad(r, rule->line, "auth.ident_file has no map %s; add a line \"%s SYSTEM USER\"",
                    shown(r, rule->map), rule->map);
        }
    }
    r->file = file;
    return e;
}

static enum err check_users(struct reader *r)
{
    const struct conf *conf = r->conf;
    if (conf->users_file == NULL || conf->users_count != 0 || has_query(conf) ||
        !needs_secrets(conf->auth_method)) {
        return ERR_NONE;
    }
    if (conf->pgbouncer != NULL) { /* Debian's package comes with an empty one */
        conf_warn(r, setting_line(r, "auth.users_file"),
                  "auth_file: %s names no user, so nobody can log in", shown(r, conf->users_file));
        return ERR_NONE;
    }
    return bad(r, setting_line(r, "auth.users_file"),
               "auth.users_file: %s names no user, so nobody could log in; add a line \"name\" "
               "\"secret\"",
               shown(r, conf->users_file));
}

enum err auth_check_files(struct reader *r)
{
    struct conf *conf = r->conf;
    int rules = conf->auth_method == CONF_AUTH_HBA;
    int maps = rules || conf->auth_method == CONF_AUTH_CERT || conf->auth_method == CONF_AUTH_PEER;
    enum err e = read_named(r, "auth.users_file", conf->users_file,
                            "make it with lines \"name\" \"secret\"", users_read);
    e = e ? e : check_users(r);
    e = e ? e
          : read_named(r, "auth.ident_file", maps ? conf->ident_file : NULL,
                       "make it with lines of a map, a system name and a user", ident_read);
    if (e == ERR_NONE && maps && conf->ident_map != NULL &&
        !ident_has_map(conf->ident, conf->ident_map)) {
        e = bad(r, setting_line(r, "auth.ident_map"),
                "auth.ident_map: auth.ident_file has no map %s; add a line \"%s SYSTEM USER\"",
                shown(r, conf->ident_map), conf->ident_map);
    }
    e = e ? e
          : read_named(r, "auth.hba_file", rules ? conf->hba_file : NULL,
                       "make it with lines as \"host all all 127.0.0.1/32 scram-sha-256\"",
                       read_rules);
    return e ? e : check_rules(r);
}
