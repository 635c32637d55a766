#ifndef BASE_MEM_H
#define BASE_MEM_H

/*
 * malloc that never returns NULL. Everything that grows has a limit of its own, so running out of
 * memory means the machine is out of it; stopping at once loses nothing acknowledged.
 */

#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size);              /* not zeroed */
void *mem_zero(size_t size);               /* zeroed */
void *mem_grow(void *p, size_t size);      /* realloc */
char *mem_strdup(const char *text);        /* NULL stays NULL */
void *mem_dup(const void *p, size_t size); /* a copy of `size` bytes */
void mem_free(void *p);                    /* NULL is fine */
/* Pieces of memory that this thread has asked for, ever: tests expect that hot paths ask for none.
 */
uint64_t mem_asked(void);

#endif
