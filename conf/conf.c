/*
 * A load: read the file, build the snapshot in one arena, check what spans several settings, read
 * the files it names. On failure the arena goes and nothing is left behind.
 *
 * The snapshot lives in its own arena, struct conf included; temporary nodes live in the reader's
 * scratch arena, which is gone when conf_load() returns.
 */

#include "conf/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "conf/hba_in.h"
#include "conf/pgbouncer.h"
#include "conf/reader.h"

/* ---- files ----------------------------------------------------------------------------------- */

int file_read_all(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int failed = 0;
    buf_reserve(out, 4096); /* p is never NULL afterwards */
    while (out->n <= CONF_FILE_BYTES_MAX) {
        buf_reserve(out, 65536);
        ssize_t n = read(fd, out->p + out->n, 65536);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            failed = n < 0 ? errno : 0;
            break;
        }
        out->n += (size_t)n;
    }
    (void)close(fd);
    return failed;
}

const char *path_beside(struct arena *arena, const char *file, const char *text)
{
    const char *slash = strrchr(file, '/');
    if (text[0] == '/' || slash == NULL) {
        return text;
    }
    while (strncmp(text, "./", 2) == 0) {
        text += 2;
    }
    return arena_printf(arena, "%.*s/%s", (int)(slash - file), file, text);
}

static void resolve_paths(struct reader *r)
{
    struct conf *conf = r->conf;
    const char **paths[] = {&conf->data_dir,        &conf->pid_file,       &conf->users_file,
                            &conf->tls_client_cert, &conf->tls_client_key, &conf->tls_client_ca,
                            &conf->tls_client_crl,  &conf->tls_server_ca,  &conf->tls_server_crl,
                            &conf->hba_file,        &conf->ident_file,     &conf->tls_server_cert,
                            &conf->tls_server_key,  &conf->log_file};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (*paths[i] != NULL) {
            *paths[i] = path_beside(r->keep, r->conf->path, *paths[i]);
        }
    }
}

/* ---- rules over several settings ---------------------------------------------------------------
 */

static enum err check_http(struct reader *r)
{
    const struct conf *conf = r->conf;
    if (conf->http == NULL) {
        return ERR_NONE;
    }
    int line = setting_line(r, "http");
    enum err e = check_address(r, line, "http", conf->http, 0);
    for (size_t i = 0; i < conf->listen_count && e == ERR_NONE; i++) {
        if (strcmp(conf->listen[i].address, conf->http) == 0) {
            e = bad(r, line, "http is %s, which listen has too; give each an address of its own",
                    shown(r, conf->http));
        }
    }
    return e;
}

/* A name that no database has would be taken for "home" without a word. */
static enum err check_place(struct reader *r)
{
    const struct conf *conf = r->conf;
    const char *place = conf->workspace_place;
    if (strcmp(place, "home") == 0 || strcmp(place, "least_busy") == 0) {
        return ERR_NONE;
    }
    for (size_t i = 0; i < conf->databases_count; i++) {
        for (size_t k = 0; k < conf->databases[i].shards_count; k++) {
            if (strcmp(conf->databases[i].shards[k].name, place) == 0) {
                return ERR_NONE;
            }
        }
    }
    return bad(r, setting_line(r, "workspace.place"),
               "workspace.place is %s, which no database has a shard of; write home, least_busy "
               "or a shard's name",
               shown(r, place));
}

/* ---- load ------------------------------------------------------------------------------------ */

static enum err read_nodes(struct reader *r, const struct node *root)
{
    enum err e = settings_read(r, root);
    e = e ? e : topology_read(r, root);
    e = e ? e : check_http(r);
    e = e ? e : check_place(r);
    e = e ? e : auth_check(r);
    e = e ? e : networks_read(r);
    return e ? e : tls_check(r);
}

/* The root of the file's nodes, whichever language it is in. */
static enum err read_tree(struct reader *r, const void *p, size_t n, struct node **root)
{
    char cwd[PGB_CWD_BYTES_MAX];
    if (!pgbouncer_is_ini(r->file, p, n)) {
        return tree_read(r, p, n, root);
    }
    if (getcwd(cwd, sizeof(cwd)) == NULL) {
        return bad(r, 1, "the current folder is not known: %s; change to another one",
                   strerrordesc_np(errno));
    }
    return pgbouncer_tree(r, p, n, cwd, root);
}

