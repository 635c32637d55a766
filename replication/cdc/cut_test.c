/*
 * Goal: at every cut each two-phase commit is whole, and nothing else is out of order: of accounts
 * on three shards between which money goes to and fro, the sum is always the same. Method: a model
 * of the shards in one time (transfers lock their rows from PREPARE to COMMIT, watermarks are
 * emitted one shard after the other, each shard's stream comes to the log late by another lag), a
 * log on a disk in memory that is closed and opened in between, and sums over what each cut says is
 * before, by its offsets alone. CUT_RUNS=n for more seeds.
 */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "replication/cdc/cut.h"
#include "replication/cdc/cut_mark.h"
#include "replication/cdc/log_testing.h"

enum {
    SHARDS = 3,
    ACCOUNTS = 4, /* on each */
    MONEY = 100,
    TRANSFERS_MAX = 40, /* on their way */
    EVENTS_MAX = 4000,
    RECORDS_MAX = 20000,
    CUTS_MAX = 400
};

static const struct cdc_shard cut_shards[SHARDS] = {
    {"shop", "s0", 0}, {"shop", "s1", 1}, {"shop", "s2", 2}};

/* What a shard's stream brings, in the order of its log. */
struct event {
    uint64_t lsn, prepare_lsn;
    uint64_t watermark;
    int rows, account[2], value[2];
    char gid[16];
    struct buf prepared;
};

struct transfer {
    int is_used, decider,
        /* shard that is not prepared, but commits first; -1: none */ shards[SHARDS],
        account[SHARDS], amount[SHARDS];
    uint64_t prepare_lsn[SHARDS];
    int is_committed[SHARDS];
    char gid[16];
};

struct shard_model {
    struct event *events;
    size_t made, given;
    int balance[ACCOUNTS], is_locked[ACCOUNTS];
    uint64_t lsn;
    unsigned lag; /* one of so many turns brings something */
};

struct world {
    struct bench b;
    struct rng rng;
    struct shard_model shards[SHARDS];
    struct transfer transfers[TRANSFERS_MAX];
    unsigned gids;
    uint64_t number;
    int emitted[SHARDS];
    uint64_t emitted_lsn[EVENTS_MAX][SHARDS];
};

/* ---- the shards ------------------------------------------------------------------------------ */

static struct event *new_event(struct world *w, unsigned s)
{
    struct shard_model *m = &w->shards[s];
    m->lsn += 1 + rng_below(&w->rng, 5);
    cr_assert_lt(m->made, EVENTS_MAX);
    m->events[m->made] = (struct event){.lsn = m->lsn};
    return &m->events[m->made++];
}

static int pick_account(struct world *w, unsigned s)
{
    int account = (int)rng_below(&w->rng, ACCOUNTS);
    return w->shards[s].is_locked[account] ? -1 : account;
}

static void add_row(struct world *w, struct event *e, unsigned s, int account, int amount)
{
    w->shards[s].balance[account] += amount;
    e->account[e->rows] = account;
    e->value[e->rows++] = w->shards[s].balance[account];
}

static void local_transfer(struct world *w)
{
    unsigned s = (unsigned)rng_below(&w->rng, SHARDS);
    int from = pick_account(w, s);
    int to = pick_account(w, s);
    if (from < 0 || to < 0 || from == to) {
        return;
    }
    struct event *e = new_event(w, s);
    add_row(w, e, s, from, -1);
    add_row(w, e, s, to, 1);
}

static void begin_transfer(struct world *w)
{
    struct transfer *t = &w->transfers[rng_below(&w->rng, TRANSFERS_MAX)];
    unsigned a = (unsigned)rng_below(&w->rng, SHARDS);
    unsigned b = (a + 1 + (unsigned)rng_below(&w->rng, SHARDS - 1)) % SHARDS;
    int from = pick_account(w, a);
    int to = pick_account(w, b);
    if (t->is_used || from < 0 || to < 0) {
        return;
    }
    *t = (struct transfer){.is_used = 1, .decider = rng_below(&w->rng, 2) == 0 ? (int)a : -1};
    t->shards[a] = t->shards[b] = 1;
    t->account[a] = from;
    t->account[b] = to;
    t->amount[a] = -7;
    t->amount[b] = 7;
    w->shards[a].is_locked[from] = w->shards[b].is_locked[to] = 1;
    (void)snprintf(t->gid, sizeof(t->gid), "g\"%u", ++w->gids);
}

