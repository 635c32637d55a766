/*
 * Tables declared in SQL. Each declaration is the comment of a domain in schema braid on the home
 * shard: transactional, logged, dumped by pg_dump, and readable through pg_description in databases
 * where the schema does not exist.
 *
 *     braid.table_<md5 of "schema.name">   comment: fields with 0x1F between them
 *         kind h|r|l|f, schema, name, colocate or "", keys count, keys...,
 *         splits count, then each: shard name, "<" bound | "v" count values... | "-"
 *
 * Shards stand there by name, because their numbers are places in the configuration.
 */

#include <stdlib.h>
#include <string.h>

#include "planner/catalog.h"
#include "planner/catalog_inner.h"

/*
 * The functions check who calls: session_user must be able to act as the table's owner. Their
 * search_path is fixed, names go through quoting (%I, %L, md5).
 */
const char *const catalog_install_sql =
    "SELECT pg_catalog.pg_advisory_xact_lock(1651663204, 1);\n" /* several of us start at once */
    "CREATE SCHEMA IF NOT EXISTS braid;\n"
    "GRANT USAGE ON SCHEMA braid TO PUBLIC;\n"
    "CREATE OR REPLACE FUNCTION braid.check_owner(s text, t text) RETURNS void LANGUAGE plpgsql "
    "SET search_path = pg_catalog, pg_temp AS $braid$\n"
    "DECLARE o oid;\n"
    "BEGIN\n"
    "  SELECT c.relowner INTO o FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
    "ON n.oid = c.relnamespace WHERE n.nspname = s AND c.relname = t AND c.relkind IN ('r', 'p');\n"
    "  IF o IS NULL THEN RAISE EXCEPTION 'table \"%.%\" does not exist', s, t "
    "USING ERRCODE = '42P01'; END IF;\n"
    "  IF NOT pg_catalog.pg_has_role(session_user, o, 'USAGE') THEN "
    "RAISE EXCEPTION 'must be owner of table %', t USING ERRCODE = '42501'; END IF;\n"
    "END $braid$;\n"
    "CREATE OR REPLACE FUNCTION braid.declare_table(s text, t text, d text) RETURNS void "
    "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $braid$\n"
    "DECLARE n text := 'table_' || pg_catalog.md5(s || '.' || t);\n"
    "BEGIN\n"
    "  PERFORM braid.check_owner(s, t);\n"
    "  IF pg_catalog.to_regtype('braid.' || n) IS NULL THEN "
    "EXECUTE pg_catalog.format('CREATE DOMAIN braid.%I AS text', n); END IF;\n"
    "  EXECUTE pg_catalog.format('COMMENT ON DOMAIN braid.%I IS %L', n, d);\n"
    "END $braid$;\n"
    "CREATE OR REPLACE FUNCTION braid.forget_table(s text, t text) RETURNS void "
    "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $braid$\n"
    "BEGIN\n"
    "  PERFORM braid.check_owner(s, t);\n"
    "  EXECUTE pg_catalog.format('DROP DOMAIN IF EXISTS braid.%I', "
    "'table_' || pg_catalog.md5(s || '.' || t));\n"
    "END $braid$;\n";

#define FIELD_END '\x1F'

static void put_field(struct buf *out, const char *text)
{
    if (out->n > 0) {
        buf_u8(out, FIELD_END);
    }
    buf_text(out, text);
}

void decl_print(const struct map_decl *d, const char *const *shard_names, struct buf *out)
{
    static const char *const kinds[] = {
        [MAP_HASH] = "h", [MAP_RANGE] = "r", [MAP_LIST] = "l", [MAP_REFERENCE] = "f"};
    put_field(out, kinds[d->kind]);
    put_field(out, d->schema);
    put_field(out, d->name);
    put_field(out, d->colocate == NULL ? "" : d->colocate);
    buf_printf(out, "%c%zu", FIELD_END, d->keys_count);
    for (size_t i = 0; i < d->keys_count; i++) {
        put_field(out, d->keys[i]);
    }
    buf_printf(out, "%c%zu", FIELD_END, d->splits_count);
    for (size_t i = 0; i < d->splits_count; i++) {
        const struct map_decl_split *s = &d->splits[i];
        put_field(out, shard_names[s->shard]);
        if (s->below != NULL) {
            put_field(out, "<");
            put_field(out, s->below);
        } else if (s->values_count > 0) {
            put_field(out, "v");
            buf_printf(out, "%c%zu", FIELD_END, s->values_count);
            for (size_t k = 0; k < s->values_count; k++) {
                put_field(out, s->values[k]);
            }
        } else {
            put_field(out, "-");
        }
    }
}

struct fields {
    struct slice rest;
    struct arena *arena;
    int broken;
};

