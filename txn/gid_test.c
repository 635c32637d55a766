/* Goal: names are read back exactly, and nobody else's name is taken for ours. */

#include <criterion/criterion.h>

#include "base/rng.h"
#include "txn/gid.h"

Test(gid, looks_as_the_manual_says_and_is_read_back)
{
    char text[GID_BYTES_MAX];
    struct gid gid = {.instance = 0xC0FFEE12345678, .txn = {0x2F, 0x1A94}, .shard = 3};
    struct gid back;
    gid_make(text, gid);
    cr_assert_str_eq(text, "pgbraid_00c0ffee12345678_2f_1a94_3");
    cr_assert(gid_parse(slice_of(text), &back));
    cr_assert_eq(back.instance, gid.instance);
    cr_assert(txn_id_eq(back.txn, gid.txn));
    cr_assert_eq(back.shard, 3);
}

Test(gid, a_place_stands_behind)
{
    char text[GID_BYTES_MAX];
    struct gid gid = {.instance = 1, .txn = {2, 3}, .shard = 4, .place = 0x5eed42};
    struct gid back;
    gid_make(text, gid);
    cr_assert_str_eq(text, "pgbraid_0000000000000001_2_3_4_005eed42");
    cr_assert(gid_parse(slice_of(text), &back));
    cr_assert_eq(back.place, 0x5eed42);
    cr_assert_not(gid_parse(SLICE("pgbraid_0000000000000001_2_3_4_5eed42"), &back));
    cr_assert_not(gid_parse(SLICE("pgbraid_0000000000000001_2_3_4_00000000"), &back));
    cr_assert_not(gid_parse(SLICE("pgbraid_0000000000000001_2_3_4_100000000"), &back));
    cr_assert_not(gid_parse(SLICE("pgbraid_0000000000000001_2_3_4_005eed42_"), &back));
}

Test(gid, every_value_survives_and_fits)
{
    struct rng rng = rng_seeded(1);
    for (int i = 0; i < 100000; i++) {
        struct gid gid = {.instance = rng_next(&rng),
                          .txn = {1 + (rng_next(&rng) >> rng_below(&rng, 64) >> 1),
                                  1 + (rng_next(&rng) >> rng_below(&rng, 64) >> 1)},
                          .shard = (unsigned)rng_below(&rng, 64),
                          .place = (uint32_t)rng_next(&rng) * (i % 2)};
        struct gid back;
        char text[GID_BYTES_MAX];
        gid_make(text, gid);
        cr_assert(gid_parse(slice_of(text), &back), "%s", text);
        cr_assert(back.instance == gid.instance && txn_id_eq(back.txn, gid.txn) &&
                  back.shard == gid.shard && back.place == gid.place);
    }
    struct gid most = {
        .instance = UINT64_MAX, .txn = {UINT64_MAX, UINT64_MAX}, .shard = 63, .place = UINT32_MAX};
    char text[GID_BYTES_MAX];
    gid_make(text, most);
    cr_assert_eq(strlen(text), 70);
    cr_assert(gid_parse(slice_of(text), &most));
}

Test(gid, other_spellings_and_other_names_are_not_ours)
{
    static const char *const bad[] = {
        "",
        "pgbraid_",
        "pgbraid_00c0ffee12345678_2f_1a94_",
        "pgbraid_00c0ffee12345678_2f_1a94_64",
        "pgbraid_00c0ffee12345678_2f_1a94_03",
        "pgbraid_00c0ffee12345678_2f_1a94_3 ",
        "pgbraid_00c0ffee12345678_2f_1a94_3_4",
        "pgbraid_00c0ffee12345678_02f_1a94_3",
        "pgbraid_00c0ffee12345678_2F_1a94_3",
        "pgbraid_00C0FFEE12345678_2f_1a94_3",
        "pgbraid_c0ffee12345678_2f_1a94_3",
        "pgbraid_00c0ffee12345678_0_1a94_3",
        "pgbraid_00c0ffee12345678_2f_0_3",
        "pgbraid_00c0ffee12345678_2f__3",
        "pgbraid_00c0ffee12345678_2f_11111111111111111_3",
        "pgbraid_00c0ffee12345678_-1_1a94_3",
        "pgbraid_00c0ffee12345678_2f_1a94_'; DROP TABLE t; --",
        "citus_0_1234_5_6",
    };
    struct gid out = {.shard = 77};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_not(gid_parse(slice_of(bad[i]), &out), "%s", bad[i]);
    }
    cr_assert_not(gid_parse(slice_bytes("pgbraid_00c0ffee12345678_2f_1a94_3\0", 35), &out));
    cr_assert_eq(out.shard, 77);
}
