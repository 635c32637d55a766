/*
 * The schema of each shard as a sorted list of objects with their definitions; the home shard's is
 * right. Tables of the map, their partitions and children, views over them and what belongs to them
 * are on every shard, other tables on the home shard only, the rest on all.
 */

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/check/check.h"

struct object {
    const char *kind, *table, *name, *definition;
};

struct listing {
    struct arena arena;
    struct object *objects;
    size_t count, cap;
};

#define NOT_OURS                                                                               \
    "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'braid') AND NOT EXISTS " \
    "(SELECT FROM pg_depend e WHERE e.objid = "
#define NO_MEMBER ".oid AND e.deptype = 'e') "

/* Sequences are on the home shard; the others have a default that stands for them. */
#define DEFAULT_OF                                                                             \
    "CASE WHEN a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%' THEN "  \
    "' default nextval' WHEN a.attgenerated <> '' THEN ' generated ' || pg_get_expr(d.adbin, " \
    "d.adrelid) WHEN d.adbin IS NOT NULL THEN ' default ' || pg_get_expr(d.adbin, d.adrelid) " \
    "ELSE '' END"

#define RELATION "quote_ident(n.nspname) || '.' || quote_ident(c.relname)"
static const char *const questions[] = {
    "SELECT set_config('search_path', 'pg_catalog', true), NULL, NULL, NULL",
    "SELECT 'schema', '', quote_ident(n.nspname), format('owner %s grants %s', "
    "n.nspowner::regrole, n.nspacl) FROM pg_namespace n WHERE " NOT_OURS "n" NO_MEMBER,
    "SELECT 'extension', '', quote_ident(extname), 'version ' || extversion FROM pg_extension",
    "SELECT 'type', '', format_type(y.oid, NULL), CASE y.typtype WHEN 'e' THEN 'enum ' || (SELECT "
    "string_agg(quote_literal(l.enumlabel), ', ' ORDER BY l.enumsortorder) FROM pg_enum l WHERE "
    "l.enumtypid = y.oid) WHEN 'd' THEN format('domain over %s%s default %s %s', "
    "format_type(y.typbasetype, y.typtypmod), CASE WHEN y.typnotnull THEN ' not null' END, "
    "y.typdefault, (SELECT string_agg(k.conname || ' ' || pg_get_constraintdef(k.oid), ', ' ORDER "
    "BY k.conname) FROM pg_constraint k WHERE k.contypid = y.oid)) WHEN 'c' THEN 'composite ' || "
    "(SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), "
    "', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = y.typrelid AND a.attnum > 0 "
    "AND NOT a.attisdropped) ELSE y.typtype::text END FROM pg_type y JOIN pg_namespace n ON n.oid "
    "= y.typnamespace LEFT JOIN pg_class c ON c.oid = y.typrelid WHERE y.typtype IN ('e', 'd', "
    "'c', 'r', 'b') AND (c.oid IS NULL OR c.relkind = 'c') AND y.typelem = 0 "
    "AND " NOT_OURS "y" NO_MEMBER,
    "SELECT 'function', '', p.oid::regprocedure::text, CASE WHEN p.prokind = 'a' THEN 'aggregate' "
    "ELSE pg_get_functiondef(p.oid) END || format(' owner %s grants %s', p.proowner::regrole, "
    "p.proacl) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
    "WHERE " NOT_OURS "p" NO_MEMBER,
    "SELECT 'operator', '', o.oid::regoperator::text, o.oprcode::text FROM pg_operator o JOIN "
    "pg_namespace n ON n.oid = o.oprnamespace WHERE " NOT_OURS "o" NO_MEMBER,
    "SELECT 'table', " RELATION ", '', format('%s persistence %s owner %s grants %s options %s row "
    "security %s %s', c.relkind, c.relpersistence, c.relowner::regrole, c.relacl, c.reloptions, "
    "c.relrowsecurity, c.relforcerowsecurity) FROM pg_class c JOIN pg_namespace n ON n.oid = "
    "c.relnamespace WHERE c.relkind IN ('r', 'p') AND " NOT_OURS "c" NO_MEMBER,
    "SELECT 'view', " RELATION ", '', format('owner %s grants %s options %s%s%s', "
    "c.relowner::regrole, c.relacl, c.reloptions, E'\\n', pg_get_viewdef(c.oid)) FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'v' "
    "AND " NOT_OURS "c" NO_MEMBER,
    "SELECT 'column', " RELATION ", quote_ident(a.attname), format('%s%s%s%s grants %s', "
    "format_type(a.atttypid, a.atttypmod), CASE WHEN a.attcollation <> 0 THEN ' collate ' || "
    "a.attcollation::regcollation END, CASE WHEN a.attnotnull THEN ' not null' END, " DEFAULT_OF
    ", a.attacl) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON "
    "n.oid = c.relnamespace LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = "
    "a.attnum WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped "
    "AND " NOT_OURS "c" NO_MEMBER,
    "SELECT 'constraint', " RELATION ", quote_ident(x.conname), pg_get_constraintdef(x.oid) FROM "
    "pg_constraint x JOIN pg_class c ON c.oid = x.conrelid JOIN pg_namespace n ON n.oid = "
    "c.relnamespace WHERE " NOT_OURS "c" NO_MEMBER,
    "SELECT 'index', " RELATION ", quote_ident(i.relname), pg_get_indexdef(x.indexrelid) || CASE "
    "WHEN x.indisvalid THEN '' ELSE ' INVALID' END FROM pg_index x JOIN pg_class c ON c.oid = "
    "x.indrelid JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_namespace n ON n.oid = "
    "c.relnamespace WHERE c.relkind IN ('r', 'p') AND " NOT_OURS "c" NO_MEMBER,
    "SELECT 'trigger', " RELATION ", quote_ident(x.tgname), pg_get_triggerdef(x.oid) || ' enabled '"
    " || x.tgenabled::text FROM pg_trigger x JOIN pg_class c ON c.oid = x.tgrelid JOIN "
    "pg_namespace n ON n.oid = c.relnamespace WHERE NOT x.tgisinternal AND " NOT_OURS "c" NO_MEMBER,
    "SELECT 'policy', " RELATION
    ", quote_ident(x.polname), format('%s permissive %s roles %s using "
    "%s check %s', x.polcmd, x.polpermissive, (SELECT string_agg(r::regrole::text, ', ' ORDER BY "
    "r::regrole::text) FROM unnest(x.polroles) AS r), pg_get_expr(x.polqual, x.polrelid), "
    "pg_get_expr(x.polwithcheck, x.polrelid)) FROM pg_policy x JOIN pg_class c ON c.oid = "
    "x.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE " NOT_OURS "c" NO_MEMBER,
    "SELECT 'statistics', " RELATION
    ", quote_ident(x.stxname), pg_get_statisticsobjdef(x.oid) FROM "
    "pg_statistic_ext x JOIN pg_class c ON c.oid = x.stxrelid JOIN pg_namespace n ON n.oid = "
    "c.relnamespace WHERE " NOT_OURS "c" NO_MEMBER,
    "SELECT 'event trigger', '', quote_ident(evtname), format('%s %s %s %s', evtevent, "
    "evtfoid::regprocedure, evtenabled, evttags) FROM pg_event_trigger",
    "SELECT 'default privileges', '', format('%s %s %s', defaclrole::regrole, defaclnamespace, "
    "defaclobjtype), defaclacl::text FROM pg_default_acl WHERE defaclnamespace = 0",
};

