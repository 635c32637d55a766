#ifndef STORE_DIR_TESTING_H
#define STORE_DIR_TESTING_H

/* For tests on the real disk: a folder of their own in /tmp, and its end with all that is in it. */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "store/file.h"

enum {
    TEST_DIR_BYTES = 64,
    TEST_PATH_BYTES = 512
};

static inline void test_dir_make(char dir[TEST_DIR_BYTES], const char *name)
{
    (void)snprintf(dir, TEST_DIR_BYTES, "/tmp/pgbraid_%s_XXXXXX", name);
    cr_assert_not_null(mkdtemp(dir));
}

/* A fs_name_fn: the file or folder of that name in the folder `arg`. */
static inline void test_remove_in(void *arg, const char *name)
{
    char path[TEST_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name);
    if (unlink(path) != 0) {
        (void)fs_disk()->list(fs_disk(), path, test_remove_in, path, NULL);
        (void)rmdir(path);
    }
}

static inline void test_dir_remove(char dir[TEST_DIR_BYTES])
{
    (void)fs_disk()->list(fs_disk(), dir, test_remove_in, dir, NULL);
    cr_assert_eq(rmdir(dir), 0);
}

#endif
