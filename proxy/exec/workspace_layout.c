/*
 * Which moves a workspace needs this time, from which shards, and on which servers it is; and the
 * connections for it. Nothing here remembers anything: it is run again after every wait.
 */

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/workspace.h"
#include "proxy/session/session_role.h"

/* ---- where ----------------------------------------------------------------------------------- */

static uint32_t least_busy(struct session *s, uint64_t shards)
{
    uint32_t best = (uint32_t)__builtin_ctzll(shards);
    uint32_t least = UINT32_MAX;
    bits_each (shard, shards) {
        const struct pool *p = pool_of(s, (uint32_t)shard);
        uint32_t busy = p->held_count + p->waiters_count;
        if (busy < least) {
            least = busy;
            best = (uint32_t)shard;
        }
    }
    return best;
}

/* One of the shards where the rest may run. */
static uint32_t choose_place(struct session *s, uint64_t shards)
{
    const char *place = s->world->conf->workspace_place;
    const struct map *map = s->db->map;
    uint64_t home = shards & 1;
    if (strcmp(place, "least_busy") == 0) {
        return least_busy(s, shards);
    }
    for (uint32_t i = 0; i < map->shards_count; i++) {
        if (strcmp(map->shard_names[i], place) == 0 && (shards >> i & 1) != 0) {
            return i;
        }
    }
    return home != 0 ? 0 : (uint32_t)__builtin_ctzll(shards);
}

static enum err check_slots(size_t behind, uint64_t shards, struct note *note)
{
    if (behind < SHARDS_MAX && shards >> (SHARDS_MAX - behind) == 0) {
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "a workspace on %d servers of %zu is more than one statement can use",
                          __builtin_popcountll(shards), behind);
    note_hint(note, "Join on the sharding key, or aggregate before joining.");
    return e;
}

static enum err find_place(struct session *s, const struct plan_args *args,
                           struct workspace_layout *out, struct note *note)
{
    const struct map *map = s->db->map;
    int any = 0;
    size_t behind = map->shards_count;
    enum err e = plan_shards(out->rest, map, args, &out->rest_shards, &any, note);
    if (e) {
        return e;
    }
    if (out->rest->kind == PLAN_ONE) {
        out->rest_shards = UINT64_C(1) << choose_place(s, out->rest_shards);
    }
    e = check_slots(behind, out->rest_shards, note);
    if (e) {
        return e;
    }
    out->rest_slots = out->rest_shards << behind;
    return ERR_NONE;
}

/* ---- what ------------------------------------------------------------------------------------ */

static enum err find_source(struct session *s, const struct plan_args *args,
                            struct workspace_move *m, struct note *note)
{
    int any = 0;
    m->source = m->move->source;
    if (m->source->kind == PLAN_ROWS) {
        return rows_inside_places(s, m->move, args, &m->shards, note);
    }
    enum err e = plan_shards(m->source, s->db->map, args, &m->shards, &any, note);
    if (e == ERR_AGAIN && m->source->otherwise != NULL) {
        m->source = m->source->otherwise;
        if (m->source->kind == PLAN_REFUSE) {
            *note = m->source->note;
            return m->source->err;
        }
        if (m->source->kind == PLAN_ROWS) {
            return rows_inside_places(s, m->move, args, &m->shards, note);
        }
        e = plan_shards(m->source, s->db->map, args, &m->shards, &any, note);
    }
    if (!e && m->source->kind == PLAN_ONE) {
        m->shards = UINT64_C(1) << exec_choose(s, m->shards, any);
    }
    if (!e && m->move->over) {
        e = check_slots(s->db->map->shards_count, m->shards, note);
        m->shards <<= e ? 0 : s->db->map->shards_count;
    }
    return e;
}

/* All tables are wherever one of them is read. */
static void find_slots(struct workspace_layout *at)
{
    at->slots = at->rest_slots;
    for (size_t i = 0; i < at->moves_count; i++) {
        at->slots |=
            at->moves[i].move->over && !at->moves[i].move->writes ? at->moves[i].shards : 0;
    }
    for (size_t i = 0; i < at->moves_count; i++) {
        struct workspace_move *m = &at->moves[i];
        m->slots = m->move->to == MOVE_TO_ONE ? at->rest_slots & -at->rest_slots : at->slots;
    }
}

