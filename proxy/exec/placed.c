/*
 * A transaction keeps the world that it began in. When a table of that world has been spread anew
 * meanwhile (ALTER TABLE ... SHARD BY, REFERENCE, LOCAL), its plans lead to where the rows were:
 * nothing is run any more, until it is ended.
 */

#include "planner/catalog.h"
#include "proxy/exec/exec.h"

static enum err changed(struct note *note, const char *schema, const char *name)
{
    enum err e = note_set(note, ERR_CHANGED,
                          "could not serialize access: table \"%s.%s\" was spread anew after this "
                          "transaction had begun",
                          schema, name);
    note_hint(note, "Repeat the transaction.");
    return e;
}

enum err placed_as_before(const struct session *s, struct note *note)
{
    const struct world_db *now = world_find_db(s->worker->world, slice_of(s->database));
    if (now == NULL || now->map == s->db->map || now->map->shards_count < 2) {
        return ERR_NONE;
    }
    const struct map *before = s->db->map;
    for (size_t i = 0; i < now->map->tables_count; i++) {
        const struct map_table *t = &now->map->tables[i];
        const struct map_table *was = map_find(before, t->schema, t->name);
        int local = was == NULL && s->db->catalog != NULL &&
                    catalog_find(s->db->catalog, t->schema, t->name) != NULL;
        if (local || (was != NULL && !map_table_alike(was, t))) {
            return changed(note, t->schema, t->name);
        }
    }
    for (size_t i = 0; i < before->tables_count; i++) {
        const struct map_table *t = &before->tables[i];
        if (map_find(now->map, t->schema, t->name) == NULL && now->catalog != NULL &&
            catalog_find(now->catalog, t->schema, t->name) != NULL) {
            return changed(note, t->schema, t->name);
        }
    }
    return ERR_NONE;
}
