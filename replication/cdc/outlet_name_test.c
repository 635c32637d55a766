/* Goal: what outlet_name.h promises. Method: odd names by hand, and random ones, which must be
 * legal and never the same. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "replication/cdc/outlet_name.h"

typedef void name_fn(struct buf *out, const char *prefix, const char *topic);

static char *name_of(name_fn *fn, const char *prefix, const char *topic)
{
    struct buf out = {0};
    fn(&out, prefix, topic);
    cr_assert_eq(out.p[out.n - 1], 0);
    return (char *)out.p;
}

static int index_takes(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= 255 && strchr("-_+.", name[0]) == NULL &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

static int kafka_takes(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= 249 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static void expect_name(name_fn *fn, const char *prefix, const char *topic, const char *want)
{
    char *name = name_of(fn, prefix, topic);
    cr_expect_str_eq(name, want);
    mem_free(name);
}

Test(cdc_outlet_name, what_can_stay_stays)
{
    expect_name(cdc_index_name, NULL, "shop.public.users_2-x", "shop.public.users_2-x");
    expect_name(cdc_index_name, "cdc-", "-shop.public.users", "cdc--shop.public.users");
    expect_name(cdc_kafka_name, NULL, "Shop.public._users", "Shop.public._users");
    expect_name(cdc_kafka_name, "cdc.", "shop.public.users", "cdc.shop.public.users");
}

Test(cdc_outlet_name, what_is_odd_is_replaced_and_has_a_checksum)
{
    expect_name(cdc_index_name, "", "shop.public.Users", "shop.public.users-62ccefff");
    expect_name(cdc_index_name, "", "+shop.public.users", "xshop.public.users-e89310d1");
    expect_name(cdc_kafka_name, NULL, "shop.public.a b", "shop.public.a_b-a78bcb01");
}

static const char *const odd[] = {"-shop.public.users",
                                  "_shop.public.users",
                                  "+shop.public.users",
                                  ".shop.public.users",
                                  "xshop.public.users",
                                  "..x.y",
                                  "...",
                                  "shop.public.Users",
                                  "shop.public.users",
                                  "shop.public.USERS",
                                  "shop.public.users-62ccefff", /* what Users becomes */
                                  "shop.public.a b",
                                  "shop.public.a/b",
                                  "shop.public.a\\b",
                                  "shop.public.a*b?\"<>| ,#:",
                                  "shop.public.\xc3\x9c"
                                  "bung",
                                  "shop.public.\xc3\xbc"
                                  "bung",
                                  "shop.public.a_b",
                                  "shop.public.a_b-a78bcb01"}; /* what "a b" becomes in Kafka */

Test(cdc_outlet_name, odd_names_are_taken_and_differ)
{
    static const char *const prefixes[] = {NULL, "", "cdc-"};
    for (size_t p = 0; p < 3; p++) {
        char *index[sizeof(odd) / sizeof(odd[0])];
        char *kafka[sizeof(odd) / sizeof(odd[0])];
        for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
            index[i] = name_of(cdc_index_name, prefixes[p], odd[i]);
            kafka[i] = name_of(cdc_kafka_name, prefixes[p], odd[i]);
            cr_expect(index_takes(index[i]), "%s: %s", odd[i], index[i]);
            cr_expect(kafka_takes(kafka[i]), "%s: %s", odd[i], kafka[i]);
            for (size_t j = 0; j < i; j++) {
                cr_expect_str_neq(index[i], index[j], "%s, %s", odd[i], odd[j]);
                cr_expect_str_neq(kafka[i], kafka[j], "%s, %s", odd[i], odd[j]);
            }
        }
        for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
            mem_free(index[i]);
            mem_free(kafka[i]);
        }
    }
}

