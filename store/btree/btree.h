#ifndef STORE_BTREE_BTREE_H
#define STORE_BTREE_BTREE_H

/*
 * The B+tree engine: what it gives beside the door (kv.h). Start reading here, then tree.h (what
 * always holds), page.h and meta.h (bytes), pager.h (where pages are), free_list.h, readers.h.
 *
 * A folder of a B+tree store holds LOCK and KIND (kv_folder.h) and
 *
 *     tree       the file: two meta pages, then pages of all kinds
 *     tree.new   while a new one is made
 *
 * What it is good at: many reads, short open (nothing is replayed), scans both ways. What it pays:
 * a durable put writes every page on the way to the root. Lazy writes stay in memory, up to half
 * of the cache, and go to the disk with the next sync.
 */

#include "store/kv.h"

/* Entries with keys that ascend; *more 0: there are none any more. Slices live until the next call.
 */
typedef enum err btree_entry_fn(void *arg, struct slice *key, struct slice *value, int *more,
                                struct note *note);

/*
 * Fill an empty B+tree store from sorted input: pages are written once, in order and nearly full.
 * All or nothing; durable when it returns. Other writers wait, readers do not.
 * Errors: ERR_BAD_SETTING (the store is not empty or no B+tree, a key does not ascend or is too
 * long), what fn gave, ERR_IO.
 */
enum err btree_bulk(struct kv *kv, btree_entry_fn *fn, void *arg, struct note *note) MUST_CHECK;

#endif
