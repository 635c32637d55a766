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
 *     wal        the log in front: batches with KV_SYNC that the tree's file lacks yet
 *
 * What it is good at: many reads, short open, scans both ways. What it pays: a put copies every
 * page on the way to the root. Writes with KV_SYNC go to the log, and the tree after them, each
 * time that the log has become long; lazy ones stay in memory, up to half of the cache, and the
 * next sync writes the tree. So a store that mixes both gains nothing by the log.
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
