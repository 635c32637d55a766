#ifndef TXN_FENCE_H
#define TXN_FENCE_H

/*
 * Keeps two kinds of work apart in time: the *visible phase* of a two-phase commit (from its first
 * COMMIT PREPARED sent to its last one answered) and a *gap*, in which reads take their snapshots
 * on several shards. Many commits may be visible at once and many reads may share a gap; a commit
 * and a gap never overlap. So a snapshot over several shards has every commit on all of them or on
 * none.
 *
 *     OPEN      commits come and go                    no read wants a gap
 *       |  read asks                ^
 *       v                           | no commit waits, the last read has its snapshot
 *     DRAINING  new commits wait; those that are visible come to their end
 *       |  the last of them         ^
 *       v                           | those that waited go all at once; reads wait for them, if any
 *     GAP       reads take their snapshots; new ones join until a commit waits
 *
 * Neither kind starves: whoever waits goes, with all that wait beside it, when the present phase of
 * the other kind ends. A commit never gives up; a read may (fence_read_withdraw), and when it was
 * the last the fence opens. A commit that has been visible for too long, because a shard does not
 * answer, is put aside (fence_commit_aside): gaps no longer wait for it, and reads of two or more
 * of its shards are told by fence_torn().
 *
 * One fence per database and process; any thread may call. A commit that meets no read pays one
 * compare-and-swap at its begin and one subtraction at its end. The mutex guards what happens while
 * somebody waits; it is held for a few instructions and for the posting of mail to those who go on.
 *
 * Source: phase-fair reader-writer locks (Brandenburg, Anderson: "Spin-based reader-writer
 * synchronization for multiprocessor real-time systems", 2010), with groups on both sides.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct fence;

#define FENCE_PHASES(PHASE)                                                   \
    PHASE(OPEN, "commits come and go")                                        \
    PHASE(DRAINING, "commits wait; those that are visible come to their end") \
    PHASE(GAP, "reads take their snapshots")

enum fence_phase {
#define PHASE(name, help) FENCE_##name,
    FENCE_PHASES(PHASE)
#undef PHASE
};

/* Somebody in the queue: the fence's until `granted` or a withdrawal. */
struct fence_wait {
    struct list _node;
    /* Its turn has come: it is visible, or has its gap. Called once, on any thread, with the
     * fence's mutex held: post to your own loop and return. The memory is the function's from here
     * on. */
    void (*granted)(struct fence_wait *w);
};

/* A commit that was put aside; its owner's, untouched by him until fence_commit_end(). */
struct fence_aside {
    struct list _node;
    uint64_t shards;
};

struct fence_stats {
    enum fence_phase phase;
    size_t visible;         /* commits in their visible phase */
    size_t reads;           /* in the gap */
    size_t commits_waiting; /* for it to end */
    size_t reads_waiting;   /* for one */
    size_t aside;
    uint64_t gaps;         /* ever */
    uint64_t gap_reads;    /* reads that shared them */
    uint64_t held_commits; /* commits that ever waited */
};

struct fence *fence_new(void);
void fence_free(struct fence *f); /* nobody is in it; NULL is fine */

/*
 * A commit is decided and about to send its first COMMIT PREPARED. 1: go. 0: `w` waits, and goes
 * when it is granted.
 */
int fence_commit_try(struct fence *f); /* the fast way: 1: go, 0: make a wait and ask again */
int fence_commit_begin(struct fence *f, struct fence_wait *w);
/* Its last COMMIT PREPARED is answered, or what is left was handed to recovery. `aside`: the one
 * that it was put aside by, or NULL. */
void fence_commit_end(struct fence *f, struct fence_aside *aside);
/* It takes long: `aside->shards`, those it writes. */
void fence_commit_aside(struct fence *f, struct fence_aside *aside);

/* A read wants a gap. 1: it has one. 0: `w` waits. */
int fence_read_begin(struct fence *f, struct fence_wait *w);
/* Every shard has answered with its snapshot; or the read was given up in the gap. */
void fence_read_end(struct fence *f);
/* 1: `w` is the caller's again and has no gap. 0: it was granted, and the read has a gap to end. */
int fence_read_withdraw(struct fence *f, struct fence_wait *w);
/* In a gap: is a commit that was put aside visible on some of `shards` and perhaps not on others?
 */
int fence_torn(struct fence *f, uint64_t shards);

void fence_stats(struct fence *f, struct fence_stats *out);
const char *fence_phase_name(enum fence_phase phase); /* "GAP"; static storage */

#endif