/* One step of one transfer: PREPARE on a shard, or, when all have it, a COMMIT. */
static void drive_transfer(struct world *w, struct transfer *t)
{
    int prepared = 1;
    int left = 0;
    for (unsigned s = 0; s < SHARDS; s++) {
        prepared &= !t->shards[s] || t->prepare_lsn[s] > 0 || t->decider == (int)s;
    }
    unsigned s = (unsigned)rng_below(&w->rng, SHARDS);
    if (!t->is_used || !t->shards[s] || t->is_committed[s]) {
        return;
    }
    if (!prepared) {
        if (t->decider == (int)s) {
            return;
        }
        t->prepare_lsn[s] = t->prepare_lsn[s] > 0 ? t->prepare_lsn[s] : ++w->shards[s].lsn;
        return;
    }
    if (t->decider >= 0 && t->decider != (int)s && !t->is_committed[t->decider]) {
        return;
    }
    struct event *e = new_event(w, s);
    e->prepare_lsn = t->prepare_lsn[s];
    memcpy(e->gid, t->gid, sizeof(e->gid));
    add_row(w, e, s, t->account[s], t->amount[s]);
    w->shards[s].is_locked[t->account[s]] = 0;
    t->is_committed[s] = 1;
    for (unsigned i = 0; i < SHARDS; i++) {
        left += t->shards[i] && !t->is_committed[i];
    }
    t->is_used = left > 0;
}

/* On one shard that has not got the number yet; when all have, the next one begins. */
static void emit(struct world *w)
{
    int left = 0;
    unsigned s = (unsigned)rng_below(&w->rng, SHARDS);
    if (!w->emitted[s]) {
        struct event *e = new_event(w, s);
        e->watermark = w->number;
        w->emitted_lsn[w->number][s] = e->lsn;
        for (unsigned i = 0; i < TRANSFERS_MAX; i++) {
            const struct transfer *t = &w->transfers[i];
            if (t->is_used && t->prepare_lsn[s] > 0 && !t->is_committed[s]) {
                buf_be64(&e->prepared, t->prepare_lsn[s]);
                buf_u8(&e->prepared, (uint8_t)strlen(t->gid));
                buf_text(&e->prepared, t->gid);
            }
        }
        w->emitted[s] = 1;
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        left += !w->emitted[i];
    }
    if (left == 0) {
        w->number++;
        memset(w->emitted, 0, sizeof(w->emitted));
    }
}

/* ---- to the log ------------------------------------------------------------------------------ */

static void put_row(struct world *w, unsigned s, const struct event *e, int row, uint8_t op)
{
    const struct cdc_sink *sink = cdc_log_sink(w->b.log);
    struct note note = {0};
    char key[16];
    char value[16];
    (void)snprintf(key, sizeof(key), "%u", s * 10 + (unsigned)e->account[row]);
    (void)snprintf(value, sizeof(value), "%d", e->value[row]);
    struct change_column columns_of[] = {{VALUE_TEXT, slice_of(key)},
                                         {VALUE_TEXT, slice_of(value)}};
    struct change c = {.op = op,
                       .shard = (uint16_t)s,
                       .xid = (uint32_t)e->lsn,
                       .lsn = e->lsn,
                       .prepare_lsn = e->prepare_lsn,
                       .gid = slice_of(e->prepare_lsn == 0 ? "" : e->gid),
                       .index = (uint32_t)row + 1,
                       .relation = &users,
                       .new_columns = columns_of};
    cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE, "%s", note.text);
}

