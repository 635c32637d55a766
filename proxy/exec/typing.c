/* Types of users between clients and servers whose OIDs differ. */

#include "proxy/exec/typing.h"

#include "base/check.h"
#include "base/mem.h"

static struct typemap_way way_of(const struct backend *b, int to_home)
{
    return (struct typemap_way){
        .map = catalog_types(b->session->db->catalog), .shard = b->pool->shard, .to_home = to_home};
}

/* ---- Parse and Bind -------------------------------------------------------------------------- */

static int any_of_users(const uint32_t *types, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (types[i] >= TYPEMAP_USER_OID) {
            return 1;
        }
    }
    return 0;
}

int typing_declared(const struct stmt *stmt)
{
    return any_of_users(stmt->types, stmt->types_count);
}

void typing_put_parse(struct backend *b, const char *name, struct slice text, const uint32_t *types,
                      size_t count)
{
    uint32_t few[64];
    uint32_t *turned = NULL;
    if (any_of_users(types, count) && typing_differs(b)) {
        struct typemap_way way = way_of(b, 0);
        turned = count <= 64 ? few : mem_alloc(count * sizeof(*turned));
        for (size_t i = 0; i < count; i++) {
            turned[i] = typemap_to_shard(way.map, way.shard, types[i]);
        }
    }
    front_put_parse(stream_out(b->stream), name, text, turned == NULL ? types : turned, count);
    if (turned != few) {
        mem_free(turned);
    }
}

static int value_is_binary(const struct front_bind *bind, size_t i)
{
    size_t at = bind->formats_count == 1 ? 0 : i;
    return at < bind->formats_count && be16_at(bind->formats + 2 * at) == 1;
}

static int result_is_binary(const struct front_bind *bind, size_t i)
{
    size_t at = bind->results_count == 1 ? 0 : i;
    return at < bind->results_count && be16_at(bind->results + 2 * at) == 1;
}

const struct front_bind *typing_bind(struct backend *b, const struct front_bind *bind,
                                     const uint32_t *types, size_t count, struct front_bind *room)
{
    if (bind == NULL || bind->values_count == 0 || !typing_differs(b)) {
        return bind;
    }
    struct typemap_way way = way_of(b, 0);
    struct arena *arena = &b->session->arena;
    uint32_t *edited = NULL;
    for (size_t i = 0; i < bind->values_count && i < count; i++) {
        if (value_is_binary(bind, i) && typemap_holds_oids(way.map, types[i])) {
            edited =
                edited != NULL ? edited : arena_zero(arena, bind->values_count * sizeof(*edited));
            edited[i] = types[i];
        }
    }
    if (edited == NULL) {
        return bind;
    }
    uint8_t *tail = arena_alloc(arena, bind->tail.n);
    memcpy(tail, bind->tail.p, bind->tail.n);
    size_t at = (size_t)(bind->values.p - bind->tail.p);
    typemap_edit_values(&way, edited, bind->values_count, tail + at, bind->values.n);
    *room = *bind;
    room->tail.p = tail;
    room->values.p = tail + at;
    return room;
}

/* ---- what servers say ------------------------------------------------------------------------ */

void typing_turn(struct backend *b, uint8_t message, uint8_t *body, size_t n)
{
    struct typemap_way way = way_of(b, 1);
    if (message == 'T') {
        typemap_edit_columns(&way, body, n);
    } else {
        typemap_edit_parameters(&way, body, n);
    }
}

static struct slice turned_copy(struct backend *b, struct arena *arena, uint8_t message,
                                struct slice body)
{
    if (!typing_differs(b)) {
        return body;
    }
    uint8_t *copy = arena_alloc(arena, body.n + 1);
    memcpy(copy, body.p, body.n);
    typing_turn(b, message, copy, body.n);
    return slice_bytes(copy, body.n);
}

struct slice typing_columns(struct backend *b, struct arena *arena, struct slice body)
{
    return turned_copy(b, arena, 'T', body);
}

struct slice typing_parameters(struct backend *b, struct arena *arena, struct slice body)
{
    return turned_copy(b, arena, 't', body);
}

