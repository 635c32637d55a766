/*
 * Goal: what log.h promises after a crash. Method: a log and its WAL on a disk that fails
 * (file_sim.h) live several lives per seed, while three shards bring random transactions, some in
 * several units, with pieces that do not fit one record of the WAL. A model beside it knows every
 * change that was given. At each open:
 *   - a shard's stored mark is one that was given, and not before one that was said to be durable;
 *   - exactly the changes of transactions up to that mark are there, each once, with their values;
 *   - of one shard they stand in the order of (lsn, index) in each partition, a key in one only;
 *   - offsets have no holes, and what stood at an offset before the crash stands there again;
 *   - a group stands where it committed last, or where it tried to since; never behind, and no
 *     commit of an older generation counts;
 *   - in a quarter of the seeds a table is compacted: there records may be missing, but never the
 *     last one of a key.
 * CDC_SIM_RUNS=n for more seeds, CDC_SIM_SEED=n for one.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "base/rng.h"
#include "replication/cdc/log.h"
#include "store/file_sim.h"

enum {
    SHARDS = 3,
    TABLES = 2,
    KEYS = 12,
    MARKS_MAX = 400,
    LIVES = 6,
    PARTITIONS = 3,
    PLACES_MAX = 8000
};

struct given {
    struct cdc_mark mark;
    uint32_t changes; /* rows of this unit; their indexes are mark.index - changes + 1 .. */
};

struct shard {
    struct given marks[MARKS_MAX];
    size_t n;       /* given */
    size_t durable; /* of them said to be durable */
    uint64_t lsn;
    uint32_t index; /* of the last change of the open transaction; 0: none open */
};

struct place {
    uint16_t source;
    uint64_t lsn;
    uint32_t index;
    uint8_t op;
};

struct model {
    uint64_t seed;
    struct rng rng;
    struct sim_disk *disk;
    struct wal *wal;
    struct cdc_log *log;
    struct shard shards[SHARDS];
    uint16_t source_ids[SHARDS];
    struct place *seen[TABLES + 1][PARTITIONS];
    size_t seen_count[TABLES + 1][PARTITIONS];
    uint64_t last[KEYS]; /* of the compacted table: offset + 1 of its last record, ever */
    struct {
        struct cdc_offset acked, tried; /* of group g and table t0 */
    } groups[PARTITIONS];
};

#define at_seed(m) (unsigned long long)(m)->seed

static struct cdc_shard shard_of(size_t s)
{
    static const char *const names[SHARDS] = {"a", "b", "c"};
    return (struct cdc_shard){.database = "shop", .name = names[s], .number = (uint16_t)(s + 5)};
}

/* The value that a change brings: known from its place, of very different lengths. */
static void make_value(struct buf *out, uint64_t lsn, uint32_t index, size_t shard)
{
    struct rng rng = rng_seeded(lsn * 1000 + index * 10 + shard);
    size_t n = (size_t)rng_below(&rng, rng_below(&rng, 8) == 0 ? 2500 : 40);
    out->n = 0;
    for (size_t i = 0; i < n; i++) {
        buf_u8(out, (uint8_t)('a' + rng_below(&rng, 26)));
    }
}

/* ---- giving ---------------------------------------------------------------------------------- */

