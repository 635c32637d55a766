/* The chained hash map of hmap.h. */

#include "base/hmap.h"

#include "base/check.h"
#include "base/mem.h"

void hmap_free(struct hmap *map)
{
    mem_free(map->_slots);
    *map = (struct hmap){0};
}

static void put(struct hmap *map, struct hnode *node)
{
    struct hnode **slot = &map->_slots[node->hash & map->_mask];
    node->next = *slot;
    *slot = node;
}

static void grow(struct hmap *map)
{
    struct hmap bigger = {.count = map->count,
                          ._mask = map->_slots == NULL ? 7 : map->_mask * 2 + 1};
    bigger._slots = mem_zero((bigger._mask + 1) * sizeof(struct hnode *));
    for (size_t i = 0; map->_slots != NULL && i <= map->_mask; i++) {
        struct hnode *node = map->_slots[i];
        while (node != NULL) {
            struct hnode *next = node->next;
            put(&bigger, node);
            node = next;
        }
    }
    mem_free(map->_slots);
    *map = bigger;
}

void hmap_add(struct hmap *map, struct hnode *node, uint64_t hash)
{
    if (map->_slots == NULL || map->count > map->_mask) {
        grow(map);
    }
    node->hash = hash;
    put(map, node);
    map->count++;
}

void hmap_remove(struct hmap *map, struct hnode *node)
{
    check(map->count > 0);
    struct hnode **at = &map->_slots[node->hash & map->_mask];
    while (*at != node) {
        check(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    map->count--;
}

static struct hnode *with_hash(struct hnode *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash) {
        node = node->next;
    }
    return node;
}

struct hnode *hmap_find(const struct hmap *map, uint64_t hash)
{
    return map->_slots == NULL ? NULL : with_hash(map->_slots[hash & map->_mask], hash);
}

struct hnode *hmap_more(const struct hnode *node)
{
    return with_hash(node->next, node->hash);
}

struct hnode *hmap_each(const struct hmap *map, const struct hnode *last)
{
    if (map->_slots == NULL) {
        return NULL;
    }
    if (last != NULL && last->next != NULL) {
        return last->next;
    }
    for (size_t i = last == NULL ? 0 : (last->hash & map->_mask) + 1; i <= map->_mask; i++) {
        if (map->_slots[i] != NULL) {
            return map->_slots[i];
        }
    }
    return NULL;
}
