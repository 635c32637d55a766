/*
 * Which shards the rows were placed on. The ring is computed from the shards of the configuration;
 * a configuration with other shards would look for rows where they are not, and answer wrongly
 * without an error. So the set of shards is written down where the rows are, as the comment of
 * schema braid on the home shard, when the schema is made; a configuration that does not agree is
 * refused until moving rows is supported.
 *
 *     pgbraid shards: <home> then the others sorted, each name*weight
 */

#include <stdlib.h>
#include <string.h>

#include "planner/catalog.h"

static int by_name(const void *a, const void *b)
{
    const struct conf_shard *const *left = a;
    const struct conf_shard *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static void placement_print(const struct conf_database *db, struct buf *out)
{
    const struct conf_shard *sorted[SHARDS_MAX];
    for (size_t i = 0; i < db->shards_count; i++) {
        sorted[i] = &db->shards[i];
    }
    if (db->shards_count > 1) { /* the home shard stays first: local tables live there */
        qsort(sorted + 1, db->shards_count - 1, sizeof(*sorted), by_name);
    }
    buf_text(out, "pgbraid shards:");
    for (size_t i = 0; i < db->shards_count; i++) {
        buf_printf(out, " %s*%u", sorted[i]->name, sorted[i]->weight);
    }
}

void catalog_install_print(const struct conf_database *db, struct buf *out)
{
    buf_text(out, catalog_install_sql);
    buf_text(out, "DO $braid$ BEGIN IF pg_catalog.obj_description("
                  "'braid'::pg_catalog.regnamespace, 'pg_namespace') IS NULL THEN "
                  "COMMENT ON SCHEMA braid IS '");
    placement_print(db, out); /* names hold no quotes: conf/ takes [A-Za-z0-9_.-] only */
    buf_text(out, "'; END IF; END $braid$;\n");
    catalog_ids_print(db, 0, out);
    catalog_unique_print(out);
    catalog_materialized_print(out);
    buf_u8(out, 0);
}

enum err catalog_check_placement(const struct catalog *c, const struct conf_database *db,
                                 struct note *note)
{
    struct buf now = {0};
    placement_print(db, &now);
    int same = c->placement == NULL || slice_is(buf_slice(&now), c->placement);
    buf_free(&now);
    if (same) {
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_BAD_SETTING,
                          "the rows of \"%s\" were placed with other shards (%.200s) than the "
                          "configuration names now",
                          db->name, c->placement);
    note_hint(note, "Put the shards back as they were; changing them over data is not supported "
                    "yet. Of an empty database: DROP SCHEMA braid CASCADE on the home shard.");
    return e;
}