static void give_change(struct model *m, size_t s, struct note *note, enum err *e)
{
    static const struct change_relation_column columns[] = {
        {.name = {(const uint8_t *)"id", 2}, .type = 23, .typmod = -1, .is_key = 1},
        {.name = {(const uint8_t *)"v", 1}, .type = 25, .typmod = -1}};
    struct shard *shard = &m->shards[s];
    uint32_t index = ++shard->index;
    char key[16], old_key[16], table[8];
    struct buf value = {0};
    struct rng rng = rng_seeded(shard->lsn * 77 + index);
    (void)snprintf(table, sizeof(table), "t%u", (unsigned)rng_below(&rng, TABLES));
    (void)snprintf(key, sizeof(key), "%u", (unsigned)rng_below(&rng, KEYS));
    (void)snprintf(old_key, sizeof(old_key), "%u", (unsigned)rng_below(&rng, KEYS));
    make_value(&value, shard->lsn, index, s);
    struct change_relation relation = {.oid = 1000U + (uint32_t)table[1],
                                       .version = 7,
                                       .schema = SLICE("public"),
                                       .name = slice_of(table),
                                       .replica_identity = 'd',
                                       .n_columns = 2,
                                       .columns = columns};
    struct change_column new_[] = {{VALUE_TEXT, slice_of(key)}, {VALUE_TEXT, buf_slice(&value)}};
    struct change_column old[] = {{VALUE_TEXT, slice_of(old_key)}, {VALUE_ABSENT, {0}}};
    static const uint8_t ops[] = {CHANGE_INSERT, CHANGE_UPDATE, CHANGE_UPDATE, CHANGE_DELETE};
    uint8_t op = ops[rng_below(&rng, 4)];
    struct change c = {.op = op,
                       .shard = shard_of(s).number,
                       .xid = (uint32_t)shard->lsn,
                       .lsn = shard->lsn,
                       .index = index,
                       .time_us = (int64_t)shard->lsn * 1000,
                       .relation = &relation};
    c.new_columns = op == CHANGE_DELETE ? NULL : new_;
    c.old_columns = op == CHANGE_DELETE || (op == CHANGE_UPDATE && rng_below(&rng, 2)) ? old : NULL;
    *e = cdc_log_sink(m->log)->change(m->log, &c, note);
    buf_free(&value);
}

/* One unit of one shard; 0 when the log is dead. */
static int give_unit(struct model *m, size_t s)
{
    struct shard *shard = &m->shards[s];
    struct cdc_shard name = shard_of(s);
    struct note note = {0};
    enum err e = ERR_NONE;
    if (shard->n == MARKS_MAX) {
        return 1;
    }
    const struct cdc_mark *last = shard->n == 0 ? NULL : &shard->marks[shard->n - 1].mark;
    if (last == NULL || last->ends) {
        shard->lsn += 10;
        shard->index = 0;
        struct change begin = {.op = CHANGE_BEGIN, .shard = name.number, .lsn = shard->lsn};
        begin.xid = (uint32_t)shard->lsn;
        begin.time_us = (int64_t)shard->lsn * 1000;
        e = cdc_log_sink(m->log)->change(m->log, &begin, &note);
    }
    uint32_t count = (uint32_t)rng_below(&m->rng, 6);
    for (uint32_t i = 0; i < count && e == ERR_NONE; i++) {
        give_change(m, s, &note, &e);
    }
    struct given given = {.changes = count};
    given.mark = (struct cdc_mark){.lsn = shard->lsn,
                                   .index = shard->index,
                                   .ends = rng_below(&m->rng, 3) != 0,
                                   .resume = shard->lsn + 1};
    char state[32];
    if (rng_below(&m->rng, 3) == 0) {
        (void)snprintf(state, sizeof(state), "%u-%zu", (unsigned)shard->lsn, shard->n);
        given.mark.state = slice_of(state);
    }
    e = e ? e : cdc_log_sink(m->log)->mark(m->log, &name, &given.mark, &note);
    given.mark.state = (struct slice){0};
    if (e == ERR_NONE) {
        shard->marks[shard->n++] = given;
    }
    return e == ERR_NONE;
}

static size_t find_mark(const struct shard *shard, const struct cdc_mark *mark)
{
    for (size_t i = shard->n; i > 0; i--) {
        const struct cdc_mark *m = &shard->marks[i - 1].mark;
        if (m->lsn == mark->lsn && m->index == mark->index && m->ends == mark->ends) {
            return i;
        }
    }
    return 0;
}

static void note_durable(struct model *m)
{
    for (size_t s = 0; s < SHARDS; s++) {
        struct cdc_mark mark;
        struct cdc_shard name = shard_of(s);
        cdc_log_sink(m->log)->durable(m->log, &name, &mark);
        size_t at = mark.lsn == 0 ? 0 : find_mark(&m->shards[s], &mark);
        cr_assert(mark.lsn == 0 || at > 0, "seed %llu: a mark out of nothing", at_seed(m));
        cr_assert_geq(at, m->shards[s].durable);
        m->shards[s].durable = at;
    }
}

/* ---- comparing ------------------------------------------------------------------------------- */

