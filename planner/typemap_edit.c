/*
 * OIDs in what goes over the wire, edited in place.
 *
 *     array       dimensions 4, flags 4, element type 4, per dimension (size 4, lower bound 4),
 *                 elements: length 4 (-1: NULL), bytes
 *     row         fields 4, each: type 4, length 4, bytes
 *     range       flags 1, then lower and upper bound unless empty or infinite: length 4, bytes
 *     multirange  ranges 4, each: length 4, bytes
 *
 * Source: PostgreSQL array_send(), record_send(), range_send(), multirange_send().
 */

#include <string.h>

#include "planner/typemap_inner.h"

enum {
    RANGE_EMPTY = 0x01,
    RANGE_LOWER_INFINITE = 0x08,
    RANGE_UPPER_INFINITE = 0x10,
    COLUMN_BYTES = 18 /* of a column in RowDescription, behind its name */
};

/* What is left of a value; `broken` ends every walk. */
struct walk {
    uint8_t *p;
    size_t n;
    int broken;
};

static uint8_t *take(struct walk *w, size_t n)
{
    if (w->broken || w->n < n) {
        w->broken = 1;
        return NULL;
    }
    uint8_t *p = w->p;
    w->p += n;
    w->n -= n;
    return p;
}

static uint32_t take_u32(struct walk *w)
{
    const uint8_t *p = take(w, 4);
    return p == NULL ? 0 : be32_at(p);
}

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (24 - 8 * i));
    }
}

/* The OID at `p` for the other side; returns home's. */
static uint32_t turn_type(const struct typemap_way *way, uint8_t *p)
{
    uint32_t from = be32_at(p);
    uint32_t to = way->to_home ? typemap_to_home(way->map, way->shard, from)
                               : typemap_to_shard(way->map, way->shard, from);
    put_u32(p, to);
    return way->to_home ? to : from;
}

static void edit(const struct typemap_way *way, uint32_t type, struct walk value, int depth);

/* length, bytes */
static void edit_item(const struct typemap_way *way, uint32_t type, struct walk *w, int depth)
{
    uint32_t length = take_u32(w);
    uint8_t *p = w->broken || length == UINT32_MAX ? NULL : take(w, length);
    if (p != NULL) {
        edit(way, type, (struct walk){p, length, 0}, depth + 1);
    }
}

/*
 * Rows of a table that was moved into a workspace are of the row type of the temporary table there:
 * home's type is the one that the array was described with.
 */
static uint32_t turn_element(const struct typemap_way *way, uint32_t expected, uint8_t *p)
{
    uint32_t type = turn_type(way, p);
    if (way->to_home && expected >= TYPEMAP_USER_OID && type != expected &&
        typemap_kind_of(way->map, expected).kind == TYPEMAP_ROW) {
        put_u32(p, expected);
        return expected;
    }
    return type;
}

static void edit_array(const struct typemap_way *way, uint32_t expected, struct walk *w, int depth)
{
    uint32_t dimensions = take_u32(w);
    (void)take(w, 4);
    uint8_t *element = take(w, 4);
    if (element == NULL || dimensions > 6) {
        return;
    }
    uint32_t type = turn_element(way, expected, element);
    (void)take(w, (size_t)8 * dimensions);
    if (!typemap_holds_oids(way->map, type)) {
        return;
    }
    while (!w->broken && w->n > 0) {
        edit_item(way, type, w, depth);
    }
}

static void edit_fields(const struct typemap_way *way, struct walk *w, int depth)
{
    uint32_t fields = take_u32(w);
    for (uint32_t i = 0; i < fields && !w->broken; i++) {
        uint8_t *type = take(w, 4);
        if (type != NULL) {
            edit_item(way, turn_type(way, type), w, depth);
        }
    }
}

