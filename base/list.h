#ifndef BASE_LIST_H
#define BASE_LIST_H

/*
 * Intrusive, circular, doubly linked list. The head is a node too; a node that is on no list
 * points at itself after list_init() or list_remove(), so list_remove() is idempotent.
 */

#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Visit each node; with _safe the visited node may be removed inside the loop. */
#define list_each(node, head) \
    for (struct list *node = (head)->next; node != (head); node = node->next)
#define list_each_safe(node, head)                                                    \
    for (struct list *node = (head)->next, *next_##node = node->next; node != (head); \
         node = next_##node, next_##node = node->next)

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline int list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_push_back(head->next, node);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* First node, or NULL when empty. */
static inline struct list *list_first(const struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}

static inline struct list *list_pop(struct list *head)
{
    struct list *node = list_first(head);
    if (node != NULL) {
        list_remove(node);
    }
    return node;
}

#endif
