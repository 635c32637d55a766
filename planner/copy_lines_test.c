/*
 * Goal: a line of a shard's part of COPY data is told by the client's number. Method: lines go to
 * three shards at random, a table remembers which was which, and every line is asked for.
 */

#include <criterion/criterion.h>

#include "base/rng.h"
#include "planner/copy_lines.h"

Test(copy_lines, every_line_of_a_part_has_the_clients_number)
{
    enum {
        PARTS = 3,
        ROWS = 5000
    };
    static uint64_t was[PARTS][ROWS * 4 + 1];
    struct copy_lines parts[PARTS] = {{0}};
    struct rng rng = rng_seeded(17);
    uint64_t client = 1;
    for (int i = 0; i < ROWS; i++) {
        struct copy_lines *l = &parts[rng_below(&rng, PARTS)];
        uint64_t count = 1 + rng_below(&rng, 4);
        for (uint64_t k = 0; k < count; k++) {
            was[l - parts][l->lines + k + 1] = client + k;
        }
        copy_lines_add(l, client, count);
        client += count;
    }
    for (int part = 0; part < PARTS; part++) {
        cr_assert_gt(parts[part].lines, 0);
        for (uint64_t line = 1; line <= parts[part].lines; line++) {
            cr_assert_eq(copy_lines_find(&parts[part], line), was[part][line]);
        }
        cr_expect_eq(copy_lines_find(&parts[part], 0), 0);
        cr_expect_eq(copy_lines_find(&parts[part], parts[part].lines + 1), 0);
        copy_lines_free(&parts[part]);
    }
}

Test(copy_lines, lines_that_follow_each_other_take_no_room)
{
    struct copy_lines l = {0};
    for (uint64_t i = 1; i <= 100000; i++) {
        copy_lines_add(&l, i, 1);
    }
    cr_expect_eq(l.made, 1);
    cr_expect_eq(copy_lines_find(&l, 77777), 77777);
    copy_lines_free(&l);
}

Test(copy_lines, the_oldest_are_forgotten_and_not_mistaken)
{
    struct copy_lines l = {0};
    const uint64_t count = COPY_STRETCHES_MAX * 2 + 1000;
    for (uint64_t i = 1; i <= count; i++) {
        copy_lines_add(&l, i * 2, 1);
    }
    cr_expect_eq(l.cap, COPY_STRETCHES_MAX);
    cr_expect_eq(copy_lines_find(&l, 1), 0);
    cr_expect_eq(copy_lines_find(&l, count - COPY_STRETCHES_MAX), 0);
    for (uint64_t i = count - COPY_STRETCHES_MAX + 1; i <= count; i++) {
        cr_assert_eq(copy_lines_find(&l, i), i * 2);
    }
    copy_lines_free(&l);
}
