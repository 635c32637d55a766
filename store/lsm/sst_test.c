/*
 * Goal: tables give back what was written, by key and both ways, over one file or several; one
 * wrong bit is refused with file and offset, never believed. Method: the disk of file_sim.h.
 */

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "store/file_sim.h"
#include "store/lsm/bloom.h"
#include "store/lsm/key.h"
#include "store/lsm/sst.h"

enum {
    PER_TABLE = 700,
    TABLES = 3,
    ALL = PER_TABLE * TABLES
};

struct shelf {
    struct sim_disk *disk;
    struct sst_env env;
    struct sst_writer *writers[TABLES];
    struct sst_meta metas[TABLES];
    const struct sst_meta *pointers[TABLES];
};

static struct slice key_of(char out[24], size_t i)
{
    return slice_bytes(out, (size_t)snprintf(out, 24, "key%06zu", i * 10));
}

static uint64_t tag_of(size_t i)
{
    return lsm_tag(1000 + i * 3, i % 9 == 0);
}

/* Most are small; one is larger than several blocks. Some pack well. */
static struct slice value_of(struct buf *out, size_t i)
{
    struct rng rng = rng_seeded(i);
    size_t n = i == 5 ? 20000 : (size_t)rng_below(&rng, 120);
    out->n = 0;
    for (size_t k = 0; k < n; k++) {
        buf_u8(out, (uint8_t)(i % 3 == 0 ? rng_next(&rng) : i));
    }
    return buf_slice(out);
}

static void write_table(struct shelf *s, size_t t)
{
    struct buf value = {0};
    char key[24];
    cr_assert_eq(sst_writer_open(&s->env, t + 1, &s->writers[t], NULL), ERR_NONE);
    for (size_t i = t * PER_TABLE; i < (t + 1) * PER_TABLE; i++) {
        cr_assert_eq(
            sst_writer_add(s->writers[t], key_of(key, i), tag_of(i), value_of(&value, i), NULL),
            ERR_NONE);
    }
    cr_assert_eq(sst_writer_finish(s->writers[t], &s->metas[t], NULL), ERR_NONE);
    s->pointers[t] = &s->metas[t];
    buf_free(&value);
}

static struct shelf *make(size_t cache_bytes)
{
    struct shelf *s = calloc(1, sizeof(*s));
    s->disk = sim_disk_new(1);
    s->env.fs = sim_disk_fs(s->disk);
    s->env.dir = "d";
    s->env.readers = cache_new(cache_bytes);
    s->env.blocks = cache_new(cache_bytes);
    for (size_t t = 0; t < TABLES; t++) {
        write_table(s, t);
    }
    return s;
}

static void drop(struct shelf *s)
{
    for (size_t t = 0; t < TABLES; t++) {
        sst_writer_close(s->writers[t]);
    }
    cache_free(s->env.readers);
    cache_free(s->env.blocks);
    sim_disk_free(s->disk);
    free(s);
}

static void expect_entry(const struct run *run, size_t i)
{
    struct buf value = {0};
    char key[24];
    cr_assert(run->valid, "entry %zu", i);
    cr_assert(slice_eq(run->key, key_of(key, i)), "entry %zu is %.*s", i, SLICE_ARG(run->key));
    cr_assert_eq(run->tag, tag_of(i));
    cr_assert(slice_eq(run->value, value_of(&value, i)));
    buf_free(&value);
}

static void walk(struct shelf *s, size_t ahead)
{
    struct run *run = sst_run(&s->env, s->pointers, TABLES, ahead);
    cr_assert_eq(run->ops->first(run, NULL), ERR_NONE);
    for (size_t i = 0; i < ALL; i++) {
        expect_entry(run, i);
        cr_assert_eq(run->ops->next(run, NULL), ERR_NONE);
    }
    cr_assert(!run->valid);
    cr_assert_eq(run->ops->last(run, NULL), ERR_NONE);
    for (size_t i = ALL; i-- > 0;) {
        expect_entry(run, i);
        cr_assert_eq(run->ops->prev(run, NULL), ERR_NONE);
    }
    cr_assert(!run->valid);
    run->ops->close(run);
}

Test(sst, a_walk_over_tables_gives_every_entry_both_ways)
{
    struct shelf *s = make(1 << 20);
    walk(s, 0);
    walk(s, 0);
    walk(s, 64 << 10);
    drop(s);
    s = make(0); /* nothing stays in a cache */
    walk(s, 0);
    walk(s, 1);
    drop(s);
}

Test(sst, a_search_stands_on_the_first_entry_that_is_not_before)
{
    struct shelf *s = make(64 << 10);
    struct run *run = sst_run(&s->env, s->pointers, TABLES, 0);
    struct rng rng = rng_seeded(6);
    char key[24];
    for (int n = 0; n < 3000; n++) {
        size_t i = (size_t)rng_below(&rng, ALL);
        int64_t off = (int64_t)rng_below(&rng, 3) - 1; /* an older tag, the same, a newer one */
        cr_assert_eq(run->ops->seek(run, key_of(key, i), tag_of(i) + (uint64_t)off, NULL),
                     ERR_NONE);
        size_t want = off >= 0 ? i : i + 1;
        cr_assert_eq(run->valid, want < ALL);
        if (run->valid) {
            expect_entry(run, want);
            cr_assert_eq(run->ops->prev(run, NULL), ERR_NONE);
            cr_assert_eq(run->valid, want > 0);
        }
    }
    cr_assert_eq(run->ops->seek(run, SLICE("a"), 0, NULL), ERR_NONE);
    expect_entry(run, 0);
    cr_assert_eq(run->ops->seek(run, SLICE("z"), 0, NULL), ERR_NONE);
    cr_assert(!run->valid);
    run->ops->close(run);
    drop(s);
}

