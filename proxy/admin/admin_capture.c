/* SHOW CDC: what change capture does on each shard; CDC_COPY. */

#include <stdio.h>
#include <string.h>

#include "proxy/admin/admin.h"
#include "proxy/control/cdc.h"

/* As PostgreSQL writes positions. */
static void put_lsn(struct admin_call *call, uint64_t lsn)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%X/%X", (unsigned)(lsn >> 32), (unsigned)lsn);
    admin_text(call, lsn == 0 ? NULL : text);
}

static void put_counts(struct admin_call *call, const struct cdc_counts *n)
{
    admin_uint(call, atomic_load(&n->transactions));
    admin_uint(call, atomic_load(&n->inserts));
    admin_uint(call, atomic_load(&n->updates));
    admin_uint(call, atomic_load(&n->deletes));
    admin_uint(call, atomic_load(&n->unchanged_toast));
    admin_uint(call, atomic_load(&n->filled_toast));
    admin_uint(call, atomic_load(&n->open_transactions));
    admin_uint(call, atomic_load(&n->prepared_transactions));
    admin_uint(call, atomic_load(&n->open_bytes));
    admin_uint(call, atomic_load(&n->spilled_bytes));
}

enum err admin_show_cdc(struct admin_call *call)
{
    admin_columns(
        call,
        "database shard state slot epoch:q timeline:q received durable "
        "behind_bytes:q unconfirmed_bytes:q retained_bytes:q wal_status safe_bytes:q alarm "
        "rows_copied:q "
        "tables_to_copy:q gaps:q transactions:q inserts:q updates:q deletes:q "
        "unchanged_toast:q filled_toast:q open:q prepared:q open_bytes:q spilled_bytes:q error");
    for (size_t i = 0; i < cdc_sources_count(call->c); i++) {
        const char *database;
        const char *shard;
        struct cdc_look l;
        cdc_sources_look(call->c, i, &database, &shard, &l);
        admin_row(call);
        admin_text(call, database);
        admin_text(call, shard);
        admin_text(call, cdc_doing_word(l.doing));
        admin_text(call, l.slot[0] == '\0' ? NULL : l.slot);
        admin_uint(call, l.epoch);
        admin_uint(call, l.timeline);
        put_lsn(call, l.received);
        put_lsn(call, l.durable);
        admin_uint(call, l.server_lsn > l.durable ? l.server_lsn - l.durable : 0);
        admin_uint(call, l.unconfirmed_bytes);
        admin_uint(call, l.retained_bytes);
        admin_text(call, l.wal_status[0] == '\0' ? NULL : l.wal_status);
        if (l.safe_bytes < 0) {
            admin_text(call, NULL);
        } else {
            admin_int(call, l.safe_bytes);
        }
        admin_text(call, l.is_alarm ? "yes" : "no");
        admin_uint(call, l.rows_copied);
        admin_uint(call, l.tables_to_copy);
        admin_uint(call, l.gaps);
        put_counts(call, l.counts);
        admin_text(call, l.error[0] == '\0' ? NULL : l.error);
    }
    admin_end(call);
    return ERR_NONE;
}

/* A name that no table of the database has would be waited for in vain. */
static enum err check_table(struct admin_call *call, const char *database, const char *name)
{
    const struct control_db *db = control_db_find(call->c, database);
    const char *dot = strchr(name, '.');
    char schema[64] = "public";
    if (name[0] == '\0' || db == NULL || db->catalog == NULL) {
        return ERR_NONE;
    }
    if (dot != NULL) {
        (void)snprintf(schema, sizeof(schema), "%.*s", (int)(dot - name), name);
    }
    if (catalog_has_table(db->catalog, schema, dot == NULL ? name : dot + 1)) {
        return ERR_NONE;
    }
    enum err e = note_set(&call->note, ERR_NO_TABLE, "database \"%.64s\" has no table \"%.200s\"",
                          database, name);
    note_hint(&call->note, "Write it as schema.table, in the case that it has.");
    return e;
}

enum err admin_cdc_copy(struct admin_call *call)
{
    const char *table = call->args_count > 1 ? call->args[1] : "";
    enum err e = check_table(call, call->args[0], table);
    if (e) {
        return e;
    }
    if (cdc_sources_copy(call->c, call->args[0], table) == 0) {
        return note_set(&call->note, ERR_BAD_STATE,
                        "no change of database \"%s\" is captured: see cdc.enabled, cdc.databases",
                        call->args[0]);
    }
    back_put_complete(call->out, "CDC_COPY");
    return ERR_NONE;
}
