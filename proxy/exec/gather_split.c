/*
 * INSERT of several rows whose shards differ, as one prepared statement that takes the rows as
 * arrays (planner.h: plan_split_arrays). The values are those of the client's Bind and literals of
 * its text. An array goes in binary where every element can be had so, else in text; where neither
 * can be, the rows go as texts of their own, as they do the first time.
 *
 * Only for statements that a server has described: their parameters have types, and what VALUES
 * does not allow was refused.
 */

#include <string.h>

#include "base/check.h"
#include "proxy/exec/gather.h"
#include "proxy/exec/rows.h"
#include "wire/types.h"
#include "wire/value.h"

struct split_known {
    const char *sql;                /* NULL: a parameter has a type that no array is made of here */
    const uint32_t *types, *arrays; /* of elements, of parameters */
};

/* One execution. */
struct gather_split {
    const struct plan_split_arrays *arrays;
    const struct split_known *known;
    const struct front_value *values;
    uint8_t *text;        /* by column: its arrays go as text */
    int64_t *numbers;     /* by row, then column: integers that came as text and go in binary */
    uint32_t *rows;       /* by shard, then as they stand in the statement */
    uint32_t *first;      /* of each shard, in `rows` */
    uint32_t *rows_count; /* of each shard */
};

/* ---- types ----------------------------------------------------------------------------------- */

static const struct array_type {
    uint32_t type, array;
    const char *name;
} array_types[] = {
    {OID_INT8, OID_INT8_ARRAY, "int8"},
    {OID_INT4, OID_INT4_ARRAY, "int4"},
    {OID_TEXT, OID_TEXT_ARRAY, "text"},
    {OID_VARCHAR, OID_VARCHAR_ARRAY, "varchar"},
    {OID_INT2, OID_INT2_ARRAY, "int2"},
    {OID_BPCHAR, 1014, "bpchar"},
    {OID_BOOL, 1000, "bool"},
    {OID_FLOAT4, 1021, "float4"},
    {OID_FLOAT8, 1022, "float8"},
    {OID_NUMERIC, 1231, "numeric"},
    {OID_DATE, 1182, "date"},
    {OID_TIMESTAMP, 1115, "timestamp"},
    {OID_TIMESTAMPTZ, 1185, "timestamptz"},
    {OID_UUID, OID_UUID_ARRAY, "uuid"},
    {OID_BYTEA, 1001, "bytea"},
    {OID_JSONB, 3807, "jsonb"},
};

static const struct array_type *array_of(uint32_t type)
{
    for (size_t i = 0; i < sizeof(array_types) / sizeof(array_types[0]); i++) {
        if (array_types[i].type == type) {
            return &array_types[i];
        }
    }
    return NULL;
}

static int is_number(uint32_t type)
{
    return type == OID_INT4 || type == OID_INT8 || type == OID_NUMERIC || type == OID_FLOAT4 ||
           type == OID_FLOAT8;
}

static int is_text(uint32_t type)
{
    return type == OID_TEXT || type == OID_VARCHAR || type == OID_BPCHAR;
}

/* What the elements of an open column are; 0: several things, or nothing that is known here. */
static uint32_t type_of(const struct gather *g, size_t column)
{
    const struct plan_split *split = g->plan->split;
    const struct plan_split_arrays *arrays = split->arrays;
    size_t count = 0;
    const uint32_t *types = gather_types(g, &count);
    uint32_t type = 0;
    for (size_t i = 0; i < split->rows_count; i++) {
        const struct plan_split_cell *cell = &arrays->cells[i * arrays->columns + column];
        if (cell->kind != SPLIT_PARAM) {
            continue;
        }
        if (cell->param >= count || (type != 0 && type != types[cell->param])) {
            return 0;
        }
        type = types[cell->param];
    }
    type = type == 0 ? arrays->types[column] : type;
    for (size_t i = 0; i < split->rows_count; i++) {
        uint8_t kind = arrays->cells[i * arrays->columns + column].kind;
        if ((kind == SPLIT_NUMBER && !is_number(type)) || (kind == SPLIT_TEXT && !is_text(type))) {
            return 0;
        }
    }
    return array_of(type) == NULL ? 0 : type;
}

