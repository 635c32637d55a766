/*
 * Goal: what a source remembers comes back as it was, and bytes that are no such memory are
 * refused. Method: a memory with everything in it, cut at every byte, with every byte changed;
 * shapes of tables that differ in one thing each.
 */

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "replication/cdc/shapes.h"
#include "replication/cdc/state.h"

static struct note note;

static void fill(struct cdc_state *s)
{
    s->phase = CDC_COPYING;
    (void)snprintf(s->slot, sizeof(s->slot), "pgbraid_s0_00c0ffee");
    s->system = UINT64_C(7123456789012345678);
    s->timeline = 3;
    s->point = UINT64_C(0x1600000028);
    buf_text(&s->snapshot, "731:735:732,733");
    struct cdc_table *t = cdc_state_add(s, SLICE("public"), SLICE("Odd \"name\""));
    t->oid = 16384;
    t->file_node = 16390;
    t->pages = 2048;
    t = cdc_state_add(s, SLICE("other"), SLICE("t"));
    t->done = 1;
}

Test(cdc_state, what_is_remembered_comes_back)
{
    static struct cdc_state s, back;
    static struct buf bytes, again;
    fill(&s);
    cdc_state_put(&s, &bytes);
    cr_assert_eq(cdc_state_read(buf_slice(&bytes), &back, &note), ERR_NONE, "%s", note.text);
    cdc_state_put(&back, &again);
    cr_expect(slice_eq(buf_slice(&bytes), buf_slice(&again)));
    cr_expect_str_eq(back.slot, s.slot);
    cr_expect_str_eq(back.tables[0].name, "Odd \"name\"");
    cr_expect_eq(back.tables[0].pages, 2048);
    cr_expect_eq(back.tables[1].done, 1);
    cr_assert_eq(cdc_state_read((struct slice){NULL, 0}, &back, &note), ERR_NONE);
    cr_expect_eq(back.phase, CDC_FRESH);
    cr_expect_eq(back.slot[0], '\0');
}

Test(cdc_state, the_slot_is_read_without_the_rest)
{
    struct cdc_state s = {.slot = "pgbraid_s0_0123abcd"};
    struct buf bytes = {0};
    cdc_state_put(&s, &bytes);
    cr_expect(slice_is(cdc_state_slot(buf_slice(&bytes)), "pgbraid_s0_0123abcd"));
    for (size_t n = 0; n < 2 + sizeof("pgbraid_s0_0123abcd"); n++) { /* cut short */
        cr_expect_eq(cdc_state_slot(slice_bytes(bytes.p, n)).n, 0);
    }
    buf_free(&bytes);
}

Test(cdc_state, a_table_that_is_dropped_leaves_the_others_in_order)
{
    struct cdc_state s = {0};
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        cdc_state_add(&s, SLICE("public"), slice_of(names[i]))->oid = (uint32_t)i + 1;
    }
    cdc_state_drop(&s, 1);
    cr_assert_eq(s.tables_count, 2);
    cr_expect_str_eq(s.tables[0].name, "a");
    cr_expect_str_eq(s.tables[1].name, "c");
    (void)cdc_state_add(&s, SLICE("public"), SLICE("d")); /* there is room for it */
    cdc_state_drop(&s, 2);
    cdc_state_drop(&s, 0);
    cr_expect_eq(s.tables[0].oid, 3);
    cdc_state_free(&s);
}

Test(cdc_state, bytes_that_are_no_memory_are_refused)
{
    static struct cdc_state s, back;
    static struct buf bytes;
    fill(&s);
    cdc_state_put(&s, &bytes);
    for (size_t n = 1; n < bytes.n; n++) {
        uint8_t *copy = mem_dup(bytes.p, n);
        cr_expect_eq(cdc_state_read(slice_bytes(copy, n), &back, &note), ERR_CORRUPT, "%zu", n);
        mem_free(copy);
    }
    for (size_t i = 0; i < bytes.n; i++) { /* read or refused, never beyond the end */
        uint8_t *copy = mem_dup(bytes.p, bytes.n);
        copy[i] = (uint8_t)~copy[i];
        enum err e = cdc_state_read(slice_bytes(copy, bytes.n), &back, &note);
        cr_expect(e == ERR_NONE || e == ERR_CORRUPT);
        mem_free(copy);
    }
}

Test(cdc_shapes, each_difference_is_another_version_and_equal_ones_are_one)
{
    const struct change_relation_column one[] = {{SLICE("id"), 23, -1, 1}, {SLICE("a"), 25, -1, 0}};
    struct change_relation_column other[2];
    struct change_relation r = {.oid = 5,
                                .schema = SLICE("public"),
                                .name = SLICE("t"),
                                .replica_identity = 'd',
                                .n_columns = 2,
                                .columns = one};
    struct shapes shapes = {0};
    struct shapes later = {0};
    const struct shape *first;
    const struct shape *found;
    cr_assert_eq(shapes_find(&shapes, &r, &first, &note), ERR_NONE);
    cr_assert_eq(shapes_find(&shapes, &r, &found, &note), ERR_NONE);
    cr_expect_eq(found, first);
    cr_assert_eq(shapes_find(&later, &r, &found, &note), ERR_NONE);
    cr_expect_eq(found->relation.version, first->relation.version, "also after a restart");
    for (int i = 0; i < 9; i++) {
        struct change_relation s = r;
        memcpy(other, one, sizeof(one));
        s.columns = other;
        switch (i) {
        case 0: s.oid = 6; break;
        case 1: s.schema = SLICE("publi"); break;
        case 2: s.name = SLICE("ct"); break;
        case 3: s.replica_identity = 'f'; break;
        case 4: s.n_columns = 1; break;
        case 5: other[1].name = SLICE("b"); break;
        case 6: other[1].type = 1043; break;
        case 7: other[1].typmod = 24; break;
        default: other[1].is_key = 1; break;
        }
        cr_assert_eq(shapes_find(&shapes, &s, &found, &note), ERR_NONE);
        cr_expect_eq(found->number, (uint32_t)i + 2, "difference %d", i);
        cr_expect_neq(found->relation.version, first->relation.version, "difference %d", i);
    }
    shapes_free(&shapes);
    shapes_free(&later);
}

Test(cdc_shapes, an_older_announcement_never_replaces_a_newer_one)
{
    struct change_relation r = {.oid = 5, .schema = SLICE("s"), .name = SLICE("old")};
    struct shapes shapes = {0};
    struct names all = {0};
    struct names own = {0};
    const struct shape *before;
    const struct shape *after;
    cr_assert_eq(shapes_find(&shapes, &r, &before, &note), ERR_NONE);
    r.name = SLICE("new");
    cr_assert_eq(shapes_find(&shapes, &r, &after, &note), ERR_NONE);
    names_set(&own, before, 1);
    names_set(&all, after, 2);
    names_pour(&all, &own);
    cr_expect_eq(names_find(&all, 5), after);
    names_set(&own, before, 3);
    names_pour(&all, &own);
    cr_expect_eq(names_find(&all, 5), before);
    cr_expect_null(names_find(&all, 6));
    names_free(&all);
    names_free(&own);
    shapes_free(&shapes);
}