static size_t count_expected(const struct shard *shard)
{
    size_t n = 0;
    size_t open = 0;
    for (size_t i = 0; i < shard->n; i++) {
        open += shard->marks[i].changes;
        if (shard->marks[i].mark.ends) {
            n += open;
            open = 0;
        }
    }
    return n;
}

static int is_given(const struct shard *shard, uint64_t lsn, uint32_t index)
{
    uint32_t last = 0;
    int ended = 0;
    for (size_t i = 0; i < shard->n; i++) {
        if (shard->marks[i].mark.lsn == lsn) {
            last = shard->marks[i].mark.index;
            ended = shard->marks[i].mark.ends;
        }
    }
    return ended && index >= 1 && index <= last;
}

struct checking {
    size_t counts[SHARDS];
    uint64_t last[KEYS];
    int8_t part_of_key[TABLES][KEYS];
    uint64_t moved[SHARDS];
};

/* t1 is, in some seeds. */
static int is_compacted(const struct model *m, unsigned table)
{
    return table == 1 && m->seed % 4 == 3;
}

static void check_row(struct model *m, struct checking *c, size_t s, const struct cdc_frame *frame,
                      const struct cdc_record *record, unsigned table, unsigned partition)
{
    struct note note = {0};
    struct change_column old[2], new_[2];
    struct change change = {0};
    struct buf value = {0};
    const struct change_relation *schema = cdc_log_schema(m->log, record->schema);
    cr_assert_not_null(schema);
    cr_assert_eq(schema->n_columns, 2);
    enum err e = cdc_record_read(record, 2, old, new_, &change, &note);
    cr_assert_eq(e, ERR_NONE, "%s", note.text);
    const struct change_column *columns = change.new_columns != NULL ? new_ : old;
    long key = strtol((const char *)columns[0].bytes.p, NULL, 10);
    cr_assert(key >= 0 && key < KEYS);
    if (c->part_of_key[table][key] < 0) {
        c->part_of_key[table][key] = (int8_t)partition;
    }
    cr_assert_eq(c->part_of_key[table][key], (int8_t)partition);
    if (is_compacted(m, table)) {
        c->last[key] = frame->offset + record->delta + 1;
        if (change.old_columns != NULL) {
            c->last[strtol((const char *)old[0].bytes.p, NULL, 10)] = c->last[key];
        }
    }
    if (change.new_columns != NULL) {
        make_value(&value, frame->tx.lsn, record->index, s);
        cr_assert(slice_eq(buf_slice(&value), new_[1].bytes));
    }
    buf_free(&value);
    int is_second = (record->flags & CDC_RECORD_MOVED) && record->op == CHANGE_INSERT;
    c->counts[s] += is_second ? 0 : 1;
    cr_assert(is_given(&m->shards[s], frame->tx.lsn, record->index),
              "seed %llu: shard %zu: %llu, %u was not given", at_seed(m), s,
              (unsigned long long)frame->tx.lsn, record->index);
}

static void check_place(struct model *m, unsigned table, unsigned partition, uint64_t offset,
                        struct place place)
{
    struct place **seen = &m->seen[table][partition];
    size_t *n = &m->seen_count[table][partition];
    if (*seen == NULL) {
        *seen = mem_zero(PLACES_MAX * sizeof(**seen));
    }
    cr_assert(offset <= *n || is_compacted(m, table));
    while (*n < offset) {
        (*seen)[(*n)++] = (struct place){0};
    }
    if (offset == *n) {
        cr_assert_lt(*n, PLACES_MAX);
        (*seen)[(*n)++] = place;
    }
    const struct place *p = &(*seen)[offset];
    cr_assert(p->source == place.source && p->lsn == place.lsn && p->index == place.index &&
                  p->op == place.op,
              "seed %llu: offset %llu of table %u partition %u has changed", at_seed(m),
              (unsigned long long)offset, table, partition);
}

static size_t shard_of_source(const struct model *m, uint16_t source)
{
    for (size_t s = 0; s < SHARDS; s++) {
        if (m->source_ids[s] == source) {
            return s;
        }
    }
    cr_assert(0, "a record of no shard");
    return 0;
}

