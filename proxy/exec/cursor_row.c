/*
 * On which row a cursor over several shards stands, for UPDATE and DELETE ... WHERE CURRENT OF.
 *
 *     DECLARE ... FOR UPDATE  gives, behind the client's columns, the sharding key, ctid and
 *                             tableoid of the row that it locks (planner/cursor.c)
 *     FETCH, MOVE             keep those of the last row in the portal; past the last one, none
 *     UPDATE, DELETE          go to the shard of the key; there the row is found by its ctid, as it
 *                             was fetched, or as this transaction has changed it (currtid2())
 *
 * Owner: the session; a portal's row is a DataRow body.
 */

#include <string.h>

#include "base/check.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/gather.h"

static void put_row(struct back_walk *walk, size_t count, struct buf *out)
{
    struct slice value;
    size_t mark = back_begin_row(out, (uint16_t)count);
    for (size_t i = 0; i < count && back_next_value(walk, &value) == 1; i++) {
        back_put_value(out, value);
    }
    frame_end(out, mark);
}

void cursor_put_row(struct portal *p, struct slice body, struct buf *out)
{
    struct back_walk walk;
    struct slice value;
    struct note note;
    size_t ids = p->plan->ids->columns;
    p->on.n = 0;
    if (back_walk_row(body, &walk, &note) != ERR_NONE || walk.left < ids) {
        return; /* the servers are trusted to send rows; nothing is taken for one */
    }
    size_t count = walk.left - ids;
    if (out != NULL) {
        put_row(&walk, count, out);
    } else {
        for (size_t i = 0; i < count; i++) {
            (void)back_next_value(&walk, &value);
        }
    }
    put_row(&walk, ids, &p->on);
}

/* ---- where it is ----------------------------------------------------------------------------- */

static enum err find(struct session *s, const struct plan_current *c, struct portal **out,
                     struct note *note)
{
    struct portal *p = portal_find(s, slice_of(c->cursor));
    if (p == NULL || !p->cursor) {
        enum err e = note_set(note, ERR_NO_PORTAL, "cursor \"%s\" does not exist", c->cursor);
        note_hint(note, "Cursors over sharded tables are meant; declare it with FOR UPDATE.");
        return e;
    }
    const struct plan_ids *ids = p->plan == NULL ? NULL : p->plan->ids;
    if (ids == NULL) {
        enum err e = note_set(note, ERR_UNSUPPORTED,
                              "cursor \"%s\" over several shards does not lock rows of table "
                              "\"%s\" alone, so WHERE CURRENT OF cannot be told",
                              c->cursor, c->name);
        note_hint(note, "Declare the cursor with FOR UPDATE or FOR SHARE OF this one table, which "
                        "nobody has rights on single columns of.");
        return e;
    }
    if (ids->relation != c->relation) {
        return note_set(note, ERR_NO_ROW,
                        "cursor \"%s\" does not have a FOR UPDATE/SHARE reference to table \"%s\"",
                        c->cursor, c->name);
    }
    if (p->on.n == 0) {
        return note_set(note, ERR_NO_ROW, "cursor \"%s\" is not positioned on a row", c->cursor);
    }
    if (p->unlocked) { /* others may have taken its place: a ctid tells nothing then */
        enum err e =
            note_set(note, ERR_UNSUPPORTED,
                     "ROLLBACK TO SAVEPOINT has given back the locks of cursor \"%s\"", c->cursor);
        note_hint(note, "Name the row by its key, or fetch before the savepoint.");
        return e;
    }
    *out = p;
    return ERR_NONE;
}

static int is_ctid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (strchr("(,)0123456789", s.p[i]) == NULL || s.p[i] == 0) {
            return 0;
        }
    }
    return s.n > 0 && s.n < 32;
}

static void put_sql(struct session *s, const struct plan *plan, struct slice ctid,
                    struct slice table, struct slice *out)
{
    const char *alias = plan->rows->current->alias;
    struct buf sql = {0};
    buf_add_slice(&sql, plan->rows->source->text);
    buf_printf(&sql,
               " WHERE %s.ctid = ANY (ARRAY['" SLICE_FMT "'::pg_catalog.tid, (SELECT "
               "pg_catalog.currtid2('" SLICE_FMT "'::pg_catalog.regclass::pg_catalog.text, "
               "'" SLICE_FMT "'::pg_catalog.tid))]) AND %s.tableoid = " SLICE_FMT,
               alias, SLICE_ARG(ctid), SLICE_ARG(table), SLICE_ARG(ctid), alias, SLICE_ARG(table));
    *out = arena_copy(&s->arena, buf_slice(&sql));
    buf_free(&sql);
}

enum err cursor_find_row(struct session *s, const struct plan *plan, uint32_t *shard,
                         struct slice *sql, struct note *note)
{
    const struct map *map = s->db->map;
    struct portal *p = NULL;
    struct back_walk walk;
    struct slice value = {0};
    struct slice ctid = {0};
    enum err e = find(s, plan->rows->current, &p, note);
    if (e) {
        return e;
    }
    const struct map_table *t = p->plan->ids->table;
    if (t < map->tables || t >= map->tables + map->tables_count) {
        return note_set(note, ERR_STALE, "the shard map changed since cursor \"%s\" was declared",
                        p->name);
    }
    struct slice row = frame_body(buf_slice(&p->on), p->on.n);
    e = plan_row_shard(t, map, row, shard, note);
    e = e ? e : back_walk_row(row, &walk, note);
    for (size_t i = 0; !e && i < p->plan->ids->columns; i++) {
        ctid = value;
        if (back_next_value(&walk, &value) != 1 || value.p == NULL) {
            e = note_set(note, ERR_SHARD_PROTOCOL, "a row of a cursor is cut short");
        }
    }
    if (!e && (!is_ctid(ctid) || !is_ctid(value))) {
        e = note_set(note, ERR_SHARD_PROTOCOL, "a row of a cursor has no place");
    }
    if (!e) {
        put_sql(s, plan, ctid, value, sql);
    }
    return e;
}
