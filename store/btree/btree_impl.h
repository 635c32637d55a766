#ifndef STORE_BTREE_BTREE_IMPL_H
#define STORE_BTREE_BTREE_IMPL_H

/*
 * A tree that is open, and what its files share. Threads and order:
 *
 *     readers            readers.h; never a lock that is held over I/O
 *     one writer         the leader of the queue: its batches are applied one after the other,
 *                        each published as a change of its own; when one of them is to be durable,
 *                        all that is not yet goes to the disk at once, and then all are told
 *     the mutex          the queue only
 */

#include <pthread.h>

#include "store/btree/btree.h"
#include "store/btree/tree.h"
#include "store/kv_engine.h"

enum {
    BTREE_FIGURES = 13
};

struct bulk_job;

struct btree {
    struct kv kv; /* first */
    struct pager pager;
    struct readers readers;
    pthread_mutex_t mutex; /* the queue */
    struct list queue;
    int is_led;
    /* From here on the leader's. */
    struct free_list free_list;
    struct tx tx;
    struct view view; /* the newest */
    struct tree_counts counts;
    struct meta meta;   /* the durable one */
    unsigned meta_page; /* where it stands */
    int has_unnamed;    /* pages on disk that are not synced and in no frame (bulk.c) */
    size_t dirty_max;
    enum err failed; /* writes have ended */
    struct note why;
    _Atomic uint64_t commits, groups, pages_written, syncs;
    _Atomic uint64_t
        figures[BTREE_FIGURES]; /* what stats() shows of the leader's; btree_note_figures() */
};

struct writer {
    struct list node;
    const struct kv_batch *batch; /* NULL: only the sync, or `bulk` */
    struct bulk_job *bulk;
    enum kv_how how;
    enum err e;
    struct note note;
    pthread_cond_t turn;
    int is_done;
};

/* commit.c */

/* Wait for the turn, lead or be led. */
enum err btree_queue(struct btree *t, struct writer *w, struct note *note) MUST_CHECK;
/* All that is not durable yet becomes so. Only the leader. */
enum err btree_make_durable(struct btree *t, struct note *note) MUST_CHECK;
/* The change in t->tx is what there is now. */
void btree_publish(struct btree *t);
void btree_note_figures(struct btree *t);
/* After a clean close no commit is in doubt. */
void btree_settle(struct btree *t);

/* meta_file.c */

/* The newest meta page that is whole, with its pages; *page: 0 or 1. */
enum err meta_file_choose(struct fs *fs, int fd, const char *path, struct meta *out, unsigned *page,
                          struct note *note) MUST_CHECK;
/* What was chosen may be in the kernel's cache only: write it again and sync. */
enum err meta_file_settle(struct fs *fs, int fd, const char *path, const struct meta *meta,
                          unsigned page, struct note *note) MUST_CHECK;
/* A new file with an empty tree, durable but for its name: the caller syncs the folder. */
enum err meta_file_create(struct fs *fs, const char *path, struct note *note) MUST_CHECK;
enum err meta_file_write(struct pager *g, const struct meta *meta, unsigned page,
                         struct note *note) MUST_CHECK;

/* bulk.c */
enum err bulk_run(struct btree *t, struct bulk_job *job, struct note *note) MUST_CHECK;

/* cursor.c */
struct kv_cursor *bt_cursor_open(struct kv *kv, struct kv_snapshot *at);
void bt_cursor_close(struct kv_cursor *cursor);
enum err bt_cursor_first(struct kv_cursor *cursor, int *valid, struct note *note) MUST_CHECK;
enum err bt_cursor_last(struct kv_cursor *cursor, int *valid, struct note *note) MUST_CHECK;
enum err bt_cursor_seek(struct kv_cursor *cursor, struct slice key, int *valid,
                        struct note *note) MUST_CHECK;
enum err bt_cursor_next(struct kv_cursor *cursor, int *valid, struct note *note) MUST_CHECK;
enum err bt_cursor_prev(struct kv_cursor *cursor, int *valid, struct note *note) MUST_CHECK;

struct kv_snapshot {
    struct held held;
};

/* verify.c */
enum err bt_verify(struct fs *fs, const char *folder, kv_fault_fn *fn, void *arg,
                   struct note *note) MUST_CHECK;

#endif