uint32_t *typing_of_rows(struct backend *b, struct arena *arena, struct slice columns,
                         const struct front_bind *bind, size_t *count)
{
    struct back_walk walk;
    struct back_column column;
    struct note note;
    uint32_t *types = NULL;
    const struct typemap *map = catalog_types(b->session->db->catalog);
    int turns =
        typing_differs(b) || (b->apart && map != NULL); /* temporary tables have own types */
    if (!turns || back_walk_columns(columns, &walk, &note) != ERR_NONE) {
        return NULL;
    }
    *count = walk.left;
    for (size_t i = 0; i < *count && back_next_column(&walk, &column) == 1; i++) {
        int binary = bind == NULL ? column.format == 1 : result_is_binary(bind, i);
        if (binary && typemap_holds_oids(map, column.type_oid)) {
            types = types != NULL ? types : arena_zero(arena, *count * sizeof(*types));
            types[i] = column.type_oid;
        }
    }
    return types;
}

struct slice typing_row(struct backend *b, const uint32_t *types, size_t count, struct slice body,
                        struct buf *scratch)
{
    struct typemap_way way = way_of(b, 1);
    if (body.n < 2) {
        return body;
    }
    size_t fields = be16_at(body.p);
    scratch->n = 0;
    buf_add_slice(scratch, body);
    typemap_edit_values(&way, types, fields < count ? fields : count, scratch->p + 2, body.n - 2);
    return buf_slice(scratch);
}

struct slice typing_tuples(struct backend *b, const uint32_t *types, size_t count,
                           struct slice data, struct buf *scratch)
{
    if (!typing_differs(b) || (data.n > 0 && data.p[0] == 'P')) { /* "PGCOPY" */
        return data;
    }
    struct typemap_way way = way_of(b, 0);
    scratch->n = 0;
    buf_add_slice(scratch, data);
    size_t at = 0;
    while (scratch->n - at >= 2) {
        size_t fields = be16_at(scratch->p + at);
        size_t begin = at + 2;
        at = begin;
        for (size_t i = 0; i < fields && fields <= COMBINE_COLUMNS_MAX; i++) {
            uint32_t n = scratch->n - at < 4 ? UINT32_MAX : be32_at(scratch->p + at);
            at += 4;
            at += n == UINT32_MAX ? 0 : n;
            if (at > scratch->n) {
                return data; /* the server says what is wrong with it */
            }
        }
        typemap_edit_values(&way, types, fields < count ? fields : count, scratch->p + begin,
                            at - begin);
    }
    return buf_slice(scratch);
}

/* ---- relayed statements ---------------------------------------------------------------------- */

static int any_binary(const struct front_bind *bind)
{
    for (size_t i = 0; i < bind->formats_count && bind->values_count > 0; i++) {
        if (be16_at(bind->formats + 2 * i) == 1) {
            return 1;
        }
    }
    for (size_t i = 0; i < bind->results_count; i++) {
        if (be16_at(bind->results + 2 * i) == 1) {
            return 1;
        }
    }
    return 0;
}

/* Whether anything of the plan, once described, holds OIDs. */
static int plan_holds_oids(const struct typemap *map, const struct plan *plan)
{
    struct back_walk walk;
    struct back_column column;
    struct note note;
    for (size_t i = 0; i < plan->described_types_count; i++) {
        if (typemap_holds_oids(map, plan->described_types[i])) {
            return 1;
        }
    }
    if (back_walk_columns(plan->described, &walk, &note) != ERR_NONE) {
        return 0;
    }
    while (back_next_column(&walk, &column) == 1) {
        if (typemap_holds_oids(map, column.type_oid)) {
            return 1;
        }
    }
    return 0;
}

int typing_concerns(struct session *s, const struct plan *plan, uint32_t shard,
                    const struct front_bind *bind)
{
    const struct typemap *map = s->sharded ? catalog_types(s->db->catalog) : NULL;
    if (!typemap_differs(map, shard) || !any_binary(bind)) {
        return 0;
    }
    return plan->described.p == NULL || plan_holds_oids(map, plan);
}

int typing_expect_rows(struct backend *b, const uint32_t *types, size_t count)
{
    if (b->edit_busy) {
        return 0;
    }
    mem_free(b->edit_types);
    b->edit_types = mem_dup(types, count * sizeof(*types));
    b->edit_count = count;
    b->edit_busy = 1;
    return 1;
}
