/*
 * pgbraid: the process. Reads the command line, prepares the process, hands over to control.c.
 * Exit status: 0 after a stop that was asked for, 2 when the command line, the configuration or
 * something of the machine does not allow a start.
 */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/control/control.h"
#include "proxy/control/process.h"

enum {
    EXIT_BAD = 2,
    LOG_STOP_WAIT_MS = 2000
};

static const char usage[] =
    "pgbraid: many PostgreSQL servers, one connection\n"
    "\n"
    "usage: pgbraid [OPTION]... FILE    run with this configuration, log on stderr\n"
    "\n"
    "FILE is ours (YAML) or PgBouncer's (pgbouncer.ini).\n"
    "\n"
    "  -c, --config FILE   the same as FILE\n"
    "      --check         only check the configuration\n"
    "  -d, --daemon        run in the background; needs pid_file and log.file or log.syslog\n"
    "  -R, --reboot        take over from the running process without refusing a client\n"
    "  -q, --quiet         log to the file or the system's log only, not to stderr\n"
    "  -u, --user NAME     become this system user; needs a start as root\n"
    "  -v, --verbose       log at level debug, whatever the configuration says\n"
    "  -V, --version       print the version\n"
    "  -h, --help          print this\n"
    "\n"
    "signals: HUP   read the configuration again, open the log file anew\n"
    "         TERM  stop: sessions end with their transactions; once more: stop at once\n"
    "\n"
    "braidctl sample prints a configuration file to begin with; braidctl manual explains it;\n"
    "braidctl import writes it from PgBouncer's.\n";

struct arguments {
    const char *path;
    const char *user;
    int check_only, daemon, reboot, quiet, verbose;
};

static int fail(const struct note *note)
{
    (void)fprintf(stderr, "pgbraid: %s\n", note->text);
    if (note->hint[0] != '\0') {
        (void)fprintf(stderr, "pgbraid: hint: %s\n", note->hint);
    }
    return EXIT_BAD;
}

static enum err take_path(struct arguments *out, const char *path, struct note *note)
{
    if (out->path != NULL) {
        return note_set(note, ERR_BAD_SETTING, "\"%.200s\" is not expected; see pgbraid --help",
                        path);
    }
    out->path = path;
    return ERR_NONE;
}

/* -1: go on; else the exit status. */
static int take_option(struct arguments *out, int option, struct note *note)
{
    enum err e = ERR_NONE;
    switch (option) {
    case 'c': e = take_path(out, optarg, note); break;
    case 'k': out->check_only = 1; break;
    case 'd': out->daemon = 1; break;
    case 'R': out->reboot = 1; break;
    case 'q': out->quiet = 1; break;
    case 'u': out->user = optarg; break;
    case 'v': out->verbose = 1; break;
    case 'V': (void)printf("pgbraid %s\n", PGBRAID_VERSION); return 0;
    case 'h': (void)fputs(usage, stdout); return 0;
    default: (void)fputs("pgbraid: see pgbraid --help\n", stderr); return EXIT_BAD;
    }
    return e ? fail(note) : -1;
}

static int read_arguments(int argc, char **argv, struct arguments *out)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'k'},
        {"daemon", no_argument, NULL, 'd'},       {"reboot", no_argument, NULL, 'R'},
        {"quiet", no_argument, NULL, 'q'},        {"user", required_argument, NULL, 'u'},
        {"verbose", no_argument, NULL, 'v'},      {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    struct note note = {.text = ""};
    int option;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    while ((option = getopt_long(argc, argv, "c:dRqu:vVh", options, NULL)) >= 0) {
        int status = take_option(out, option, &note);
        if (status >= 0) {
            return status;
        }
    }
    for (int i = optind; i < argc; i++) {
        if (take_path(out, argv[i], &note)) {
            return fail(&note);
        }
    }
    if (out->path == NULL) {
        (void)fputs("pgbraid: no configuration file is named; see pgbraid --help\n", stderr);
        return EXIT_BAD;
    }
    return -1;
}