static void check_frames(struct model *m, struct checking *c, struct slice in, unsigned table,
                         unsigned partition, uint64_t *next)
{
    struct note note = {0};
    while (in.n > 0) {
        struct cdc_frame frame;
        struct cdc_record record;
        enum err e = cdc_frame_read(in, &frame, &note);
        cr_assert_eq(e, ERR_NONE, "%s", note.text);
        in = slice_from(in, frame.bytes);
        cr_assert(frame.offset == *next || is_compacted(m, table));
        size_t s = shard_of_source(m, frame.source);
        struct slice left = frame.records;
        while (left.n > 0) {
            cr_assert_eq(cdc_record_next(&left, &record, &note), ERR_NONE);
            uint64_t offset = frame.offset + record.delta;
            cr_assert(offset == *next || (offset > *next && is_compacted(m, table)));
            struct place place = {frame.source, frame.tx.lsn, record.index, record.op};
            check_place(m, table, partition, offset, place);
            *next = offset + 1;
            if (table < TABLES) {
                check_row(m, c, s, &frame, &record, table, partition);
            }
        }
        cr_assert(*next == frame.offset + frame.span || is_compacted(m, table));
        *next = frame.offset + frame.span;
    }
}

static void check_order(const struct model *m, unsigned table, unsigned partition)
{
    uint64_t lsn[8] = {0};
    uint32_t index[8] = {0};
    for (size_t i = 0; i < m->seen_count[table][partition]; i++) {
        const struct place *p = &m->seen[table][partition][i];
        if (p->lsn == 0) {
            continue; /* it was never seen */
        }
        cr_assert(p->lsn > lsn[p->source] ||
                  (p->lsn == lsn[p->source] && p->index > index[p->source]));
        lsn[p->source] = p->lsn;
        index[p->source] = p->index;
    }
}

static void check_topic(struct model *m, struct checking *c, const char *name, unsigned table)
{
    struct note note = {0};
    uint32_t topic = cdc_log_topic(m->log, slice_of(name));
    unsigned partitions = topic == 0 ? 0 : table < TABLES ? PARTITIONS : 1;
    for (unsigned p = 0; p < partitions; p++) {
        struct cdc_part_view view;
        struct buf frames = {0};
        uint64_t next = 0;
        cr_assert_eq(cdc_log_part(m->log, topic, (uint16_t)p, &view, &note), ERR_NONE);
        while (next < view.end) {
            frames.n = 0;
            enum err e = cdc_log_fetch(m->log, topic, (uint16_t)p, next,
                                       1 + rng_below(&m->rng, 5000), &frames, &note);
            cr_assert_eq(e, ERR_NONE, "seed %llu: %s", at_seed(m), note.text);
            cr_assert_gt(frames.n, 0);
            check_frames(m, c, buf_slice(&frames), table, p, &next);
        }
        cr_assert_geq(next, m->seen_count[table][p], "seed %llu: records are lost", at_seed(m));
        buf_free(&frames);
        if (table < TABLES) {
            check_order(m, table, p);
        }
    }
}

static void check_all(struct model *m)
{
    struct checking c;
    if (sim_disk_is_off(m->disk)) {
        return;
    }
    memset(&c, 0, sizeof(c));
    memset(c.part_of_key, -1, sizeof(c.part_of_key));
    check_topic(m, &c, "shop.public.t0", 0);
    check_topic(m, &c, "shop.public.t1", 1);
    check_topic(m, &c, "shop.braid.transactions", TABLES);
    for (size_t k = 0; k < KEYS; k++) {
        cr_assert_geq(c.last[k], m->last[k], "seed %llu: the last record of key %zu is lost",
                      at_seed(m), k);
        m->last[k] = c.last[k];
    }
    for (size_t s = 0; s < SHARDS; s++) {
        if (is_compacted(m, 1)) {
            cr_assert_leq(c.counts[s], count_expected(&m->shards[s]));
            continue;
        }
        cr_assert_eq(c.counts[s], count_expected(&m->shards[s]),
                     "seed %llu: shard %zu: %zu changes of %zu", at_seed(m), s, c.counts[s],
                     count_expected(&m->shards[s]));
    }
}

/* ---- groups ---------------------------------------------------------------------------------- */

