#ifndef WIRE_SCAN_H
#define WIRE_SCAN_H

/*
 * Reading a message body from front to back. Private to wire/. Each scan_* takes one field off the
 * front of the slice and returns 1, or returns 0 and leaves the slice alone when the bytes do not
 * hold such a field.
 */

#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

static inline int scan_u8(struct slice *in, uint8_t *out)
{
    if (in->n < 1) {
        return 0;
    }
    *out = in->p[0];
    *in = slice_from(*in, 1);
    return 1;
}

static inline int scan_be16(struct slice *in, uint16_t *out)
{
    if (in->n < 2) {
        return 0;
    }
    *out = be16_at(in->p);
    *in = slice_from(*in, 2);
    return 1;
}

static inline int scan_be32(struct slice *in, uint32_t *out)
{
    if (in->n < 4) {
        return 0;
    }
    *out = be32_at(in->p);
    *in = slice_from(*in, 4);
    return 1;
}

static inline int scan_bytes(struct slice *in, size_t n, struct slice *out)
{
    if (in->n < n) {
        return 0;
    }
    *out = (struct slice){in->p, n};
    *in = slice_from(*in, n);
    return 1;
}

/* A text that ends with a 0 byte, which is not part of `out`. */
static inline int scan_cstr(struct slice *in, struct slice *out)
{
    const uint8_t *end = in->n == 0 ? NULL : memchr(in->p, 0, in->n);
    if (end == NULL) {
        return 0;
    }
    size_t n = (size_t)(end - in->p);
    *out = (struct slice){in->p, n};
    *in = slice_from(*in, n + 1);
    return 1;
}

/* An int32 length and as many bytes; -1 is NULL and gives p == NULL. */
static inline int scan_value(struct slice *in, struct slice *out)
{
    if (in->n < 4) {
        return 0;
    }
    uint32_t n = be32_at(in->p);
    if (n == UINT32_MAX) {
        *out = (struct slice){NULL, 0};
        *in = slice_from(*in, 4);
        return 1;
    }
    if (n > INT32_MAX || in->n - 4 < n) {
        return 0;
    }
    *out = (struct slice){in->p + 4, n};
    *in = slice_from(*in, 4 + (size_t)n);
    return 1;
}

#endif