static void learn(struct gather *g)
{
    struct plan *plan = g->plan;
    const struct plan_split_arrays *arrays = plan->split->arrays;
    struct arena *memory = &plan->_batch->memory;
    struct split_known *known = arena_zero(memory, sizeof(*known));
    uint32_t *types = arena_zero(memory, arrays->columns * sizeof(*types));
    uint32_t *oids = arena_zero(memory, arrays->columns * sizeof(*oids));
    struct rows_column *columns =
        arena_zero(&g->op.session->arena, arrays->columns * sizeof(*columns));
    struct buf sql = {0};
    plan->split_known = known;
    for (size_t i = 0; i < arrays->columns; i++) {
        types[i] = type_of(g, i);
        if (types[i] == 0) {
            return;
        }
        const struct array_type *type = array_of(types[i]);
        oids[i] = type->array;
        columns[i].cast = "";
        columns[i].array = arena_printf(memory, "pg_catalog.%s[]", type->name);
    }
    buf_add_slice(&sql, arrays->head);
    rows_put_relation(columns, arrays->columns, 0, &sql);
    buf_add_slice(&sql, arrays->tail);
    known->types = types;
    known->arrays = oids;
    known->sql = arena_strndup(memory, sql.p, sql.n);
    buf_free(&sql);
}

/* ---- values ---------------------------------------------------------------------------------- */

static struct front_value value_at(const struct gather_split *x, size_t row, size_t column)
{
    const struct plan_split_cell *cell = &x->arrays->cells[row * x->arrays->columns + column];
    switch (cell->kind) {
    case SPLIT_PARAM: return x->values[cell->param];
    case SPLIT_NULL: return (struct front_value){.is_null = 1};
    default: return (struct front_value){.bytes = cell->text};
    }
}

static int is_integer(uint32_t type)
{
    return type == OID_INT2 || type == OID_INT4 || type == OID_INT8;
}

/* Text that is an element in binary, too, or makes one. */
static int becomes_binary(uint32_t type, const struct front_value *v, int64_t *number)
{
    struct note note;
    return is_text(type) || (is_integer(type) && value_read_int(type, FORMAT_TEXT, v->bytes, number,
                                                                &note) == ERR_NONE);
}

/* How the arrays of a column go. 0: they cannot. */
static int choose_format(struct gather_split *x, size_t rows, size_t column)
{
    uint32_t type = x->known->types[column];
    int binary = 0;
    int only_text = 0;
    for (size_t i = 0; i < rows; i++) {
        struct front_value v = value_at(x, i, column);
        if (v.is_null) {
            continue;
        }
        if (v.format != FORMAT_TEXT) {
            binary = 1;
        } else if (!only_text &&
                   !becomes_binary(type, &v, &x->numbers[i * x->arrays->columns + column])) {
            only_text = 1;
        }
        if (v.format != FORMAT_TEXT && v.format != FORMAT_BINARY) {
            return 0;
        }
    }
    x->text[column] = (uint8_t)only_text;
    return !(binary && only_text);
}

/* `number`: its value, if it is an integer in text. */
static void put_element(uint32_t type, const struct front_value *v, int64_t number, struct buf *out)
{
    if (v->format == FORMAT_BINARY || !is_integer(type)) {
        buf_be32(out, (uint32_t)v->bytes.n);
        buf_add_slice(out, v->bytes);
    } else if (type == OID_INT8) {
        buf_be32(out, 8);
        buf_be64(out, (uint64_t)number);
    } else if (type == OID_INT4) {
        buf_be32(out, 4);
        buf_be32(out, (uint32_t)number);
    } else {
        buf_be32(out, 2);
        buf_be16(out, (uint16_t)number);
    }
}

static void put_binary(const struct gather_split *x, uint32_t shard, size_t column, struct buf *out)
{
    size_t nulls_at = out->n + 4;
    uint32_t nulls = 0;
    buf_be32(out, 1); /* dimensions */
    buf_be32(out, 0);
    buf_be32(out, x->known->types[column]);
    buf_be32(out, x->rows_count[shard]);
    buf_be32(out, 1); /* lower bound */
    for (uint32_t i = 0; i < x->rows_count[shard]; i++) {
        uint32_t row = x->rows[x->first[shard] + i];
        struct front_value v = value_at(x, row, column);
        if (v.is_null) {
            nulls = 1;
            buf_be32(out, UINT32_MAX);
        } else {
            put_element(x->known->types[column], &v, x->numbers[row * x->arrays->columns + column],
                        out);
        }
    }
    buf_set_be32(out, nulls_at, nulls);
}