static void deliver(struct world *w, unsigned s)
{
    struct shard_model *m = &w->shards[s];
    const struct cdc_sink *sink = cdc_log_sink(w->b.log);
    struct note note = {0};
    if (m->given == m->made) {
        return;
    }
    const struct event *e = &m->events[m->given++];
    if (e->watermark > 0) {
        struct buf content = {0};
        buf_printf(&content, "%llu", (unsigned long long)e->watermark);
        buf_u8(&content, 0);
        buf_add_slice(&content, buf_slice(&e->prepared));
        struct change c = {.op = CHANGE_WATERMARK,
                           .shard = (uint16_t)s,
                           .lsn = e->lsn,
                           .content = buf_slice(&content)};
        cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE);
        buf_free(&content);
    }
    for (int i = 0; i < e->rows; i++) {
        put_row(w, s, e, i, m->given == 1 ? CHANGE_INSERT : CHANGE_UPDATE);
    }
    struct change commit = {.op = CHANGE_COMMIT,
                            .shard = (uint16_t)s,
                            .lsn = e->lsn,
                            .gid = slice_of(e->gid),
                            .prepare_lsn = e->prepare_lsn};
    cr_assert_eq(sink->change(sink->arg, &commit, &note), ERR_NONE);
    struct cdc_mark mark = {.lsn = e->lsn, .index = 3, .ends = 1, .resume = e->lsn};
    cr_assert_eq(sink->mark(sink->arg, &cut_shards[s], &mark, &note), ERR_NONE);
    cr_assert_eq(sink->sync(sink->arg, &cut_shards[s], &note), ERR_NONE);
}

static void attach(struct world *w)
{
    const struct cdc_sink *sink = cdc_log_sink(w->b.log);
    struct note note = {0};
    for (unsigned s = 0; s < SHARDS; s++) {
        struct cdc_mark mark;
        int found;
        cr_assert_eq(sink->load(sink->arg, &cut_shards[s], &mark, &found, &note), ERR_NONE);
    }
}

static struct world *new_world(uint64_t seed)
{
    struct world *w = mem_zero(sizeof(*w));
    struct note note = {0};
    w->rng = rng_seeded(seed);
    w->number = 1;
    w->b.disk = sim_disk_new(seed);
    struct fs *fs = sim_disk_fs(w->b.disk);
    cr_assert_eq(fs->make_dir(fs, "d", NULL, &note), ERR_NONE);
    open_bench(&w->b);
    attach(w);
    for (unsigned s = 0; s < SHARDS; s++) {
        w->shards[s].events = mem_zero(EVENTS_MAX * sizeof(struct event));
        w->shards[s].lag = 1 + (unsigned)rng_below(&w->rng, 4);
        for (int a = 0; a < ACCOUNTS; a += 2) {
            struct event *e = new_event(w, s);
            add_row(w, e, s, a, MONEY);
            add_row(w, e, s, a + 1, MONEY);
        }
    }
    return w;
}

static void free_world(struct world *w)
{
    end_bench(&w->b);
    for (unsigned s = 0; s < SHARDS; s++) {
        for (size_t i = 0; i < w->shards[s].made; i++) {
            buf_free(&w->shards[s].events[i].prepared);
        }
        mem_free(w->shards[s].events);
    }
    mem_free(w);
}

static void live(struct world *w, unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        switch (rng_below(&w->rng, 6)) {
        case 0: local_transfer(w); break;
        case 1: begin_transfer(w); break;
        case 2:
            if (rng_below(&w->rng, 4) == 0) {
                emit(w);
            }
            break;
        default: drive_transfer(w, &w->transfers[rng_below(&w->rng, TRANSFERS_MAX)]); break;
        }
        for (unsigned s = 0; s < SHARDS; s++) {
            if (rng_below(&w->rng, w->shards[s].lag) == 0) {
                deliver(w, s);
            }
        }
        if (rng_below(&w->rng, turns) == 0) {
            close_bench(&w->b);
            open_bench(&w->b);
            attach(w);
        }
    }
}