/* One descriptor per client and per server connection: take what the system allows. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int say_valid(struct parts *parts)
{
    size_t tables = 0;
    for (size_t i = 0; i < parts->conf->databases_count; i++) {
        tables += parts->conf->databases[i].tables_count;
    }
    control_log_warnings(parts->conf);
    (void)printf("configuration is valid: %zu databases, %zu servers, %zu tables, %zu users\n",
                 parts->conf->databases_count, parts->conf->servers_count, tables,
                 parts->conf->users_count);
    parts_free(parts);
    return 0;
}

/* Before any file is opened that has to be opened again later: as who we shall be then. */
static enum err become_user(const struct arguments *args, struct note *note)
{
    struct conf *conf = NULL;
    if (args->check_only || (args->user == NULL && geteuid() != 0)) {
        return args->user == NULL || args->check_only ? ERR_NONE : process_become(args->user, note);
    }
    enum err e = conf_load(args->path, &conf, note);
    const char *name = args->user != NULL || e ? args->user : conf->user;
    if (!e && name != NULL) {
        e = process_become(name, note);
    }
    conf_unref(conf);
    return e;
}

static enum err check_daemon(const struct conf *conf, struct note *note)
{
    if (conf->pid_file == NULL) {
        return note_set(note, ERR_BAD_SETTING, "-d needs pid_file (pidfile in PgBouncer's file)");
    }
    if (conf->log_file == NULL && conf->log_syslog != CONF_ON) {
        return note_set(note, ERR_BAD_SETTING,
                        "-d needs log.file or log.syslog (logfile or syslog "
                        "in PgBouncer's file)");
    }
    return ERR_NONE;
}

static enum err start_log(const struct arguments *args, const struct conf *conf, struct note *note)
{
    int quiet = args->quiet || args->daemon;
    log_set_level(args->verbose ? LOG_LEVEL_DEBUG : conf->log_level);
    log_set_format(conf->log_format);
    log_also_stderr(conf->pgbouncer != NULL && !quiet);
    if (conf->log_syslog == CONF_ON) {
        log_also_syslog(conf->log_syslog_ident, conf->log_syslog_facility);
    }
    const char *path = conf->log_file == NULL && quiet ? "/dev/null" : conf->log_file;
    return log_start(path, note);
}

static int run(const struct arguments *args, struct parts *parts)
{
    const struct control_options options = {
        .conf_path = args->path, .verbose = args->verbose, .online_restart = args->reboot};
    struct conf *conf = conf_ref(parts->conf);
    struct control *control = NULL;
    struct note note = {.text = ""};
    enum err e = ERR_NONE;
    if (conf->pid_file != NULL && !args->reboot) {
        e = process_pid_file(conf->pid_file, 0, &note);
    }
    if (e) {
        parts_free(parts);
    } else {
        e = control_start(&options, &parts, &control, &note);
    }
    if (!e && conf->pid_file != NULL && args->reboot) { /* until now it was the other one's */
        struct note why = {.text = ""};
        if (process_pid_file(conf->pid_file, 1, &why)) {
            log_event(LOG_SETTING, "what=\"%s\"", why.text);
        }
    }
    if (!e) {
        process_detached();
        control_run(control);
        control_free(control);
    }
    process_pid_file_remove(conf->pid_file);
    conf_unref(conf);
    return e ? fail(&note) : 0;
}

/* With the configuration at hand. Takes `parts`. */
static int start(const struct arguments *args, struct parts *parts)
{
    struct note note = {.text = ""};
    enum err e = args->daemon ? check_daemon(parts->conf, &note) : ERR_NONE;
    if (!e && args->daemon) {
        e = process_detach(EXIT_BAD, &note);
    }
    if (!e) {
        e = start_log(args, parts->conf, &note);
    }
    if (e) {
        parts_free(parts);
        return fail(&note);
    }
    int status = run(args, parts);
    log_stop(LOG_STOP_WAIT_MS);
    return status;
}

int main(int argc, char **argv)
{
    struct arguments args = {0};
    int status = read_arguments(argc, argv, &args);
    if (status >= 0) {
        return status;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ,
                 SIG_IGN); /* a file that may not grow is an error of the disk, not our end */
    (void)signal(SIGUSR1, SIG_IGN); /* until the control thread listens to them */
    (void)signal(SIGUSR2, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a log file at its limit fails the write instead */
    raise_descriptors();
    struct parts *parts = NULL;
    struct note note = {.text = ""};
    enum err e = become_user(&args, &note);
    e = e ? e : parts_load(args.path, &parts, &note);
    if (!e && !args.check_only && parts->conf->user != NULL && args.user == NULL) {
        e = process_become(parts->conf->user, &note); /* it is, or cannot be */
    }
    if (e) {
        parts_free(parts);
        return fail(&note);
    }
    return args.check_only ? say_valid(parts) : start(&args, parts);
}