static const char *next_field(struct fields *f)
{
    if (f->rest.p == NULL) {
        f->broken = 1;
        return "";
    }
    const uint8_t *end = f->rest.n == 0 ? NULL : memchr(f->rest.p, FIELD_END, f->rest.n);
    size_t n = end == NULL ? f->rest.n : (size_t)(end - f->rest.p);
    const char *text = arena_strndup(f->arena, f->rest.p, n);
    f->rest = end == NULL ? (struct slice){0} : slice_from(f->rest, n + 1);
    return text;
}

/* A count of things that each take a byte of what is left. */
static size_t next_count(struct fields *f)
{
    unsigned long v = strtoul(next_field(f), NULL, 10);
    if (v > f->rest.n + 1) {
        f->broken = 1;
        v = 0;
    }
    return v;
}

static void read_split(struct fields *f, struct map_decl_split *s)
{
    const char *what = next_field(f);
    if (what[0] == '<') {
        s->below = next_field(f);
    } else if (what[0] == 'v') {
        s->values_count = next_count(f);
        const char **values = arena_zero(f->arena, (s->values_count + 1) * sizeof(char *));
        for (size_t k = 0; k < s->values_count; k++) {
            values[k] = next_field(f);
        }
        s->values = values;
    }
}

enum err decl_read(struct slice text, struct arena *arena, struct map_decl *out,
                   const char ***shard_names, struct note *note)
{
    struct fields f = {.rest = text, .arena = arena};
    memset(out, 0, sizeof(*out));
    char kind = next_field(&f)[0];
    out->kind = kind == 'r'   ? MAP_RANGE
                : kind == 'l' ? MAP_LIST
                : kind == 'f' ? MAP_REFERENCE
                              : MAP_HASH;
    out->schema = next_field(&f);
    out->name = next_field(&f);
    const char *colocate = next_field(&f);
    out->colocate = colocate[0] == 0 ? NULL : colocate;
    out->keys_count = next_count(&f);
    if (out->keys_count > KEY_COLUMNS_MAX || kind == 0) {
        return note_set(note, ERR_CORRUPT, "a comment in schema braid is no table declaration");
    }
    const char **keys = arena_zero(arena, (out->keys_count + 1) * sizeof(char *));
    for (size_t i = 0; i < out->keys_count; i++) {
        keys[i] = next_field(&f);
    }
    out->keys = keys;
    out->key_types = arena_zero(arena, (out->keys_count + 1) * sizeof(uint32_t));
    out->splits_count = next_count(&f);
    struct map_decl_split *splits = arena_zero(arena, (out->splits_count + 1) * sizeof(*splits));
    *shard_names = arena_zero(arena, (out->splits_count + 1) * sizeof(char *));
    for (size_t i = 0; i < out->splits_count; i++) {
        (*shard_names)[i] = next_field(&f);
        read_split(&f, &splits[i]);
    }
    out->splits = splits;
    out->from_sql = 1;
    if (f.broken) {
        return note_set(note, ERR_CORRUPT, "a comment in schema braid is no table declaration");
    }
    return ERR_NONE;
}

/* ---- the declarations of the map --------------------------------------------------------------
 */

static int same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static int same_decl(const struct map_decl *a, const struct map_decl *b)
{
    if (a->kind != b->kind || a->keys_count != b->keys_count) {
        return 0;
    }
    for (size_t i = 0; i < a->keys_count; i++) {
        if (!same_text(a->keys[i], b->keys[i])) {
            return 0;
        }
    }
    return 1;
}

static const char *const *copied(struct arena *arena, const char *const *texts, size_t count)
{
    const char **out = arena_zero(arena, (count + 1) * sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        out[i] = arena_strdup(arena, texts[i]);
    }
    return out;
}

/* The catalog may be gone before its declarations are. */
static void copy_decl(const struct map_decl *d, struct arena *arena, struct map_decl *out)
{
    *out = *d;
    out->schema = arena_strdup(arena, d->schema);
    out->name = arena_strdup(arena, d->name);
    out->colocate = d->colocate == NULL ? NULL : arena_strdup(arena, d->colocate);
    out->keys = copied(arena, d->keys, d->keys_count);
    struct map_decl_split *splits = arena_zero(arena, (d->splits_count + 1) * sizeof(*splits));
    for (size_t i = 0; i < d->splits_count; i++) {
        splits[i] = d->splits[i];
        splits[i].below =
            d->splits[i].below == NULL ? NULL : arena_strdup(arena, d->splits[i].below);
        splits[i].values = copied(arena, d->splits[i].values, d->splits[i].values_count);
    }
    out->splits = splits;
}