static const char *question(size_t index)
{
    return questions[index];
}

static void add(struct listing *l, const struct slice *v)
{
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 256 : 2 * l->cap;
        l->objects = mem_grow(l->objects, l->cap * sizeof(*l->objects));
    }
    const char *texts[4];
    for (size_t i = 0; i < 4; i++) {
        texts[i] = v[i].p == NULL ? "" : arena_strndup(&l->arena, v[i].p, v[i].n);
    }
    l->objects[l->count++] = (struct object){texts[0], texts[1], texts[2], texts[3]};
}

static enum err take_row(void *arg, size_t query, const struct slice *values, size_t count,
                         struct note *note)
{
    (void)note;
    check(count == 4);
    if (query > 0) {
        add(arg, values);
    }
    return ERR_NONE;
}

/* Tables before what belongs to them. */
static int compare(const void *a, const void *b)
{
    const struct object *x = a, *y = b;
    int order = strcmp(x->table, y->table);
    int first = strcmp(y->kind, "table") == 0 || strcmp(y->kind, "view") == 0;
    if (order == 0 && strcmp(x->kind, y->kind) != 0 && (x->name[0] == 0 || y->name[0] == 0)) {
        return first ? 1 : -1;
    }
    order = order != 0 ? order : strcmp(x->kind, y->kind);
    return order != 0 ? order : strcmp(x->name, y->name);
}

static void free_listing(struct listing *l)
{
    arena_free(&l->arena);
    mem_free(l->objects);
}

