/* malloc with one policy for exhaustion: say so and stop. */

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static _Thread_local uint64_t asked;

uint64_t mem_asked(void)
{
    return asked;
}

static void *must(void *p)
{
    check(p != NULL);
    asked++;
    return p;
}

void *mem_alloc(size_t size)
{
    return must(malloc(size == 0 ? 1 : size));
}

void *mem_zero(size_t size)
{
    return must(calloc(1, size == 0 ? 1 : size));
}

void *mem_grow(void *p, size_t size)
{
    return must(realloc(p, size == 0 ? 1 : size));
}

char *mem_strdup(const char *text)
{
    return text == NULL ? NULL : mem_dup(text, strlen(text) + 1);
}

void *mem_dup(const void *p, size_t size)
{
    void *copy = mem_alloc(size);
    if (size != 0) {
        memcpy(copy, p, size);
    }
    return copy;
}

void mem_free(void *p)
{
    free(p);
}
