#ifndef BASE_HMAP_H
#define BASE_HMAP_H

/*
 * Intrusive chained hash map: the owner embeds `struct hnode`, hashes and compares itself.
 * All-zero is a valid empty map. Grows at load 1; never shrinks. One thread.
 *
 *     for (struct hnode *n = hmap_find(map, hash); n != NULL; n = hmap_more(n)) {
 *         struct thing *t = container_of(n, struct thing, node);
 *         if (is_what_i_look_for(t)) ...
 *     }
 */

#include <stddef.h>
#include <stdint.h>

struct hnode {
    struct hnode *next;
    uint64_t hash;
};

struct hmap {
    struct hnode **_slots;
    size_t count;
    size_t _mask;
};

void hmap_free(struct hmap *map); /* the slots only; nodes belong to their owners */
void hmap_add(struct hmap *map, struct hnode *node, uint64_t hash);
void hmap_remove(struct hmap *map, struct hnode *node);         /* the node is in the map */
struct hnode *hmap_find(const struct hmap *map, uint64_t hash); /* first with this hash, or NULL */
struct hnode *hmap_more(const struct hnode *node);              /* next with the same hash */
/* Any order; NULL starts and ends. The map must not change between calls. */
struct hnode *hmap_each(const struct hmap *map, const struct hnode *last);

#endif