static enum err ask(const struct check_place *place, const struct catalog_source *source,
                    struct note *note)
{
    struct note unused;
    enum err e = catalog_load(&place->target, NULL, source, NULL, &unused, note);
    return e ? note_wrap(note, e, place->shard) : ERR_NONE;
}

static enum err list_schema(const struct check_place *place, struct listing *out, struct note *note)
{
    struct catalog_source source = {.queries_count = sizeof(questions) / sizeof(questions[0]),
                                    .query = question,
                                    .row = take_row,
                                    .arg = out};
    enum err e = ask(place, &source, note);
    if (!e && out->count > 0) {
        qsort(out->objects, out->count, sizeof(out->objects[0]), compare);
    }
    return e;
}

/* ---- relations that are on every shard ---------------------------------------------------------
 */

static _Thread_local const char *everywhere_sql;

static const char *everywhere_question(size_t index)
{
    return index == 0 ? questions[0] : everywhere_sql;
}

static void put_names(const struct map *map, struct buf *out)
{
    for (size_t i = 0; i < map->tables_count; i++) {
        const char *const parts[] = {map->tables[i].schema, map->tables[i].name};
        buf_text(out, i == 0 ? "'" : ",'");
        for (size_t k = 0; k < 2; k++) {
            buf_text(out, k == 0 ? "\"" : "\".\"");
            for (const char *c = parts[k]; *c != 0; c++) {
                buf_text(out, *c == '\'' ? "'" : *c == '"' ? "\"" : "");
                buf_u8(out, (uint8_t)*c);
            }
        }
        buf_text(out, "\"'");
    }
}

static enum err list_everywhere(const struct check_place *home, const struct map *map,
                                struct listing *out, struct note *note)
{
    struct buf sql = {0};
    buf_text(&sql, "WITH RECURSIVE e AS (SELECT to_regclass(x)::oid AS oid FROM unnest(ARRAY[");
    put_names(map, &sql);
    buf_text(
        &sql,
        "]::text[]) AS x UNION SELECT i.inhrelid FROM e JOIN pg_inherits i ON i.inhparent = e.oid), "
        "dep AS (SELECT r.ev_class AS v, d.refobjid AS r FROM pg_rewrite r JOIN pg_depend d ON "
        "d.objid = r.oid AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = "
        "'pg_class'::regclass WHERE d.refobjid <> r.ev_class), under AS (SELECT v, r FROM dep "
        "UNION SELECT u.v, dep.r FROM under u JOIN dep ON dep.v = u.r) "
        "SELECT 'r', quote_ident(n.nspname) || '.' || quote_ident(c.relname), '', '' FROM "
        "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid IN (SELECT oid FROM "
        "e) OR (c.relkind = 'v' AND (SELECT bool_and(u.r IN (SELECT oid FROM e WHERE oid IS NOT "
        "NULL)) FROM under u JOIN pg_class b ON b.oid = u.r AND b.relkind <> 'v' WHERE u.v = "
        "c.oid))");
    buf_u8(&sql, 0);
    everywhere_sql = (const char *)sql.p;
    struct catalog_source source = {
        .queries_count = 2, .query = everywhere_question, .row = take_row, .arg = out};
    enum err e = ask(home, &source, note);
    if (!e && out->count > 0) {
        qsort(out->objects, out->count, sizeof(out->objects[0]), compare);
    }
    buf_free(&sql);
    return e;
}

static int is_everywhere(const struct listing *all, const char *table)
{
    const struct object key = {"r", table, "", ""};
    return table[0] == 0 || (all->count > 0 &&
                             bsearch(&key, all->objects, all->count, sizeof(key), compare) != NULL);
}

/* ---- the differences ---------------------------------------------------------------------------
 */

static size_t line_end(const char *text, size_t at)
{
    const char *end = strchr(text + at, '\n');
    return end == NULL ? strlen(text) : (size_t)(end - text) + 1;
}

static void put_lines(const char *sign, const char *from, const char *to, struct buf *out)
{
    while (from < to) {
        size_t n = line_end(from, 0);
        n = n > (size_t)(to - from) ? (size_t)(to - from) : n;
        size_t shown = n > 0 && from[n - 1] == '\n' ? n - 1 : n;
        buf_printf(out, "    %s %.*s\n", sign, (int)shown, from);
        from += n;
    }
}

