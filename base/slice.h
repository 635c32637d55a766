#ifndef BASE_SLICE_H
#define BASE_SLICE_H

/*
 * A view of bytes owned by somebody else. Lives no longer than the buffer it looks into.
 * An empty slice may have p == NULL.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *p;
    size_t n;
};

#define SLICE(literal)    ((struct slice){(const uint8_t *)(literal), sizeof(literal) - 1})
#define SLICE_FMT         "%.*s"
#define SLICE_ARG(slice_) (int)(slice_).n, (const char *)(slice_).p

static inline struct slice slice_of(const char *text)
{
    return (struct slice){(const uint8_t *)text, text == NULL ? 0 : strlen(text)};
}

static inline struct slice slice_bytes(const void *p, size_t n)
{
    return (struct slice){p, n};
}

static inline int slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline int slice_is(struct slice a, const char *text)
{
    return slice_eq(a, slice_of(text));
}

/* Drop the first `n` bytes; the caller knows that there are as many. */
static inline struct slice slice_from(struct slice a, size_t n)
{
    return (struct slice){a.p + n, a.n - n};
}

#endif
