/* SHOW commands about the maps that were in force before. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/admin/admin.h"
#include "proxy/control/map_history.h"

enum {
    ROWS_MAX = 10000
};

static enum err need_history(struct admin_call *call)
{
    if (call->c->maps != NULL) {
        return ERR_NONE;
    }
    enum err e = note_set(&call->note, ERR_BAD_STATE, "there is no history of maps");
    note_hint(&call->note, "It is kept in data_dir while a database has several shards.");
    return e;
}

/* Lines as one cell. */
static void put_lines(struct admin_call *call, struct slice lines, struct buf *scratch)
{
    scratch->n = 0;
    for (size_t i = 0; i < lines.n; i++) {
        if (lines.p[i] != '\n') {
            buf_u8(scratch, lines.p[i]);
        } else if (i + 1 < lines.n) {
            buf_text(scratch, "; ");
        }
    }
    buf_u8(scratch, 0);
    admin_text(call, (const char *)scratch->p);
}

static void put_epoch(void *arg, const struct map_history_row *row)
{
    struct admin_call *call = arg;
    struct buf scratch = {0};
    char when[40];
    map_history_time(row->wall_us, when);
    admin_row(call);
    put_lines(call, row->database, &scratch);
    admin_uint(call, row->epoch);
    admin_text(call, when);
    admin_text(call, map_why_name(row->why));
    put_lines(call, row->changes, &scratch);
    buf_free(&scratch);
}

enum err admin_show_map_history(struct admin_call *call)
{
    const char *only = call->args_count > 0 ? call->args[0] : NULL;
    enum err e = need_history(call);
    if (e) {
        return e;
    }
    admin_columns(call, "database epoch:q since why changes");
    e = map_history_list(call->c->maps, only, ROWS_MAX, put_epoch, call, &call->note);
    if (e == ERR_NONE) {
        admin_end(call);
    }
    return e;
}

/* The first one with several shards. */
static const char *default_database(const struct world *w)
{
    for (size_t i = 0; i < w->dbs_count; i++) {
        if (w->dbs[i].conf->shards_count > 1) {
            return w->dbs[i].conf->name;
        }
    }
    return "";
}

enum err admin_show_map_at(struct admin_call *call)
{
    const char *name = call->args_count > 1 ? call->args[0] : default_database(call->c->world);
    const char *text = call->args[call->args_count - 1];
    char *end = NULL;
    errno = 0;
    uint64_t epoch = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-') {
        return note_set(&call->note, ERR_BAD_SETTING, "\"%.50s\" is no number of an epoch", text);
    }
    enum err e = need_history(call);
    struct buf lines = {0};
    if (e == ERR_NONE) {
        e = map_history_at(call->c->maps, name, epoch, &lines, &call->note);
    }
    if (e == ERR_NONE) {
        buf_u8(&lines, 0);
        admin_columns(call, "map");
        char *rest = (char *)lines.p;
        for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
            if (line[0] != '\0') {
                admin_row(call);
                admin_text(call, line);
            }
        }
        admin_end(call);
    }
    buf_free(&lines);
    return e;
}