void check_put_diff(const char *home, const char *other, struct buf *out)
{
    size_t a = strlen(home), b = strlen(other), begin = 0;
    for (size_t next = line_end(home, 0); next <= a && begin < a && strncmp(home, other, next) == 0;
         next = line_end(home, begin)) {
        begin = next;
    }
    while (a > begin && b > begin && home[a - 1] == other[b - 1]) { /* back, to whole lines */
        a--;
        b--;
    }
    a = a == strlen(home) || a == begin ? a : line_end(home, a);
    b = b == strlen(other) || b == begin ? b : line_end(other, b);
    put_lines("-", home + begin, home + a, out);
    put_lines("+", other + begin, other + b, out);
}

static void put_object(const struct object *o, struct buf *out)
{
    buf_printf(out, "%s %s%s%s", o->kind, o->table, o->table[0] != 0 && o->name[0] != 0 ? "." : "",
               o->name);
}

static void tell_missing(const struct object *o, const char *shard, struct buf *out)
{
    buf_printf(out, "%s: ", shard);
    put_object(o, out);
    buf_text(out, " is missing\n");
    put_lines("-", o->definition, o->definition + strlen(o->definition), out);
    buf_printf(out, "    to do: create it on %s as it is on the home shard\n", shard);
}

static void tell_extra(const struct object *o, const char *shard, struct buf *out)
{
    buf_printf(out, "%s: ", shard);
    put_object(o, out);
    buf_text(out, " should not be there\n");
    put_lines("+", o->definition, o->definition + strlen(o->definition), out);
    buf_printf(out, "    to do: drop it on %s, or create it through pgbraid\n", shard);
}

static void tell_different(const struct object *home, const struct object *other, const char *shard,
                           struct buf *out)
{
    buf_printf(out, "%s: ", shard);
    put_object(home, out);
    buf_text(out, " differs from the home shard's\n");
    check_put_diff(home->definition, other->definition, out);
    buf_printf(out, "    to do: change it on %s to the lines with \"-\"\n", shard);
}

static size_t tell_invalid(const struct listing *l, const char *shard, struct buf *out)
{
    size_t count = 0;
    for (size_t i = 0; i < l->count; i++) {
        const struct object *o = &l->objects[i];
        size_t n = strlen(o->definition);
        if (strcmp(o->kind, "index") == 0 && n > 8 &&
            strcmp(o->definition + n - 8, " INVALID") == 0) {
            buf_printf(out, "%s: ", shard);
            put_object(o, out);
            buf_printf(out, " is not valid\n    to do: DROP INDEX or REINDEX INDEX on %s\n", shard);
            count++;
        }
    }
    return count;
}

/* A table that is missing, or too many, says enough: what belongs to it does not. */
static int is_told(const struct object *o, const char *table)
{
    return table != NULL && o->name[0] != 0 && strcmp(o->table, table) == 0;
}

static size_t compare_shard(const struct listing *home, const struct listing *other,
                            const struct listing *everywhere, const char *shard, struct buf *out)
{
    size_t i = 0, k = 0, count = 0;
    const char *told = NULL;
    while (i < home->count || k < other->count) {
        const struct object *a = i < home->count ? &home->objects[i] : NULL;
        const struct object *b = k < other->count ? &other->objects[k] : NULL;
        int order = a == NULL ? 1 : b == NULL ? -1 : compare(a, b);
        const struct object *one = order <= 0 ? a : b;
        int wanted = is_everywhere(everywhere, one->table);
        i += order <= 0;
        k += order >= 0;
        if (is_told(one, told) || (order < 0 && !wanted)) {
            continue;
        }
        if (order < 0) {
            tell_missing(one, shard, out);
        } else if (order > 0 || !wanted) {
            tell_extra(b, shard, out);
        } else if (strcmp(a->definition, b->definition) != 0) {
            tell_different(a, b, shard, out);
            count++;
            continue;
        } else {
            continue;
        }
        count++;
        told = one->name[0] == 0 ? one->table : told;
    }
    return count;
}

enum err schema_check(const struct check_place *places, size_t count, const struct map *map,
                      struct buf *out, size_t *differences, struct note *note)
{
    struct listing home = {0}, everywhere = {0};
    *differences = 0;
    enum err e = list_everywhere(&places[0], map, &everywhere, note);
    e = e ? e : list_schema(&places[0], &home, note);
    *differences += e ? 0 : tell_invalid(&home, places[0].shard, out);
    for (size_t i = 1; i < count && !e; i++) {
        struct listing other = {0};
        e = list_schema(&places[i], &other, note);
        if (!e) {
            *differences += compare_shard(&home, &other, &everywhere, places[i].shard, out);
            *differences += tell_invalid(&other, places[i].shard, out);
        }
        free_listing(&other);
    }
    free_listing(&home);
    free_listing(&everywhere);
    return e;
}
