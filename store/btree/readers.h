#ifndef STORE_BTREE_READERS_H
#define STORE_BTREE_READERS_H

/*
 * Who reads which change of the tree, and what the newest one is.
 *
 * A change is a number and a root page. The one writer publishes changes; a reader takes part in
 * one, and every page that this change can reach stays as it is until the reader leaves. Neither
 * waits for the other:
 *
 *     short reads (a get)          a slot of the table, by one compare-and-swap
 *     long ones (cursor, snapshot) a list under a mutex that is held for a few instructions
 *
 * A slot reader writes its change into the slot and looks again whether it is still the newest;
 * the writer publishes first and looks at the slots then. Both in sequential order: either the
 * writer sees the slot, or the reader sees the newer change.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/list.h"

enum {
    READER_SLOTS = 64, /* more readers at a moment go through the list */
    READERS_SEEN_MAX = 256
};

struct view {
    uint64_t change;
    uint32_t root; /* page; 0: nothing there */
    uint32_t height;
};

struct reader_slot {
    _Alignas(64) _Atomic uint64_t change; /* 0: nobody's */
    _Atomic uint64_t reads;               /* written by whoever has the slot */
    _Atomic uint64_t pages;
};

struct readers {
    _Atomic uint64_t newest;
    _Atomic uint64_t roots[2]; /* of a change: [change % 2]; root page, height in the upper half */
    struct reader_slot slots[READER_SLOTS];
    pthread_mutex_t mutex; /* the list */
    struct list held;
};

/* A long read. Owner: whoever took it. */
struct held {
    struct list node;
    struct view view;
};

/* One moment's readers, as the writer sees them: the changes that are read, ascending. */
struct readers_seen {
    uint64_t changes[READERS_SEEN_MAX];
    unsigned count;
    uint64_t all_from; /* every change from here on counts as read (the table was too small) */
};

void readers_init(struct readers *r, const struct view *first);
void readers_free(struct readers *r);

/* Returns the slot, or -1: then `held` was taken instead. Leave by the same. */
int readers_enter(struct readers *r, struct view *out, struct held *held);
void readers_leave(struct readers *r, int slot, struct held *held, unsigned pages);
void readers_hold(struct readers *r, struct held *held); /* the newest */
/* What `from` holds, too: it is held while this is called. */
void readers_hold_same(struct readers *r, struct held *held, const struct held *from);
void readers_release(struct readers *r, struct held *held);

/* The writer's side. */
void readers_publish(struct readers *r, const struct view *view);
void readers_look(struct readers *r, struct readers_seen *out);
/* Can a page that was made by change `made` and given up by change `gone` still be read? */
int readers_reach(const struct readers_seen *seen, uint64_t made, uint64_t gone);

#endif
