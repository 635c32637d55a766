/*
 * Prepared statements: what a client calls S_1 and what servers call pgbraid_1a.
 *
 * A statement is shared by content (text and parameter types) between all sessions of a worker, so
 * a backend parses it once whoever uses it. Ids carry the worker's number: a backend may change
 * workers, and names must not clash on it.
 */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/digits.h"
#include "base/hash.h"
#include "base/mem.h"
#include "proxy/exec/op.h"
#include "proxy/session/clock_words.h"
#include "proxy/session/session.h"

enum {
    IDLE_MAX = 1000,
    IDLE_BYTES_MAX = 4096
};

void stmt_name(uint64_t id, char out[32])
{
    static const char prefix[] = "pgbraid_";
    memcpy(out, prefix, sizeof(prefix) - 1);
    *digits_put_hex(out + sizeof(prefix) - 1, id, 1) = '\0';
}

static int same(const struct stmt *st, const struct stmt *as, struct slice text)
{
    return st->version == as->version && st->settings == as->settings && st->text_bytes == text.n &&
           memcmp(st->text, text.p, text.n) == 0 && st->types_count == as->types_count &&
           (st->types_count == 0 ||
            memcmp(st->types, as->types, st->types_count * sizeof(*st->types)) == 0);
}

/* `as`: version, settings and types. */
static struct stmt *make_stmt(const struct stmt *as, struct slice text)
{
    struct stmt *st = mem_zero(sizeof(*st));
    list_init(&st->idle);
    st->refs = 1;
    st->version = as->version;
    st->settings = as->settings;
    st->text = mem_alloc(text.n + 1);
    memcpy(st->text, text.p, text.n);
    st->text[text.n] = '\0';
    st->text_bytes = text.n;
    st->types = mem_dup(as->types, as->types_count * sizeof(*as->types));
    st->types_count = as->types_count;
    st->reads_clock = text_reads_clock(text) != 0;
    return st;
}

uint64_t stmt_settings(const struct session *s)
{
    uint64_t reading = s->vars->reading;
    if (s->tx.kind != TX_KIND_NONE && s->tx.locals->reading != 0) {
        reading = hash_u64(s->tx.locals->reading, reading);
    }
    return reading;
}

static void leave_idle(struct worker *w, struct stmt *st)
{
    list_remove(&st->idle);
    w->stmts_idle_count--;
}

static struct stmt *find(struct worker *w, const struct stmt *as, struct slice text, uint64_t h)
{
    for (struct hnode *n = hmap_find(&w->stmts, h); n != NULL; n = hmap_more(n)) {
        struct stmt *st = container_of(n, struct stmt, node);
        if (same(st, as, text) && st->generation == w->stmt_generation) {
            return st;
        }
    }
    return NULL;
}

static struct stmt *find_or_make(struct worker *w, const struct stmt *as, struct slice text)
{
    uint64_t h = hash_bytes(text.p, text.n, hash_process_seed());
    struct stmt *st = find(w, as, text, h);
    if (st != NULL) {
        if (st->refs++ == 0) {
            leave_idle(w, st);
        }
        return st;
    }
    st = make_stmt(as, text);
    st->id = ((uint64_t)w->index << 48) + ++w->next_stmt;
    st->generation = w->stmt_generation;
    stmt_name(st->id, st->name);
    if (st->reads_clock) { /* the server reads it when it is parsed: nobody else's will do */
        st->settings = hash_u64(st->id, st->settings);
    }
    hmap_add(&w->stmts, &st->node, h);
    return st;
}

struct stmt *stmt_find(struct session *s, uint64_t version, struct slice text,
                       const uint32_t *types, size_t count)
{
    const struct stmt as = {.version = version,
                            .settings = stmt_settings(s),
                            .types = (uint32_t *)types, /* only read */
                            .types_count = count};
    return find_or_make(s->worker, &as, text);
}

int stmt_is_old(struct worker *w, const struct back_error *err)
{
    int is = slice_is(err->code, "0A000") && slice_is(err->routine, "RevalidateCachedQuery");
    w->stmt_generation += is ? 1 : 0;
    return is;
}

void stmt_renew(struct session *s, struct pstmt *p)
{
    struct stmt *old = p->stmt;
    if (old->generation != s->worker->stmt_generation) {
        p->stmt = find_or_make(s->worker, old, slice_bytes(old->text, old->text_bytes));
        stmt_unref(s->worker, old);
    }
}