static void edit_range(const struct typemap_way *way, uint32_t subtype, struct walk *w, int depth)
{
    const uint8_t *flags = take(w, 1);
    if (flags == NULL || (*flags & RANGE_EMPTY) != 0) {
        return;
    }
    if ((*flags & RANGE_LOWER_INFINITE) == 0) {
        edit_item(way, subtype, w, depth);
    }
    if ((*flags & RANGE_UPPER_INFINITE) == 0) {
        edit_item(way, subtype, w, depth);
    }
}

static void edit_table(const struct typemap_way *way, struct walk *w)
{
    uint8_t *p = take(w, 4);
    if (p != NULL) {
        uint32_t table = be32_at(p);
        put_u32(p, way->to_home ? typemap_table_to_home(way->map, way->shard, table)
                                : typemap_table_to_shard(way->map, way->shard, table));
    }
}

static void edit(const struct typemap_way *way, uint32_t type, struct walk w, int depth)
{
    struct typemap_kind kind = typemap_kind_of(way->map, type);
    if (depth > TYPEMAP_DEPTH_MAX || !typemap_holds_oids(way->map, type)) {
        return;
    }
    switch (kind.kind) {
    case TYPEMAP_ARRAY: edit_array(way, kind.inner, &w, depth); break;
    case TYPEMAP_ROW: edit_fields(way, &w, depth); break;
    case TYPEMAP_DOMAIN: edit(way, kind.inner, w, depth + 1); break;
    case TYPEMAP_RANGE: edit_range(way, kind.inner, &w, depth); break;
    case TYPEMAP_MULTIRANGE:
        for (uint32_t left = take_u32(&w); left > 0 && !w.broken; left--) {
            edit_item(way, kind.inner, &w, depth);
        }
        break;
    case TYPEMAP_REGCLASS: edit_table(way, &w); break;
    case TYPEMAP_REGTYPE:
        if (w.n == 4) {
            (void)turn_type(way, w.p);
        }
        break;
    default: break;
    }
}

void typemap_edit_value(const struct typemap_way *way, uint32_t type, uint8_t *value, size_t n)
{
    edit(way, type, (struct walk){value, n, 0}, 0);
}

void typemap_edit_values(const struct typemap_way *way, const uint32_t *types, size_t count,
                         uint8_t *values, size_t n)
{
    struct walk w = {values, n, 0};
    for (size_t i = 0; i < count && !w.broken; i++) {
        uint32_t length = take_u32(&w);
        uint8_t *p = w.broken || length == UINT32_MAX ? NULL : take(&w, length);
        if (p != NULL && types[i] != 0) {
            typemap_edit_value(way, types[i], p, length);
        }
    }
}

void typemap_edit_columns(const struct typemap_way *way, uint8_t *body, size_t n)
{
    struct walk w = {body, n, 0};
    const uint8_t *head = take(&w, 2);
    uint16_t count = head == NULL ? 0 : be16_at(head);
    for (uint16_t i = 0; i < count && !w.broken; i++) {
        const uint8_t *end = memchr(w.p, 0, w.n);
        uint8_t *column = end == NULL || take(&w, (size_t)(end - w.p) + 1) == NULL
                              ? NULL
                              : take(&w, COLUMN_BYTES);
        if (column == NULL) {
            return;
        }
        uint32_t table = be32_at(column);
        put_u32(column, way->to_home ? typemap_table_to_home(way->map, way->shard, table)
                                     : typemap_table_to_shard(way->map, way->shard, table));
        (void)turn_type(way, column + 6);
    }
}

void typemap_edit_parameters(const struct typemap_way *way, uint8_t *body, size_t n)
{
    struct walk w = {body, n, 0};
    const uint8_t *head = take(&w, 2);
    uint16_t count = head == NULL ? 0 : be16_at(head);
    for (uint16_t i = 0; i < count && !w.broken; i++) {
        uint8_t *type = take(&w, 4);
        if (type != NULL) {
            (void)turn_type(way, type);
        }
    }
}