enum err conf_read_bytes(struct reader *r, const void *p, size_t n)
{
    struct node *root = NULL;
    settings_default(r->conf);
    enum err e = read_tree(r, p, n, &root);
    return e ? e : read_nodes(r, root);
}

static enum err slurp_conf(struct reader *r, struct buf *out)
{
    int failed = file_read_all(r->file, out);
    return failed == 0 ? ERR_NONE
                       : note_set(r->note, ERR_IO,
                                  "%.200s: cannot be read: %s; name the configuration file",
                                  r->file, strerrordesc_np(failed));
}

static enum err load_into(struct reader *r)
{
    struct buf bytes = {0};
    enum err e = slurp_conf(r, &bytes);
    e = e ? e : conf_read_bytes(r, bytes.p, bytes.n);
    buf_free(&bytes);
    if (e) {
        return e;
    }
    resolve_paths(r);
    e = tls_check_files(r);
    return e ? e : auth_check_files(r);
}

enum err conf_load(const char *path, struct conf **out, struct note *note)
{
    struct arena *memory = mem_zero(sizeof(*memory));
    struct conf *conf = arena_zero(memory, sizeof(*conf));
    conf->_memory = memory;
    conf->_refs = 1;
    conf->path = arena_strdup(memory, path);
    struct reader r = {
        .file = conf->path, .note = note, .keep = memory, .conf = conf, .load = file_read_all};
    enum err e = load_into(&r);
    arena_free(&r.scratch);
    if (e) {
        if (conf->pgbouncer != NULL) {
            pgb_translate(note);
        }
        conf_unref(conf);
        return e;
    }
    *out = conf;
    return ERR_NONE;
}

enum err conf_import(const char *path, struct buf *out, struct note *note)
{
    struct arena memory = {0};
    struct conf conf = {.path = path};
    struct reader r = {
        .file = path, .note = note, .keep = &memory, .conf = &conf, .load = file_read_all};
    struct buf bytes = {0};
    struct node *root = NULL;
    settings_default(&conf);
    enum err e = slurp_conf(&r, &bytes);
    e = e ? e : read_tree(&r, bytes.p, bytes.n, &root);
    if (e == ERR_NONE && conf.pgbouncer == NULL) {
        e = bad(&r, 1, "this is a YAML file already; import reads PgBouncer's ini file");
    }
    e = e ? e : read_nodes(&r, root); /* what is written loads again */
    if (e == ERR_NONE) {
        buf_printf(out, "# Made by `braidctl import` from %s. Comments name the keys there.\n",
                   shown(&r, path));
        for (const struct conf_warning *w = conf.warnings; w != NULL; w = w->next) {
            buf_printf(out, "# %s\n", w->text);
        }
        buf_u8(out, '\n');
        node_print(root, out);
    }
    buf_free(&bytes);
    arena_free(&r.scratch);
    arena_free(&memory);
    return e;
}

struct conf *conf_ref(struct conf *conf)
{
    check(__atomic_fetch_add(&conf->_refs, 1, __ATOMIC_RELAXED) > 0);
    return conf;
}

void conf_unref(struct conf *conf)
{
    if (conf == NULL || __atomic_sub_fetch(&conf->_refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    regexes_free(conf);
    struct arena *memory = conf->_memory; /* conf lies in it */
    arena_free(memory);
    mem_free(memory);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int user_is(const void *name, const void *user)
{
    return strcmp(name, ((const struct conf_user *)user)->name);
}

const struct conf_user *conf_find_user(const struct conf *conf, const char *name)
{
    if (conf->users_count == 0) {
        return NULL;
    }
    return bsearch(name, conf->users, conf->users_count, sizeof(conf->users[0]), user_is);
}

const struct conf_database *conf_find_database(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->databases_count; i++) {
        if (strcmp(conf->databases[i].name, name) == 0) {
            return &conf->databases[i];
        }
    }
    return conf->fallback;
}

const char *conf_service_user(const struct conf *conf)
{
    if (conf->service_user != NULL) {
        return conf->service_user;
    }
    return conf->_first_user != NULL ? conf->_first_user : "postgres";
}
