#ifndef STORE_KV_TESTING_H
#define STORE_KV_TESTING_H

/* For tests of key-value stores: values that are one byte many times, and figures by their name. */

#include <string.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "store/kv.h"

static inline enum err test_kv_put(struct kv *kv, const char *key, int byte, size_t n,
                                   enum kv_how how, struct note *note)
{
    uint8_t *value = mem_alloc(n + 1);
    memset(value, byte, n);
    enum err e = kv_put(kv, slice_of(key), slice_bytes(value, n), how, note);
    mem_free(value);
    return e;
}

/* Bytes of the value, each of which is `byte`; -1: it is not there. */
static inline int64_t test_kv_get(struct kv *kv, struct kv_snapshot *at, const char *key, int byte)
{
    struct buf value = {0};
    struct note note = {0};
    int found = 0;
    cr_assert_eq(kv_get(kv, at, slice_of(key), &value, &found, &note), ERR_NONE, "%s", note.text);
    int64_t n = found ? (int64_t)value.n : -1;
    for (size_t i = 0; i < value.n; i++) {
        cr_assert_eq(value.p[i], byte, "%s: byte %zu", key, i);
    }
    buf_free(&value);
    return n;
}

struct test_kv_wanted {
    const char *name;
    double value;
};

static inline void test_kv_see_stat(void *arg, const char *name, double value)
{
    struct test_kv_wanted *w = arg;
    w->value = strcmp(name, w->name) == 0 ? value : w->value;
}

static inline double test_kv_stat(struct kv *kv, const char *name)
{
    struct test_kv_wanted w = {name, -1};
    kv_stats(kv, test_kv_see_stat, &w);
    cr_assert_geq(w.value, 0, "%s", name);
    return w.value;
}

#endif
