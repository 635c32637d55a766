#ifndef STORE_BTREE_FREE_LIST_H
#define STORE_BTREE_FREE_LIST_H

/*
 * Pages that nobody uses, and those that somebody may still read. The writer's.
 *
 *     given up --+-- was on disk: waiting  until a newer change is durable -+
 *                |   (the durable one needs it)                             |
 *                +-- never was: ------------------------------------------> leaving  until no
 * reader |        comes to it the list's pages on disk <-----> ready
 *
 * On disk the list is a chain of pages (page.h). `ready` keeps the next few thousand numbers; what
 * is beyond stays in the chain, from `rest` on, and is read when it is needed. At each durable
 * change the numbers in memory are written to new pages in front of the rest; all of the three
 * kinds, for after a restart there are no readers and nothing older than what is durable. So a
 * change writes as many pages of the list as it has freed thousands of pages.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "store/btree/pager.h"
#include "store/btree/readers.h"

struct given_up {
    uint32_t page;
    uint64_t made; /* the change that made it, and the one that gave it up */
    uint64_t gone;
};

struct given_up_list {
    struct given_up *rows;
    size_t n, cap;
};

struct free_list {
    struct pager *pager;
    struct readers *readers;
    uint32_t *ready;
    size_t ready_n, ready_cap;
    struct given_up_list waiting, leaving;
    size_t leaving_next; /* look again when there are so many */
    uint64_t looked_at;  /* the oldest reader when it was last looked at */
    uint32_t rest;       /* first page of the chain that is not in memory; 0: none */
    uint32_t rest_pages, rest_count;
    uint32_t *heads; /* pages in front of it, which say what is in memory */
    size_t heads_n, heads_cap;
};

/* As the meta page has it. */
void free_list_open(struct free_list *f, struct pager *pager, struct readers *readers,
                    const struct meta *meta);
void free_list_close(struct free_list *f);

/* *out: the number of a page to be written by `change`. Errors: ERR_IO, ERR_CORRUPT (a page of the
 * chain cannot be read), ERR_TOO_BIG (the file has all the pages it can have). */
enum err free_list_take(struct free_list *f, uint64_t change, uint32_t *out,
                        struct note *note) MUST_CHECK;
/* `is_durable`: the durable change needs it. */
void free_list_give_up(struct free_list *f, const struct given_up *page, int is_durable);
/* Nobody has seen it. */
void free_list_back(struct free_list *f, uint32_t page);
/* Dirty pages with all numbers that are free when `change` is durable, and the meta page's view. */
enum err free_list_write(struct free_list *f, uint64_t change, struct meta *meta,
                         struct note *note) MUST_CHECK;
/* It is durable. */
void free_list_written(struct free_list *f);
size_t free_list_count(const struct free_list *f); /* free pages that this knows of */

#endif
