/* The front of braidctl: the table of commands, and what all of them need. */

#include "proxy/ctl/ctl.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    ctl_fn *run;
    const char *usage;
} commands[] = {
#define COMMAND(name, function, usage) {name, function, usage},
#include "proxy/ctl/commands.def"
#undef COMMAND
};

enum {
    COMMANDS = sizeof(commands) / sizeof(commands[0])
};

static void print_usage(FILE *out)
{
    (void)fputs("braidctl: questions to pgbraid\n\n", out);
    const char *head = "usage:";
    for (size_t i = 0; i < COMMANDS; i++) {
        if (commands[i].usage[0] != '\0') {
            (void)fprintf(out, "%s%s", head, commands[i].usage + strlen(head));
            head = "      ";
        }
    }
    (void)fputs("\nA key that begins with '-' and is no number goes behind \"--\".\n", out);
}

int ctl_help(const struct ctl_arguments *a)
{
    (void)a;
    print_usage(stdout);
    return 0;
}

int ctl_version(const struct ctl_arguments *a)
{
    (void)a;
    (void)printf("braidctl %s\n", PGBRAID_VERSION);
    return 0;
}

int ctl_main(int argc, char **argv)
{
    struct ctl_arguments a = {0};
    struct note note = {.text = ""};
    enum err e = ctl_arguments_read(argc, argv, &a, &note);
    if (e) {
        return ctl_fail(&note);
    }
    if (a.words_count == 0) {
        print_usage(stderr);
        return CTL_BAD;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, a.words[0]) == 0) {
            return commands[i].run(&a);
        }
    }
    (void)note_set(&note, ERR_BAD_SETTING, "unknown command \"%.60s\"; see braidctl --help",
                   a.words[0]);
    return ctl_fail(&note);
}

/* ---- for commands ------------------------------------------------------------------------------
 */

int ctl_fail(const struct note *note)
{
    (void)fprintf(stderr, "braidctl: %s\n", note->text);
    if (note->hint[0] != '\0') {
        (void)fprintf(stderr, "braidctl: hint: %s\n", note->hint);
    }
    return CTL_BAD;
}

int ctl_print(struct buf *out)
{
    size_t written = out->n == 0 ? 0 : fwrite(out->p, 1, out->n, stdout);
    int whole = written == out->n && fflush(stdout) == 0;
    buf_free(out);
    return whole ? 0 : 1;
}

static enum err load(const struct ctl_arguments *a, struct conf **out, struct note *note)
{
    if (a->path == NULL) {
        (void)note_set(note, ERR_BAD_SETTING, "-c FILE is missing; see braidctl --help");
        return ERR_BAD_SETTING;
    }
    return conf_load(a->path, out, note);
}

int ctl_answer(const struct ctl_arguments *a, ctl_answer_fn *fn)
{
    struct note note = {.text = ""};
    struct conf *conf = NULL;
    struct buf out = {0};
    int status = 0;
    enum err e = load(a, &conf, &note);
    e = e ? e : fn(a, conf, &out, &status, &note);
    conf_unref(conf);
    int printed = ctl_print(&out); /* of a question that failed half-way: what was found */
    if (e) {
        return ctl_fail(&note);
    }
    return printed != 0 ? CTL_BAD : status;
}

enum err ctl_database(const struct ctl_arguments *a, const struct conf *conf,
                      const struct conf_database **out, struct note *note)
{
    if (a->database != NULL) {
        *out = conf_find_database(conf, a->database);
        if (*out == NULL) {
            (void)note_set(note, ERR_NO_DATABASE, "database \"%.100s\" is not configured",
                           a->database);
            return ERR_NO_DATABASE;
        }
        return ERR_NONE;
    }
    for (size_t i = 0; i < conf->databases_count; i++) {
        if (conf->databases[i].shards_count > 1) {
            *out = &conf->databases[i];
            return ERR_NONE;
        }
    }
    if (conf->databases_count == 0) {
        (void)note_set(note, ERR_NO_DATABASE, "no database is configured");
        return ERR_NO_DATABASE;
    }
    *out = &conf->databases[0];
    return ERR_NONE;
}

static enum err take_row(void *arg, size_t query, const struct slice *values, size_t count,
                         struct note *note)
{
    return catalog_build_row(arg, query, values, count, note);
}

enum err ctl_target(const struct conf *conf, const struct conf_server *server, struct addr *addrs,
                    struct pg_target *out, struct note *note)
{
    *out = (struct pg_target){
        .host = server->host, .addrs = addrs, .port = server->port, .timeout_ms = CTL_TIMEOUT_MS};
    pg_target_login(out, conf);
    return addr_resolve(server->host, server->port, addrs, SERVER_ADDRS_MAX, &out->addrs_count,
                        note);
}

/* Declarations with the types of the servers. */
enum err ctl_live_decls(const struct conf *conf, const struct conf_database *db,
                        struct arena *arena, struct map_decl **decls, size_t *count,
                        struct note *note)
{
    struct addr addrs[SERVER_ADDRS_MAX];
    struct pg_target home;
    enum err e = ctl_target(conf, &conf->servers[db->shards[0].primary], addrs, &home, note);
    if (e) {
        return e;
    }
    home.dbname = db->dbname;
    struct catalog_build *build = catalog_build_new();
    struct catalog_source source = {.queries_count = catalog_queries_count,
                                    .query = catalog_query,
                                    .row = take_row,
                                    .arg = build};
    struct note unused;
    e = catalog_load(&home, NULL, &source, NULL, &unused, note);
    if (e) {
        catalog_build_drop(build);
        return note_wrap(note, e, "home shard");
    }
    struct catalog *catalog = catalog_build_finish(build, 1);
    e = catalog_map_decls(catalog, db, arena, decls, count, note);
    catalog_unref(catalog);
    return e;
}