static void commit_group(struct model *m)
{
    uint32_t topic = cdc_log_topic(m->log, SLICE("shop.public.t0"));
    uint16_t p = (uint16_t)rng_below(&m->rng, PARTITIONS);
    struct cdc_offset *tried = &m->groups[p].tried;
    struct note note = {0};
    if (topic == 0) {
        return;
    }
    uint64_t behind = rng_below(&m->rng, 4) == 0 && tried->generation > 0 ? 1 : 0;
    struct cdc_offset next = {.generation = tried->generation + rng_below(&m->rng, 2) - behind,
                              .offset = tried->offset + 1 + rng_below(&m->rng, 9)};
    struct cdc_commit commit = {
        .partition = p, .generation = next.generation, .offset = next.offset};
    int is_old = next.generation < m->groups[p].acked.generation;
    if (next.generation >= tried->generation) {
        *tried = next;
    } else if (!is_old) {
        return; /* what it does depends on what became of an earlier one */
    }
    enum err e = cdc_log_commit(m->log, SLICE("g"), topic, &commit, 1, &note);
    if (is_old) {
        cr_assert(e == ERR_FENCED || e == ERR_IO, "seed %llu: an older generation", at_seed(m));
    } else if (e == ERR_NONE) {
        m->groups[p].acked = next;
    }
}

static void check_groups(struct model *m)
{
    uint32_t topic = cdc_log_topic(m->log, SLICE("shop.public.t0"));
    for (uint16_t p = 0; p < PARTITIONS && topic != 0; p++) {
        struct cdc_offset is = cdc_log_committed(m->log, SLICE("g"), topic, p);
        uint64_t at = is.offset == CDC_NO_OFFSET ? 0 : is.offset;
        cr_assert(at >= m->groups[p].acked.offset && at <= m->groups[p].tried.offset,
                  "seed %llu: partition %u: %llu is committed, not %llu to %llu", at_seed(m), p,
                  (unsigned long long)at, (unsigned long long)m->groups[p].acked.offset,
                  (unsigned long long)m->groups[p].tried.offset);
        cr_assert(is.generation >= m->groups[p].acked.generation &&
                  is.generation <= m->groups[p].tried.generation);
        m->groups[p].acked = (struct cdc_offset){is.generation, at};
    }
}

/* ---- lives ----------------------------------------------------------------------------------- */

static enum err open_all(struct model *m, struct note *note)
{
    struct cdc_log_options options = {.fs = sim_disk_fs(m->disk),
                                      .dir = "d/cdc",
                                      .partitions = PARTITIONS,
                                      .segment_bytes = 4000 + 3000 * (uint32_t)(m->seed % 3),
                                      .checkpoint_bytes = 3000 + 9000 * (uint32_t)(m->seed % 2),
                                      .piece_bytes = 500,
                                      .compact = is_compacted(m, 1) ? "shop.public.t1" : NULL,
                                      .tombstones_us = INT64_C(1) << 60,
                                      .manual = 1};
    enum err e = cdc_log_open(&options, &m->log, note);
    if (e) {
        return e;
    }
    struct wal_options wal = {.fs = options.fs,
                              .dir = "d/wal",
                              .segment_bytes = 4096,
                              .owners = 1 << WAL_OWNER_CDC,
                              .manual = 1,
                              .replay = cdc_log_replay,
                              .replay_arg = m->log};
    e = wal_open(&wal, &m->wal, note);
    return e ? e : cdc_log_start(m->log, m->wal, note);
}

static void close_all(struct model *m)
{
    cdc_log_close(m->log);
    if (m->wal != NULL) {
        wal_close(m->wal);
    }
    m->log = NULL;
    m->wal = NULL;
}

static void turn(struct model *m)
{
    switch (rng_below(&m->rng, 3)) {
    case 0: (void)wal_turn(m->wal); break;
    case 1: (void)cdc_log_turn(m->log); break;
    default: (void)wal_turn(m->wal); (void)cdc_log_turn(m->log);
    }
}

