#ifndef BASE_BUF_H
#define BASE_BUF_H

/*
 * A growable byte buffer. Owner: whoever holds the struct; all-zero is a valid empty buffer.
 * Numbers are written in network order, as the PostgreSQL protocol wants them. Growth doubles;
 * limits are the caller's business (compare `n` before adding).
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct buf {
    uint8_t *p;
    size_t n;
    size_t cap;
};

void buf_free(struct buf *b);
void buf_reserve(struct buf *b, size_t more); /* room for `more` bytes behind n */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_slice(struct buf *b, struct slice s);
void buf_u8(struct buf *b, uint8_t v);
void buf_be16(struct buf *b, uint16_t v);
void buf_be32(struct buf *b, uint32_t v);
void buf_be64(struct buf *b, uint64_t v);
void buf_cstr(struct buf *b, const char *text); /* with its 0 byte */
void buf_text(struct buf *b, const char *text); /* without it */
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_set_be32(struct buf *b, size_t at, uint32_t v); /* overwrite 4 bytes that exist */
void buf_drop(struct buf *b, size_t n);                  /* remove the first n bytes */

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->p, b->n};
}

/* Reading numbers in network order from anywhere. */
static inline uint16_t be16_at(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t be32_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t be64_at(const uint8_t *p)
{
    return (uint64_t)be32_at(p) << 32 | be32_at(p + 4);
}

#endif
