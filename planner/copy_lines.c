/* Lines of COPY data and where they went: see copy_lines.h. */

#include "planner/copy_lines.h"

#include "base/mem.h"

static struct copy_stretch *stretch(const struct copy_lines *l, uint64_t i)
{
    return &l->ring[i & (l->cap - 1)];
}

/* Until the ring has its full size nothing in it was overwritten: number i is at place i. */
static void make_room(struct copy_lines *l)
{
    if (l->made == l->cap && l->cap < COPY_STRETCHES_MAX) {
        l->cap = l->cap == 0 ? 64 : l->cap * 2;
        l->ring = mem_grow(l->ring, l->cap * sizeof(*l->ring));
    }
}

void copy_lines_add(struct copy_lines *l, uint64_t client, uint64_t count)
{
    const struct copy_stretch *last = l->made == 0 ? NULL : stretch(l, l->made - 1);
    uint64_t line = l->lines + 1;
    l->lines += count;
    if (last != NULL && last->client + (line - last->line) == client) {
        return;
    }
    make_room(l);
    *stretch(l, l->made) = (struct copy_stretch){.line = line, .client = client};
    l->made++;
}

uint64_t copy_lines_find(const struct copy_lines *l, uint64_t line)
{
    uint64_t low = l->made > l->cap ? l->made - l->cap : 0, high = l->made;
    if (line == 0 || line > l->lines || low == high || stretch(l, low)->line > line) {
        return 0;
    }
    while (high - low > 1) { /* the last that begins at `line` or before */
        uint64_t middle = low + (high - low) / 2;
        if (stretch(l, middle)->line <= line) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return stretch(l, low)->client + (line - stretch(l, low)->line);
}

void copy_lines_free(struct copy_lines *l)
{
    mem_free(l->ring);
    *l = (struct copy_lines){0};
}
