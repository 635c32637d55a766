#ifndef STORE_BTREE_BTREE_IMPL_H
#define STORE_BTREE_BTREE_IMPL_H

/*
 * A tree that is open, and what its files share. Threads and order:
 *
 *     readers            readers.h; never a lock that is held over I/O
 *     one writer         holds `writing` while its batch becomes a change, and while it hands it to
 *                        the log or brings the tree to the disk; for the log's sync it waits
 *                        without, so that the next ones can join that (store/kv_log.h)
 */

#include <pthread.h>

#include "store/btree/btree.h"
#include "store/btree/tree.h"
#include "store/kv_engine.h"
#include "store/kv_log.h"

enum {
    BTREE_FIGURES = 13,
    /* Batches of so many bytes in the log, then the tree goes to the disk: an eighth of the cache.
     */
    BTREE_LOG_BYTES_MAX = 1 << 20,
    BTREE_LOG_BYTES_MIN = 16 << 10
};

struct bulk_job;

struct btree {
    struct kv kv; /* first */
    struct pager pager;
    struct readers readers;
    char folder[PAGER_PATH_MAX];
    pthread_mutex_t writing;
    /* From here on whoever has it. */
    struct kv_log *log;  /* NULL: was not needed yet; else it stays */
    int is_unlogged;     /* some changes are neither durable nor in the log */
    size_t logged_bytes; /* since the log was cut */
    struct free_list free_list;
    struct tx tx;
    struct view view; /* the newest */
    struct tree_counts counts;
    struct meta meta;   /* the durable one */
    unsigned meta_page; /* where it stands */
    int has_unnamed;    /* pages on disk that are not synced and in no frame (bulk.c) */
    size_t dirty_max, log_max;
    enum err failed; /* writes have ended */
    struct note why;
    _Atomic uint64_t commits, pages_written, syncs;
    _Atomic uint64_t
        figures[BTREE_FIGURES]; /* what stats() shows of the leader's; btree_note_figures() */
};

/* commit.c */

enum err btree_write(struct btree *t, const struct kv_batch *batch, enum kv_how how,
                     struct note *note) MUST_CHECK;
enum err btree_sync(struct btree *t, struct note *note) MUST_CHECK;
enum err btree_load(struct btree *t, struct bulk_job *job, struct note *note) MUST_CHECK;
/* With the lock: all that is not durable yet becomes so, in the tree's file. */
enum err btree_make_durable(struct btree *t, struct note *note) MUST_CHECK;
/* At the start: what the log has that the tree's file lacks. */
enum err btree_replay(struct btree *t, struct note *note) MUST_CHECK;
void btree_note_figures(struct btree *t);
/* After a clean close no commit is in doubt. */
void btree_settle(struct btree *t);

/* What a store's folder has; a fs_name_fn. */
struct btree_names {
    int has_tree, has_log;
};
void btree_see_name(void *arg, const char *name);

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
