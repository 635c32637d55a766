/* Free pages; the plan stands in free_list.h. */

#include "store/btree/free_list.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum {
    READY_MAX = 4 * PAGE_LIST_MAX, /* more than that goes to the rest of the chain */
    LEAVING_LOOK_MIN = 64,
    LEAVING_MAX = 256 /* their frames are memory: look before numbers run out */
};

static void push(uint32_t **rows, size_t *n, size_t *cap, uint32_t page)
{
    if (*n == *cap) {
        *cap = *cap == 0 ? 256 : *cap * 2;
        *rows = mem_grow(*rows, *cap * sizeof(**rows));
    }
    (*rows)[(*n)++] = page;
}

static void add_ready(struct free_list *f, uint32_t page)
{
    push(&f->ready, &f->ready_n, &f->ready_cap, page);
}

static void add(struct given_up_list *list, const struct given_up *row)
{
    if (list->n == list->cap) {
        list->cap = list->cap == 0 ? 256 : list->cap * 2;
        list->rows = mem_grow(list->rows, list->cap * sizeof(*list->rows));
    }
    list->rows[list->n++] = *row;
}

void free_list_open(struct free_list *f, struct pager *pager, struct readers *readers,
                    const struct meta *meta)
{
    *f = (struct free_list){
        .pager = pager,
        .readers = readers,
        .rest = meta->list,
        .rest_pages = meta->listing,
        .rest_count = meta->free,
        .leaving_next = 1,
    };
}

void free_list_close(struct free_list *f)
{
    mem_free(f->ready);
    mem_free(f->waiting.rows);
    mem_free(f->leaving.rows);
    mem_free(f->heads);
}

size_t free_list_count(const struct free_list *f)
{
    return f->ready_n + f->waiting.n + f->leaving.n + f->rest_count;
}

/* ---- giving up ------------------------------------------------------------------------------- */

void free_list_give_up(struct free_list *f, const struct given_up *page, int is_durable)
{
    add(is_durable ? &f->waiting : &f->leaving, page);
}

void free_list_back(struct free_list *f, uint32_t page)
{
    pager_forget(f->pager, page);
    add_ready(f, page);
}

/* What no reader comes to becomes ready. With readers that stay for long it is not worth to look
 * each time: only when the oldest has gone, or when as many again have come. */
