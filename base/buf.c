/* The growable byte buffer of buf.h. */

#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

void buf_free(struct buf *b)
{
    mem_free(b->p);
    *b = (struct buf){0};
}

void buf_reserve(struct buf *b, size_t more)
{
    check(more <= SIZE_MAX / 4 && b->n <= SIZE_MAX / 4);
    if (b->cap - b->n >= more) {
        return;
    }
    size_t cap = b->cap == 0 ? 64 : b->cap;
    while (cap - b->n < more) {
        cap *= 2;
    }
    b->p = mem_grow(b->p, cap);
    b->cap = cap;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n != 0) {
        buf_reserve(b, n);
        memcpy(b->p + b->n, p, n);
        b->n += n;
    }
}

void buf_add_slice(struct buf *b, struct slice s)
{
    buf_add(b, s.p, s.n);
}

void buf_u8(struct buf *b, uint8_t v)
{
    buf_reserve(b, 1);
    b->p[b->n++] = v;
}

void buf_be16(struct buf *b, uint16_t v)
{
    const uint8_t bytes[2] = {(uint8_t)(v >> 8), (uint8_t)v};
    buf_add(b, bytes, sizeof(bytes));
}

static void put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

void buf_be32(struct buf *b, uint32_t v)
{
    buf_reserve(b, 4);
    put_be32(b->p + b->n, v);
    b->n += 4;
}

void buf_be64(struct buf *b, uint64_t v)
{
    buf_be32(b, (uint32_t)(v >> 32));
    buf_be32(b, (uint32_t)v);
}

void buf_cstr(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text) + 1);
}

void buf_text(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    check(n >= 0);
    buf_reserve(b, (size_t)n + 1);
    (void)vsnprintf((char *)b->p + b->n, (size_t)n + 1, fmt, again);
    va_end(again);
    b->n += (size_t)n;
}

void buf_set_be32(struct buf *b, size_t at, uint32_t v)
{
    check(at + 4 <= b->n);
    put_be32(b->p + at, v);
}

void buf_drop(struct buf *b, size_t n)
{
    check(n <= b->n);
    b->n -= n;
    if (b->n != 0 && n != 0) {
        memmove(b->p, b->p + n, b->n);
    }
}