static void settle(struct world *w)
{
    for (unsigned t = 0; t < TRANSFERS_MAX; t++) {
        while (w->transfers[t].is_used) {
            drive_transfer(w, &w->transfers[t]);
        }
    }
    for (uint64_t until = w->number + 3; w->number < until;) {
        emit(w);
    }
    for (unsigned s = 0; s < SHARDS; s++) {
        while (w->shards[s].given < w->shards[s].made) {
            deliver(w, s);
        }
    }
}

/* ---- what is before -------------------------------------------------------------------------- */

struct record_seen {
    uint16_t partition, source;
    uint64_t offset, lsn;
    struct cdc_tx tx;
    unsigned account; /* of all */
    int value;
};

static int number_in(struct slice text)
{
    char copy[16] = "";
    memcpy(copy, text.p, text.n < sizeof(copy) - 1 ? text.n : sizeof(copy) - 1);
    return (int)strtol(copy, NULL, 10);
}

static size_t read_records(struct world *w, struct record_seen *out)
{
    struct note note = {0};
    size_t n = 0;
    w->b.topic = cdc_log_topic(w->b.log, SLICE("shop.public.users"));
    for (uint16_t p = 0; p < cdc_log_partitions(w->b.log, w->b.topic); p++) {
        struct cdc_part_view view;
        struct buf frames = {0};
        cr_assert_eq(cdc_log_part(w->b.log, w->b.topic, p, &view, &note), ERR_NONE);
        for (uint64_t at = view.start; at < view.end;) {
            frames.n = 0;
            cr_assert_eq(cdc_log_fetch(w->b.log, w->b.topic, p, at, 50000, &frames, &note),
                         ERR_NONE);
            struct slice in = buf_slice(&frames);
            while (in.n > 0) {
                struct cdc_frame frame;
                struct cdc_record record;
                cr_assert_eq(cdc_frame_read(in, &frame, &note), ERR_NONE);
                in = slice_from(in, frame.bytes);
                while (frame.records.n > 0) {
                    struct change_column old[2], new_[2];
                    struct change c = {0};
                    cr_assert_eq(cdc_record_next(&frame.records, &record, &note), ERR_NONE);
                    cr_assert_eq(cdc_record_read(&record, 2, old, new_, &c, &note), ERR_NONE);
                    cr_assert_lt(n, RECORDS_MAX);
                    out[n++] =
                        (struct record_seen){.partition = p,
                                             .source = frame.source,
                                             .offset = frame.offset + record.delta,
                                             .lsn = frame.tx.lsn,
                                             .tx = {.epoch = frame.tx.epoch, .lsn = frame.tx.lsn},
                                             .account = (unsigned)number_in(new_[0].bytes),
                                             .value = number_in(new_[1].bytes)};
                }
                at = frame.offset + frame.span;
            }
        }
        buf_free(&frames);
    }
    return n;
}

