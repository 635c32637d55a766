#ifndef PROXY_CTL_H
#define PROXY_CTL_H

/*
 * braidctl: what an operator asks without SQL. commands.def is the list of what can be asked; each
 * ctl_*.c answers on one subject.
 *
 *     command line --> ctl_main() --> commands.def --> one ctl_fn --> text on standard output
 *
 * One thread; calls block. Exit status: 0, 1 (it was looked at and something differs), or 2 with
 * the reason on standard error.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "conf/conf.h"
#include "proxy/control/world.h"
#include "replication/replication.h"
#include "shardmap/shardmap.h"

enum {
    CTL_BAD = 2, /* exit status */
    CTL_WORDS_MAX = 32,
    CTL_CHANGES_MAX = 64,
    CTL_TIMEOUT_MS = 10000,
    CTL_COMMAND_MS = 24 * 3600 * 1000 /* PAUSE waits; Ctrl-C ends it */
};

/* Words and options, borrowed from argv. */
struct ctl_arguments {
    const char *path, *database, *types, *user;
    int live, force, commit, abort;
    const char *words[CTL_WORDS_MAX]; /* words[0] is the command */
    size_t words_count;
    struct ring_change changes[CTL_CHANGES_MAX];
    size_t changes_count;
};

/* argv as arguments. Errors: ERR_BAD_SETTING, ERR_TOO_BIG. */
enum err ctl_arguments_read(int argc, char **argv, struct ctl_arguments *a,
                            struct note *note) MUST_CHECK;
int ctl_is_integer(const char *text);

int ctl_main(int argc, char **argv);

/* What a command is. Returns the exit status. */
typedef int ctl_fn(const struct ctl_arguments *a);
ctl_fn ctl_check, ctl_schema, ctl_verify; /* ctl_check.c */
ctl_fn ctl_route, ctl_ring;               /* ctl_route.c */
ctl_fn ctl_show, ctl_failover;            /* ctl_console.c */
ctl_fn ctl_cdc;                           /* ctl_cdc.c */
ctl_fn ctl_tx;                            /* ctl_tx.c */
ctl_fn ctl_map;                           /* ctl_map.c */
ctl_fn ctl_store;                         /* ctl_store.c */
ctl_fn ctl_page, ctl_import, ctl_secret;  /* ctl_pages.c */
ctl_fn ctl_version, ctl_help;             /* ctl.c */

/* For commands. ------------------------------------------------------------------------------ */

int ctl_fail(const struct note *note); /* on standard error; CTL_BAD */
int ctl_print(struct buf *out);        /* on standard output, and free it; 0 or 1 */

/*
 * Load the configuration, ask `fn`, print what it wrote.
 *   *status  exit status when fn returns no error; 0 unless it sets it
 */
typedef enum err ctl_answer_fn(const struct ctl_arguments *a, const struct conf *conf,
                               struct buf *out, int *status, struct note *note);
int ctl_answer(const struct ctl_arguments *a, ctl_answer_fn *fn);

/* How to reach the console of the running pgbraid. Texts are the configuration's, or `where`'s. */
struct ctl_console {
    struct pg_target target;
    struct addr addr;
    char text[ADDR_TEXT_BYTES];
};
enum err ctl_console_target(const struct ctl_arguments *a, const struct conf *conf,
                            struct ctl_console *where, struct note *note) MUST_CHECK;

/* The words as a statement of the running pgbraid's console. */
enum err ctl_console_say(const struct ctl_arguments *a, const struct conf *conf, struct buf *out,
                         struct note *note) MUST_CHECK;
/* The database of -d, or the first one with several shards. Errors: ERR_NO_DATABASE. */
enum err ctl_database(const struct ctl_arguments *a, const struct conf *conf,
                      const struct conf_database **out, struct note *note) MUST_CHECK;
/* How to reach a server; `addrs` has room for SERVER_ADDRS_MAX and lives as long as *out. */
enum err ctl_target(const struct conf *conf, const struct conf_server *server, struct addr *addrs,
                    struct pg_target *out, struct note *note) MUST_CHECK;
/* Declarations of tables with the types that the home shard knows. Owner: the arena. */
enum err ctl_live_decls(const struct conf *conf, const struct conf_database *db,
                        struct arena *arena, struct map_decl **decls, size_t *count,
                        struct note *note) MUST_CHECK;

#endif
