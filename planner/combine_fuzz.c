/*
 * Goal: rows and descriptions of a hostile server break nothing. Method: the first bytes choose a
 * spec, the rest are descriptions and rows, whole or of random bytes. What comes out must be whole
 * DataRow messages of the visible columns.
 */

#include "base/check.h"
#include "planner/combine_inner.h"

struct input {
    const uint8_t *p, *end;
};

static uint8_t next_byte(struct input *in)
{
    return in->p < in->end ? *in->p++ : 0;
}

static struct slice next_bytes(struct input *in, size_t n)
{
    size_t left = (size_t)(in->end - in->p);
    struct slice s = {in->p, n < left ? n : left};
    in->p += s.n;
    return s;
}

enum {
    COLUMNS = 7,
    SHARDS = 3
};

/* An aggregate of some kind over columns that are there. */
static void make_aggregate(struct input *in, const struct combine_spec *spec,
                           struct combine_output *out)
{
    static const uint32_t sums[] = {OID_INT8, OID_NUMERIC, OID_FLOAT8};
    uint8_t flags = next_byte(in);
    out->kind = next_byte(in) % (COMBINE_MOMENTS + 1);
    out->column = (uint16_t)(next_byte(in) % spec->columns_count);
    out->count_column = (uint16_t)(next_byte(in) % spec->columns_count);
    out->bytewise = 1;
    unsigned room = (unsigned)spec->columns_count - out->column;
    if (out->kind == COMBINE_VARIANCE || out->kind == COMBINE_MOMENTS) {
        int fits = room >= (out->kind == COMBINE_VARIANCE ? 3U : 6U);
        out->detail = flags % (out->kind == COMBINE_VARIANCE ? NUMERIC_STDDEV_SAMP + 1
                                                             : MOMENT_INTERCEPT + 1);
        out->sum_type = sums[flags / 16 % 3];
        out->kind = fits ? out->kind : COMBINE_COUNT;
    }
    if (out->kind == COMBINE_MIN || out->kind == COMBINE_MAX) {
        out->key_column = flags & 1 ? (uint16_t)(1 + flags / 2 % spec->columns_count) : 0;
    }
    if (out->kind == COMBINE_COUNT || out->kind == COMBINE_SUM || out->kind == COMBINE_AVG) {
        out->set = spec->sets_count == 0 ? 0 : flags % (spec->sets_count + 1U);
    }
}

static void make_sets(struct input *in, struct combine_spec *spec, struct combine_set *sets)
{
    spec->sets_count = next_byte(in) % 3;
    spec->sets = sets;
    for (uint16_t i = 0; i < spec->sets_count; i++) {
        sets[i].column = (uint16_t)(next_byte(in) % spec->columns_count);
        sets[i].filter = (uint16_t)(next_byte(in) % (spec->columns_count + 1U));
    }
}

static void make_having(struct input *in, struct combine_spec *spec, struct combine_having *having)
{
    static const char *const numbers[] = {"0", "-1", "2.50", "1e3", "99999999999999999999"};
    spec->having_count = next_byte(in) % 3;
    spec->having = having;
    for (uint16_t i = 0; i < spec->having_count; i++) {
        uint8_t flags = next_byte(in);
        having[i] = (struct combine_having){.output = (uint16_t)(flags % spec->outputs_count),
                                            .op = flags / 8 % (HAVING_TRUE + 1),
                                            .number = numbers[next_byte(in) % 5]};
    }
}

static void make_spec(struct input *in, struct combine_spec *spec, struct combine_output *outputs,
                      uint16_t *groups, struct combine_sort *sorts)
{
    static struct combine_set sets[2];
    static struct combine_having having[2];
    spec->mode = next_byte(in) % 4;
    spec->columns_count = (uint16_t)(1 + next_byte(in) % COLUMNS);
    spec->outputs_count = spec->columns_count;
    spec->visible = (uint16_t)(next_byte(in) % (spec->outputs_count + 1));
    spec->outputs = outputs;
    spec->groups = groups;
    spec->sorts = sorts;
    if (spec->mode == COMBINE_AGGREGATE) {
        make_sets(in, spec, sets);
    }
    for (uint16_t i = 0; i < spec->outputs_count; i++) {
        outputs[i] = (struct combine_output){.column = i};
        if (spec->mode == COMBINE_AGGREGATE) {
            make_aggregate(in, spec, &outputs[i]);
        }
    }
    if (spec->mode == COMBINE_AGGREGATE) {
        make_having(in, spec, having);
        spec->groups_count = (uint16_t)(next_byte(in) % 3);
        spec->one_row = spec->groups_count == 0;
        groups[0] = (uint16_t)(next_byte(in) % spec->columns_count);
        groups[1] = (uint16_t)(next_byte(in) % spec->columns_count);
    }
    spec->sorts_count = spec->mode == COMBINE_CONCAT ? 0 : (uint16_t)(next_byte(in) % 3);
    for (uint16_t i = 0; i < spec->sorts_count; i++) {
        uint8_t flags = next_byte(in);
        sorts[i] = (struct combine_sort){.output = (uint16_t)(flags / 8 % spec->outputs_count),
                                         .desc = flags & 1,
                                         .nulls_first = flags >> 1 & 1,
                                         .bytewise = flags >> 2 & 1};
    }
    uint8_t limit = next_byte(in);
    if (limit & 1) {
        spec->limit = (struct combine_limit){.kind = COMBINE_LIMIT_CONST, .value = limit / 4};
    }
    if (limit & 2) {
        spec->offset = (struct combine_limit){.kind = COMBINE_LIMIT_CONST, .value = limit / 64};
    }
}

