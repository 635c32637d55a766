/* braidctl check, schema check, verify: is what is there as it should be. */

#include <stdio.h>
#include <string.h>

#include "proxy/check/check.h"
#include "proxy/ctl/ctl.h"

int ctl_check(const struct ctl_arguments *a)
{
    struct note note = {.text = ""};
    struct parts *parts = NULL;
    if (a->path == NULL) {
        (void)note_set(&note, ERR_BAD_SETTING, "-c FILE is missing; see braidctl --help");
        return ctl_fail(&note);
    }
    enum err e = parts_load(a->path, &parts, &note);
    if (e) {
        return ctl_fail(&note);
    }
    (void)printf("configuration is valid: %zu databases, %zu servers, %zu users\n",
                 parts->conf->databases_count, parts->conf->servers_count,
                 parts->conf->users_count);
    parts_free(parts);
    return 0;
}

typedef enum err check_fn(const struct check_place *places, size_t count, const struct map *map,
                          struct buf *out, size_t *differences, struct note *note);

static enum err check_shards(const struct conf *conf, const struct conf_database *db,
                             struct arena *arena, check_fn *fn, struct buf *out, size_t *found,
                             struct note *note)
{
    struct map_decl *decls = NULL;
    struct map *map = NULL;
    size_t count = 0;
    struct check_place *places = arena_zero(arena, db->shards_count * sizeof(*places));
    enum err e = ctl_live_decls(conf, db, arena, &decls, &count, note);
    e = e ? e : map_build(db, decls, count, 1, &map, note);
    for (size_t i = 0; i < db->shards_count && !e; i++) {
        struct addr *addrs = arena_zero(arena, SERVER_ADDRS_MAX * sizeof(*addrs));
        places[i].shard = db->shards[i].name;
        e = ctl_target(conf, &conf->servers[db->shards[i].primary], addrs, &places[i].target, note);
        places[i].target.dbname = db->dbname;
        places[i].target.timeout_ms = CTL_COMMAND_MS;
    }
    e = e ? e : fn(places, db->shards_count, map, out, found, note);
    map_unref(map);
    return e;
}

/* 0: all is well, 1: something differs. */
static enum err answer_check(const struct ctl_arguments *a, const struct conf *conf, check_fn *fn,
                             struct buf *out, int *status, struct note *note)
{
    const struct conf_database *db = NULL;
    struct arena arena = {0};
    size_t found = 0;
    enum err e = ctl_database(a, conf, &db, note);
    e = e ? e : check_shards(conf, db, &arena, fn, out, &found, note);
    arena_free(&arena);
    if (!e) {
        buf_printf(out,
                   found == 0 ? "%zu shards: no differences\n" : "%zu shards: %zu differences\n",
                   db->shards_count, found);
        *status = found > 0;
    }
    return e;
}

static enum err answer_schema(const struct ctl_arguments *a, const struct conf *conf,
                              struct buf *out, int *status, struct note *note)
{
    return answer_check(a, conf, schema_check, out, status, note);
}

int ctl_schema(const struct ctl_arguments *a)
{
    if (a->words_count != 2 || strcmp(a->words[1], "check") != 0) {
        struct note note;
        (void)note_set(&note, ERR_BAD_SETTING, "usage: braidctl -c FILE schema check");
        return ctl_fail(&note);
    }
    return ctl_answer(a, answer_schema);
}

static enum err answer_verify(const struct ctl_arguments *a, const struct conf *conf,
                              struct buf *out, int *status, struct note *note)
{
    return answer_check(a, conf, verify_rows, out, status, note);
}

int ctl_verify(const struct ctl_arguments *a)
{
    return ctl_answer(a, answer_verify);
}
