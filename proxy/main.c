/*
 * pgbraid: the process. Reads the command line, prepares the process, hands over to control.c.
 * Exit status: 0 after a stop that was asked for, 2 when the command line, the configuration or
 * something of the machine does not allow a start.
 */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/control.h"

enum {
    EXIT_BAD = 2,
    LOG_STOP_WAIT_MS = 2000
};

static const char usage[] =
    "pgbraid: many PostgreSQL servers, one connection\n"
    "\n"
    "usage: pgbraid -c FILE            run in the foreground, log on stderr\n"
    "       pgbraid -c FILE --check    only check the configuration\n"
    "       pgbraid --version\n"
    "       pgbraid --help\n"
    "\n"
    "signals: HUP   read the configuration again\n"
    "         TERM  stop: sessions end with their transactions; once more: stop at once\n"
    "\n"
    "braidctl sample prints a configuration file to begin with; braidctl manual explains it.\n";

struct arguments {
    const char *path;
    int check_only;
};

static int fail(const struct note *note)
{
    (void)fprintf(stderr, "pgbraid: %s\n", note->text);
    if (note->hint[0] != '\0') {
        (void)fprintf(stderr, "pgbraid: hint: %s\n", note->hint);
    }
    return EXIT_BAD;
}

/* -1: go on; else the exit status. */
static int read_arguments(int argc, char **argv, struct arguments *out)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"check", no_argument, NULL, 'k'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    while ((option = getopt_long(argc, argv, "c:Vh", options, NULL)) >= 0) {
        switch (option) {
        case 'c': out->path = optarg; break;
        case 'k': out->check_only = 1; break;
        case 'V': (void)printf("pgbraid %s\n", PGBRAID_VERSION); return 0;
        case 'h': (void)fputs(usage, stdout); return 0;
        default: (void)fputs("pgbraid: see pgbraid --help\n", stderr); return EXIT_BAD;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "pgbraid: \"%s\" is not expected; see pgbraid --help\n",
                      argv[optind]);
        return EXIT_BAD;
    }
    if (out->path == NULL) {
        (void)fputs("pgbraid: -c FILE is missing; see pgbraid --help\n", stderr);
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

static int run(const char *path, struct parts *parts)
{
    struct control *control = NULL;
    struct note note = {.text = ""};
    enum err e = control_start(path, &parts, &control, &note);
    if (e) {
        return fail(&note);
    }
    control_run(control);
    control_free(control);
    return 0;
}

int main(int argc, char **argv)
{
    struct arguments args = {0};
    int status = read_arguments(argc, argv, &args);
    if (status >= 0) {
        return status;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a log file at its limit fails the write instead */
    raise_descriptors();
    struct parts *parts = NULL;
    struct note note = {.text = ""};
    enum err e = parts_load(args.path, &parts, &note);
    if (e) {
        return fail(&note);
    }
    if (args.check_only) {
        size_t tables = 0;
        for (size_t i = 0; i < parts->conf->databases_count; i++) {
            tables += parts->conf->databases[i].tables_count;
        }
        (void)printf("configuration is valid: %zu databases, %zu servers, %zu tables, %zu users\n",
                     parts->conf->databases_count, parts->conf->servers_count, tables,
                     parts->conf->users_count);
        parts_free(parts);
        return 0;
    }
    log_set_level(parts->conf->log_level);
    log_set_format(parts->conf->log_format);
    e = log_start(parts->conf->log_file, &note);
    if (e) {
        parts_free(parts);
        return fail(&note);
    }
    status = run(args.path, parts);
    log_stop(LOG_STOP_WAIT_MS);
    return status;
}
