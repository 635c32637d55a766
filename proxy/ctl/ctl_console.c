/* braidctl show and its like: statements of the admin console, sent to a running pgbraid. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "proxy/admin/admin.h"
#include "proxy/ctl/ctl.h"

/* Where the console listens, as seen from this machine. */
static enum err console_address(const struct conf *conf, struct addr *out, struct note *note)
{
    if (conf->listen_count == 0) {
        (void)note_set(note, ERR_BAD_SETTING, "the configuration names no \"listen\" address");
        return ERR_BAD_SETTING;
    }
    enum err e = addr_parse(conf->listen[0].address, out, note);
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&out->sa;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&out->sa;
    if (!e && out->sa.ss_family == AF_INET && v4->sin_addr.s_addr == htonl(INADDR_ANY)) {
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (!e && out->sa.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)) {
        v6->sin6_addr = in6addr_loopback;
    }
    return e;
}

/* The words as one statement; names keep their case in quotes. */
static void print_show(const struct ctl_arguments *a, struct buf *out)
{
    buf_text(out, a->words[0]);
    for (size_t i = 1; i < a->words_count; i++) {
        buf_text(out, " \"");
        for (const char *p = a->words[i]; *p != '\0'; p++) {
            buf_text(out, *p == '"' ? "\"" : "");
            buf_u8(out, (uint8_t)*p);
        }
        buf_u8(out, '"');
    }
    buf_u8(out, 0);
}

/* The service user, or else one of auth.admin_users whose password is known. */
static void login_as_admin(struct pg_target *target, const struct conf *conf)
{
    pg_target_login(target, conf);
    for (size_t i = 0; i < conf->users_count && !admin_allowed(conf, target->user); i++) {
        if (admin_allowed(conf, conf->users[i].name)) {
            pg_target_login_as(target, conf, conf->users[i].name);
        }
    }
}

enum err ctl_console_target(const struct ctl_arguments *a, const struct conf *conf,
                            struct ctl_console *where, struct note *note)
{
    struct pg_target *target = &where->target;
    memset(where, 0, sizeof(*where));
    enum err e = console_address(conf, &where->addr, note);
    if (e) {
        return e;
    }
    if (a->user != NULL) {
        pg_target_login_as(target, conf, a->user);
    } else {
        login_as_admin(target, conf);
    }
    target->host = addr_text(&where->addr, where->text);
    if (where->addr.sa.ss_family == AF_UNIX) {
        struct sockaddr_un *un = (struct sockaddr_un *)(void *)&where->addr.sa;
        char *slash = strrchr(un->sun_path, '/');
        if (slash != NULL) {
            *slash = '\0'; /* libpq wants the directory */
        }
        target->host = un->sun_path;
    }
    target->addrs = &where->addr;
    target->addrs_count = 1;
    target->port = addr_port(&where->addr);
    target->dbname = "pgbraid";
    target->tls_mode = CONF_TLS_PREFER;
    target->tls_ca = target->tls_crl = target->tls_cert = target->tls_key = NULL;
    target->timeout_ms = CTL_TIMEOUT_MS;
    return ERR_NONE;
}

enum err ctl_console_say(const struct ctl_arguments *a, const struct conf *conf, struct buf *out,
                         struct note *note)
{
    struct ctl_console where;
    enum err e = ctl_console_target(a, conf, &where, note);
    if (e) {
        return e;
    }
    where.target.timeout_ms = strcmp(a->words[0], "show") == 0 ? CTL_TIMEOUT_MS : CTL_COMMAND_MS;
    struct buf sql = {0};
    print_show(a, &sql);
    e = console_run(&where.target, (const char *)sql.p, out, note);
    buf_free(&sql);
    return e;
}

static enum err answer_show(const struct ctl_arguments *a, const struct conf *conf, struct buf *out,
                            int *status, struct note *note)
{
    (void)status;
    return ctl_console_say(a, conf, out, note);
}

int ctl_show(const struct ctl_arguments *a)
{
    return ctl_answer(a, answer_show);
}

/* failover SHARD with its options, as the console's words: FAILOVER [database] shard [FORCE]. */
int ctl_failover(const struct ctl_arguments *a)
{
    struct ctl_arguments words = *a;
    words.words_count = 1;
    if (a->words_count != 2) {
        struct note note;
        (void)note_set(&note, ERR_BAD_SETTING, "failover needs the name of one shard");
        return ctl_fail(&note);
    }
    if (a->database != NULL) {
        words.words[words.words_count++] = a->database;
    }
    words.words[words.words_count++] = a->words[1];
    if (a->force) {
        words.words[words.words_count++] = "FORCE";
    }
    return ctl_show(&words);
}
