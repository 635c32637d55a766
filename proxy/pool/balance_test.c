/*
 * Goal: as few workers as the load needs, and no swinging between them. Method: the rules by
 * themselves, then rounds in which every worker follows them.
 */

#include <criterion/criterion.h>

#include "proxy/pool/balance.h"

enum {
    ROOM = 600
};

Test(balance, new_clients_go_to_the_lowest_worker_with_room)
{
    const uint32_t loads[] = {100, 0, 0};
    const uint32_t full[] = {700, 650, 599};
    cr_assert_eq(balance_place(loads, 3, ROOM), 0);
    cr_assert_eq(balance_place(full, 3, ROOM), 2);
}

Test(balance, new_clients_go_to_the_least_loaded_worker_when_none_has_room)
{
    const uint32_t loads[] = {990, 800, 900};
    cr_assert_eq(balance_place(loads, 3, ROOM), 1);
}

Test(balance, a_load_that_fits_beside_a_lower_workers_goes_there)
{
    const uint32_t loads[] = {300, 299, 0};
    struct balance_move move = {0};
    cr_assert(balance_choose(loads, 3, 1, ROOM, &move));
    cr_assert_eq(move.to, 0);
    cr_assert_eq(move.share, 1000);
    cr_assert_not(balance_choose(loads, 3, 0, ROOM, &move), "the lowest worker keeps its own");
}

Test(balance, a_load_that_does_not_fit_stays)
{
    const uint32_t loads[] = {300, 300};
    struct balance_move move = {0};
    cr_assert_not(balance_choose(loads, 2, 1, ROOM, &move));
}

Test(balance, an_overloaded_worker_gives_half_of_the_difference)
{
    const uint32_t loads[] = {1000, 200};
    struct balance_move move = {0};
    cr_assert(balance_choose(loads, 2, 0, ROOM, &move));
    cr_assert_eq(move.to, 1);
    cr_assert_eq(move.share, 400);
}

Test(balance, overloaded_workers_keep_what_nobody_has_room_for)
{
    const uint32_t loads[] = {1000, 700};
    struct balance_move move = {0};
    cr_assert_not(balance_choose(loads, 2, 0, ROOM, &move));
}

/* Loads after every worker has followed the rules once, in turn. */
static int follow(uint32_t *loads, size_t count, uint32_t room)
{
    int moves = 0;
    for (size_t i = 0; i < count; i++) {
        struct balance_move move;
        if (loads[i] != 0 && balance_choose(loads, count, i, room, &move)) {
            uint32_t part = loads[i] * move.share / 1000;
            loads[i] -= part;
            loads[move.to] += part;
            moves += part != 0;
        }
    }
    return moves;
}

Test(balance, any_loads_come_to_rest)
{
    for (uint32_t a = 0; a <= 1000; a += 50) {
        for (uint32_t b = 0; b <= 1000; b += 50) {
            for (uint32_t c = 0; c <= 1000; c += 50) {
                uint32_t loads[] = {a, b, c};
                int rounds = 0;
                while (follow(loads, 3, ROOM) != 0 && rounds < 10) {
                    rounds++;
                }
                cr_assert_lt(rounds, 10, "%u %u %u goes on and on", a, b, c);
                cr_assert_eq(loads[0] + loads[1] + loads[2], a + b + c);
            }
        }
    }
}