static void put_quoted(struct slice value, struct buf *out)
{
    buf_u8(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '"' || value.p[i] == '\\') {
            buf_add(out, value.p + from, i - from);
            buf_u8(out, '\\');
            from = i;
        }
    }
    buf_add(out, value.p + from, value.n - from);
    buf_u8(out, '"');
}

static void put_text(const struct gather_split *x, uint32_t shard, size_t column, struct buf *out)
{
    buf_u8(out, '{');
    for (uint32_t i = 0; i < x->rows_count[shard]; i++) {
        struct front_value v = value_at(x, x->rows[x->first[shard] + i], column);
        if (i != 0) {
            buf_u8(out, ',');
        }
        if (v.is_null) {
            buf_text(out, "NULL");
        } else {
            put_quoted(v.bytes, out);
        }
    }
    buf_u8(out, '}');
}

void gather_split_put_bind(struct gather *g, struct backend *b, const struct gather_bound *as)
{
    const struct gather_split *x = g->split;
    size_t columns = x->arrays->columns;
    struct buf *out = stream_out(b->stream);
    size_t mark = frame_begin(out, 'B');
    buf_cstr(out, "");
    buf_cstr(out, g->prepared->name);
    buf_be16(out, (uint16_t)columns);
    for (size_t i = 0; i < columns; i++) {
        buf_be16(out, x->text[i] ? FORMAT_TEXT : FORMAT_BINARY);
    }
    buf_be16(out, (uint16_t)columns);
    for (size_t i = 0; i < columns; i++) {
        size_t length_at = out->n;
        buf_be32(out, 0);
        if (x->text[i]) {
            put_text(x, b->shard, i, out);
        } else {
            put_binary(x, b->shard, i, out);
        }
        buf_set_be32(out, length_at, (uint32_t)(out->n - length_at - 4));
    }
    buf_be16(out, (uint16_t)as->formats_count);
    for (size_t i = 0; i < as->formats_count; i++) {
        buf_be16(out, (uint16_t)as->formats[i]);
    }
    frame_end(out, mark);
}

/* ---- one execution --------------------------------------------------------------------------- */

/* The rows of each shard, in the order of the statement. */
static void sort_rows(struct gather *g, struct gather_split *x)
{
    struct arena *arena = &g->op.session->arena;
    size_t count = g->plan->split->rows_count;
    x->rows = arena_alloc(arena, count * sizeof(*x->rows));
    x->first = arena_zero(arena, SHARDS_MAX * sizeof(*x->first));
    x->rows_count = arena_zero(arena, SHARDS_MAX * sizeof(*x->rows_count));
    uint32_t next = 0;
    for (size_t i = 0; i < count; i++) {
        x->rows_count[g->row_shards[i]]++;
    }
    bits_each (shard, g->shards) {
        x->first[shard] = next;
        next += x->rows_count[shard];
        x->rows_count[shard] = 0;
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t shard = g->row_shards[i];
        x->rows[x->first[shard] + x->rows_count[shard]++] = (uint32_t)i;
    }
}

void gather_split(struct gather *g, const struct plan_args *args)
{
    struct session *s = g->op.session;
    struct plan *plan = g->plan;
    const struct plan_split_arrays *arrays = plan->split->arrays;
    g->split = NULL;
    if (arrays == NULL || g->stmt == NULL || g->whole->described_types_count == 0 ||
        args->params_count < g->whole->described_types_count || s->world->conf->prepared_max == 0) {
        return;
    }
    if (plan->split_known == NULL) {
        learn(g);
    }
    if (plan->split_known->sql == NULL) {
        return;
    }
    struct gather_split *x = arena_zero(&s->arena, sizeof(*x));
    *x =
        (struct gather_split){.arrays = arrays, .known = plan->split_known, .values = args->params};
    x->text = arena_zero(&s->arena, arrays->columns);
    x->numbers =
        arena_alloc(&s->arena, plan->split->rows_count * arrays->columns * sizeof(*x->numbers));
    for (size_t i = 0; i < arrays->columns; i++) {
        if (!choose_format(x, plan->split->rows_count, i)) {
            return;
        }
    }
    struct stmt *st = stmt_find(s, plan->_batch->catalog_version, slice_of(x->known->sql),
                                x->known->arrays, arrays->columns);
    if (st->reads_clock) { /* when it is parsed */
        stmt_unref(s->worker, st);
        return;
    }
    sort_rows(g, x);
    g->prepared = st;
    g->split = x;
}