static enum err resolve_shards(const struct catalog *c, size_t at, const struct conf_database *db,
                               struct arena *arena, struct map_decl *decl, struct note *note)
{
    copy_decl(&c->decls[at], arena, decl);
    struct map_decl_split *splits = arena_zero(arena, (decl->splits_count + 1) * sizeof(*splits));
    for (size_t i = 0; i < decl->splits_count; i++) {
        splits[i] = decl->splits[i];
        size_t shard = 0;
        while (shard < db->shards_count &&
               strcmp(db->shards[shard].name, c->decl_shards[at].names[i]) != 0) {
            shard++;
        }
        if (shard == db->shards_count) {
            return note_set(
                note, ERR_BAD_SETTING,
                "table %s.%s was declared in SQL on shard \"%s\", which is not configured",
                decl->schema, decl->name, c->decl_shards[at].names[i]);
        }
        splits[i].shard = (uint16_t)shard;
    }
    decl->splits = splits;
    return ERR_NONE;
}

static enum err fill_types(const struct catalog *c, struct arena *arena, struct map_decl *decl,
                           struct note *note)
{
    uint32_t *types = arena_zero(arena, (decl->keys_count + 1) * sizeof(uint32_t));
    const struct catalog_table *t = catalog_find(c, decl->schema, decl->name);
    for (size_t i = 0; t != NULL && i < decl->keys_count; i++) {
        const struct catalog_column *col = catalog_column(t, decl->keys[i]);
        if (col == NULL) {
            return note_set(note, ERR_BAD_SETTING, "table %s.%s has no column \"%s\" to shard by",
                            decl->schema, decl->name, decl->keys[i]);
        }
        if (!col->deterministic) {
            return note_set(note, ERR_BAD_SETTING,
                            "column \"%s\" of %s.%s has a nondeterministic collation and cannot be "
                            "a sharding key",
                            col->name, decl->schema, decl->name);
        }
        types[i] = col->type;
    }
    decl->key_types = types;
    return ERR_NONE;
}

static int is_declared(const struct map_decl *all, size_t count, const char *qualified)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(all[i].schema);
        if (strncmp(qualified, all[i].schema, n) == 0 && qualified[n] == '.' &&
            strcmp(qualified + n + 1, all[i].name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* While a dump is restored declarations come one by one, and before their tables: one that refers
 * to another that is still to come does not count yet. Returns how many are left. */
static size_t drop_early(const struct catalog *c, struct map_decl *all, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        int early = all[i].from_sql && all[i].colocate != NULL &&
                    !is_declared(all, count, all[i].colocate) &&
                    catalog_find(c, all[i].schema, all[i].name) == NULL;
        if (!early) {
            all[left++] = all[i];
        }
    }
    return left;
}

/*
 * COLOCATE WITH a table that is gone, or has come back as another: hash tables of a database are
 * all placed by one ring, so the word can be left out, and the others go on as they were.
 */
static void drop_lost_colocation(struct map_decl *all, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct map_decl *d = &all[i];
        const struct map_decl *with = NULL;
        for (size_t k = 0; k < count && d->from_sql && d->colocate != NULL; k++) {
            with = is_declared(&all[k], 1, d->colocate) ? &all[k] : with;
        }
        int fits = with != NULL && with->kind == MAP_HASH && with->keys_count == d->keys_count;
        for (size_t k = 0; fits && k < d->keys_count; k++) {
            fits = with->key_types[k] == d->key_types[k] || with->key_types[k] == 0 ||
                   d->key_types[k] == 0;
        }
        if (d->from_sql && !fits) {
            d->colocate = NULL;
        }
    }
}

enum err catalog_map_decls(const struct catalog *c, const struct conf_database *db,
                           struct arena *arena, struct map_decl **decls, size_t *count,
                           struct note *note)
{
    struct map_decl *configured;
    size_t configured_count;
    map_decls_of_conf(db, arena, &configured, &configured_count);
    struct map_decl *all =
        arena_zero(arena, (configured_count + c->decls_count + c->globals_count + 1) *
                              sizeof(struct map_decl));
    for (size_t i = 0; i < configured_count; i++) {
        all[i] = configured[i];
    }
    size_t n = configured_count;
    for (size_t i = 0; i < c->decls_count; i++) {
        enum err e = resolve_shards(c, i, db, arena, &all[n], note);
        if (e) {
            return e;
        }
        size_t k = 0;
        while (k < configured_count && (strcmp(all[k].schema, all[n].schema) != 0 ||
                                        strcmp(all[k].name, all[n].name) != 0)) {
            k++;
        }
        if (k == configured_count) {
            n++;
        } else if (!same_decl(&all[k], &all[n])) {
            return note_set(note, ERR_BAD_SETTING,
                            "table %s.%s is declared in the configuration and in SQL, differently",
                            all[n].schema, all[n].name);
        }
    }
    n = drop_early(c, all, n);
    n += catalog_global_decls(c, arena, all + n);
    for (size_t i = 0; i < n; i++) {
        enum err e = fill_types(c, arena, &all[i], note);
        if (e) {
            return e;
        }
    }
    drop_lost_colocation(all, n);
    *decls = all;
    *count = n;
    return ERR_NONE;
}
