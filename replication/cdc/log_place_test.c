/*
 * Goal: which partition the rows of a table go to. Method: a log on a disk in memory
 * (log_testing.h) that knows a shard map; single changes, then a look at which partition has grown.
 */

#include "base/mem.h"
#include "replication/cdc/log_testing.h"
#include "shardmap/shardmap.h"

enum {
    PARTITIONS = 4
};

static const char *const key_id[] = {"id"};
static const uint32_t int4[] = {23};

static struct map *make_map(const char *const *keys)
{
    static struct conf_shard one[] = {{.name = "s0", .weight = 1}};
    static const struct conf_database db = {
        .name = "shop", .dbname = "shop", .shards = one, .shards_count = 1};
    struct map_decl decls[] = {
        {.schema = "public", .name = "users", .kind = MAP_HASH, .keys = keys, .key_types = int4},
        {.schema = "public", .name = "orders", .kind = MAP_HASH, .keys = keys, .key_types = int4}};
    decls[0].keys_count = decls[1].keys_count = 1;
    struct map *map = NULL;
    struct note note = {0};
    cr_assert_eq(map_build(&db, decls, 2, 1, &map, &note), ERR_NONE, "%s", note.text);
    return map;
}

static void know_map(struct bench *b, const char *const *keys)
{
    struct map *map = make_map(keys);
    cdc_log_map(b->log, map);
    cdc_log_map(b->log, map);
    map_unref(map);
}

/* (id, n, v); the identity is said by `keys`, a letter for each column. */
struct shape {
    struct change_relation relation;
    struct change_relation_column columns[3];
};

static struct shape make_shape(const char *name, char identity, const char *keys)
{
    static const char *const names[] = {"id", "n", "v"};
    struct shape s = {.relation = {.oid = 7,
                                   .version = (uint32_t)(identity + keys[0] * 2 + keys[1]),
                                   .schema = SLICE("public"),
                                   .name = slice_of(name),
                                   .replica_identity = identity,
                                   .n_columns = 3}};
    for (int i = 0; i < 3; i++) {
        s.columns[i] = (struct change_relation_column){
            .name = slice_of(names[i]), .type = 23, .typmod = -1, .is_key = keys[i] == 'k'};
    }
    s.relation.oid += (uint32_t)name[0];
    return s;
}

static uint64_t lsn = 1000;

static void bring(struct bench *b, struct shape *s, struct change *c)
{
    const struct cdc_sink *sink = cdc_log_sink(b->log);
    struct note note = {0};
    struct change begin = {.op = CHANGE_BEGIN, .xid = 1, .lsn = ++lsn};
    s->relation.columns = s->columns;
    c->relation = &s->relation;
    c->lsn = lsn;
    c->xid = 1;
    c->index = 1;
    cr_assert_eq(sink->change(sink->arg, &begin, &note), ERR_NONE);
    cr_assert_eq(sink->change(sink->arg, c, &note), ERR_NONE, "%s", note.text);
    struct cdc_mark mark = {.lsn = lsn, .index = 2, .ends = 1, .resume = lsn};
    cr_assert_eq(sink->mark(sink->arg, &shard, &mark, &note), ERR_NONE);
    cr_assert_eq(sink->sync(sink->arg, &shard, &note), ERR_NONE);
}

static void ends_of(struct bench *b, const char *topic, uint64_t out[PARTITIONS])
{
    uint32_t id = cdc_log_topic(b->log, slice_of(topic));
    for (uint16_t p = 0; p < PARTITIONS; p++) {
        struct cdc_part_view view = {0};
        struct note note = {0};
        cr_assert(id == 0 || cdc_log_part(b->log, id, p, &view, &note) == ERR_NONE);
        out[p] = view.end;
    }
}

/* Partition that an INSERT of the row goes to. */
static int place(struct bench *b, struct shape *s, const char *id, const char *n)
{
    uint64_t before[PARTITIONS], after[PARTITIONS];
    char topic[64];
    int where = -1;
    (void)snprintf(topic, sizeof(topic), "shop.public." SLICE_FMT, SLICE_ARG(s->relation.name));
    struct change_column row[] = {
        {VALUE_TEXT, slice_of(id)}, {VALUE_TEXT, slice_of(n)}, {VALUE_TEXT, SLICE("5")}};
    struct change c = {.op = CHANGE_INSERT, .new_columns = row};
    ends_of(b, topic, before);
    bring(b, s, &c);
    ends_of(b, topic, after);
    for (int p = 0; p < PARTITIONS; p++) {
        where = after[p] > before[p] ? p : where;
    }
    return where;
}

static int bucket_place(const char *key)
{
    struct key_value value = {.bytes = slice_of(key), .type_oid = 23};
    uint32_t bucket = 0;
    struct note note = {0};
    cr_assert_eq(key_bucket(int4, &value, 1, &bucket, &note), ERR_NONE);
    return (int)(bucket % PARTITIONS);
}

