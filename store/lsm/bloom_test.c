/*
 * Goal: no key is ever refused that was put in, and others pass as rarely as theory says.
 * Method: filters over keys of several shapes, asked for keys that are not there.
 */

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "store/lsm/bloom.h"

static size_t make_key(char *out, size_t bytes, int shape, unsigned i)
{
    int n = 0;
    switch (shape) {
    case 0: n = snprintf(out, bytes, "%016u", i); break;
    case 1: n = snprintf(out, bytes, "users/%u/name", i); break;
    case 2: memcpy(out, &i, sizeof(i)); return sizeof(i);
    default: n = snprintf(out, bytes, "%u", i); break;
    }
    return (size_t)n;
}

static double rate_of(int shape, unsigned keys)
{
    uint64_t *hashes = malloc(keys * sizeof(*hashes));
    struct buf filter = {0};
    char key[40];
    for (unsigned i = 0; i < keys; i++) {
        hashes[i] = bloom_hash(slice_bytes(key, make_key(key, sizeof(key), shape, i)));
    }
    bloom_make(&filter, hashes, keys);
    for (unsigned i = 0; i < keys; i++) {
        cr_assert(bloom_may_hold(buf_slice(&filter), hashes[i]), "shape %d key %u", shape, i);
    }
    unsigned passed = 0;
    enum {
        ASKED = 200000
    };
    for (unsigned i = keys; i < keys + ASKED; i++) {
        size_t n = make_key(key, sizeof(key), shape, i);
        passed += (unsigned)bloom_may_hold(buf_slice(&filter), bloom_hash(slice_bytes(key, n)));
    }
    buf_free(&filter);
    free(hashes);
    return (double)passed / ASKED;
}

Test(bloom, absent_keys_pass_about_as_rarely_as_theory_says)
{
    double theory = 0.008194; /* (1 - e^(-7/10))^7 */
    static const unsigned sizes[] = {100, 5000, 20000};
    for (int shape = 0; shape < 4; shape++) {
        for (size_t i = 0; i < 3; i++) {
            double rate = rate_of(shape, sizes[i]);
            double most =
                sizes[i] < 1000 ? 2.5 : 1.25; /* few bits: more chance in the filter itself */
            cr_assert(rate < theory * most && rate > theory / most, "shape %d, %u keys: %f, not %f",
                      shape, sizes[i], rate, theory);
        }
    }
}

Test(bloom, the_hash_is_part_of_the_format)
{
    cr_assert_eq(bloom_hash(SLICE("")), 0);
    cr_assert_eq(bloom_hash(SLICE("a")), 0x346486D1C4083FA6ULL);
    cr_assert_eq(bloom_hash(SLICE("0123456789abcdef!")), 0x7BDE7B7AEEA803B1ULL);
}

Test(bloom, what_is_no_filter_refuses_nothing)
{
    cr_assert_eq(bloom_may_hold(SLICE(""), 1), 1);
    cr_assert_eq(bloom_may_hold(SLICE("\x07"), 1), 1);
    cr_assert_eq(bloom_may_hold(SLICE("\0\0\0\0"), 1), 1);
    cr_assert_eq(bloom_may_hold(SLICE("\xff\0\0\0"), 1), 1);
    struct buf empty = {0};
    bloom_make(&empty, NULL, 0);
    cr_assert_eq(bloom_may_hold(buf_slice(&empty), 12345), 0);
    buf_free(&empty);
}
