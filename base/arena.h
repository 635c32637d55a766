#ifndef BASE_ARENA_H
#define BASE_ARENA_H

/*
 * Memory that is given back all at once. Owner: whoever holds the struct; all-zero is a valid
 * empty arena. Chunks double from 1 KiB to 64 KiB; reset keeps the largest chunk, so a repeated
 * statement allocates nothing.
 */

#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *_chunks; /* newest first */
    size_t bytes;                /* handed out since the last reset */
};

void *arena_alloc(struct arena *a, size_t size); /* 16-byte aligned, not zeroed, never NULL */
void *arena_zero(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *text);
char *arena_strndup(struct arena *a, const void *text, size_t n); /* adds a 0 byte */
struct slice arena_copy(struct arena *a, struct slice s);         /* copy ends with a 0 byte too */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
void arena_reset(struct arena *a); /* everything handed out is gone; memory is kept for reuse */
void arena_free(struct arena *a);  /* as reset, and the memory goes back to malloc */

#endif