static struct slice make_columns(struct input *in, size_t count, struct buf *room)
{
    static const uint32_t types[] = {OID_INT8,     OID_INT4, OID_TEXT, OID_NUMERIC, OID_FLOAT8,
                                     OID_FLOAT4,   OID_BOOL, OID_DATE, OID_BPCHAR,  OID_TIMESTAMPTZ,
                                     OID_INTERVAL, OID_UUID, OID_BIT,  OID_MONEY,   OID_INT2};
    struct back_column columns[COLUMNS] = {0};
    for (size_t i = 0; i < count; i++) {
        columns[i].name = SLICE("c");
        columns[i].type_oid = types[next_byte(in) % (sizeof(types) / sizeof(types[0]))];
    }
    room->n = 0;
    back_put_columns(room, columns, count);
    return slice_from(buf_slice(room), FRAME_HEADER_BYTES);
}

/* A row of random values, or random bytes. */
static struct slice make_row(struct input *in, size_t count, struct buf *room)
{
    uint8_t how = next_byte(in);
    if (how == 255) {
        return next_bytes(in, next_byte(in));
    }
    room->n = 0;
    buf_be16(room, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        static const uint8_t sizes[] = {0, 1, 2, 4, 8, 8, 10, 16};
        uint8_t kind = next_byte(in);
        if (kind % 16 == 15) {
            back_put_value(room, (struct slice){NULL, 0});
        } else {
            back_put_value(room, next_bytes(in, sizes[kind % 8]));
        }
    }
    return buf_slice(room);
}

static void check_out(const struct buf *out, size_t visible, uint64_t rows)
{
    struct slice rest = buf_slice(out), value;
    uint8_t type = 0;
    size_t total = 0;
    uint64_t seen = 0;
    while (frame_peek(rest, &type, &total) == 1) {
        struct back_walk walk;
        check(type == 'D' && total <= rest.n);
        check(back_walk_row(frame_body(rest, total), &walk, NULL) == ERR_NONE);
        check(walk.left == visible);
        int got = 0;
        while ((got = back_next_value(&walk, &value)) == 1) {
        }
        check(got == 0);
        rest = slice_from(rest, total);
        seen++;
    }
    check(rest.n == 0);
    check(seen == rows);
}

/* As servers send them. */
static int is_whole(struct slice row, size_t columns)
{
    struct back_walk walk;
    struct slice value;
    int got = back_walk_row(row, &walk, NULL) == ERR_NONE && walk.left == columns ? 1 : -1;
    while (got == 1) {
        got = back_next_value(&walk, &value);
    }
    return got == 0;
}

static enum err feed_row(struct combine *c, size_t shard, size_t columns, struct slice row,
                         struct buf *out, enum combine_next *next, struct note *note)
{
    static struct buf message;
    if ((row.n & 1) == 0 || !is_whole(row, columns)) {
        return combine_row(c, shard, row, out, next, note);
    }
    message.n = 0;
    frame_put(&message, 'D', row);
    frame_put(&message, 'D', row);
    return combine_run(c, shard, buf_slice(&message), out, next, note);
}

static enum err feed(struct combine *c, const struct combine_spec *spec, struct input *in,
                     struct buf *out, struct note *note)
{
    static struct buf room;
    enum combine_next next = COMBINE_MORE;
    enum err e = combine_columns(c, make_columns(in, spec->columns_count, &room), NULL, note);
    uint8_t ended = 0;
    while (!e && in->p < in->end && next != COMBINE_DONE) {
        uint8_t op = next_byte(in);
        size_t shard = op % SHARDS;
        if (ended >> shard & 1) {
            continue;
        }
        if (op > 240) {
            ended |= (uint8_t)(1 << shard);
            e = combine_shard_end(c, shard, out, &next, note);
        } else {
            e = feed_row(c, shard, spec->columns_count, make_row(in, spec->columns_count, &room),
                         out, &next, note);
        }
    }
    for (size_t shard = 0; !e && shard < SHARDS; shard++) {
        if ((ended >> shard & 1) == 0) {
            e = combine_shard_end(c, shard, out, &next, note);
        }
    }
    int more = 1;
    while (!e && more) {
        e = combine_finish(c, 50, out, &more, note);
    }
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct combine_spec spec = {0};
    struct combine_output outputs[COLUMNS];
    struct combine_sort sorts[2];
    uint16_t groups[2];
    struct note note = {0};
    if (size < 8) {
        return 0;
    }
    make_spec(&in, &spec, outputs, groups, sorts);
    int16_t client = next_byte(&in) & 1;
    struct combine *c = NULL;
    struct buf out = {0};
    enum err e = combine_open(&spec, SHARDS, NULL, &client, 1, 100, 20000, &c, &note);
    if (e) {
        return 0;
    }
    if (!feed(c, &spec, &in, &out, &note)) {
        check_out(&out, spec.visible, combine_rows(c));
    }
    combine_free(c);
    buf_free(&out);
    return 0;
}