/* The sum of all accounts, by offsets of partitions and what is ahead. */
static int sum_at(struct world *w, const struct cdc_cut *cut, const struct record_seen *records,
                  size_t count)
{
    struct note note = {0};
    int value[SHARDS * 10] = {0};
    uint64_t newest[SHARDS * 10] = {0};
    uint64_t offsets[8][SHARDS];
    for (uint16_t p = 0; p < cdc_log_partitions(w->b.log, w->b.topic); p++) {
        for (size_t s = 0; s < cut->shards_count; s++) {
            cr_assert_eq(cdc_cut_offset(w->b.log, &cut->shards[s], w->b.topic, p,
                                        &offsets[p][cut->shards[s].source], &note),
                         ERR_NONE);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct record_seen *r = &records[i];
        int is_ahead = 0;
        for (size_t a = 0; a < cut->ahead_count; a++) {
            is_ahead |= cut->ahead[a].source == r->source && cut->ahead[a].lsn == r->lsn;
        }
        int is = r->offset < offsets[r->partition][r->source] || is_ahead;
        cr_assert_eq(is, cdc_cut_has(cut, r->source, &r->tx));
        if (is && r->lsn >= newest[r->account]) {
            newest[r->account] = r->lsn;
            value[r->account] = r->value;
        }
    }
    int sum = 0;
    for (size_t i = 0; i < SHARDS * 10; i++) {
        sum += value[i];
    }
    return sum;
}

struct totals {
    unsigned cuts, ahead, moved;
};

static void check_cuts(struct world *w, uint64_t seed, struct totals *t)
{
    struct record_seen *records = mem_alloc(RECORDS_MAX * sizeof(*records));
    size_t count = read_records(w, records);
    struct cdc_cuts *cuts;
    struct cdc_cuts *other;
    struct cdc_cut cut;
    struct cdc_cut again;
    struct note note = {0};
    int found;
    cr_assert_eq(cdc_cuts_new(w->b.log, SLICE("shop"), &cuts, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(cdc_cuts_new(w->b.log, SLICE("shop"), &other, &note), ERR_NONE);
    uint64_t last = 0;
    uint64_t places[SHARDS];
    for (;;) {
        cr_assert_eq(cdc_cut_next(cuts, &cut, &found, &note), ERR_NONE, "%s", note.text);
        if (!found) {
            break;
        }
        cr_assert_gt(cut.number, last);
        last = cut.number;
        cr_assert_eq(sum_at(w, &cut, records, count), SHARDS * ACCOUNTS * MONEY,
                     "seed %llu: at cut %llu the halves of a transfer do not meet",
                     (unsigned long long)seed, (unsigned long long)cut.number);
        t->cuts++;
        t->ahead += cut.ahead_count > 0;
        for (size_t s = 0; s < cut.shards_count; s++) {
            t->moved += cut.shards[s].lsn != w->emitted_lsn[cut.number][s];
            places[s] = cut.shards[s].lsn;
        }
        cr_assert_eq(cdc_cut_seek(other, cut.number, &note), ERR_NONE);
        cr_assert_eq(cdc_cut_next(other, &again, &found, &note), ERR_NONE, "%s", note.text);
        cr_assert(found && again.number == cut.number && again.ahead_count == cut.ahead_count);
        for (size_t s = 0; s < cut.shards_count; s++) {
            cr_assert_eq(again.shards[s].lsn, places[s]);
        }
    }
    cr_assert_geq(last, w->number - 2, "seed %llu: the last cuts are missing: %s",
                  (unsigned long long)seed, cdc_cut_waits(cuts));
    uint64_t newest = 0;
    cr_assert_eq(cdc_cut_seek(other, CDC_CUT_NEWEST, &note), ERR_NONE);
    for (found = 1; found;) {
        cr_assert_eq(cdc_cut_next(other, &again, &found, &note), ERR_NONE);
        newest = found ? again.number : newest;
    }
    cr_assert_eq(newest, last);
    cdc_cuts_free(cuts);
    cdc_cuts_free(other);
    mem_free(records);
}

Test(cdc_cut, at_every_cut_the_halves_of_each_transfer_meet)
{
    const char *many = getenv("CUT_RUNS");
    uint64_t runs = many != NULL ? strtoull(many, NULL, 10) : 12;
    struct totals t = {0};
    for (uint64_t seed = 1; seed <= runs; seed++) {
        struct world *w = new_world(seed);
        live(w, 1500);
        settle(w);
        check_cuts(w, seed, &t);
        free_world(w);
    }
    cr_expect_gt(t.cuts, runs * 5, "%u cuts", t.cuts);
    cr_expect_gt(t.ahead, runs, "%u with something ahead", t.ahead);
    cr_expect_gt(t.moved, runs, "%u places moved on", t.moved);
}

static void give_watermark(struct bench *b, uint64_t lsn, const char *content)
{
    const struct cdc_sink *sink = cdc_log_sink(b->log);
    struct note note = {0};
    struct change c = {.op = CHANGE_WATERMARK, .lsn = lsn, .content = slice_of(content)};
    struct cdc_mark mark = {.lsn = lsn, .ends = 1, .resume = lsn};
    cr_assert_eq(sink->change(sink->arg, &c, &note), ERR_NONE);
    cr_assert_eq(sink->mark(sink->arg, &shard, &mark, &note), ERR_NONE);
    cr_assert_eq(sink->sync(sink->arg, &shard, &note), ERR_NONE);
}

Test(cdc_cut, a_server_that_does_not_tell_what_is_prepared_gives_none_and_a_reason)
{
    struct bench b;
    struct note note = {0};
    struct cdc_cuts *cuts;
    struct cdc_cut cut;
    int found;
    new_bench(&b, 3);
    cr_expect_eq(cdc_cuts_new(b.log, SLICE("other"), &cuts, &note), ERR_NO_TABLE);
    for (unsigned i = 1; i < 5; i++) {
        char number[8];
        (void)snprintf(number, sizeof(number), "%u", i);
        give_watermark(&b, 200 + i, number);
    }
    cr_assert_eq(cdc_cuts_new(b.log, SLICE("shop"), &cuts, &note), ERR_NONE);
    cr_assert_eq(cdc_cut_next(cuts, &cut, &found, &note), ERR_NONE);
    cr_expect_eq(found, 0);
    cr_expect_not_null(strstr(cdc_cut_waits(cuts), "does not tell what is prepared"));
    cdc_cuts_free(cuts);
    end_bench(&b);
}

Test(cdc_cut, the_record_of_a_watermark_is_read_as_it_is_written_and_in_no_other_form)
{
    static const char *const wrong[] = {
        "",
        "{}",
        "{\"watermark\":,\"shards\":[]}",
        "{\"watermark\":1,\"shards\":[]",
        "{\"watermark\":1,\"shards\":[]} ",
        "{\"watermark\":1,\"shards\":[{\"source\":70000,\"lsn\":1}]}",
        "{\"watermark\":99999999999999999999,\"shards\":[]}",
        "{\"watermark\":1,\"shards\":[{\"source\":2,\"lsn\":1},{\"source\":2,\"lsn\":1}]}",
        "{\"watermark\":1,\"shards\":[{\"source\":2,\"lsn\":1,\"epoch\":0,\"place\":3,"
        "\"prepared\":[{\"gid\":\"a\\q\",\"lsn\":4}]}]}"};
    struct cut_mark mark;
    struct note note = {0};
    struct slice right =
        SLICE("{\"watermark\":7,\"shards\":[{\"source\":0,\"lsn\":5},{\"source\":3,"
              "\"lsn\":90,\"epoch\":2,\"place\":12,\"prepared\":[{\"gid\":"
              "\"a\\\"\\\\\\u000a\",\"lsn\":80},{\"gid\":\"\",\"lsn\":81}]}]}");
    cr_assert_eq(cut_mark_read(right, &mark, &note), ERR_NONE);
    cr_expect_eq(mark.number, 7);
    cr_assert_eq(mark.count, 2);
    cr_expect(!mark.shards[0].has_list && mark.shards[0].lsn == 5);
    cr_expect(mark.shards[1].has_list && mark.shards[1].place == 12 && mark.shards[1].epoch == 2);
    cr_assert_eq(mark.shards[1].prepared_count, 2);
    cr_expect_eq(mark.shards[1].prepared[0].gid_bytes, 4);
    cr_expect_eq(memcmp(mark.shards[1].prepared[0].gid, "a\"\\\n", 4), 0);
    cr_expect_eq(mark.shards[1].prepared[1].lsn, 81);
    cut_mark_free(&mark);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_expect_eq(cut_mark_read(slice_of(wrong[i]), &mark, &note), ERR_CORRUPT, "%s", wrong[i]);
    }
}
