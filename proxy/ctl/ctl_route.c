/* braidctl route, ring: where a key lives, and what other shards would move. */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proxy/ctl/ctl.h"
#include "wire/types.h"

static int is_uuid(const char *text)
{
    return strlen(text) == 36 && strspn(text, "0123456789abcdefABCDEF-") == 36 && text[8] == '-';
}

static int is_date(const char *text)
{
    return strlen(text) == 10 && strspn(text, "0123456789-") == 10 && text[4] == '-' &&
           text[7] == '-';
}

static uint32_t guess_type(const char *text)
{
    if (ctl_is_integer(text)) {
        return OID_INT8;
    }
    if (is_date(text)) {
        return OID_DATE;
    }
    return is_uuid(text) ? OID_UUID : OID_TEXT;
}

/* Types by --type where given, else by the look of the values. */
static enum err choose_types(const struct ctl_arguments *a, const char *const *keys, size_t count,
                             uint32_t *types, struct note *note)
{
    const char *rest = a->types;
    for (size_t i = 0; i < count; i++) {
        types[i] = guess_type(keys[i]);
        if (rest == NULL) {
            continue;
        }
        char name[64];
        size_t n = strcspn(rest, ",");
        (void)snprintf(name, sizeof(name), "%.*s", (int)n, rest);
        types[i] = key_type_parse(name);
        if (types[i] == 0) {
            return note_set(note, ERR_BAD_SETTING, "--type: \"%s\" is no type of keys", name);
        }
        rest = rest[n] == '\0' ? NULL : rest + n + 1;
    }
    return ERR_NONE;
}

/* "t" or "s.t". */
static int is_named(const char *schema, const char *name, const char *wanted)
{
    const char *dot = strchr(wanted, '.');
    if (dot == NULL) {
        return strcmp(schema, "public") == 0 && strcmp(name, wanted) == 0;
    }
    size_t n = (size_t)(dot - wanted);
    return strlen(schema) == n && memcmp(schema, wanted, n) == 0 && strcmp(name, dot + 1) == 0;
}

static const struct map_decl *find_decl(const struct map_decl *decls, size_t count,
                                        const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (is_named(decls[i].schema, decls[i].name, name)) {
            return &decls[i];
        }
    }
    return NULL;
}

static enum err route_in(const struct map *map, const char *name, const char *const *keys,
                         struct buf *out, struct note *note)
{
    for (size_t i = 0; i < map->tables_count; i++) {
        const struct map_table *t = &map->tables[i];
        if (is_named(t->schema, t->name, name)) {
            struct key_value values[KEY_COLUMNS_MAX];
            for (size_t k = 0; k < t->keys_count; k++) {
                values[k] = (struct key_value){.bytes = slice_of(keys[k])};
            }
            return route_print(map, t, values, out, note);
        }
    }
    return note_set(note, ERR_NO_TABLE, "table \"%.100s\" is not in the map", name);
}

static enum err route(const struct ctl_arguments *a, const struct conf *conf, struct arena *arena,
                      struct buf *out, struct note *note)
{
    const char *name = a->words[1];
    const char *const *keys = a->words + 2;
    size_t keys_count = a->words_count - 2;
    const struct conf_database *db = NULL;
    struct map_decl *decls = NULL;
    size_t count = 0;
    enum err e = ctl_database(a, conf, &db, note);
    if (e) {
        return e;
    }
    if (a->live) {
        e = ctl_live_decls(conf, db, arena, &decls, &count, note);
    } else {
        map_decls_of_conf(db, arena, &decls, &count);
    }
    const struct map_decl *decl = e ? NULL : find_decl(decls, count, name);
    if (e) {
        return e;
    }
    if (decl == NULL) {
        (void)note_set(
            note, ERR_NO_TABLE,
            "table \"%.100s\" is not declared in database \"%.60s\": it is local to shard "
            "\"%.60s\"",
            name, db->name, db->shards[0].name);
        note_hint(note, "Tables declared in SQL are found with --live.");
        return ERR_NO_TABLE;
    }
    if (decl->kind == MAP_REFERENCE) {
        return note_set(note, ERR_BAD_KEY,
                        "\"%.100s\" is a reference table: every shard has all of its rows", name);
    }
    if (keys_count != decl->keys_count) {
        return note_set(note, ERR_BAD_KEY,
                        "the key of \"%.100s\" has %zu columns, %zu values are given", name,
                        decl->keys_count, keys_count);
    }
    struct map_decl one = *decl;
    uint32_t types[KEY_COLUMNS_MAX] = {0};
    if (!a->live) {
        e = choose_types(a, keys, keys_count, types, note);
        one.key_types = types;
    }
    one.colocate = NULL; /* all groups of a database use the same ring */
    struct map *map = NULL;
    if (!e) {
        e = map_build(db, &one, 1, 1, &map, note);
    }
    if (!e) {
        e = route_in(map, name, keys, out, note);
        map_unref(map);
    }
    return e;
}

static enum err answer_route(const struct ctl_arguments *a, const struct conf *conf,
                             struct buf *out, int *status, struct note *note)
{
    (void)status;
    struct arena arena = {0};
    enum err e = route(a, conf, &arena, out, note);
    arena_free(&arena);
    return e;
}

int ctl_route(const struct ctl_arguments *a)
{
    if (a->words_count < 2) {
        struct note note;
        (void)note_set(&note, ERR_BAD_KEY, "usage: braidctl -c FILE route TABLE KEY...");
        return ctl_fail(&note);
    }
    return ctl_answer(a, answer_route);
}

static enum err answer_ring(const struct ctl_arguments *a, const struct conf *conf, struct buf *out,
                            int *status, struct note *note)
{
    (void)status;
    const struct conf_database *db = NULL;
    struct ring_shard shards[SHARDS_MAX];
    enum err e = ctl_database(a, conf, &db, note);
    if (e) {
        return e;
    }
    check(db->shards_count <= SHARDS_MAX);
    for (size_t i = 0; i < db->shards_count; i++) {
        shards[i] = (struct ring_shard){.name = db->shards[i].name, .weight = db->shards[i].weight};
    }
    return ring_print(shards, db->shards_count, a->changes, a->changes_count, out, note);
}

int ctl_ring(const struct ctl_arguments *a)
{
    return ctl_answer(a, answer_ring);
}