/* Keys 0 to 19: how many go where their bucket says. */
static unsigned count_by_bucket(struct bench *b, struct shape *s)
{
    unsigned n = 0;
    for (int key = 0; key < 20; key++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%d", key);
        n += place(b, s, id, "3") == bucket_place(id);
    }
    return n;
}

Test(cdc_place, rows_of_a_sharded_table_go_by_the_bucket_of_their_key)
{
    struct bench b;
    new_bench(&b, 0);
    know_map(&b, key_id);
    struct shape people = make_shape("users", 'd', "k--");
    struct shape orders = make_shape("orders", 'd', "kk-"); /* placed alike */
    struct shape other = make_shape("other", 'd', "k--");   /* not in the map */
    for (int round = 0; round < 2; round++) {
        cr_expect_eq(count_by_bucket(&b, &people), 20);
        cr_expect_eq(count_by_bucket(&b, &orders), 20);
        cr_expect_lt(count_by_bucket(&b, &other), 20);
        close_bench(&b); /* the rule is known without a map */
        open_bench(&b);
    }
    end_bench(&b);
}

Test(cdc_place, a_topic_that_is_there_keeps_its_rule_when_the_map_has_another)
{
    static const char *const key_n[] = {"n"};
    struct bench b;
    new_bench(&b, 0);
    struct shape people = make_shape("users", 'd', "k--");
    struct shape orders = make_shape("orders", 'd', "kk-");
    int before[20];
    for (int key = 0; key < 20; key++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%d", key);
        before[key] = place(&b, &people, id, "1");
    }
    know_map(&b, key_id);
    cr_expect_eq(count_by_bucket(&b, &orders), 20);
    close_bench(&b);
    open_bench(&b);
    know_map(&b, key_n);
    for (int key = 0; key < 20; key++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%d", key);
        cr_expect_eq(place(&b, &people, id, "1"), before[key]);
    }
    cr_expect_eq(count_by_bucket(&b, &orders), 20);
    end_bench(&b);
}

Test(cdc_place, a_key_outside_of_the_identity_does_not_tear_a_row_apart)
{
    struct bench b;
    new_bench(&b, 0);
    know_map(&b, key_id);
    struct shape people = make_shape("users", 'd', "-k-");
    int at = place(&b, &people, "1", "7");
    for (int key = 2; key < 20; key++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%d", key);
        cr_expect_eq(place(&b, &people, id, "7"), at);
    }
    /* and when the identity loses the key later, it decides from there on */
    struct shape orders = make_shape("orders", 'd', "kk-");
    cr_expect_eq(count_by_bucket(&b, &orders), 20);
    orders = make_shape("orders", 'd', "-k-");
    at = place(&b, &orders, "1", "7");
    for (int key = 2; key < 20; key++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%d", key);
        cr_expect_eq(place(&b, &orders, id, "7"), at);
    }
    end_bench(&b);
}

Test(cdc_place, with_all_columns_as_identity_rows_are_spread_by_their_key)
{
    struct bench b;
    new_bench(&b, 0);
    know_map(&b, key_id);
    struct shape people = make_shape("users", 'f', "kkk");
    struct shape other = make_shape("other", 'f', "kkk");
    cr_expect_eq(count_by_bucket(&b, &people), 20);
    cr_expect_eq(place(&b, &other, "1", "1"), 0);
    cr_expect_eq(place(&b, &other, "2", "1"), 0);
    /* a change of the key takes the row along, another change does not */
    uint64_t before[PARTITIONS], after[PARTITIONS];
    int from = bucket_place("1");
    const char *to = "2";
    while (bucket_place(to) == from) {
        to = to[0] == '2' ? "3" : to[0] == '3' ? "4" : to[0] == '4' ? "5" : "6";
    }
    struct change_column old[] = {
        {VALUE_TEXT, SLICE("1")}, {VALUE_TEXT, SLICE("1")}, {VALUE_TEXT, SLICE("5")}};
    struct change_column row[] = {
        {VALUE_TEXT, slice_of(to)}, {VALUE_TEXT, SLICE("1")}, {VALUE_UNCHANGED, {0}}};
    struct change c = {.op = CHANGE_UPDATE, .old_columns = old, .new_columns = row};
    ends_of(&b, "shop.public.users", before);
    bring(&b, &people, &c);
    ends_of(&b, "shop.public.users", after);
    cr_expect_eq(after[from], before[from] + 1);
    cr_expect_eq(after[bucket_place(to)], before[bucket_place(to)] + 1);
    row[0].kind = VALUE_UNCHANGED;
    ends_of(&b, "shop.public.users", before);
    bring(&b, &people, &c);
    ends_of(&b, "shop.public.users", after);
    cr_expect_eq(after[from], before[from] + 1);
    end_bench(&b);
}