static enum err get(struct shelf *s, size_t t, struct slice key, uint64_t tag, struct buf *value,
                    struct sst_lookup *lookup, struct note *note)
{
    value->n = 0;
    *lookup = (struct sst_lookup){.key = key, .tag = tag, .hash = bloom_hash(key), .value = value};
    return sst_get(&s->env, s->pointers[t], lookup, note);
}

Test(sst, a_key_is_found_as_its_moment_sees_it_and_absent_ones_mostly_cost_no_read)
{
    struct shelf *s = make(64 << 10);
    struct buf value = {0};
    struct buf want = {0};
    struct sst_lookup lookup;
    char key[24];
    for (size_t i = 0; i < ALL; i++) {
        size_t t = i / PER_TABLE;
        cr_assert_eq(get(s, t, key_of(key, i), LSM_TAG_NEWEST, &value, &lookup, NULL), ERR_NONE);
        cr_assert(lookup.found && lookup.found_tag == tag_of(i));
        cr_assert(slice_eq(buf_slice(&value), value_of(&want, i)));
        cr_assert_eq(get(s, t, key_of(key, i), tag_of(i) - 1, &value, &lookup, NULL), ERR_NONE);
        cr_assert(!lookup.found);
    }
    uint64_t before = s->env.filter_refusals;
    for (size_t i = 0; i < 1000; i++) {
        int n = snprintf(key, sizeof(key), "key%06zu", i * 10 + 5);
        cr_assert_eq(get(s, 0, slice_bytes(key, (size_t)n), LSM_TAG_NEWEST, &value, &lookup, NULL),
                     ERR_NONE);
        cr_assert(!lookup.found);
    }
    cr_assert_gt(s->env.filter_refusals - before, 950);
    buf_free(&value);
    buf_free(&want);
    drop(s);
}

/* Everything is read again; what is read must be right, or refused. */
static int is_refused(struct shelf *s)
{
    struct note note = {0};
    struct run *run = sst_run(&s->env, s->pointers, 1, 0);
    size_t i = 0;
    enum err e = run->ops->first(run, &note);
    for (; e == ERR_NONE && run->valid; i++) {
        expect_entry(run, i);
        e = run->ops->next(run, &note);
    }
    run->ops->close(run);
    if (e) {
        cr_assert_eq(e, ERR_CORRUPT);
        cr_assert_not_null(strstr(note.text, "d/sst-0000000000000001"), "%s", note.text);
        cr_assert_not_null(strstr(note.text, "offset"), "%s", note.text);
    } else {
        cr_assert_eq(i, PER_TABLE);
    }
    return e != ERR_NONE;
}

Test(sst, every_flipped_bit_is_refused_by_name_and_offset)
{
    struct shelf *s = make(0);
    uint64_t bytes = s->metas[0].bytes;
    int refused = 0;
    int tried = 0;
    for (uint64_t at = 0; at<bytes; at += at + 200> bytes ? 1 : 97) {
        cr_assert(sim_disk_flip(s->disk, "d/sst-0000000000000001", at, (unsigned)at));
        refused += is_refused(s);
        tried++;
        cr_assert(sim_disk_flip(s->disk, "d/sst-0000000000000001", at, (unsigned)at));
    }
    cr_assert_eq(refused, tried, "%d of %d", refused, tried);
    cr_assert_eq(is_refused(s), 0);
    drop(s);
}

Test(sst, a_table_that_is_not_the_one_the_manifest_means_is_refused)
{
    struct shelf *s = make(0);
    struct fs *fs = sim_disk_fs(s->disk);
    cr_assert_eq(fs->rename(fs, "d/sst-0000000000000002", "d/sst-0000000000000001", NULL),
                 ERR_NONE);
    cr_assert_eq(is_refused(s), 1);
    drop(s);
}

Test(sst, a_disk_that_fails_while_writing_is_told)
{
    for (uint64_t at = 1; at <= 3; at++) {
        struct sim_disk *disk = sim_disk_new(at);
        struct sst_env env = {.fs = sim_disk_fs(disk), .dir = "d"};
        struct sst_writer *w = NULL;
        struct sst_meta meta;
        struct note note = {0};
        sim_disk_fault(disk, SIM_EIO, at);
        enum err e = sst_writer_open(&env, 1, &w, &note);
        e = e ? e : sst_writer_add(w, SLICE("k"), 2, SLICE("v"), &note);
        e = e ? e : sst_writer_finish(w, &meta, &note);
        cr_assert_eq(e, ERR_IO, "operation %d", (int)at);
        sst_writer_close(w);
        sim_disk_free(disk);
    }
}