struct stmt *stmt_copy(const struct stmt *st)
{
    return make_stmt(st, slice_bytes(st->text, st->text_bytes));
}

static void free_copy(struct stmt *st)
{
    mem_free(st->text);
    mem_free(st->types);
    mem_free(st);
}

struct stmt *stmt_exchange(struct worker *w, struct stmt *copy)
{
    struct stmt *st = find_or_make(w, copy, slice_bytes(copy->text, copy->text_bytes));
    free_copy(copy);
    return st;
}

static void drop(struct worker *w, struct stmt *st)
{
    hmap_remove(&w->stmts, &st->node);
    free_copy(st);
}

static void drop_idle(struct worker *w, size_t keep)
{
    while (w->stmts_idle_count > keep) {
        struct stmt *oldest = container_of(list_first(&w->stmts_idle), struct stmt, idle);
        leave_idle(w, oldest);
        drop(w, oldest);
    }
}

/* One that nobody refers to stays for a while: whoever parses it without a name does so again. */
void stmt_unref(struct worker *w, struct stmt *st)
{
    if (--st->refs != 0) {
        return;
    }
    if (st->text_bytes > IDLE_BYTES_MAX || st->reads_clock) {
        drop(w, st);
        return;
    }
    list_push_back(&w->stmts_idle, &st->idle);
    w->stmts_idle_count++;
    drop_idle(w, IDLE_MAX);
}

void stmts_free(struct worker *w)
{
    drop_idle(w, 0);
    hmap_free(&w->stmts);
}

static uint64_t hash_name(struct slice name)
{
    return hash_bytes(name.p, name.n, hash_process_seed());
}

struct pstmt *pstmt_find(struct session *s, struct slice name)
{
    for (struct hnode *n = hmap_find(&s->pstmts, hash_name(name)); n != NULL; n = hmap_more(n)) {
        struct pstmt *p = container_of(n, struct pstmt, node);
        if (slice_is(name, p->name)) {
            return p;
        }
    }
    return NULL;
}

struct pstmt *pstmt_add(struct session *s, struct slice name, struct stmt *stmt,
                        struct plan_batch *batch)
{
    struct pstmt *p = mem_zero(sizeof(*p));
    p->name = mem_alloc(name.n + 1);
    (void)snprintf(p->name, name.n + 1, SLICE_FMT, SLICE_ARG(name));
    p->stmt = stmt;
    p->batch = batch == NULL ? NULL : plan_batch_ref(batch);
    p->refs = 1;
    p->serial = ++s->pstmts_made == 0 ? ++s->pstmts_made : s->pstmts_made;
    hmap_add(&s->pstmts, &p->node, hash_name(name));
    return p;
}

void pstmt_unref(struct session *s, struct pstmt *p)
{
    if (--p->refs == 0) {
        stmt_unref(s->worker, p->stmt);
        varset_unref(&s->worker->vars, p->vars);
        if (p->batch != NULL) {
            plan_batch_unref(p->batch);
        }
        mem_free(p->name);
        mem_free(p);
    }
}

void pstmt_remove(struct session *s, struct pstmt *p)
{
    hmap_remove(&s->pstmts, &p->node);
    pstmt_unref(s, p);
}

void pstmt_forget(struct session *s, uint32_t serial)
{
    for (struct hnode *n = hmap_each(&s->pstmts, NULL); n != NULL; n = hmap_each(&s->pstmts, n)) {
        struct pstmt *p = container_of(n, struct pstmt, node);
        if (p->serial == serial) {
            pstmt_remove(s, p);
            return;
        }
    }
}

void session_drop_pstmts(struct session *s)
{
    if (s->pending_parse != NULL) {
        pstmt_unref(s, s->pending_parse);
        s->pending_parse = NULL;
    }
    struct hnode *n = hmap_each(&s->pstmts, NULL);
    while (n != NULL) {
        pstmt_remove(s, container_of(n, struct pstmt, node));
        n = hmap_each(&s->pstmts, NULL);
    }
    hmap_free(&s->pstmts);
}

/* ---- portals --------------------------------------------------------------------------------- */