/* 63 bytes are PostgreSQL's limit of a name, but it can be built with more. */
Test(cdc_outlet_name, long_names_are_cut_and_differ)
{
    char prefix[101];
    char topic[2][400];
    memset(prefix, 'p', sizeof(prefix));
    for (size_t n = 1; n < sizeof(topic[0]); n++) {
        for (size_t i = 0; i < 2; i++) {
            memset(topic[i], 'a', n);
            topic[i][n] = 0;
        }
        topic[1][n - 1] = 'b';
        for (size_t p = 0; p <= 100; p += 20) {
            prefix[p] = 0;
            char *names[4] = {name_of(cdc_index_name, p > 46 ? "" : prefix, topic[0]),
                              name_of(cdc_index_name, p > 46 ? "" : prefix, topic[1]),
                              name_of(cdc_kafka_name, prefix, topic[0]),
                              name_of(cdc_kafka_name, prefix, topic[1])};
            cr_expect(index_takes(names[0]) && index_takes(names[1]), "%s", names[0]);
            cr_expect(kafka_takes(names[2]) && kafka_takes(names[3]), "%s", names[2]);
            cr_expect_str_neq(names[0], names[1]);
            cr_expect_str_neq(names[2], names[3]);
            for (size_t i = 0; i < 4; i++) {
                mem_free(names[i]);
            }
            prefix[p] = 'p';
        }
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void expect_all_differ(char **names, size_t count)
{
    qsort(names, count, sizeof(names[0]), by_text);
    for (size_t i = 1; i < count; i++) {
        cr_expect_str_neq(names[i - 1], names[i]);
    }
    for (size_t i = 0; i < count; i++) {
        mem_free(names[i]);
    }
}

/* Every name of four characters of these, as a table: half of them look like others. */
Test(cdc_outlet_name, many_that_look_alike_differ)
{
    static const char letters[] = "aAbB-_.+ x/";
    enum {
        LETTERS = sizeof(letters) - 1,
        COUNT = LETTERS * LETTERS * LETTERS * LETTERS
    };
    char **index = mem_zero(COUNT * sizeof(index[0]));
    char **kafka = mem_zero(COUNT * sizeof(kafka[0]));
    for (size_t i = 0; i < COUNT; i++) {
        char topic[32];
        (void)snprintf(topic, sizeof(topic), "d.s.%c%c%c%c", letters[i % LETTERS],
                       letters[i / LETTERS % LETTERS], letters[i / LETTERS / LETTERS % LETTERS],
                       letters[i / LETTERS / LETTERS / LETTERS]);
        index[i] = name_of(cdc_index_name, NULL, topic);
        kafka[i] = name_of(cdc_kafka_name, NULL, topic);
        cr_assert(index_takes(index[i]) && kafka_takes(kafka[i]), "%s", topic);
    }
    expect_all_differ(index, COUNT);
    expect_all_differ(kafka, COUNT);
    mem_free(index);
    mem_free(kafka);
}

Test(cdc_outlet_name, a_prefix_that_no_name_can_begin_with_is_refused)
{
    static const char *const right[] = {"", "cdc-", "shop.1_", "0",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    static const char *const wrong[] = {"a b", "a/", "a*", "\xc3\xbc", "a,b", "a#", "a:"};
    static const char *const no_index[] = {
        "-a", "_a", "+a", ".a", "Shop", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct note note = {0};
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        cr_expect_eq(cdc_index_check_prefix(right[i], &note), ERR_NONE, "%s", right[i]);
        cr_expect_eq(cdc_kafka_check_prefix(right[i], &note), ERR_NONE, "%s", right[i]);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_expect_eq(cdc_index_check_prefix(wrong[i], &note), ERR_BAD_SETTING, "%s", wrong[i]);
        cr_expect_eq(cdc_kafka_check_prefix(wrong[i], &note), ERR_BAD_SETTING, "%s", wrong[i]);
    }
    for (size_t i = 0; i < sizeof(no_index) / sizeof(no_index[0]); i++) {
        cr_expect_eq(cdc_index_check_prefix(no_index[i], &note), ERR_BAD_SETTING, "%s",
                     no_index[i]);
    }
    cr_expect_eq(cdc_kafka_check_prefix("_Shop-", &note), ERR_NONE);
}
