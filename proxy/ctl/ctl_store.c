/*
 * braidctl store: what lies in a data folder, without a running pgbraid.
 *
 *     check  read everything and verify it      dump   every entry or record as a line
 *     stats  figures                            bench  how fast this disk is (ctl_store_speed.c)
 *
 * The path is a store's folder (its file KIND says which engine), a log's (files wal-*), or a data
 * folder with such folders in it, and in those (the change log's). A log may be looked at while its
 * owner runs; a key-value store is locked meanwhile, and opening it to dump or count settles what a
 * crash has left.
 */

#include "proxy/ctl/ctl_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "proxy/ctl/ctl.h"
#include "store/file.h"
#include "store/kv.h"
#include "store/wal_look.h"

enum {
    PATH_BYTES = 700,
    LEVELS_MAX = 2,        /* of folders to look into */
    PRINT_BYTES = 1 << 16, /* printed when so much has come together */
    TYPES_MAX = 64         /* of records counted one by one */
};

/* One store that was asked about. */
struct look {
    const char *path;
    struct buf out;
    uint64_t faults;
    uint64_t records, bytes, first_lsn, last_lsn;
    uint64_t by_type[TYPES_MAX + 1]; /* the last: all beyond */
};

typedef enum err look_fn(struct look *look, struct note *note);

/* What is done with a key-value store, and with a log. */
struct action {
    const char *name;
    look_fn *kv, *log;
};

/* ---- printing -------------------------------------------------------------------------------- */

static void flush(struct look *look)
{
    if (look->out.n > PRINT_BYTES) {
        (void)ctl_print(&look->out);
    }
}

/* Bytes a terminal can take as they are; the others, and the backslash, as \xNN. */
static void add_bytes(struct buf *out, struct slice bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        if (bytes.p[i] >= ' ' && bytes.p[i] < 127 && bytes.p[i] != '\\') {
            buf_u8(out, bytes.p[i]);
        } else {
            buf_printf(out, "\\x%02x", bytes.p[i]);
        }
    }
}

static void say_fault(void *arg, const char *what)
{
    struct look *look = arg;
    look->faults++;
    buf_printf(&look->out, "%s: %s\n", look->path, what);
}

/* Damage is what was asked for: an answer, not a failure of the asking. */
static enum err answer_damage(struct look *look, enum err e, const struct note *note)
{
    if (e == ERR_CORRUPT) {
        if (look->faults == 0) {
            say_fault(look, note->text);
        }
        return ERR_NONE;
    }
    return e;
}

/* ---- key-value stores ------------------------------------------------------------------------ */

static enum err check_kv(struct look *look, struct note *note)
{
    enum err e = answer_damage(look, kv_check(fs_disk(), look->path, say_fault, look, note), note);
    if (e == ERR_NONE && look->faults == 0) {
        buf_printf(&look->out, "%s: whole\n", look->path);
    }
    return e;
}

static enum err open_kv(struct look *look, struct kv **out, struct note *note)
{
    struct kv_options options = {.fs = fs_disk(), .path = look->path, .must_exist = 1};
    return kv_open(&options, out, note);
}

static enum err dump_kv(struct look *look, struct note *note)
{
    struct kv *kv = NULL;
    int valid = 0;
    enum err e = open_kv(look, &kv, note);
    if (e) {
        return e;
    }
    struct kv_cursor *cursor = kv_cursor_open(kv, NULL);
    e = kv_cursor_first(cursor, &valid, note);
    while (e == ERR_NONE && valid) {
        add_bytes(&look->out, kv_cursor_key(cursor));
        buf_u8(&look->out, '\t');
        add_bytes(&look->out, kv_cursor_value(cursor));
        buf_u8(&look->out, '\n');
        flush(look);
        e = kv_cursor_next(cursor, &valid, note);
    }
    kv_cursor_close(cursor);
    kv_close(kv);
    return e;
}