struct portal *portal_find(struct session *s, struct slice name)
{
    list_each (node, &s->portals) {
        struct portal *p = container_of(node, struct portal, node);
        if (p->live && slice_is(name, p->name)) {
            return p;
        }
    }
    return NULL;
}

void portal_set_plan(struct portal *p, struct plan_batch *batch, struct plan *plan)
{
    struct plan_batch *old = p->batch;
    p->batch = plan_batch_ref(batch);
    p->plan = plan;
    if (old != NULL) {
        plan_batch_unref(old);
    }
}

void portal_drop(struct session *s, struct portal *p)
{
    list_remove(&p->node);
    portal_forget_rows(s, p);
    if (p->batch != NULL) {
        plan_batch_unref(p->batch);
    }
    if (p->pstmt != NULL) {
        pstmt_unref(s, p->pstmt);
    }
    buf_free(&p->bind);
    mem_free(p->name);
    mem_free(p);
}

struct portal *portal_add(struct session *s, struct slice name, struct pstmt *pstmt)
{
    list_each_safe (node, &s->portals) {
        struct portal *old = container_of(node, struct portal, node);
        if (!slice_is(name, old->name)) {
            continue;
        }
        if (old->pstmt == pstmt) { /* of a repeated statement: nothing to allocate */
            portal_forget_rows(s, old);
            old->bind.n = 0;
            old->live = 1;
            old->typed = 0;
            old->lost = 0;
            return old;
        }
        portal_drop(s, old);
    }
    struct portal *p = mem_zero(sizeof(*p));
    p->live = 1;
    p->name = mem_alloc(name.n + 1);
    (void)snprintf(p->name, name.n + 1, SLICE_FMT, SLICE_ARG(name));
    p->pstmt = pstmt;
    p->depth = s->tx.savepoints_count;
    if (pstmt != NULL) {
        pstmt->refs++;
    }
    list_push_back(&s->portals, &p->node);
    return p;
}

void portals_lost(struct session *s, uint32_t shard)
{
    list_each (node, &s->portals) {
        struct portal *p = container_of(node, struct portal, node);
        p->lost |= p->live && p->on_backend && p->shard == shard;
        if (p->live && !p->settled && p->gather != NULL) { /* all of its shards must go on */
            p->lost = 1;
            p->shard = shard;
        }
    }
}

void portals_back_to(struct session *s, size_t index)
{
    list_each_safe (node, &s->portals) {
        struct portal *p = container_of(node, struct portal, node);
        if (p->depth > index && (p->suspended || p->cursor)) {
            portal_drop(s, p);
        } else {
            p->unlocked |= p->locked_depth > index;
        }
    }
}

void portals_release(struct session *s, size_t index)
{
    list_each (node, &s->portals) {
        struct portal *p = container_of(node, struct portal, node);
        p->depth = p->depth < index ? p->depth : index;
        p->locked_depth = p->locked_depth < index ? p->locked_depth : index;
    }
}

int portals_hold(const struct session *s)
{
    list_each (node, &s->portals) {
        const struct portal *p = container_of(node, struct portal, node);
        if (p->holds && !p->settled) {
            return 1;
        }
    }
    return 0;
}

void portals_settle(struct session *s)
{
    list_each (node, &s->portals) {
        struct portal *p = container_of(node, struct portal, node);
        p->settled |= p->holds;
        p->depth = p->settled ? 0 : p->depth;
    }
}

/* The unnamed portal's memory is kept: most clients use it again at once. */
void session_end_portals(struct session *s)
{
    list_each_safe (node, &s->portals) {
        struct portal *p = container_of(node, struct portal, node);
        if (p->name[0] == '\0') {
            portal_forget_rows(s, p);
            p->live = 0;
        } else if (!p->settled) {
            portal_drop(s, p);
        }
    }
}

void session_forget_unnamed(struct session *s)
{
    if (s->pending_parse != NULL) {
        pstmt_unref(s, s->pending_parse);
        s->pending_parse = NULL;
        back_put_empty(session_out(s), '1');
    }
    if (s->tx.kind == TX_KIND_NONE) {
        session_end_portals(s);
    }
    struct pstmt *p = pstmt_find(s, SLICE(""));
    if (p != NULL) {
        pstmt_remove(s, p);
    }
}

void session_drop_portals(struct session *s)
{
    list_each_safe (node, &s->portals) {
        portal_drop(s, container_of(node, struct portal, node));
    }
}
