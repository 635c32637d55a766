#ifndef STORE_LSM_VERSION_TESTING_H
#define STORE_LSM_VERSION_TESTING_H

/* For tests of what works on versions: one made of rows; no table of it needs to be anywhere. */

#include "store/lsm/version.h"

enum {
    TEST_TABLES_MAX = 16,
    TEST_ENTRIES = 10 /* of each table */
};

struct test_table {
    int level;
    uint64_t number, bytes;
    const char *smallest, *largest;
    uint64_t deletes;
};

/* `env` may be NULL where no table is looked into. */
static inline struct version *test_version(struct sst_env *env, const struct test_table *rows,
                                           size_t n)
{
    struct table *tables[TEST_TABLES_MAX];
    int levels[TEST_TABLES_MAX];
    for (size_t i = 0; i < n; i++) {
        struct sst_meta meta = {.number = rows[i].number,
                                .bytes = rows[i].bytes,
                                .entries = TEST_ENTRIES,
                                .deletes = rows[i].deletes,
                                .crc = (uint32_t)(rows[i].number * 7),
                                .smallest = slice_of(rows[i].smallest),
                                .largest = slice_of(rows[i].largest)};
        tables[i] = table_new(env, &meta);
        levels[i] = rows[i].level;
    }
    struct version *empty = version_new();
    struct version_edit edit = {.added = tables, .added_levels = levels, .added_count = n};
    struct version *v = version_apply(empty, &edit);
    version_unref(empty);
    for (size_t i = 0; i < n; i++) {
        table_unref(tables[i]);
    }
    return v;
}

#endif