static void add_stat(void *arg, const char *name, double value)
{
    buf_printf(arg, "%-32s %.6g\n", name, value);
}

static enum err stats_kv(struct look *look, struct note *note)
{
    struct kv *kv = NULL;
    enum err e = open_kv(look, &kv, note);
    if (e == ERR_NONE) {
        buf_printf(&look->out, "%-32s %s\n%-32s %s\n", "path", look->path, "kind",
                   kv_kind_name(kv_kind_of(kv)));
        kv_stats(kv, add_stat, &look->out);
        kv_close(kv);
    }
    return e;
}

/* ---- logs ------------------------------------------------------------------------------------ */

static enum err count_record(void *arg, const struct wal_record *record, struct note *note)
{
    struct look *look = arg;
    (void)note;
    look->first_lsn = look->records == 0 ? record->lsn : look->first_lsn;
    look->last_lsn = record->lsn;
    look->records++;
    look->bytes += record->body.n;
    look->by_type[record->type < TYPES_MAX ? record->type : TYPES_MAX]++;
    return ERR_NONE;
}

static enum err check_log(struct look *look, struct note *note)
{
    enum err e = wal_look(fs_disk(), look->path, count_record, look, note);
    e = answer_damage(look, e, note);
    if (e == ERR_NONE && look->faults == 0) {
        buf_printf(&look->out, "%s: whole, %" PRIu64 " records\n", look->path, look->records);
    }
    return e;
}

static enum err add_record(void *arg, const struct wal_record *record, struct note *note)
{
    struct look *look = arg;
    (void)note;
    buf_printf(&look->out, "%" PRIu64 "\t%u\t", record->lsn, record->type);
    add_bytes(&look->out, record->body);
    buf_u8(&look->out, '\n');
    flush(look);
    return ERR_NONE;
}

static enum err dump_log(struct look *look, struct note *note)
{
    return wal_look(fs_disk(), look->path, add_record, look, note);
}

static enum err stats_log(struct look *look, struct note *note)
{
    enum err e = wal_look(fs_disk(), look->path, count_record, look, note);
    if (e) {
        return e;
    }
    buf_printf(&look->out, "%-32s %s\n%-32s wal\n", "path", look->path, "kind");
    buf_printf(&look->out, "%-32s %" PRIu64 "\n", "records", look->records);
    buf_printf(&look->out, "%-32s %" PRIu64 "\n", "record_bytes", look->bytes);
    buf_printf(&look->out, "%-32s %" PRIu64 "\n", "first_lsn", look->first_lsn);
    buf_printf(&look->out, "%-32s %" PRIu64 "\n", "last_lsn", look->last_lsn);
    for (unsigned type = 0; type <= TYPES_MAX; type++) {
        if (look->by_type[type] != 0) {
            char name[32];
            (void)snprintf(name, sizeof(name), "records_type_%s%u",
                           type == TYPES_MAX ? "from_" : "", type);
            buf_printf(&look->out, "%-32s %" PRIu64 "\n", name, look->by_type[type]);
        }
    }
    return ERR_NONE;
}

/* ---- what lies at a path --------------------------------------------------------------------- */

struct listing {
    int is_log, has_kind, has_lock, has_tables;
    char **children;
    size_t children_count, children_cap;
};

static void see_name(void *arg, const char *name)
{
    struct listing *l = arg;
    l->has_kind |= strcmp(name, "KIND") == 0;
    l->has_lock |= strcmp(name, "LOCK") == 0;
    l->has_tables |= strcmp(name, "tree") == 0 || strcmp(name, "manifest") == 0;
    l->is_log |= strncmp(name, "wal-", 4) == 0;
    if (l->children_count == l->children_cap) {
        l->children_cap = l->children_cap == 0 ? 16 : l->children_cap * 2;
        l->children = mem_grow(l->children, l->children_cap * sizeof(l->children[0]));
    }
    l->children[l->children_count++] = mem_strdup(name);
}

