/*
 * A transaction that has changed the schema is planned by a catalog and a map of its own, read over
 * its own connection to the home shard, which sees what it has done. Nobody else does: they have
 * numbers of their own, so that no cache mixes them up, and go with the transaction.
 *
 *     DDL, ROLLBACK TO -> stale -> the next statement that needs a plan: SAVEPOINT, the queries of
 *     the catalog, ROLLBACK TO in one round -> world_db of the transaction's own
 *
 * When it cannot be read the tables that were changed cannot be used before COMMIT (tx.changed).
 */

#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/mem.h"
#include "planner/typemap.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/op.h"
#include "proxy/exec/tx.h"

enum {
    COLUMNS_MAX = 64
};

/* The transaction's own, in place of the world's. */
struct tx_db {
    struct world_db db; /* first */
    const struct world_db *before;
};

struct catalog_op {
    struct op op;
    struct catalog_build *build;
    int query; /* whose rows come; -1: the savepoint */
    enum err err;
    struct note note;
};

/* Above all that the control thread gives out. */
static uint64_t next_number(void)
{
    static _Atomic uint64_t last;
    return (UINT64_C(1) << 62) + atomic_fetch_add(&last, 1);
}

void tx_catalog_drop(struct session *s)
{
    struct tx_db *own = s->tx.own_db;
    s->tx.stale = 0;
    if (own == NULL) {
        return;
    }
    s->tx.own_db = NULL;
    s->db = own->before;
    map_unref(own->db.map);
    catalog_unref(own->db.catalog);
    mem_free(own);
}

static void forget_changes(struct session *s)
{
    while (s->tx.changed_count > 0) {
        mem_free(s->tx.changed[--s->tx.changed_count]);
    }
}

static enum err take_catalog(struct session *s, struct catalog *catalog, struct note *note)
{
    struct arena arena = {0};
    struct map_decl *decls = NULL;
    struct map *map = NULL;
    size_t count = 0;
    enum err e = catalog_map_decls(catalog, s->db->conf, &arena, &decls, &count, note);
    e = e ? e : map_build(s->db->conf, decls, count, next_number(), &map, note);
    arena_free(&arena);
    if (e) {
        return e;
    }
    struct typemap *types = catalog_types(s->db->catalog);
    catalog_set_types(catalog, types == NULL ? NULL : typemap_ref(types));
    tx_catalog_drop(s);
    struct tx_db *own = mem_zero(sizeof(*own));
    own->before = s->db;
    own->db = *s->db;
    own->db.map = map;
    own->db.catalog = catalog_ref(catalog);
    s->tx.own_db = own;
    s->db = &own->db;
    forget_changes(s);
    return ERR_NONE;
}

static void take_row(struct catalog_op *c, struct slice body)
{
    struct slice values[COLUMNS_MAX];
    struct back_walk walk;
    struct slice value;
    size_t count = 0;
    if (c->err || c->query < 0) {
        return;
    }
    c->err = back_walk_row(body, &walk, &c->note);
    while (!c->err && count < COLUMNS_MAX && back_next_value(&walk, &value) == 1) {
        values[count++] = value;
    }
    if (!c->err) {
        c->err = catalog_build_row(c->build, (size_t)c->query, values, count, &c->note);
    }
}

static void on_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct catalog_op *c = (struct catalog_op *)op;
    if (type == 'D') {
        take_row(c, body);
    } else if (type == 'C') {
        c->query++;
    } else if (type == 'S') {
        op_pass_on(op, b, type, body);
    }
}

static void free_op(struct op *op)
{
    struct catalog_op *c = (struct catalog_op *)op;
    if (c->build != NULL) {
        catalog_build_drop(c->build);
    }
}

/* The statement that waits for us is run again, whatever has become of it. */
static void go_on(struct op *op)
{
    if (op->errors != 0) {
        op->session->tx.failed = 1;
    }
    op_end(op);
}

static void then(struct op *op)
{
    struct catalog_op *c = (struct catalog_op *)op;
    struct session *s = op->session;
    if (op->errors != 0) {
        op->on_message = NULL;
        op_round(op, 1, "ROLLBACK TO SAVEPOINT braid_catalog; RELEASE SAVEPOINT braid_catalog",
                 go_on);
        return;
    }
    check((size_t)c->query > catalog_queries_count);
    if (!c->err) {
        struct catalog *catalog = catalog_build_finish(c->build, next_number());
        c->build = NULL;
        c->err = take_catalog(s, catalog, &c->note);
        catalog_unref(catalog);
    }
    op_end(op);
}

/* Statements for which it does not matter. */
static int ends_or_marks(struct slice text)
{
    static const char *const words[] = {"commit", "rollback",  "end",
                                        "abort",  "savepoint", "release"};
    while (text.n > 0 && (text.p[0] == ' ' || (text.p[0] >= '\t' && text.p[0] <= '\r'))) {
        text = slice_from(text, 1);
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t n = strlen(words[i]);
        if (text.n >= n && strncasecmp((const char *)text.p, words[i], n) == 0) {
            return 1;
        }
    }
    return 0;
}

enum step tx_catalog_read(struct session *s, struct slice text)
{
    enum err e = ERR_NONE;
    struct note note;
    if (!s->tx.stale || s->tx.kind == TX_KIND_NONE || s->tx.failed || ends_or_marks(text)) {
        return STEP_DONE;
    }
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    enum step step = session_engage(s, 1, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : STEP_DONE; /* the statement itself will tell */
    }
    s->tx.stale = 0;
    struct catalog_op *c = op_begin(s, sizeof(*c), "catalog");
    c->build = catalog_build_new();
    c->query = -1;
    c->op.on_message = on_message;
    c->op.free_fn = free_op;
    struct buf *sql = &s->worker->scratch;
    sql->n = 0;
    buf_text(sql, "SAVEPOINT braid_catalog");
    for (size_t i = 0; i < catalog_queries_count; i++) {
        buf_printf(sql, ";%s", catalog_query(i));
    }
    /* the queries set things for themselves */
    buf_text(sql, ";ROLLBACK TO SAVEPOINT braid_catalog;RELEASE SAVEPOINT braid_catalog");
    buf_u8(sql, 0);
    op_round(&c->op, 1, (const char *)sql->p, then);
    return STEP_WAIT;
}