/* The shards ask where they were, and the model forgets what they must give again. */
static int attach_all(struct model *m)
{
    for (size_t s = 0; s < SHARDS; s++) {
        struct shard *shard = &m->shards[s];
        struct cdc_shard name = shard_of(s);
        struct cdc_mark mark;
        struct note note = {0};
        int found = 0;
        enum err e = cdc_log_sink(m->log)->load(m->log, &name, &mark, &found, &note);
        if (e) {
            return 0;
        }
        size_t at = found ? find_mark(shard, &mark) : 0;
        cr_assert(!found || at > 0, "seed %llu: a mark out of nothing", at_seed(m));
        cr_assert_geq(at, shard->durable, "seed %llu: a durable mark is lost", at_seed(m));
        shard->n = shard->durable = at;
        shard->lsn = at == 0 ? 0 : mark.lsn;
        shard->index = at == 0 ? 0 : mark.index;
    }
    struct cdc_source_view views[SHARDS + 1];
    size_t n = cdc_log_sources(m->log, views, SHARDS + 1);
    for (size_t i = 0; i < n; i++) {
        m->source_ids[views[i].name[0] - 'a'] = views[i].id;
    }
    return 1;
}

static void settle(struct model *m)
{
    while (wal_turn(m->wal) | cdc_log_turn(m->log)) {
    }
}

/* As long as it lasts; 1: to a peaceful end. */
static int live(struct model *m)
{
    struct note note = {0};
    if (open_all(m, &note)) {
        cr_assert(sim_disk_has_failed(m->disk), "seed %llu: %s", at_seed(m), note.text);
        return 0;
    }
    if (!attach_all(m)) {
        return 0;
    }
    check_all(m);
    check_groups(m);
    size_t steps = (size_t)rng_below(&m->rng, 120);
    for (size_t i = 0; i < steps; i++) {
        if (rng_below(&m->rng, 2) == 0 && !give_unit(m, (size_t)rng_below(&m->rng, SHARDS))) {
            return 0;
        }
        turn(m);
        if (rng_below(&m->rng, 12) == 0) {
            commit_group(m);
        }
        note_durable(m);
        if (rng_below(&m->rng, 40) == 0 && cdc_log_checkpoint(m->log, &note)) {
            return 0;
        }
    }
    if (rng_below(&m->rng, 3) == 0) {
        settle(m);
        if (cdc_log_failed(m->log, NULL)) {
            return 0;
        }
        note_durable(m);
        check_all(m);
    }
    return 1;
}

static void run_seed(uint64_t seed)
{
    struct model *m = mem_zero(sizeof(*m));
    struct note note = {0};
    m->seed = seed;
    m->rng = rng_seeded(seed);
    m->disk = sim_disk_new(seed);
    struct fs *fs = sim_disk_fs(m->disk);
    cr_assert_eq(fs->make_dir(fs, "d", NULL, &note), ERR_NONE);
    for (unsigned life = 0; life < LIVES; life++) {
        int is_last = life == LIVES - 1;
        if (!is_last && rng_below(&m->rng, 4) != 0) {
            enum sim_fault fault = rng_below(&m->rng, 3) == 0 ? SIM_EIO : SIM_POWER_OFF;
            sim_disk_fault(m->disk, fault, 1 + rng_below(&m->rng, 200));
        }
        int is_fine = live(m);
        if (m->log != NULL && !(is_fine && rng_below(&m->rng, 2) == 0)) {
            sim_disk_unplug(m->disk); /* what closing would write is not written */
        }
        close_all(m);
        sim_disk_fault(m->disk, SIM_POWER_OFF, 0);
        sim_disk_restart(m->disk, (int)rng_below(&m->rng, 2));
    }
    for (size_t t = 0; t <= TABLES; t++) {
        for (size_t p = 0; p < PARTITIONS; p++) {
            mem_free(m->seen[t][p]);
        }
    }
    sim_disk_free(m->disk);
    mem_free(m);
}

Test(cdc_sim, whatever_dies_nothing_is_lost_and_nothing_comes_twice)
{
    const char *one = getenv("CDC_SIM_SEED");
    const char *many = getenv("CDC_SIM_RUNS");
    const char *first = getenv("CDC_SIM_FIRST");
    uint64_t from = one != NULL ? strtoull(one, NULL, 10) : first ? strtoull(first, NULL, 10) : 1;
    uint64_t runs = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : 60;
    for (uint64_t seed = from; seed < from + runs; seed++) {
        run_seed(seed);
    }
}