static enum err check_like(const struct session *s, const struct plan_move *move, struct note *note)
{
    const struct map *map = s->db->map;
    if (move->to == MOVE_TO_SHARDS &&
        (move->like < map->tables || move->like >= map->tables + map->tables_count)) {
        return note_set(note, ERR_STALE, "the shard map changed while the statement was planned");
    }
    return ERR_NONE;
}

enum err space_lay_out(struct session *s, struct plan *plan, const struct front_bind *bind,
                       struct workspace_layout *out, struct note *note)
{
    struct plan_args args;
    /* A temporary table of the session may hide another of the same name. */
    int apart =
        (s->tx.kind != TX_KIND_NONE || (s->pinned & PIN_TEMP) != 0) && plan->rest_apart != NULL;
    exec_args(s, bind, &args);
    if (plan->described_types_count >= args.params_count && args.params_count != 0) {
        args.param_types = plan->described_types;
    }
    out->rest = apart ? plan->rest_apart : plan->rest;
    out->sources = 0;
    out->moves_count = 0;
    enum err e = find_place(s, &args, out, note);
    int others = apart && plan->moves_apart != NULL;
    const struct plan_move *moves = others ? plan->moves_apart : plan->moves;
    size_t count = others ? plan->moves_apart_count : plan->moves_count;
    for (size_t i = 0; !e && i < count; i++) {
        if (moves[i].only_apart && !apart) {
            continue;
        }
        if (out->moves_count == WORKSPACE_MOVES_MAX) {
            return note_set(note, ERR_TOO_BIG, "a statement reads from more than %d relations",
                            WORKSPACE_MOVES_MAX);
        }
        struct workspace_move *m = &out->moves[out->moves_count++];
        *m = (struct workspace_move){.move = &moves[i]};
        e = check_like(s, m->move, note);
        e = e ? e : find_source(s, &args, m, note);
        out->sources |= e || (m->move->over && !m->move->writes) ? 0 : m->shards;
    }
    find_slots(out);
    return e;
}

/* ---- connections ----------------------------------------------------------------------------- */

static uint32_t shard_of(const struct session *s, uint64_t slot)
{
    return (uint32_t)slot - (uint32_t)s->db->map->shards_count;
}

/* Temporary tables can be made on primaries only. */
static enum step find_pool(struct session *s, uint32_t shard, struct pool **out, enum err *e,
                           struct note *note)
{
    if (s->db->shards[shard] == NULL) {
        *out = pool_of(s, shard);
        return STEP_DONE;
    }
    s->role.need = ROLE_NEED_PRIMARY;
    return role_choose(s, shard, out, e, note);
}

static enum step get_one(struct session *s, uint64_t slot, uint64_t missing, enum err *e,
                         struct note *note)
{
    struct pool *p = NULL;
    enum step step = find_pool(s, shard_of(s, slot), &p, e, note);
    if (step != STEP_DONE) {
        return step;
    }
    s->wait_slot = (uint32_t)slot;
    *e = pool_get(p, s, note);
    if (*e == ERR_AGAIN) {
        bits_each (later, missing & ~((UINT64_C(2) << slot) - 1)) {
            if (s->db->shards[shard_of(s, later)] == NULL) {
                pool_warm(pool_of(s, shard_of(s, later)));
            }
        }
        *e = ERR_NONE;
        return STEP_WAIT;
    }
    return *e ? STEP_FAILED : STEP_DONE;
}

enum step space_engage(struct session *s, uint64_t slots, enum err *e, struct note *note)
{
    uint64_t missing = slots & ~s->held_bits;
    bits_each (slot, missing) {
        enum step step = get_one(s, slot, missing, e, note);
        if (step != STEP_DONE) {
            return step;
        }
    }
    bits_each (slot, slots) {
        enum step step = exec_settle(s, session_backend(s, (uint32_t)slot));
        if (step != STEP_DONE) {
            return step;
        }
    }
    if (s->db->replicated) {
        role_engaged(s);
    }
    return STEP_DONE;
}

void space_let_go(struct session *s)
{
    list_each_safe (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (b->apart) {
            session_let_go(s, b);
        }
    }
}
