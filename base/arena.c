/* The bump allocator of arena.h: a list of chunks, the newest is being filled. */

#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum {
    CHUNK_MIN = 1024,
    CHUNK_MAX = 65536,
    ALIGN = 16
};

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    size_t cap;
    size_t _pad;
};

static_assert(sizeof(struct arena_chunk) % ALIGN == 0, "bytes behind the header stay aligned");

static struct arena_chunk *add_chunk(struct arena *a, size_t size)
{
    size_t cap = a->_chunks == NULL ? CHUNK_MIN : a->_chunks->cap * 2;
    cap = cap > CHUNK_MAX ? CHUNK_MAX : cap;
    cap = cap < size ? size : cap;
    struct arena_chunk *chunk = mem_alloc(sizeof(*chunk) + cap);
    *chunk = (struct arena_chunk){.next = a->_chunks, .cap = cap};
    a->_chunks = chunk;
    return chunk;
}

void *arena_alloc(struct arena *a, size_t size)
{
    check(size <= SIZE_MAX / 4);
    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    struct arena_chunk *chunk = a->_chunks;
    if (chunk == NULL || chunk->cap - chunk->used < size) {
        chunk = add_chunk(a, size);
    }
    void *p = (char *)(chunk + 1) + chunk->used;
    chunk->used += size;
    a->bytes += size;
    return p;
}

void *arena_zero(struct arena *a, size_t size)
{
    return memset(arena_alloc(a, size), 0, size);
}

char *arena_strndup(struct arena *a, const void *text, size_t n)
{
    char *copy = arena_alloc(a, n + 1);
    if (n != 0) {
        memcpy(copy, text, n);
    }
    copy[n] = '\0';
    return copy;
}

char *arena_strdup(struct arena *a, const char *text)
{
    return text == NULL ? NULL : arena_strndup(a, text, strlen(text));
}

struct slice arena_copy(struct arena *a, struct slice s)
{
    return (struct slice){(uint8_t *)arena_strndup(a, s.p, s.n), s.n};
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    check(n >= 0);
    char *text = arena_alloc(a, (size_t)n + 1);
    (void)vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

static void free_chunks(struct arena_chunk *chunk)
{
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        mem_free(chunk);
        chunk = next;
    }
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *keep = a->_chunks; /* the newest is the largest of the doubling ones */
    if (keep != NULL) {
        free_chunks(keep->next);
        keep->next = NULL;
        keep->used = 0;
        if (keep->cap > CHUNK_MAX) { /* one huge statement must not pin its memory */
            mem_free(keep);
            a->_chunks = NULL;
        }
    }
    a->bytes = 0;
}

void arena_free(struct arena *a)
{
    free_chunks(a->_chunks);
    *a = (struct arena){0};
}
