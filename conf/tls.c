/* TLS settings that need each other, and the files they name. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/reader.h"

/* ---- rules over several settings ------------------------------------------------------------- */

static enum err check_versions(struct reader *r, const char *which, enum conf_tls_version min,
                               enum conf_tls_version max)
{
    if (max != CONF_TLS_ANY && max < min) {
        return bad(r, setting_line(r, which),
                   "%s is older than min_version, so no TLS version is left; write any", which);
    }
    return ERR_NONE;
}

/* What each side's mode asks for; a listener may have a mode of its own. */
static enum err check_client_mode(struct reader *r, int line, const char *what,
                                  enum conf_tls_mode mode)
{
    const struct conf *conf = r->conf;
    if (mode != CONF_TLS_DISABLE && (conf->tls_client_cert == NULL || !conf->tls_client_key)) {
        return bad(r, line, "%s needs %s; name the file, or write %s: disable", what,
                   conf->tls_client_cert == NULL ? "tls.client.cert" : "tls.client.key",
                   strrchr(what, '.') + 1);
    }
    if (mode >= CONF_TLS_VERIFY_CA && conf->tls_client_ca == NULL) {
        return bad(r, line,
                   "%s verifies clients but tls.client.ca is missing; name the certificates that "
                   "sign theirs, or write %s: require",
                   what, strrchr(what, '.') + 1);
    }
    return ERR_NONE;
}

static enum err check_servers(struct reader *r)
{
    const struct conf *conf = r->conf;
    if (conf->tls_server_mode >= CONF_TLS_VERIFY_CA && conf->tls_server_ca == NULL) {
        return bad(r, setting_line(r, "tls.server.mode"),
                   "tls.server.mode verifies servers but tls.server.ca is missing; name the "
                   "certificates that sign theirs, or write mode: require");
    }
    if ((conf->tls_server_cert == NULL) != (conf->tls_server_key == NULL)) {
        const char *lonely = conf->tls_server_cert == NULL ? "tls.server.key" : "tls.server.cert";
        return bad(r, setting_line(r, lonely), "%s stands alone; %s belongs to it", lonely,
                   conf->tls_server_cert == NULL ? "tls.server.cert" : "tls.server.key");
    }
    if (conf->tls_server_negotiation == CONF_TLS_DIRECT &&
        conf->tls_server_mode < CONF_TLS_REQUIRE) {
        return bad(r, setting_line(r, "tls.server.negotiation"),
                   "tls.server.negotiation direct cannot fall back to plain connections; write "
                   "tls.server.mode: require, verify-ca or verify-full");
    }
    return ERR_NONE;
}

enum err tls_check(struct reader *r)
{
    const struct conf *conf = r->conf;
    enum err e = check_client_mode(r, setting_line(r, "tls.client.mode"), "tls.client.mode",
                                   conf->tls_client_mode);
    for (size_t i = 0; e == ERR_NONE && i < conf->listen_count; i++) {
        if (conf->listen[i].has_tls_mode) {
            e = check_client_mode(r, conf->listen[i].line, "listen.tls", conf->listen[i].tls_mode);
        }
    }
    e = e ? e : check_servers(r);
    e = e ? e
          : check_versions(r, "tls.client.max_version", conf->tls_client_min, conf->tls_client_max);
    return e ? e
             : check_versions(r, "tls.server.max_version", conf->tls_server_min,
                              conf->tls_server_max);
}

/* ---- files ----------------------------------------------------------------------------------- */

static enum err check_readable(struct reader *r, const char *setting, const char *path)
{
    if (path == NULL) {
        return ERR_NONE;
    }
    struct stat st;
    int failed = stat(path, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? EISDIR : 0;
    if (failed == 0 && access(path, R_OK) != 0) {
        failed = errno;
    }
    if (failed != 0) {
        return bad(r, setting_line(r, setting),
                   "%s: cannot read %s: %s; name a file that pgbraid may read", setting,
                   shown(r, path), strerrordesc_np(failed));
    }
    return ERR_NONE;
}

int conf_wants_client_tls(const struct conf *conf)
{
    int wanted = conf->tls_client_mode != CONF_TLS_DISABLE;
    for (size_t i = 0; i < conf->listen_count; i++) {
        const struct conf_listen *l = &conf->listen[i];
        wanted = wanted || (l->has_tls_mode && l->tls_mode != CONF_TLS_DISABLE);
    }
    return wanted;
}

enum err tls_check_files(struct reader *r)
{
    const struct conf *conf = r->conf;
    const struct {
        int used;
        const char *setting, *path;
    } files[] = {
        {conf_wants_client_tls(conf), "tls.client.cert", conf->tls_client_cert},
        {conf_wants_client_tls(conf), "tls.client.key", conf->tls_client_key},
        {conf_wants_client_tls(conf), "tls.client.ca", conf->tls_client_ca},
        {conf_wants_client_tls(conf), "tls.client.crl", conf->tls_client_crl},
        {conf->tls_server_mode != CONF_TLS_DISABLE, "tls.server.ca", conf->tls_server_ca},
        {conf->tls_server_mode != CONF_TLS_DISABLE, "tls.server.crl", conf->tls_server_crl},
        {conf->tls_server_mode != CONF_TLS_DISABLE, "tls.server.cert", conf->tls_server_cert},
        {conf->tls_server_mode != CONF_TLS_DISABLE, "tls.server.key", conf->tls_server_key},
    };
    enum err e = ERR_NONE;
    for (size_t i = 0; e == ERR_NONE && i < sizeof(files) / sizeof(files[0]); i++) {
        if (files[i].used) {
            e = check_readable(r, files[i].setting, files[i].path);
        }
    }
    return e;
}