/* Without KIND it is a damaged one, and that is to be said. */
static int is_kv(const struct listing *l)
{
    return l->has_kind || (l->has_lock && l->has_tables);
}

static enum err look_at(const char *path, const struct listing *l, const struct action *action,
                        int *status, struct note *note)
{
    struct look look = {.path = path};
    enum err e = (is_kv(l) ? action->kv : action->log)(&look, note);
    int printed = ctl_print(&look.out);
    *status = look.faults > 0 || printed != 0 ? 1 : *status;
    return e;
}

static void free_listing(struct listing *l)
{
    for (size_t i = 0; i < l->children_count; i++) {
        mem_free(l->children[i]);
    }
    mem_free(l->children);
}

/* A store of a running process is left out, and said so. */
static int is_in_use(const char *path)
{
    char lock[PATH_BYTES + 8];
    struct note note;
    int fd = -1;
    (void)snprintf(lock, sizeof(lock), "%s/LOCK", path);
    if (fs_disk()->lock(fs_disk(), lock, &fd, &note) == ERR_NONE) {
        fs_disk()->close(fs_disk(), fd);
        return 0;
    }
    (void)printf("%s: not looked at: %s\n", path, note.text);
    return 1;
}

/* The stores in a data folder, each if it is one, and those in its other folders. */
static enum err look_inside(const char *path, const struct listing *l, int levels,
                            const struct action *action, size_t *found, int *status,
                            struct note *note)
{
    enum err e = ERR_NONE;
    for (size_t i = 0; e == ERR_NONE && i < l->children_count; i++) {
        char child[PATH_BYTES];
        struct listing inner = {0};
        if (snprintf(child, sizeof(child), "%s/%s", path, l->children[i]) >= (int)sizeof(child)) {
            continue;
        }
        int is_folder = fs_disk()->list(fs_disk(), child, see_name, &inner, NULL) == ERR_NONE;
        if (is_folder && (is_kv(&inner) || inner.is_log)) {
            ++*found;
            e = inner.has_kind && is_in_use(child) ? ERR_NONE
                                                   : look_at(child, &inner, action, status, note);
        } else if (is_folder && levels > 1) {
            e = look_inside(child, &inner, levels - 1, action, found, status, note);
        }
        free_listing(&inner);
    }
    return e;
}

static enum err act(const char *path, const struct action *action, int *status, struct note *note)
{
    struct listing l = {0};
    size_t found = 0;
    enum err e = fs_disk()->list(fs_disk(), path, see_name, &l, note);
    if (e == ERR_NONE && (is_kv(&l) || l.is_log)) {
        e = look_at(path, &l, action, status, note);
    } else if (e == ERR_NONE) {
        e = look_inside(path, &l, LEVELS_MAX, action, &found, status, note);
        if (e == ERR_NONE && found == 0) {
            e = note_set(note, ERR_BAD_SETTING, "%s: no store and no log in it", path);
            note_hint(note, "Give data_dir, or a folder in it.");
        }
    }
    free_listing(&l);
    return e;
}

int ctl_store(const struct ctl_arguments *a)
{
    static const struct action actions[] = {{"check", check_kv, check_log},
                                            {"dump", dump_kv, dump_log},
                                            {"stats", stats_kv, stats_log}};
    struct note note = {0};
    const char *what = a->words_count == 3 ? a->words[1] : "";
    enum err e = ERR_BAD_SETTING;
    int status = 0;
    if (strcmp(what, "bench") == 0) {
        e = ctl_store_bench(a->words[2], &note);
        return e ? ctl_fail(&note) : 0;
    }
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(what, actions[i].name) == 0) {
            e = act(a->words[2], &actions[i], &status, &note);
            return e ? ctl_fail(&note) : status;
        }
    }
    (void)note_set(&note, e, "usage: braidctl store check|dump|stats|bench FOLDER");
    return ctl_fail(&note);
}