static void look(struct free_list *f)
{
    struct readers_seen seen;
    readers_look(f->readers, &seen);
    uint64_t oldest = seen.count == 0 ? UINT64_MAX : seen.changes[0];
    if (oldest == f->looked_at && f->leaving.n < f->leaving_next) {
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < f->leaving.n; i++) {
        struct given_up *row = &f->leaving.rows[i];
        if (readers_reach(&seen, row->made, row->gone)) {
            f->leaving.rows[kept++] = *row;
        } else {
            free_list_back(f, row->page);
        }
    }
    f->leaving.n = kept;
    f->leaving_next = kept == 0 ? 1 : 2 * kept + LEAVING_LOOK_MIN;
    f->looked_at = kept == 0 ? 0 : oldest;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* The next page of the rest comes into memory. */
static enum err read_rest(struct free_list *f, uint64_t change, struct note *note)
{
    struct page_ref ref = {0};
    uint32_t number = f->rest;
    enum err e = pager_get(f->pager, number, &ref, note);
    if (e) {
        return e;
    }
    unsigned count = page_count(ref.p);
    uint32_t pages = atomic_load(&f->pager->pages);
    if (page_kind(ref.p) != PAGE_LIST || f->rest_pages == 0 || count > f->rest_count) {
        e = note_set(note, ERR_CORRUPT, "the list of free pages does not lead here");
    }
    for (unsigned i = 0; i < count && e == ERR_NONE; i++) {
        uint32_t page = be32_at(ref.p + PAGE_OVERFLOW_AT + (size_t)4 * i);
        if (page < META_PAGES || page >= pages) {
            e = note_set(note, ERR_CORRUPT, "page %u is listed as free", page);
        } else {
            add_ready(f, page);
        }
    }
    uint32_t next = page_next(ref.p);
    pager_put(&ref);
    if (e) {
        return pager_error(f->pager, number, e, note);
    }
    f->rest = next;
    f->rest_pages--;
    f->rest_count -= count;
    free_list_give_up(f, &(struct given_up){number, change, change}, 1);
    return ERR_NONE;
}

static enum err take_new(struct free_list *f, uint32_t *out, struct note *note)
{
    uint32_t pages = atomic_load(&f->pager->pages);
    if (pages >= META_PAGES_MAX) {
        return note_set(note, ERR_TOO_BIG, "%s has all pages that a tree can have", f->pager->path);
    }
    atomic_store(&f->pager->pages, pages + 1);
    *out = pages;
    return ERR_NONE;
}

enum err free_list_take(struct free_list *f, uint64_t change, uint32_t *out, struct note *note)
{
    int is_much = f->leaving.n >= LEAVING_MAX && f->leaving.n >= f->leaving_next;
    if (f->leaving.n > 0 && (f->ready_n == 0 || is_much)) {
        look(f);
    }
    while (f->ready_n == 0 && f->rest != 0) {
        enum err e = read_rest(f, change, note);
        if (e) {
            return e;
        }
    }
    if (f->ready_n == 0) {
        return take_new(f, out, note);
    }
    *out = f->ready[--f->ready_n];
    return ERR_NONE;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Without reading the rest: that would bring in more to write. */
static enum err take_for_list(struct free_list *f, uint32_t *out, struct note *note)
{
    if (f->ready_n == 0) {
        return take_new(f, out, note);
    }
    *out = f->ready[--f->ready_n];
    return ERR_NONE;
}

static uint8_t *make_page(struct free_list *f, uint32_t number, uint64_t change, uint32_t next)
{
    uint8_t *p = pager_new(f->pager, number)->bytes;
    page_init(p, number, change, PAGE_LIST, 0);
    page_put32(p + PAGE_HEADER, next);
    return p;
}

static void list_page(uint8_t *p, uint32_t page)
{
    unsigned count = page_count(p);
    check(count < PAGE_LIST_MAX);
    page_put32(p + PAGE_OVERFLOW_AT + (size_t)4 * count, page);
    page_put16(p + 18, count + 1);
}

/* What is ready beyond READY_MAX leaves the memory for good. */
static enum err spill(struct free_list *f, uint64_t change, struct note *note)
{
    while (f->ready_n > READY_MAX) {
        uint32_t number = 0;
        enum err e = take_for_list(f, &number, note);
        if (e) {
            return e;
        }
        uint8_t *p = make_page(f, number, change, f->rest);
        for (unsigned i = 0; i < PAGE_LIST_MAX; i++) {
            list_page(p, f->ready[--f->ready_n]);
        }
        f->rest = number;
        f->rest_pages++;
        f->rest_count += PAGE_LIST_MAX;
    }
    return ERR_NONE;
}

static size_t count_in_memory(const struct free_list *f)
{
    return f->ready_n + f->waiting.n + f->leaving.n;
}

/* As many pages as the numbers in memory need; taking one may be one number less. */
static enum err take_heads(struct free_list *f, struct note *note)
{
    while (f->heads_n * PAGE_LIST_MAX < count_in_memory(f)) {
        uint32_t number = 0;
        enum err e = take_for_list(f, &number, note);
        if (e) {
            return e;
        }
        push(&f->heads, &f->heads_n, &f->heads_cap, number);
    }
    return ERR_NONE;
}

static uint32_t number_at(const struct free_list *f, size_t i)
{
    if (i < f->ready_n) {
        return f->ready[i];
    }
    i -= f->ready_n;
    return i < f->waiting.n ? f->waiting.rows[i].page : f->leaving.rows[i - f->waiting.n].page;
}

static uint32_t write_heads(struct free_list *f, uint64_t change)
{
    size_t n = count_in_memory(f);
    size_t at = 0;
    uint32_t next = f->rest;
    for (size_t i = 0; i < f->heads_n; i++) {
        uint8_t *p = make_page(f, f->heads[i], change, next);
        for (; at < n && page_count(p) < PAGE_LIST_MAX; at++) {
            list_page(p, number_at(f, at));
        }
        next = f->heads[i];
    }
    check(at == n);
    return next;
}

enum err free_list_write(struct free_list *f, uint64_t change, struct meta *meta, struct note *note)
{
    for (size_t i = 0; i < f->heads_n; i++) {
        free_list_give_up(f, &(struct given_up){f->heads[i], change, change}, 1);
    }
    f->heads_n = 0;
    enum err e = spill(f, change, note);
    if (e == ERR_NONE) {
        e = take_heads(f, note);
    }
    if (e) {
        return e;
    }
    meta->list = write_heads(f, change);
    meta->listing = (uint32_t)f->heads_n + f->rest_pages;
    meta->free = (uint32_t)(count_in_memory(f) + f->rest_count);
    meta->pages = atomic_load(&f->pager->pages);
    return ERR_NONE;
}

void free_list_written(struct free_list *f)
{
    for (size_t i = 0; i < f->waiting.n; i++) {
        add(&f->leaving, &f->waiting.rows[i]);
    }
    f->waiting.n = 0;
    f->leaving_next = 1;
}
