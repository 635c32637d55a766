/*
 * What is prepared is read from every shard; what was decided from the ledger's files, for names of
 * that ledger, or from the shard that the name's place belongs to. An operator's word goes against
 * neither without --force: half a transaction cannot be taken back.
 */

#include "proxy/ctl/tx_tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/data_dir.h"
#include "store/file.h"
#include "txn/txn.h"

enum {
    FOUND_MAX = 10000
};

/* What is known of the decision. */
enum known {
    KNOWN_NOTHING,   /* another's ledger, or the shard that decides cannot be asked */
    KNOWN_COMMITTED, /* decided */
    KNOWN_NOT        /* never decided, unless a session is still at it */
};

struct found {
    char gid[GID_BYTES_MAX];
    struct gid id;
    size_t shard;
    char owner[64], prepared[48];
    int64_t age_ms;
    enum known known;
};

struct work {
    struct tx_tool *tool;
    size_t shard; /* being listed */
    struct found *found;
    size_t count;
    uint32_t places[SHARDS_MAX];
    uint64_t reached;
    uint64_t instance; /* of the ledger's files; 0: none */
};

/* ---- the ledger's files ---------------------------------------------------------------------- */

static void put_time(struct buf *out, int64_t wall_us)
{
    char text[32] = "-";
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    if (wall_us > 0 && gmtime_r(&seconds, &tm) != NULL) {
        (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
        buf_printf(out, "%s.%03d UTC", text, (int)(wall_us / 1000 % 1000));
    } else {
        buf_text(out, text);
    }
}

static void put_shards(const struct tx_tool *t, struct slice tag, uint64_t shards, struct buf *out)
{
    int is_first = 1;
    char name[LEDGER_TAG_MAX + 1];
    (void)snprintf(name, sizeof(name), SLICE_FMT, SLICE_ARG(tag));
    const struct conf_database *db = conf_find_database(t->conf, name);
    bits_each (s, shards) {
        buf_text(out, is_first ? "" : ",");
        if (db != NULL && s < db->shards_count) {
            buf_text(out, db->shards[s].name);
        } else {
            buf_printf(out, "#%u", (unsigned)s);
        }
        is_first = 0;
    }
}

static void print_record(void *arg, const struct ledger_record *r)
{
    const struct tx_tool *t = arg;
    struct buf *out = t->out;
    put_time(out, r->wall_us);
    switch (r->kind) {
    case LEDGER_RECORD_START:
        buf_printf(out, "  START     instance=%016" PRIx64 " start=%" PRIx64, r->instance,
                   r->txn.start);
        break;
    case LEDGER_RECORD_DECIDE:
        buf_printf(out, "  COMMIT    %" PRIx64 "_%" PRIx64 " database=" SLICE_FMT " shards=",
                   r->txn.start, r->txn.seq, SLICE_ARG(r->tag));
        put_shards(t, r->tag, r->shards, out);
        if (r->prepared_wall_us > 0) {
            buf_text(out, " prepared=\"");
            put_time(out, r->prepared_wall_us);
            buf_printf(out, "\" duration_ms=%.3f",
                       (double)(r->wall_us - r->prepared_wall_us) / 1000.0);
        }
        break;
    case LEDGER_RECORD_SETTLED:
        buf_printf(out, "  FINISHED  %" PRIx64 "_%" PRIx64, r->txn.start, r->txn.seq);
        break;
    }
    buf_u8(out, '\n');
}

enum err tx_log(struct tx_tool *t, struct note *note)
{
    return ledger_read(t->conf->data_dir, print_record, t, note);
}

/* ---- what is prepared ------------------------------------------------------------------------ */

static void keep_row(void *arg, const struct hand_prepared *p)
{
    struct work *w = arg;
    struct gid id;
    if (w->count == FOUND_MAX || !gid_parse(slice_of(p->gid), &id)) {
        return;
    }
    w->found = mem_grow(w->found, (w->count + 1) * sizeof(*w->found));
    struct found *f = &w->found[w->count++];
    *f = (struct found){.id = id, .shard = w->shard, .age_ms = p->age_ms};
    (void)snprintf(f->gid, sizeof(f->gid), "%s", p->gid);
    (void)snprintf(f->owner, sizeof(f->owner), "%s", p->owner);
    (void)snprintf(f->prepared, sizeof(f->prepared), "%s", p->prepared);
}

static enum err target_of(const struct work *w, size_t shard, struct addr *addrs,
                          struct pg_target *out, struct note *note)
{
    const struct tx_tool *t = w->tool;
    const struct conf_server *server = &t->conf->servers[t->db->shards[shard].primary];
    enum err e = t->target(t->conf, server, addrs, out, note);
    out->dbname = t->db->dbname;
    return e;
}

/* A shard that cannot be reached is told of, and left out. */
static void list_shards(struct work *w)
{
    const struct conf_database *db = w->tool->db;
    for (w->shard = 0; w->shard < db->shards_count; w->shard++) {
        struct addr addrs[SERVER_ADDRS_MAX];
        struct pg_target target;
        struct note note = {.text = ""};
        enum err e = target_of(w, w->shard, addrs, &target, &note);
        if (!e) {
            e = hand_list(&target, keep_row, w, &w->places[w->shard], &note);
        }
        if (e) {
            buf_printf(w->tool->out, "shard %s cannot be asked: %s\n", db->shards[w->shard].name,
                       note.text);
        } else {
            w->reached |= UINT64_C(1) << w->shard;
        }
    }
}

static void know_from_log(void *arg, const struct ledger_record *r)
{
    struct work *w = arg;
    w->instance = r->instance;
    for (size_t i = 0; i < w->count; i++) {
        struct found *f = &w->found[i];
        if (f->id.place != 0 || f->id.instance != r->instance) {
            continue;
        }
        if (r->kind == LEDGER_RECORD_START) {
            f->known = f->known == KNOWN_NOTHING ? KNOWN_NOT : f->known;
        } else if (txn_id_eq(f->id.txn, r->txn)) {
            f->known = r->kind == LEDGER_RECORD_DECIDE ? KNOWN_COMMITTED : f->known;
        }
    }
}

/* mark: put the marker, so that it will not be decided any more. */
static void know_from_shards(struct work *w, struct found *f, int mark)
{
    for (size_t s = 0; s < w->tool->db->shards_count; s++) {
        struct addr addrs[SERVER_ADDRS_MAX];
        struct pg_target target;
        struct note note;
        char outcome = 0;
        if (w->places[s] == f->id.place && target_of(w, s, addrs, &target, &note) == ERR_NONE &&
            hand_decision(&target, &f->id, mark, &outcome, &note) == ERR_NONE &&
            f->known != KNOWN_COMMITTED) {
            f->known = outcome == 'c' ? KNOWN_COMMITTED : KNOWN_NOT;
        }
    }
}

static struct work look(struct tx_tool *t)
{
    struct work w = {.tool = t};
    struct note note;
    list_shards(&w);
    /* No files: nothing is known of names of a ledger; that is what is printed. */
    enum err e = ledger_read(t->conf->data_dir, know_from_log, &w, &note);
    if (e) {
        buf_printf(t->out, "the ledger cannot be read: %s\n", note.text);
    }
    for (size_t i = 0; i < w.count; i++) {
        if (w.found[i].id.place != 0) {
            know_from_shards(&w, &w.found[i], 0);
        }
    }
    return w;
}

static void put_id(struct buf *out, const struct gid *id)
{
    buf_printf(out, "%016" PRIx64 "_%" PRIx64 "_%" PRIx64, id->instance, id->txn.start,
               id->txn.seq);
}

static const char *known_word(const struct found *f)
{
    return f->known == KNOWN_COMMITTED ? "committed"
           : f->known == KNOWN_NOT     ? "not decided"
                                       : "unknown";
}

enum err tx_list(struct tx_tool *t, struct note *note)
{
    struct work w = look(t);
    (void)note;
    for (size_t i = 0; i < w.count; i++) {
        const struct found *f = &w.found[i];
        put_id(t->out, &f->id);
        buf_printf(t->out,
                   "  shard=%s decision=%s kept_by=%s owner=%s prepared=\"%s\" age_ms=%" PRId64,
                   t->db->shards[f->shard].name, known_word(f),
                   f->id.place != 0               ? "shard"
                   : f->id.instance == w.instance ? "this ledger"
                                                  : "another ledger",
                   f->owner, f->prepared, f->age_ms);
        buf_u8(t->out, '\n');
    }
    if (w.count == 0) {
        buf_text(t->out, "nothing is prepared\n");
    }
    mem_free(w.found);
    return ERR_NONE;
}

/* ---- by hand --------------------------------------------------------------------------------- */

static int is_it(const struct found *f, const char *id)
{
    struct buf text = {0};
    put_id(&text, &f->id);
    int same = slice_is(buf_slice(&text), id);
    buf_free(&text);
    return same;
}

/* Somebody has the ledger open, and may be about to decide. */
static int is_running(const struct tx_tool *t)
{
    char path[DATA_DIR_PATH_MAX + 8];
    int fd = -1;
    struct note note;
    struct fs *fs = fs_disk();
    (void)snprintf(path, sizeof(path), "%s/LOCK", t->conf->data_dir);
    if (fs->lock(fs, path, &fd, &note) != ERR_NONE) {
        return 1;
    }
    fs->close(fs, fd);
    return 0;
}

static enum err may_touch(const struct work *w, const struct found *f, struct tx_order order,
                          struct note *note)
{
    if (order.force || f->id.place != 0 || f->id.instance != w->instance || !is_running(w->tool)) {
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_BAD_SETTING,
                          "%s: the pgbraid of this ledger runs and has it in hand", f->gid);
    note_hint(note, "It ends what it can reach by itself (SHOW TRANSACTIONS); stop it first, or, "
                    "against it, --force.");
    return e;
}

static enum err may(const struct found *f, struct tx_order order, struct note *note)
{
    if (order.force || f->known == KNOWN_NOTHING ||
        (f->known == KNOWN_COMMITTED) == (order.commit != 0)) {
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_BAD_SETTING, "%s: its decision is known: %s", f->gid,
                          f->known == KNOWN_COMMITTED ? "commit" : "there is none, so abort");
    note_hint(note, "Recovery ends it so as soon as pgbraid runs and reaches the shards. Against "
                    "it, half of the transaction may be lost: --force.");
    return e;
}

static enum err end_one(struct work *w, const struct found *f, int commit, struct note *note)
{
    struct addr addrs[SERVER_ADDRS_MAX];
    struct pg_target target;
    enum err e = target_of(w, f->shard, addrs, &target, note);
    if (!e) {
        struct hand_prepared what = {.gid = f->gid, .owner = f->owner};
        e = hand_end(&target, w->tool->conf, &what, commit, note);
    }
    if (!e) {
        buf_printf(w->tool->out, "%s: %s on %s\n", f->gid, commit ? "committed" : "rolled back",
                   w->tool->db->shards[f->shard].name);
    }
    return e;
}

enum err tx_resolve(struct tx_tool *t, struct tx_order order, struct note *note)
{
    struct work w = look(t);
    size_t matches = 0;
    enum err e = ERR_NONE;
    for (size_t i = 0; i < w.count && !e; i++) {
        struct found *f = &w.found[i];
        if (is_it(f, order.id)) {
            matches++;
            e = may_touch(&w, f, order, note);
            if (!e && f->id.place != 0 && !order.commit) {
                know_from_shards(&w, f, 1);
            }
            e = e ? e : may(f, order, note);
        }
    }
    if (!e && matches == 0) {
        e = note_set(note, ERR_BAD_SETTING, "no shard that answers has %.100s prepared", order.id);
        note_hint(note, "braidctl tx list shows what is.");
    }
    for (size_t i = 0; i < w.count && !e; i++) {
        if (is_it(&w.found[i], order.id)) {
            e = end_one(&w, &w.found[i], order.commit, note);
        }
    }
    mem_free(w.found);
    return e;
}
